"""Answers the HTTP requests to one hub as ASP.NET Core does: negotiate, GET by a transport, POST, DELETE, refresh."""

from __future__ import annotations

import asyncio
import secrets
from typing import TYPE_CHECKING, Any

from aiohttp import web

from .._guard.tasks import end_tasks, spawn
from ..errors import ConnectionClosedError
from ..options import TransferFormat, Transport
from .authentication import Authentication
from .fault_points import FaultPoint, FaultSite
from .long_polling import answer_poll, poll_response
from .server_sent_events import send_events
from .transport_connection import TransportConnection
from .web_sockets import run_web_socket, upgrade

if TYPE_CHECKING:
    from .connected_client import ConnectedClient
    from .served_hub import ServedHub
    from .settings import Identity

# When the server stops, the connections may take this many seconds to end. After that, their tasks are cancelled.
_GRACE = 1.0
# The body of a POST may take this many seconds to arrive.
_BODY = 30.0
_UNKNOWN = "No Connection with that ID"
_FORMATS = {
    Transport.WEBSOCKETS: [TransferFormat.TEXT, TransferFormat.BINARY],
    Transport.SERVER_SENT_EVENTS: [TransferFormat.TEXT],
    Transport.LONG_POLLING: [TransferFormat.TEXT, TransferFormat.BINARY],
}


