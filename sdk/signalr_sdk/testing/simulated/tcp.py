"""TCP in memory: sockets, and the links between them.

A `Link` has two ends, which are `SimulatedSocket`s, and a `Path` in each direction. A path carries segments in order,
each after a delay of its own. The conditions of the network (`Conditions`) say what happens to the segments of all
links. Names of system calls, options and errors are those of Linux.
"""

from __future__ import annotations

import asyncio
import enum
import errno
import hashlib
import os
import socket
import struct
from collections import deque
from typing import TYPE_CHECKING, Any, Final, Protocol, TypeAlias

import attrs

if TYPE_CHECKING:
    import random
    from collections.abc import Callable

    from ..fault_proxy import Direction

    Address: TypeAlias = tuple[str, int]

UP: Final[Direction] = "up"
DOWN: Final[Direction] = "down"
# Two segments of a path never arrive at the same time: the timers of an event loop that are due at the same time run in
# any order.
_GAP: Final = 1e-7
# The buffers of both systems: so many bytes can be on their way before a sender has to wait for the receiver.
_WINDOW: Final = 256 * 1024
# A system sends a lost segment again after so many seconds, and then each time after twice as many.
_RETRANSMISSION: Final = 0.2
# A system gives up a segment that is not acknowledged after so many seconds (`net.ipv4.tcp_retries2`).
_UNACKNOWLEDGED_LIMIT: Final = 924.6
# Seconds after which a system sends the first packet of a connection again; the last of them is the end.
_CONNECT_RETRIES: Final = (1.0, 3.0, 7.0, 15.0, 31.0, 63.0, 127.0)
# Options of `SO_KEEPALIVE` that are not set: seconds until the first probe, seconds between probes, probes.
_KEEP_ALIVE: Final = (7200, 75, 9)
# The size and form of the beginning of Linux's `struct tcp_info`.
_TCP_INFO: Final = struct.Struct("8x13I")
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
        self.chance = chance
        self.latency = latency
        self.split = split
        self.flows: dict[Direction, Flow] = {UP: Flow(), DOWN: Flow()}
        self.is_refusing = False
        self.names_fail = False
        self.links: dict[int, Link] = {}
        self.listeners: dict[Address, SimulatedSocket] = {}
        self.connections = 0
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

    async def connect(self, client: SimulatedSocket, address: Address) -> None:
        """Connect a socket to the socket that listens on an address.

        Raises:
            ConnectionRefusedError: nobody listens there, or the network refuses connections.
            TimeoutError: no packet has arrived in time.
        """
        await self.reach()
        listener = self.listener_at(address)
        if self.is_refusing or listener is None:
            self.note("refused")
            raise ConnectionRefusedError(errno.ECONNREFUSED, f"Connect call failed {address!r}")
        served = SimulatedSocket(self)
        client.peer_address, served.own_address = address, address
        client.own_address = served.peer_address = ("127.0.0.1", self.free_port())
        client.peer, served.peer = served, client
        self.link(client, served)
        listener.take(served)

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
        self.number = number
        self.health = Health.UP
        self.ends = (client, served)
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
        self.unacknowledged = 0
        self.acknowledged_at = net.loop.time()
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


