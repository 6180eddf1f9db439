"""`HubServer`: a hub server for tests and demos, which runs in the process of the test."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from ..errors import ConnectionClosedError
from ..options import Transport
from ..protocols import MessagePackProtocol
from .active_faults import ActiveFaults
from .error_texts import ServerJsonProtocol
from .faults import Faults, ServerControls
from .hosting import HostedServer
from .http_endpoint import HubEndpoint
from .hub_clients import RegisteredClients
from .hub_methods import methods_of
from .hubs import Hub, check_hub
from .served_hub import ServedHub
from .settings import AllowRefresh, Authorize, ServerSettings

if TYPE_CHECKING:
    import ssl as ssl_module
    from collections.abc import Iterable, Mapping

    from aiohttp import web

    from ..interfaces import HubProtocol
    from .pending import Pending
    from .recording import RecordedCall, RecordedConnect, RecordedDisconnect
    from .transport_connection import TransportConnection

_PROTOCOLS = {"json": ServerJsonProtocol, "messagepack": MessagePackProtocol}


class HubServer(HostedServer):
    """Serves hubs on the loopback interface, over every transport and both protocols.

    Use the server in an `async with` on the running event loop, or in a plain `with`, which runs the server in a thread
    of its own. When the server stops, clients get a Close message that allows them to reconnect.

    Args:
        hubs: a hub class for each path.
        host: address to listen on.
        port: port to listen on; 0 for a free one.
        ssl: TLS context of the server, for https.
        transports: names of the transports that negotiate offers; all by default.
        protocols: names of the hub protocols that clients may choose.
        detailed_errors: whether the text of any exception is sent to the client, not only that of a `HubException`.
        keep_alive: after so many seconds without a message to the client a ping is sent; `None` for no pings.
        client_timeout: after so many seconds without a message from the client the connection is closed; `None` for no
            limit. Counts from the first ping of the client on.
        handshake_timeout: seconds that a client may take for its handshake.
        poll_timeout: after so many seconds a poll gets an empty response if there is no data.
        send_timeout: a client that has read no data for so many seconds is disconnected.
        message_bytes: largest message that a client may send.
        parallel_invocations: how many invocations of one client run at the same time.
        stream_buffer: if a hub method ends and leaves more than this number of items of a client's stream unread, the
            connection is closed, as by ASP.NET Core (whose `StreamBufferCapacity` is 10 by default). `None` to drop
            such items.
        authorize: called with the bearer token of each request. Returns the user's name, or an `Identity` with the name
            and the token's lifetime, or `None` to answer 401. An empty name means a user without a name.
        origins: origins of web pages that may use the hubs, such as `https://example.com`; `*` for all pages. Pages of
            this machine (`localhost`, any port) may always use the hubs. Requests of other pages are answered with
            403. Only browsers send an origin.
        authentication_refresh: whether clients are told the lifetime of their tokens and may renew them, as in ASP.NET
            Core 11. A function is called with the `Identity` of each new token, and returns whether the token is
            accepted.
        close_on_expiration: whether a connection is closed when its token expires.
        stateful_reconnect: whether clients may use stateful reconnect: resume a connection over another WebSocket.
        stateful_window: a connection that has lost its WebSocket can be resumed within so many seconds.
        stateful_buffer: with so many bytes of unacknowledged messages to a client, hubs wait before they send more.

    Attributes:
        faults: methods that make the server fail.
        recorded: records of what clients did.

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
        stream_buffer: int | None = None,
        authorize: Authorize | None = None,
        origins: Iterable[str] = (),
        authentication_refresh: AllowRefresh = False,
        close_on_expiration: bool = False,
        stateful_reconnect: bool = False,
        stateful_window: float = 15.0,
        stateful_buffer: int = 100_000,
    ) -> None:
        settings = self._settings = ServerSettings(
            transports=Transport if transports is None else transports,
            protocols=tuple(protocols),
            detailed_errors=detailed_errors,
            keep_alive=keep_alive,
            client_timeout=client_timeout,
            handshake_timeout=handshake_timeout,
            poll_timeout=poll_timeout,
            send_timeout=send_timeout,
            message_bytes=message_bytes,
            parallel_invocations=parallel_invocations,
            stream_buffer=stream_buffer,
            authorize=authorize,
            origins=origins,
            authentication_refresh=authentication_refresh,
            close_on_expiration=close_on_expiration,
            stateful_reconnect=stateful_reconnect,
            stateful_window=stateful_window,
            stateful_buffer=stateful_buffer,
        )
        super().__init__(host, port, ssl=ssl, origins=settings.origins, body_bytes=settings.carried_bytes)
        for hub in hubs.values():
            # Raise the TypeError for a wrong hub class now, not when a client first calls a method of the hub.
            check_hub(hub, Hub)
            methods_of(hub)
        spoken: dict[str, HubProtocol] = {name: _PROTOCOLS[name]() for name in self._settings.protocols}
        faults = self._active_faults = ActiveFaults(self._recheck_buffers)
        self._hubs = {
            path: ServedHub(path, hub, settings=self._settings, protocols=spoken, faults=faults, recorded=self.recorded)
            for path, hub in hubs.items()
        }
        controls = ServerControls(
            on_loop=self._on_loop,
            connections=self._connections,
            refuse=self._refuse,
            accept=self._accept,
            restart=lambda down, graceful: self._later(lambda: self._restart(down, graceful=graceful)),
        )
        self.faults: Faults = Faults(faults, controls)
        self._endpoints: list[HubEndpoint] = []

    def url(self, path: str) -> str:
        """Return the URL of a hub.

        Args:
            path: one of the paths in `hubs`.
        """
        return self._address(path)

    def wait_called(self, method: str, *, times: int = 1, timeout: float | None = 5.0) -> Pending[RecordedCall]:
        """Wait for a call of a method: with `await`, or in a thread without an event loop with `.result()`.

        Earlier calls count too, unless `recorded.clear()` was called after them.

        Args:
            method: the method's name, in any case.
            times: how many calls to wait for.
            timeout: seconds to wait; `None` for no limit.

        Returns:
            An object to be awaited, which gives the last of these calls (a `RecordedCall`). A `TimeoutError` names the
                methods that were called.
        """
        return self.recorded.wait_called(method, times=times, timeout=timeout)

    def wait_connected(self, *, times: int = 1, timeout: float | None = 5.0) -> Pending[RecordedConnect]:
        """Wait until clients have connected: with `await`, or in a thread without an event loop with `.result()`.

        Earlier clients count too, unless `recorded.clear()` was called after them. Gives the last `RecordedConnect`.

        Args:
            times: how many clients to wait for.
            timeout: seconds to wait, then a `TimeoutError` is raised; `None` for no limit.
        """
        return self.recorded.wait_connected(times=times, timeout=timeout)

    def wait_disconnected(self, *, times: int = 1, timeout: float | None = 5.0) -> Pending[RecordedDisconnect]:
        """Wait until clients have disconnected: with `await`, or in a thread without an event loop with `.result()`.

        Earlier clients count too, unless `recorded.clear()` was called after them. Gives the last `RecordedDisconnect`.

        Args:
            times: how many clients to wait for.
            timeout: seconds to wait, then a `TimeoutError` is raised; `None` for no limit.
        """
        return self.recorded.wait_disconnected(times=times, timeout=timeout)

    def send(self, path: str, event: str, *args: Any) -> Pending[None]:
        """Send an event to all clients of a hub: with `await`, or in a thread without an event loop with `.result()`.

        Args:
            path: one of the paths in `hubs`.
            event: name of the event.
            args: arguments of the event.
        """
        return self._later(lambda: self.clients(path).all.send(event, *args))

    def clients(self, path: str) -> RegisteredClients:
        """Return the clients of a hub, for sending to them without a hub method. Only on the server's event loop."""
        return RegisteredClients(self._hubs[path].registry)

    def _connections(self) -> list[TransportConnection]:
        return [connection for endpoint in self._endpoints for connection in endpoint.connections.values()]

    def _routes(self) -> list[web.RouteDef]:
        self._endpoints = [HubEndpoint(hub) for hub in self._hubs.values()]
        return [route for endpoint in self._endpoints for route in endpoint.routes()]

    async def _end_connections(self) -> None:
        for endpoint in self._endpoints:
            endpoint.is_closing = True
        self._active_faults.clear()
        await asyncio.gather(*(endpoint.close() for endpoint in self._endpoints))

    # `Faults` and `ActiveFaults` call the methods below on the server's event loop.

    def _recheck_buffers(self) -> None:
        for connection in self._connections():
            connection.buffers.recheck()

    async def _restart(self, down: float, *, graceful: bool) -> None:
        self._refuse()
        try:
            if graceful:
                await asyncio.gather(*(endpoint.close() for endpoint in self._endpoints))
            self._drop_connections()
            killed = ConnectionClosedError("the server was killed")
            await asyncio.gather(*(endpoint.close(killed) for endpoint in self._endpoints))
            await asyncio.sleep(down)
        finally:
            for endpoint in self._endpoints:
                endpoint.is_closing = False
            self._accept()
