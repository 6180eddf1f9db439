"""`SetUp`: one run of the `on_setup` handlers, and the events that arrive during this run.

The connection counts as up only after the `on_setup` handlers have succeeded. Until then, events wait, but iterators
that were made in a set-up handler get the events at once.
"""

from __future__ import annotations

import sys
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any

from .queues import EventQueue, HandlerQueue

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable, Iterable

    from .backlog import Backlog


class SetUp:
    """One run of the `on_setup` handlers of a connection.

    Args:
        backlog: counts the bytes of the events that wait.
        link: the new connection.

    Attributes:
        link: the new connection, over which the calls of the handlers go.
        held: the events that wait. Each message is a tuple: name, arguments, and whether an iterator that was made in a
            set-up handler has got this event by its name. Reading does not pause for these events.
        queues: the queues of iterators that were made in a set-up handler.
        task: the task that calls the handlers; `None` before its start.
        discarded: whether `Dispatcher.discard` was called meanwhile: the caller of `discard` waits for `task`, or is
            `task` itself.
    """

    def __init__(self, backlog: Backlog, link: object) -> None:
        self.link = link
        self.held: HandlerQueue = HandlerQueue(backlog, sys.maxsize)
        self.queues: list[EventQueue] = []
        self.task: asyncio.Task[None] | None = None
        self.discarded = False
        backlog.join(self.held)

    @property
    def is_current(self) -> bool:
        """Whether the current task is a handler of this set-up, or was started by such a handler."""
        return _current.get() is self

    def enter(self) -> None:
        """Make `is_current` true in the current task and in the tasks that it starts later."""
        _current.set(self)

    def hold(
        self,
        rows: Iterable[tuple[str, list[Any], int]],
        subscribers: dict[str | None, Any],
        split: Callable[[str], tuple[str | None, str]],
    ) -> None:
        """Keep events for later. Give them to the iterators that were made in a set-up handler at once.

        Args:
            rows: the events: target, arguments, size.
            subscribers: a dict from a key to the queues of iterators.
            split: returns two parts of a target: the key of the iterators over all such events, and the event's name.
        """
        for target, arguments, size in rows:
            over_all, name = split(target)
            by_name = self._put(subscribers.get(target.lower(), ()), name, arguments, size)
            self._put(subscribers.get(over_all, ()), name, arguments, size)
            self.held.put((target, arguments, by_name), size)

    def _put(self, queues: Iterable[EventQueue], name: str, arguments: list[Any], size: int) -> bool:
        inside = [queue for queue in queues if queue in self.queues]
        for queue in inside:
            queue.put_event(name, arguments, size)
        return bool(inside)

    def take(self) -> list[tuple[str, list[Any], int, bool]]:
        """Remove and return the events that wait: name, arguments, size, and whether an iterator has got the event."""
        held = self.held
        rows = [(*row, size) for row, size in zip(held.messages, held.sizes, strict=True)]
        held.clear()
        held.account.leave(held)
        return [(target, arguments, size, by_name) for target, arguments, by_name, size in rows]


_current: ContextVar[SetUp | None] = ContextVar("signalr_sdk_set_up", default=None)
