"""The WebSockets transport of the test server: moves bytes between a WebSocket and the buffers of a connection."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from aiohttp import WebSocketError, WSMsgType, web

from .._guard.tasks import spawn
from ..errors import ConnectionClosedError
from .fault_points import FaultPoint
from .transport_connection import ServerWebSocket, TransportConnection, closing_when_unreachable

if TYPE_CHECKING:
    from .connected_client import ConnectedClient
    from .settings import ServerSettings


async def upgrade(request: web.Request, settings: ServerSettings) -> web.WebSocketResponse:
    """Answer the WebSocket upgrade request of a client, and return the open WebSocket."""
    socket = web.WebSocketResponse(max_msg_size=settings.carried_bytes, compress=False)
    await socket.prepare(request)
    return socket


async def run_web_socket(
    request: web.Request, socket: web.WebSocketResponse, connection: TransportConnection, client: ConnectedClient
) -> None:
    """Move bytes between WebSocket and buffers, until this WebSocket ends or the client resumes over a new one."""
    writer = spawn(_write_frames(request, socket, connection, client), "hub writer")
    current = connection.web_socket = ServerWebSocket(socket, writer, tcp=request.transport)
    connection.tcp = request.transport
    try:
        await _read_frames(connection, current)
        if connection.web_socket is current and connection.buffers.closed.done():
            await writer
    finally:
        current.end()
        # After `lose_line` do not call `_lose`: a real server would not learn that the client has gone, and the client
        # timeout must end the connection.
        if connection.web_socket is current and not current.is_dead:
            connection.web_socket = connection.tcp = None
            _lose(connection, client)


def _lose(connection: TransportConnection, client: ConnectedClient) -> None:
    """End a connection whose WebSocket is lost.

    If the client can resume (stateful reconnect), end the connection after `stateful_window` seconds without a resume.
    """
    if client.resumable:
        connection.buffers.detach_transport()
        connection.drop_after(connection.hub.settings.stateful_window)
    else:
        connection.buffers.end(ConnectionClosedError("the WebSocket was cut"))


async def _read_frames(connection: TransportConnection, current: ServerWebSocket) -> None:
    while True:
        message = await current.socket.receive()
        if connection.web_socket is not current:
            return
        if current.is_dead and message.type in (WSMsgType.TEXT, WSMsgType.BINARY):
            continue
        if current.is_dead:
            return
        if message.type not in (WSMsgType.TEXT, WSMsgType.BINARY):
            if message.type is WSMsgType.CLOSE:
                connection.buffers.end()
            elif isinstance(message.data, WebSocketError):
                connection.buffers.end(ConnectionClosedError(f"the WebSocket failed: {message.data}"))
            return
        await connection.apply_faults(FaultPoint.FRAME_IN)
        if connection.web_socket is current:
            data = message.data if message.type is WSMsgType.BINARY else message.data.encode()
            await connection.buffers.feed(data)


async def _write_frames(
    request: web.Request, socket: web.WebSocketResponse, connection: TransportConnection, client: ConnectedClient
) -> None:
    with closing_when_unreachable(request, connection, client):
        while (data := await connection.next_frame()) is not None:
            if connection.web_socket is not None and connection.web_socket.is_dead:
                continue
            async with asyncio.timeout(connection.hub.settings.send_timeout):
                await socket.send_frame(data, WSMsgType.BINARY if client.binary else WSMsgType.TEXT)
        # On a lost line the unsent data would keep `close` waiting until the system gives the TCP connection up.
        async with asyncio.timeout(connection.hub.settings.send_timeout):
            await socket.close(code=connection.close_code)
