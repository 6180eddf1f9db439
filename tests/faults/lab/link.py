"""The link between client and server: a thread that carries each packet, or does not.

The kernel's own tool for bad links, `tc netem`, is not part of every kernel. This link is a program: it runs wherever
there are TUN devices, and a seed decides what happens to the first packet, to the second, and so on.
"""

from __future__ import annotations

import heapq
import os
import random
import select
import socket
import threading
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Final, Self

import attrs

from .packets import DESTINATION, SOURCE, Segment, is_segment, with_wrong_bit

if TYPE_CHECKING:
    from types import TracebackType

_LOOPBACK: Final = socket.inet_aton("127.0.0.1")
_LONGEST_PACKET: Final = 65_536
_AT_ONCE: Final = 64  # packets that are read from one side before it is the turn of the other side
_LATER: Final = (0.01, 0.06)  # seconds by which a packet is later than its followers


@attrs.define
class Way:
    """One direction of the link.

    Attributes:
        delay: seconds that a packet takes.
        jitter: seconds that a packet takes at most beside that.
        loss: share of the packets that are lost.
        late: share of the packets that arrive after their followers.
        doubled: share of the packets that arrive twice.
        corrupted: share of the packets in which one bit is wrong.
        largest: larger packets are lost, and nobody is told; `None` for no limit.
        is_dead: whether all packets are lost.
    """

    delay: float = 0.0
    jitter: float = 0.0
    loss: float = 0.0
    late: float = 0.0
    doubled: float = 0.0
    corrupted: float = 0.0
    largest: int | None = None
    is_dead: bool = False

    def loses(self, packet: bytes, chance: random.Random) -> bool:
        """Return whether the packet is lost."""
        too_large = self.largest is not None and len(packet) > self.largest
        return self.is_dead or too_large or chance.random() < self.loss

    def delays(self, chance: random.Random) -> list[float]:
        """Return for each copy of a packet how many seconds it takes."""
        copies = 2 if chance.random() < self.doubled else 1
        return [
            self.delay
            + (chance.uniform(0.0, self.jitter) if self.jitter else 0.0)
            + (chance.uniform(*_LATER) if chance.random() < self.late else 0.0)
            for _ in range(copies)
        ]


class Link:
    """Carries packets between two TUN devices, and is the router between them, with its table of connections.

    The server listens on 127.0.0.1 of its namespace. The router gives it the address to which clients connect.
    A first segment makes an entry in the router's table; all other packets without an entry are lost.

    Args:
        client: file descriptor of the client's TUN device, which does not block.
        server: file descriptor of the server's TUN device, which does not block.
        usual: delay of each way without a fault, in seconds.
        seed: decides the fate of the packets.

    Attributes:
        up: the way from the client to the server.
        down: the way from the server to the client.
        address: the server's present address.
        lost: how many packets the two ways have lost.
    """

    def __init__(self, client: int, server: int, *, usual: float, seed: int) -> None:
        self.up = self.down = Way()
        self.address = ""
        self.lost = 0
        self._usual = usual
        self._client, self._server = client, server
        self._chance = random.Random(seed)
        # Address and port of a client, and the server's address to which this client has connected.
        self._table: dict[tuple[bytes, int], bytes] = {}
        self._under_way: list[tuple[float, int, int, bytes]] = []
        self._count = 0
        self._thread = threading.Thread(target=self._carry, name="link", daemon=True)
        self._wake, self._waker = os.pipe()
        self.restore()

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        os.close(self._waker)  # the thread sees the end of the pipe
        self._thread.join()
        os.close(self._wake)

    # Faults

    def both(self, way: Way) -> None:
        """Make both ways like this one, with the usual delay beside its own."""
        self.up = self.down = attrs.evolve(way, delay=way.delay + self._usual)

    def restore(self) -> None:
        """End all faults of the ways."""
        self.both(Way())

    def forget(self) -> None:
        """Lose the table: the packets of all connections are lost from now on, and new connections work."""
        self._table.clear()

    # Packets

    def _carry(self) -> None:
        readable: list[int] = []
        while self._wake not in readable:
            for source in readable:
                self._read(source)
            self._deliver()
            wait = max(0.0, self._under_way[0][0] - time.monotonic()) if self._under_way else None
            readable, _, _ = select.select((self._wake, self._client, self._server), (), (), wait)

    def _read(self, source: int) -> None:
        with suppress(BlockingIOError):
            for _ in range(_AT_ONCE):
                packet = os.read(source, _LONGEST_PACKET)
                if is_segment(packet):
                    self._take(packet, is_up=source == self._client)

    def _take(self, packet: bytes, *, is_up: bool) -> None:
        routed = self._routed_up(packet) if is_up else self._routed_down(packet)
        way, to = (self.up, self._server) if is_up else (self.down, self._client)
        if routed is None:
            return
        if way.loses(routed, self._chance):
            self.lost += 1
            return
        if self._chance.random() < way.corrupted:
            routed = with_wrong_bit(routed, self._chance.random())
        now = time.monotonic()
        for delay in way.delays(self._chance):
            self._count += 1
            heapq.heappush(self._under_way, (now + delay, self._count, to, routed))

    def _routed_up(self, packet: bytes) -> bytes | None:
        segment = Segment(packet)
        address = segment.destination[0]
        if segment.opens and address == socket.inet_aton(self.address):
            self._table[segment.source] = address
        if self._table.get(segment.source) != address:
            return None
        return segment.readdressed(DESTINATION, _LOOPBACK)

    def _routed_down(self, packet: bytes) -> bytes | None:
        segment = Segment(packet)
        address = self._table.get(segment.destination)
        return None if address is None else segment.readdressed(SOURCE, address)

    def _deliver(self) -> None:
        now = time.monotonic()
        while self._under_way and self._under_way[0][0] <= now:
            _, _, to, packet = heapq.heappop(self._under_way)
            with suppress(OSError):  # the receiver's queue is full, or a wrong bit makes the packet invalid
                os.write(to, packet)
