"""A hub server for tests and demos, in the process that uses it."""

from __future__ import annotations

import asyncio
import threading
from typing import TYPE_CHECKING, Any, Self

from aiohttp import web

from ..protocols import MessagePackProtocol
from .hubs import Hub, HubContext, methods_of
from .lobby import Clients, Lobby
from .served import ServedClient
from .settings import ServerSettings
from .transports import HttpConnection, HubEndpoint
from .wording import ServedJsonProtocol

if TYPE_CHECKING:
    import ssl as ssl_module
    from collections.abc import Iterable, Mapping
    from types import TracebackType

    from ..interfaces import HubProtocol
    from .settings import Authorize

# So long open requests may take to end when the server stops.
_GRACE = 1.0
_PROTOCOLS = {"json": ServedJsonProtocol, "messagepack": MessagePackProtocol}


class HubServer:
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
        authorize: gets the bearer token of each request and returns the user's name, or `None` to answer 401. A user
            whose name is an empty text is nobody in particular.

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
    ) -> None:
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
            **chosen,
        )
        self._protocols: dict[str, HubProtocol] = {name: _PROTOCOLS[name]() for name in self._settings.protocols}
        self._hubs = dict(hubs)
        self._host, self._port, self._ssl = host, port, ssl
        self._lobbies = {path: Lobby() for path in self._hubs}
        for hub in self._hubs.values():
            methods_of(hub)
        self._endpoints: list[HubEndpoint] = []
        self._runner: web.AppRunner | None = None
        self._thread: _ServerThread | None = None

    def _endpoint(self, path: str, hub: type[Hub]) -> HubEndpoint:
        lobby = self._lobbies[path]

        def serve(connection: HttpConnection) -> ServedClient:
            instance = hub()
            served = ServedClient(instance, connection.pipe, self._protocols, self._settings)
            instance.context = HubContext(
                connection.connection_id,
                connection.user or None,
                connection.headers,
                connection.query,
                connection.pipe.transport,
                served.abort,
            )
            instance.clients = Clients(lobby, connection.connection_id)
            instance.groups = lobby
            return served

        async def run(connection: HttpConnection, served: ServedClient) -> None:
            name = connection.connection_id
            await served.serve(lambda: lobby.clients.update({name: served}), lambda: lobby.leave(name))

        return HubEndpoint(self._settings, serve, run)

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

    def clients(self, path: str) -> Clients:
        """Return the clients of a hub, to send to them from outside; only on the server's own event loop."""
        return Clients(self._lobbies[path])

    # On the running event loop

    async def start(self) -> None:
        """Listen.

        Raises:
            RuntimeError: it does already.
            OSError: it cannot, because the port is in use for example.
        """
        if self._runner is not None:
            raise RuntimeError("the server is started already")
        app = web.Application(client_max_size=self._settings.carried_bytes)
        endpoints = [(path, self._endpoint(path, hub)) for path, hub in self._hubs.items()]
        for path, endpoint in endpoints:
            app.add_routes(endpoint.routes(path))
        runner = web.AppRunner(app, handler_cancellation=True, shutdown_timeout=_GRACE, access_log=None)
        await runner.setup()
        site = web.TCPSite(runner, self._host, self._port, ssl_context=self._ssl)
        try:
            await site.start()
        except BaseException:
            await runner.cleanup()
            raise
        self._runner = runner
        self._endpoints = [endpoint for _path, endpoint in endpoints]
        self._port = runner.addresses[0][1]

    async def stop(self) -> None:
        """Listen no more and end all connections: clients are told that they may come back."""
        runner, self._runner = self._runner, None
        if runner is None:
            return
        for site in list(runner.sites):
            await site.stop()
        await asyncio.gather(*(endpoint.close() for endpoint in self._endpoints))
        await runner.cleanup()

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.stop()

    # In a thread

    def __enter__(self) -> Self:
        thread = _ServerThread(self)
        thread.begin()
        self._thread = thread
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._thread is not None:
            self._thread.end()
            self._thread = None


class _ServerThread:
    """An event loop in a thread, for as long as the server is wanted."""

    def __init__(self, server: HubServer) -> None:
        self._server = server
        self._ready = threading.Event()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._wanted: asyncio.Event | None = None
        self._error: Exception | None = None
        self._thread = threading.Thread(target=self._main, name="signalr_sdk server", daemon=True)

    def begin(self) -> None:
        """Return when it listens."""
        self._thread.start()
        self._ready.wait()
        if self._error is not None:
            self._thread.join()
            raise self._error

    def end(self) -> None:
        """Return when it is gone."""
        if self._loop is not None and self._wanted is not None:
            self._loop.call_soon_threadsafe(self._wanted.set)
        self._thread.join()

    def _main(self) -> None:
        asyncio.run(self._serve())

    async def _serve(self) -> None:
        self._loop, self._wanted = asyncio.get_running_loop(), asyncio.Event()
        try:
            await self._server.start()
        except Exception as error:  # noqa: BLE001 - it is raised where the server was asked for
            self._error = error
            return
        finally:
            self._ready.set()
        await self._wanted.wait()
        await self._server.stop()
