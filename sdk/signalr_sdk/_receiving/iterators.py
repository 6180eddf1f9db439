"""The iterators of users: `Stream` over the items of a hub method, `Messages` over the events of a name.

The user holds the iterator, and the connection holds the queue only. So an iterator that the user lets go of, by a
`break` out of a bare `async for` for example, is collected and then cancels its stream on the server.
"""

from __future__ import annotations

import asyncio
import enum
from typing import TYPE_CHECKING, Any, Generic, Self, TypeVar

from .._guard.copying import Uncopied
from .._guard.loops import check_loop, loop_or_none

if TYPE_CHECKING:
    from collections import deque
    from collections.abc import Awaitable, Callable

    from .queues import AwaitedQueue, EventQueue, StreamQueue

T = TypeVar("T")


class _Phase(enum.Enum):
    NEW = enum.auto()
    OPENING = enum.auto()
    OPEN = enum.auto()
    OVER = enum.auto()


class StreamCall:
    """The part of a `Stream` that the connection makes.

    Args:
        queue: gets the items.
        open_: sends the call, and returns a function that cancels the stream. A cancelled `open_` has sent nothing.
        discard: closes the sources of uploads, if the call was never sent.
    """

    __slots__ = ("discard", "loop", "open", "queue")

    def __init__(
        self,
        queue: StreamQueue,
        open_: Callable[[], Awaitable[Callable[[], None]]],
        discard: Callable[[], None],
    ) -> None:
        self.queue: StreamQueue = queue
        self.open: Callable[[], Awaitable[Callable[[], None]]] = open_
        self.discard: Callable[[], None] = discard
        self.loop: asyncio.AbstractEventLoop | None = loop_or_none()


class Stream(Uncopied, Generic[T]):
    """The items that a streaming hub method yields: an async iterator and an async context manager.

    `HubConnection.stream` makes it. The call is sent at the first `__anext__` or `__aenter__`. The stream is cancelled
    on the server, once, by `cancel()`, by leaving the `async with`, or when the object is garbage collected.

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
        self._release: Callable[[], None] = call.discard

    def __aiter__(self) -> Self:
        check_loop(self._call.loop)
        return self

    async def __anext__(self) -> T:
        queue = self._queue
        if not queue.messages:
            await self._fill()
        item = queue.take()
        return item if self._convert is None else self._convert(item)

    async def _fill(self) -> None:
        """Return when a message waits in the queue; raise the exception that ends the iteration."""
        queue = self._queue
        check_loop(self._call.loop)
        while not queue.messages:
            if self._phase is _Phase.NEW:
                await self._open()
            elif queue.ended:
                self._phase = _Phase.OVER
                raise queue.end_of_iteration()
            else:
                await queue.wait()

    async def next(self, timeout: float | None = None) -> T:
        """Return the next item.

        Args:
            timeout: seconds to wait; `None` for no limit.

        Raises:
            TimeoutError: no item came in time; no item is lost, and the stream goes on.
            StopAsyncIteration: the stream has ended.
            HubError: the hub method failed.
            ConnectionClosedError: the connection is lost.
            StreamOverflowError: this consumer was too slow.
            ResultTypeError: the item does not fit `item_type`; the stream goes on.
        """
        check_loop(self._call.loop)
        async with asyncio.timeout(timeout):
            return await self.__anext__()

    async def cancel(self) -> None:
        """End the stream: nothing more is delivered, and the hub method is cancelled. Idempotent."""
        check_loop(self._call.loop)
        self._cancel()

    async def __aenter__(self) -> Self:
        if self._phase is _Phase.NEW:
            await self._open()
        return self

    async def __aexit__(self, *_exception: object) -> None:
        self._cancel()

    async def _open(self) -> None:
        self._phase = _Phase.OPENING
        self._call.loop = asyncio.get_running_loop()
        # The queue joins the backlog only now: a stream that is never used leaves no trace.
        self._queue.account.join(self._queue)
        try:
            self._release = await self._call.open()
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
            self._release()
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
            self._release()

    def __del__(self) -> None:
        # The garbage collector may run this on any thread, also when the loop is closed.
        phase = getattr(self, "_phase", _Phase.OVER)
        if phase is _Phase.OVER or self._call.loop is None or self._call.loop.is_closed():
            return
        self._phase = _Phase.OVER
        queue, release = self._queue, self._release
        self._call.loop.call_soon_threadsafe(_abandon, queue, release)


def _abandon(queue: AwaitedQueue, release: Callable[[], None]) -> None:
    if not queue.ended:
        queue.end()
        release()
    queue.clear()


async def fetch(source: Stream[Any] | Messages, into: deque[Any], count: int, size: int) -> None:
    """Wait until something has come, and move a batch of messages to a consumer on another thread.

    Cancelling it loses nothing: messages that were taken are in `into`.

    Args:
        source: the iterator.
        into: gets the batch.
        count: the largest number of messages.
        size: the number of bytes after which no further message is taken.
    """
    queue = source._queue  # noqa: SLF001 - one module, one owner
    if not queue.messages:
        await source._fill()  # noqa: SLF001 - as above
    into.extend(queue.take_many(min(count, queue.mark), size))


def converter_of(stream: Stream[T]) -> Callable[[Any], T] | None:
    """Return the function that converts a decoded item to `item_type`, on any thread; `None` if there is no type."""
    return stream._convert  # noqa: SLF001 - one module, one owner


class Messages(Uncopied):
    """Events of one name as an async iterator of argument tuples, and an async context manager.

    `HubConnection.messages` makes it. It gets events from then on, until it is closed or garbage collected, or the
    connection is `DISCONNECTED` for good.

    Example:
        ```python
        async for user, text in hub.messages("ReceiveMessage"):
            print(user, text)
        ```
    """

    def __init__(
        self,
        queue: EventQueue,
        release: Callable[[EventQueue], None],
        loop: Callable[[], asyncio.AbstractEventLoop | None],
    ) -> None:
        self._queue = queue
        self._loop = loop
        # Any thread may call it.
        self._release = release

    def __aiter__(self) -> Self:
        check_loop(self._loop())
        return self

    async def __anext__(self) -> tuple[Any, ...]:
        queue = self._queue
        if not queue.messages:
            await self._fill()
        return tuple(queue.take())

    async def _fill(self) -> None:
        """Return when a message waits in the queue; raise the exception that ends the iteration."""
        queue = self._queue
        check_loop(self._loop())
        while not queue.messages:
            if queue.ended:
                raise queue.end_of_iteration()
            await queue.wait()

    async def next(self, timeout: float | None = None) -> tuple[Any, ...]:
        """Return the arguments of the next event.

        Args:
            timeout: seconds to wait; `None` for no limit.

        Raises:
            TimeoutError: no event came in time.
            StopAsyncIteration: the iterator is closed, or the connection has ended.
        """
        check_loop(self._loop())
        async with asyncio.timeout(timeout):
            return await self.__anext__()

    def close(self) -> None:
        """Get no more events, and discard those that wait. Idempotent."""
        self._queue.end()
        self._queue.clear()
        self._release(self._queue)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_exception: object) -> None:
        self.close()

    def __del__(self) -> None:
        # The garbage collector may run this on any thread.
        if not self._queue.ended:
            self._release(self._queue)
