"""The TCP sockets of the package's own HTTP client: keep-alive, and what Linux knows of acknowledgements."""

from __future__ import annotations

import socket
import struct
import sys
import weakref
from contextlib import suppress
from typing import Any, Final

from .._core.path_watch import PathSample

# The layout of Linux's `struct tcp_info`: eight bytes, then numbers of 32 bits. The first 13 numbers are read;
# `_UNACKNOWLEDGED` and `_SINCE_ACK` are the indexes of two of them.
_HEAD: Final = 8
_UNACKNOWLEDGED, _SINCE_ACK, _NUMBERS = 4, 12, 13
# The operating system probes an idle peer so many times without an answer before it gives the connection up.
_PROBES: Final = 4


class TcpSockets:
    """The open sockets of one HTTP client, with TCP keep-alive.

    Args:
        timeout: after so many seconds without an answer from an idle peer's system, the connection is lost; `None` for
            no probes.
    """

    def __init__(self, timeout: float | None) -> None:
        self._timeout = timeout
        self._sockets = weakref.WeakSet[socket.socket]()

    def make(self, address: tuple[int, int, int, str, tuple[Any, ...]]) -> socket.socket:
        """Return a new socket for an address. aiohttp calls this for each TCP connection, as its `socket_factory`."""
        new = socket.socket(*address[:3])
        if self._timeout is not None:
            _keep_alive(new, self._timeout)
        self._sockets.add(new)
        return new

    def shut_down(self) -> None:
        """Shut all sockets down both ways, so that closing them does not wait until the peer reads unsent data."""
        for each in self._sockets:
            with suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)

    def samples(self) -> dict[int, PathSample]:
        """Return by the `id` of each socket what the peer has not acknowledged. Empty on systems other than Linux."""
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
    """Let the operating system probe an idle peer: without answers, a connection is lost after about `timeout` s."""
    # Send the first probe after a third of the timeout, and divide the rest among the other probes. Systems count whole
    # seconds.
    first, step = max(1, round(timeout / 3)), max(1, round(timeout * 2 / 3 / _PROBES))
    options = {"TCP_KEEPIDLE": first, "TCP_KEEPALIVE": first, "TCP_KEEPINTVL": step, "TCP_KEEPCNT": _PROBES}
    with suppress(OSError):  # a socket of another family than TCP, or a system with fewer options
        new.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        for name, value in options.items():
            if hasattr(socket, name) and not (name == "TCP_KEEPALIVE" and hasattr(socket, "TCP_KEEPIDLE")):
                new.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)
