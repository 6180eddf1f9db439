"""Async iterators for users: `Stream` over the items of a hub method, `Messages` over events.

The connection has no reference to the iterator, only to its queue. If the user drops the iterator, for example by a
`break` out of an `async for` loop, Python frees the iterator, whose `__del__` then cancels the stream on the server.
"""

from __future__ import annotations

import asyncio
import enum
from typing import TYPE_CHECKING, Any, Generic, NamedTuple, Self, TypeVar

import attrs

from .._guard.copying import Uncopied
from .._guard.loops import check_loop, loop_or_none

if TYPE_CHECKING:
    from collections import deque
    from collections.abc import Awaitable, Callable

    from typing_extensions import TypeVar as TypeVarWithDefault

    from .queues import AwaitedQueue, EventQueue, StreamQueue

    # What a `Messages` iterator returns for an event. `Messages` without a type argument has tuples of arguments.
    E = TypeVarWithDefault("E", default=tuple[Any, ...])
else:
    E = TypeVar("E")  # `typing.TypeVar` has no `default` before Python 3.13

T = TypeVar("T")


class _Phase(enum.Enum):
    NEW = enum.auto()
    OPENING = enum.auto()
    OPEN = enum.auto()
    OVER = enum.auto()


@attrs.define(eq=False)
class StreamCall:
    """The queue and the functions that a `Stream` gets from its connection.

    Attributes:
        queue: the received items.
        open: sends the call, and returns a function that cancels the stream on the server. If `open` is cancelled,
            nothing was sent.
        discard: closes the sources of the call's uploads; called if the call was never sent.
        loop: the event loop on which `stream()` was called, or `None` if no loop was running. When the call is sent,
            `loop` is set to the event loop that is running then.
    """

    queue: StreamQueue
    open: Callable[[], Awaitable[Callable[[], None]]]
    discard: Callable[[], None]
    loop: asyncio.AbstractEventLoop | None = attrs.field(factory=loop_or_none, init=False)


