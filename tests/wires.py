"""A line between client and server that a test cuts, stalls, takes away, or leads to another server."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable


class Wire:
    """A TCP proxy on a port of its own. Of several targets each new connection gets the first that takes it.

    Attributes:
        targets: ports on 127.0.0.1.
        in_turn: each new connection gets another target.
        accepted: how many connections came.
        swallows: what arrives is read and goes nowhere, in both directions; who writes notices nothing.
        stalls: nothing is read either, so that who writes is held up at last.
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
        """Return the URL of a path of the server, over this line."""
        return f"http://127.0.0.1:{self.port}{path}"

    async def allow(self) -> None:
        """Take connections, from the first time on at the same port."""
        self._server = await asyncio.start_server(self._connected, "127.0.0.1", self.port)
        self.port = self._server.sockets[0].getsockname()[1]

    def refuse(self) -> None:
        """Take no more connections; those that are there stay."""
        assert self._server is not None
        self._server.close()

    def cut(self) -> int:
        """Break all connections off; return how many ends that were."""
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
                # Either end closes both.
                await asyncio.wait(both, return_when=asyncio.FIRST_COMPLETED)
            finally:
                for task in both:
                    task.cancel()
                await asyncio.wait(both)
        except OSError:
            pass  # no target takes it: the client sees its connection end
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
        """End it all."""
        self.refuse()
        self.cut()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)


@asynccontextmanager
async def wire_to(*targets: int) -> AsyncIterator[Wire]:
    """Lay a line to these ports."""
    wire = Wire(*targets)
    await wire.allow()
    try:
        yield wire
    finally:
        await wire.close()


async def until(condition: Callable[[], bool]) -> None:
    """Return when it is true: for what nobody tells. The time limit of the test is the limit of this."""
    while True:
        if condition():
            return
        await asyncio.sleep(0.005)
