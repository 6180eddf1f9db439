"""asyncio's transports and servers over sockets in memory."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from .sockets import SimulatedSocket

_HIGH = 64 * 1024


class SimulatedTransport(asyncio.Transport):
    """A transport that does as the one of asyncio's selector event loop does.

    Args:
        loop: the event loop.
        own: the connected socket.
        protocol: gets the data. Its `connection_made` is called in the next turn of the event loop.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, own: SimulatedSocket, protocol: asyncio.BaseProtocol) -> None:
        super().__init__({"socket": own, "peername": own.peer_address, "sockname": own.own_address})
        self._loop = loop
        self._socket = own
        self._buffer = bytearray()
        self._high, self._low = _HIGH, _HIGH // 4
        self._is_paused = self._is_closing = self._is_lost = self._has_ended = False
        self._is_writing_paused = self._wants_eof = self._is_reading = False
        self.set_protocol(protocol)
        loop.call_soon(self._begin)

    def _begin(self) -> None:
        self._protocol.connection_made(self)
        self._is_reading = True
        self._socket.on_change = self._on_change
        self._on_change()

    # What protocols ask

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        """See `asyncio.BaseTransport.set_protocol`."""
        self._protocol = protocol
        self._receiver = protocol if isinstance(protocol, asyncio.Protocol) else None

    def get_protocol(self) -> asyncio.BaseProtocol:
        """See `asyncio.BaseTransport.get_protocol`."""
        return self._protocol

    def is_closing(self) -> bool:
        """See `asyncio.BaseTransport.is_closing`."""
        return self._is_closing

    def is_reading(self) -> bool:
        """See `asyncio.ReadTransport.is_reading`."""
        return not self._is_paused and not self._is_closing

    def pause_reading(self) -> None:
        """See `asyncio.ReadTransport.pause_reading`."""
        self._is_paused = True

    def resume_reading(self) -> None:
        """See `asyncio.ReadTransport.resume_reading`."""
        if self._is_paused:
            self._is_paused = False
            self._loop.call_soon(self._on_change)

    def get_write_buffer_size(self) -> int:
        """See `asyncio.WriteTransport.get_write_buffer_size`."""
        return len(self._buffer)

    def get_write_buffer_limits(self) -> tuple[int, int]:
        """See `asyncio.WriteTransport.get_write_buffer_limits`."""
        return self._low, self._high

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        """See `asyncio.WriteTransport.set_write_buffer_limits`."""
        if high is None:
            high = _HIGH if low is None else 4 * low
        self._high, self._low = high, high // 4 if low is None else low
        self._pause_or_resume_writing()

    def can_write_eof(self) -> bool:
        """See `asyncio.WriteTransport.can_write_eof`."""
        return True

    def write(self, data: bytes | bytearray | memoryview[Any]) -> None:
        """See `asyncio.WriteTransport.write`."""
        if self._wants_eof:
            raise RuntimeError("Cannot call write() after write_eof()")
        if self._is_lost or not data:
            return
        whole = bytes(data)
        if not self._buffer:
            try:
                whole = whole[self._socket.write(whole) :]
            except OSError as error:
                self._force_close(error)
                return
        if whole:
            self._buffer += whole
            self._pause_or_resume_writing()

    def writelines(self, list_of_data: Iterable[Any]) -> None:
        """See `asyncio.WriteTransport.writelines`."""
        self.write(b"".join(list_of_data))

    def write_eof(self) -> None:
        """See `asyncio.WriteTransport.write_eof`."""
        if not self._is_closing and not self._wants_eof:
            self._wants_eof = True
            self._flush()

    def close(self) -> None:
        """See `asyncio.BaseTransport.close`."""
        if not self._is_closing:
            self._is_closing = True
            if not self._buffer:
                self._force_close(None)

    def abort(self) -> None:
        """See `asyncio.WriteTransport.abort`."""
        self._force_close(None)

    # What the socket asks

    def _on_change(self) -> None:
        """Write what waits for room, and pass on what can be read."""
        if self._buffer and not self._is_lost:
            self._flush()
        while self._is_reading and not self._is_paused and not self._is_closing and self._read_once():
            pass

    def _flush(self) -> None:
        try:
            del self._buffer[: self._socket.write(bytes(self._buffer))]
        except OSError as error:
            self._force_close(error)
            return
        self._pause_or_resume_writing()
        if not self._buffer and self._wants_eof:
            self._socket.send_fin()
        if not self._buffer and self._is_closing:
            self._force_close(None)

    def _pause_or_resume_writing(self) -> None:
        if not self._is_writing_paused and len(self._buffer) > self._high:
            self._is_writing_paused = True
            self._protocol.pause_writing()
        elif self._is_writing_paused and len(self._buffer) <= self._low:
            self._is_writing_paused = False
            self._protocol.resume_writing()

    def _read_once(self) -> bool:
        """Pass one piece of data or the end on; return whether there was something."""
        try:
            data = self._socket.read()
        except OSError as error:
            self._force_close(error)
            return False
        if data is None or self._receiver is None:
            return False
        try:
            if data:
                self._receiver.data_received(data)
            else:
                self._is_reading = False
                if not self._receiver.eof_received():
                    self.close()
        except Exception as error:  # noqa: BLE001 - a protocol may raise anything
            self._report(error)
            self._force_close(error)
        return True

    def _report(self, error: Exception) -> None:
        self._loop.call_exception_handler(
            {
                "message": "Fatal error: a callback of the protocol failed.",
                "exception": error,
                "transport": self,
                "protocol": self._protocol,
            }
        )

    def _force_close(self, error: Exception | None) -> None:
        if self._is_lost:
            return
        self._is_lost = self._is_closing = True
        self._buffer.clear()
        self._loop.call_soon(self._lose, error)

    def _lose(self, error: Exception | None) -> None:
        try:
            self._protocol.connection_lost(error)
        finally:
            self._socket.close()


