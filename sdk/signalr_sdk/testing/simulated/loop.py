"""An event loop whose clock leaps, and whose network is in memory."""

from __future__ import annotations

import asyncio
import gc
import selectors
import socket
import threading
from typing import TYPE_CHECKING, Any, TypeVar

from ..._guard.futures import resolve
from .sockets import SimulatedSocket
from .tcp import ALL_HOSTS
from .transports import SimulatedServer, SimulatedTransport

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextvars import Context

    from .tcp import Address, Conditions

T = TypeVar("T")

# Python's garbage collector runs whenever enough objects were made, also by other code of the process. It may run
# users' code (`__del__`), so it runs after so many turns of the event loop instead: at the same moments in each run.
_TURNS = 100_000


class _LeapingSelector(selectors.DefaultSelector):
    """Moves the clock to the next timer instead of waiting for the system."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 0.0
        self.was_woken = False
        self._turns = 0
        # The time of the last garbage collection.
        self._now_before = -1.0

    def select(self, timeout: float | None = None) -> Any:
        """Return the files that are ready: only the one by which other threads wake the event loop."""
        self._turns += 1
        if self._turns % _TURNS == 0:
            if self.now == self._now_before:
                raise RuntimeError(f"the program never waits: the clock has not moved for {_TURNS} turns of the loop")
            self._now_before = self.now
            gc.collect()
        if self.was_woken:
            self.was_woken = False
            return super().select(0)
        if timeout is None:
            raise RuntimeError("every task waits, and no timer and no data can ever wake one of them")
        self.now += max(0.0, timeout)
        return []


class SimulatedLoop(asyncio.SelectorEventLoop):
    """An event loop that never waits for real time, and whose TCP connections are in memory.

    Functions in threads (`asyncio.to_thread`) run on the event loop's thread at once, so that their moment is the same
    in each run.

    Args:
        net: the conditions of the network.
    """

    def __init__(self, net: Conditions) -> None:
        self._leaping = _LeapingSelector()
        super().__init__(self._leaping)
        self.net: Conditions = net
        net.loop = self
        self._own_thread = threading.get_ident()

    def time(self) -> float:
        """Return the simulated seconds since the loop was made."""
        return self._leaping.now

    def suspend(self, seconds: float) -> None:
        """Let so many seconds pass in which nothing runs, so that timers fire late."""
        self._leaping.now += seconds

    def call_soon_threadsafe(  # type: ignore[override]
        self, callback: Callable[..., object], *args: Any, context: Context | None = None
    ) -> asyncio.Handle:
        """See `asyncio.loop.call_soon_threadsafe`."""
        if threading.get_ident() == self._own_thread:
            return self.call_soon(callback, *args, context=context)
        handle = super().call_soon_threadsafe(callback, *args, context=context)
        self._leaping.was_woken = True
        return handle

    def run_in_executor(  # type: ignore[override]
        self, _executor: Any, func: Callable[..., T], *args: Any
    ) -> asyncio.Future[T]:
        """Call the function now; return a future with its result."""
        result: asyncio.Future[T] = self.create_future()
        try:
            result.set_result(func(*args))
        except Exception as error:  # noqa: BLE001 - the caller gets the error, as from a thread
            result.set_exception(error)
        return result

    # The network

    async def getaddrinfo(self, host: Any, port: Any, **_options: Any) -> list[Any]:
        """See `asyncio.loop.getaddrinfo`."""
        name = host.decode() if isinstance(host, bytes) else host or ""
        address = (self.net.address_of(name), int(port or 0))
        return [(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP, "", address)]

    async def sock_connect(self, sock: socket.socket, address: Any) -> None:
        """See `asyncio.loop.sock_connect`."""
        await _simulated(sock).connect_to(address)

    async def create_connection(  # type: ignore[override]
        self,
        protocol_factory: Callable[[], asyncio.BaseProtocol],
        host: str | None = None,
        port: int | None = None,
        *,
        ssl: Any = None,
        sock: socket.socket | None = None,
        **_options: Any,
    ) -> tuple[SimulatedTransport, asyncio.BaseProtocol]:
        """See `asyncio.loop.create_connection`."""
        _refuse_tls(ssl)
        own = await self._connected(host, port) if sock is None else _simulated(sock)
        protocol = protocol_factory()
        made = self.create_future()
        transport = SimulatedTransport(self, own, protocol)
        self.call_soon(resolve, made, None)
        try:
            await made
        except BaseException:
            transport.close()
            raise
        return transport, protocol

    async def _connected(self, host: str | None, port: int | None) -> SimulatedSocket:
        ((*_, address),) = await self.getaddrinfo(host, port)
        own = SimulatedSocket(self.net)
        try:
            await own.connect_to(address)
        except BaseException:
            own.close()
            raise
        return own

    async def create_server(  # type: ignore[override]
        self,
        protocol_factory: Callable[[], asyncio.BaseProtocol],
        host: Any = None,
        port: int | None = None,
        *,
        sock: socket.socket | None = None,
        ssl: Any = None,
        start_serving: bool = True,
        **_options: Any,
    ) -> SimulatedServer:
        """See `asyncio.loop.create_server`."""
        _refuse_tls(ssl)
        if sock is None:
            own = SimulatedSocket(self.net)
            address: Address = (self.net.address_of(host) if host else ALL_HOSTS, port or 0)
            own.bind(address)
        else:
            own = _simulated(sock)
        server = SimulatedServer(self, [own], protocol_factory)
        if start_serving:
            await server.start_serving()
        return server


def running_simulation() -> SimulatedLoop | None:
    """Return the simulated event loop that runs in this thread; `None` if there is none."""
    try:
        loop = asyncio.get_running_loop()
    except RuntimeError:
        return None
    return loop if isinstance(loop, SimulatedLoop) else None


def _simulated(sock: socket.socket) -> SimulatedSocket:
    if not isinstance(sock, SimulatedSocket):
        raise TypeError(f"a SimulatedNetwork connects only sockets that were made while it runs, not {sock!r}")
    return sock


def _refuse_tls(ssl: object) -> None:
    if ssl:
        raise NotImplementedError("a SimulatedNetwork has no TLS: use http:// and HubServer without ssl=")
