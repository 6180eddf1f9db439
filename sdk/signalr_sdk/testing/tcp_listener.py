"""A port that can be closed and opened again, and is not free to others meanwhile."""

from __future__ import annotations

import asyncio
import os
import socket
import struct
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import ssl as ssl_module
    from collections.abc import Callable

_BACKLOG = 128
# Members of an IPv4 address; those of IPv6 have more.
_SHORT = 2


class Listener:
    """Listens on the running event loop.

    Args:
        make: makes the protocol of each connection.
        ssl: for TLS.
    """

    def __init__(self, make: Callable[[], asyncio.BaseProtocol], ssl: ssl_module.SSLContext | None = None) -> None:
        self._make = make
        self._ssl = ssl
        self._addresses: list[Any] = []
        self._sockets: list[socket.socket] = []
        self._refuses = True
        self._servers: list[asyncio.Server] = []
        self._opening: set[asyncio.Task[None]] = set()

    @property
    def port(self) -> int:
        """The port."""
        port: int = self._addresses[0][1]
        return port

    async def open(self, host: str, port: int) -> None:
        """Listen.

        Raises:
            OSError: it cannot, because the port is in use for example.
        """
        found = await asyncio.get_running_loop().getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )
        try:
            for *_, address in dict.fromkeys(found):
                # All of a name's addresses get the same port.
                self._hold((address[0], address[1] or (self._addresses and self.port) or 0, *address[2:]))
        except OSError as error:
            self._let_go()
            what = (error.strerror or str(error)).lower()
            raise OSError(error.errno, f"cannot listen on {host}:{port}: {what}") from error
        await self._serve(self._listen())

    def refuse(self) -> None:
        """Refuse connections; those that are there stay."""
        if not self._refuses:
            addresses = self._addresses
            self._let_go()
            for address in addresses:
                self._hold(address)

    def accept(self) -> None:
        """Take connections again, from this moment on."""
        if self._refuses:
            task = asyncio.create_task(self._serve(self._listen()), name="listener")
            self._opening.add(task)
            task.add_done_callback(self._opening.discard)

    async def close(self) -> None:
        """Listen no more and let go of the port."""
        opening = list(self._opening)
        self._let_go()
        if opening:
            await asyncio.wait(opening)

    def _hold(self, address: Any) -> None:
        """Bind a socket that does not listen yet: it keeps the port, and who connects is refused."""
        family = socket.AF_INET6 if len(address) > _SHORT else socket.AF_INET
        bound = socket.socket(family, socket.SOCK_STREAM)
        self._sockets.append(bound)
        if os.name == "posix":
            bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            bound.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        bound.bind(address)
        self._addresses.append(bound.getsockname())

    def _listen(self) -> list[socket.socket]:
        """Let the system take connections: they wait until the event loop serves them."""
        for bound in self._sockets:
            bound.listen(_BACKLOG)
        self._refuses = False
        return list(self._sockets)

    async def _serve(self, sockets: list[socket.socket]) -> None:
        loop = asyncio.get_running_loop()
        for bound in sockets:
            server = await loop.create_server(self._make, sock=bound, ssl=self._ssl, start_serving=False)
            self._servers.append(server)
            await server.start_serving()

    def _let_go(self) -> None:
        for task in self._opening:
            task.cancel()
        for server in self._servers:
            server.close()
        for bound in self._sockets:
            bound.close()
        self._servers, self._sockets, self._addresses = [], [], []
        self._refuses = True


def cut(transport: asyncio.BaseTransport | None, *, reset: bool) -> None:
    """Drop a TCP connection at once.

    Args:
        transport: its transport, if there is one.
        reset: by RST, so that the peer gets an error; else by FIN, as a process that is killed.
    """
    if not isinstance(transport, asyncio.Transport):
        return
    own = transport.get_extra_info("socket")
    if reset and own is not None and own.fileno() >= 0:
        own.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    transport.abort()
