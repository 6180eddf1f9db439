"""The queues of received messages: for iterators, for handlers, and for requests for a client result."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Coroutine
from typing import TYPE_CHECKING, Any, Final

import attrs

from .._guard.futures import resolve
from ..errors import HubError, StreamOverflowError
from .backlog import Backlog, WaitingQueue

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from .._core.logs import Log
    from ..messages import Invocation


class AwaitedQueue(WaitingQueue):
    """A queue whose consumer, an async iterator, can wait for messages.

    Attributes:
        ended: whether no more messages can be added.
        error: the error that the iteration raises once after the last message; `None` for an end without error.
    """

    __slots__ = ("_waiters", "ended", "error")

    def __init__(self, backlog: Backlog, mark: int) -> None:
        super().__init__(backlog, mark)
        self.ended: bool = False
        self.error: Exception | None = None
        self._waiters: list[asyncio.Future[None]] = []

    def put_all(self, messages: Iterable[Any], sizes: Sequence[int]) -> None:
        """See `WaitingQueue.put_all`. After `end`, nothing is added."""
        if self.ended:
            return
        super().put_all(messages, sizes)
        if self._waiters:
            self.wake()

    def end(self, error: Exception | None = None) -> None:
        """Accept no more messages. After the last waiting message was taken, the iteration raises `error`."""
        if not self.ended:
            self.ended = True
            self.error = error
            # The queue cannot grow any more: do not stop reading for its messages, and do not drop its messages.
            self.account.leave(self)
            self.wake()

    def wake(self) -> None:
        """Make all pending calls of `wait` return. Each caller must then check whether the queue has a message."""
        waiters, self._waiters = self._waiters, []
        for waiter in waiters:
            # Skip futures of a closed event loop: nobody can wait for them, and `resolve` would raise an exception.
            if not waiter.get_loop().is_closed():
                resolve(waiter, None)

    async def wait(self) -> None:
        """Wait until a message is added or `end` is called. If `wait` is cancelled, no message is lost."""
        waiter = asyncio.get_running_loop().create_future()
        self._waiters.append(waiter)
        try:
            await waiter
        except asyncio.CancelledError:
            if waiter in self._waiters:
                self._waiters.remove(waiter)
            raise

    def end_of_iteration(self) -> Exception:
        """Return the exception that ends the iteration: `error` at the first call, StopAsyncIteration later."""
        error, self.error = self.error, None
        return StopAsyncIteration() if error is None else error


class StreamQueue(AwaitedQueue):
    """The queue of received items of one stream.

    The session calls `items` for stream items from the server, and `completed` for the completion.

    Attributes:
        finished: a callback that `Calls` sets, called once when the server has completed the stream.
        overflowed: a callback that `Calls` sets, called when the consumer was too slow. `overflowed` cancels the stream
            on the server.
    """

    __slots__ = ("_method", "finished", "overflowed")

    def __init__(self, backlog: Backlog, mark: int, method: str) -> None:
        super().__init__(backlog, mark)
        self._method = method
        self.finished: Callable[[], None]
        self.overflowed: Callable[[], None]

    # The session calls `items` with received stream items, which are put into the queue unchanged.
    items: Final = AwaitedQueue.put_all

    def completed(self, _result: Any, error: str | None) -> None:
        """End the stream. If the completion has an error, the iteration raises HubError after the last item."""
        self.end(None if error is None else HubError(error, self._method))
        self.finished()

    def shed(self, excess: int) -> None:
        """End the stream with StreamOverflowError instead of dropping items: users would not notice missing items."""
        buffered = len(self.messages)
        self.end(
            StreamOverflowError(
                f"the consumer of the stream '{self._method}' was too slow: {buffered} items wait and go over "
                f"Limits.buffered_bytes ({self.account.limit}); the stream was cancelled",
                buffered,
            )
        )
        self.overflowed()


class EventQueue(AwaitedQueue):
    """The queue of one `Messages` iterator. The queue may drop old events.

    Attributes:
        named: whether each message is a tuple (name, arguments) of an event, for `HubConnection.events`. Otherwise each
            message is the list of arguments of an event, for `HubConnection.messages`.
    """

    __slots__ = ("_dropped", "_newest", "_report", "named")

    def __init__(
        self, backlog: Backlog, mark: int, *, named: bool, newest: bool, dropped: Callable[[int], None]
    ) -> None:
        super().__init__(backlog, mark)
        backlog.join(self)
        self.named: Final = named
        self._newest = newest
        self._dropped = 0
        # `_report` is called with the number of dropped events when the consumer is fast enough again, or when the
        # queue has ended.
        self._report = dropped

    def put_event(self, name: str, arguments: list[Any], size: int) -> None:
        """Add an event. `size` is the number of bytes of its message, as received."""
        self.put((name, arguments) if self.named else arguments, size)

    def put_all(self, messages: Iterable[Any], sizes: Sequence[int]) -> None:
        """See `WaitingQueue.put_all`. With `overflow="drop_oldest"`, only the newest events are kept."""
        if self._newest and not self.ended:
            messages, sizes = list(messages)[-self.mark :], sizes[-self.mark :]
            for _ in range(len(self.messages) + len(sizes) - self.mark):
                self.take()
        super().put_all(messages, sizes)

    def release_taken(self) -> None:
        """See `WaitingQueue.release_taken`. Report dropped events when the consumer is fast enough again."""
        super().release_taken()
        if self._dropped and self.caught_up:
            self._report_dropped()

    def take_many(self, count: int, size: int) -> list[Any]:
        """See `WaitingQueue.take_many`.

        With `overflow="drop_oldest"`, take only one event: taken events can no longer be dropped.
        """
        return super().take_many(1 if self._newest else count, size)

    def end(self, error: Exception | None = None) -> None:
        """See `AwaitedQueue.end`."""
        super().end(error)
        if self._dropped:
            self._report_dropped()

    def note_dropped(self, messages: list[Any]) -> None:
        """Count dropped events. The count is reported when the consumer is fast enough again or the queue ends."""
        self._dropped += len(messages)

    def _report_dropped(self) -> None:
        dropped, self._dropped = self._dropped, 0
        self._report(dropped)


@attrs.define(eq=False)
class LifecycleEvent:
    """A lifecycle event, such as "closed". It waits in one queue with the received events, which keeps their order."""

    name: str
    arguments: tuple[Any, ...]


class HandlerQueue(WaitingQueue):
    """The queue of events for handlers. Each message is a tuple (target, arguments), or a `LifecycleEvent`.

    If the queue is too full, the oldest events are dropped. Lifecycle events are never dropped.

    Attributes:
        dropped: the number of dropped events that were not reported yet.
    """

    __slots__ = ("dropped",)

    def __init__(self, backlog: Backlog, mark: int) -> None:
        super().__init__(backlog, mark)
        self.dropped: int = 0

    def take_dropped(self) -> int:
        """Return the number of dropped events, and set `dropped` to zero."""
        dropped, self.dropped = self.dropped, 0
        return dropped

    def note_dropped(self, messages: list[Any]) -> None:
        """Count the events among the dropped messages, and put lifecycle events back at the front of the queue."""
        kept = [message for message in messages if message.__class__ is LifecycleEvent]
        self.dropped += len(messages) - len(kept)
        self.messages.extendleft(reversed(kept))
        self.sizes.extendleft(0 for _ in kept)


Respond = Callable[[str, Any, "str | None"], Coroutine[Any, Any, None]]
"""Sends a client result. Arguments: the id of the server's invocation, the result, and the error text or `None`."""


