"""TCP in memory: the links between sockets, and the conditions of the network.

A `Link` has two ends, which are mostly `SimulatedSocket`s, and a `Path` in each direction. A path carries segments in
order, each after a delay of its own. The conditions of the network (`Conditions`) say what happens to the segments of
all links. Names of system calls, options and errors are those of Linux.
"""

from __future__ import annotations

import asyncio
import enum
import errno
import hashlib
import os
import socket
from collections import deque
from typing import TYPE_CHECKING, Final, Protocol, TypeAlias

import attrs

if TYPE_CHECKING:
    import random
    from collections.abc import Callable

    from ..fault_proxy import Direction
    from .sockets import SimulatedSocket

    Address: TypeAlias = tuple[str, int]

UP: Final[Direction] = "up"
DOWN: Final[Direction] = "down"
# Two segments of a path never arrive at the same time: the timers of an event loop that are due at the same time run in
# any order.
_GAP: Final = 1e-7
# A system sends a lost segment again after so many seconds, and then each time after twice as many.
_RETRANSMISSION: Final = 0.2
# A system gives up a segment that is not acknowledged after so many seconds (`net.ipv4.tcp_retries2`).
_UNACKNOWLEDGED_LIMIT: Final = 924.6
# Seconds after which a system sends the first packet of a connection again; the last of them is the end.
_CONNECT_RETRIES: Final = (1.0, 3.0, 7.0, 15.0, 31.0, 63.0, 127.0)
_FIRST_PORT: Final = 32768
ALL_HOSTS: Final = "0.0.0.0"
_FIRST_FILE: Final = 1_000_000


class Mark(enum.Enum):
    """A segment without data that ends a direction or a whole connection."""

    FIN = "fin"
    RST = "rst"


Segment: TypeAlias = "bytes | Mark"


def system_error(number: int) -> OSError:
    """Return the exception for an error number, of the class that the system's calls raise."""
    return OSError(number, os.strerror(number))


@attrs.define(eq=False)
class Flow:
    """The conditions in one direction, of all links together.

    Attributes:
        is_stalled: whether a proxy on the way holds all data. The proxy acknowledges the data to the sender.
        is_hole: whether all packets vanish. Systems send them again, so that a connection outlives a short hole.
        left: how many bytes may pass until a link is cut; `None` for no limit.
        reset: whether that link is cut with RST.
    """

    is_stalled: bool = False
    is_hole: bool = False
    left: int | None = None
    reset: bool = False

    @property
    def is_blocked(self) -> bool:
        """Whether segments have to wait."""
        return self.is_stalled or self.is_hole


class Conditions:
    """What the network does to connections and segments, and the record of what the network has carried.

    Args:
        chance: decides by the seed of the network.
        latency: the shortest and the longest delay of a segment, in seconds.
        split: how likely a segment arrives in two pieces, from 0 to 1.

    Attributes:
        loop: the event loop. Set before the first socket is made.
        flows: the conditions in each direction.
        is_refusing: whether new connections are refused.
        names_fail: whether no name has an address.
        links: the links that have an open end, by number.
        listeners: the sockets that listen, by address.
        connections: how many links there have been.
        trace: called with each line of the record; `None` to keep only the hash of the record.
    """

    loop: asyncio.AbstractEventLoop

    def __init__(self, chance: random.Random, *, latency: tuple[float, float], split: float) -> None:
        self.chance: random.Random = chance
        self.latency: tuple[float, float] = latency
        self.split: float = split
        self.flows: dict[Direction, Flow] = {UP: Flow(), DOWN: Flow()}
        self.is_refusing: bool = False
        self.names_fail: bool = False
        self.links: dict[int, Link] = {}
        self.listeners: dict[Address, SimulatedSocket] = {}
        self.connections: int = 0
        self.trace: Callable[[str], object] | None = None
        self._hash = hashlib.sha256()
        self._addresses: dict[str, str] = {}
        self._last_port = _FIRST_PORT
        self._last_file = _FIRST_FILE

    def delay(self) -> float:
        """Return the delay of the next segment. Most delays are near the shortest one."""
        shortest, longest = self.latency
        return shortest + (longest - shortest) * self.chance.random() ** 3

    def pieces(self, segment: Segment) -> tuple[Segment, ...]:
        """Return the pieces in which a segment arrives."""
        if isinstance(segment, bytes) and len(segment) > 1 and self.chance.random() < self.split:
            at = self.chance.randrange(1, len(segment))
            return segment[:at], segment[at:]
        return (segment,)

    def note(self, what: str, data: bytes = b"") -> None:
        """Add a line to the record."""
        line = f"{self.loop.time()!r} {what} {len(data)}\n"
        self._hash.update(line.encode())
        self._hash.update(data)
        if self.trace is not None:
            self.trace(line)

    @property
    def fingerprint(self) -> str:
        """The hash of the record: equal for two runs that have carried the same bytes at the same times."""
        return self._hash.hexdigest()

    def address_of(self, host: str) -> str:
        """Return the address of a host. Every name has one: the first that is asked for has 10.0.0.1.

        Raises:
            socket.gaierror: names have no addresses at present.
        """
        if host in ("localhost", ""):
            return "127.0.0.1"
        try:
            socket.inet_aton(host)
        except OSError:
            if self.names_fail:
                raise socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution") from None
            number = len(self._addresses) + 1
            return self._addresses.setdefault(host, f"10.{number >> 16}.{number >> 8 & 255}.{number & 255}")
        return host

    def free_port(self) -> int:
        """Return a port that was never used."""
        self._last_port += 1
        return self._last_port

    def next_file(self) -> int:
        """Return a file number that no file of the system has."""
        self._last_file += 1
        return self._last_file

    # Connections

    def listener_at(self, address: Address) -> SimulatedSocket | None:
        """Return the socket that listens on an address, or on its port of all hosts."""
        return self.listeners.get(address) or self.listeners.get((ALL_HOSTS, address[1]))

    def link(self, client: End, served: End) -> None:
        """Make a link between two ends."""
        self.connections += 1
        self.note(f"{self.connections} connect")
        self.links[self.connections] = Link(self, self.connections, client, served)

    async def reach(self) -> None:
        """Return when the first packets of a connection have passed in both directions.

        Raises:
            TimeoutError: no packet has arrived in time.
        """
        loop = self.loop
        began = loop.time()
        for retry in _CONNECT_RETRIES:
            if not any(flow.is_hole for flow in self.flows.values()):
                await asyncio.sleep(self.delay() + self.delay())
                return
            await asyncio.sleep(began + retry - loop.time())
        raise system_error(errno.ETIMEDOUT)

    # Faults

    def all_links(self) -> list[Link]:
        """Return the links, oldest first."""
        return list(self.links.values())

    def block(self, direction: Direction, *, stall: bool = False, hole: bool = False) -> None:
        """Hold the segments of a direction, or let them vanish."""
        flow = self.flows[direction]
        flow.is_stalled |= stall
        if hole and not flow.is_hole:
            flow.is_hole = True
            for link in self.all_links():
                link.watch()

    def unblock(self, direction: Direction, *, stall: bool = False, hole: bool = False) -> None:
        """Let the segments of a direction pass again, beginning with those that were held."""
        flow = self.flows[direction]
        flow.is_stalled &= not stall
        flow.is_hole &= not hole
        for link in self.all_links():
            link.release(direction)


