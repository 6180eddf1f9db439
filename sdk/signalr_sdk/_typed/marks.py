"""The decorators `method` and `event`, which users put on the methods that `proxy` and `register` read.

The code that reads the marks is in `declarations`. That module is imported only at the first use of `proxy` or
`register`, to keep the import of the package fast.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, NamedTuple, TypeVar, overload

F = TypeVar("F", bound=Callable[..., Any])

METHOD_MARK: Final = "__signalr_method__"
EVENT_MARK: Final = "__signalr_event__"


class Mark(NamedTuple):
    """The arguments of `@method` or `@event`: the name on the hub, and whether calls ask for no answer."""

    name: str | None = None
    send: bool = False


def method(name: str | None = None, /, *, send: bool = False) -> Callable[[F], F]:
    """Set how a method of a class for `HubConnection.proxy` calls the hub.

    Args:
        name: name of the hub method. By default the name is made from the Python name: `send_message` becomes
            `SendMessage`.
        send: ask for no answer, as `HubConnection.send` does. The method is annotated with `-> None`, and returns when
            the message is in the outgoing buffer.

    Example:
        ```python
        class ChatHub(Protocol):
            @method("GetUserCount")
            async def users(self) -> int: ...
            @method(send=True)
            async def log(self, text: str) -> None: ...
        ```
    """
    if name is not None:
        _check_name("method", name)
    return _marker(METHOD_MARK, Mark(name, send))


@overload
def event(name: str, /) -> Callable[[F], F]: ...
@overload
def event(name: F, /) -> F: ...
def event(name: str | F, /) -> Callable[[F], F] | F:
    """Mark a method of an object for `HubConnection.register` as a handler of an event.

    In a class with marked methods, only the marked methods are handlers. Otherwise all public methods are handlers.

    Args:
        name: name of the event. Plain `@event` makes it from the Python name: `receive_message` becomes
            `ReceiveMessage`.

    Example:
        ```python
        class Chat:
            @event
            def receive_message(self, user: str, text: str) -> None: ...
            @event("user-joined")
            async def joined(self, user: str) -> None: ...
        ```
    """
    if callable(name):
        return _marker(EVENT_MARK, Mark())(name)
    _check_name("event", name)
    return _marker(EVENT_MARK, Mark(name))


def _check_name(decorator: str, name: object) -> None:
    if not isinstance(name, str) or not name:
        raise TypeError(f"@{decorator}(...) takes a name on the hub, a str that is not empty, not {name!r:.100}")


def _marker(attribute: str, mark: Mark) -> Callable[[F], F]:
    def put(function: F) -> F:
        if not callable(function):
            raise TypeError(f"a {type(function).__name__} cannot be marked, only a method can")
        setattr(function, attribute, mark)
        return function

    return put


def mark_of(cls: type, name: str, attribute: str) -> Mark | None:
    """Return the mark of a method, or `None` without a mark. The mark may be on the method of a base class."""
    marks = (getattr(vars(base).get(name), attribute, None) for base in cls.__mro__)
    return next((mark for mark in marks if mark is not None), None)
