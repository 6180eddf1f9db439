"""`ManagedConnection`: the part of a hub connection that starts, reconnects, stops and waits, for all kinds of hub."""

from __future__ import annotations

import asyncio
import functools
from typing import TYPE_CHECKING, Any, Generic, Self, TypeVar

from .._core import urls
from .._guard.copying import Uncopied
from .._guard.loops import check_loop
from .._receiving.backlog import Backlog
from .._receiving.dispatcher import Dispatcher
from .._receiving.handlers import Handlers
from ..errors import NotConnectedError, SignalRError
from ..interfaces import Handler
from ..options import ConnectionState
from .attempts import Attempts
from .link import Link
from .supervisor import Supervisor

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from .._connecting.options import ConnectionOptions
    from ..interfaces import RetryPolicy
    from ..options import Transport

L = TypeVar("L", bound=Link)
H = TypeVar("H", bound=Handler)


class ManagedConnection(Uncopied, Generic[L]):
    """The base class of hub connections. A subclass says how a link is made, and adds how the hub is called.

    Args:
        options: what all connections have in common.
        connect: makes one attempt to connect, and returns a link whose handshake is done. Cancelling it leaves nothing
            open.
        reconnect: as for `HubConnection`.
        retry_start: as for `HubConnection`.
    """

    # `signalr_sdk.sync` has another one, which runs handlers on threads.
    _dispatcher_class: type[Dispatcher] = Dispatcher

    def __init__(
        self,
        options: ConnectionOptions,
        connect: Callable[[Dispatcher], Coroutine[Any, Any, L]],
        *,
        reconnect: RetryPolicy | bool | None,
        retry_start: RetryPolicy | bool | None,
    ) -> None:
        self._options = options
        self._timeouts = options.timeouts
        self._limits = options.limits
        self._handlers = Handlers()
        self._connect, self._reconnect, self._retry_start = connect, reconnect, retry_start
        self._make_life()

    def _make_life(self) -> None:
        options = self._options
        self._backlog = Backlog(options.limits.buffered_bytes)
        self._dispatcher = self._dispatcher_class(self._handlers, self._backlog, options.limits, options.logs.hub)
        self._life: Supervisor[L] = Supervisor(
            functools.partial(self._connect, self._dispatcher),
            options=options,
            dispatcher=self._dispatcher,
            attempts=Attempts(self._reconnect, self._retry_start, self._dispatcher.push_error),
        )

    def _check_loop(self) -> None:
        """Make sure that this is the event loop of the connection. Forget a loop that was closed under it.

        Raises:
            StateError: this is another event loop, another thread, or no asyncio.
        """
        loop = self._life.loop
        check_loop(loop)
        if loop is not None and loop.is_closed():
            self._dispatcher.end_subscriptions()
            self._make_life()

    # What it is

    @property
    def state(self) -> ConnectionState:
        """The state; on any thread. A connection whose event loop was closed is `DISCONNECTED`."""
        life = self._life
        if life.loop is not None and life.loop.is_closed():
            return ConnectionState.DISCONNECTED
        return life.lifecycle.public

    @property
    def connection_id(self) -> str | None:
        """The id that the server gave; `None` unless connected, and when negotiation is skipped."""
        link = self._life.link  # read once: another thread may ask while the link is lost
        return link.connection_id if link else None

    @property
    def transport(self) -> Transport | None:
        """The transport in use; `None` unless connected."""
        link = self._life.link
        return link.transport_kind if link else None

    @property
    def url(self) -> str:
        """The hub's URL as http(s)."""
        return self._options.url

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {urls.without_query(self.url)} {self.state}>"

    # Starting and stopping

    async def start(self) -> None:
        """Connect; return when the hub can be called. Cancelling it leaves `DISCONNECTED` and nothing open.

        Raises:
            ConnectionFailedError: the attempts failed.
            ConnectionClosedError: `stop()` was called meanwhile.
            StateError: the state is not `DISCONNECTED`.
        """
        self._check_loop()
        await self._life.start()

    async def stop(self) -> None:
        """End the connection and everything that belongs to it, in good order if `Timeouts.close` is long enough.

        `stop` may be called in any state, any number of times, inside any handler. Messages that were sent leave first.
        Pending calls end with `ConnectionClosedError`. Events that no handler has got yet are discarded, and running
        handlers are cancelled (but not a handler that calls `stop`). `stop` does not wait for `on_closed` handlers.
        """
        self._check_loop()
        await self._life.stop()

    async def run(self) -> None:
        """Start, wait until closed, stop: for a task of its own. Cancelling it stops the connection.

        Raises:
            ConnectionFailedError: as `start`.
            SignalRError: the error that ended the connection, as `wait_closed`.
        """
        async with self:
            await self.wait_closed()

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, *_exception: object) -> None:
        await self.stop()

    async def wait_closed(self) -> None:
        """Return when the connection is `DISCONNECTED` for good and the events that came before the end are handled.

        Inside a handler it does not wait for handlers.

        Raises:
            SignalRError: the error that ended the connection. There is none after `stop()`, nor after a Close message
                in good order.
        """
        self._check_loop()
        if self._life.closed is None:
            return
        error = await asyncio.shield(self._life.closed)
        await self._dispatcher.drained()
        if error is not None:
            raise error

    async def wait_connected(self, timeout: float | None = None) -> None:
        """Return when `CONNECTED`.

        Args:
            timeout: seconds; `None` for no limit.

        Raises:
            TimeoutError: it took longer.
            SignalRError: the connection ended instead.
        """
        self._check_loop()
        try:
            async with asyncio.timeout(timeout):
                await self._life.next_link()
        except NotConnectedError as error:
            if isinstance(error.__cause__, SignalRError):
                raise error.__cause__ from None
            raise

    async def flush(self) -> None:
        """Return when all that was sent so far is with the operating system.

        Raises:
            NotConnectedError: there is no connection.
            ConnectionClosedError: the connection ended first.
        """
        self._check_loop()
        link = self._life.link or await self._life.ready()
        await link.flush()

    # Lifecycle events

    def on_connected(self, handler: H) -> H:
        """Register `handler(connection_id)`, called for each connection before any event of it is handled."""
        return self._on_lifecycle("connected", handler)

    def on_reconnecting(self, handler: H) -> H:
        """Register `handler(error)`, called when the connection is lost and another is about to be tried."""
        return self._on_lifecycle("reconnecting", handler)

    def on_reconnected(self, handler: H) -> H:
        """Register `handler(connection_id)`, called after `on_connected` for each connection but the first."""
        return self._on_lifecycle("reconnected", handler)

    def on_closed(self, handler: H) -> H:
        """Register `handler(error)`, called when the connection has ended for good; the error may be `None`."""
        return self._on_lifecycle("closed", handler)

    def on_error(self, handler: H) -> H:
        """Register `handler(error)` for errors that no caller can be told, for example those of handlers."""
        return self._on_lifecycle("error", handler)

    def _on_lifecycle(self, name: str, handler: H) -> H:
        self._handlers.add_lifecycle(name, handler)
        return handler
