"""What users iterate over: streams of a hub method, and events as an iterator.

The user holds a handle (`Stream`, `Messages`); the connection holds its queue only. So a handle that is let go of, by
a `break` out of a bare `async for` or by garbage collection, ends the stream on the server.
"""

from __future__ import annotations

import asyncio
import enum
from typing import TYPE_CHECKING, Any, Generic, Self, TypeVar

from ..errors import HubError, StreamOverflowError
from .backlog import Backlog, WaitingQueue

if TYPE_CHECKING:
    from collections import deque
    from collections.abc import Awaitable, Callable, Iterable, Sequence
    from types import TracebackType

T = TypeVar("T")


class ItemQueue(WaitingQueue):
    """A queue that a consumer awaits.

    Attributes:
        ended: whether nothing more comes.
        error: what the consumer is told at the end, once; `None` for an end in good order.
    """

    __slots__ = ("_waiters", "ended", "error")

    def __init__(self, backlog: Backlog, mark: int) -> None:
        super().__init__(backlog, mark)
        self.ended = False
        self.error: Exception | None = None
        self._waiters: list[asyncio.Future[None]] = []

    def put_all(self, messages: Iterable[Any], sizes: Sequence[int]) -> None:
        if self.ended:
            return
        super().put_all(messages, sizes)
        if self._waiters:
            self.wake()

    def end(self, error: Exception | None = None) -> None:
        """Let nothing more in. What waits can still be taken, then comes the error."""
        if not self.ended:
            self.ended = True
            self.error = error
            # What is left cannot grow any more, so it neither pauses reading nor has to give way.
            self.account.leave(self)
            self.wake()

    def wake(self) -> None:
        """Have all that wait look again."""
        waiters, self._waiters = self._waiters, []
        for waiter in waiters:
            if not waiter.done():
                waiter.set_result(None)

    async def wait(self) -> None:
        """Return when something has changed. Cancelling it changes nothing."""
        waiter = asyncio.get_running_loop().create_future()
        self._waiters.append(waiter)
        try:
            await waiter
        except asyncio.CancelledError:
            if waiter in self._waiters:
                self._waiters.remove(waiter)
            raise

    def last_word(self) -> Exception:
        """Return what ends the iteration now: the error for the first time, then the plain end."""
        error, self.error = self.error, None
        return StopAsyncIteration() if error is None else error


class StreamQueue(ItemQueue):
    """The items of one stream: the `Sink` that the session knows.

    Attributes:
        finished: called once when the stream has ended by itself; set by the connection.
        overflowed: called when the consumer was too slow: cancels the stream on the server.
    """

    __slots__ = ("_method", "finished", "overflowed")

    def __init__(self, backlog: Backlog, mark: int, method: str) -> None:
        super().__init__(backlog, mark)
        self._method = method
        self.finished: Callable[[], None]
        self.overflowed: Callable[[], None]

    # Called by the session's calls: it takes items as it takes anything.
    items = ItemQueue.put_all

    def completed(self, _result: Any, error: str | None) -> None:
        """Take the end."""
        self.end(None if error is None else HubError(error, self._method))
        self.finished()

    def give_way(self, excess: int) -> None:
        buffered = len(self.messages)
        self.end(
            StreamOverflowError(
                f"the consumer of the stream '{self._method}' was too slow: {buffered} items wait and go over "
                f"Limits.buffered_bytes ({self.account.limit}); the stream was cancelled",
                buffered,
            )
        )
        self.overflowed()


class _Phase(enum.Enum):
    NEW = enum.auto()
    OPENING = enum.auto()
    OPEN = enum.auto()
    OVER = enum.auto()


class StreamCall:
    """How the connection opens a stream for its handle. Everything here belongs to one stream."""

    __slots__ = ("discard", "loop", "open", "queue")

    def __init__(
        self,
        queue: StreamQueue,
        open_: Callable[[], Awaitable[Callable[[], None]]],
        discard: Callable[[], None],
    ) -> None:
        self.queue = queue
        # Sends the call; returns what lets go of it again. Cancelled, it has sent nothing.
        self.open = open_
        # Frees the sources of uploads of a call that never went out.
        self.discard = discard
        self.loop = _running_loop()


