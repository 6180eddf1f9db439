"""`ClassicHubServer`: a server of classic ASP.NET SignalR for tests, which runs in the process of the test."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl

from aiohttp import web

from ..active_faults import ActiveFaults
from ..authentication import identify
from ..fault_points import COMMANDS, FaultPoint, FaultSite, path_key
from ..hosting import HostedServer
from .endpoint import TRANSPORTS, Asked, ClassicEndpoint, response
from .faults import ClassicControls, ClassicFaults
from .hub_clients import TopicClients
from .hub_service import HubService
from .hubs import ClassicHub, RawHandler, as_classic
from .life import ServerLife
from .methods import classic_methods
from .raw_service import RawService, RawTopics
from .script import hubs_script
from .service import RefusedRequestError
from .settings import ClassicSettings
from .transports import JSON

if TYPE_CHECKING:
    import ssl as ssl_module
    from collections.abc import Iterable, Mapping

    from ..hubs import Hub
    from ..pending import Pending
    from ..recording import RecordedCall, RecordedConnect, RecordedDisconnect
    from ..settings import Authorize
    from .connection import ClassicConnection

_logger = logging.getLogger("signalr_sdk.testing")
_SCRIPT = "application/javascript; charset=UTF-8"
_NAMES = {**{str(point): point for point in COMMANDS}, "js": FaultPoint.HUBS}


class ClassicHubServer(HostedServer):
    """Serves hubs of classic ASP.NET SignalR on the loopback interface: WebSockets, server-sent events, long polling.

    The server behaves as ASP.NET SignalR 2.4: it keeps messages for clients that have lost their transport, accepts the
    cursors and groups tokens that these clients send back, and drops the oldest messages of a client that is too far
    behind. An `async with` runs the server on the running event loop, a plain `with` in a thread of its own.

    Some things differ from Microsoft's server: `on_disconnected` runs at the end of the disconnect timeout, not up to
    5 s later; a text that looks like a date is not rewritten; an argument of another type than the parameter, such as
    `"1"` for an `int`, is an error; and a path without an endpoint is answered with 404.

    Args:
        hubs: the hub classes, by their names for clients. They derive from `ClassicHub`, or from `Hub`: then too,
            `on_disconnected` is called with `stop_called`, and there may be a method `on_reconnected`.
        path: the path of all hubs. It begins with a slash.
        raw: handlers of connections without hubs, by path.
        host: address to listen on.
        port: port to listen on; 0 for a free one.
        ssl: TLS context of the server, for https.
        keep_alive: after so many seconds without a message to a client, a keep-alive is sent. Clients expect a message
            within twice this time. `None` for no keep-alives.
        disconnect: after so many seconds without a transport, a client counts as gone, and `on_disconnected` runs.
        connection_timeout: a poll without data ends after so many seconds. Without keep-alives, so do the other
            transports.
        connect_timeout: the seconds that clients wait for the first message over a transport.
        long_poll_delay: the seconds that clients wait from one poll to the next.
        web_sockets: whether clients may use WebSockets.
        detailed_errors: whether the text of any exception is sent to clients, not only that of a `HubException`.
        debug: whether detailed errors have stack traces.
        authorize: called with the bearer token of each request. Returns the user's name, or an `Identity` with the
            name, or `None` to answer 401. An empty name means a user without a name. Requests of another user than the
            one that has negotiated the connection are answered with 403.
        origins: origins of web pages that may use the hubs, as for `HubServer`.
        message_buffer: how many messages are kept of each hub, group and client.
        max_message: the largest WebSocket message that a client may send, in bytes. After a larger message, the TCP
            connection is closed. `None` for no limit.
        send_timeout: if a client has read no data for so many seconds, its transport is closed.

    Attributes:
        faults: methods that make the server fail.
        recorded: records of what clients did. The methods of calls are named as `Hub.Method`.

    Example:
        ```python
        from signalr_sdk.classic import HubConnection

        class Chat(ClassicHub):
            async def add(self, a: int, b: int) -> int:
                return a + b

        async with ClassicHubServer({"Chat": Chat}) as server:
            connection = HubConnection(server.url())
            chat = connection.hub("Chat")
            async with connection:
                assert await chat.invoke("Add", 1, 2) == 3
        ```
    """

    def __init__(
        self,
        hubs: Mapping[str, type[Hub | ClassicHub]],
        *,
        path: str = "/signalr",
        raw: Mapping[str, type[RawHandler]] | None = None,
        host: str = "127.0.0.1",
        port: int = 0,
        ssl: ssl_module.SSLContext | None = None,
        keep_alive: float | None = 10.0,
        disconnect: float = 30.0,
        connection_timeout: float = 110.0,
        connect_timeout: float = 5.0,
        long_poll_delay: float = 0.0,
        web_sockets: bool = True,
        detailed_errors: bool = False,
        debug: bool = False,
        authorize: Authorize | None = None,
        origins: Iterable[str] = (),
        message_buffer: int = 1000,
        max_message: int | None = 65536,
        send_timeout: float = 10.0,
    ) -> None:
        settings = self._settings = ClassicSettings(
            keep_alive=keep_alive,
            disconnect=disconnect,
            connection_timeout=connection_timeout,
            connect_timeout=connect_timeout,
            long_poll_delay=long_poll_delay,
            web_sockets=web_sockets,
            detailed_errors=detailed_errors,
            debug=debug,
            authorize=authorize,
            origins=origins,
            message_buffer=message_buffer,
            max_message=max_message,
            send_timeout=send_timeout,
        )
        super().__init__(host, port, ssl=ssl, origins=settings.origins, body_bytes=settings.read_bytes)
        classic = {name: as_classic(hub) for name, hub in hubs.items()}
        for hub in classic.values():
            # Raise the TypeError for a wrong hub class now, not when a client first calls a method of the hub.
            classic_methods(hub)
        for each in (path, *(raw or {})):
            if not each.startswith("/"):
                raise ValueError(f"a path begins with a slash, unlike {each!r}")
        self._path = path
        self._active_faults = ActiveFaults(lambda: None)
        self._life = ServerLife(settings)
        self._hubs = HubService(classic, bus=lambda: self._life.bus, settings=settings, recorded=self.recorded)
        handlers = {
            each: RawService(each, handler, bus=lambda: self._life.bus) for each, handler in (raw or {}).items()
        }
        self._endpoints = {path_key(each): self._endpoint(each, service) for each, service in handlers.items()}
        self._endpoints[path_key(path)] = self._endpoint(path, self._hubs)
        controls = ClassicControls(
            on_loop=self._on_loop,
            connections=self._connections,
            refuse=self._shut,
            accept=self._accept,
            restart=lambda new_keys, down: self._later(lambda: self._restart(down, new_keys=new_keys)),
            shut_down=self._life.shut_down,
        )
        self.faults: ClassicFaults = ClassicFaults(self._active_faults, controls)

    def _endpoint(self, path: str, service: HubService | RawService) -> ClassicEndpoint:
        return ClassicEndpoint(
            path,
            service,
            life=self._life,
            settings=self._settings,
            faults=self._active_faults,
            recorded=self.recorded,
        )

    def url(self, path: str | None = None) -> str:
        """Return the URL of the hubs, or of another path."""
        return self._address(self._path if path is None else path)

    def wait_called(self, method: str, *, times: int = 1, timeout: float | None = 5.0) -> Pending[RecordedCall]:
        """Wait for a call of a method: with `await`, or in a thread without an event loop with `.result()`.

        Earlier calls count too, unless `recorded.clear()` was called after them.

        Args:
            method: hub and method, as `Hub.Method`, in any case.
            times: how many calls to wait for.
            timeout: seconds to wait; `None` for no limit.

        Returns:
            An object to be awaited, which gives the last of these calls (a `RecordedCall`). A `TimeoutError` names the
                methods that were called.
        """
        return self.recorded.wait_called(method, times=times, timeout=timeout)

    def wait_connected(self, *, times: int = 1, timeout: float | None = 5.0) -> Pending[RecordedConnect]:
        """Wait until clients have connected. See `HubServer.wait_connected`."""
        return self.recorded.wait_connected(times=times, timeout=timeout)

    def wait_reconnected(self, *, times: int = 1, timeout: float | None = 5.0) -> Pending[RecordedConnect]:
        """Wait until clients have taken their connections up again: with `await`, or `.result()` in a thread.

        Earlier clients count too, unless `recorded.clear()` was called after them. Gives the last `RecordedConnect`.

        Args:
            times: how often to wait for a client.
            timeout: seconds to wait, then a `TimeoutError` is raised; `None` for no limit.
        """
        return self.recorded.wait_reconnected(times=times, timeout=timeout)

    def wait_disconnected(self, *, times: int = 1, timeout: float | None = 5.0) -> Pending[RecordedDisconnect]:
        """Wait until clients have disconnected. See `HubServer.wait_disconnected`."""
        return self.recorded.wait_disconnected(times=times, timeout=timeout)

    def send(self, hub: str, event: str, *args: Any) -> Pending[None]:
        """Send an event to all clients of a hub: with `await`, or in a thread without an event loop with `.result()`.

        Args:
            hub: name of the hub.
            event: name of the event.
            args: arguments of the event.
        """
        return self._later(lambda: self.clients(hub).all.send(event, *args))

    def clients(self, hub: str) -> TopicClients:
        """Return the clients of a hub, for sending to them without a hub method. Only on the server's event loop."""
        if hub not in self._hubs.hubs:
            raise KeyError(f"{hub} is none of the hubs: {', '.join(self._hubs.hubs)}")
        return TopicClients(self._life.bus, hub)

    def raw_connections(self, path: str) -> RawTopics:
        """Return the connections of a path in `raw`, for sending to them. Only on the server's event loop."""
        return RawTopics(self._life.bus, path)

    # Requests

    def _routes(self) -> list[web.RouteDef]:
        return [web.route("*", "/{tail:.*}", self._handle)]

    async def _handle(self, request: web.Request) -> web.StreamResponse:
        try:
            return await self._answer(request)
        except RefusedRequestError as error:
            return response(str(error).encode(), "text/plain; charset=UTF-8", error.status)

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        path, _slash, name = path_key(request.path).rpartition("/")
        command = _NAMES.get(name)
        if command is None:
            raise RefusedRequestError(404, "nothing here")
        transport = TRANSPORTS.get(request.query.get("transport", "").lower(), "")
        target = f"/{name}?{request.rel_url.raw_query_string}"
        site = FaultSite(command, transport=transport, path=path, target=target, tcp=request.transport)
        await self._active_faults.apply(site)
        if self._runner is None:  # a fault has held the request until the server stopped
            raise RefusedRequestError(503, "the server stops")
        endpoint = self._endpoints.get(path)
        if endpoint is None:
            raise RefusedRequestError(404, "nothing here")
        if "callback" in request.query:
            raise RefusedRequestError(403)
        if command is FaultPoint.HUBS:
            return response(hubs_script(self._path, self._hubs.hubs).encode(), _SCRIPT)
        identity = await identify(request, self._settings.authorize)
        if command is FaultPoint.PING:
            return response(b'{ "Response": "pong" }', JSON)
        # Microsoft's .NET client sends its forms without a media type.
        body = (await request.read()).decode(errors="replace") if request.method == "POST" else ""
        asked = Asked(request=request, command=command, user=identity.name, form=dict(parse_qsl(body)))
        try:
            return await endpoint.answer(asked)
        except (RefusedRequestError, web.HTTPException):
            raise
        except Exception as error:
            _logger.warning("/%s failed", name, exc_info=True)
            raise RefusedRequestError(500, repr(error) if self._settings.detailed_errors else "") from error

    # The server's life. `ClassicFaults` calls these methods on the server's event loop.

    def _connections(self) -> list[ClassicConnection]:
        return list(self._life.connections.values())

    def _shut(self) -> None:
        self._refuse()
        self._cut()

    def _cut(self) -> None:
        if self._runner is not None:
            self._drop_connections()

    async def _restart(self, down: float, *, new_keys: bool) -> None:
        self._shut()
        try:
            self._life.begin_again(new_keys=new_keys)
            await self._end_calls()
            self._cut()  # those too that were just being accepted
            await asyncio.sleep(down)
        finally:
            self._accept()

    async def _end_connections(self) -> None:
        self._active_faults.clear()
        self._life.shut_down()
        await self._end_calls()

    async def _end_calls(self) -> None:
        await asyncio.gather(*(endpoint.close() for endpoint in self._endpoints.values()))
