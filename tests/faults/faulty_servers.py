"""Servers behind a proxy, with a method for each kind of fault.

The method has the name of the kind, gets the `Fault`, and returns when the fault is over.
"""

from __future__ import annotations

import asyncio
import time
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any, ClassVar, Self, get_args

from tests.interop.hub_server import HubServer as AspNetCoreServer
from tests.python_server import USUAL, HubRecord, TwinHub

from signalr_sdk.testing import FaultProxy, HubServer, Identity
from signalr_sdk.testing.fault_proxy import Direction

from .invariants import REASON, REASONS

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import TracebackType

    from tests.interop.hub_server import ServerEvent

    from signalr_sdk.interfaces import HttpClient
    from signalr_sdk.testing import Fault as ServerFault
    from signalr_sdk.testing.simulated_network import SimulatedNetwork

    from .schedule import Fault

_DIRECTIONS: tuple[Direction | None, ...] = (None, *get_args(Direction))
# Kinds of faults that a connection with stateful reconnect survives: those that hit only the TCP connection, and those
# after which the server goes on as before.
OUTLIVED = frozenset(
    {"cut", "cut_after", "stall", "stall_and_cut", "refuse", "drop", "freeze", "delay", "no_pings", "split", "join"}
)
_LIFETIME = 300.0  # seconds that a token is valid
_SHORT_LIFETIME = 1.0


class Tokens:
    """The client's token provider, which can give out expired tokens.

    Attributes:
        stale: how many of the next tokens have expired already.
        seconds: how long the other tokens are valid.
    """

    def __init__(self) -> None:
        self.stale = 0
        self.seconds = _LIFETIME

    def __call__(self) -> str:
        """Return the next token."""
        lifetime = self.seconds
        if self.stale:
            self.stale -= 1
            lifetime = -10.0
        return f"ada|{time.time() + lifetime}"


def _identity(token: str | None) -> Identity | None:
    user, _, until = (token or "").partition("|")
    left = float(until or 0) - time.time()
    return Identity(user, expires_in=left) if left > 0 else None


