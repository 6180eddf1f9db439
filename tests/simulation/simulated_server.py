"""The test server on a simulated network, with the faults of both."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from tests.faults.faulty_servers import HubServerFaults
from tests.faults.invariants import REASONS, BrokenError
from tests.python_server import HubRecord

from signalr_sdk import Transport
from signalr_sdk.testing import HubServer

from .seams import SeamServer

if TYPE_CHECKING:
    from tests.faults.schedule import Fault

    from signalr_sdk.testing.fault_proxy import Direction
    from signalr_sdk.testing.simulated_network import SimulatedNetwork

HOST = "hub.example"
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


class SimulatedFaults(HubServerFaults):
    """The test server on a network in memory, on the client's event loop.

    Args:
        network: the network.
    """

    kinds = (
        *HubServerFaults.kinds, "lose_line", "lose_line", "hole", "hole", "hole_and_cut", "forget_names", "leap",
        "suspend", "slow",
    )  # fmt: skip
    reasons = REASONS | {_SILENT}

    def __init__(self, network: SimulatedNetwork) -> None:
        record = HubRecord()
        super().__init__(network, self._new_server(network, record), record)
        self._network = network

    def _new_server(self, _network: SimulatedNetwork, record: HubRecord) -> HubServer:
        return HubServer(**self.served(record), host=HOST, port=80)

    @property
    def url(self) -> str:
        return self.server.url(self.path)

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

    async def suspend(self, fault: Fault) -> None:
        """Let the computer sleep, with client and server."""
        self._network.suspend(3 * fault.lasts)

    async def slow(self, fault: Fault) -> None:
        """Let segments take up to half a second."""
        with self._network.slow(0.05, 0.5):
            await asyncio.sleep(fault.lasts)


class SeamFaults(SimulatedFaults):
    """The test server below the seams, where links carry whole messages."""

    def _new_server(self, network: SimulatedNetwork, record: HubRecord) -> HubServer:
        self.http = server = SeamServer(network._conditions, **self.served(record), host=HOST, port=80)
        return server

    async def cut_after(self, fault: Fault) -> None:
        """Cut at once: no message arrives in part."""
        await self.cut(fault)
