"""A listening port that can refuse connections for a while, without losing the port to another process."""

from __future__ import annotations

import asyncio
import os
import socket
import struct
from typing import TYPE_CHECKING, Any

from .._guard.tasks import spawn

if TYPE_CHECKING:
    import ssl as ssl_module
    from collections.abc import Callable

_BACKLOG = 128
# The length of a socket address tells the IP version: in Python, an IPv4 address is a tuple of 2 members (host, port),
# an IPv6 address is a tuple of 4.
_IPV4_MEMBERS = 2


class TcpListener:
    """Listens for TCP connections on the running event loop. All methods are for that event loop only.

    Args:
        make_protocol: makes the asyncio protocol of each accepted connection.
        ssl: the TLS context of the server; `None` for plain TCP.
    """

    def __init__(
        self, make_protocol: Callable[[], asyncio.BaseProtocol], ssl: ssl_module.SSLContext | None = None
    ) -> None:
        self._make_protocol = make_protocol
        self._ssl = ssl
        self._addresses: list[Any] = []
        self._sockets: list[socket.socket] = []
        self._is_refusing = True
        self._servers: list[tuple[socket.socket, asyncio.Server]] = []
        self._serving: set[asyncio.Task[None]] = set()

    @property
    def port(self) -> int:
        """The port. After `open` with port 0, this is the free port that the operating system has chosen."""
        port: int = self._addresses[0][1]
        return port

    async def open(self, host: str, port: int) -> None:
        """Bind the port on all addresses of the host, and accept connections.

        Raises:
            OSError: the port cannot be bound, for example because another process uses it.
        """
        found = await asyncio.get_running_loop().getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )
        try:
            for *_, address in dict.fromkeys(found):
                # With port 0, the operating system chooses a free port for the first address of the host. Use this
                # port for the other addresses too: clients know only one port.
                self._bind((address[0], address[1] or (self._addresses and self.port) or 0, *address[2:]))
        except OSError as error:
            self._release()
            what = (error.strerror or str(error)).lower()
            raise OSError(error.errno, f"cannot listen on {host}:{port}: {what}") from error
        await self._serve(self._listen())

    def refuse(self) -> None:
        """Refuse new connections. Accepted connections stay open, and the port stays bound."""
        if not self._is_refusing:
            addresses = self._addresses
            self._release()
            for address in addresses:
                self._bind(address)

    def accept(self) -> None:
        """Accept new connections again. A connection that is made right after this call is not refused."""
        if self._is_refusing:
            _ = spawn(self._serve(self._listen()), "listener", self._serving)

    async def close(self) -> None:
        """Stop listening and release the port."""
        serving = list(self._serving)
        self._release()
        if serving:
            await asyncio.wait(serving)

    def _bind(self, address: Any) -> None:
        """Bind a socket without listening: no other process can take the port, and connections to it are refused."""
        family = socket.AF_INET6 if len(address) > _IPV4_MEMBERS else socket.AF_INET
        bound = socket.socket(family, socket.SOCK_STREAM)
        self._sockets.append(bound)
        if os.name == "posix":
            bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            bound.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        bound.bind(address)
        self._addresses.append(bound.getsockname())

    def _listen(self) -> list[socket.socket]:
        """Listen on all sockets. The operating system queues new connections until `_serve` accepts them."""
        for bound in self._sockets:
            bound.listen(_BACKLOG)
        self._is_refusing = False
        return list(self._sockets)

    async def _serve(self, sockets: list[socket.socket]) -> None:
        loop = asyncio.get_running_loop()
        for bound in sockets:
            server = await loop.create_server(self._make_protocol, sock=bound, ssl=self._ssl, start_serving=False)
            self._servers.append((bound, server))
            await server.start_serving()

    def _release(self) -> None:
        for task in self._serving:
            task.cancel()
        for bound, server in self._servers:
            if not _accepts_no_more(bound):
                server.close()
        for bound in self._sockets:
            bound.close()
        self._servers, self._sockets, self._addresses = [], [], []
        self._is_refusing = True


def _accepts_no_more(bound: socket.socket) -> bool:
    """Let asyncio's event loop accept no further connection. Return false on other event loops.

    `Server.close` does more: asyncio then fails to make the transport of a connection that it has just accepted, keeps
    the socket, and the client waits for ever.
    """
    loop = asyncio.get_running_loop()
    return isinstance(loop, asyncio.SelectorEventLoop) and loop.remove_reader(bound)


def drop_tcp(transport: asyncio.WriteTransport | None, *, reset: bool) -> None:
    """Close a TCP connection at once, without sending the data that is still buffered.

    Args:
        transport: asyncio's transport of the connection; for `None` the function does nothing.
        reset: close with RST, which is an error for the peer. Otherwise close with FIN, as if the process was killed.
    """
    # Do not check the type with `isinstance`: the transports of uvloop do not derive from those of asyncio, and would
    # never be closed.
    if transport is None:
        return
    own = transport.get_extra_info("socket")
    if reset and own is not None and own.fileno() >= 0:
        own.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    transport.abort()
