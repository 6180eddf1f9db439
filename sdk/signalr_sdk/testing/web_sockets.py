"""The three transports of the test server: each carries the bytes between a connection's pipe and HTTP."""

from __future__ import annotations

import asyncio
from contextlib import contextmanager
from typing import TYPE_CHECKING

from aiohttp import WebSocketError, WSMsgType, web

from ..errors import ConnectionClosedError
from .active_faults import FaultSite, Point
from .transport_connection import ServerWebSocket

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from .active_faults import ActiveFaults
    from .connected_client import ConnectedClient
    from .connection_buffers import Cut, Pipe
    from .settings import ServerSettings
    from .transport_connection import TransportConnection

_UNCACHED = {"Cache-Control": "no-cache, no-store", "Pragma": "no-cache"}


def passage(point: Point, connection: TransportConnection) -> FaultSite:
    """Return what faults are told of a connection."""
    return FaultSite(point, connection.pipe.transport, connection.connection_id, connection.wire)


class Transports:
    """All of one hub.

    Args:
        settings: the server's.
        faults: what is to go wrong.
        expect: has a connection dropped if nothing comes for it in so many seconds, or as usual.
        drop: ends a connection.
    """

    def __init__(
        self,
        settings: ServerSettings,
        faults: ActiveFaults,
        expect: Callable[[TransportConnection, float | None], None],
        drop: Callable[[TransportConnection], None],
    ) -> None:
        self._settings = settings
        self._faults = faults
        self._expect = expect
        self._drop = drop

    # WebSockets

    async def upgrade(self, request: web.Request) -> web.WebSocketResponse:
        """Answer the request for a WebSocket."""
        socket = web.WebSocketResponse(max_msg_size=self._settings.carried_bytes, compress=False)
        await socket.prepare(request)
        return socket

    async def web_socket(
        self,
        request: web.Request,
        socket: web.WebSocketResponse,
        connection: TransportConnection,
        served: ConnectedClient,
    ) -> None:
        """Carry a connection until its end, or until another WebSocket does."""
        write = asyncio.create_task(self._write_frames(request, socket, connection, served), name="hub writer")
        carrier = connection.carrier = ServerWebSocket(socket, write, request.transport)
        connection.wire = request.transport
        try:
            await self._read_frames(socket, connection, carrier)
            if connection.carrier is carrier and connection.pipe.gone.done():
                await write
        finally:
            carrier.give_up()
            if connection.carrier is carrier:
                connection.carrier = connection.wire = None
                self._lose(connection, served)

    def _lose(self, connection: TransportConnection, served: ConnectedClient) -> None:
        """End a connection whose WebSocket is gone, or keep it for a while."""
        if served.resumable:
            connection.pipe.suspend()
            self._expect(connection, self._settings.stateful_window)
        else:
            connection.pipe.disconnect(ConnectionClosedError("the WebSocket was cut"))

    async def _read_frames(
        self, socket: web.WebSocketResponse, connection: TransportConnection, carrier: ServerWebSocket
    ) -> None:
        while True:
            message = await socket.receive()
            if connection.carrier is not carrier:
                return
            if message.type not in (WSMsgType.TEXT, WSMsgType.BINARY):
                if message.type is WSMsgType.CLOSE:
                    connection.pipe.disconnect()
                elif isinstance(message.data, WebSocketError):
                    connection.pipe.disconnect(ConnectionClosedError(f"the WebSocket failed: {message.data}"))
                return
            await self._faults.at(passage(Point.FRAME_IN, connection))
            if connection.carrier is carrier:
                data = message.data if message.type is WSMsgType.BINARY else message.data.encode()
                await connection.pipe.feed(data)

    async def _write_frames(
        self,
        request: web.Request,
        socket: web.WebSocketResponse,
        connection: TransportConnection,
        served: ConnectedClient,
    ) -> None:
        with _ending(request, connection.pipe, served):
            while (data := await self._next_frame(connection)) is not None:
                async with asyncio.timeout(self._settings.send_timeout):
                    await socket.send_frame(data, WSMsgType.BINARY if served.binary else WSMsgType.TEXT)
            await socket.close(code=connection.close_code)

    # Server-sent events

    async def events(
        self, request: web.Request, connection: TransportConnection, served: ConnectedClient
    ) -> web.StreamResponse:
        """Carry what a connection says; what it hears comes in POSTs."""
        pipe = connection.pipe
        connection.wire = request.transport
        response = web.StreamResponse(headers={**_UNCACHED, "Content-Type": "text/event-stream"})
        try:
            with _ending(request, pipe, served):
                await response.prepare(request)
                data: bytes | None = b":\r\n"
                while data is not None:
                    async with asyncio.timeout(self._settings.send_timeout):
                        await response.write(data)
                    data = await self._next_frame(connection)
                    data = None if data is None else b"data: " + data + b"\r\n\r\n"
        finally:
            connection.wire = None
            pipe.disconnect()
        return response

    async def _next_frame(self, connection: TransportConnection) -> bytes | None:
        data = await connection.pipe.drain(lambda: self._cut(connection, text=True))
        await self._faults.at(passage(Point.FRAME_OUT, connection))
        return data

    def _cut(self, connection: TransportConnection, *, text: bool) -> Cut:
        served = connection.served
        return self._faults.cut(passage(Point.CUT, connection), text=text and not (served and served.binary))

    # Long polling

    async def poll(self, request: web.Request, connection: TransportConnection) -> web.Response:
        """Answer a poll but the first."""
        connection.expect_nothing()
        if connection.poll is not None:
            connection.poll.cancel()
        drain = connection.pipe.drain(lambda: self._cut(connection, text=False))
        poll = connection.poll = asyncio.create_task(drain, name="hub poll")
        wire = connection.wire = request.transport
        try:
            await asyncio.wait({poll}, timeout=self._settings.poll_timeout)
            await self._faults.at(passage(Point.FRAME_OUT, connection))
        finally:
            # What was not taken yet stays in the pipe for the next poll.
            poll.cancel()
            if connection.wire is wire:
                connection.wire = None
            if connection.poll is poll:
                connection.poll = None
                self._expect(connection, None)
        if not poll.done():
            return poll_answer(b"")
        if poll.cancelled():
            return web.Response(status=204)  # another poll has come instead
        data = poll.result()
        if data is None:
            self._drop(connection)
        return poll_answer(data)


def poll_answer(data: bytes | None) -> web.Response:
    """Return the answer to a poll; `None` is the end."""
    if data is None:
        return web.Response(status=204)
    return web.Response(body=data, content_type="application/octet-stream", headers=_UNCACHED)


@contextmanager
def _ending(request: web.Request, pipe: Pipe, served: ConnectedClient) -> Iterator[None]:
    """Cut the wire to a client that is gone or takes nothing."""
    try:
        yield
    except (ConnectionError, TimeoutError):
        if not served.resumable:
            pipe.disconnect(ConnectionClosedError("the client is gone, or reads nothing"))
        if request.transport is not None:
            request.transport.abort()
