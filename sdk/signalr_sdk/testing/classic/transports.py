"""The transports of the classic test server: WebSockets, server-sent events, long polling."""

from __future__ import annotations

import asyncio
import math
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

from aiohttp import WSMsgType, web

from ..._guard.tasks import spawn
from ...classic.envelopes import KEEP_ALIVE
from ...options import Transport
from ..fault_points import FaultPoint, FaultSite
from .service import RefusedRequestError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from ..active_faults import ActiveFaults
    from .connection import Feed
    from .settings import ClassicSettings

NO_SNIFF = {"X-Content-Type-Options": "nosniff"}
JSON = "application/json; charset=UTF-8"


class Transmission:
    """Decides what an open transport sends next: data of its feed, or a keep-alive.

    Args:
        feed: the open transport.
        settings: the server's settings.
        faults: the server's faults.
        connection_id: id of the connection, for faults.
    """

    def __init__(self, feed: Feed, settings: ClassicSettings, faults: ActiveFaults, connection_id: str) -> None:
        self.feed = feed
        self.settings = settings
        self._faults = faults
        self._connection_id = connection_id
        self._loop = asyncio.get_running_loop()
        # A poll without data ends after the connection timeout. So do other transports, if keep-alives are off.
        is_endless = settings.keep_alive is not None and feed.transport is not Transport.LONG_POLLING
        self._end = math.inf if is_endless else self._loop.time() + settings.connection_timeout

    async def next_data(self) -> bytes | None:
        """Wait for data, and return the data; `{}` if a keep-alive is due, `None` if the transport must end."""
        quiet = math.inf if self.settings.keep_alive is None else self._loop.time() + self.settings.keep_alive
        while True:
            data = self.feed.next_data()
            if data is not None or self.feed.is_ended:
                return data
            now = self._loop.time()
            if now >= self._end:
                return None
            if now >= quiet:
                return KEEP_ALIVE
            until = min(quiet, self._end)
            await self.feed.wait(None if until == math.inf else until - now)

    def is_swallowed(self, data: bytes) -> bool:
        """Return whether the fault `silence` swallows this data: the transport then does not send it."""
        point = FaultPoint.KEEP_ALIVE if data == KEEP_ALIVE else FaultPoint.FRAME_OUT
        site = FaultSite(point, transport=self.feed.transport, connection_id=self._connection_id, tcp=self.feed.tcp)
        return self._faults.suppresses(site)


async def open_web_socket(request: web.Request, settings: ClassicSettings) -> web.WebSocketResponse:
    """Answer the upgrade request of a client.

    Raises:
        RefusedRequestError: the request is no upgrade request, or the server has no WebSockets.
    """
    if not settings.web_sockets or request.headers.get("Upgrade", "").lower() != "websocket":
        raise RefusedRequestError(400, "Not a valid web socket request.")
    socket = web.WebSocketResponse(max_msg_size=settings.read_bytes, compress=False)
    await socket.prepare(request)
    return socket


async def run_web_socket(
    socket: web.WebSocketResponse, transmission: Transmission, receive: Callable[[str], None]
) -> None:
    """Write to a WebSocket and read from the WebSocket, until the WebSocket ends.

    Args:
        socket: the open WebSocket.
        transmission: has the data to send.
        receive: called with each message of the client. Must not block.
    """
    writer = spawn(_write_messages(socket, transmission), "classic hub writer")
    limit = transmission.settings.max_message
    try:
        while True:
            message = await socket.receive()
            is_binary = message.type is WSMsgType.BINARY
            if message.type is not WSMsgType.TEXT and not is_binary:
                break
            if is_binary or (limit is not None and len(message.data.encode()) > limit):
                # Send no answer and no close frame, as Microsoft's server.
                transmission.feed.drop(reset=False)
                break
            receive(message.data)
        if transmission.feed.is_ended:
            await writer
    finally:
        writer.cancel()


async def _write_messages(socket: web.WebSocketResponse, transmission: Transmission) -> None:
    with _dropping(transmission.feed):
        while (data := await transmission.next_data()) is not None:
            if not transmission.is_swallowed(data):
                async with asyncio.timeout(transmission.settings.send_timeout):
                    await socket.send_frame(data, WSMsgType.TEXT)
        transmission.feed.is_ended = True
        async with asyncio.timeout(transmission.settings.send_timeout):
            await socket.close()


async def send_events(request: web.Request, transmission: Transmission) -> web.StreamResponse:
    """Send events until the transport ends; return the finished response."""
    headers = {**NO_SNIFF, "Content-Type": "text/event-stream", "Cache-Control": "no-cache"}
    response = web.StreamResponse(headers=headers)
    with _dropping(transmission.feed):
        await response.prepare(request)
        data: bytes | None = b"initialized"
        while data is not None:
            if not transmission.is_swallowed(data):
                async with asyncio.timeout(transmission.settings.send_timeout):
                    await response.write(b"data: " + data + b"\n\n")
            data = await transmission.next_data()
    return response


async def answer_poll(request: web.Request, transmission: Transmission) -> web.StreamResponse:
    """Answer a poll when there is data for the client, at the latest after the connection timeout.

    The head of the answer is sent at once. Blanks before the JSON keep the TCP connection alive.
    """
    feed = transmission.feed
    response = web.StreamResponse(headers={**NO_SNIFF, "Content-Type": JSON})
    with _dropping(feed):
        await response.prepare(request)
        while (data := await transmission.next_data()) == KEEP_ALIVE:
            if not transmission.is_swallowed(data):
                await response.write(b" ")
        if data is None:
            data = b"" if feed.is_cut else feed.last_envelope()
        if transmission.is_swallowed(data):
            while not feed.is_ended:
                await feed.wait(None)
            data = b""
        async with asyncio.timeout(transmission.settings.send_timeout):
            await response.write(data)
    return response


@contextmanager
def _dropping(feed: Feed) -> Iterator[None]:
    """Run the block that writes to a client. If the client is gone or reads too slowly, close its TCP connection."""
    try:
        yield
    except (ConnectionError, TimeoutError):
        with suppress(ConnectionError):
            feed.drop(reset=False)
