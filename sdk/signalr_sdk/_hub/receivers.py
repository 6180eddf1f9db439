"""Receivers: objects of the user whose methods are registered as handlers, each for the event with its name."""

from __future__ import annotations

from itertools import chain, repeat
from typing import TYPE_CHECKING, Any, TypeVar

from .._typed.declarations import EventMethod, Style, read_receiver
from .._typed.structure import structure
from ..errors import ResultTypeError
from ..protocols.values import NamingChoice, resolve_naming

if TYPE_CHECKING:
    from collections.abc import Callable

    from ..interfaces import Converter

R = TypeVar("R")


def register(
    on: Callable[[str, Any], Any],
    converter: Callable[[], Converter],
    receiver: R,
    naming: NamingChoice,
    style: Style,
) -> R:
    """Register the methods of an object as handlers; return the object.

    Args:
        on: called as `on(event, handler)` to register a handler.
        converter: called only if a parameter has a type; returns the converter for the arguments of events.
        receiver: the object of the user.
        naming: how names of methods become names of events.
        style: says whether handlers may be async: yes for the asyncio client, no for `signalr_sdk.sync`.

    Raises:
        TypeError: a method cannot be a handler, or the object has no methods to register.
        LocalProtocolError: a parameter has a type, but cattrs is not installed.
    """
    if isinstance(receiver, type):
        raise TypeError(f"register() takes an object, not the class {receiver.__name__}")
    methods = read_receiver(type(receiver), resolve_naming(naming), style)
    made = [EventHandler(receiver, method, converter() if method.is_typed else None) for method in methods]
    # Register only after all methods were checked: if one method is wrong, no method is registered.
    for method, handler in zip(methods, made, strict=True):
        on(method.event, handler)
    return receiver


class EventHandler:
    """A handler that calls one method of a receiver, an object of the user.

    The handler equals the method and also the receiver, so that `off(handler=...)` finds the handler by either.
    """

    __slots__ = ("_converter", "_event", "_method", "_receiver", "_rest", "_wanted")

    def __init__(self, receiver: Any, declared: EventMethod, converter: Converter | None) -> None:
        self._receiver = receiver
        self._method: Callable[..., Any] = getattr(receiver, declared.attribute)
        self._event = declared.event
        self._wanted = declared.parameters
        self._rest = declared.rest
        self._converter = converter

    def __call__(self, *arguments: Any) -> Any:
        if self._converter is None:
            return self._method(*arguments)
        wanted = chain(self._wanted, repeat(self._rest))
        return self._method(
            *[
                value if type_ is Any else self._structured(self._converter, value, name, type_)
                for value, (name, type_) in zip(arguments, wanted, strict=False)
            ]
        )

    def _structured(self, converter: Converter, value: Any, name: str, type_: Any) -> Any:
        try:
            return structure(converter, value, type_)
        except ResultTypeError as error:
            raise ResultTypeError(f"the argument '{name}' of '{self._event}': {error}", value, type=type_) from error

    def __eq__(self, other: object) -> bool:
        if isinstance(other, EventHandler):
            return self._method == other._method
        return other is self._receiver or self._method == other

    def __hash__(self) -> int:
        return hash(self._method)

    def __repr__(self) -> str:
        return f"<handler of '{self._event}': {self._method!r}>"