# A dropped request for a client result is refused: the server gets an error as the answer. To limit memory, at most
# `_REFUSALS` answers wait until the server reads them, and only those to requests whose id is not longer than `_ID`.
_REFUSALS, _ID = 4096, 128


class ClientResultQueue(WaitingQueue):
    """The queue of the server's requests for client results. `Limits.client_results` says how many run at a time.

    Attributes:
        refused: the dropped requests that must be answered with an error: the id, and the function that answers.
    """

    __slots__ = ("_logger", "_refuse", "_responds", "refused")

    def __init__(self, backlog: Backlog, mark: int, log: Log, refuse: Callable[[], None]) -> None:
        super().__init__(backlog, mark)
        self.refused: deque[tuple[str, Respond]] = deque()
        self._logger = log
        self._refuse = refuse  # called when `refused` has new requests
        self._responds: deque[Respond] = deque()

    def add(self, message: Invocation, respond: Respond) -> None:
        """Add a server's request for a client result. `respond` sends the answer over the request's connection."""
        self._responds.append(respond)
        self.put(message, message.size)

    def take_first(self) -> tuple[Invocation, Respond]:
        """Remove the oldest request for a client result; return the request and the function that answers it."""
        return self.take(), self._responds.popleft()

    def clear(self) -> None:
        """Discard all requests for a client result. The server gets no answer to a discarded request."""
        self.refused.clear()
        self._responds.clear()
        super().clear()

    def note_dropped(self, messages: list[Invocation]) -> None:
        """Log how many requests for a client result were dropped, and add the requests to `refused`."""
        unanswered = 0
        for message in messages:
            respond, invocation_id = self._responds.popleft(), message.invocation_id or ""
            if len(self.refused) < _REFUSALS and len(invocation_id) <= _ID:
                self.refused.append((invocation_id, respond))
            else:
                unanswered += 1
        left = f"; {unanswered} of them without an answer" if unanswered else ""
        text = "%d questions of the hub were dropped: more wait than Limits.buffered_bytes allows%s"
        self._logger.warning(text, len(messages), left)
        self._refuse()