class HubEndpoint:
    """Answers the requests to the URL of one hub, and owns the hub's connections.

    Args:
        hub: the hub class with its clients and settings.

    Attributes:
        connections: the negotiated and live connections, by their connection tokens.
        is_closing: whether requests for a new connection are answered with 503.
    """

    def __init__(self, hub: ServedHub) -> None:
        self._hub = hub
        self._settings, self._faults = hub.settings, hub.faults
        self._authentication = Authentication(hub.settings)
        self.is_closing: bool = False
        self.connections: dict[str, TransportConnection] = {}

    def routes(self) -> list[web.RouteDef]:
        """Return the routes for aiohttp: the path of the hub, with and without a slash at its end."""
        path = self._hub.path.rstrip("/")
        routes = [web.post(f"{path}/negotiate{end}", self._negotiate) for end in ("", "/")]
        routes.append(web.route("*", f"{path}/refresh", self._refresh))
        for same in {path or "/", f"{path}/"}:
            routes += [
                web.get(same, self._get, allow_head=False),
                web.post(same, self._post),
                web.delete(same, self._delete),
            ]
        return routes

    async def close(self, error: ConnectionClosedError | None = None) -> None:
        """End all connections of the hub, and refuse new connections.

        Args:
            error: if given, no Close message is sent, and `Hub.on_disconnected` gets this error.
        """
        self.is_closing = True
        connections = list(self.connections.values())
        for connection in connections:
            connection.stop_gap_timer()
            connection.stop_expiry()
            if connection.client is not None:
                connection.client.shut_down(error)
        await end_tasks({connection.task for connection in connections if connection.task is not None}, _GRACE)
        self.connections.clear()

    async def _negotiate(self, request: web.Request) -> web.Response:
        await self._apply_faults(FaultPoint.NEGOTIATE, request)
        identity = await self._authentication.identify(request)
        asked = request.query.get("negotiateVersion") or "0"
        try:
            version = min(int(asked), 1)
        except ValueError:
            return web.json_response({"error": "The client requested a non-integer protocol version."})
        if version < 0:
            text = f"The client requested version '{asked}', but the server does not support this version."
            return web.json_response({"error": text})
        connection = self._new_connection(identity, version)
        self._hub.recorded.note_negotiation(self._hub.path, request.headers, request.query, identity.name or None)
        answer = self._negotiate_answer(request, connection, version)
        return web.json_response(answer | self._authentication.lifetime_members(identity))

    def _negotiate_answer(self, request: web.Request, connection: TransportConnection, version: int) -> dict[str, Any]:
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
        if self.is_closing:
            raise web.HTTPServiceUnavailable(text="The server is stopping")
        connection_id = secrets.token_urlsafe(16)
        token = secrets.token_urlsafe(16) if version else connection_id
        connection = self.connections[token] = TransportConnection(
            connection_id, token, user=identity.name, hub=self._hub, on_drop=lambda: self.connections.pop(token, None)
        )
        self._authentication.set_expiry(connection, identity)
        connection.drop_after()
        return connection

    # GET requests: the first GET of a connection connects a transport. With long polling, each later GET is a poll.

    async def _get(self, request: web.Request) -> web.StreamResponse:
        transport = _transport_of(request)
        await self._apply_faults(self._get_point(request, transport), request, transport)
        identity = await self._authentication.identify(request)
        if transport not in self._settings.transports:
            raise web.HTTPNotFound(text=f"{transport} transport not supported by this end point type")
        if transport is Transport.WEBSOCKETS:
            has_id = "id" in request.query
            connection = self._find_users(request, identity) if has_id else self._new_connection(identity, 1)
            return await self._web_socket(request, connection, identity)
        if transport is Transport.LONG_POLLING:
            return await self._poll(request, self._find(request), identity)
        connection = self._find_users(request, identity)
        self._claim(request, connection, transport)
        return await send_events(request, connection, self._begin(connection, identity))

    async def _web_socket(
        self, request: web.Request, connection: TransportConnection, identity: Identity
    ) -> web.WebSocketResponse:
        client = connection.client
        if connection.is_stateful and connection.buffers.closed.done():
            raise web.HTTPNotFound(text=_UNKNOWN)
        if client is not None and client.resumable:
            answered = await connection.replace_web_socket()
            socket = await upgrade(request, self._settings)
            if not answered:
                connection.drop(
                    ConnectionClosedError("the old WebSocket did not end, so the connection is not resumed")
                )
            if not client.resumable:
                await socket.close()  # the connection ended while the upgrade was running
                return socket
            self._authentication.set_expiry(connection, identity)
            connection.stop_gap_timer()
            client.resume()
        else:
            self._claim(request, connection, Transport.WEBSOCKETS)
            try:
                socket = await upgrade(request, self._settings)
            except BaseException:
                connection.drop()
                raise
            client = self._begin(connection, identity)
        await run_web_socket(request, socket, connection, client)
        return socket

    async def _poll(self, request: web.Request, connection: TransportConnection, identity: Identity) -> web.Response:
        if connection.client is None:
            # Answer the first poll with an empty response at once, as ASP.NET Core does: the client waits for this
            # response before it sends the handshake request.
            self._authentication.check_user(connection, identity)
            self._claim(request, connection, Transport.LONG_POLLING)
            self._begin(connection, identity)
            connection.drop_after()
            return poll_response(b"")
        await self._authentication.take_poll(connection, identity)
        if connection.buffers.transport != Transport.LONG_POLLING:
            raise web.HTTPBadRequest(text="Cannot change transports mid-connection")
        return await answer_poll(request, connection)

    def _get_point(self, request: web.Request, transport: Transport) -> FaultPoint:
        """Return the `FaultPoint` of a GET request: first `CONNECT` for each connection, then `POLL` or `RESUME`."""
        connection = self._by_id(request)
        if connection is None or connection.client is None:
            return FaultPoint.CONNECT
        return FaultPoint.POLL if transport is Transport.LONG_POLLING else FaultPoint.RESUME

    async def _post(self, request: web.Request) -> web.Response:
        await self._apply_faults(FaultPoint.POST, request)
        connection = self._find_users(request, await self._authentication.identify(request))
        if connection.buffers.transport == Transport.WEBSOCKETS:
            raise web.HTTPMethodNotAllowed(
                "POST", ["GET"], text="POST requests are not allowed for WebSocket connections."
            )
        try:
            async with asyncio.timeout(_BODY):
                body = await request.read()
        except TimeoutError:
            raise web.HTTPRequestTimeout(text="The rest of the body did not come") from None
        await self._apply_faults(FaultPoint.FRAME_IN, request)
        await connection.buffers.feed(body)
        return web.Response()

    async def _refresh(self, request: web.Request) -> web.Response:
        await self._apply_faults(FaultPoint.REFRESH, request)
        if not self._settings.authentication_refresh:
            raise web.HTTPNotFound(text="")
        if request.method != "POST":
            raise web.HTTPMethodNotAllowed(request.method, ["POST"], text="")
        return await self._authentication.refresh(request, self.connections)

    async def _delete(self, request: web.Request) -> web.Response:
        await self._apply_faults(FaultPoint.DELETE, request)
        connection = self._find_users(request, await self._authentication.identify(request))
        if connection.buffers.transport != Transport.LONG_POLLING:
            raise web.HTTPBadRequest(text="Cannot terminate this connection using the DELETE endpoint.")
        connection.drop()
        return web.Response(status=202)

    async def _apply_faults(self, point: FaultPoint, request: web.Request, transport: str = "") -> None:
        connection = self._by_id(request)
        connection_id = None
        if connection is not None:
            connection_id, transport = connection.connection_id, transport or connection.buffers.transport
        await self._faults.apply(
            FaultSite(point, transport=transport, connection_id=connection_id, tcp=request.transport)
        )

    def _by_id(self, request: web.Request) -> TransportConnection | None:
        return self.connections.get(request.query.get("id", ""))

    def _find(self, request: web.Request) -> TransportConnection:
        if not request.query.get("id"):
            raise web.HTTPBadRequest(text="Connection ID required")
        connection = self._by_id(request)
        if connection is None or connection.is_forgotten:
            raise web.HTTPNotFound(text=_UNKNOWN)
        return connection

    def _find_users(self, request: web.Request, identity: Identity) -> TransportConnection:
        """Return the connection whose connection token is in the query of a request.

        Raises:
            web.HTTPBadRequest: the request has no connection token.
            web.HTTPNotFound: there is no connection with this token.
            web.HTTPForbidden: the request is not from the connection's user.
        """
        connection = self._find(request)
        self._authentication.check_user(connection, identity)
        return connection

    def _claim(self, request: web.Request, connection: TransportConnection, transport: Transport) -> None:
        """Note which transport a connection uses. Refuse the request if the connection has a transport already."""
        buffers = connection.buffers
        if buffers.transport not in ("", transport):
            raise web.HTTPBadRequest(text="Cannot change transports mid-connection")
        if buffers.transport:
            raise web.HTTPConflict(text="")
        connection.stop_gap_timer()
        buffers.transport = transport
        buffers.inherent_keep_alive = transport is Transport.LONG_POLLING
        connection.headers = {name.lower(): value for name, value in request.headers.items()}
        connection.query = {name: value for name, value in request.query.items() if name != "id"}

    def _begin(self, connection: TransportConnection, identity: Identity) -> ConnectedClient:
        """Start the task that serves the hub to a client, now that the client has connected a transport."""
        self._authentication.set_expiry(connection, identity)
        client = connection.client = self._hub.make_client(connection)
        connection.task = spawn(self._serve(connection, client), "hub connection")
        return client

    async def _serve(self, connection: TransportConnection, client: ConnectedClient) -> None:
        try:
            if await self._may_shake_hands(connection):
                await client.serve()
        finally:
            connection.buffers.end()
            connection.stop_expiry()
            # Keep a long polling connection until its next poll: only the response to a poll can tell the client that
            # the connection has ended.
            if connection.buffers.transport != Transport.LONG_POLLING:
                self.connections.pop(connection.token, None)

    async def _may_shake_hands(self, connection: TransportConnection) -> bool:
        """Wait while a fault at the point `HANDSHAKE` holds the connection.

        Return false if the connection has ended meanwhile.
        """
        if not self._faults.has(connection.site(FaultPoint.HANDSHAKE)):
            return True
        held = spawn(connection.apply_faults(FaultPoint.HANDSHAKE), "held handshake")
        try:
            await asyncio.wait({held, connection.buffers.closed}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            held.cancel()
        return not connection.buffers.closed.done()


def _transport_of(request: web.Request) -> Transport:
    """Return the transport that a GET request asks for in the headers `Upgrade` and `Accept`."""
    if request.headers.get("Upgrade", "").lower() == "websocket":
        return Transport.WEBSOCKETS
    if "text/event-stream" in request.headers.get("Accept", ""):
        return Transport.SERVER_SENT_EVENTS
    return Transport.LONG_POLLING
