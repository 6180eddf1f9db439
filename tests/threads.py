"""A connection for threads, as far as typed hubs need one: it notes what it is told, and answers what it was given."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import Any, Generic, TypeVar

T = TypeVar("T")


class ThreadUpload(Generic[T]):
    """An upload; takes any iterable."""

    def __init__(self, source: Iterable[T]) -> None:
        self.source = iter(source)


class ThreadStream(Iterator[T]):
    """A stream of items that are there."""

    def __init__(self, items: Iterable[T]) -> None:
        self._items = iter(items)

    def __next__(self) -> T:
        return next(self._items)


class ThreadHub:
    """The connection.

    Attributes:
        called: kind, name, arguments and wanted type of each call.
        answers: what calls return.
        handlers: by their events.
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
