"""The Server-Sent Events transport of the test server: sends data to the client as events in one long response."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from aiohttp import web

from .transport_connection import UNCACHED, TransportConnection, closing_when_unreachable

if TYPE_CHECKING:
    from .connected_client import ConnectedClient


async def send_events(
    request: web.Request, connection: TransportConnection, client: ConnectedClient
) -> web.StreamResponse:
    """Send the hub's messages to the client as events, until the connection ends; return the finished response."""
    connection.tcp = request.transport
    response = web.StreamResponse(headers={**UNCACHED, "Content-Type": "text/event-stream"})
    try:
        with closing_when_unreachable(request, connection, client):
            await response.prepare(request)
            data: bytes | None = b":\r\n"
            while data is not None:
                async with asyncio.timeout(connection.hub.settings.send_timeout):
                    await response.write(data)
                data = await connection.next_frame()
                data = None if data is None else b"data: " + data + b"\r\n\r\n"
    finally:
        connection.tcp = None
        connection.buffers.end()
    return response
