"""Where a client lives: a server behind a proxy, and all that can go wrong with them.

Each fault is a method of its name without arguments but the `Fault`; it returns when the fault is over.
"""

from __future__ import annotations

import asyncio
import time
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any, ClassVar, Self, get_args

from tests.interop.hub_server import HubServer as AspNetCoreServer
from tests.python_server import USUAL, Board, TwinHub

from signalr_sdk.testing import FaultProxy, HubServer, Identity
from signalr_sdk.testing.fault_proxy import Direction

from .ledger import REASON

if TYPE_CHECKING:
    from collections.abc import Iterator
    from types import TracebackType

    from tests.interop.hub_server import ServerEvent

    from signalr_sdk.testing import Fault as ServerFault

    from .schedule import Fault

_DIRECTIONS: tuple[Direction | None, ...] = (None, *get_args(Direction))
# With stateful reconnect the connection outlives them: those of the line alone, and those after which all goes on.
OUTLIVED = frozenset(
    {"cut", "cut_after", "stall", "stall_and_cut", "refuse", "drop", "freeze", "delay", "no_pings", "split", "join"}
)
_LIFE = 300.0  # seconds that a token is good for


class Tokens:
    """Gives the client its tokens: bad ones too.

    Attributes:
        stale: how many of the next ones have run out already.
        seconds: how long the others are good for.
    """

    def __init__(self) -> None:
        self.stale = 0
        self.seconds = _LIFE

    def __call__(self) -> str:
        """Return the next one."""
        life = self.seconds
        if self.stale:
            self.stale -= 1
            life = -10.0
        return f"ada|{time.time() + life}"


def _lives(token: str | None) -> Identity | None:
    user, _, until = (token or "").partition("|")
    left = float(until or 0) - time.time()
    return Identity(user, expires_in=left) if left > 0 else None


