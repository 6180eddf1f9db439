"""The two directions of one connection, between a transport's HTTP requests and the hub."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import TYPE_CHECKING

import attrs

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from ..errors import ConnectionClosedError

# So many bytes may wait in a direction before whoever writes waits, as in ASP.NET Core.
_FULL = 64 * 1024


def _nothing() -> None:
    """Note nothing."""


@attrs.frozen
class Cut:
    """How what goes out is cut into frames.

    Attributes:
        writes: how many writes of the hub a frame waits for.
        size: most bytes of a frame; `None` for any.
        text: whether no character may be cut.
        used: called when a frame is made so.
    """

    writes: int = attrs.field(default=1, validator=attrs.validators.ge(1))
    size: int | None = attrs.field(default=None, validator=attrs.validators.optional(attrs.validators.ge(1)))
    text: bool = False
    used: Callable[[], None] = _nothing

    def pieces(self, data: bytes) -> Iterator[bytes]:
        """Return the frames for these bytes."""
        begin = 0
        while self.size is not None and len(data) - begin > self.size:
            end = begin + self.size
            while self.text and end < len(data) and data[end] & 0xC0 == 0x80:  # in the middle of UTF-8
                end += 1
            yield data[begin:end]
            begin = end
        if begin < len(data):
            yield data[begin:]


_WHOLE = Cut()


class Pipe:
    """Bytes both ways, bounded.

    Attributes:
        transport: name of the transport, once one has connected.
        inherent_keep_alive: whether that is long polling.
        gone: done when nothing more can reach the client.
    """

    def __init__(self) -> None:
        self.transport = ""
        self.inherent_keep_alive = False
        self.gone: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._in = _Direction()
        self._out = _Direction()
        self._is_carried = True

    # The hub's end

    async def read(self) -> bytes | None:
        """Return what the client sent, `None` at the end.

        Raises:
            ConnectionClosedError: the line was cut.
        """
        while True:
            source = self._in
            data = await source.take()
            if data is not None or source is self._in:
                return data

    async def write(self, data: bytes) -> None:
        """Send to the client; wait while too much is on its way. Silently dropped when the client is gone."""
        await self.writable()
        self.write_now(data)

    async def writable(self, may: Callable[[], bool] = lambda: True) -> None:
        """Wait while too much is on its way.

        Args:
            may: also wait until this holds; `look_again` has it asked again.
        """
        while not self.gone.done() and (self._out.is_full or not may()):
            await self._out.changed()
        if self.gone.done():
            # A hub method that writes on and on must not keep the loop from ending it.
            await asyncio.sleep(0)

    def write_now(self, data: bytes) -> None:
        """Send to the client without waiting; dropped while no transport is there."""
        if self._is_carried:
            self._out.put_now(data)

    def end(self) -> None:
        """Nothing more comes from the hub; what was written is still delivered."""
        self._out.end()
        self._in.end()
        self._note_gone()

    def stop_reading(self) -> None:
        """Have `read` return, whatever the client does."""
        self._in.end()

    # The transport's end

    async def feed(self, data: bytes) -> None:
        """Hand on what the client sent; wait while too much waits."""
        await self._in.put(data)

    async def drain(self, cut: Callable[[], Cut] = lambda: _WHOLE) -> bytes | None:
        """Return all that is to be sent to the client, waiting for something; `None` at the end.

        Args:
            cut: how much is wanted, asked each time that there is more.
        """
        return await self._out.take(cut)

    def look_again(self) -> None:
        """Have `drain` ask again how much is wanted, and `writable` whether more may be written."""
        self._out.wake()

    def suspend(self) -> None:
        """No transport is there: what is to be sent is dropped, and what has come can still be read."""
        self._is_carried = False
        self._renew_out()

    def renew(self) -> None:
        """Another transport has come: nothing of the old one goes on."""
        self._is_carried = True
        self._renew_out()
        old, self._in = self._in, _Direction()
        old.clear()

    def _renew_out(self) -> None:
        old, self._out = self._out, _Direction()
        old.clear()

    def disconnect(self, error: ConnectionClosedError | None = None) -> None:
        """The client is gone: in good order, or with an error."""
        self._in.end(error)
        self._out.end()
        self._note_gone()

    def _note_gone(self) -> None:
        if not self.gone.done():
            self.gone.set_result(None)


class _Direction:
    def __init__(self) -> None:
        self._parts: deque[bytes] = deque()
        # Cut from parts that were taken already.
        self._pieces: deque[bytes] = deque()
        self._bytes = 0
        self._ended = False
        self._error: ConnectionClosedError | None = None
        self._waiters: list[asyncio.Future[None]] = []

    def put_now(self, data: bytes) -> None:
        if not self._ended:
            self._parts.append(data)
            self._bytes += len(data)
            self.wake()

    @property
    def is_full(self) -> bool:
        return self._bytes >= _FULL

    async def put(self, data: bytes) -> None:
        while self.is_full and not self._ended:
            await self.changed()
        self.put_now(data)

    def clear(self) -> None:
        """Drop what is there; nothing more comes."""
        self._parts.clear()
        self._pieces.clear()
        self.end()

    async def take(self, cut: Callable[[], Cut] = lambda: _WHOLE) -> bytes | None:
        while not self._pieces:
            wanted = cut()
            if self._parts and (self._ended or len(self._parts) >= wanted.writes or self.is_full):
                wanted.used()
                self._pieces.extend(wanted.pieces(b"".join(self._parts)))
                self._parts.clear()
            elif self._ended:
                error, self._error = self._error, None
                if error is not None:
                    raise error
                return None
            else:
                await self.changed()
        data = self._pieces.popleft()
        self._bytes -= len(data)
        self.wake()
        return data

    def end(self, error: ConnectionClosedError | None = None) -> None:
        if not self._ended:
            self._ended = True
            self._error = error
            self.wake()

    async def changed(self) -> None:
        waiter = asyncio.get_running_loop().create_future()
        self._waiters.append(waiter)
        await waiter

    def wake(self) -> None:
        waiters, self._waiters = self._waiters, []
        for waiter in waiters:
            if not waiter.done():
                waiter.set_result(None)