class End(Protocol):
    """What a link asks of its two ends."""

    @property
    def is_open(self) -> bool:
        """Whether the application has not closed this end."""

    @property
    def keep_alive_limit(self) -> float | None:
        """Seconds after which the system gives an idle connection up whose peer is gone; `None` for never."""

    def attach(self, link: Link, path: Path) -> None:
        """Note the link, and the path to the other end."""

    def receive(self, segment: Segment) -> None:
        """Take a segment from the network."""

    def fail(self, number: int) -> None:
        """Let the system end the connection with an error, given by its number."""


class Health(enum.Enum):
    """What a link does with segments: it carries them, swallows them, or answers them with RST."""

    UP = "up"
    LOST = "lost"
    CUT = "cut"


class Link:
    """A TCP connection.

    Args:
        net: the conditions of the network.
        number: the number of the link, in the record.
        client: the end that has connected.
        served: the end that was accepted.
    """

    def __init__(self, net: Conditions, number: int, client: End, served: End) -> None:
        self.number: int = number
        self.health: Health = Health.UP
        self.ends: tuple[End, End] = (client, served)
        self._net = net
        self._give_up: dict[End, asyncio.TimerHandle] = {}
        self.paths: dict[Direction, Path] = {
            UP: Path(net, self, UP, client, served),
            DOWN: Path(net, self, DOWN, served, client),
        }
        client.attach(self, self.paths[UP])
        served.attach(self, self.paths[DOWN])

    def cut(self, *, reset: bool) -> None:
        """End both directions at once. Segments that are under way are lost."""
        if self.health is Health.UP:
            self._net.note(f"{self.number} cut {reset}")
            self.health = Health.CUT
            for end in self.ends:
                end.receive(Mark.RST if reset else Mark.FIN)

    def lose(self) -> None:
        """Let the link die without a word."""
        if self.health is Health.UP:
            self._net.note(f"{self.number} lost")
            self.health = Health.LOST
            self.watch()

    def watch(self) -> None:
        """Let the systems of both ends find out, after a long time, that nothing passes any more."""
        for end in self.ends:
            if end.is_open:
                unacknowledged = self.paths[UP if end is self.ends[0] else DOWN].unacknowledged
                self.give_up_after(_UNACKNOWLEDGED_LIMIT if unacknowledged else end.keep_alive_limit, end)

    def give_up_after(self, seconds: float | None, end: End) -> None:
        """Let the system of an end give the link up so late at most, unless the link works again; `None` for never."""
        if seconds is None:
            return
        before, when = self._give_up.get(end), self._net.loop.time() + seconds
        if before is None or when < before.when():
            if before is not None:
                before.cancel()
            self._give_up[end] = self._net.loop.call_at(when, self._give_up_now, end)

    def _give_up_now(self, end: End) -> None:
        del self._give_up[end]
        end.fail(errno.ETIMEDOUT)

    def release(self, direction: Direction) -> None:
        """Let the held segments pass, if nothing blocks the direction any more."""
        self.paths[direction].release()
        if self.health is Health.UP and not any(flow.is_hole for flow in self._net.flows.values()):
            for path in self.paths.values():
                path.acknowledge_late()
            self._stop_timers()

    def _stop_timers(self) -> None:
        for timer in self._give_up.values():
            timer.cancel()
        self._give_up.clear()

    def closed(self, end: End) -> None:
        """Note that the application has closed this end."""
        if (timer := self._give_up.pop(end, None)) is not None:
            timer.cancel()
        if not any(each.is_open for each in self.ends):
            self._net.links.pop(self.number, None)


