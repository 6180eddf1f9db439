"""Answers the HTTP requests to one path of the classic test server: negotiate, connect, start, poll, send, abort."""

from __future__ import annotations

import logging
import uuid
from functools import partial
from typing import TYPE_CHECKING, Any, Final

import attrs
from aiohttp import web

from ..._guard.tasks import end_tasks, spawn
from ...classic.request_urls import WIRE_NAMES
from ...errors import ConnectionClosedError
from ...options import Transport
from ..fault_points import FaultPoint
from ..hubs import HubContext
from .codec import CODEC
from .connection import ClassicConnection, Feed
from .service import RefusedRequestError
from .transports import JSON, NO_SNIFF, Transmission, answer_poll, open_web_socket, run_web_socket, send_events

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Coroutine, Mapping

    from ..active_faults import ActiveFaults
    from ..recording import Recorded
    from .life import ServerLife
    from .service import Service
    from .settings import ClassicSettings

_logger = logging.getLogger("signalr_sdk.testing")

TRANSPORTS: Final = {name.lower(): transport for transport, name in WIRE_NAMES.items()}
"""The transports by their names in the query, in lower case."""
_OTHER_USER = "Unrecognized user identity.  The user identity cannot change during an active SignalR connection."
_OLDEST, _NEWEST, _DELAYED_START = (1, 2), (2, 0), (1, 4)


@attrs.frozen(kw_only=True)
class Asked:
    """A request of a client, after the first checks.

    Attributes:
        request: the request.
        command: the last part of the path, such as `connect`.
        user: name of the user; empty for nobody.
        form: the form fields of the body.
    """

    request: web.Request
    command: FaultPoint
    user: str
    form: Mapping[str, str]

    @property
    def query(self) -> Mapping[str, str]:
        """The query."""
        return self.request.query

    def field(self, name: str) -> str:
        """Return a field of the form or of the query; an empty text if there is none."""
        return self.form.get(name) or self.query.get(name) or ""

    @property
    def protocol(self) -> tuple[int, ...]:
        """The version of the protocol that the client speaks, or that the server speaks with it: 1.2 to 2.0."""
        try:
            asked = tuple(int(part) for part in self.query.get("clientProtocol", "").split("."))
        except ValueError:
            return _OLDEST
        return min(max(asked, _OLDEST), _NEWEST)


