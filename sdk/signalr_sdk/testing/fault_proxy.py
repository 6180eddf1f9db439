"""`FaultProxy`: a TCP proxy that delays, cuts and refuses connections."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Literal, TypeAlias

import attrs

from .._guard.tasks import end_tasks, run_side_by_side, spawn
from .loop_thread import LoopService
from .tcp_listener import TcpListener, drop_tcp
from .waiters import Waiters

if TYPE_CHECKING:
    from collections.abc import Iterable

Direction: TypeAlias = Literal["up", "down"]
"""`"up"` is from the client to the server, `"down"` from the server to the client."""

_BOTH: tuple[Direction, Direction] = ("up", "down")
# The most bytes of one read, and the `limit` of each `StreamReader`: data that is held must not fill the memory.
_CHUNK = 64 * 1024


class FaultProxy(LoopService):
    """Forwards TCP connections to a server, and makes them fail when a test asks for that.

    Use the proxy in an `async with` on the running event loop, or in a plain `with`, which runs the proxy in a thread
    of its own. All methods but `start` and `stop` may be called from any thread.

    Args:
        port: port of the server.
        host: host of the server.
        listen_port: port for clients, on the loopback interface; 0 for a free one.
        piece: the most bytes of one write: longer data is forwarded in several writes; `None` for no limit.

    Example:
        ```python
        async with FaultProxy(server.port) as proxy, HubConnection(proxy.url("/chat")) as hub:
            proxy.cut()
        ```
    """

    _kind = "proxy"

    def __init__(self, port: int, host: str = "127.0.0.1", *, listen_port: int = 0, piece: int | None = None) -> None:
        super().__init__()
        if piece is not None and piece < 1:
            raise ValueError(f"piece must be at least 1, not {piece}")
        self._target = (host, port)
        self._port = listen_port
        self._piece = piece
        self._listener: TcpListener | None = None
        self._proxied: dict[asyncio.Task[None], _ProxiedConnection] = {}
        self._accepted = 0
        self._flows = {direction: _Flow() for direction in _BOTH}

    def url(self, path: str = "", scheme: str = "http") -> str:
        """Return the URL of a path of the server, through the proxy.

        Args:
            path: the path, with its slash.
            scheme: `http` or `https`, whichever the server speaks.
        """
        return f"{scheme}://127.0.0.1:{self.port}{path}"

    @property
    def port(self) -> int:
        """The port on which the proxy listens; before the first start, the `listen_port` that was given."""
        return self._port

    @property
    def connections(self) -> int:
        """How many connections of clients to the proxy are open."""
        return len(self._proxied)

    @property
    def accepted(self) -> int:
        """How many connections of clients were accepted since the proxy was made, including closed connections."""
        return self._accepted

    async def _open(self) -> None:
        listener = TcpListener(self._make_protocol)
        await listener.open("127.0.0.1", self._port)
        self._listener, self._port = listener, listener.port

    async def _close(self) -> None:
        listener, self._listener = self._listener, None
        if listener is not None:
            await listener.close()
        await end_tasks(set(self._proxied))

    def _make_protocol(self) -> asyncio.Protocol:
        reader = asyncio.StreamReader(limit=_CHUNK)
        return asyncio.StreamReaderProtocol(reader, self._connected)

    def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._accepted += 1
        proxied = _ProxiedConnection(reader, writer, flows=self._flows, piece=self._piece)
        task = spawn(proxied.run(*self._target), "proxied connection")
        self._proxied[task] = proxied
        task.add_done_callback(self._proxied.pop)

    # Tests call the methods below, from any thread, to make connections fail.

    def cut(self, *, reset: bool = False) -> int:
        """Close all connections; return the number of closed connections.

        Args:
            reset: close with RST, which is an error for both ends, instead of FIN.
        """
        return self._on_loop(lambda: self._cut_all(reset=reset))

    def _cut_all(self, *, reset: bool) -> int:
        all_proxied = list(self._proxied.items())
        for task, proxied in all_proxied:
            proxied.cut(reset=reset)
            task.cancel()
        return len(all_proxied)

    def lose_line(self) -> int:
        """Forward nothing more over the open connections, without closing them; return the number of these connections.

        Client and server keep their sockets open, and receive nothing more, not even the end of the connection. New
        connections work.
        """

        def lose_all() -> int:
            for proxied in self._proxied.values():
                proxied.is_dead = True
            return len(self._proxied)

        return self._on_loop(lose_all)

    def cut_after(self, count: int, direction: Direction, *, reset: bool = False) -> None:
        """Close one connection, once, when exactly `count` more bytes have passed in one direction.

        The bytes of all connections are counted together. The connection that forwards the last of these bytes is
        closed after it has forwarded them.

        Args:
            count: how many bytes; 0 closes all connections now.
            direction: count the bytes to the server (`"up"`) or to the client (`"down"`).
            reset: close with RST instead of FIN; the receiver may then lose bytes that it has not read yet.
        """
        if count < 0:
            raise ValueError(f"count must not be negative, not {count}")
        flow = self._flow(direction)

        def arm() -> None:
            flow.left, flow.reset = count, reset
            if not count:
                flow.left = None
                self._cut_all(reset=reset)

        self._on_loop(arm)

    def stall(self, direction: Direction | None = None) -> None:
        """Hold all data, also the data of new connections, but keep the connections open.

        Args:
            direction: hold only the data to the server (`"up"`) or to the client (`"down"`); both by default.
        """
        for flow in self._some(direction):
            self._on_loop(flow.stall)

    def resume(self, direction: Direction | None = None) -> None:
        """Forward data again after `stall`, beginning with the data that was held.

        Args:
            direction: only the data to the server (`"up"`) or to the client (`"down"`); both by default.
        """
        for flow in self._some(direction):
            self._on_loop(flow.resume)

    def refuse(self) -> None:
        """Refuse new connections. Open connections stay open, and no other process can take the port."""
        if self._listener is not None:
            self._on_loop(self._listener.refuse)

    def accept(self) -> None:
        """Accept connections again on the same port, after `refuse`."""
        if self._listener is not None:
            self._on_loop(self._listener.accept)

    def _some(self, direction: Direction | None) -> Iterable[_Flow]:
        return self._flows.values() if direction is None else (self._flow(direction),)

    def _flow(self, direction: Direction) -> _Flow:
        if direction not in self._flows:
            raise ValueError(f"a direction is 'up' or 'down', not {direction!r}")
        return self._flows[direction]


class _Flow:
    """All data through the proxy in one direction, to the server or to the client: whether it may pass, and how much.

    Attributes:
        left: how many bytes may pass until a connection is cut; `None` for no limit.
        reset: whether the connection is cut with RST.
    """

    def __init__(self) -> None:
        self.left: int | None = None
        self.reset = False
        self._is_stalled = False
        self._held = Waiters()

    def stall(self) -> None:
        self._is_stalled = True

    def resume(self) -> None:
        self._is_stalled = False
        self._held.wake()

    async def wait_resumed(self) -> None:
        """Wait while `stall` is in force for this direction; return when data may pass."""
        while self._is_stalled:
            await self._held.wait()

    def take(self, data: bytes) -> tuple[bytes, bool]:
        """Return a tuple of (part, is_last), and count the bytes of the part for `cut_after`.

        `part` is all of `data`, or its beginning if `cut_after` lets no more bytes pass. If `is_last` is true, close
        the connection after sending the part.
        """
        if self.left is None or len(data) < self.left:
            self.left = None if self.left is None else self.left - len(data)
            return data, False
        last, self.left = data[: self.left], None
        return last, True


@attrs.define(eq=False)
class _ProxiedConnection:
    """One connection of a client to the proxy, together with the proxy's own connection to the server.

    Attributes:
        reader: reads from the client.
        writer: writes to the client.
        flows: the proxy's two directions.
        piece: the most bytes of one write; `None` for no limit.
        is_dead: whether the line is lost: nothing is forwarded, not even the end of a connection.
    """

    _reader: asyncio.StreamReader
    _writer: asyncio.StreamWriter
    _flows: dict[Direction, _Flow] = attrs.field(kw_only=True)
    _piece: int | None = attrs.field(kw_only=True)
    _writers: list[asyncio.StreamWriter] = attrs.field(
        default=attrs.Factory(lambda self: [self._writer], takes_self=True), init=False
    )
    is_dead: bool = attrs.field(default=False, init=False)

    async def run(self, host: str, port: int) -> None:
        """Connect to the server, and forward data in both directions until client and server have closed."""
        try:
            reader, writer = await asyncio.open_connection(host, port, limit=_CHUNK)
            self._writers.append(writer)
            up = self._forward(self._reader, writer, self._flows["up"])
            down = self._forward(reader, self._writer, self._flows["down"])
            await run_side_by_side((up, down), "proxied direction")
        except OSError:
            self.cut(reset=True)
        finally:
            for writer in self._writers:
                writer.close()

    def cut(self, *, reset: bool) -> None:
        """Close the TCP connections to the client and to the server at once, and drop data that is not sent yet."""
        for writer in self._writers:
            drop_tcp(writer.transport, reset=reset)

    async def _forward(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, flow: _Flow) -> None:
        try:
            await self._forward_all(reader, writer, flow)
        except OSError:
            if not self.is_dead:
                raise
        if self.is_dead:
            # Wait for ever: otherwise `run` would close both connections, and client and server would learn that the
            # line is lost. `cut` or the end of the proxy cancels this task.
            await asyncio.get_running_loop().create_future()

    async def _forward_all(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, flow: _Flow) -> None:
        # With a limit of 0 for the write buffer, `drain` waits until the operating system has taken all data. With a
        # higher limit, `cut` could drop data that `cut_after` has let pass.
        writer.transport.set_write_buffer_limits(0)
        step = self._piece or _CHUNK
        while data := await reader.read(_CHUNK):
            for begin in range(0, len(data), step):
                await flow.wait_resumed()
                if self.is_dead:
                    break
                piece, is_last = flow.take(data[begin : begin + step])
                writer.write(piece)
                await writer.drain()
                if is_last:
                    self.cut(reset=flow.reset)
                    raise ConnectionAbortedError
                if self._piece is not None:
                    await asyncio.sleep(0)  # let a reader on this event loop get each piece alone
        await flow.wait_resumed()
        if not writer.is_closing() and not self.is_dead:
            writer.write_eof()