class Path:
    """One direction of a link.

    Args:
        net: the conditions of the network.
        link: the link.
        direction: the direction.
        source: the end that sends.
        target: the end that receives.

    Attributes:
        unacknowledged: segments that were sent and are not acknowledged.
        acknowledged_at: when the last acknowledgement came, in the event loop's time.
    """

    def __init__(self, net: Conditions, link: Link, direction: Direction, source: End, target: End) -> None:
        self.unacknowledged: int = 0
        self.acknowledged_at: float = net.loop.time()
        self._net = net
        self._loop = net.loop
        self._link = link
        self._name = f"{link.number} {direction}"
        self._flow = net.flows[direction]
        self._back = net.flows[DOWN if direction == UP else UP]
        self._source, self._target = source, target
        self._due = 0.0
        # Segments that are held, and whether each was acknowledged.
        self._held: deque[tuple[Segment, bool]] = deque()
        self._held_since = 0.0
        # Segments that have arrived, and whose acknowledgement has vanished.
        self._late = 0

    def send(self, segment: Segment) -> None:
        """Send a segment. It arrives after the segments before it."""
        if self._link.health is Health.CUT:
            if isinstance(segment, bytes):
                self._loop.call_later(self._net.delay(), self._source.receive, Mark.RST)
            return
        if self._link.health is Health.LOST:
            self.unacknowledged += 1
            self._link.give_up_after(_UNACKNOWLEDGED_LIMIT, self._source)
            return
        for piece in self._net.pieces(segment):
            self.unacknowledged += 1
            self._loop.call_at(self._next_due(0.0), self._arrive, piece)

    def _next_due(self, extra: float) -> float:
        self._due = max(self._due + _GAP, self._loop.time() + extra + self._net.delay())
        return self._due

    def _arrive(self, segment: Segment) -> None:
        if self._link.health is Health.UP:
            if self._held or self._flow.is_blocked:
                self._hold(segment)
            else:
                self._pass(segment, is_acknowledged=False)

    def _hold(self, segment: Segment) -> None:
        if self._flow.is_hole and segment is Mark.RST:
            # A system sends RST once. The peer learns of the end when it sends data.
            self.unacknowledged -= 1
            return
        if not self._held:
            self._held_since = self._loop.time()
        is_acknowledged = not self._flow.is_hole
        if is_acknowledged:
            self._acknowledge()
        self._held.append((segment, is_acknowledged))

    def release(self) -> None:
        """Let the held segments pass soon, if nothing blocks the direction any more."""
        if self._held and not self._flow.is_blocked:
            waits = 0.0
            if not self._held[0][1]:
                # The segments vanished, and pass when the system sends them again.
                now, again, step = self._loop.time(), self._held_since, _RETRANSMISSION
                while again < now:
                    again, step = again + step, 2 * step
                waits = again - now
            self._loop.call_at(self._next_due(waits), self._flush)

    def _flush(self) -> None:
        if self._flow.is_blocked:
            return
        held, self._held = self._held, deque()
        for segment, is_acknowledged in held:
            if self._link.health is Health.UP:
                self._pass(segment, is_acknowledged=is_acknowledged)

    def _pass(self, segment: Segment, *, is_acknowledged: bool) -> None:
        if not is_acknowledged:
            self._acknowledge()
        flow = self._flow
        if flow.left is None or not isinstance(segment, bytes):
            self._deliver(segment)
        elif len(segment) < flow.left:
            flow.left -= len(segment)
            self._deliver(segment)
        else:
            last, flow.left = segment[: flow.left], None
            self._deliver(last)
            self._link.cut(reset=flow.reset)

    def _deliver(self, segment: Segment) -> None:
        if isinstance(segment, bytes):
            self._net.note(self._name, segment)
        else:
            self._net.note(f"{self._name} {segment.value}")
        self._target.receive(segment)

    def _acknowledge(self) -> None:
        if self._back.is_hole:
            self._late += 1
        else:
            self.unacknowledged -= 1
            self.acknowledged_at = self._loop.time()

    def acknowledge_late(self) -> None:
        """Let the acknowledgements that have vanished come now."""
        if self._late:
            self.unacknowledged -= self._late
            self._late = 0
            self.acknowledged_at = self._loop.time()
