"""A hub server for tests and demos, in the process that uses it."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from aiohttp import web

from ..errors import ConnectionClosedError
from ..options import Transport
from ..protocols import MessagePackProtocol
from .active_faults import ActiveFaults, FaultSite, Point
from .connected_client import ClientHooks, ConnectedClient
from .error_texts import ServerJsonProtocol
from .faults import Faults, ServerControls
from .http_endpoint import HubEndpoint
from .hub_clients import ClientRegistry, Clients
from .hubs import Hub, HubContext, methods_of
from .loop_thread import LoopService, Pending
from .recording import Recorded
from .settings import ServerSettings
from .tcp_listener import Listener, cut

if TYPE_CHECKING:
    import ssl as ssl_module
    from collections.abc import Callable, Coroutine, Iterable, Mapping
    from concurrent.futures import Future

    from aiohttp.typedefs import Handler

    from ..interfaces import HubProtocol
    from .recording import RecordedCall, RecordedConnect, RecordedDisconnect
    from .settings import Authorize
    from .transport_connection import TransportConnection

# So long open requests may take to end when the server stops.
_GRACE = 1.0
_PROTOCOLS = {"json": ServerJsonProtocol, "messagepack": MessagePackProtocol}


class HubServer(LoopService):
    """Serves hubs on the loopback interface, over every transport and both protocols.

    Use it in an `async with` on the running event loop, or in a plain `with`: then it runs in a thread of its own.

    Args:
        hubs: a hub class for each path.
        host: address to listen on.
        port: 0 for a free one.
        ssl: for https.
        transports: what negotiate offers; all by default.
        protocols: names of the hub protocols that are spoken.
        detailed_errors: whether the text of any exception reaches the client, not only that of a `HubException`.
        keep_alive: seconds after which a ping goes out when nothing was sent.
        client_timeout: seconds of silence after which a client is dropped that has pinged once.
        handshake_timeout: seconds that a client may take for its handshake.
        poll_timeout: seconds for which a poll is held open.
        send_timeout: seconds after which a client is dropped that takes nothing.
        message_bytes: largest message of a client.
        parallel_invocations: how many invocations of one client run at the same time.
        authorize: gets the bearer token of each request and returns the user's name, an `Identity` that says also how
            long the token is good, or `None` to answer 401. A user whose name is an empty text is nobody in particular.
        authentication_refresh: whether clients are told how long their tokens live and may bring new ones, as in
            .NET 11.
        close_on_expiration: whether a connection whose token runs out is closed.
        stateful_reconnect: whether a client that asks for it may lose its WebSocket and come back with another one.
        stateful_window: seconds that it has for that.
        stateful_buffer: bytes of messages that are kept for it before the hub waits.

    Attributes:
        faults: what is to go wrong.
        recorded: what clients did.

    Example:
        ```python
        class Chat(Hub):
            async def add(self, a: int, b: int) -> int:
                return a + b

        async with HubServer({"/chat": Chat}) as server, HubConnection(server.url("/chat")) as hub:
            assert await hub.invoke("Add", 1, 2) == 3
        ```
    """

    def __init__(
        self,
        hubs: Mapping[str, type[Hub]],
        *,
        host: str = "127.0.0.1",
        port: int = 0,
        ssl: ssl_module.SSLContext | None = None,
        transports: Iterable[str] | None = None,
        protocols: Iterable[str] = ("json", "messagepack"),
        detailed_errors: bool = False,
        keep_alive: float | None = 15.0,
        client_timeout: float | None = 30.0,
        handshake_timeout: float = 15.0,
        poll_timeout: float = 90.0,
        send_timeout: float = 10.0,
        message_bytes: int = 32 * 1024 * 1024,
        parallel_invocations: int = 1,
        authorize: Authorize | None = None,
        authentication_refresh: bool = False,
        close_on_expiration: bool = False,
        stateful_reconnect: bool = False,
        stateful_window: float = 15.0,
        stateful_buffer: int = 100_000,
    ) -> None:
        super().__init__()
        chosen: dict[str, Any] = {} if transports is None else {"transports": transports}
        self._settings = ServerSettings(
            protocols=tuple(protocols),
            detailed_errors=detailed_errors,
            keep_alive=keep_alive,
            client_timeout=client_timeout,
            handshake_timeout=handshake_timeout,
            poll_timeout=poll_timeout,
            send_timeout=send_timeout,
            message_bytes=message_bytes,
            parallel_invocations=parallel_invocations,
            authorize=authorize,
            authentication_refresh=authentication_refresh,
            close_on_expiration=close_on_expiration,
            stateful_reconnect=stateful_reconnect,
            stateful_window=stateful_window,
            stateful_buffer=stateful_buffer,
            **chosen,
        )
        self._protocols: dict[str, HubProtocol] = {name: _PROTOCOLS[name]() for name in self._settings.protocols}
        self._hubs = dict(hubs)
        self._host, self._port, self._ssl = host, port, ssl
        self._registries = {path: ClientRegistry() for path in self._hubs}
        for hub in self._hubs.values():
            methods_of(hub)
        self._table = ActiveFaults()
        self._table.changed = self._look_again

        def restart(down: float, graceful: bool) -> Pending[None]:
            return self._later(lambda: self._restart(down, graceful=graceful))

        self.faults = Faults(
            self._table, ServerControls(self._on_loop, self._connections, self._refuse, self._accept, restart)
        )
        self.recorded = Recorded()
        self._endpoints: list[HubEndpoint] = []
        self._runner: web.AppRunner | None = None
        self._listener: Listener | None = None
        self._times_refused = 0
        self._busy: set[asyncio.BaseTransport | None] = set()

    def _endpoint(self, path: str, hub: type[Hub]) -> HubEndpoint:
        registry = self._registries[path]

        def serve(connection: TransportConnection) -> ConnectedClient:
            instance = hub()
            watch = self._watch(path, registry, instance)
            stateful = connection.is_stateful and connection.pipe.transport == Transport.WEBSOCKETS
            served = ConnectedClient(
                instance, connection.pipe, self._protocols, self._settings, watch, stateful=stateful
            )
            instance.context = HubContext(
                connection.connection_id,
                connection.user or None,
                connection.headers,
                connection.query,
                connection.pipe.transport,
                served.abort,
            )
            instance.clients = Clients(registry, connection.connection_id)
            instance.groups = registry
            return served

        def negotiated(request: web.Request, user: str | None) -> None:
            self.recorded.note_negotiation(path, request.headers, request.query, user or None)

        return HubEndpoint(self._settings, self._table, serve, negotiated)

    def _watch(self, path: str, registry: ClientRegistry, hub: Hub) -> ClientHooks:
        def connected(served: ConnectedClient) -> None:
            registry.clients[hub.context.connection_id] = served
            self.recorded.note_connect(path, hub.context)

        def disconnected(error: Exception | None) -> None:
            registry.leave(hub.context.connection_id)
            self.recorded.note_disconnect(path, hub.context.connection_id, error)

        def pings() -> bool:
            return not self._table.happens(FaultSite(Point.PING, hub.context.transport, hub.context.connection_id))

        return ClientHooks(
            connected, disconnected, lambda message: self.recorded.note_call(message, hub.context), pings
        )

    def _look_again(self) -> None:
        for connection in self._connections():
            connection.pipe.look_again()

    def _connections(self) -> list[TransportConnection]:
        return [connection for endpoint in self._endpoints for connection in endpoint.connections.values()]

    def url(self, path: str) -> str:
        """Return the URL of a hub.

        Args:
            path: one of the paths in `hubs`.
        """
        return f"{'https' if self._ssl else 'http'}://{self._host}:{self.port}{path}"

    @property
    def port(self) -> int:
        """The port that it listens on."""
        return self._port

    def wait_called(self, method: str, *, times: int = 1, timeout: float | None = 5.0) -> Pending[RecordedCall]:
        """Wait for a call of a method, with `await`, or in a thread without an event loop with `.result()`.

        Calls that have been count as well, unless `recorded.clear()` came after them.

        Args:
            method: its name, in any case.
            times: wait for so many calls, and return the last of them.
            timeout: seconds; `None` for no limit.

        Returns:
            What is to be waited for; it gives the call, or raises `TimeoutError`, which says what was called.
        """
        return self.recorded.wait_called(method, times=times, timeout=timeout)

    def wait_connected(self, *, times: int = 1, timeout: float | None = 5.0) -> Pending[RecordedConnect]:
        """Wait until so many clients have connected, in the same way."""
        return self.recorded.wait_connected(times=times, timeout=timeout)

    def wait_disconnected(self, *, times: int = 1, timeout: float | None = 5.0) -> Pending[RecordedDisconnect]:
        """Wait until so many clients have gone, in the same way."""
        return self.recorded.wait_disconnected(times=times, timeout=timeout)

    def send(self, path: str, event: str, *args: Any) -> Pending[None]:
        """Send an event to all clients of a hub, with `await`, or in a thread without an event loop with `.result()`.

        Args:
            path: one of the paths in `hubs`.
            event: its name.
            args: its arguments.
        """
        return self._later(lambda: self.clients(path).all.send(event, *args))

    def clients(self, path: str) -> Clients:
        """Return the clients of a hub, to send to them from outside; only on the server's own event loop."""
        return Clients(self._registries[path])

    # Its life

    async def start(self) -> None:
        """Listen, on the running event loop.

        Raises:
            RuntimeError: it does already.
            OSError: it cannot, because the port is in use for example.
        """
        if self._runner is not None:
            raise RuntimeError("the server is started already")
        app = web.Application(client_max_size=self._settings.carried_bytes, middlewares=[self._note_busy])
        endpoints = [self._endpoint(path, hub) for path, hub in self._hubs.items()]
        for path, endpoint in zip(self._hubs, endpoints, strict=True):
            app.add_routes(endpoint.routes(path))
        runner = web.AppRunner(app, handler_cancellation=True, shutdown_timeout=_GRACE, access_log=None)
        await runner.setup()
        listener = Listener(_protocols_of(runner), self._ssl)
        try:
            await listener.open(self._host, self._port)
        except BaseException:
            await runner.cleanup()
            raise
        self._loop = asyncio.get_running_loop()
        self._runner, self._listener, self._endpoints = runner, listener, endpoints
        self._port = listener.port

    async def stop(self) -> None:
        """Listen no more and end all connections: clients are told that they may come back."""
        runner, self._runner = self._runner, None
        if runner is None or self._listener is None:
            return
        await self._listener.close()
        for endpoint in self._endpoints:
            endpoint.take_no_more()
        self._table.clear()
        await asyncio.gather(*(endpoint.close() for endpoint in self._endpoints))
        await runner.cleanup()
        self._listener = self._loop = None

    @web.middleware
    async def _note_busy(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Know which TCP connections are in use; the others are only kept for later."""
        wire = request.transport
        self._busy.add(wire)
        try:
            return await handler(request)
        finally:
            self._busy.discard(wire)

    # Faults

    def _refuse(self) -> None:
        """Listen no more, for one reason more."""
        self._times_refused += 1
        if self._listener is not None and self._runner is not None and self._runner.server is not None:
            self._listener.refuse()
            for handler in self._runner.server.connections:
                if handler.transport not in self._busy:
                    cut(handler.transport, reset=False)

    def _accept(self) -> None:
        """Listen again, if that was the last reason."""
        self._times_refused -= 1
        if self._listener is not None and not self._times_refused:
            self._listener.accept()

    def _later(self, work: Callable[[], Coroutine[Any, Any, None]]) -> Pending[None]:
        """Return what does something on the server's event loop when it is waited for."""

        def begin() -> Future[None]:
            if self._loop is None:
                raise RuntimeError("the server is not started")
            return asyncio.run_coroutine_threadsafe(work(), self._loop)

        return Pending(begin)

    async def _restart(self, down: float, *, graceful: bool) -> None:
        runner = self._runner
        if runner is None or runner.server is None:
            raise RuntimeError("the server is not started")
        self._refuse()
        try:
            if graceful:
                await asyncio.gather(*(endpoint.close() for endpoint in self._endpoints))
            for handler in runner.server.connections:
                cut(handler.transport, reset=False)
            killed = ConnectionClosedError("the server was killed")
            await asyncio.gather(*(endpoint.close(killed) for endpoint in self._endpoints))
            await asyncio.sleep(down)
        finally:
            for endpoint in self._endpoints:
                endpoint.take_again()
            self._accept()


def _protocols_of(runner: web.AppRunner) -> Callable[[], asyncio.Protocol]:
    server = runner.server
    if server is None:
        raise RuntimeError("the runner is not set up")
    return server
