"""A server behind a bad network, with a method for each kind of fault."""

from __future__ import annotations

import asyncio
import math
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

from tests.faults.busy_client import TIMEOUTS
from tests.faults.faulty_servers import FaultyServer, Tokens
from tests.faults.invariants import POLL, BrokenError, now

from signalr_sdk._core.lifecycle import Event

from .link import Link, Way
from .namespaces import CLIENTS, HOST, SERVERS, Namespaces

if TYPE_CHECKING:
    from collections import Counter
    from collections.abc import Callable, Iterator

    from tests.faults.schedule import Fault
    from tests.interop.hub_server import ServerEvent

    from .hub_processes import HubProcess

# A loss must be noticed before all timeouts that can be part of it have passed one after the other, and so many seconds
# more: the machine may be busy.
_SLACK: Final = 20.0
NOTICED_WITHIN: Final = sum(
    limit or 0.0
    for limit in (TIMEOUTS.server, TIMEOUTS.request, TIMEOUTS.connect, TIMEOUTS.handshake, TIMEOUTS.close, _SLACK)
)
_LARGEST: Final = 600  # bytes that pass through the hole for large packets; a request to connect is shorter
_LARGE_ONE_WITHIN: Final = 10.0  # seconds; the traffic of a client may be of small packets only
# Seconds without a lost packet after which the line lives: as long as a client may take to notice, TCP sends a missing
# packet again within 12.8 s. It also sends data again that has arrived, if it hears of that late, in large packets.
_LIVES_AFTER: Final = 15.0
_LIVE = (Event.CONNECT_OK, Event.RESUMED)
LOSSES: Final = (Event.LOST, Event.LOST_RESUMABLE)


