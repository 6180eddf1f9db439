"""A TCP proxy that loses, holds and cuts what goes through it."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Literal, TypeAlias

from .loop_thread import LoopService
from .tcp_listener import Listener, cut

if TYPE_CHECKING:
    from collections.abc import Iterable

Direction: TypeAlias = Literal["up", "down"]
"""`"up"` is from the client to the server, `"down"` back."""

_BOTH: tuple[Direction, Direction] = ("up", "down")
# So much is read at once, and may wait at either end before nothing more is read.
_CHUNK = 64 * 1024


class FaultProxy(LoopService):
    """Forwards TCP connections to a server, and lets them go wrong.

    Use it in an `async with` on the running event loop, or in a plain `with`: then it runs in a thread of its own. All
    methods may be called from any thread.

    Args:
        port: of the server.
        host: of the server.
        listen_port: where clients come in; 0 for a free port. Always on the loopback interface.
        piece: forward in pieces of at most so many bytes, each written by itself; `None` for as it comes.

    Example:
        ```python
        async with FaultProxy(server.port) as proxy, HubConnection(proxy.url("/chat")) as hub:
            proxy.cut()
        ```
    """

    def __init__(self, port: int, host: str = "127.0.0.1", *, listen_port: int = 0, piece: int | None = None) -> None:
        super().__init__()
        if piece is not None and piece < 1:
            raise ValueError(f"piece must be at least 1, not {piece}")
        self._target = (host, port)
        self._port = listen_port
        self._piece = piece
        self._listener: Listener | None = None
        self._links: dict[asyncio.Task[None], _Link] = {}
        self._accepted = 0
        self._gates = {direction: _Gate() for direction in _BOTH}

    def url(self, path: str = "", scheme: str = "http") -> str:
        """Return the URL of a path behind the proxy.

        Args:
            path: with its slash.
            scheme: what the server speaks.
        """
        return f"{scheme}://127.0.0.1:{self.port}{path}"

    @property
    def port(self) -> int:
        """The port that it listens on."""
        return self._port

    @property
    def connections(self) -> int:
        """How many connections are open."""
        return len(self._links)

    @property
    def accepted(self) -> int:
        """How many connections there have been."""
        return self._accepted

    # Its life

    async def start(self) -> None:
        """Listen, on the running event loop.

        Raises:
            RuntimeError: it does already.
            OSError: it cannot, because the port is in use for example.
        """
        if self._listener is not None:
            raise RuntimeError("the proxy is started already")
        listener = Listener(self._protocol)
        await listener.open("127.0.0.1", self._port)
        self._loop = asyncio.get_running_loop()
        self._listener, self._port = listener, listener.port

    async def stop(self) -> None:
        """Listen no more and cut all connections."""
        listener, self._listener = self._listener, None
        if listener is None:
            return
        await listener.close()
        links = list(self._links)
        for link in links:
            link.cancel()
        if links:
            await asyncio.wait(links)
        self._loop = None

    def _protocol(self) -> asyncio.Protocol:
        reader = asyncio.StreamReader(limit=_CHUNK)
        return asyncio.StreamReaderProtocol(reader, self._connected)

    def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._accepted += 1
        link = _Link(reader, writer, self._gates, self._piece)
        task = asyncio.create_task(link.run(*self._target), name="proxied connection")
        self._links[task] = link
        task.add_done_callback(self._links.pop)

    # Faults

    def cut(self, *, reset: bool = False) -> int:
        """Cut all connections; return how many.

        Args:
            reset: by RST, which is an error to both ends; else by FIN.
        """
        return self._on_loop(lambda: self._cut_all(reset=reset))

    def _cut_all(self, *, reset: bool) -> int:
        links = list(self._links.items())
        for task, link in links:
            link.cut(reset=reset)
            task.cancel()
        return len(links)

    def cut_after(self, count: int, direction: Direction, *, reset: bool = False) -> None:
        """Cut a connection as soon as exactly so many bytes more have gone through, of all connections together.

        The receiver gets these bytes and then the end. This happens once.

        Args:
            count: bytes.
            direction: `"up"` or `"down"`.
            reset: by RST instead of FIN; what the receiver has not read yet may be lost then.
        """
        if count < 0:
            raise ValueError(f"count must not be negative, not {count}")
        gate = self._gate(direction)

        def arm() -> None:
            gate.left, gate.reset = count, reset
            if not count:
                gate.left = None
                self._cut_all(reset=reset)

        self._on_loop(arm)

    def stall(self, direction: Direction | None = None) -> None:
        """Let nothing through, also on new connections, and keep connections open.

        Args:
            direction: only `"up"` or `"down"`.
        """
        for gate in self._some(direction):
            self._on_loop(gate.close)

    def resume(self, direction: Direction | None = None) -> None:
        """Let everything through again; what was held comes first."""
        for gate in self._some(direction):
            self._on_loop(gate.open)

    def refuse(self) -> None:
        """Refuse new connections; those that are there stay. The port stays the proxy's."""
        if self._listener is not None:
            self._on_loop(self._listener.refuse)

    def accept(self) -> None:
        """Take connections again on the same port."""
        if self._listener is not None:
            self._on_loop(self._listener.accept)

    def _some(self, direction: Direction | None) -> Iterable[_Gate]:
        return self._gates.values() if direction is None else (self._gate(direction),)

    def _gate(self, direction: Direction) -> _Gate:
        if direction not in self._gates:
            raise ValueError(f"a direction is 'up' or 'down', not {direction!r}")
        return self._gates[direction]


