"""`ManagedConnection`: the base class of connections for threads, with starting, reconnecting, stopping and waiting."""

from __future__ import annotations

from typing import TYPE_CHECKING, Generic, Self, TypeVar

from .._core import urls
from .._guard.copying import Uncopied
from .._life.managed_connection import ManagedConnection as AsyncConnection
from ..interfaces import Handler
from ..options import ConnectionState, Transport
from .loop_use import LoopUse
from .on_threads import OnThreads
from .registry import HandlerRegistry
from .twins import twin_of

if TYPE_CHECKING:
    from .http_client import LazyClient

A = TypeVar("A", bound=OnThreads)
H = TypeVar("H", bound=Handler)


@twin_of(AsyncConnection)
class ManagedConnection(Uncopied, Generic[A]):
    """The base class of connections for threads.

    Args:
        hub: the asyncio connection.
        http: the HTTP client of the connection.
    """

    def __init__(self, hub: A, http: LazyClient) -> None:
        self._hub: A = hub
        self._http: LazyClient = http
        self._loop_use: LoopUse = LoopUse()
        self._registry: HandlerRegistry = HandlerRegistry()

    @property
    def state(self) -> ConnectionState:
        return self._hub.state

    @property
    def connection_id(self) -> str | None:
        return self._hub.connection_id

    @property
    def transport(self) -> Transport | None:
        return self._hub.transport

    @property
    def url(self) -> str:
        return self._hub.url

    def __repr__(self) -> str:
        return f"<{type(self).__module__}.{type(self).__name__} {urls.without_query(self.url)} {self.state}>"

    # Starting and stopping

    def start(self) -> None:
        """Connect to the server; return when the hub can be called.

        If Ctrl-C interrupts `start`, the connection is closed, and the state is `DISCONNECTED`.

        Raises:
            ConnectionFailedError: the attempts failed.
            ConnectionClosedError: `stop()` was called before the connection was up.
            StateError: the state is not `DISCONNECTED`, or a parent of this process has started the connection.
        """
        self._loop_use.call(self._start)

    async def _start(self) -> None:
        try:
            await self._hub.start()
        except BaseException:
            await self._free_client()
            raise
        self._loop_use.keep_loop_for(self._live(), self._stop)

    async def _live(self) -> None:
        await self._hub.wait_ended()
        await self._free_client()

    async def _stop(self) -> None:
        # Send the messages of `send` that still wait in the send buffer. If the user calls `stop`, `LoopUse.first` has
        # sent these messages already. But the exit of the interpreter calls `_stop` directly, and the messages would be
        # lost.
        self._loop_use.first()
        await self._hub.stop()

    async def _free_client(self) -> None:
        # Close the HTTP client only if the connection is down: another `start` of the user may use the client already.
        if self._hub.state is ConnectionState.DISCONNECTED:
            await self._http.close()

    def stop(self) -> None:
        """End the connection and everything that belongs to it, in good order if `Timeouts.close` is long enough.

        `stop` may be called in any state, any number of times, from any thread and inside any handler. Messages of
        `send` are still sent. Pending calls end with `ConnectionClosedError`. Events that no handler has got yet are
        discarded. A running handler goes on to its end on its thread; `stop` does not wait for handlers.
        """
        self._loop_use.call(self._stop)

    def run(self) -> None:
        """Start the connection, wait until it is closed, and stop it. Ctrl-C stops the connection.

        Raises:
            ConnectionFailedError: the attempts to connect failed.
            SignalRError: an error has ended the connection; this error is raised.
        """
        with self:
            self.wait_closed()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_exception: object) -> None:
        self.stop()

    def wait_closed(self) -> None:
        self._loop_use.call(self._hub.wait_closed)

    def wait_connected(self, timeout: float | None = None) -> None:
        self._loop_use.call(self._hub.wait_connected, timeout)

    def reconnect(self) -> None:
        """Give up the connection, and return when a new connection is up.

        A Close message is sent, without waiting for an answer. Pending calls and streams end with
        `ConnectionClosedError`, even if a stateful reconnect could have kept them. The first attempt is made at once,
        without asking the retry policy, also with `reconnect=False`; the policy decides about further attempts.

        While a new connection is being made, `reconnect` ends the wait before the next attempt, or waits for the
        running attempt. Several callers at the same time share one new connection. If Ctrl-C interrupts `reconnect`,
        nothing changes for the connection.

        Raises:
            SignalRError: the error that ended the connection, if the policy gives up.
            ConnectionClosedError: `stop()` was called.
            StateError: the connection is disconnected or is being stopped, or the caller is an `on_setup` handler.

        Example:
            ```python
            def on_network_change() -> None:
                hub.reconnect()
            ```
        """
        self._loop_use.call(self._hub.reconnect)

    def flush(self) -> None:
        self._loop_use.call(self._hub.flush)

    # Lifecycle events

    def on_setup(self, handler: H) -> H:
        """Register `handler(connection_id)`, which must succeed before a new connection counts as up.

        Log in, join groups and fetch snapshots in such a handler. The handlers run in order on each new connection,
        before `start` returns, before calls that wait are sent, and before `on_connected` handlers. They do not run
        when a stateful reconnect has resumed the connection. The handlers run on a thread of their own. Meanwhile,
        calls on this thread are sent at once. Events wait until the handlers have succeeded; an iterator that the
        handler makes gets the events at once.

        If a handler raises, or the handlers take longer than `Timeouts.setup`, the connection is closed, and the
        attempt counts as failed with `SetupError`, about which the retry policy decides. The thread of a handler that
        takes too long is abandoned. A handler may call `stop()`, but `start()`, `reconnect()` and `wait_connected()`
        raise `StateError` there.

        Example:
            ```python
            @hub.on_setup
            def join(connection_id: str | None) -> None:
                hub.invoke("Join", "blue")
            ```
        """
        return self._registry.register(self._hub.on_setup, handler)

    def on_connected(self, handler: H) -> H:
        return self._registry.register(self._hub.on_connected, handler)

    def on_reconnecting(self, handler: H) -> H:
        return self._registry.register(self._hub.on_reconnecting, handler)

    def on_reconnected(self, handler: H) -> H:
        return self._registry.register(self._hub.on_reconnected, handler)

    def on_closed(self, handler: H) -> H:
        return self._registry.register(self._hub.on_closed, handler)

    def on_error(self, handler: H) -> H:
        return self._registry.register(self._hub.on_error, handler)
