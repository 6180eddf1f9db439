"""`EventMethods`: handlers and iterators for the events of one hub, for threads."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any, Final, Literal, TypeVar, overload

from .._hub.event_methods import EventMethods as AsyncEventMethods
from .._hub.event_methods import converter_of
from .._hub.receivers import register
from .._typed.declarations import sync_style
from ..interfaces import Handler
from .iterators import Messages, Stream
from .twins import twin_of
from .uploads import Upload

if TYPE_CHECKING:
    from collections.abc import Callable

    from .._receiving.iterators import HubEvent
    from ..interfaces import Converter
    from ..protocols.values import NamingChoice
    from .loop_use import LoopUse
    from .registry import HandlerRegistry

H = TypeVar("H", bound=Handler)
R = TypeVar("R")

STYLE: Final = sync_style(Upload, Stream)


@twin_of(AsyncEventMethods)
class EventMethods:
    """The methods that register handlers for the events of one hub, and that iterate over these events.

    Attributes:
        _target: the asyncio connection or hub.
        _loop_use: runs calls on the event loop's thread.
        _registry: adds and removes handlers.
    """

    _target: AsyncEventMethods
    _loop_use: LoopUse
    _registry: HandlerRegistry

    def _wanted_converter(self) -> Converter:
        return converter_of(self._target)

    @overload
    def on(self, event: str, handler: H) -> H: ...
    @overload
    def on(self, event: str, handler: None = None) -> Callable[[H], H]: ...
    def on(self, event: str, handler: H | None = None) -> H | Callable[[H], H]:
        """Register a handler for an event. If the server asks for a client result, the handler's return value is sent.

        Args:
            event: the name of the event, in upper or lower case.
            handler: a plain function, called with the event's arguments. Without `handler`, `on` returns a decorator.

        Returns:
            The handler.

        Raises:
            TypeError: the handler is async.
        """
        return (
            functools.partial(self._registry.register, self._target.on(event))
            if handler is None
            else self.on(event)(handler)
        )

    def register(self, receiver: R, *, naming: NamingChoice = "pascal") -> R:
        """Register each method of an object as the handler of the event with its name.

        `off(handler=receiver)` removes the handlers.

        Args:
            receiver: the object. All public methods are registered; if a method is marked with the decorator `event`,
                only marked methods are registered. The methods are plain functions, as for `on`. Arguments are
                converted to the types of the parameters; if an argument does not fit, the handler fails.
            naming: how names of methods become names of events, as for `proxy`. Upper and lower case are the same.

        Returns:
            The object.

        Raises:
            TypeError: a method cannot be a handler, or the object has no methods to register.
            LocalProtocolError: a parameter has a type, but cattrs is not installed.
        """
        return register(self.on, self._wanted_converter, receiver, naming, STYLE)

    def off(self, event: str | None = None, handler: object | None = None) -> None:
        self._registry.change(self._target.off, event, handler)

    def on_any(self, handler: H) -> H:
        return self._registry.register(self._target.on_any, handler)

    def messages(
        self, event: str, buffer: int | None = None, overflow: Literal["wait", "drop_oldest"] = "wait"
    ) -> Messages:
        return Messages(self._loop_use.call(self._target.messages, event, buffer, overflow), self._loop_use)

    def events(
        self, *names: str, buffer: int | None = None, overflow: Literal["wait", "drop_oldest"] = "wait"
    ) -> Messages[HubEvent]:
        """Return one iterator over events of several names that arrive after this call, in the order received.

        Events with one of the names are not passed to `on_any` handlers. Without names, the iterator gets all events:
        `on_any` handlers get the same events as without the iterator, and the log has no warning about events without
        a handler until the iterator ends. The iterator gets no lifecycle events, and no requests for a client result.

        Args:
            names: the names of the events, in upper or lower case; without names, all events.
            buffer: the largest number of waiting events before `overflow` applies; `Limits.messages` by default.
            overflow: with `"wait"`, the connection stops reading for a while; with `"drop_oldest"`, the oldest events
                are dropped.

        Raises:
            TypeError: a name is not a `str`.
            ValueError: `buffer` or `overflow` is invalid.

        Example:
            ```python
            for name, arguments in hub.events("ReceiveMessage", "Price"):
                print(name, *arguments)
            ```
        """
        events = self._loop_use.call(self._target.events, *names, buffer=buffer, overflow=overflow)
        return Messages(events, self._loop_use)

    def wait_for(self, event: str, timeout: float | None = None) -> tuple[Any, ...]:
        return self._loop_use.call(self._target.wait_for, event, timeout)
