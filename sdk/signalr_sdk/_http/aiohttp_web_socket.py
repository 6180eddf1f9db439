"""A `WebSocket` over aiohttp's WebSocket, which can also send and close without waiting."""

from __future__ import annotations

import asyncio
import gc
import inspect
from contextlib import suppress
from functools import cache
from typing import TYPE_CHECKING

import aiohttp

from .._core.redaction import redact
from ..errors import ConnectionClosedError, RemoteProtocolError
from .tcp_sockets import read_less_at_once, seconds_since_data

if TYPE_CHECKING:
    from ..interfaces import WebSocketOptions

_TEXT = aiohttp.WSMsgType.TEXT
_BINARY = aiohttp.WSMsgType.BINARY
_PING = aiohttp.WSMsgType.PING
_PONG = aiohttp.WSMsgType.PONG
# After this number of WebSocket frames, `receive` lets the other tasks of the event loop run. Otherwise these tasks
# would wait while `receive` handles all frames that arrived together, for example 30,000 pings of two bytes.
_FRAMES_A_TURN = 200


@cache
def takes_decode_text() -> bool:
    """Return whether this version of aiohttp can return text messages as bytes, which the hub protocols need."""
    return "decode_text" in inspect.signature(aiohttp.ClientSession.ws_connect).parameters


