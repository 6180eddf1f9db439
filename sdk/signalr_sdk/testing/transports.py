"""The HTTP side of the test server: negotiate and the three transports, as ASP.NET Core answers them."""

from __future__ import annotations

import asyncio
import inspect
import secrets
from typing import TYPE_CHECKING, Any

import attrs
from aiohttp import WSMsgType, web

from ..errors import ConnectionClosedError
from ..options import TransferFormat, Transport
from .pipe import Pipe

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from .served import ServedClient
    from .settings import ServerSettings

# A long-polling client that does not poll for so many seconds is gone.
_POLL_GAP = 15.0
_BEARER = "Bearer "
_FORMATS = {
    Transport.WEBSOCKETS: [TransferFormat.TEXT, TransferFormat.BINARY],
    Transport.SERVER_SENT_EVENTS: [TransferFormat.TEXT],
    Transport.LONG_POLLING: [TransferFormat.TEXT, TransferFormat.BINARY],
}


@attrs.define(eq=False)
class HttpConnection:
    """A connection that was negotiated.

    Attributes:
        connection_id: its public id.
        token: its secret id.
        user: what `authorize` said.
        pipe: its bytes.
        headers: of the request that opened its transport.
        query: of the same.
        served: what serves it, once a transport is there.
        task: the task of that.
        poll: the poll that is held open.
        gone: ends the connection when polls stay away.
    """

    connection_id: str
    token: str
    user: str | None
    pipe: Pipe = attrs.field(factory=Pipe)
    headers: Mapping[str, str] = attrs.field(factory=dict)
    query: Mapping[str, str] = attrs.field(factory=dict)
    served: ServedClient | None = None
    task: asyncio.Task[None] | None = None
    poll: asyncio.Task[bytes | None] | None = None
    gone: asyncio.TimerHandle | None = None


