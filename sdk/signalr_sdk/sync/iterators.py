"""`Stream` iterates over the items of a streaming hub method, and `Messages` over events."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import TYPE_CHECKING, Any, Generic, Self, TypeVar

from .._guard.copying import Uncopied
from .._receiving.iterators import E, converter_of, fetch
from .._receiving.iterators import Messages as AsyncMessages
from .._receiving.iterators import Stream as AsyncStream
from .twins import twin_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from .loop_use import LoopUse

T = TypeVar("T")

# The largest batch that the event loop's thread hands to an iterating thread: a number of items or events, and their
# bytes on the wire. A batch without a limit would empty the queue of a slow iteration, and the connection would never
# pause reading.
_ITEMS = 256
_BYTES = 256 * 1024


class _BatchIterator(Uncopied, Generic[T]):
    """Iterates on any thread over the items of an asyncio iterator, which the event loop's thread fetches in batches.

    Args:
        source: the asyncio iterator.
        loop_use: runs calls on the event loop's thread.
        convert: makes a value for the user out of a decoded item; `None` to return decoded items unchanged.
    """

    def __init__(self, source: Any, loop_use: LoopUse, convert: Callable[[Any], T] | None) -> None:
        self._source = source
        self._loop_use = loop_use
        self._convert = convert
        # The event loop's thread adds items directly to this deque: Ctrl-C can interrupt the waiting thread at any
        # time, and items that were on their way to this thread would be lost.
        self._fetched: deque[Any] = deque()

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> T:
        return self._take(None)

    def _take(self, timeout: float | None) -> T:
        """Return the next item. If no item was fetched yet, block the calling thread for at most `timeout` seconds.

        Raises:
            TimeoutError: no item came within `timeout`.
            StopIteration: there are no further items.
        """
        while True:
            try:
                item = self._fetched.popleft()
            except IndexError:
                # Fetch items into `_fetched`, and then try `popleft` again. Repeat in a loop: another thread may have
                # taken all fetched items.
                self._loop_use.call_next(self._fill, timeout)
            else:
                convert = self._convert
                return item if convert is None else convert(item)

    async def _fill(self, timeout: float | None) -> None:
        async with asyncio.timeout(timeout):
            await fetch(self._source, self._fetched, _ITEMS, _BYTES)


@twin_of(AsyncStream)
class Stream(_BatchIterator[T]):
    """The items of a streaming hub method, as an iterator and a context manager.

    `HubConnection.stream` returns a `Stream`. The call is sent when the iteration or the `with` block begins. The
    stream is cancelled on the server by `cancel()`, at the end of the `with` block, or when Python frees the `Stream`
    object, for example after a `break` out of a `for` loop. Several threads may share a stream: each item goes to one
    thread.

    Example:
        ```python
        with hub.stream("Counter", 10, item_type=int) as numbers:
            for number in numbers:
                print(number)
        ```
    """

    def __init__(self, stream: AsyncStream[T], loop_use: LoopUse) -> None:
        super().__init__(stream, loop_use, converter_of(stream))

    def next(self, timeout: float | None = None) -> T:
        """Return the next item of the stream; wait for it if necessary.

        Args:
            timeout: seconds to wait; `None` for no limit.

        Raises:
            TimeoutError: no item came within `timeout`. No item is lost; `next` can be called again.
            StopIteration: the stream has ended.
            HubError: the hub method failed.
            ConnectionClosedError: the connection ended before the stream.
            StreamOverflowError: the items were not read fast enough, and the stream was cancelled.
            ResultTypeError: the item does not fit `item_type`. `next` can be called again for the next item.
        """
        return self._take(timeout)

    def cancel(self) -> None:
        self._loop_use.call(self._source.cancel)
        self._fetched.clear()

    def __enter__(self) -> Self:
        self._loop_use.call(self._source.__aenter__)
        return self

    def __exit__(self, *_exception: object) -> None:
        self.cancel()


@twin_of(AsyncMessages)
class Messages(_BatchIterator[E], Generic[E]):
    """Events from the hub, as an iterator and a context manager.

    `HubConnection.messages` returns an iterator over the events of one name, as tuples of arguments.
    `HubConnection.events` returns an iterator over events of several names, as `HubEvent`s. The iterator gets the
    events that arrive after that call, and ends when `close` is called, when Python frees the iterator, or when the
    connection has ended for good. Several threads may share an iterator: each event goes to one thread.

    Example:
        ```python
        for user, text in hub.messages("ReceiveMessage"):
            print(user, text)
        ```
    """

    def __init__(self, messages: AsyncMessages[E], loop_use: LoopUse) -> None:
        super().__init__(messages, loop_use, converter_of(messages))

    def next(self, timeout: float | None = None) -> E:
        """Return the tuple of the arguments of the next event, or its `HubEvent` from `events`; wait if necessary.

        Args:
            timeout: seconds to wait; `None` for no limit.

        Raises:
            TimeoutError: no event came within `timeout`. `next` can be called again.
            StopIteration: the iterator is closed, or the connection has ended.
        """
        return self._take(timeout)

    def close(self) -> None:
        self._loop_use.call(self._source.close)
        self._fetched.clear()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exception: object) -> None:
        self.close()