class AiohttpWebSocket:
    """See `WebSocket`.

    Args:
        ws: aiohttp's open WebSocket.
        session: the session that opened `ws`.
        where: host and port of the server, for the texts of errors.
        options: the options with which `ws` was opened.
    """

    def __init__(
        self,
        ws: aiohttp.ClientWebSocketResponse,
        session: aiohttp.ClientSession,
        *,
        where: str,
        options: WebSocketOptions,
    ) -> None:
        self._ws = ws
        self._session = session
        self._where = where
        self._opcode = _BINARY if options.binary else _TEXT
        self._max_bytes = options.max_bytes
        self._close_timeout = options.close_timeout
        self._taken = 0
        self._closing = False
        self._ended = False
        # Read the private attribute `_response` to reach the TCP connection: aiohttp has no method to flush or drop the
        # connection. Without the attribute, `flush` returns too early, `send_now` sends nothing, and a connection to a
        # server that does not read stays open after `drop`, until the server has read all data.
        self._response: aiohttp.ClientResponse | None = getattr(ws, "_response", None)
        self._asyncio_transports = _asyncio_transports(self._response)
        for transport in self._asyncio_transports:
            read_less_at_once(transport)

    async def receive(self) -> bytes | None:
        """See `WebSocket.receive`."""
        while True:
            self._taken += 1
            if self._taken == _FRAMES_A_TURN:
                self._taken = 0
                await asyncio.sleep(0)
            message = await self._ws.receive()
            kind = message.type
            if kind is not _TEXT and kind is not _BINARY:
                if kind is _PING:
                    await self._answer(message.data)
                elif kind is not _PONG:
                    self._check_end(message)
                    return None
                continue
            data: bytes | str = message.data
            if isinstance(data, str):
                data = data.encode()
            if len(data) > self._max_bytes:
                raise self._too_large()
            if data:
                return data

    async def _answer(self, ping: bytes) -> None:
        # Ignore the error of sending a pong: if the connection is lost, aiohttp's next `receive` reports the loss.
        with suppress(aiohttp.ClientError, OSError):
            await self._ws.pong(ping)

    def _check_end(self, message: aiohttp.WSMessage) -> None:
        """Raise the error of a WebSocket that has ended, unless `close` was called or the server closed it properly.

        Raises:
            ConnectionClosedError: the connection was lost, or closed with an error code.
            RemoteProtocolError: the server broke the rules of WebSockets, or a message is over the limit.
        """
        if self._closing or self._ended:
            return
        if message.type is aiohttp.WSMsgType.CLOSE:
            if message.data in (0, 1000):
                self._ended = True
                return
            reason = f" ({redact(message.extra)})" if message.extra else ""
            raise self._lost(f"WebSocket closed with code {message.data}{reason}")
        if message.type is aiohttp.WSMsgType.ERROR and isinstance(message.data, aiohttp.WebSocketError):
            if message.data.code == aiohttp.WSCloseCode.MESSAGE_TOO_BIG:
                raise self._too_large()
            raise RemoteProtocolError(f"{self._where} broke the WebSocket protocol: {redact(str(message.data))}")
        if self._session.closed:
            raise self._lost("the aiohttp session given as http= was closed, and with it the connection")
        raise self._lost(f"the WebSocket to {self._where} broke off (code 1006)")

    async def send(self, data: bytes, /) -> None:
        """See `WebSocket.send`."""
        try:
            await self._ws.send_frame(data, self._opcode)
        except (aiohttp.ClientError, OSError):
            raise self._lost(f"the WebSocket to {self._where} is closed") from None

    def send_now(self, data: bytes, /) -> bool:
        """See `ActiveTransport.send_now`.

        Sends only if the write buffers of the connection are empty: otherwise the message would wait behind older data.
        """
        transports = self._asyncio_transports
        if not transports or transports[0].is_closing():
            return False
        for transport in transports:
            if transport.get_write_buffer_size():
                return False
        sending = self._ws.send_frame(data, self._opcode)
        try:
            sending.send(None)
        except StopIteration:
            return True
        except (aiohttp.ClientError, OSError):
            # The connection is lost. Return False: the caller of `send_now` then calls `send`, which raises the error.
            return False
        # Close the coroutine `sending` unfinished: the frame is in the write buffer already, and `sending` would only
        # wait until the server has read enough. The next call of `send` waits instead.
        sending.close()
        return True

    async def flush(self) -> None:
        """See `WebSocket.flush`."""
        # Poll the write buffers: asyncio tells only aiohttp's own protocol object when a write buffer is empty. Polling
        # costs little, because the buffers fill only when the server reads slowly.
        delay = 0.001
        while any(transport.get_write_buffer_size() for transport in self._asyncio_transports):
            if self._asyncio_transports[0].is_closing():
                raise self._lost(f"the WebSocket to {self._where} is closed")
            await asyncio.sleep(delay)
            delay = min(2 * delay, 0.05)

    async def close(self) -> None:
        """See `WebSocket.close`."""
        if self._closing:
            return
        self._closing = True
        try:
            # Drop the connection if the server does not answer the Close frame within `_close_timeout` seconds.
            # aiohttp's own limit is not enough: before this limit begins, aiohttp may wait for ever for room in the
            # write buffer.
            with suppress(TimeoutError):
                async with asyncio.timeout(self._close_timeout):
                    await self._ws.close()
        finally:
            self.drop()

    def silence(self) -> float | None:
        """See `PromptWebSocket.silence`."""
        own = self._asyncio_transports[-1].get_extra_info("socket") if self._asyncio_transports else None
        return None if own is None else seconds_since_data(own)

    def drop(self) -> None:
        """See `ActiveTransport.drop`."""
        self._closing = True
        if self._response is not None:
            self._response.close()
        for transport in self._asyncio_transports:
            transport.abort()

    def _too_large(self) -> RemoteProtocolError:
        return RemoteProtocolError(
            f"a WebSocket message of {self._where} is over the limit of {self._max_bytes} bytes: "
            "Limits.message_bytes can raise it"
        )

    @staticmethod
    def _lost(message: str) -> ConnectionClosedError:
        return ConnectionClosedError(message, allow_reconnect=True)


def _asyncio_transports(response: aiohttp.ClientResponse | None) -> list[asyncio.WriteTransport]:
    """Return the connection's asyncio transports: with TLS, the TLS and the TCP transport; otherwise one of TCP."""
    connection = response.connection if response is not None else None
    transport = connection.transport if connection is not None else None
    if transport is None:
        return []
    below = _tcp_transport(transport)
    return [transport] if below is None else [transport, below]


def _tcp_transport(transport: asyncio.WriteTransport) -> asyncio.WriteTransport | None:
    """Return the TCP transport below a TLS transport; `None` if there is none.

    With TLS, encrypted bytes wait in the write buffer of a TCP transport, and the TLS transport does not count them.
    Neither asyncio nor uvloop has a public name for this TCP transport.
    """
    tls_of_uvloop = transport.get_extra_info("uvloop.sslproto")
    if tls_of_uvloop is None:
        return getattr(getattr(transport, "_ssl_protocol", None), "_transport", None)
    # An object of uvloop has no attributes, but the garbage collector knows to which objects it refers.
    others = (each for each in gc.get_referents(tls_of_uvloop) if each is not transport)
    return next((each for each in others if hasattr(each, "get_write_buffer_size")), None)
