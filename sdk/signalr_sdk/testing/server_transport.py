"""What the three transports of the test server have in common."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from ..errors import ConnectionClosedError
from .fault_points import FaultPoint

if TYPE_CHECKING:
    from collections.abc import Iterator

    from aiohttp import web

    from .active_faults import ActiveFaults
    from .connected_client import ConnectedClient
    from .connection_buffers import FrameRule
    from .settings import ServerSettings
    from .transport_connection import TransportConnection

UNCACHED = {"Cache-Control": "no-cache, no-store", "Pragma": "no-cache"}


class ServerTransport:
    """Moves bytes between the buffers of connections and HTTP responses.

    Args:
        settings: the server's settings.
        faults: asked at each frame.
    """

    def __init__(self, settings: ServerSettings, faults: ActiveFaults) -> None:
        self._settings = settings
        self._faults = faults

    async def _next_frame(self, connection: TransportConnection) -> bytes | None:
        """Return the next frame for the client; `None` at the end of the connection."""
        data = await connection.buffers.next_frame(lambda: self._frame_rule(connection, text=True))
        await self._faults.apply(connection.site(FaultPoint.FRAME_OUT))
        return data

    def _frame_rule(self, connection: TransportConnection, *, text: bool) -> FrameRule:
        client = connection.client
        text = text and not (client and client.binary)
        return self._faults.frame_rule(connection.site(FaultPoint.FRAME_RULE), text=text)


@contextmanager
def closing_when_unreachable(
    request: web.Request, connection: TransportConnection, client: ConnectedClient
) -> Iterator[None]:
    """Close the TCP connection of a client that has gone, or that reads nothing for `send_timeout`."""
    try:
        yield
    except (ConnectionError, TimeoutError):
        if not client.resumable:
            connection.buffers.disconnect(ConnectionClosedError("the client is gone, or reads nothing"))
        if request.transport is not None:
            request.transport.abort()
