"""The HTTP side of the test server: negotiate and the three transports, as ASP.NET Core answers them."""

from __future__ import annotations

import asyncio
import inspect
import secrets
from contextlib import contextmanager
from typing import TYPE_CHECKING

from aiohttp import WSMsgType, web

from ..errors import ConnectionClosedError
from ..options import TransferFormat, Transport
from .fault_table import Passage, Point
from .http_connection import HttpConnection

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from .fault_table import FaultTable
    from .pipe import Cut, Pipe
    from .served import ServedClient
    from .settings import ServerSettings

# A client that does not connect, or does not poll, for so many seconds is gone.
_GAP = 15.0
# So long a connection may take to end when the server stops.
_GRACE = 1.0
_UNCACHED = {"Cache-Control": "no-cache, no-store", "Pragma": "no-cache"}
_BEARER = "Bearer "
_FORMATS = {
    Transport.WEBSOCKETS: [TransferFormat.TEXT, TransferFormat.BINARY],
    Transport.SERVER_SENT_EVENTS: [TransferFormat.TEXT],
    Transport.LONG_POLLING: [TransferFormat.TEXT, TransferFormat.BINARY],
}


class HubEndpoint:
    """One hub's URL.

    Args:
        settings: the server's.
        faults: what is to go wrong.
        serve: makes what serves a connection.
        negotiated: called for each negotiation.
    """

    def __init__(
        self,
        settings: ServerSettings,
        faults: FaultTable,
        serve: Callable[[HttpConnection], ServedClient],
        negotiated: Callable[[web.Request, str | None], None],
    ) -> None:
        self._settings = settings
        self._faults = faults
        self._serve = serve
        self._negotiated = negotiated
        self._is_closing = False
        self.connections: dict[str, HttpConnection] = {}

    def routes(self, path: str) -> list[web.RouteDef]:
        """Return the routes of the hub."""
        path = path.rstrip("/")
        routes = [web.post(f"{path}/negotiate{end}", self._negotiate) for end in ("", "/")]
        for same in {path or "/", f"{path}/"}:
            routes += [
                web.get(same, self._get, allow_head=False),
                web.post(same, self._post),
                web.delete(same, self._delete),
            ]
        return routes

    def take_no_more(self) -> None:
        """Refuse new connections."""
        self._is_closing = True

    def take_again(self) -> None:
        """Take new connections again."""
        self._is_closing = False

    async def close(self, error: ConnectionClosedError | None = None) -> None:
        """End all connections; take no new ones.

        Args:
            error: end them without a word, for this reason.
        """
        self.take_no_more()
        connections = list(self.connections.values())
        for connection in connections:
            connection.expect_nothing()
            if connection.served is not None:
                connection.served.shut_down(error)
        tasks = {connection.task for connection in connections if connection.task is not None}
        if tasks:
            _done, late = await asyncio.wait(tasks, timeout=_GRACE)
            for task in late:
                task.cancel()
            if late:
                await asyncio.wait(late)
        self.connections.clear()

    # Requests

    async def _negotiate(self, request: web.Request) -> web.Response:
        await self._at(Point.NEGOTIATE, request)
        user = await self._authorize(request)
        asked = request.query.get("negotiateVersion") or "0"
        try:
            version = min(int(asked), 1)
        except ValueError:
            return web.json_response({"error": "The client requested a non-integer protocol version."})
        if version < 0:
            text = f"The client requested version '{asked}', but the server does not support this version."
            return web.json_response({"error": text})
        connection = self._new_connection(user, version)
        self._negotiated(request, user)
        token = {"connectionToken": connection.token} if version else {}
        offered = [{"transport": name, "transferFormats": _FORMATS[name]} for name in self._settings.transports]
        return web.json_response(
            {
                "negotiateVersion": version,
                "connectionId": connection.connection_id,
                **token,
                "availableTransports": offered,
            }
        )

    def _new_connection(self, user: str | None, version: int) -> HttpConnection:
        if self._is_closing:
            raise web.HTTPServiceUnavailable(text="The server is stopping")
        connection_id = secrets.token_urlsafe(16)
        token = secrets.token_urlsafe(16) if version else connection_id
        connection = self.connections[token] = HttpConnection(connection_id, token, user)
        self._expect(connection)
        return connection

    async def _get(self, request: web.Request) -> web.StreamResponse:
        transport = _transport_of(request)
        await self._at(self._point(request, transport), request, transport)
        user = await self._authorize(request)
        self._require(transport)
        if transport is Transport.WEBSOCKETS:
            connection = self._find(request) if "id" in request.query else self._new_connection(user, 1)
            return await self._web_socket(request, connection)
        connection = self._find(request)
        if transport is Transport.SERVER_SENT_EVENTS:
            return await self._events(request, connection)
        return await self._poll(request, connection)

    def _point(self, request: web.Request, transport: Transport) -> Point:
        """Return whether this opens a transport or goes on with it."""
        connection = self.connections.get(request.query.get("id", ""))
        if connection is None or connection.served is None:
            return Point.CONNECT
        return Point.POLL if transport is Transport.LONG_POLLING else Point.RESUME

    async def _post(self, request: web.Request) -> web.Response:
        await self._at(Point.POST, request)
        await self._authorize(request)
        connection = self._find(request)
        if connection.pipe.transport == Transport.WEBSOCKETS:
            raise web.HTTPMethodNotAllowed(
                "POST", ["GET"], text="POST requests are not allowed for WebSocket connections."
            )
        body = await request.read()
        await self._at(Point.FRAME_IN, request)
        await connection.pipe.feed(body)
        return web.Response()

    async def _delete(self, request: web.Request) -> web.Response:
        await self._at(Point.DELETE, request)
        await self._authorize(request)
        connection = self._find(request)
        if connection.pipe.transport != Transport.LONG_POLLING:
            raise web.HTTPBadRequest(text="Cannot terminate this connection using the DELETE endpoint.")
        self._drop(connection)
        return web.Response(status=202)

    async def _at(self, point: Point, request: web.Request, transport: str = "") -> None:
        """Let the faults of this place happen to a request."""
        connection = self.connections.get(request.query.get("id", ""))
        name = None
        if connection is not None:
            name, transport = connection.connection_id, transport or connection.pipe.transport
        await self._faults.at(Passage(point, transport, name, request.transport))

    async def _authorize(self, request: web.Request) -> str | None:
        if self._settings.authorize is None:
            return None
        header = request.headers.get("Authorization", "")
        token = header.removeprefix(_BEARER) if header.startswith(_BEARER) else request.query.get("access_token")
        user = self._settings.authorize(token)
        if inspect.isawaitable(user):
            user = await user
        if user is None:
            raise web.HTTPUnauthorized(text="")
        return user

    def _require(self, transport: Transport) -> None:
        if transport not in self._settings.transports:
            raise web.HTTPNotFound(text=f"{transport} transport not supported by this end point type")

    def _find(self, request: web.Request) -> HttpConnection:
        token = request.query.get("id")
        if not token:
            raise web.HTTPBadRequest(text="Connection ID required")
        connection = self.connections.get(token)
        if connection is None or connection.is_forgotten:
            raise web.HTTPNotFound(text="No Connection with that ID")
        return connection

    # Connections

    def _claim(self, request: web.Request, connection: HttpConnection, transport: Transport) -> None:
        """Take a connection for a transport; only polls come again."""
        pipe = connection.pipe
        if pipe.transport not in ("", transport):
            raise web.HTTPBadRequest(text="Cannot change transports mid-connection")
        if pipe.transport:
            raise web.HTTPConflict(text="")
        connection.expect_nothing()
        pipe.transport = transport
        pipe.inherent_keep_alive = transport is Transport.LONG_POLLING
        connection.headers = {name.lower(): value for name, value in request.headers.items()}
        connection.query = {name: value for name, value in request.query.items() if name != "id"}

    def _begin(self, connection: HttpConnection) -> ServedClient:
        """Start to serve a connection whose transport has come."""
        served = connection.served = self._serve(connection)
        connection.task = asyncio.create_task(self._live(connection, served), name="hub connection")
        return served

    async def _live(self, connection: HttpConnection, served: ServedClient) -> None:
        try:
            if await self._may_begin(connection):
                await served.serve()
        finally:
            connection.pipe.end()
            if connection.pipe.transport != Transport.LONG_POLLING:
                self.connections.pop(connection.token, None)

    async def _may_begin(self, connection: HttpConnection) -> bool:
        """Return whether the client is still there when the faults have let its handshake through."""
        passage = _passage(Point.HANDSHAKE, connection)
        if not self._faults.concern(passage):
            return True
        held = asyncio.create_task(self._faults.at(passage), name="held handshake")
        try:
            await asyncio.wait({held, connection.pipe.gone}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            held.cancel()
        return not connection.pipe.gone.done()

    def _expect(self, connection: HttpConnection) -> None:
        """Drop the connection if nothing comes for it."""
        error = ConnectionClosedError("the client has not come back")
        connection.gone = asyncio.get_running_loop().call_later(_GAP, self._drop, connection, error)

    def _drop(self, connection: HttpConnection, error: ConnectionClosedError | None = None) -> None:
        connection.expect_nothing()
        connection.pipe.disconnect(error)
        self.connections.pop(connection.token, None)

    # Transports

    async def _web_socket(self, request: web.Request, connection: HttpConnection) -> web.WebSocketResponse:
        self._claim(request, connection, Transport.WEBSOCKETS)
        socket = web.WebSocketResponse(max_msg_size=self._settings.carried_bytes, compress=False)
        try:
            await socket.prepare(request)
        except BaseException:
            self._drop(connection)
            raise
        served = self._begin(connection)
        connection.wire = request.transport
        writer = asyncio.create_task(self._write_frames(request, socket, connection, served), name="hub writer")
        try:
            await self._read_frames(socket, connection)
            await writer
        finally:
            connection.wire = None
            connection.pipe.disconnect(ConnectionClosedError("the WebSocket was cut"))
            writer.cancel()
        return socket

    async def _read_frames(self, socket: web.WebSocketResponse, connection: HttpConnection) -> None:
        pipe = connection.pipe
        while True:
            message = await socket.receive()
            if message.type not in (WSMsgType.TEXT, WSMsgType.BINARY):
                clean = message.type is WSMsgType.CLOSE
                pipe.disconnect(None if clean else ConnectionClosedError("the WebSocket was cut"))
                return
            await self._faults.at(_passage(Point.FRAME_IN, connection))
            await pipe.feed(message.data if message.type is WSMsgType.BINARY else message.data.encode())

    async def _write_frames(
        self, request: web.Request, socket: web.WebSocketResponse, connection: HttpConnection, served: ServedClient
    ) -> None:
        with _ending(request, connection.pipe):
            while (data := await self._next_frame(connection)) is not None:
                async with asyncio.timeout(self._settings.send_timeout):
                    await socket.send_frame(data, WSMsgType.BINARY if served.binary else WSMsgType.TEXT)
            await socket.close(code=connection.close_code)

    async def _events(self, request: web.Request, connection: HttpConnection) -> web.StreamResponse:
        self._claim(request, connection, Transport.SERVER_SENT_EVENTS)
        self._begin(connection)
        connection.wire = request.transport
        pipe = connection.pipe
        response = web.StreamResponse(headers={**_UNCACHED, "Content-Type": "text/event-stream"})
        try:
            with _ending(request, pipe):
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

    async def _next_frame(self, connection: HttpConnection) -> bytes | None:
        data = await connection.pipe.drain(lambda: self._cut(connection, text=True))
        await self._faults.at(_passage(Point.FRAME_OUT, connection))
        return data

    def _cut(self, connection: HttpConnection, *, text: bool) -> Cut:
        served = connection.served
        return self._faults.cut(_passage(Point.CUT, connection), text=text and not (served and served.binary))

    async def _poll(self, request: web.Request, connection: HttpConnection) -> web.Response:
        if connection.served is None:
            self._claim(request, connection, Transport.LONG_POLLING)
            self._begin(connection)
            self._expect(connection)
            return _poll_answer(b"")
        if connection.pipe.transport != Transport.LONG_POLLING:
            raise web.HTTPBadRequest(text="Cannot change transports mid-connection")
        connection.expect_nothing()
        if connection.poll is not None:
            connection.poll.cancel()
        drain = connection.pipe.drain(lambda: self._cut(connection, text=False))
        poll = connection.poll = asyncio.create_task(drain, name="hub poll")
        wire = connection.wire = request.transport
        try:
            await asyncio.wait({poll}, timeout=self._settings.poll_timeout)
            await self._faults.at(_passage(Point.FRAME_OUT, connection))
        finally:
            # What was not taken yet stays in the pipe for the next poll.
            poll.cancel()
            if connection.wire is wire:
                connection.wire = None
            if connection.poll is poll:
                connection.poll = None
                self._expect(connection)
        if not poll.done():
            return _poll_answer(b"")
        if poll.cancelled():
            return web.Response(status=204)  # another poll has come instead
        data = poll.result()
        if data is None:
            self._drop(connection)
        return _poll_answer(data)


def _transport_of(request: web.Request) -> Transport:
    if request.headers.get("Upgrade", "").lower() == "websocket":
        return Transport.WEBSOCKETS
    if "text/event-stream" in request.headers.get("Accept", ""):
        return Transport.SERVER_SENT_EVENTS
    return Transport.LONG_POLLING


def _passage(point: Point, connection: HttpConnection) -> Passage:
    return Passage(point, connection.pipe.transport, connection.connection_id, connection.wire)


def _poll_answer(data: bytes | None) -> web.Response:
    if data is None:
        return web.Response(status=204)
    return web.Response(body=data, content_type="application/octet-stream", headers=_UNCACHED)


@contextmanager
def _ending(request: web.Request, pipe: Pipe) -> Iterator[None]:
    """Cut the wire to a client that is gone or takes nothing."""
    try:
        yield
    except (ConnectionError, TimeoutError):
        pipe.disconnect(ConnectionClosedError("the client is gone, or reads nothing"))
        if request.transport is not None:
            request.transport.abort()