class LabServer(FaultyServer):
    """A server process behind the link.

    Args:
        start: starts a server process on a port, 0 for a free one.
        network: the namespaces of client and server.
        link: the link between them.

    Attributes:
        counts: how often each thing has happened to the client. Set this before the first fault.
    """

    kinds = (
        "loss", "reordering", "doubles", "corruption", "slow_line",
        "hole", "hole_up", "hole_down", "hole_for_large_packets", "hole_for_large_uploads",
        "table_lost", "address_changed", "killed", "vanished",
    )  # fmt: skip
    counts: Callable[[], Counter[str]]

    def __init__(self, start: Callable[[int], HubProcess], network: Namespaces, link: Link) -> None:
        # Without `super()`, which makes a proxy: the link is the network.
        self.tokens = Tokens()
        self.connection_id: str | None = None
        self.may_end = False
        self.generation = 0
        self._start = start
        self._network = network
        self._link = link
        self._process = start(0)
        self._seen_records = 0
        self._at = self._from = 0
        self._serve_at(0)

    def close(self) -> None:
        """End the process."""
        self._process.kill()

    @property
    def url(self) -> str:
        return f"http://{HOST}:{self._process.port}{self.path}"

    async def tick(self, number: int) -> None:
        await asyncio.to_thread(self._process.tick, number)

    async def new_records(self) -> list[ServerEvent]:
        records = await asyncio.to_thread(self._process.records)
        new, self._seen_records = records[self._seen_records :], len(records)
        return new

    # Faults that TCP repairs: they last a while

    async def loss(self, fault: Fault) -> None:
        """Lose one packet of seven."""
        await self._for_a_while(fault, Way(loss=0.15))

    async def reordering(self, fault: Fault) -> None:
        """Let one packet of four arrive after its followers."""
        await self._for_a_while(fault, Way(late=0.25))

    async def doubles(self, fault: Fault) -> None:
        """Let one packet of five arrive twice."""
        await self._for_a_while(fault, Way(doubled=0.2, late=0.1))

    async def corruption(self, fault: Fault) -> None:
        """Let one packet of ten arrive with a wrong bit."""
        await self._for_a_while(fault, Way(corrupted=0.1))

    async def slow_line(self, fault: Fault) -> None:
        """Let packets take up to 0.35 s, and overtake each other."""
        await self._for_a_while(fault, Way(delay=0.05, jitter=0.3))

    async def _for_a_while(self, fault: Fault, way: Way) -> None:
        self._link.both(way)
        try:
            await asyncio.sleep(fault.lasts)
        finally:
            self._link.restore()

    # Faults that are silent: they last until the client has noticed

    async def hole(self, fault: Fault) -> None:
        """Lose all packets."""
        with self._restored():
            self._link.both(Way(is_dead=True))
            await self._noticed(fault)

    async def hole_up(self, fault: Fault) -> None:
        """Lose all packets to the server."""
        with self._restored():
            self._link.up = Way(is_dead=True)
            await self._noticed(fault)

    async def hole_down(self, fault: Fault) -> None:
        """Lose all packets to the client."""
        with self._restored():
            self._link.down = Way(is_dead=True)
            await self._noticed(fault)

    async def hole_for_large_packets(self, fault: Fault) -> None:
        """Lose all large packets; no ICMP message says so."""
        with self._restored():
            self._link.both(Way(largest=_LARGEST))
            await self._large_one_noticed(fault)

    async def hole_for_large_uploads(self, fault: Fault) -> None:
        """Lose all large packets to the server, whose own packets arrive."""
        with self._restored():
            self._link.up = Way(largest=_LARGEST)
            await self._large_one_noticed(fault)

    async def _large_one_noticed(self, fault: Fault) -> None:
        """Wait until the client has noticed that a large packet is missing, if it sends or gets one."""
        losses, lost, until = self._losses(), self._link.lost, now() + _LARGE_ONE_WITHIN
        while self._link.lost == lost:
            if now() > until:
                return
            await asyncio.sleep(POLL)
        await self._noticed(fault, losses, _LIVES_AFTER)

    async def table_lost(self, fault: Fault) -> None:
        """Let the router lose its table: the packets of all TCP connections are lost, and new ones work."""
        self._link.forget()
        await self._noticed(fault)

    async def address_changed(self, fault: Fault) -> None:
        """Give the client another address, as when a phone changes from one network to another."""
        self._from = 1 - self._from
        self._network.set_client_address(CLIENTS[self._from])
        await self._noticed(fault)

    @contextmanager
    def _restored(self) -> Iterator[None]:
        try:
            yield
        finally:
            self._link.restore()

    async def _noticed(self, fault: Fault, before: int | None = None, lives_after: float = math.inf) -> None:
        """Wait until the client has noticed that its connection is lost.

        Args:
            fault: the fault, which lasts so much longer.
            before: the number of losses before the fault; by default the present one.
            lives_after: after so many seconds without a lost packet, there is nothing to notice.

        Raises:
            BrokenError: it does not in time.
        """
        before, began = self._losses() if before is None else before, now()
        packets, last = self._link.lost, began
        while self._is_live() and self._losses() == before:
            if packets != self._link.lost:
                packets, last = self._link.lost, now()
            if now() - last > lives_after:
                return
            if now() - began > NOTICED_WITHIN:
                raise BrokenError(f"after {NOTICED_WITHIN:g} s the client has not noticed that its line is dead")
            await asyncio.sleep(POLL)
        await asyncio.sleep(fault.lasts)

    def _losses(self) -> int:
        return sum(self.counts()[event.value] for event in LOSSES)

    def _is_live(self) -> bool:
        return sum(self.counts()[event.value] for event in _LIVE) > self._losses()

    # The server goes away

    async def killed(self, fault: Fault) -> None:
        """Kill the process, whose system ends its TCP connections, and start it at another address."""
        await self._move(fault)

    async def vanished(self, fault: Fault) -> None:
        """Let the server go without a word, as when its power fails, and start it at another address."""
        self._link.forget()
        await self._move(fault)

    async def _move(self, fault: Fault) -> None:
        port = self._process.port
        await asyncio.to_thread(self._process.kill)
        self.generation += 1
        await self._noticed(fault)
        self._serve_at(1 - self._at)
        self._process = await asyncio.to_thread(self._start, port)
        self._seen_records = 0

    def _serve_at(self, which: int) -> None:
        self._at = which
        self._link.address = SERVERS[which]
        self._network.names.lead_to(SERVERS[which])
