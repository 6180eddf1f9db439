"""A scripted server that accepts every client by itself, and that a test takes down and brings back."""

from __future__ import annotations

import asyncio
import json
from typing import Self

from tests.scripted import NEGOTIATED, ScriptedServer, ScriptedSocket

from signalr_sdk.interfaces import HttpResponse


def now() -> float:
    """Return the time of the event loop."""
    return asyncio.get_running_loop().time()


async def settle(turns: int = 30) -> None:
    """Let all tasks run that are ready."""
    for _ in range(turns):
        await asyncio.sleep(0)


class Host:
    """A server that is up or down. While it is up, it accepts every client and keeps the connection open.

    Attributes:
        up: whether the server accepts connections.
        arrivals: when each negotiate request came, also while the server was down.
        taken: when each connection was accepted.
        hangs_up: whether each connection is ended right after its handshake.
    """

    def __init__(self) -> None:
        self.server = ScriptedServer()
        self.server.negotiate = self._negotiate
        self.up = True
        self.hangs_up = False
        self.arrivals: list[float] = []
        self.taken: list[float] = []
        self.sockets: list[ScriptedSocket] = []
        self._task: asyncio.Task[None] | None = None

    def _negotiate(self) -> HttpResponse:
        self.arrivals.append(now())
        if not self.up:
            raise ConnectionRefusedError("nobody listens")
        return HttpResponse(200, (), json.dumps(NEGOTIATED).encode())

    async def __aenter__(self) -> Self:
        self._task = asyncio.create_task(self._serve())
        return self

    async def __aexit__(self, *_error: object) -> None:
        assert self._task is not None
        self._task.cancel()
        await asyncio.wait({self._task})

    async def _serve(self) -> None:
        while True:
            socket = await self.server.sockets.get()
            await socket.shake_hands()
            self.taken.append(now())
            if self.hangs_up:
                socket.vanish()
            else:
                self.sockets.append(socket)

    def go_away(self, *, up: bool = False) -> None:
        """Drop all clients."""
        self.up = up
        dropped, self.sockets = self.sockets, []
        for socket in dropped:
            socket.vanish()