class SimulatedSocket(socket.socket):
    """A TCP socket without a file of the system. Only the event loop connects it, reads from it and writes to it.

    Args:
        net: the conditions of the network.

    Attributes:
        own_address: IP address and port of this end.
        peer_address: IP address and port of the other end; `None` before the socket is connected.
        peer: the other end.
        is_open: whether the application has not closed the socket.
        room: how many bytes can be sent before the receiver has to read.
        on_change: called when there is something new to read, or room to write.
    """

    def __init__(self, net: Conditions) -> None:
        # Do not call `super().__init__()`, which would open a file of the system.
        self.own_address: Address = (ALL_HOSTS, 0)
        self.peer_address: Address | None = None
        self.peer: SimulatedSocket | None = None
        self.is_open = True
        self.room = _WINDOW
        self.on_change: Callable[[], None] | None = None
        self._net = net
        self._number = net.next_file()
        self._options: dict[tuple[int, int], Any] = {}
        self._link: Link | None = None
        self._path: Path | None = None
        self._inbox: deque[Segment] = deque()
        self._error: OSError | None = None
        self._is_reset = self._has_sent_fin = False
        # Of a socket that listens: connections that nobody has accepted yet, and who accepts.
        self._waiting: deque[SimulatedSocket] | None = None
        self._accept: Callable[[SimulatedSocket], None] | None = None

    # What applications ask

    @property
    def family(self) -> socket.AddressFamily:
        """See `socket.socket.family`."""
        return socket.AF_INET

    @property
    def type(self) -> socket.SocketKind:
        """See `socket.socket.type`."""
        return socket.SOCK_STREAM

    @property
    def proto(self) -> int:
        """See `socket.socket.proto`."""
        return socket.IPPROTO_TCP

    def __repr__(self) -> str:
        return f"<SimulatedSocket {self._number} from {self.own_address} to {self.peer_address}>"

    def fileno(self) -> int:
        """See `socket.socket.fileno`."""
        return self._number if self.is_open else -1

    def setblocking(self, _flag: bool, /) -> None:
        """See `socket.socket.setblocking`."""

    def gettimeout(self) -> float | None:
        """See `socket.socket.gettimeout`."""
        return 0.0

    def setsockopt(self, level: int, name: int, value: Any, _size: int = 0, /) -> None:
        """See `socket.socket.setsockopt`."""
        self._options[level, name] = value

    def getsockopt(self, level: int, name: int, _size: int = 0, /) -> Any:
        """See `socket.socket.getsockopt`."""
        if (level, name) == (socket.IPPROTO_TCP, getattr(socket, "TCP_INFO", None)):
            self._check_open()
            return self._tcp_info()
        return self._options.get((level, name), 0)

    def _tcp_info(self) -> bytes:
        unacknowledged = since = 0
        if self._path is not None:
            unacknowledged = self._path.unacknowledged
            since = round(1000 * (self._net.loop.time() - self._path.acknowledged_at))
        return _TCP_INFO.pack(*[0] * 4, unacknowledged, *[0] * 7, min(since, 2**32 - 1))

    @property
    def keep_alive_limit(self) -> float | None:
        """Seconds after which the system gives an idle connection up whose peer is gone; `None` for never."""
        if not self._options.get((socket.SOL_SOCKET, socket.SO_KEEPALIVE)):
            return None
        names = ("TCP_KEEPIDLE", "TCP_KEEPINTVL", "TCP_KEEPCNT")
        first, step, probes = (
            self._options.get((socket.IPPROTO_TCP, getattr(socket, name, -1)), usual)
            for name, usual in zip(names, _KEEP_ALIVE, strict=True)
        )
        limit: float = first + step * probes
        return limit

    def getsockname(self) -> Address:
        """See `socket.socket.getsockname`."""
        return self.own_address

    def getpeername(self) -> Address:
        """See `socket.socket.getpeername`."""
        if self.peer_address is None:
            raise system_error(errno.ENOTCONN)
        return self.peer_address

    def shutdown(self, how: int, /) -> None:
        """See `socket.socket.shutdown`."""
        if self._path is None:
            raise system_error(errno.ENOTCONN)
        if how != socket.SHUT_RD:
            self.send_fin()

    def bind(self, address: Any, /) -> None:
        """See `socket.socket.bind`."""
        host, port = address[:2]
        if port and self._net.listener_at((host, port)) is not None:
            raise system_error(errno.EADDRINUSE)
        self.own_address = (host, port or self._net.free_port())

    def listen(self, _backlog: int = 0, /) -> None:
        """See `socket.socket.listen`."""
        self._check_open()
        if self.own_address in self._net.listeners:
            raise system_error(errno.EADDRINUSE)
        self._waiting = deque()
        self._net.listeners[self.own_address] = self

    def close(self) -> None:
        """See `socket.socket.close`."""
        if not self.is_open:
            return
        self.is_open = False
        if self._waiting is not None:
            del self._net.listeners[self.own_address]
            for served in self._waiting:
                served.send_reset()
                served.close()
        if self._path is not None and self._link is not None:
            if self._lingers or any(isinstance(segment, bytes) for segment in self._inbox):
                self.send_reset()  # as asked, or because the peer must know that nobody reads its data
            elif not self._is_reset:
                self.send_fin()
            self._link.closed(self)
        self._inbox.clear()
        self.on_change = None

    def detach(self) -> int:
        """See `socket.socket.detach`."""
        raise system_error(errno.EOPNOTSUPP)

    def _check_open(self) -> None:
        if not self.is_open:
            raise system_error(errno.EBADF)

    # What links ask

    def attach(self, link: Link, path: Path) -> None:
        """Note the link whose end this socket is, and the path to the other end."""
        self._link, self._path = link, path

    def receive(self, segment: Segment) -> None:
        """Take a segment from the network."""
        if self.is_open:
            self._inbox.append(segment)
            if self.on_change is not None:
                self.on_change()
        elif isinstance(segment, bytes) and not self._is_reset:
            self.send_reset()

    def fail(self, number: int) -> None:
        """Let the system end the connection with an error."""
        if self.is_open:
            self._error = system_error(number)
            self._inbox.append(Mark.RST)
            if self.on_change is not None:
                self.on_change()

    # What the event loop asks

    @property
    def is_listening(self) -> bool:
        """Whether clients can connect to the socket."""
        return self._waiting is not None and self.is_open

    def accept_with(self, accept: Callable[[SimulatedSocket], None] | None) -> None:
        """Call this function for each connection from now on, also for those that wait; `None` lets them wait."""
        self._accept = accept
        while self._waiting and accept is not None:
            accept(self._waiting.popleft())

    def take(self, served: SimulatedSocket) -> None:
        """Take a connection of a client, as a socket that listens."""
        assert self._waiting is not None
        self._waiting.append(served)
        self.accept_with(self._accept)

    def read(self) -> bytes | None:
        """Return the next piece of data, `b""` at the end, or `None` if there is nothing to read now.

        Raises:
            OSError: the connection was reset or given up.
        """
        if not self._inbox:
            return None
        segment = self._inbox.popleft()
        if isinstance(segment, bytes):
            if self.peer is not None:
                self.peer.give_room(len(segment))
            return segment
        if segment is Mark.RST:
            self._is_reset = True
            raise self._error or system_error(errno.ECONNRESET)
        return b""

    def write(self, data: bytes) -> int:
        """Send as many bytes as there is room for; return their number.

        Raises:
            OSError: the connection was reset or given up.
        """
        if Mark.RST in self._inbox or self._is_reset:
            raise self._error or system_error(errno.ECONNRESET)
        assert self._path is not None
        part = data[: self.room]
        if part:
            self.room -= len(part)
            self._path.send(part)
        return len(part)

    def give_room(self, count: int) -> None:
        """Note that the receiver has read so many bytes."""
        self.room += count
        if self.on_change is not None:
            self.on_change()

    def send_fin(self) -> None:
        """End this direction."""
        if not self._has_sent_fin and self._path is not None:
            self._has_sent_fin = True
            self._path.send(Mark.FIN)

    def send_reset(self) -> None:
        """End the connection with an error for the peer."""
        if not self._is_reset and self._path is not None:
            self._is_reset = True
            self._path.send(Mark.RST)

    @property
    def _lingers(self) -> bool:
        """Whether `close` is to reset the connection: `SO_LINGER` with a time of 0."""
        return self._options.get((socket.SOL_SOCKET, socket.SO_LINGER)) == struct.pack("ii", 1, 0)