def _running_loop() -> asyncio.AbstractEventLoop | None:
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        return None


class Stream(Generic[T]):
    """The items that a streaming hub method yields: an async iterator and an async context manager.

    The call goes out at the first `__anext__` or `__aenter__`. Leaving the `async with`, `cancel()`, or letting go of
    the object cancels the stream on the server, once, and frees everything. Made by `HubConnection.stream`.

    Example:
        ```python
        async with hub.stream("Counter", 10, item_type=int) as numbers:
            async for number in numbers:
                print(number)
        ```
    """

    def __init__(self, call: StreamCall, convert: Callable[[Any], T] | None) -> None:
        self._call = call
        self._queue = call.queue
        self._convert = convert
        self._phase = _Phase.NEW
        self._let_go: Callable[[], None] = call.discard

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> T:
        queue = self._queue
        if not queue.messages:
            await self._fill()
        item = queue.take()
        return item if self._convert is None else self._convert(item)

    async def _fill(self) -> None:
        """Return when something waits in the queue; raise what ends the iteration."""
        queue = self._queue
        while not queue.messages:
            if self._phase is _Phase.NEW:
                await self._open()
            elif queue.ended:
                self._phase = _Phase.OVER
                raise queue.last_word()
            else:
                await queue.wait()

    async def next(self, timeout: float | None = None) -> T:
        """Return the next item.

        Args:
            timeout: seconds to wait; `None` for no limit.

        Raises:
            TimeoutError: nothing came; nothing is lost, and the stream goes on.
            StopAsyncIteration: the stream has ended.
            HubError: the hub method failed.
            ConnectionClosedError: the connection is lost.
            StreamOverflowError: this consumer was too slow.
            ResultTypeError: the item is no `item_type`; the stream goes on.
        """
        async with asyncio.timeout(timeout):
            return await self.__anext__()

    async def cancel(self) -> None:
        """End the stream: nothing more is delivered, and the hub method is cancelled. Idempotent."""
        self._cancel()

    async def __aenter__(self) -> Self:
        if self._phase is _Phase.NEW:
            await self._open()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._cancel()

    async def _open(self) -> None:
        self._phase = _Phase.OPENING
        self._call.loop = asyncio.get_running_loop()
        # Not before: a handle that is never used must leave no trace, and may be let go of on any thread.
        self._queue.account.join(self._queue)
        try:
            self._let_go = await self._call.open()
        except asyncio.CancelledError:
            if self._phase is _Phase.OPENING:
                self._phase = _Phase.NEW
                self._queue.wake()
            else:
                self._call.discard()
            raise
        except Exception:
            self._cancel()
            self._call.discard()
            raise
        if self._phase is _Phase.OVER:
            self._let_go()
            return
        self._phase = _Phase.OPEN

    def _cancel(self) -> None:
        if self._phase is _Phase.OVER:
            return
        phase, self._phase = self._phase, _Phase.OVER
        running = not self._queue.ended
        self._queue.end()
        self._queue.clear()
        if phase is not _Phase.OPENING and (running or phase is _Phase.NEW):
            self._let_go()

    def __del__(self) -> None:
        # May run on any thread, and when the loop is gone.
        phase = getattr(self, "_phase", _Phase.OVER)
        if phase is _Phase.OVER or self._call.loop is None or self._call.loop.is_closed():
            return
        self._phase = _Phase.OVER
        queue, let_go = self._queue, self._let_go
        self._call.loop.call_soon_threadsafe(_abandon, queue, let_go)


def _abandon(queue: ItemQueue, let_go: Callable[[], None]) -> None:
    if not queue.ended:
        queue.end()
        let_go()
    queue.clear()