class _Gate:
    """What goes through in one direction.

    Attributes:
        left: bytes until the line is cut; `None` for never.
        reset: how.
    """

    def __init__(self) -> None:
        self.left: int | None = None
        self.reset = False
        self._opened: list[asyncio.Future[None]] = []
        self._is_open = True

    def close(self) -> None:
        self._is_open = False

    def open(self) -> None:
        self._is_open = True
        opened, self._opened = self._opened, []
        for waiter in opened:
            if not waiter.done():
                waiter.set_result(None)

    async def passed(self) -> None:
        """Return when it is open."""
        while not self._is_open:
            waiter = asyncio.get_running_loop().create_future()
            self._opened.append(waiter)
            await waiter

    def take(self, data: bytes) -> tuple[bytes, bool]:
        """Return what goes through of the data, and whether the line is cut after it."""
        if self.left is None or len(data) < self.left:
            self.left = None if self.left is None else self.left - len(data)
            return data, False
        last, self.left = data[: self.left], None
        return last, True


class _Link:
    """One connection through the proxy.

    Args:
        reader: from the client.
        writer: to it.
        gates: the proxy's, by direction.
        piece: most bytes of a write.
    """

    def __init__(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        gates: dict[Direction, _Gate],
        piece: int | None,
    ) -> None:
        self._client = (reader, writer)
        self._writers = [writer]
        self._gates = gates
        self._piece = piece

    async def run(self, host: str, port: int) -> None:
        """Forward both ways until both ends have ended."""
        try:
            server = await asyncio.open_connection(host, port, limit=_CHUNK)
            self._writers.append(server[1])
            async with asyncio.TaskGroup() as group:
                group.create_task(self._forward(self._client[0], server[1], self._gates["up"]))
                group.create_task(self._forward(server[0], self._client[1], self._gates["down"]))
        except* OSError:
            self.cut(reset=True)
        finally:
            for writer in self._writers:
                writer.close()

    def cut(self, *, reset: bool) -> None:
        """Drop both ends."""
        for writer in self._writers:
            cut(writer.transport, reset=reset)

    async def _forward(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, gate: _Gate) -> None:
        # A write is done when all is with the operating system, so that nothing of it is lost by a cut.
        writer.transport.set_write_buffer_limits(0)
        step = self._piece or _CHUNK
        while data := await reader.read(_CHUNK):
            for begin in range(0, len(data), step):
                await gate.passed()
                piece, is_last = gate.take(data[begin : begin + step])
                writer.write(piece)
                await writer.drain()
                if is_last:
                    self.cut(reset=gate.reset)
                    raise ConnectionAbortedError
                if self._piece is not None:
                    await asyncio.sleep(0)  # whoever reads on this loop reads this piece alone
        await gate.passed()
        if not writer.is_closing():
            writer.write_eof()
