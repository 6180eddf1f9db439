"""The bytes of one connection of the test server, in both directions, buffered between transport and hub."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import TYPE_CHECKING

import attrs

from .._guard.futures import resolve
from .waiters import Waiters

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from ..errors import ConnectionClosedError

# While so many bytes are buffered in one direction, writers in this direction wait, as in ASP.NET Core: a client or hub
# that reads slowly must not fill the memory.
_FULL = 64 * 1024


@attrs.frozen
class FrameRule:
    """How the bytes to a client are divided into frames.

    A frame is a WebSocket message, a Server-Sent Event or the response to a long poll.

    Attributes:
        writes: hold the bytes back until the hub has written this many messages.
        size: the most bytes of a frame; `None` for no limit.
        text: whether the bytes are UTF-8 text. No character is split, so a frame of text may be longer than `size`.
        used: called each time that the rule is applied, so that the fault which made the rule can count its uses.
    """

    writes: int = attrs.field(default=1, validator=attrs.validators.ge(1))
    size: int | None = attrs.field(default=None, validator=attrs.validators.optional(attrs.validators.ge(1)))
    text: bool = False
    used: Callable[[], None] | None = None

    def split(self, data: bytes) -> Iterator[bytes]:
        """Yield the data in frames of at most `size` bytes; frames of text end between two characters."""
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

    # `ConnectedClient`, which serves the hub, calls the methods below.

    async def read(self) -> bytes | None:
        """Wait for bytes from the client and return them. Return `None` at the end of the connection.

        Raises:
            ConnectionClosedError: the connection was lost.
        """
        while True:
            source = self._in
            data = await source.next_frame()
            # When `attach_transport` replaces the queue, the old queue returns `None`. The connection goes on: read
            # from the new queue.
            if data is not None or source is self._in:
                return data

    async def write(self, data: bytes) -> None:
        """Wait while the queue to the client is full, then send data. Drop the data if the client is gone."""
        await self.writable()
        self.write_now(data)

    async def writable(self, allowed: Callable[[], bool] = lambda: True) -> None:
        """Wait until the queue to the client has room and `allowed` returns true, or until the client is gone.

        Args:
            allowed: a second condition. Called again when the queue changes, and when `recheck` is called.
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
        resolve(self.closed, None)

    def stop_reading(self) -> None:
        """Let `read` return the bytes that have arrived, then `None`. Drop the bytes that arrive later."""
        self._in.end()

    # The transports (WebSockets, Server-Sent Events, long polling) call the methods below.

    async def feed(self, data: bytes) -> None:
        """Wait while the queue to the hub is full, then pass bytes from the client to the hub."""
        await self._in.put(data)

    async def next_frame(self, rule: Callable[[], FrameRule] = lambda: NO_RULE) -> bytes | None:
        """Wait for data and return the next frame for the client, or `None` at the end of the connection.

        Cancelling this method loses no data.

        Args:
            rule: returns the `FrameRule` in force. Called again when the queue changes, and when `recheck` is called.
        """
        return await self._out.next_frame(rule)

    def recheck(self) -> None:
        """Let `next_frame` and `writable` check again whether they may return.

        To be called when a fault has changed, or when fewer messages are kept for a stateful reconnect.
        """
        self._out.wake()

    def detach_transport(self) -> None:
        """Continue without a transport, until the client resumes (stateful reconnect).

        Data to the client is dropped: the server sends it again after the resume. Data from the client stays readable.
        """
        self._has_transport = False
        self._out = self._out.replaced()

    def attach_transport(self) -> None:
        """Continue with a new transport and empty queues: the old data may end in the middle of a message."""
        self._has_transport = True
        self._out, self._in = self._out.replaced(), self._in.replaced()


class _ByteQueue:
    """The buffered bytes in one direction of a connection. `put` waits while 64 KiB or more are buffered."""

    def __init__(self) -> None:
        self._writes: deque[bytes] = deque()
        # Frames that a `FrameRule` has made, and that the transport has not sent yet.
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

    def replaced(self) -> _ByteQueue:
        """Drop the buffered bytes and end this queue: `next_frame` returns `None`. Return a new, empty queue."""
        self._writes.clear()
        self._frames.clear()
        self.end()
        return _ByteQueue()

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
