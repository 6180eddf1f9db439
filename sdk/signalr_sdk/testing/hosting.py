"""`HostedServer`: the base class of the test servers: an aiohttp application on a port that can refuse connections."""

from __future__ import annotations

import abc
import asyncio
from typing import TYPE_CHECKING, Any

from aiohttp import web

from .authentication import bearer_token
from .loop_thread import LoopService
from .origins import is_allowed
from .pending import Pending
from .recording import Recorded, RecordedRefusal
from .tcp_listener import TcpListener, drop_tcp

if TYPE_CHECKING:
    import ssl as ssl_module
    from collections.abc import Callable, Coroutine
    from concurrent.futures import Future

    from aiohttp.typedefs import Handler

    from .origins import Origin

# When the server stops, HTTP requests in progress may take this many seconds to end. After that, they are cancelled.
_GRACE = 1.0
# An answer with this status or a higher one is a refusal.
_REFUSED = 400


class HostedServer(LoopService):
    """A server that answers HTTP requests with aiohttp, on a port that it keeps while it refuses connections.

    Args:
        host: address to listen on.
        port: port to listen on; 0 for a free one.
        ssl: TLS context of the server; `None` for http.
        origins: origins of web pages that may use the server.
        body_bytes: the largest body of a request.

    Attributes:
        recorded: what clients did.
    """

    _kind = "server"

    def __init__(
        self,
        host: str,
        port: int,
        *,
        ssl: ssl_module.SSLContext | None,
        origins: frozenset[Origin],
        body_bytes: int,
    ) -> None:
        super().__init__()
        self.recorded: Recorded = Recorded()
        self._host, self._port, self._ssl = host, port, ssl
        self._origins, self._body_bytes = origins, body_bytes
        self._runner: web.AppRunner | None = None
        self._listener: TcpListener | None = None
        self._times_refused = 0
        self._in_use: set[asyncio.WriteTransport | None] = set()

    @property
    def port(self) -> int:
        """The port on which the server listens; before the first start, the `port` that was given."""
        return self._port

    def _address(self, path: str) -> str:
        return f"{'https' if self._ssl else 'http'}://{self._host}:{self.port}{path}"

    @abc.abstractmethod
    def _routes(self) -> list[web.RouteDef]:
        """Return the routes of the application. Called at each start of the server, on its event loop."""

    @abc.abstractmethod
    async def _end_connections(self) -> None:
        """End all connections of clients, because the server stops."""

    async def _open(self) -> None:
        # Without middlewares: aiohttp caches what these make of a handler, and so would keep a thousand servers alive.
        app = web.Application(client_max_size=self._body_bytes)
        app.on_response_prepare.append(self._note_refusal)
        app.add_routes(
            web.route(each.method, each.path, self._guarded(each.handler), **each.kwargs) for each in self._routes()
        )
        runner = web.AppRunner(app, handler_cancellation=True, shutdown_timeout=_GRACE, access_log=None)
        await runner.setup()
        listener = TcpListener(_server_of(runner), self._ssl)
        try:
            await listener.open(self._host, self._port)
        except BaseException:
            await runner.cleanup()
            raise
        self._runner, self._listener = runner, listener
        self._port = listener.port

    async def _close(self) -> None:
        runner, self._runner = self._runner, None
        if runner is None or self._listener is None:
            return
        await self._listener.close()
        await self._end_connections()
        await runner.cleanup()
        self._listener = None

    async def _note_refusal(self, request: web.Request, response: web.StreamResponse) -> None:
        """Record the request if the server refuses it."""
        if response.status >= _REFUSED:
            has_token = bearer_token(request) is not None
            self.recorded.note_refusal(RecordedRefusal(request.method, request.path, response.status, has_token))

    def _guarded(self, handler: Handler) -> Handler:
        """Return a handler that refuses requests of foreign web pages, and notes which TCP connections are in use."""

        async def handle(request: web.Request) -> web.StreamResponse:
            # Any page in the user's browser can send requests to this server.
            if not is_allowed(request.headers.get("Origin"), self._host, self._origins):
                name = type(self).__name__
                raise web.HTTPForbidden(text=f"This page may not use the hub: name its origin in {name}(origins=...)")
            # `_refuse` must close only the TCP connections that have no request in progress.
            tcp = request.transport
            self._in_use.add(tcp)
            try:
                return await handler(request)
            finally:
                self._in_use.discard(tcp)

        return handle

    # The faults call the methods below on the server's event loop. Only `_later` may run in any thread.

    def _refuse(self) -> None:
        """Refuse new TCP connections until `_accept` was called as often as this method; close idle connections."""
        self._times_refused += 1
        if self._listener is not None and self._runner is not None:
            self._listener.refuse()
            for handler in _server_of(self._runner).connections:
                if handler.transport not in self._in_use:
                    drop_tcp(handler.transport, reset=False)

    def _accept(self) -> None:
        self._times_refused -= 1
        if self._listener is not None and not self._times_refused:
            self._listener.accept()

    def _drop_connections(self) -> None:
        """Close all TCP connections of clients at once, as the end of the server's process does."""
        if self._runner is None:
            raise RuntimeError("the server is not started")
        for handler in _server_of(self._runner).connections:
            drop_tcp(handler.transport, reset=False)

    def _later(self, work: Callable[[], Coroutine[Any, Any, None]]) -> Pending[None]:
        """Return a `Pending`. Its `await` or `result()` starts `work` on the server's event loop."""

        def begin() -> Future[None]:
            if self._loop is None:
                raise RuntimeError("the server is not started")
            return asyncio.run_coroutine_threadsafe(work(), self._loop)

        return Pending(begin)


def _server_of(runner: web.AppRunner) -> web.Server:
    server = runner.server
    if server is None:
        raise RuntimeError("the runner is not set up")
    return server