class ClassicEndpoint:
    """Answers the requests to one path.

    Args:
        path: the path.
        service: what is served at the path.
        life: the connections and messages of the server.
        settings: the server's settings.
        faults: the server's faults.
        recorded: gets a record of what clients do.
    """

    def __init__(
        self,
        path: str,
        service: Service,
        *,
        life: ServerLife,
        settings: ClassicSettings,
        faults: ActiveFaults,
        recorded: Recorded,
    ) -> None:
        self.path = path
        self._service = service
        self._life, self._settings = life, settings
        self._faults, self._recorded = faults, recorded
        self._tasks: set[asyncio.Task[None]] = set()

    async def close(self) -> None:
        """End what hubs still do for clients."""
        await end_tasks(set(self._tasks))

    async def answer(self, asked: Asked) -> web.StreamResponse:
        """Answer a request.

        Raises:
            RefusedRequestError: the request is refused.
        """
        self._service.check(asked.query, asked.user)
        if asked.command is FaultPoint.NEGOTIATE:
            return self._negotiate(asked)
        transport = TRANSPORTS.get(asked.query.get("transport", "").lower())
        if transport is None:
            raise RefusedRequestError(400, "Protocol error: Unknown transport.")
        connection_id = self._connection_id(asked)
        context = self._context(asked, connection_id, transport)
        match asked.command:
            case FaultPoint.START:
                await self._start(context)
                return response(b'{ "Response": "started" }', JSON)
            case FaultPoint.SEND:
                reply = await self._service.received(context, asked.field("data"))
                return response(reply.data, JSON)
            case FaultPoint.ABORT:
                await self._abort(connection_id, context)
                return response(b"", "text/plain")
            case _:
                return await self._carry(asked, context, transport)

    def _negotiate(self, asked: Asked) -> web.Response:
        settings = self._settings
        connection_id = str(uuid.uuid4())
        path = asked.request.path.rstrip("/")
        self._recorded.note_negotiation(self.path, asked.request.headers, asked.query, asked.user or None)
        members = {
            "Url": path[: -len("/negotiate")],
            "ConnectionToken": self._life.keys.connection_token(connection_id, asked.user),
            "ConnectionId": connection_id,
            "KeepAliveTimeout": None if settings.keep_alive is None else 2.0 * settings.keep_alive,
            "DisconnectTimeout": float(settings.disconnect),
            "ConnectionTimeout": float(settings.connection_timeout),
            "TryWebSockets": settings.web_sockets,
            "ProtocolVersion": ".".join(map(str, asked.protocol)),
            "TransportConnectTimeout": float(settings.connect_timeout),
            "LongPollDelay": float(settings.long_poll_delay),
        }
        return response(CODEC.encode_value(members), JSON)

    def _connection_id(self, asked: Asked) -> str:
        token = asked.query.get("connectionToken")
        if not token:
            raise RefusedRequestError(400, "Protocol error: Missing connection token.")
        found = self._life.keys.read_connection_token(token)
        if found is None:
            raise RefusedRequestError(400, "The ConnectionId is in the incorrect format.")
        connection_id, user = found
        if user != asked.user:
            raise RefusedRequestError(403, _OTHER_USER)
        return connection_id

    def _context(self, asked: Asked, connection_id: str, transport: Transport) -> HubContext:
        known = self._life.connections.get(connection_id)
        context = HubContext(
            connection_id,
            asked.user or None,
            {name.lower(): value for name, value in asked.request.headers.items()},
            asked.query,
            transport,
            lambda: self._later(self._abort(connection_id, context)),
        )
        return context if known is None else attrs.evolve(context, items=known.items)

    def _later(self, work: Coroutine[Any, Any, None]) -> None:
        _ = spawn(work, "classic hub call", self._tasks)

    # The life of a connection

    async def _start(self, context: HubContext) -> None:
        """Let the hubs know a new connection."""
        self._recorded.note_connect(self.path, context)
        await self._service.connected(context)

    async def _abort(self, connection_id: str, context: HubContext) -> None:
        connection = self._life.connections.get(connection_id)
        if connection is not None:
            await self._end(connection, attrs.evolve(context, items=connection.items), stop_called=True)

    async def _end(self, connection: ClassicConnection, context: HubContext, *, stop_called: bool) -> None:
        if not self._life.remove(connection):
            return
        error = None if stop_called else ConnectionClosedError("the client was away for too long")
        self._recorded.note_disconnect(self.path, connection.connection_id, error)
        await self._service.disconnected(context, stop_called=stop_called)

    def _lose(self, connection: ClassicConnection) -> None:
        """End a connection whose client has been away for too long."""
        assert connection.context is not None
        self._later(self._end(connection, connection.context, stop_called=False))

    # Requests that open a transport: connect, reconnect, poll

    async def _carry(self, asked: Asked, context: HubContext, transport: Transport) -> web.StreamResponse:
        socket = None
        if transport is Transport.WEBSOCKETS:
            socket = await open_web_socket(asked.request, self._settings)
        connection = self._life.connection(context.connection_id, asked.user, self._lose)
        context = connection.context = attrs.evolve(context, items=connection.items)
        is_new = asked.command is FaultPoint.CONNECT
        feed = Feed(connection, transport, is_init=is_new, tcp=asked.request.transport)
        self._open(connection, feed, asked)
        if asked.command is FaultPoint.POLL and connection.connection_id in self._life.leaving:
            feed.end(must_reconnect=True)
        self._life.leaving.discard(connection.connection_id)
        transmission = Transmission(feed, self._settings, self._faults, connection.connection_id)
        try:
            if asked.command is FaultPoint.RECONNECT:
                self._later(self._reconnect(connection, context))
            elif is_new and asked.protocol < _DELAYED_START:
                self._later(self._start(context))
            if socket is not None:
                await run_web_socket(socket, transmission, partial(self._receive, context, feed))
                return socket
            return await (answer_poll if transport is Transport.LONG_POLLING else send_events)(
                asked.request, transmission
            )
        finally:
            connection.close(feed)

    def _open(self, connection: ClassicConnection, feed: Feed, asked: Asked) -> None:
        query = asked.query
        groups: list[str] = []
        if token := asked.field("groupsToken"):
            names = self._life.keys.read_groups_token(token, connection.connection_id)
            groups = self._service.groups(names, query)
        cursor = None if asked.command is FaultPoint.CONNECT else asked.field("messageId")
        topics = self._service.topics(query, connection.connection_id, asked.user)
        connection.open(feed, topics, groups, cursor)

    async def _reconnect(self, connection: ClassicConnection, context: HubContext) -> None:
        self._recorded.note_reconnect(self.path, context)
        await self._service.reconnected(context)

    def _receive(self, context: HubContext, feed: Feed, text: str) -> None:
        self._later(self._answer_over(context, feed, text))

    async def _answer_over(self, context: HubContext, feed: Feed, text: str) -> None:
        """Handle a message of a client, and send the answer over the same WebSocket."""
        try:
            reply = await self._service.received(context, text)
        except RefusedRequestError as error:
            _logger.info("a message gets no answer: %s", error)
            return
        except Exception:
            _logger.exception("on_received failed")
            return
        if reply.hangs_up:
            feed.end()
        elif reply.data:
            feed.put_result(reply.data)


def response(body: bytes, content_type: str, status: int = 200) -> web.Response:
    """Return a response with the headers that all responses of a classic server have."""
    return web.Response(body=body, status=status, headers={**NO_SNIFF, "Content-Type": content_type})
