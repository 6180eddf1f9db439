"""`Stream` iterates over the items of a streaming hub method, and `Messages` over the events of one name."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import TYPE_CHECKING, Any, Generic, Self, TypeVar

from .._guard.copying import Uncopied
from .._receiving.iterators import Messages as AsyncMessages
from .._receiving.iterators import Stream as AsyncStream
from .._receiving.iterators import converter_of, fetch
from .twins import twin_of

if TYPE_CHECKING:
    from .loop_use import LoopUse

T = TypeVar("T")

# A batch for the consumer's thread is full with so many items, or when its items had so many bytes on the wire.
_ITEMS = 256
_BYTES = 256 * 1024


class _BatchReader:
    """Moves items or events in batches from the loop's thread to the threads that iterate."""

    def __init__(self, source: AsyncStream[Any] | AsyncMessages, loop_use: LoopUse) -> None:
        self.source = source
        self._loop_use = loop_use
        # The loop's thread adds items directly to this deque, so Ctrl-C during a wait loses no item.
        self.messages: deque[Any] = deque()

    def next(self, timeout: float | None) -> Any:
        """Wait for the next item or event and return it."""
        while True:
            try:
                return self.messages.popleft()
            except IndexError:
                # Fetch, and then try the deque again: another thread may take all items that were fetched.
                self._fetch(timeout)

    def _fetch(self, timeout: float | None) -> None:
        try:
            self._loop_use.call(self._fill, timeout)
        except StopAsyncIteration:
            raise StopIteration from None

    async def _fill(self, timeout: float | None) -> None:
        async with asyncio.timeout(timeout):
            await fetch(self.source, self.messages, _ITEMS, _BYTES)


@twin_of(AsyncStream)
class Stream(Uncopied, Generic[T]):
    """The items that a streaming hub method yields: an iterator and a context manager.

    `HubConnection.stream` returns a stream. The call is sent when the first item is asked for, or at the `with`. The
    stream is cancelled on the server, once: by `cancel()`, by leaving the `with`, or when the object is garbage
    collected, for example after a `break` out of a bare `for`. Several threads may share a stream: each item goes to
    one thread.

    Example:
        ```python
        with hub.stream("Counter", 10, item_type=int) as numbers:
            for number in numbers:
                print(number)
        ```
    """

    def __init__(self, stream: AsyncStream[T], loop_use: LoopUse) -> None:
        self._stream = stream
        self._loop_use = loop_use
        self._reader = _BatchReader(stream, loop_use)
        self._convert = converter_of(stream)

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> T:
        item = self._reader.next(None)
        return item if self._convert is None else self._convert(item)

    def next(self, timeout: float | None = None) -> T:
        """Return the next item.

        Args:
            timeout: seconds to wait; `None` for no limit.

        Raises:
            TimeoutError: no item came in time; no item is lost, and the stream goes on.
            StopIteration: the stream has ended.
            HubError: the hub method failed.
            ConnectionClosedError: the connection is lost.
            StreamOverflowError: this consumer was too slow.
            ResultTypeError: the item does not fit `item_type`; the stream goes on.
        """
        item = self._reader.next(timeout)
        return item if self._convert is None else self._convert(item)

    def cancel(self) -> None:
        self._loop_use.call(self._stream.cancel)
        self._reader.messages.clear()

    def __enter__(self) -> Self:
        self._loop_use.call(self._stream.__aenter__)
        return self

    def __exit__(self, *_exception: object) -> None:
        self.cancel()


@twin_of(AsyncMessages)
class Messages(Uncopied):
    """An iterator over the events of one name, which gives the arguments of each event as a tuple. A context manager.

    `HubConnection.messages` returns this iterator, which gets events from then on: until the iterator is closed or
    garbage collected, or the connection has ended for good. Several threads may share an iterator: each event goes to
    one thread.

    Example:
        ```python
        for user, text in hub.messages("ReceiveMessage"):
            print(user, text)
        ```
    """

    def __init__(self, messages: AsyncMessages, loop_use: LoopUse) -> None:
        self._messages = messages
        self._loop_use = loop_use
        self._reader = _BatchReader(messages, loop_use)

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> tuple[Any, ...]:
        return tuple(self._reader.next(None))

    def next(self, timeout: float | None = None) -> tuple[Any, ...]:
        """Return the arguments of the next event.

        Args:
            timeout: seconds to wait; `None` for no limit.

        Raises:
            TimeoutError: no event came in time.
            StopIteration: the iterator is closed, or the connection has ended.
        """
        return tuple(self._reader.next(timeout))

    def close(self) -> None:
        self._loop_use.call(self._messages.close)
        self._reader.messages.clear()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exception: object) -> None:
        self.close()
