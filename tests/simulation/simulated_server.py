"""The test server on a simulated network, with the faults of both."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Any, Self

from aiohttp import web
from tests.faults.faulty_servers import HubServerFaults
from tests.faults.invariants import REASONS, BrokenError
from tests.python_server import HubRecord

from signalr_sdk import Transport
from signalr_sdk.testing import HubServer

from .seams import SeamServer

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.faults.schedule import Fault

    from signalr_sdk.testing import Identity
    from signalr_sdk.testing.fault_proxy import Direction
    from signalr_sdk.testing.simulated_network import SimulatedNetwork

HOST, FRONT = "hub.example", "front.example"
_REDIRECTED = "redirected"
# Some faults last longer than the server waits for a client.
_SILENT = (
    "Connection closed with an error. OperationCanceledException: Client hasn't sent a message/ping within the "
    "configured ClientTimeoutInterval."
)
_DIRECTIONS: tuple[Direction | None, ...] = (None, "up", "down")
# The server waits for a silent client until `client_timeout`, and for data to answer a poll until `poll_timeout`.
_SERVED_UNTIL = 100.0
# The system gives a connection up after 924 s without an acknowledgement. The server waits so long for a client of
# which it has seen no ping, as ASP.NET Core does.
_GIVEN_UP_AFTER = 1000.0
# aiohttp keeps an idle connection for an hour.
_IDLE_AFTER = 3000.0


class Front:
    """Another origin, which answers negotiate requests with a redirect to the server and a token for the server.

    Args:
        faults: the server.
        authorize: checks the tokens of this origin.

    Attributes:
        leaked: whether the server was shown a token of this origin.
    """

    def __init__(self, faults: SimulatedFaults, *, authorize: Callable[[str | None], Identity | None]) -> None:
        self.leaked = False
        self._faults = faults
        self._authorize = authorize
        self._runner: web.AppRunner | None = None

    async def start(self) -> None:
        """Listen."""
        app = web.Application()
        app.add_routes([web.post(f"{self._faults.path}/negotiate", self._negotiate)])
        self._runner = web.AppRunner(app, access_log=None)
        await self._runner.setup()
        await web.TCPSite(self._runner, FRONT, 80).start()

    async def stop(self) -> None:
        """Close everything."""
        if self._runner is not None:
            await self._runner.cleanup()

    async def _negotiate(self, request: web.Request) -> web.Response:
        if self._authorize(request.headers.get("Authorization", "").removeprefix("Bearer ")) is None:
            raise web.HTTPUnauthorized
        token = f"{_REDIRECTED}|{time.time() + self._faults.tokens.seconds}"
        return web.json_response({"url": self._faults.server.url(self._faults.path), "accessToken": token})

    def authorize_redirected(self, token: str | None) -> Identity | None:
        """Check a token that the server is shown."""
        self.leaked |= token is not None and not token.startswith(_REDIRECTED)
        return self._authorize(token)


class SimulatedFaults(HubServerFaults):
    """The test server on a network in memory, on the client's event loop. Started with `async with`.

    Args:
        network: the network.
        redirects: whether clients negotiate with another origin first, which redirects them to the server.
    """

    kinds = (
        *HubServerFaults.kinds, "lose_line", "lose_line", "hole", "hole", "hole_and_cut", "forget_names", "leap",
        "suspend", "slow",
    )  # fmt: skip
    reasons = REASONS | {_SILENT}

    def __init__(self, network: SimulatedNetwork, *, redirects: bool = False) -> None:
        record = HubRecord()
        # The buffer is small: the server waits for Acks soon, and a client that sends none is found out.
        options = self.served(record) | {"stateful_buffer": 10_000}
        self._network = network
        self._front = Front(self, authorize=options["authorize"]) if redirects else None
        if self._front is not None:
            options["authorize"] = self._front.authorize_redirected
        super().__init__(network, self._new_server(network, {**options, "host": HOST, "port": 80}), record)

    def _new_server(self, _network: SimulatedNetwork, options: dict[str, Any]) -> HubServer:
        return HubServer(**options)

    async def __aenter__(self) -> Self:
        await self.server.start()
        if self._front is not None:
            await self._front.start()
        return self

    async def __aexit__(self, *_error: object) -> None:
        if self._front is not None:
            await self._front.stop()
        await self.server.stop()

    @property
    def url(self) -> str:
        return self.server.url(self.path) if self._front is None else f"http://{FRONT}{self.path}"

    async def tick(self, number: int) -> None:
        if self._front is not None and self._front.leaked:
            raise BrokenError("a token of one origin was sent to another origin")
        await super().tick(number)

    async def wait_forgotten(self) -> None:
        server = self.server
        await asyncio.sleep(_SERVED_UNTIL)
        if len(server._in_use) > len(server._connections()):
            raise BrokenError(f"requests without a connection: {len(server._in_use)} of {len(server._connections())}")
        await asyncio.sleep(_GIVEN_UP_AFTER)
        if server._in_use or server._connections():
            raise BrokenError(f"connections of clients that are gone: {server._connections()}")
        await asyncio.sleep(_IDLE_AFTER)
        if self._network.connections:
            raise BrokenError(f"{self._network.connections} TCP connections are left")

    async def split(self, fault: Fault) -> None:
        """Send frames in pieces. Each piece of long polling takes a poll, so the pieces are longer there."""
        size = 1 + fault.amount % 50
        with self.server.faults.split(100 * size, transport=Transport.LONG_POLLING):
            await self._during(fault, self.server.faults.split(size))

    async def lose_line(self, fault: Fault) -> None:
        """Let all TCP connections die without a word."""
        self._network.lose_line()
        await asyncio.sleep(fault.lasts)

    async def hole(self, fault: Fault) -> None:
        """Let all packets vanish, in one direction or in both; systems send them again."""
        direction = _DIRECTIONS[fault.amount % 3]
        self._network.swallow(direction)
        try:
            await asyncio.sleep(fault.lasts)
        finally:
            self._network.restore(direction)

    async def hole_and_cut(self, fault: Fault) -> None:
        """Let all packets vanish; the first ones that pass again find no connection."""
        await self.hole(fault)
        self._network.cut(reset=True)

    async def forget_names(self, fault: Fault) -> None:
        """Let look-ups of names fail."""
        self._network.forget_names()
        try:
            self._network.cut()
            await asyncio.sleep(fault.lasts)
        finally:
            self._network.know_names()

    async def leap(self, fault: Fault) -> None:
        """Set the wall clock an hour or so forward or back."""
        self._network.leap(fault.amount - 5000)
        if self._front is not None:
            # The token of the redirect may have expired. Only another negotiation gives the client a new token, so that
            # a later fault could not be outlived.
            self._network.cut()

    async def suspend(self, fault: Fault) -> None:
        """Let the computer sleep, with client and server."""
        self._network.suspend(3 * fault.lasts)

    async def slow(self, fault: Fault) -> None:
        """Let segments take up to half a second."""
        with self._network.slow(0.05, 0.5):
            await asyncio.sleep(fault.lasts)


class SeamFaults(SimulatedFaults):
    """The test server below the seams, where links carry whole messages."""

    def _new_server(self, network: SimulatedNetwork, options: dict[str, Any]) -> HubServer:
        self.http = server = SeamServer(network._conditions, **options)
        return server

    async def cut_after(self, fault: Fault) -> None:
        """Cut at once: no message arrives in part."""
        await self.cut(fault)
