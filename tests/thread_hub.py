"""A double for a connection of `signalr_sdk.sync`: records calls, and returns prepared answers. For typed hubs."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any, Generic, TypeVar

T = TypeVar("T")


class ThreadUpload(Generic[T]):
    """An upload of any iterable."""

    def __init__(self, source: Iterable[T]) -> None:
        self.source = iter(source)


class ThreadStream(Iterator[T]):
    """A stream of prepared items."""

    def __init__(self, items: Iterable[T]) -> None:
        self._items = iter(items)

    def __next__(self) -> T:
        return next(self._items)


class ThreadHub:
    """The connection.

    Attributes:
        called: kind, name, arguments and result type of each call.
        answers: the answers to the next calls.
        handlers: the handlers by their events.
    """

    def __init__(self, *answers: Any) -> None:
        self.called: list[tuple[Any, ...]] = []
        self.answers = list(answers)
        self.handlers: dict[str, Callable[..., Any]] = {}

    def invoke(self, method: str, *args: Any, result_type: Any) -> Any:
        self.called.append(("invoke", method, args, result_type))
        return self.answers.pop(0)

    def send(self, method: str, *args: Any) -> None:
        self.called.append(("send", method, args))

    def stream(self, method: str, *args: Any, item_type: Any) -> ThreadStream[Any]:
        self.called.append(("stream", method, args, item_type))
        return ThreadStream(self.answers.pop(0))

    def on(self, event: str, handler: Callable[..., Any]) -> Callable[..., Any]:
        self.handlers[event] = handler
        return handler
