"""`method` and `event`: what users write in front of the methods that `proxy` and `register` read.

Apart from what reads them, which is imported when it is first used: it takes a fortieth of the time to import aiohttp.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, NamedTuple, TypeVar, overload

F = TypeVar("F", bound=Callable[..., Any])

METHOD_MARK: Final = "__signalr_method__"
EVENT_MARK: Final = "__signalr_event__"


class Mark(NamedTuple):
    """What is known of a marked method: its name on the hub, and whether it is sent."""

    name: str | None = None
    send: bool = False


def method(name: str | None = None, /, *, send: bool = False) -> Callable[[F], F]:
    """Say how a method of a class for `HubConnection.proxy` is called on the hub.

    Args:
        name: its name there; without one it is made of the method's own, `send_message` being `SendMessage`.
        send: ask for no answer, as `HubConnection.send`: the method is `-> None` and returns when the message is in
            the outgoing buffer.

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
    """Mark a method of an object for `HubConnection.register` as a handler; only marked ones are, if there is one.

    Args:
        name: the event's name. Plain `@event` leaves it to the method's own, `receive_message` being `ReceiveMessage`.

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
    """Return the mark of a method, also one that it has in a class that `cls` derives from."""
    marks = (getattr(vars(base).get(name), attribute, None) for base in cls.__mro__)
    return next((mark for mark in marks if mark is not None), None)
