"""A WebSocket of aiohttp, behind the `WebSocket` seam."""

from __future__ import annotations

import asyncio
import inspect
from contextlib import suppress
from functools import cache
from operator import attrgetter
from typing import TYPE_CHECKING, Any

import aiohttp

from .._core.redaction import redact
from ..errors import ConnectionClosedError, RemoteProtocolError

if TYPE_CHECKING:
    from ..interfaces import WebSocketOptions

_TEXT = aiohttp.WSMsgType.TEXT
_BINARY = aiohttp.WSMsgType.BINARY
# asyncio makes room for 256 KB each time that it receives. That is more than glibc keeps at hand, so it asks the system
# for memory each time and gives it back at once: a third of what a call costs (tests/bench/end_to_end.py, "invoke, one
# after another").
_RECEIVED_AT_ONCE = 64 * 1024


@cache
def takes_decode_text() -> bool:
    """Whether this aiohttp can leave text as it came, so that it is not decoded twice."""
    return "decode_text" in inspect.signature(aiohttp.ClientSession.ws_connect).parameters


class WebSocketResponse(aiohttp.ClientWebSocketResponse):
    """Shows the HTTP response under the WebSocket, and with it the connection that must be flushed and dropped.

    aiohttp itself can do neither: its `close` leaves to asyncio what was not sent yet, for as long as the peer likes.
    """

    def __init__(
        self,
        reader: Any,
        writer: Any,
        protocol: str | None,
        response: aiohttp.ClientResponse,
        *args: Any,
        **kwargs: Any,
    ) -> None:
        super().__init__(reader, writer, protocol, response, *args, **kwargs)
        self.response = response


class AiohttpWebSocket:
    """See `WebSocket`.

    Args:
        ws: the open WebSocket.
        session: where it comes from.
        where: host and port.
        options: how it was opened.
    """

    def __init__(
        self,
        ws: aiohttp.ClientWebSocketResponse,
        session: aiohttp.ClientSession,
        where: str,
        options: WebSocketOptions,
    ) -> None:
        self._ws = ws
        self._session = session
        self._where = where
        self._opcode = _BINARY if options.binary else _TEXT
        self._max_bytes = options.max_bytes
        self._close_timeout = options.close_timeout
        self._closing = False
        self._ended = False
        # Where another class had to do, `flush` returns early, and dropping a stalled connection takes longer.
        self._response = ws.response if isinstance(ws, WebSocketResponse) else None
        self._pipes = _pipes_of(self._response)
        for pipe in self._pipes:
            if hasattr(pipe, "max_size"):
                pipe.max_size = _RECEIVED_AT_ONCE

    async def receive(self) -> bytes | None:
        """See `WebSocket.receive`."""
        while True:
            message = await self._ws.receive()
            kind = message.type
            if kind is not _TEXT and kind is not _BINARY:
                self._check_end(message)
                return None
            data: bytes | str = message.data
            if isinstance(data, str):
                data = data.encode()
            if len(data) > self._max_bytes:
                raise self._too_large()
            if data:
                return data

    def _check_end(self, message: aiohttp.WSMessage) -> None:
        """Raise, unless this is an end in good order."""
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
        """Send if nothing waits to leave and nothing has to be waited for; return whether it was sent."""
        pipes = self._pipes
        if not pipes or pipes[0].is_closing():
            return False
        for pipe in pipes:
            if pipe.get_write_buffer_size():
                return False
        sending = self._ws.send_frame(data, self._opcode)
        try:
            sending.send(None)
        except StopIteration:
            return True
        except (aiohttp.ClientError, OSError):
            # `send` will say why.
            return False
        # The frame is written; what aiohttp now waits for is that the peer takes it, as the next `send` will.
        sending.close()
        return True

    async def flush(self) -> None:
        """See `WebSocket.flush`."""
        # asyncio tells only a transport's own protocol, aiohttp's here, when its buffer is empty; so ask. It nearly
        # always is: it fills when the peer does not keep up.
        delay = 0.001
        while any(pipe.get_write_buffer_size() for pipe in self._pipes):
            if self._pipes[0].is_closing():
                raise self._lost(f"the WebSocket to {self._where} is closed")
            await asyncio.sleep(delay)
            delay = min(2 * delay, 0.05)

    async def close(self) -> None:
        """See `WebSocket.close`."""
        if self._closing:
            return
        self._closing = True
        try:
            # One that does not answer in time is dropped. aiohttp's own limit leaves out its wait for room to write.
            with suppress(TimeoutError):
                async with asyncio.timeout(self._close_timeout):
                    await self._ws.close()
        finally:
            self.drop()

    def drop(self) -> None:
        """Close at once, without a good-bye, after which a server would keep nothing for a resume."""
        self._closing = True
        if self._response is not None:
            self._response.close()
        for pipe in self._pipes:
            pipe.abort()

    def _too_large(self) -> RemoteProtocolError:
        return RemoteProtocolError(
            f"a WebSocket message of {self._where} is over the limit of {self._max_bytes} bytes: "
            "Limits.message_bytes can raise it"
        )

    @staticmethod
    def _lost(message: str) -> ConnectionClosedError:
        return ConnectionClosedError(message, allow_reconnect=True)


def _pipes_of(response: aiohttp.ClientResponse | None) -> list[asyncio.WriteTransport]:
    """Return the asyncio transports that bytes go through on their way to the system."""
    connection = response.connection if response is not None else None
    transport = connection.transport if connection is not None else None
    if transport is None:
        return []
    try:
        # With TLS a second one takes what is encrypted, and the first does not count that.
        return [transport, attrgetter("_ssl_protocol._transport")(transport)]
    except AttributeError:
        return [transport]
