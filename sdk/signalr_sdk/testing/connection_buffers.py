"""The bytes of one connection in both directions, buffered between the transport and the hub."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import TYPE_CHECKING

import attrs

from .waiters import Waiters

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from ..errors import ConnectionClosedError

# With so many buffered bytes in one direction a writer has to wait, as in ASP.NET Core.
_FULL = 64 * 1024


@attrs.frozen
class FrameRule:
    """How the bytes to a client are divided into frames: WebSocket messages, events or responses to polls.

    Attributes:
        writes: a frame is made only when the hub has written so many times.
        size: the most bytes of a frame; `None` for no limit.
        text: whether the bytes are UTF-8 text. No character is split, so a frame of text may be longer than `size`.
        used: called each time when the rule makes frames.
    """

    writes: int = attrs.field(default=1, validator=attrs.validators.ge(1))
    size: int | None = attrs.field(default=None, validator=attrs.validators.optional(attrs.validators.ge(1)))
    text: bool = False
    used: Callable[[], None] | None = None

    def split(self, data: bytes) -> Iterator[bytes]:
        """Divide the data into frames of at most `size` bytes."""
        begin = 0
        while self.size is not None and len(data) - begin > self.size:
            end = begin + self.size
            while self.text and end < len(data) and data[end] & 0xC0 == 0x80:  # not the first byte of a character
                end += 1
            yield data[begin:end]
            begin = end
        if begin < len(data):
            yield data[begin:]


NO_RULE = FrameRule()
"""The rule without a fault: each frame holds all bytes that are buffered."""


class ConnectionBuffers:
    """Two bounded byte queues, from the client to the hub and from the hub to the client. For one event loop only.

    Attributes:
        transport: name of the transport; empty until a transport has connected.
        inherent_keep_alive: whether the transport is long polling, where the polls of the client make pings needless.
        closed: a future that is done when no more data can reach the client.
    """

    def __init__(self) -> None:
        self.transport = ""
        self.inherent_keep_alive = False
        self.closed: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._in = _ByteQueue()
        self._out = _ByteQueue()
        self._has_transport = True

    # Methods for the hub

    async def read(self) -> bytes | None:
        """Wait for bytes of the client and return them, or return `None` at the end of the connection.

        Raises:
            ConnectionClosedError: the connection was lost.
        """
        while True:
            source = self._in
            data = await source.next_frame()
            # If `attach_transport` has replaced the queue, the old queue has ended but the connection goes on: read
            # again.
            if data is not None or source is self._in:
                return data

    async def write(self, data: bytes) -> None:
        """Send data to the client, after waiting while the queue is full. Drop the data if the client is gone."""
        await self.writable()
        self.write_now(data)

    async def writable(self, allowed: Callable[[], bool] = lambda: True) -> None:
        """Wait until the queue to the client has room and `allowed` returns true, or until the client is gone.

        Args:
            allowed: is called at each change of the queue, and when `recheck` is called.
        """
        while not self.closed.done() and (self._out.is_full or not allowed()):
            await self._out.changed()
        if self.closed.done():
            # Yield to the event loop: a hub method that keeps writing to a client that is gone could otherwise never be
            # cancelled.
            await asyncio.sleep(0)

    def write_now(self, data: bytes) -> None:
        """Send data to the client without waiting for room. Drop the data while no transport is attached."""
        if self._has_transport:
            self._out.put_now(data)

    def end(self, error: ConnectionClosedError | None = None) -> None:
        """End the connection in both directions. Data that is already in the queues is still delivered.

        Args:
            error: `read` raises this error after the data; `None` if the connection was closed properly.
        """
        self._in.end(error)
        self._out.end()
        if not self.closed.done():
            self.closed.set_result(None)

    def stop_reading(self) -> None:
        """Make `read` return `None` from now on. Data that the client still sends is dropped."""
        self._in.end()

    # Methods for the transport

    async def feed(self, data: bytes) -> None:
        """Pass bytes of the client on to the hub, after waiting while the queue to the hub is full."""
        await self._in.put(data)

    async def next_frame(self, rule: Callable[[], FrameRule] = lambda: NO_RULE) -> bytes | None:
        """Wait for data and return the next frame for the client, or `None` at the end of the connection.

        Cancelling this method loses no data.

        Args:
            rule: returns the rule for the frame. It is called at each change of the queue and after `recheck`.
        """
        return await self._out.next_frame(rule)

    def recheck(self) -> None:
        """Make `next_frame` call its `rule` again, and `writable` check its condition again."""
        self._out.wake()

    def detach_transport(self) -> None:
        """Continue without a transport: drop data to the client, but let data from the client still be read."""
        self._has_transport = False
        self._renew_out()

    def attach_transport(self) -> None:
        """Continue with another transport and empty queues: no data of the old transport reaches the new transport."""
        self._has_transport = True
        self._renew_out()
        old, self._in = self._in, _ByteQueue()
        old.clear()

    def _renew_out(self) -> None:
        old, self._out = self._out, _ByteQueue()
        old.clear()


class _ByteQueue:
    """A queue of the bytes in one direction."""

    def __init__(self) -> None:
        self._writes: deque[bytes] = deque()
        # Frames that a rule has made, and that the transport has not taken yet.
        self._frames: deque[bytes] = deque()
        self._bytes = 0
        self._has_ended = False
        self._error: ConnectionClosedError | None = None
        waiters = Waiters()
        self.changed, self.wake = waiters.wait, waiters.wake

    def put_now(self, data: bytes) -> None:
        if not self._has_ended:
            self._writes.append(data)
            self._bytes += len(data)
            self.wake()

    @property
    def is_full(self) -> bool:
        return self._bytes >= _FULL

    async def put(self, data: bytes) -> None:
        while self.is_full and not self._has_ended:
            await self.changed()
        self.put_now(data)

    def clear(self) -> None:
        """Drop all data and end the queue."""
        self._writes.clear()
        self._frames.clear()
        self.end()

    async def next_frame(self, rule: Callable[[], FrameRule] = lambda: NO_RULE) -> bytes | None:
        while not self._frames:
            current = rule()
            if self._writes and (self._has_ended or len(self._writes) >= current.writes or self.is_full):
                if current.used is not None:
                    current.used()
                self._frames.extend(current.split(b"".join(self._writes)))
                self._writes.clear()
            elif self._has_ended:
                error, self._error = self._error, None
                if error is not None:
                    raise error
                return None
            else:
                await self.changed()
        data = self._frames.popleft()
        self._bytes -= len(data)
        self.wake()
        return data

    def end(self, error: ConnectionClosedError | None = None) -> None:
        if not self._has_ended:
            self._has_ended = True
            self._error = error
            self.wake()
