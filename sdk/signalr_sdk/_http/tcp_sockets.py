"""TCP sockets: keep-alive, how much is read at once, how much sent data is unacknowledged, how long nothing came."""

from __future__ import annotations

import socket
import struct
import sys
import weakref
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final

from .._core.path_watch import PathSample

if TYPE_CHECKING:
    import asyncio

# Where the fields that are used lie in Linux's `struct tcp_info`: `tcpi_retransmits`, `tcpi_unacked`,
# `tcpi_last_data_recv` and `tcpi_last_ack_recv` in ms, `tcpi_bytes_acked`. The last one is there since Linux 4.1.
_REPEATS: Final = struct.Struct("2xB")
_UNACKNOWLEDGED: Final = struct.Struct("24xI")
_SINCE_DATA: Final = struct.Struct("52xI")
_SINCE_ACK: Final = struct.Struct("56xI")
_ACKNOWLEDGED: Final = struct.Struct("120xQ")
# TCP keep-alive: the connection is lost after this number of probes in a row without an answer from the peer.
_PROBES: Final = 4
# Read at most 64 KB from a socket at once. asyncio's default is 256 KB, and glibc takes a block of that size from the
# operating system for each read, and gives the block back: this took a third of the time of a call over a WebSocket
# (tests/bench/end_to_end.py, "invoke, one after another"), and an eighth of the time of a POST.
_READ_AT_ONCE: Final = 64 * 1024


class TcpSockets:
    """The open sockets of one HTTP client, with TCP keep-alive.

    Args:
        timeout: seconds after which an idle connection is lost if the peer answers no TCP keep-alive probe; `None` for
            no TCP keep-alive.
    """

    def __init__(self, timeout: float | None) -> None:
        self._timeout = timeout
        # A dictionary, because a `WeakSet` would have the sockets in another order in each process.
        self._sockets = weakref.WeakKeyDictionary[socket.socket, None]()

    def make(self, address: tuple[int, int, int, str, tuple[Any, ...]]) -> socket.socket:
        """Return a new socket, not connected yet. aiohttp calls `make` for each connection (`socket_factory`)."""
        new = socket.socket(*address[:3])
        if self._timeout is not None:
            _keep_alive(new, self._timeout)
        self._sockets[new] = None
        return new

    def shut_down(self) -> None:
        """Shut all sockets down in both directions, so that closing them does not wait until unsent data is sent."""
        for each in self._sockets:
            with suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)

    def samples(self) -> dict[int, PathSample]:
        """Return a dict from `id(socket)` to a `PathSample`, which says how much the peer has not acknowledged.

        The dict is empty on systems other than Linux.
        """
        found = {}
        if sys.platform == "linux":
            for each in self._sockets:
                with suppress(OSError):  # the socket is closed
                    info = each.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _ACKNOWLEDGED.size)
                    if len(info) == _ACKNOWLEDGED.size:
                        found[id(each)] = _sample(info)
        return found


def read_less_at_once(transport: asyncio.BaseTransport) -> None:
    """Let asyncio read at most 64 KB at once from the socket of a transport."""
    if hasattr(transport, "max_size"):  # uvloop's transports have no `max_size`
        transport.max_size = _READ_AT_ONCE


def seconds_since_data(own: socket.socket) -> float | None:
    """Return the seconds since the last data came over a TCP socket; `None` if the operating system does not tell."""
    if sys.platform != "linux" or own.fileno() < 0:  # a closed socket of uvloop raises no OSError
        return None
    try:
        info = own.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _ACKNOWLEDGED.size)
    except OSError:  # no TCP socket
        return None
    (since_data,) = _SINCE_DATA.unpack_from(info)
    return float(since_data) / 1000


def _sample(info: bytes) -> PathSample:
    (repeats,) = _REPEATS.unpack_from(info)
    (unacknowledged,) = _UNACKNOWLEDGED.unpack_from(info)
    (since_ack,) = _SINCE_ACK.unpack_from(info)
    (acknowledged,) = _ACKNOWLEDGED.unpack_from(info)
    return PathSample(unacknowledged, since_ack / 1000, acknowledged, repeats)


def _keep_alive(new: socket.socket, timeout: float) -> None:
    """Let the operating system probe an idle peer: without answers, a connection is lost after about `timeout` s."""
    # The first probe is sent after a third of the timeout. The other two thirds are divided by `_PROBES`, which gives
    # the seconds from one probe to the next. Operating systems take only whole seconds.
    first, step = max(1, round(timeout / 3)), max(1, round(timeout * 2 / 3 / _PROBES))
    options = {"TCP_KEEPIDLE": first, "TCP_KEEPALIVE": first, "TCP_KEEPINTVL": step, "TCP_KEEPCNT": _PROBES}
    with suppress(OSError):  # a socket of another family than TCP, or a system with fewer options
        new.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        for name, value in options.items():
            if hasattr(socket, name) and not (name == "TCP_KEEPALIVE" and hasattr(socket, "TCP_KEEPIDLE")):
                new.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)
