"""`EventMethods`: handlers and iterators for the events of one hub, also for the hubs of classic SignalR."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal, TypeVar, overload

from ..errors import ConnectionClosedError
from ..interfaces import Converter, Handler
from ..options import is_count

if TYPE_CHECKING:
    from collections.abc import Callable

    from .._life.supervisor import Supervisor
    from .._receiving.dispatcher import Dispatcher
    from .._receiving.handlers import Handlers
    from .._receiving.iterators import HubEvent, Messages
    from ..options import Limits
    from ..protocols.values import NamingChoice
    from .typed_values import TypedValues

H = TypeVar("H", bound=Handler)
R = TypeVar("R")


def check_name(event: object) -> None:
    """Raise a `TypeError` if the name of an event is not a `str`."""
    if not isinstance(event, str):
        raise TypeError(f"the name of an event is a str, not {type(event).__name__}")


def mark_of(buffer: int | None, default: int) -> int:
    """Return the number of waiting messages that `buffer=` allows; `default` if it is not given."""
    if buffer is None:
        return default
    if not is_count(buffer):
        raise ValueError(f"buffer must be a positive integer, not {buffer!r}")
    return buffer


class EventMethods:
    """The methods that register handlers for the events of one hub, and that iterate over these events.

    A subclass says to which connection the hub belongs.
    """

    _handlers: Handlers
    _limits: Limits
    _values: TypedValues

    if TYPE_CHECKING:
        # The connection replaces both after its event loop was closed, so they must be read anew each time.
        @property
        def _life(self) -> Supervisor[Any]: ...
        @property
        def _dispatcher(self) -> Dispatcher: ...

    def _keys(self, names: tuple[str, ...]) -> tuple[str, ...]:
        """Return the names by which the dispatcher knows the events; no names stand for all events."""
        return names

    @overload
    def on(self, event: str, handler: H) -> H: ...
    @overload
    def on(self, event: str, handler: None = None) -> Callable[[H], H]: ...
    def on(self, event: str, handler: H | None = None) -> H | Callable[[H], H]:
        """Register a handler for an event. If the hub asks for a client result, the handler returns the result.

        Args:
            event: the name of the event, in upper or lower case.
            handler: a sync or async function, called with the event's arguments. Without `handler`, `on` returns a
                decorator.

        Returns:
            The handler.
        """
        check_name(event)

        def register(handler: H) -> H:
            self._handlers.add(event, handler)
            return handler

        return register if handler is None else register(handler)

    def off(self, event: str | None = None, handler: object | None = None) -> None:
        """Remove all handlers of an event, one handler of an event, or one handler from all events.

        Args:
            event: the name of the event. Without `event`, the handler is removed from all events and lifecycle events.
            handler: the handler to remove, or an object that was passed to `register`, to remove all of its methods.
                Without `handler`, all handlers of the event are removed.
        """
        if event is None and handler is None:
            raise TypeError("off() needs an event, a handler, or both")
        self._handlers.remove(event, handler)

    def register(self, receiver: R, *, naming: NamingChoice = "pascal") -> R:
        """Register each method of an object as the handler of the event with its name.

        `off(handler=receiver)` removes the handlers.

        Args:
            receiver: the object. All public methods are registered; if a method is marked with the decorator `event`,
                only marked methods are registered. Methods may be sync or async. Arguments are converted to the types
                of the parameters; if an argument does not fit, the handler fails.
            naming: how names of methods become names of events, as for `proxy`. Upper and lower case are the same.

        Returns:
            The object.

        Raises:
            TypeError: a method cannot be a handler, or the object has no methods to register.
            LocalProtocolError: a parameter has a type, but cattrs is not installed.

        Example:
            ```python
            class Chat:
                async def receive_message(self, user: str, text: str) -> None:
                    print(user, text)

            hub.register(Chat())
            ```
        """
        # Import at the first use, so that `import signalr_sdk` is fast.
        from .proxies import ASYNC
        from .receivers import register

        return register(self.on, lambda: self._values.converter, receiver, naming, ASYNC)

    def on_any(self, handler: H) -> H:
        """Register `handler(event, args)` for all events that have no handler and no iterator of their own.

        The iterators of `messages` and of `events` with names count; `events()` without names does not.
        """
        self._handlers.add_any(handler)
        return handler

    def messages(
        self, event: str, buffer: int | None = None, overflow: Literal["wait", "drop_oldest"] = "wait"
    ) -> Messages:
        """Return an iterator over the events of one name that arrive after this call, as tuples of arguments.

        Args:
            event: the name of the event, in upper or lower case.
            buffer: the largest number of waiting events before `overflow` applies; `Limits.messages` by default.
            overflow: with `"wait"`, the connection stops reading for a while; with `"drop_oldest"`, the oldest events
                are dropped.
        """
        return self._subscribe((event,), buffer, overflow, named=False)

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
            async for name, arguments in hub.events("ReceiveMessage", "Price"):
                print(name, *arguments)
            ```
        """
        return self._subscribe(names, buffer, overflow, named=True)

    def _subscribe(self, names: tuple[str, ...], buffer: int | None, overflow: str, *, named: bool) -> Messages[Any]:
        for name in names:
            check_name(name)
        if overflow not in ("wait", "drop_oldest"):
            raise ValueError(f"overflow must be 'wait' or 'drop_oldest', not {overflow!r}")
        mark, newest = mark_of(buffer, self._limits.messages), overflow == "drop_oldest"
        return self._dispatcher.subscribe(
            self._keys(names), mark, named=named, newest=newest, loop=lambda: self._life.loop
        )

    async def wait_for(self, event: str, timeout: float | None = None) -> tuple[Any, ...]:
        """Wait for the next event of one name, and return its arguments.

        Args:
            event: the name of the event, in upper or lower case.
            timeout: seconds; `None` for no limit.

        Raises:
            TimeoutError: no event came within `timeout`.
            ConnectionClosedError: the connection ended before the event came.
        """
        async with self.messages(event) as messages:
            try:
                return await messages.next(timeout)
            except StopAsyncIteration:
                closed = self._life.closed
                error = closed.result() if closed is not None and closed.done() else None
                raise ConnectionClosedError(f"the connection ended before '{event}' came") from error


def converter_of(methods: EventMethods) -> Converter:
    """Return the converter for the arguments of events. May be called on any thread.

    Raises:
        LocalProtocolError: the user gave no converter, and cattrs, the default converter, is missing.
    """
    return methods._values.converter  # noqa: SLF001 - one module, one owner
