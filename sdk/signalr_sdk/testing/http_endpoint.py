"""The HTTP side of the test server: negotiate and the three transports, as ASP.NET Core answers them."""

from __future__ import annotations

import asyncio
import secrets
from typing import TYPE_CHECKING, Any

from aiohttp import web

from ..errors import ConnectionClosedError
from ..options import TransferFormat, Transport
from .active_faults import FaultSite, Point
from .authentication import Authentication
from .transport_connection import TransportConnection
from .web_sockets import Transports, passage, poll_answer

if TYPE_CHECKING:
    from collections.abc import Callable

    from .active_faults import ActiveFaults
    from .connected_client import ConnectedClient
    from .settings import Identity, ServerSettings

# A client that does not connect, or does not poll, for so many seconds is gone.
_GAP = 15.0
# So long a connection may take to end when the server stops.
_GRACE = 1.0
_UNKNOWN = "No Connection with that ID"
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
        faults: ActiveFaults,
        serve: Callable[[TransportConnection], ConnectedClient],
        negotiated: Callable[[web.Request, str | None], None],
    ) -> None:
        self._settings = settings
        self._faults = faults
        self._serve = serve
        self._negotiated = negotiated
        self._authentication = Authentication(settings)
        self._carriers = Transports(settings, faults, self._expect, self._drop)
        self._is_closing = False
        self.connections: dict[str, TransportConnection] = {}

    def routes(self, path: str) -> list[web.RouteDef]:
        """Return the routes of the hub."""
        path = path.rstrip("/")
        routes = [web.post(f"{path}/negotiate{end}", self._negotiate) for end in ("", "/")]
        if self._settings.authentication_refresh:
            routes.append(web.post(f"{path}/refresh", self._refresh))
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
            connection.never_expire()
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
        identity = await self._authentication.identity(request)
        asked = request.query.get("negotiateVersion") or "0"
        try:
            version = min(int(asked), 1)
        except ValueError:
            return web.json_response({"error": "The client requested a non-integer protocol version."})
        if version < 0:
            text = f"The client requested version '{asked}', but the server does not support this version."
            return web.json_response({"error": text})
        connection = self._new_connection(identity, version)
        self._negotiated(request, identity.name)
        return web.json_response(self._answer(request, connection, version) | self._authentication.lifetime(identity))

    def _answer(self, request: web.Request, connection: TransportConnection, version: int) -> dict[str, Any]:
        """Return the answer to a negotiation."""
        asked = request.query.get("useStatefulReconnect", "").lower() == "true"
        connection.is_stateful = bool(version) and asked and self._settings.stateful_reconnect
        stateful = {"useStatefulReconnect": True} if connection.is_stateful else {}
        token = {"connectionToken": connection.token} if version else {}
        offered = [{"transport": name, "transferFormats": _FORMATS[name]} for name in self._settings.transports]
        return {
            **stateful,
            "negotiateVersion": version,
            "connectionId": connection.connection_id,
            **token,
            "availableTransports": offered,
        }

    def _new_connection(self, identity: Identity, version: int) -> TransportConnection:
        if self._is_closing:
            raise web.HTTPServiceUnavailable(text="The server is stopping")
        connection_id = secrets.token_urlsafe(16)
        token = secrets.token_urlsafe(16) if version else connection_id
        connection = self.connections[token] = TransportConnection(connection_id, token, identity.name)
        self._authentication.note(connection, identity)
        self._expect(connection)
        return connection

    async def _get(self, request: web.Request) -> web.StreamResponse:
        transport = _transport_of(request)
        await self._at(self._point(request, transport), request, transport)
        if transport is Transport.LONG_POLLING:
            self._authentication.check_poll(self.connections.get(request.query.get("id", "")))
        identity = await self._authentication.identity(request)
        self._require(transport)
        if transport is Transport.WEBSOCKETS:
            known = "id" in request.query
            connection = self._find(request) if known else self._new_connection(identity, 1)
            return await self._web_socket(request, connection, identity)
        connection = self._find(request)
        if transport is Transport.SERVER_SENT_EVENTS:
            self._claim(request, connection, transport)
            return await self._carriers.events(request, connection, self._begin(connection))
        return await self._poll(request, connection)

    async def _web_socket(
        self, request: web.Request, connection: TransportConnection, identity: Identity
    ) -> web.WebSocketResponse:
        served = connection.served
        if connection.is_stateful and connection.pipe.gone.done():
            raise web.HTTPNotFound(text=_UNKNOWN)
        if served is not None and served.resumable:
            socket = await self._carriers.upgrade(request)
            if not served.resumable:
                await socket.close()  # its time was over meanwhile
                return socket
            self._authentication.note(connection, identity)
            connection.replace_web_socket()
            served.resume()
        else:
            self._claim(request, connection, Transport.WEBSOCKETS)
            try:
                socket = await self._carriers.upgrade(request)
            except BaseException:
                self._drop(connection)
                raise
            served = self._begin(connection)
        await self._carriers.web_socket(request, socket, connection, served)
        return socket

    async def _poll(self, request: web.Request, connection: TransportConnection) -> web.Response:
        if connection.served is None:
            self._claim(request, connection, Transport.LONG_POLLING)
            self._begin(connection)
            self._expect(connection)
            return poll_answer(b"")
        if connection.pipe.transport != Transport.LONG_POLLING:
            raise web.HTTPBadRequest(text="Cannot change transports mid-connection")
        return await self._carriers.poll(request, connection)

    def _point(self, request: web.Request, transport: Transport) -> Point:
        """Return whether this opens a transport or goes on with it."""
        connection = self.connections.get(request.query.get("id", ""))
        if connection is None or connection.served is None:
            return Point.CONNECT
        return Point.POLL if transport is Transport.LONG_POLLING else Point.RESUME

    async def _post(self, request: web.Request) -> web.Response:
        await self._at(Point.POST, request)
        await self._authentication.identity(request)
        connection = self._find(request)
        if connection.pipe.transport == Transport.WEBSOCKETS:
            raise web.HTTPMethodNotAllowed(
                "POST", ["GET"], text="POST requests are not allowed for WebSocket connections."
            )
        body = await request.read()
        await self._at(Point.FRAME_IN, request)
        await connection.pipe.feed(body)
        return web.Response()

    async def _refresh(self, request: web.Request) -> web.Response:
        await self._at(Point.REFRESH, request)
        return await self._authentication.refresh(request, self.connections)

    async def _delete(self, request: web.Request) -> web.Response:
        await self._at(Point.DELETE, request)
        await self._authentication.identity(request)
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
        await self._faults.at(FaultSite(point, transport, name, request.transport))

    def _require(self, transport: Transport) -> None:
        if transport not in self._settings.transports:
            raise web.HTTPNotFound(text=f"{transport} transport not supported by this end point type")

    def _find(self, request: web.Request) -> TransportConnection:
        token = request.query.get("id")
        if not token:
            raise web.HTTPBadRequest(text="Connection ID required")
        connection = self.connections.get(token)
        if connection is None or connection.is_forgotten:
            raise web.HTTPNotFound(text=_UNKNOWN)
        return connection

    # Connections

    def _claim(self, request: web.Request, connection: TransportConnection, transport: Transport) -> None:
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

    def _begin(self, connection: TransportConnection) -> ConnectedClient:
        """Start to serve a connection whose transport has come."""
        served = connection.served = self._serve(connection)
        connection.task = asyncio.create_task(self._live(connection, served), name="hub connection")
        return served

    async def _live(self, connection: TransportConnection, served: ConnectedClient) -> None:
        try:
            if await self._may_begin(connection):
                await served.serve()
        finally:
            connection.pipe.end()
            connection.never_expire()
            if connection.pipe.transport != Transport.LONG_POLLING:
                self.connections.pop(connection.token, None)

    async def _may_begin(self, connection: TransportConnection) -> bool:
        """Return whether the client is still there when the faults have let its handshake through."""
        coming = passage(Point.HANDSHAKE, connection)
        if not self._faults.concern(coming):
            return True
        held = asyncio.create_task(self._faults.at(coming), name="held handshake")
        try:
            await asyncio.wait({held, connection.pipe.gone}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            held.cancel()
        return not connection.pipe.gone.done()

    def _expect(self, connection: TransportConnection, seconds: float | None = None) -> None:
        """Drop the connection if nothing comes for it in some time."""
        error = ConnectionClosedError("the client has not come back")
        gap = _GAP if seconds is None else seconds
        connection.expect_nothing()
        connection.gone = asyncio.get_running_loop().call_later(gap, self._drop, connection, error)

    def _drop(self, connection: TransportConnection, error: ConnectionClosedError | None = None) -> None:
        connection.expect_nothing()
        connection.never_expire()
        connection.pipe.disconnect(error)
        self.connections.pop(connection.token, None)


def _transport_of(request: web.Request) -> Transport:
    if request.headers.get("Upgrade", "").lower() == "websocket":
        return Transport.WEBSOCKETS
    if "text/event-stream" in request.headers.get("Accept", ""):
        return Transport.SERVER_SENT_EVENTS
    return Transport.LONG_POLLING
