"""A TCP proxy that a test cuts and stalls, and that can lead to several servers, one after another."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable


class TcpProxy:
    """A TCP proxy on a port of its own. Each new connection goes to the first target that accepts it.

    Attributes:
        targets: ports on 127.0.0.1.
        in_turn: whether each new connection goes to another target.
        accepted: how many connections were accepted.
        swallows: data is read in both directions and dropped; the writers notice nothing.
        stalls: nothing is read either, so that the writers have to wait at last.
    """

    def __init__(self, *targets: int) -> None:
        self.targets = list(targets)
        self.in_turn = False
        self.accepted = 0
        self.swallows = False
        self.port = 0
        self._open_again = asyncio.Event()
        self._open_again.set()
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._writers: set[asyncio.StreamWriter] = set()

    @property
    def stalls(self) -> bool:
        return not self._open_again.is_set()

    @stalls.setter
    def stalls(self, value: bool) -> None:
        (self._open_again.clear if value else self._open_again.set)()

    def url(self, path: str = "/hub") -> str:
        """Return the URL of a path of the server, through the proxy."""
        return f"http://127.0.0.1:{self.port}{path}"

    async def allow(self) -> None:
        """Accept connections, always on the same port after the first time."""
        self._server = await asyncio.start_server(self._connected, "127.0.0.1", self.port)
        self.port = self._server.sockets[0].getsockname()[1]

    def refuse(self) -> None:
        """Refuse new connections; open ones stay."""
        assert self._server is not None
        self._server.close()

    def cut(self) -> int:
        """Close all connections at once; return how many ends were closed."""
        cut, self._writers = self._writers, set()
        for writer in cut:
            writer.transport.abort()
        return len(cut)

    def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.accepted += 1
        task = asyncio.create_task(self._serve(reader, writer))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        ends = {writer}
        self._writers |= ends
        try:
            upstream = await self._upstream()
            ends.add(upstream[1])
            self._writers |= ends
            both = [asyncio.create_task(self._copy(*pair)) for pair in ((reader, upstream[1]), (upstream[0], writer))]
            try:
                # When one end closes, the other one is closed too.
                await asyncio.wait(both, return_when=asyncio.FIRST_COMPLETED)
            finally:
                for task in both:
                    task.cancel()
                await asyncio.wait(both)
        except OSError:
            pass  # no target accepts the connection: the client sees it end
        finally:
            for end in ends:
                end.transport.abort()
            self._writers -= ends

    async def _upstream(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        if self.in_turn:
            self.targets.append(self.targets.pop(0))
        for port in self.targets:
            with suppress(OSError):
                return await asyncio.open_connection("127.0.0.1", port)
        raise ConnectionError("no target takes connections")

    async def _copy(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError):
            while data := await reader.read(65536):
                await self._open_again.wait()
                if not self.swallows:
                    writer.write(data)
                    await writer.drain()

    async def close(self) -> None:
        """Close the proxy and all connections."""
        self.refuse()
        self.cut()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)


@asynccontextmanager
async def tcp_proxy_to(*targets: int) -> AsyncIterator[TcpProxy]:
    """Run a proxy to these ports."""
    wire = TcpProxy(*targets)
    await wire.allow()
    try:
        yield wire
    finally:
        await wire.close()


async def until(condition: Callable[[], object]) -> None:
    """Return when the condition is true, for conditions without an event. The time limit is that of the test."""
    while True:
        if condition():
            return
        await asyncio.sleep(0.005)
