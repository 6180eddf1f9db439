"""`ClientStream`: a stream of items that a client sends and a hub method iterates over."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import TYPE_CHECKING, Any, Self

from .._guard.futures import resolve
from ..messages import Completion, StreamItem
from .hubs import HubException
from .waiters import Waiters

if TYPE_CHECKING:
    from collections.abc import Callable

# The server stops reading from a client while this number of items, or of bytes, of one stream waits for the hub
# method: otherwise the items for a slow hub method would fill the memory.
_ITEMS = 1000
_BYTES = 1024 * 1024


class ClientStream:
    """An async iterator over the items that a client streams to a hub method.

    Attributes:
        room: a future, done while the stream is not full. A full stream gets a new one, done when there is room again.
    """

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._items: deque[StreamItem] = deque()
        self._bytes = 0
        self._has_ended = False
        self._error: str | None = None
        self._changed = Waiters()
        self._convert: Callable[[Any], Any] = _unchanged
        self.room: asyncio.Future[None] = self._loop.create_future()
        self.room.set_result(None)

    def converted(self, convert: Callable[[Any], Any]) -> Self:
        """Set the function that converts each item to the type the hub method wants; return this stream."""
        self._convert = convert
        return self

    def receive(self, message: StreamItem | Completion) -> None:
        """Add a stream item of the client, or end the stream at a completion. Drop items after the completion."""
        if not isinstance(message, StreamItem):
            self.end(message.error)
            return
        if self._has_ended:
            return
        self._items.append(message)
        self._bytes += message.size
        if self.room.done() and self._is_full():
            self.room = self._loop.create_future()
        self._changed.wake()

    @property
    def waiting(self) -> int:
        """How many items of this stream the hub method has not taken yet."""
        return len(self._items)

    def end(self, error: str | None) -> None:
        """End the stream.

        The hub method still gets the items that have come. Then its loop over the stream ends, or raises a
        `HubException` if `error` is not `None`.
        """
        if not self._has_ended:
            self._has_ended, self._error = True, error
            self._make_room()
            self._changed.wake()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Any:
        while not self._items:
            if self._has_ended:
                error, self._error = self._error, None
                if error is not None:
                    raise HubException(error)
                raise StopAsyncIteration
            await self._changed.wait()
        message = self._items.popleft()
        self._bytes -= message.size
        if not self._is_full():
            self._make_room()
        return self._convert(message.item)

    def _is_full(self) -> bool:
        return len(self._items) >= _ITEMS or self._bytes >= _BYTES

    def _make_room(self) -> None:
        resolve(self.room, None)


def _unchanged(value: Any) -> Any:
    return value