class Stream(Uncopied, Generic[T]):
    """The items of a streaming hub method, as an async iterator and an async context manager.

    `HubConnection.stream` returns a `Stream`. The call is sent when the iteration or the `async with` block begins. The
    stream is cancelled on the server by `cancel()`, at the end of the `async with` block, or when Python frees the
    `Stream` object.

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
        """Send the call of the stream if it was not sent yet, and wait until the queue has an item.

        After the last item, raise the exception that ends the iteration.
        """
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
        """Wait for the next item.

        Args:
            timeout: seconds to wait; `None` for no limit.

        Raises:
            TimeoutError: no item came within `timeout`. No item is lost; `next` can be called again.
            StopAsyncIteration: the stream has ended.
            HubError: the hub method failed.
            ConnectionClosedError: the connection ended before the stream.
            StreamOverflowError: the items were not read fast enough, and the stream was cancelled.
            ResultTypeError: the item does not fit `item_type`. `next` can be called again for the next item.
        """
        check_loop(self._call.loop)
        async with asyncio.timeout(timeout):
            return await self.__anext__()

    async def cancel(self) -> None:
        """End the stream, discard waiting items, and cancel the hub method. A second call does nothing."""
        check_loop(self._call.loop)
        self._cancel()

    async def __aenter__(self) -> Self:
        check_loop(self._call.loop)
        if self._phase is _Phase.NEW:
            await self._open()
        return self

    async def __aexit__(self, *_exception: object) -> None:
        await self.cancel()

    async def _open(self) -> None:
        self._phase = _Phase.OPENING
        self._call.loop = asyncio.get_running_loop()
        # Do not add the queue to the backlog before the iteration begins: if the user never iterated over the stream,
        # the backlog would keep the queue in memory.
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
        # Python may call `__del__` on any thread, and after the event loop was closed: let the loop's own thread cancel
        # the stream, since queues and calls are not thread-safe.
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


async def fetch(source: Stream[Any] | Messages[Any], into: deque[Any], count: int, size: int) -> None:
    """Wait until the queue of an iterator has a message, and move up to `count` messages from the queue into a deque.

    `signalr_sdk.sync` uses `fetch` to hand messages to another thread. If `fetch` is cancelled, no message is lost.

    Args:
        source: the iterator.
        into: the deque to which the messages are appended.
        count: the largest number of messages.
        size: stop when the moved messages have this number of bytes or more.
    """
    queue = source._queue  # noqa: SLF001 - one module, one owner
    if not queue.messages:
        await source._fill()  # noqa: SLF001 - as above
    into.extend(queue.take_many(min(count, queue.mark), size))


def converter_of(source: Stream[T] | Messages[T]) -> Callable[[Any], T] | None:
    """Return the function that makes the user's value out of a message in the queue of an iterator.

    `None` for a stream without an `item_type`: the items are not converted. The function may be called on any thread.
    """
    return source._convert  # noqa: SLF001 - one module, one owner


class HubEvent(NamedTuple):
    """An event from the hub, as the iterators of `HubConnection.events` return it.

    Attributes:
        name: the name of the event, as the server wrote it.
        arguments: the arguments of the event.

    Example:
        ```python
        event = HubEvent("ReceiveMessage", ("me", "hello"))
        name, (user, text) = event
        assert (event.name, user) == ("ReceiveMessage", "me")
        ```
    """

    name: str
    arguments: tuple[Any, ...]


def hub_event(message: tuple[str, list[Any]]) -> HubEvent:
    """Return the `HubEvent` of a message in an `EventQueue` that is `named`."""
    name, arguments = message
    return HubEvent(name, tuple(arguments))


class Messages(Uncopied, Generic[E]):
    """Events from the hub, as an async iterator and an async context manager.

    `HubConnection.messages` returns an iterator over the events of one name, as tuples of arguments.
    `HubConnection.events` returns an iterator over events of several names, as `HubEvent`s. The iterator gets the
    events that arrive after that call, and ends when `close` is called, when Python frees the iterator, or when the
    connection has ended for good.

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
        convert: Callable[[Any], E],
    ) -> None:
        self._queue = queue
        self._convert = convert
        self._loop = loop
        # A function that ends the subscription of the queue. The function must be thread-safe: `__del__` calls the
        # function on any thread.
        self._release = release

    def __aiter__(self) -> Self:
        check_loop(self._loop())
        return self

    async def __anext__(self) -> E:
        queue = self._queue
        if not queue.messages:
            await self._fill()
        return self._convert(queue.take())

    async def _fill(self) -> None:
        """Wait until the queue has an event. After the last event, raise the exception that ends the iteration."""
        queue = self._queue
        check_loop(self._loop())
        while not queue.messages:
            if queue.ended:
                raise queue.end_of_iteration()
            await queue.wait()

    async def next(self, timeout: float | None = None) -> E:
        """Wait for the next event, and return the tuple of its arguments, or its `HubEvent` from `events`.

        If `next` is cancelled, no event is lost.

        Args:
            timeout: seconds to wait; `None` for no limit.

        Raises:
            TimeoutError: no event came within `timeout`. `next` can be called again.
            StopAsyncIteration: the iterator is closed, or the connection has ended.
        """
        check_loop(self._loop())
        async with asyncio.timeout(timeout):
            return await self.__anext__()

    def close(self) -> None:
        """End the iteration, and discard waiting events. A second call does nothing."""
        self._queue.end()
        self._queue.clear()
        self._release(self._queue)

    async def __aenter__(self) -> Self:
        check_loop(self._loop())
        return self

    async def __aexit__(self, *_exception: object) -> None:
        self.close()

    def __del__(self) -> None:
        # Python may call `__del__` on any thread. `_release` is thread-safe: the event loop's thread unsubscribes.
        if not self._queue.ended:
            self._release(self._queue)