class World:
    """A proxy before a server. The faults that are here are those of the line and of the tokens.

    Args:
        port: of the server.

    Attributes:
        path: of the hub.
        proxy: where the client comes in.
        tokens: what it shows.
        connection_id: who it is at the moment.
        may_end: set when the connection may end for good.
        generation: counts the server's processes.
    """

    kinds: ClassVar[tuple[str, ...]] = ("cut", "cut_after", "stall", "stall_and_cut", "refuse", "stale", "short_lives")
    path = "/hub"
    ticks = True

    def __init__(self, port: int) -> None:
        self.proxy = FaultProxy(port)
        self.tokens = Tokens()
        self.connection_id: str | None = None
        self.may_end = False
        self.generation = 0
        self._stack = ExitStack()

    def __enter__(self) -> Self:
        self._stack.enter_context(self.proxy)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._stack.close()

    @property
    def url(self) -> str:
        """Where the client connects to."""
        return self.proxy.url(self.path)

    async def do(self, fault: Fault) -> None:
        """Let a fault happen; return when it is over."""
        await getattr(self, fault.kind)(fault)

    async def tick(self, number: int) -> None:
        """Send an event to all clients.

        Raises:
            OSError: it may not have been sent.
        """
        raise NotImplementedError

    async def harvest(self) -> list[ServerEvent]:
        """Return what the hub has recorded since the last time."""
        raise NotImplementedError

    # The line

    async def cut(self, fault: Fault) -> None:
        """By FIN or by RST."""
        self.proxy.cut(reset=fault.amount % 2 == 0)

    async def cut_after(self, fault: Fault) -> None:
        """In the middle of a message, now or soon."""
        direction = get_args(Direction)[fault.amount % 2]
        self.proxy.cut_after(fault.amount // 2 % 3000, direction, reset=fault.amount % 3 == 0)

    async def stall(self, fault: Fault) -> None:
        """Nothing comes through, then all of it."""
        with self._stalled(fault):
            await asyncio.sleep(fault.lasts)

    async def stall_and_cut(self, fault: Fault) -> None:
        """Nothing comes through, and then it is gone."""
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
        """The line is cut, and there is no other one for a while."""
        self.proxy.refuse()
        try:
            self.proxy.cut()
            await asyncio.sleep(fault.lasts)
        finally:
            self.proxy.accept()

    # Tokens

    async def stale(self, fault: Fault) -> None:
        """The next tokens have run out when they are shown."""
        self.tokens.stale = 1 + fault.amount % 4
        self.proxy.cut()

    async def short_lives(self, fault: Fault) -> None:
        """Tokens live for a second."""
        self.tokens.seconds = 1.0
        try:
            self.proxy.cut()
            await asyncio.sleep(fault.lasts)
        finally:
            self.tokens.seconds = _LIFE
            # Else the server ends a connection later on.
            self.proxy.cut()


class AspNetCoreProcess:
    """ASP.NET Core, which may be started anew on the same port.

    Attributes:
        server: the one that runs, or ran last.
    """

    def __init__(self) -> None:
        self.server = AspNetCoreServer.start()

    def start_again(self) -> None:
        """Start another one instead of the last one."""
        port = self.server.port
        self.server.close()
        self.server = AspNetCoreServer.start(port=port)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.server.close()


class AspNetCoreWorld(World):
    """ASP.NET Core behind a proxy.

    Args:
        process: the server.
        tokens: use the hub that wants a token, on which nothing can be sent from outside.
    """

    kinds = (*World.kinds[:5], "kill", "shut_down", "freeze", "drop", "abort")

    def __init__(self, process: AspNetCoreProcess, *, tokens: bool) -> None:
        super().__init__(process.server.port)
        self._process = process
        self._harvested = 0
        if process.server.has_ended:
            # In the middle of a fault, when a run failed.
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

    async def harvest(self) -> list[ServerEvent]:
        events = await self._server.events()
        new, self._harvested = events[self._harvested :], len(events)
        return new

    async def kill(self, fault: Fault) -> None:
        """The process dies and comes back."""
        await asyncio.to_thread(self._server.kill)
        await self._come_back(fault)

    async def shut_down(self, fault: Fault) -> None:
        """It begins to end in good order, which a client that comes back at once can hold up, and comes back."""
        await asyncio.to_thread(self._server.ask, "POST", "/control/shutdown")
        await asyncio.sleep(fault.lasts)
        await asyncio.to_thread(self._server.kill)
        await self._come_back(fault)

    async def _come_back(self, fault: Fault) -> None:
        self.generation += 1
        await asyncio.sleep(fault.lasts)
        await asyncio.to_thread(self._process.start_again)
        self._harvested = 0

    async def freeze(self, fault: Fault) -> None:
        """The process stands still."""
        self._server.pause()
        try:
            await asyncio.sleep(fault.lasts)
        finally:
            self._server.resume()

    async def drop(self, _fault: Fault) -> None:
        """The server's end of the line breaks; what it knows of the connection it keeps."""
        await self._server.drop_transports(self.path)

    async def abort(self, _fault: Fault) -> None:
        """The server ends the connection for good."""
        if self.connection_id is not None:
            self.may_end = True
            await self._server.abort(self.connection_id)


class PythonWorld(World):
    """The test server behind a proxy, with its own faults."""

    kinds = (
        *World.kinds, "answer", "hang_up", "hold", "delay", "freeze", "no_pings", "split", "join", "close_port",
        "end", "close", "abort", "forget", "restart",
    )  # fmt: skip

    _STATUSES = (401, 403, 404, 408, 429, 500, 503)
    _REQUESTS = ("negotiate", "connect", "resume", "poll", "post", "delete")
    _PLACES = (*_REQUESTS, "handshake", "frame in", "frame out")

    def __init__(self) -> None:
        self._board = Board()
        hub = type("TwinHub", (TwinHub,), {"board": self._board})
        options: dict[str, Any] = {**USUAL, "authorize": _lives, "close_on_expiration": True}
        self.server = HubServer({self.path: hub}, **options, stateful_reconnect=True)
        self.server.__enter__()  # for its port
        super().__init__(self.server.port)
        self._stack.push(self.server)

    async def tick(self, number: int) -> None:
        await self.server.send(self.path, "tick", number)

    async def harvest(self) -> list[ServerEvent]:
        seen = self._board.seen
        count = len(seen)
        events = seen[:count]
        del seen[:count]
        return events

    # What is in force for a while

    async def answer(self, fault: Fault) -> None:
        """Requests are answered by a status."""
        status = self._STATUSES[fault.amount % len(self._STATUSES)]
        at = self._REQUESTS[fault.amount // 7 % len(self._REQUESTS)]
        wait = 1 if fault.amount % 5 == 0 else None
        with self.server.faults.refuse(status, at, retry_after=wait, times=1 + fault.amount % 3):
            await self._lose(fault)

    async def hang_up(self, fault: Fault) -> None:
        """The line is cut instead of an answer, or of a frame."""
        with self.server.faults.drop(self._place(fault), times=1 + fault.amount % 3):
            await self._lose(fault)

    async def hold(self, fault: Fault) -> None:
        """What comes is held, then goes on."""
        with self.server.faults.stall(self._place(fault)):
            await self._lose(fault)

    def _place(self, fault: Fault) -> str:
        return self._PLACES[fault.amount % len(self._PLACES)]

    async def _lose(self, fault: Fault) -> None:
        if fault.amount % 4:
            self.proxy.cut()
        await asyncio.sleep(fault.lasts)

    async def delay(self, fault: Fault) -> None:
        """Everything takes its time."""
        await self._during(fault, self.server.faults.delay(fault.amount / 100_000, None))

    async def freeze(self, fault: Fault) -> None:
        """Nothing is said on connections that are open."""
        await self._during(fault, self.server.faults.freeze())

    async def no_pings(self, fault: Fault) -> None:
        """The server forgets its pings."""
        await self._during(fault, self.server.faults.stop_pings())

    async def split(self, fault: Fault) -> None:
        """Frames come in pieces."""
        await self._during(fault, self.server.faults.split(1 + fault.amount % 50))

    async def join(self, fault: Fault) -> None:
        """Several messages come in one frame."""
        await self._during(fault, self.server.faults.join(2 + fault.amount % 20))

    async def close_port(self, fault: Fault) -> None:
        """The server listens no more for a while."""
        with self.server.faults.close_port():
            await self._lose(fault)

    @staticmethod
    async def _during(fault: Fault, thing: ServerFault) -> None:
        with thing:
            await asyncio.sleep(fault.lasts)

    # At once

    async def end(self, fault: Fault) -> None:
        """Connections end without a Close message."""
        code = (1000, 1001, 1006, 1011)[fault.amount % 4]
        self.server.faults.cut(code=code, reset=fault.amount % 3 == 0)

    async def close(self, fault: Fault) -> None:
        """Connections end with one that lets clients come back."""
        error = REASON if fault.amount % 2 else None
        self.server.faults.close(error=error, allow_reconnect=True)

    async def abort(self, fault: Fault) -> None:
        """Connections end for good."""
        self.may_end = True
        self.server.faults.close(error=REASON if fault.amount % 2 else None)

    async def forget(self, fault: Fault) -> None:
        """The server knows nothing of its connections any more."""
        self.server.faults.forget()
        self.proxy.cut()  # else a later fault would bring that to light
        await asyncio.sleep(fault.lasts)

    async def restart(self, fault: Fault) -> None:
        """The server ends and comes back."""
        await self.server.faults.restart(fault.lasts, graceful=fault.amount % 2 == 0)