class FaultyServer:
    """A server behind a proxy, with the faults of TCP connections and of tokens.

    Args:
        proxy: the proxy that the client connects to, or the simulated network between client and server.

    Attributes:
        path: path of the hub.
        proxy: see above.
        tokens: the client's token provider.
        connection_id: id of the client's present connection.
        may_end: set when a fault ends the connection for good.
        generation: how many processes of the server have ended.
        ticks: whether `tick` can send events.
        http: the client's HTTP client; `None` for its own.
        reasons: the errors in Close messages that faults may cause.
    """

    kinds: ClassVar[tuple[str, ...]] = ("cut", "cut_after", "stall", "stall_and_cut", "refuse", "stale", "short_lives")
    path = "/hub"
    ticks = True
    http: HttpClient | None = None
    reasons: ClassVar[frozenset[str]] = REASONS

    def __init__(self, proxy: FaultProxy | SimulatedNetwork) -> None:
        self.proxy = proxy
        self.tokens = Tokens()
        self.connection_id: str | None = None
        self.may_end = False
        self.generation = 0
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        if isinstance(self.proxy, FaultProxy):
            self._stack.enter_context(self.proxy)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._stack.close()

    @property
    def url(self) -> str:
        """The URL that the client connects to."""
        assert isinstance(self.proxy, FaultProxy)
        return self.proxy.url(self.path)

    async def wait_forgotten(self) -> None:
        """Return when the server has nothing left of clients that are gone, if it shares the client's event loop."""

    async def do(self, fault: Fault) -> None:
        """Make a fault; return when it is over."""
        await getattr(self, fault.kind)(fault)

    async def tick(self, number: int) -> None:
        """Send an event to all clients.

        Raises:
            OSError: the event may not have been sent.
        """
        raise NotImplementedError

    async def new_records(self) -> list[ServerEvent]:
        """Return what the hub has recorded since the last call."""
        raise NotImplementedError

    # TCP connections

    async def cut(self, fault: Fault) -> None:
        """Cut all TCP connections, by FIN or by RST."""
        self.proxy.cut(reset=fault.amount % 2 == 0)

    async def cut_after(self, fault: Fault) -> None:
        """Cut a TCP connection after so many more bytes, which may be in the middle of a message."""
        direction = get_args(Direction)[fault.amount % 2]
        self.proxy.cut_after(fault.amount // 2 % 3000, direction, reset=fault.amount % 3 == 0)

    async def stall(self, fault: Fault) -> None:
        """Hold all data, then forward it."""
        with self._stalled(fault):
            await asyncio.sleep(fault.lasts)

    async def stall_and_cut(self, fault: Fault) -> None:
        """Hold all data, then cut the TCP connections."""
        with self._stalled(fault):
            await asyncio.sleep(fault.lasts)
            self.proxy.cut(reset=fault.amount % 2 == 0)

    @contextmanager
    def _stalled(self, fault: Fault) -> Iterator[None]:
        self.proxy.stall(_DIRECTIONS[fault.amount % len(_DIRECTIONS)])
        try:
            yield
        finally:
            self.proxy.resume()

    async def refuse(self, fault: Fault) -> None:
        """Cut all TCP connections, and refuse new ones for a while."""
        self.proxy.refuse()
        try:
            self.proxy.cut()
            await asyncio.sleep(fault.lasts)
        finally:
            self.proxy.accept()

    # Tokens

    async def stale(self, fault: Fault) -> None:
        """The next tokens have expired already."""
        self.tokens.stale = 1 + fault.amount % 4
        self.proxy.cut()

    async def short_lives(self, fault: Fault) -> None:
        """Tokens are valid for a second."""
        self.tokens.seconds = _SHORT_LIFETIME
        try:
            self.proxy.cut()
            await asyncio.sleep(fault.lasts)
        finally:
            self.tokens.seconds = _LIFETIME
            # Otherwise the server would end the connection later, when the short token expires. An attempt that is
            # under way with a short token is not cut: wait until all short tokens have expired.
            self.proxy.cut()
            await asyncio.sleep(_SHORT_LIFETIME)


class AspNetCoreProcess:
    """An ASP.NET Core process, which can be started again on the same port.

    Attributes:
        server: the process that runs, or the last one.
    """

    def __init__(self) -> None:
        self.server = AspNetCoreServer.start()

    def start_again(self) -> None:
        """End the process and start another one on the same port."""
        port = self.server.port
        self.server.close()
        self.server = AspNetCoreServer.start(port=port)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.server.close()


class AspNetCoreFaults(FaultyServer):
    """ASP.NET Core behind a proxy.

    Args:
        process: the process of the server.
        tokens: use the hub that wants a token. Events cannot be sent to that hub from outside.
    """

    kinds = (*FaultyServer.kinds[:5], "kill", "shut_down", "freeze", "drop", "abort")

    def __init__(self, process: AspNetCoreProcess, *, tokens: bool) -> None:
        super().__init__(FaultProxy(process.server.port))
        self._process = process
        self._seen_records = 0
        if process.server.has_ended:
            # A run before this one has failed while its fault had ended the process.
            process.start_again()
        process.server.ask("POST", "/control/events/clear")
        self.ticks = not tokens
        if tokens:
            self.path = "/hub-auth"
            self.kinds = (*self.kinds, "stale", "short_lives")  # type: ignore[misc]

    @property
    def _server(self) -> AspNetCoreServer:
        return self._process.server

    async def tick(self, number: int) -> None:
        await self._server.send("tick", number)

    async def new_records(self) -> list[ServerEvent]:
        events = await self._server.events()
        new, self._seen_records = events[self._seen_records :], len(events)
        return new

    async def kill(self, fault: Fault) -> None:
        """Kill the process, and start it again after a while."""
        await asyncio.to_thread(self._server.kill)
        await self._come_back(fault)

    async def shut_down(self, fault: Fault) -> None:
        """Shut the process down, kill it if a client that reconnects at once holds that up, and start it again."""
        await asyncio.to_thread(self._server.ask, "POST", "/control/shutdown")
        await asyncio.sleep(fault.lasts)
        await asyncio.to_thread(self._server.kill)
        await self._come_back(fault)

    async def _come_back(self, fault: Fault) -> None:
        self.generation += 1
        await asyncio.sleep(fault.lasts)
        await asyncio.to_thread(self._process.start_again)
        self._seen_records = 0

    async def freeze(self, fault: Fault) -> None:
        """Pause the process."""
        self._server.pause()
        try:
            await asyncio.sleep(fault.lasts)
        finally:
            self._server.resume()

    async def drop(self, _fault: Fault) -> None:
        """Cut the TCP connections at the server's end; the server keeps its connections."""
        await self._server.drop_transports(self.path)

    async def abort(self, _fault: Fault) -> None:
        """End the connection for good, from the server."""
        if self.connection_id is not None:
            self.may_end = True
            await self._server.abort(self.connection_id)


class HubServerFaults(FaultyServer):
    """The test server, with its own faults too.

    Args:
        proxy: as for `FaultyServer`.
        server: the server, with a `TwinHub` that writes to `record`.
        record: what the hub has recorded.
    """

    kinds = (
        *FaultyServer.kinds, "answer", "hang_up", "hold", "delay", "freeze", "no_pings", "split", "join", "close_port",
        "end", "close", "abort", "forget", "restart",
    )  # fmt: skip

    _STATUSES = (401, 403, 404, 408, 429, 500, 503)
    _REQUESTS = ("negotiate", "connect", "resume", "poll", "post", "delete")
    _PLACES = (*_REQUESTS, "handshake", "frame in", "frame out")

    def __init__(self, proxy: FaultProxy | SimulatedNetwork, server: HubServer, record: HubRecord) -> None:
        super().__init__(proxy)
        self.server = server
        self._record = record

    @classmethod
    def served(cls, record: HubRecord) -> dict[str, Any]:
        """Return the arguments of `HubServer` for a record."""
        hub = type("TwinHub", (TwinHub,), {"seen_by_hubs": record})
        usual: dict[str, Any] = {**USUAL, "authorize": _identity, "close_on_expiration": True}
        return {"hubs": {cls.path: hub}, **usual, "stateful_reconnect": True}

    async def tick(self, number: int) -> None:
        await self.server.send(self.path, "tick", number)

    async def new_records(self) -> list[ServerEvent]:
        seen = self._record.seen
        count = len(seen)
        events = seen[:count]
        del seen[:count]
        return events

    # Faults that stay in force for a while

    async def answer(self, fault: Fault) -> None:
        """Answer requests with an error status."""
        status = self._STATUSES[fault.amount % len(self._STATUSES)]
        at = self._REQUESTS[fault.amount // 7 % len(self._REQUESTS)]
        wait = 1 if fault.amount % 5 == 0 else None
        with self.server.faults.refuse(status, at, retry_after=wait, times=1 + fault.amount % 3):
            await self._lose(fault)

    async def hang_up(self, fault: Fault) -> None:
        """Cut the TCP connection instead of answering a request or passing on a frame."""
        with self.server.faults.drop(self._place(fault), times=1 + fault.amount % 3):
            await self._lose(fault)

    async def hold(self, fault: Fault) -> None:
        """Hold requests or frames, then go on with them."""
        with self.server.faults.stall(self._place(fault)):
            await self._lose(fault)

    def _place(self, fault: Fault) -> str:
        return self._PLACES[fault.amount % len(self._PLACES)]

    async def _lose(self, fault: Fault) -> None:
        if fault.amount % 4:
            self.proxy.cut()
        await asyncio.sleep(fault.lasts)

    async def delay(self, fault: Fault) -> None:
        """Delay all requests and frames."""
        await self._during(fault, self.server.faults.delay(fault.amount / 100_000, None))

    async def freeze(self, fault: Fault) -> None:
        """Hold all data of open connections."""
        await self._during(fault, self.server.faults.freeze())

    async def no_pings(self, fault: Fault) -> None:
        """Send no pings."""
        await self._during(fault, self.server.faults.stop_pings())

    async def split(self, fault: Fault) -> None:
        """Send frames in pieces."""
        await self._during(fault, self.server.faults.split(1 + fault.amount % 50))

    async def join(self, fault: Fault) -> None:
        """Send several messages in one frame."""
        await self._during(fault, self.server.faults.join(2 + fault.amount % 20))

    async def close_port(self, fault: Fault) -> None:
        """Refuse TCP connections for a while."""
        with self.server.faults.close_port():
            await self._lose(fault)

    @staticmethod
    async def _during(fault: Fault, thing: ServerFault) -> None:
        with thing:
            await asyncio.sleep(fault.lasts)

    # Faults that happen at once

    async def end(self, fault: Fault) -> None:
        """End connections without a Close message."""
        code = (1000, 1001, 1006, 1011)[fault.amount % 4]
        self.server.faults.cut(code=code, reset=fault.amount % 3 == 0)

    async def close(self, fault: Fault) -> None:
        """End connections with a Close message that allows clients to reconnect."""
        error = REASON if fault.amount % 2 else None
        self.server.faults.close(error=error, allow_reconnect=True)

    async def abort(self, fault: Fault) -> None:
        """End connections for good."""
        self.may_end = True
        self.server.faults.close(error=REASON if fault.amount % 2 else None)

    async def forget(self, fault: Fault) -> None:
        """Make the server forget its connections."""
        self.server.faults.forget()
        self.proxy.cut()  # otherwise clients would notice only at a later fault, which would be taken for the reason
        await asyncio.sleep(fault.lasts)

    async def restart(self, fault: Fault) -> None:
        """End the server and start it again."""
        await self.server.faults.restart(fault.lasts, graceful=fault.amount % 2 == 0)


class PythonFaults(HubServerFaults):
    """The test server in a thread of its own, behind a proxy."""

    def __init__(self) -> None:
        record = HubRecord()
        server = HubServer(**self.served(record))
        server.__enter__()  # now, since the proxy needs the port
        super().__init__(FaultProxy(server.port), server, record)
        self._stack.push(server)
