"""The Server-Sent Events transport of the test server."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from aiohttp import web

from .server_transport import UNCACHED, ServerTransport, closing_when_unreachable

if TYPE_CHECKING:
    from .connected_client import ConnectedClient
    from .transport_connection import TransportConnection


class ServerSentEvents(ServerTransport):
    """Carries data to clients. The client's data comes in POST requests, which the endpoint handles."""

    async def run(
        self, request: web.Request, connection: TransportConnection, client: ConnectedClient
    ) -> web.StreamResponse:
        """Send events until the connection ends."""
        connection.tcp = request.transport
        response = web.StreamResponse(headers={**UNCACHED, "Content-Type": "text/event-stream"})
        try:
            with closing_when_unreachable(request, connection, client):
                await response.prepare(request)
                data: bytes | None = b":\r\n"
                while data is not None:
                    async with asyncio.timeout(self._settings.send_timeout):
                        await response.write(data)
                    data = await self._next_frame(connection)
                    data = None if data is None else b"data: " + data + b"\r\n\r\n"
        finally:
            connection.tcp = None
            connection.buffers.disconnect()
        return response
