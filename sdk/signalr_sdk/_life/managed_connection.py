"""`ManagedConnection`: the base class of hub connections, with starting, reconnecting, stopping and waiting."""

from __future__ import annotations

import asyncio
import functools
from typing import TYPE_CHECKING, Any, Final, Generic, Literal, Self, TypeVar

from .._core import urls
from .._guard.copying import Uncopied, copy_of
from .._guard.loops import check_loop, loop_or_none
from .._receiving.backlog import Backlog
from .._receiving.dispatcher import Dispatcher, running_handler
from .._receiving.handlers import Handlers
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

# `stop` waits at most this number of seconds for the tasks that close the sources of uploads whose call was never sent.
_CLOSING = 0.2


class ManagedConnection(Uncopied, Generic[L]):
    """The base class of hub connections. A subclass passes a function that connects, and adds calls to the hub.

    Args:
        options: the options that all kinds of connections have.
        connect: makes one attempt to connect, and returns a `Link` (a live connection) whose handshake is done. If
            `connect` is cancelled, it must leave no connection open.
        reconnect: the retry policy after a loss, as for `HubConnection`.
        retry_start: the retry policy of `start`, as for `HubConnection`.
        handler_errors: what an error of a handler does, as for `HubConnection`.
    """

    # A subclass in `signalr_sdk.sync` replaces this class by a dispatcher that runs handlers on threads.
    _dispatcher_class: type[Dispatcher] = Dispatcher
    # Whether users see a connection as reconnecting while it is resumed over a new transport.
    _shows_resuming = False

    def __init__(
        self,
        options: ConnectionOptions,
        connect: Callable[[Dispatcher, Attempts], Coroutine[Any, Any, L]],
        *,
        reconnect: RetryPolicy | bool | None,
        retry_start: RetryPolicy | bool | None,
        handler_errors: Literal["report", "raise"] = "report",
    ) -> None:
        if handler_errors not in ("report", "raise"):
            raise ValueError(f"handler_errors must be 'report' or 'raise', not {handler_errors!r}")
        self._options = options
        self._timeouts = options.timeouts
        self._limits = options.limits
        self._handlers = Handlers()
        self._connect, self._reconnect, self._retry_start = connect, reconnect, retry_start
        self._raises = handler_errors == "raise"
        # The tasks that close the sources of uploads whose call was never sent.
        self._closing: set[asyncio.Task[None]] = set()
        self._make_life()

    def _make_life(self) -> None:
        options = self._options
        self._backlog = Backlog(options.limits.buffered_bytes)
        self._dispatcher = self._dispatcher_class(self._handlers, self._backlog, options.limits, options.logs.hub)
        attempts = Attempts(self._reconnect, self._retry_start, self._dispatcher.push_error)
        self._life: Supervisor[L] = Supervisor(
            functools.partial(self._connect, self._dispatcher, attempts),
            options=options,
            dispatcher=self._dispatcher,
            attempts=attempts,
            shows_resuming=self._shows_resuming,
        )
        if self._raises:
            self._dispatcher.fatal = self._life.end_by

    def _check_loop(self) -> None:
        """Check that the connection's event loop is running in this thread.

        If that loop was closed without `stop()`, the connection gets a new, disconnected state.

        Raises:
            StateError: no event loop or another event loop is running in this thread.
        """
        check_loop(self._life.loop)
        if self._is_orphaned():
            self._dispatcher.end_subscriptions()
            self._make_life()

    # Properties: state, connection id, transport, URL

    @property
    def state(self) -> ConnectionState:
        """The state of the connection: `DISCONNECTED` also if its event loop was closed. May be read on any thread."""
        return ConnectionState.DISCONNECTED if self._is_orphaned() else self._life.lifecycle.public

    @property
    def connection_id(self) -> str | None:
        """The connection id from the server; `None` if not connected, or if negotiation was skipped."""
        link = self._life.link  # read only once: on another thread, the link may become `None` at any time
        return link.connection_id if link and not self._is_orphaned() else None

    @property
    def transport(self) -> Transport | None:
        """The transport in use; `None` if not connected."""
        link = self._life.link
        return link.transport_kind if link and not self._is_orphaned() else None

    def _is_orphaned(self) -> bool:
        """Return whether the event loop of the connection was closed without `stop()`."""
        loop = self._life.loop
        return loop is not None and loop.is_closed()

    @property
    def url(self) -> str:
        """The hub's URL, always with the scheme http or https."""
        return self._options.url

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {urls.without_query(self.url)} {self.state}>"

    # Starting and stopping

    async def start(self) -> None:
        """Connect to the hub; return when the hub can be called.

        If `start` is cancelled, the connection is `DISCONNECTED` again and nothing stays open.

        Raises:
            ConnectionFailedError: no attempt to connect succeeded.
            ConnectionClosedError: `stop()` was called before the connection was up.
            StateError: the state is not `DISCONNECTED`.
        """
        self._check_loop()
        await self._life.start()

    async def stop(self) -> None:
        """End the connection.

        `stop` may be called in any state, any number of times, and inside any handler. `stop` first sends the waiting
        messages and a Close message; after `Timeouts.close`, the connection is cut. Pending calls raise
        `ConnectionClosedError`. Events that no handler has got yet are discarded. Running handlers are cancelled,
        except a handler that calls `stop`. `stop` does not wait for `on_closed` handlers.
        """
        self._check_loop()
        await self._life.stop()
        if self._closing:
            # Calls that waited for a connection have failed, and the tasks in `_closing` now close the sources of their
            # uploads. Wait for these tasks: the program may end the event loop after `stop`.
            await asyncio.wait(self._closing, timeout=_CLOSING)

    async def run(self) -> None:
        """Start the connection, and return when the connection has ended. Cancelling `run` stops the connection.

        Raises:
            ConnectionFailedError: no attempt to connect succeeded.
            SignalRError: the error that ended the connection.
        """
        async with self:
            await self.wait_closed()

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, *_exception: object) -> None:
        await self.stop()

    async def wait_closed(self) -> None:
        """Wait until the connection has ended without reconnecting, and handlers have run for all received events.

        If a handler calls `wait_closed`, the call does not wait for handlers. No call waits for handlers of client
        results, whose answers nobody would read.

        Raises:
            SignalRError: the error that ended the connection, a copy for each caller. Nothing is raised after
                `stop()`, or if the server closed the connection without an error.
            Exception: the exception of a handler, with `handler_errors="raise"`.
        """
        self._check_loop()
        if self._life.closed is None:
            return
        error = await asyncio.shield(self._life.closed)
        await self._dispatcher.drained()
        if self._dispatcher.failed is not None:
            # With `handler_errors="raise"`, a handler may have failed after the connection has ended.
            raise self._dispatcher.failed
        if error is not None:
            raise copy_of(error)

    async def wait_connected(self, timeout: float | None = None) -> None:
        """Wait until the connection is `CONNECTED`.

        Args:
            timeout: seconds; `None` for no limit.

        Raises:
            TimeoutError: the connection was not up within `timeout`.
            SignalRError: the connection ended before it was up.
            StateError: the caller is an `on_setup` handler.
        """
        self._check_loop()
        async with asyncio.timeout(timeout):
            await self._life.wait_connected()

    async def reconnect(self) -> None:
        """Give up the connection, and return when a new connection is up.

        A Close message is sent, without waiting for an answer. Pending calls and streams end with
        `ConnectionClosedError`, even if a stateful reconnect could have kept them. The first attempt is made at once,
        without asking the retry policy, also with `reconnect=False`; the policy decides about further attempts.

        While a new connection is being made, `reconnect` ends the wait before the next attempt, or waits for the
        running attempt. Several callers at the same time share one new connection. Cancelling `reconnect` changes
        nothing for the connection.

        Raises:
            SignalRError: the error that ended the connection, if the policy gives up.
            ConnectionClosedError: `stop()` was called.
            StateError: the connection is disconnected or is being stopped, or the caller is an `on_setup` handler.

        Example:
            ```python
            async def on_network_change() -> None:
                await hub.reconnect()
            ```
        """
        self._check_loop()
        await self._life.reconnect()

    async def flush(self) -> None:
        """Wait until all messages sent so far were handed to the operating system.

        Raises:
            NotConnectedError: there is no connection.
            ConnectionClosedError: the connection ended before the messages were handed over.
        """
        self._check_loop()
        link = self._life.link or await self._life.ready()
        await link.flush()

    # Lifecycle events

    def on_setup(self, handler: H) -> H:
        """Register `handler(connection_id)`, which must succeed before a new connection counts as up.

        Log in, join groups and fetch snapshots in such a handler. The handlers run in order on each new connection,
        before `start` returns, before calls that wait are sent, and before `on_connected` handlers. They do not run
        when a stateful reconnect has resumed the connection. Meanwhile, calls of the handler, and of tasks that the
        handler starts, are sent at once. Events wait until the handlers have succeeded; an iterator that the handler
        makes gets the events at once.

        If a handler raises, or the handlers take longer than `Timeouts.setup`, the connection is closed, and the
        attempt counts as failed with `SetupError`, about which the retry policy decides. A handler may call `stop()`,
        but `start()`, `reconnect()` and `wait_connected()` raise `StateError` there.

        Example:
            ```python
            @hub.on_setup
            async def join(connection_id: str | None) -> None:
                await hub.invoke("Join", "blue")
            ```
        """
        return self._on_lifecycle("setup", handler)

    def on_connected(self, handler: H) -> H:
        """Register `handler(connection_id)`, called each time the connection is up, before any other event."""
        return self._on_lifecycle("connected", handler)

    def on_reconnecting(self, handler: H) -> H:
        """Register `handler(error)`, called when the connection is lost and a reconnect will be tried."""
        return self._on_lifecycle("reconnecting", handler)

    def on_reconnected(self, handler: H) -> H:
        """Register `handler(connection_id)`, called after `on_connected` each time a lost connection is up again."""
        return self._on_lifecycle("reconnected", handler)

    def on_closed(self, handler: H) -> H:
        """Register `handler(error)`, called when the connection has ended for good. `error` may be `None`."""
        return self._on_lifecycle("closed", handler)

    def on_error(self, handler: H) -> H:
        """Register `handler(error)` for errors that no call can raise, for example an error in a handler."""
        return self._on_lifecycle("error", handler)

    def _on_lifecycle(self, name: str, handler: H) -> H:
        self._handlers.add_lifecycle(name, handler)
        return handler


# The name under which the handlers of `call_after_connected` are among the lifecycle events.
_LATE: Final = "after connected"


def call_after_connected(connection: ManagedConnection[Any], handler: Handler) -> bool:
    """If `on_connected` handlers of the live connection still run, call `handler(connection_id)` when they have ended.

    Returns:
        Whether they still run. A caller that is a handler itself does not wait: the result is false.
    """
    dispatcher = connection._dispatcher  # noqa: SLF001 - the module of the class
    if not dispatcher.tells_connected or dispatcher.loop is not loop_or_none() or running_handler() is not None:
        return False
    connection._on_lifecycle(_LATE, handler)  # noqa: SLF001 - as above
    dispatcher.push_lifecycle(_LATE, connection.connection_id)
    return True


def live_number(connection: ManagedConnection[Any]) -> int | None:
    """Return the number of the live connection; `None` if not connected. A reconnect raises it, a resume does not.

    Connection ids cannot tell connections apart: without negotiation, there are none.
    """
    life = connection._life  # noqa: SLF001 - the module of the class
    return None if life.link is None else life.links
