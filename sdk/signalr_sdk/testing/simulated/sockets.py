"""Sockets in memory: the ends of the links of `tcp`."""

from __future__ import annotations

import errno
import socket
import struct
from collections import deque
from typing import TYPE_CHECKING, Any, Final

from .tcp import ALL_HOSTS, Mark, system_error

if TYPE_CHECKING:
    from collections.abc import Callable

    from .tcp import Address, Conditions, Link, Path, Segment

# The buffers of both systems: so many bytes can be on their way before a sender has to wait for the receiver.
_WINDOW: Final = 256 * 1024
# Options of `SO_KEEPALIVE` that are not set: seconds until the first probe, seconds between probes, probes.
_KEEP_ALIVE: Final = (7200, 75, 9)
# The size and form of the beginning of Linux's `struct tcp_info`.
_TCP_INFO: Final = struct.Struct("8x13I")


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
        self.is_open: bool = True
        self.room: int = _WINDOW
        self.on_change: Callable[[], None] | None = None
        self._net = net
        self._number = net.next_file()
        self._options: dict[tuple[int, int], Any] = {}
        self._link: Link | None = None
        self._path: Path | None = None
        self._inbox: deque[Segment] = deque()
        self._error: OSError | None = None
        self._is_reset = self._has_sent_fin = False
        self._data_came_at = 0.0
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
        unacknowledged = since_data = since_ack = 0
        if self._path is not None:
            unacknowledged = self._path.unacknowledged
            since_data, since_ack = map(self._milliseconds_since, (self._data_came_at, self._path.acknowledged_at))
        return _TCP_INFO.pack(*[0] * 4, unacknowledged, *[0] * 6, since_data, since_ack)

    def _milliseconds_since(self, then: float) -> int:
        return min(round(1000 * (self._net.loop.time() - then)), 2**32 - 1)

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
        self._data_came_at = self._net.loop.time()

    def receive(self, segment: Segment) -> None:
        """Take a segment from the network."""
        if isinstance(segment, bytes):
            self._data_came_at = self._net.loop.time()
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

    async def connect_to(self, address: Address) -> None:
        """Connect to the socket that listens on an address.

        Raises:
            ConnectionRefusedError: nobody listens there, or the network refuses connections.
            TimeoutError: no packet has arrived in time.
        """
        net = self._net
        await net.reach()
        listener = net.listener_at(address)
        if net.is_refusing or listener is None:
            net.note("refused")
            raise ConnectionRefusedError(errno.ECONNREFUSED, f"Connect call failed {address!r}")
        served = SimulatedSocket(net)
        self.peer_address, served.own_address = address, address
        self.own_address = served.peer_address = ("127.0.0.1", net.free_port())
        self.peer, served.peer = served, self
        net.link(self, served)
        listener.take(served)

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
