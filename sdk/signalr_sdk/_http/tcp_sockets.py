"""The TCP sockets of a client of our own: keep-alive, and what Linux knows of their acknowledgements."""

from __future__ import annotations

import socket
import struct
import sys
import weakref
from contextlib import suppress
from typing import TYPE_CHECKING, Final

from .._core.path_watch import PathSample

if TYPE_CHECKING:
    from aiohttp import AddrInfoType

# `struct tcp_info` of Linux begins with eight bytes; 32-bit numbers follow.
_HEAD: Final = 8
_UNACKNOWLEDGED, _SINCE_ACK, _NUMBERS = 4, 12, 13
# The system asks an idle peer this often before it gives the connection up.
_PROBES: Final = 4


class TcpSockets:
    """All open sockets of one HTTP client.

    Args:
        timeout: seconds of silence of an idle peer's system after which the connection is lost; `None` for no probes.
    """

    def __init__(self, timeout: float | None) -> None:
        self._timeout = timeout
        self._sockets = weakref.WeakSet[socket.socket]()

    def make(self, address: AddrInfoType) -> socket.socket:
        """Return a new socket for an address, as aiohttp's `socket_factory`."""
        new = socket.socket(*address[:3])
        if self._timeout is not None:
            _keep_alive(new, self._timeout)
        self._sockets.add(new)
        return new

    def shut_down(self) -> None:
        """Let no socket wait for its peer any more."""
        for each in self._sockets:
            with suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)

    def samples(self) -> dict[int, PathSample]:
        """Return what the system knows of the path of each socket; nothing where the system does not tell."""
        found = {}
        if sys.platform == "linux":
            for each in self._sockets:
                with suppress(OSError):  # the socket is closed
                    size = _HEAD + 4 * _NUMBERS
                    info = each.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, size)
                    if len(info) == size:
                        numbers = struct.unpack_from(f"{_NUMBERS}I", info, _HEAD)
                        found[id(each)] = PathSample(numbers[_UNACKNOWLEDGED], numbers[_SINCE_ACK] / 1000)
        return found


def _keep_alive(new: socket.socket, timeout: float) -> None:
    """Have the system probe an idle peer, so that a forgotten connection is lost after about `timeout` seconds."""
    # The first probe after a third of the time; the others share the rest. Systems count whole seconds.
    first, step = max(1, round(timeout / 3)), max(1, round(timeout * 2 / 3 / _PROBES))
    options = {"TCP_KEEPIDLE": first, "TCP_KEEPALIVE": first, "TCP_KEEPINTVL": step, "TCP_KEEPCNT": _PROBES}
    with suppress(OSError):  # a socket of another family than TCP, or a system with fewer options
        new.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        for name, value in options.items():
            if hasattr(socket, name) and not (name == "TCP_KEEPALIVE" and hasattr(socket, "TCP_KEEPIDLE")):
                new.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)