class EventQueue(ItemQueue):
    """The arguments of the events of one `Messages`."""

    __slots__ = ("_dropped", "_newest", "_report")

    def __init__(self, backlog: Backlog, mark: int, *, newest: bool, dropped: Callable[[int], None]) -> None:
        super().__init__(backlog, mark)
        backlog.join(self)
        self._newest = newest
        self._dropped = 0
        # Called with the number of events that had to give way, when that is over.
        self._report = dropped

    def put_all(self, messages: Iterable[Any], sizes: Sequence[int]) -> None:
        if self._newest and not self.ended:
            messages, sizes = list(messages)[-self.mark :], sizes[-self.mark :]
            for _ in range(len(self.messages) + len(sizes) - self.mark):
                self.take()
        super().put_all(messages, sizes)

    def take(self) -> Any:
        message = super().take()
        if self._dropped and self.calm:
            self._report_dropped()
        return message

    def take_many(self, count: int, size: int) -> list[Any]:
        # What a thread has in its hands grows old there: who wants the newest gets one at a time.
        taken = super().take_many(1 if self._newest else count, size)
        if self._dropped and self.calm:
            self._report_dropped()
        return taken

    def end(self, error: Exception | None = None) -> None:
        super().end(error)
        if self._dropped:
            self._report_dropped()

    def give_way(self, excess: int) -> None:
        goal = self.held - excess
        while self.held > goal and len(self.messages) > 1:
            super().take()
            self._dropped += 1

    def _report_dropped(self) -> None:
        dropped, self._dropped = self._dropped, 0
        self._report(dropped)


async def fetch(source: Stream[Any] | Messages, into: deque[Any], count: int, size: int) -> None:
    """Wait until something has come, and move a batch of it, for a consumer on another thread.

    Cancelling it loses nothing: what was taken is in `into`.

    Args:
        source: what is iterated over.
        into: where to.
        count: so many at most.
        size: no further one when they have so many bytes.
    """
    queue = source._queue  # noqa: SLF001 - one module, one owner
    if not queue.messages:
        await source._fill()  # noqa: SLF001 - as above
    into.extend(queue.take_many(min(count, queue.mark), size))


def converter_of(stream: Stream[T]) -> Callable[[Any], T] | None:
    """Return what makes a typed item of one as decoded, on any thread; `None` for nothing to do."""
    return stream._convert  # noqa: SLF001 - one module, one owner


class Messages:
    """Events of one name as an async iterator of argument tuples, and an async context manager.

    Subscribed from the moment it is made until it is closed, let go of, or the connection is `DISCONNECTED` for good.
    Made by `HubConnection.messages`.

    Example:
        ```python
        async for user, text in hub.messages("ReceiveMessage"):
            print(user, text)
        ```
    """

    def __init__(self, queue: EventQueue, let_go: Callable[[EventQueue], None]) -> None:
        self._queue = queue
        # Safe to call on any thread.
        self._let_go = let_go

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> tuple[Any, ...]:
        queue = self._queue
        if not queue.messages:
            await self._fill()
        return tuple(queue.take())

    async def _fill(self) -> None:
        """Return when something waits in the queue; raise what ends the iteration."""
        queue = self._queue
        while not queue.messages:
            if queue.ended:
                raise queue.last_word()
            await queue.wait()

    async def next(self, timeout: float | None = None) -> tuple[Any, ...]:
        """Return the arguments of the next event.

        Args:
            timeout: seconds to wait; `None` for no limit.

        Raises:
            TimeoutError: nothing came.
            StopAsyncIteration: it is closed, or the connection has ended.
        """
        async with asyncio.timeout(timeout):
            return await self.__anext__()

    def close(self) -> None:
        """Unsubscribe and throw away what waits. Idempotent."""
        self._queue.end()
        self._queue.clear()
        self._let_go(self._queue)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def __del__(self) -> None:
        # May run on any thread.
        if not self._queue.ended:
            self._let_go(self._queue)
