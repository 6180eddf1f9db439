"""The queues in which received messages wait: for handlers, for iterators, and for places among client results."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Coroutine
from typing import TYPE_CHECKING, Any, Final

import attrs

from ..errors import HubError, StreamOverflowError
from .backlog import Backlog, WaitingQueue

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from .._core.logs import Log
    from ..messages import Invocation


class AwaitedQueue(WaitingQueue):
    """A queue whose consumer is an iterator, which awaits messages.

    Attributes:
        ended: whether nothing more comes.
        error: the error that ends the iteration, raised once; `None` for an end in good order.
    """

    __slots__ = ("_waiters", "ended", "error")

    def __init__(self, backlog: Backlog, mark: int) -> None:
        super().__init__(backlog, mark)
        self.ended: bool = False
        self.error: Exception | None = None
        self._waiters: list[asyncio.Future[None]] = []

    def put_all(self, messages: Iterable[Any], sizes: Sequence[int]) -> None:
        """See `WaitingQueue.put_all`. After the end nothing is added."""
        if self.ended:
            return
        super().put_all(messages, sizes)
        if self._waiters:
            self.wake()

    def end(self, error: Exception | None = None) -> None:
        """Let nothing more in. Messages that wait can still be taken; after them the iteration ends with the error."""
        if not self.ended:
            self.ended = True
            self.error = error
            # The rest cannot grow any more, so it neither pauses reading nor has to be shed.
            self.account.leave(self)
            self.wake()

    def wake(self) -> None:
        """Have all callers of `wait` look again."""
        waiters, self._waiters = self._waiters, []
        for waiter in waiters:
            # On a closed loop a future cannot call back, and nobody waits.
            if not waiter.done() and not waiter.get_loop().is_closed():
                waiter.set_result(None)

    async def wait(self) -> None:
        """Return when a message or the end has come. Cancelling it changes nothing."""
        waiter = asyncio.get_running_loop().create_future()
        self._waiters.append(waiter)
        try:
            await waiter
        except asyncio.CancelledError:
            if waiter in self._waiters:
                self._waiters.remove(waiter)
            raise

    def end_of_iteration(self) -> Exception:
        """Return the exception that ends the iteration: the error at the first call, then `StopAsyncIteration`."""
        error, self.error = self.error, None
        return StopAsyncIteration() if error is None else error


class StreamQueue(AwaitedQueue):
    """The items of one stream: a `Sink` of the session.

    Attributes:
        finished: called once when the stream has ended by itself; set by the connection.
        overflowed: called when the consumer was too slow; cancels the stream on the server.
    """

    __slots__ = ("_method", "finished", "overflowed")

    def __init__(self, backlog: Backlog, mark: int, method: str) -> None:
        super().__init__(backlog, mark)
        self._method = method
        self.finished: Callable[[], None]
        self.overflowed: Callable[[], None]

    # The session hands stream items on by this name.
    items: Final = AwaitedQueue.put_all

    def completed(self, _result: Any, error: str | None) -> None:
        """End the stream with its completion."""
        self.end(None if error is None else HubError(error, self._method))
        self.finished()

    def shed(self, excess: int) -> None:
        """Fail the whole stream: a stream with a gap would be wrong without a sign."""
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
    """The arguments of the events of one `Messages` iterator."""

    __slots__ = ("_dropped", "_newest", "_report")

    def __init__(self, backlog: Backlog, mark: int, *, newest: bool, dropped: Callable[[int], None]) -> None:
        super().__init__(backlog, mark)
        backlog.join(self)
        self._newest = newest
        self._dropped = 0
        # Called with the number of dropped events when the consumer has caught up.
        self._report = dropped

    def put_all(self, messages: Iterable[Any], sizes: Sequence[int]) -> None:
        """See `WaitingQueue.put_all`. With `overflow="drop_oldest"` only the newest events stay."""
        if self._newest and not self.ended:
            messages, sizes = list(messages)[-self.mark :], sizes[-self.mark :]
            for _ in range(len(self.messages) + len(sizes) - self.mark):
                self.take()
        super().put_all(messages, sizes)

    def release_taken(self) -> None:
        """See `WaitingQueue.release_taken`; report dropped events when the consumer has caught up."""
        super().release_taken()
        if self._dropped and self.caught_up:
            self._report_dropped()

    def take_many(self, count: int, size: int) -> list[Any]:
        """See `WaitingQueue.take_many`. A consumer that wants the newest event gets one, since more would grow old."""
        return super().take_many(1 if self._newest else count, size)

    def end(self, error: Exception | None = None) -> None:
        """See `AwaitedQueue.end`."""
        super().end(error)
        if self._dropped:
            self._report_dropped()

    def shed(self, excess: int) -> None:
        """Drop the oldest events."""
        goal = self.held - excess
        while self.held > goal and len(self.messages) > 1:
            self._dropped += 1
            self.messages.popleft()
            WaitingQueue.release_taken(self)

    def _report_dropped(self) -> None:
        dropped, self._dropped = self._dropped, 0
        self._report(dropped)


@attrs.define(eq=False)
class LifecycleEvent:
    """Waits among the events, so that its handlers run between those of the events around it."""

    name: str
    arguments: tuple[Any, ...]


class HandlerQueue(WaitingQueue):
    """The events that wait for handlers, as (target, arguments), and the lifecycle events, which are never dropped.

    Attributes:
        dropped: the number of events that were dropped since handlers were last fast enough.
    """

    __slots__ = ("dropped",)

    def __init__(self, backlog: Backlog, mark: int) -> None:
        super().__init__(backlog, mark)
        self.dropped = 0

    def take_dropped(self) -> int:
        """Return the number of dropped events, and count from zero again."""
        dropped, self.dropped = self.dropped, 0
        return dropped

    def shed(self, excess: int) -> None:
        """Drop the oldest events."""
        goal, kept = self.held - excess, []
        while self.held > goal and len(self.messages) > 1:
            message = self.take()
            if message.__class__ is LifecycleEvent:
                kept.append(message)
            else:
                self.dropped += 1
        self.messages.extendleft(reversed(kept))
        self.sizes.extendleft(0 for _ in kept)


Respond = Callable[[str, Any, "str | None"], Coroutine[Any, Any, None]]
"""Sends a client result: the id of the server's invocation, the result, and the error if there is one."""


class ClientResultQueue(WaitingQueue):
    """The invocations that want a client result and wait for one of the `Limits.client_results` places."""

    __slots__ = ("_logger", "_responds")

    def __init__(self, backlog: Backlog, mark: int, log: Log) -> None:
        super().__init__(backlog, mark)
        self._logger = log
        self._responds: deque[Respond] = deque()

    def add(self, message: Invocation, respond: Respond) -> None:
        """Add an invocation, and what answers it on the connection that it came over."""
        self._responds.append(respond)
        self.put(message, message.size)

    def take_first(self) -> tuple[Invocation, Respond]:
        """Return and remove the oldest invocation with what answers it."""
        return self.take(), self._responds.popleft()

    def clear(self) -> None:
        """Discard all invocations."""
        self._responds.clear()
        super().clear()

    def shed(self, excess: int) -> None:
        """Drop the oldest invocations, which get no answer."""
        goal, dropped = self.held - excess, 0
        while self.held > goal and len(self.messages) > 1:
            self.take_first()
            dropped += 1
        self._logger.warning(
            "%d questions of the hub were dropped: more wait than Limits.buffered_bytes allows", dropped
        )