class SimulatedServer(asyncio.AbstractServer):
    """A server that listens on sockets in memory.

    Args:
        loop: the event loop.
        sockets: the bound sockets.
        make_protocol: makes the protocol of each connection.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        sockets: list[SimulatedSocket],
        make_protocol: Callable[[], asyncio.BaseProtocol],
    ) -> None:
        self._loop = loop
        self._sockets = sockets
        self._make_protocol = make_protocol
        self._is_serving = False
        self._forever: asyncio.Future[None] | None = None

    @property
    def sockets(self) -> tuple[SimulatedSocket, ...]:
        """See `asyncio.Server.sockets`."""
        return tuple(self._sockets)

    def get_loop(self) -> asyncio.AbstractEventLoop:
        """See `asyncio.AbstractServer.get_loop`."""
        return self._loop

    def is_serving(self) -> bool:
        """See `asyncio.AbstractServer.is_serving`."""
        return self._is_serving

    async def start_serving(self) -> None:
        """See `asyncio.AbstractServer.start_serving`."""
        if not self._is_serving:
            self._is_serving = True
            for each in self._sockets:
                if not each.is_listening:
                    each.listen()
                each.accept_with(self._accept)

    def _accept(self, served: SimulatedSocket) -> None:
        self._loop.call_soon(self._serve, served)

    def _serve(self, served: SimulatedSocket) -> None:
        if self._is_serving:
            SimulatedTransport(self._loop, served, self._make_protocol())
        else:
            served.close()

    async def serve_forever(self) -> None:
        """See `asyncio.AbstractServer.serve_forever`."""
        await self.start_serving()
        self._forever = self._loop.create_future()
        try:
            await self._forever
        finally:
            self.close()
            self._forever = None

    def close(self) -> None:
        """See `asyncio.AbstractServer.close`."""
        self._is_serving = False
        for each in self._sockets:
            each.close()
        self._sockets = []
        if self._forever is not None and not self._forever.done():
            self._forever.cancel()

    async def wait_closed(self) -> None:
        """See `asyncio.AbstractServer.wait_closed`. Connections are not waited for."""