class HubEndpoint:
    """One hub's URL.

    Args:
        settings: the server's.
        serve: makes what serves a connection.
        run: runs that to its end.
    """

    def __init__(
        self,
        settings: ServerSettings,
        serve: Callable[[HttpConnection], ServedClient],
        run: Callable[[HttpConnection, ServedClient], Awaitable[None]],
    ) -> None:
        self._settings = settings
        self._serve = serve
        self._run = run
        self.connections: dict[str, HttpConnection] = {}

    def routes(self, path: str) -> list[web.RouteDef]:
        """Return the routes of the hub."""
        path = path.rstrip("/")
        return [
            web.post(f"{path}/negotiate", self._negotiate),
            web.get(path or "/", self._get),
            web.post(path or "/", self._post),
            web.delete(path or "/", self._delete),
        ]

    async def close(self) -> None:
        """End all connections."""
        for connection in list(self.connections.values()):
            connection.pipe.disconnect()
        tasks = [connection.task for connection in self.connections.values() if connection.task is not None]
        for task in tasks:
            task.cancel()
        if tasks:
            await asyncio.wait(tasks)

    # Requests

    async def _negotiate(self, request: web.Request) -> web.Response:
        user = await self._authorize(request)
        version = 1 if request.query.get("negotiateVersion", "0") not in ("", "0") else 0
        connection = self._new_connection(user, version)
        answer: dict[str, Any] = {
            "negotiateVersion": version,
            "connectionId": connection.connection_id,
            "availableTransports": [
                {"transport": name, "transferFormats": _FORMATS[name]} for name in self._settings.transports
            ],
        }
        if version:
            answer["connectionToken"] = connection.token
        return web.json_response(answer)

    def _new_connection(self, user: str | None, version: int) -> HttpConnection:
        connection_id = secrets.token_urlsafe(16)
        token = secrets.token_urlsafe(16) if version else connection_id
        connection = self.connections[token] = HttpConnection(connection_id, token, user)
        return connection

    async def _get(self, request: web.Request) -> web.StreamResponse:
        user = await self._authorize(request)
        if request.headers.get("Upgrade", "").lower() == "websocket":
            self._require(Transport.WEBSOCKETS)
            connection = self._find(request) if "id" in request.query else self._new_connection(user, 1)
            return await self._web_socket(request, connection)
        connection = self._find(request)
        if "text/event-stream" in request.headers.get("Accept", ""):
            self._require(Transport.SERVER_SENT_EVENTS)
            return await self._events(request, connection)
        self._require(Transport.LONG_POLLING)
        return await self._poll(request, connection)

    async def _post(self, request: web.Request) -> web.Response:
        await self._authorize(request)
        connection = self._find(request)
        await connection.pipe.feed(await request.read())
        return web.Response()

    async def _delete(self, request: web.Request) -> web.Response:
        await self._authorize(request)
        self._find(request).pipe.disconnect()
        return web.Response(status=202)

    async def _authorize(self, request: web.Request) -> str | None:
        if self._settings.authorize is None:
            return None
        header = request.headers.get("Authorization", "")
        token = header.removeprefix(_BEARER) if header.startswith(_BEARER) else request.query.get("access_token")
        user = self._settings.authorize(token)
        if inspect.isawaitable(user):
            user = await user
        if user is None:
            raise web.HTTPUnauthorized
        return user

    def _require(self, transport: Transport) -> None:
        if transport not in self._settings.transports:
            raise web.HTTPNotFound(text=f"{transport} is not offered here")

    def _find(self, request: web.Request) -> HttpConnection:
        token = request.query.get("id")
        if not token:
            raise web.HTTPBadRequest(text="Connection ID required")
        connection = self.connections.get(token)
        if connection is None:
            raise web.HTTPNotFound(text="No Connection with that ID")
        return connection

    def _begin(self, request: web.Request, connection: HttpConnection, transport: Transport) -> ServedClient:
        """Start to serve a connection whose transport has come."""
        if connection.served is not None:
            raise web.HTTPConflict(text="The connection has a transport already")
        connection.pipe.transport = transport
        connection.pipe.inherent_keep_alive = transport is Transport.LONG_POLLING
        connection.headers = {name.lower(): value for name, value in request.headers.items()}
        connection.query = {name: value for name, value in request.query.items() if name != "id"}
        served = connection.served = self._serve(connection)
        connection.task = asyncio.create_task(self._live(connection, served), name="hub connection")
        return served

    async def _live(self, connection: HttpConnection, served: ServedClient) -> None:
        try:
            await self._run(connection, served)
        finally:
            connection.pipe.end()
            if connection.pipe.transport != Transport.LONG_POLLING:
                self.connections.pop(connection.token, None)

    # Transports

    async def _web_socket(self, request: web.Request, connection: HttpConnection) -> web.WebSocketResponse:
        socket = web.WebSocketResponse(max_msg_size=2 * self._settings.message_bytes, compress=False)
        served = self._begin(request, connection, Transport.WEBSOCKETS)
        await socket.prepare(request)
        writer = asyncio.create_task(_write_frames(socket, connection.pipe, served), name="hub writer")
        try:
            await _read_frames(socket, connection.pipe)
            await writer
        finally:
            connection.pipe.disconnect()
            writer.cancel()
        return socket

    async def _events(self, request: web.Request, connection: HttpConnection) -> web.StreamResponse:
        self._begin(request, connection, Transport.SERVER_SENT_EVENTS)
        response = web.StreamResponse(headers={"Content-Type": "text/event-stream", "Cache-Control": "no-cache"})
        try:
            await response.prepare(request)
            while (data := await connection.pipe.drain()) is not None:
                await response.write(b"data: " + data + b"\r\n\r\n")
        except ConnectionError:
            return response
        finally:
            connection.pipe.disconnect(ConnectionClosedError("the stream was cut"))
        return response

    async def _poll(self, request: web.Request, connection: HttpConnection) -> web.Response:
        if connection.served is None:
            self._begin(request, connection, Transport.LONG_POLLING)
            self._expect_poll(connection)
            return web.Response()
        if connection.gone is not None:
            connection.gone.cancel()
        if connection.poll is not None:
            connection.poll.cancel()
        poll = connection.poll = asyncio.create_task(connection.pipe.drain(), name="hub poll")
        await asyncio.wait({poll}, timeout=self._settings.poll_timeout)
        if not poll.done():
            poll.cancel()
            data: bytes | None = b""
        else:
            data = None if poll.cancelled() else poll.result()
        if data is None:
            self.connections.pop(connection.token, None)
            return web.Response(status=204)
        self._expect_poll(connection)
        return web.Response(body=data, content_type="application/octet-stream")

    def _expect_poll(self, connection: HttpConnection) -> None:
        error = ConnectionClosedError("the client has stopped polling")
        loop = asyncio.get_running_loop()
        connection.gone = loop.call_later(_POLL_GAP, connection.pipe.disconnect, error)


async def _read_frames(socket: web.WebSocketResponse, pipe: Pipe) -> None:
    while True:
        message = await socket.receive()
        if message.type is WSMsgType.TEXT:
            await pipe.feed(message.data.encode())
        elif message.type is WSMsgType.BINARY:
            await pipe.feed(message.data)
        else:
            clean = message.type is WSMsgType.CLOSE
            pipe.disconnect(None if clean else ConnectionClosedError("the WebSocket was cut"))
            return


async def _write_frames(socket: web.WebSocketResponse, pipe: Pipe, served: ServedClient) -> None:
    try:
        while (data := await pipe.drain()) is not None:
            await socket.send_frame(data, WSMsgType.BINARY if served.binary else WSMsgType.TEXT)
        await socket.close()
    except ConnectionError:
        pipe.disconnect(ConnectionClosedError("the WebSocket was cut"))
