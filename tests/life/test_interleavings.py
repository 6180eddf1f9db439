"""start, stop, loss, cut and cancellation in the same turns of the event loop, in every order that a seed says."""

from __future__ import annotations

import asyncio
import random
from typing import Any

import pytest
from tests.doubles import LeapingLoop
from tests.scripted import ScriptedServer, ScriptedSocket

from signalr_sdk import ConnectionState, Retry, SignalRError, Timeouts

NORMAL, ALL = 300, 10_000


class Interleaving:
    """One random order of events, on an event loop without waiting."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        self.server = ScriptedServer()
        self.hub = self.server.hub(
            reconnect=self.random.choice([Retry.delays(0, 0.1), False]),
            retry_start=self.random.choice([Retry.delays(0, 0.1), False]),
            timeouts=Timeouts(close=1.0, ready=1.0, handshake=1.0, server=5.0),
        )
        self.closed = 0
        self.up = 0
        self.hub.on_connected(self._note_up)
        self.hub.on_closed(self._note_closed)
        self.calls: list[asyncio.Task[Any]] = []
        self.sockets: list[ScriptedSocket] = []
        self.schedule: list[str] = []

    def _note_up(self, _id: str | None) -> None:
        self.up += 1

    def _note_closed(self, _error: Exception | None) -> None:
        self.closed += 1

    async def accept(self) -> None:
        while True:
            socket = await self.server.sockets.get()
            self.sockets.append(socket)
            socket.say({})  # before the request has come: no turn is lost

    def step(self) -> None:
        hub, choose = self.hub, self.random.choice
        what = choose(["start", "start", "stop", "invoke", "flush", "wait", "cut", "loss", "close", "cancel", "cancel"])
        self.schedule.append(what)
        match what:
            case "start":
                self.calls.append(asyncio.create_task(hub.start()))
            case "stop":
                self.calls.append(asyncio.create_task(hub.stop()))
            case "invoke":
                self.calls.append(asyncio.create_task(hub.invoke("Never", timeout=choose([0.0, 1.0, None]))))
            case "flush":
                self.calls.append(asyncio.create_task(hub.flush()))
            case "wait":
                self.calls.append(asyncio.create_task(hub.wait_connected(1.0)))
            case "cancel" if self.calls:
                choose(self.calls).cancel()
            case "cut" if self.sockets:
                self.sockets[-1].vanish()
            case "loss" if self.sockets:
                self.sockets[-1].closed.set()  # writing fails, reading does not
            case "close" if self.sockets:
                self.sockets[-1].say({"type": 7, "allowReconnect": choose([True, False])})

    async def play(self) -> None:
        accept = asyncio.create_task(self.accept())
        for _ in range(self.random.randint(2, 12)):
            self.step()
            for _ in range(self.random.choice([0, 0, 0, 1, 2, 3, 5, 8, 13, 21])):
                await asyncio.sleep(0)
        await self.end()
        accept.cancel()
        await asyncio.wait({accept})
        assert asyncio.all_tasks() == {asyncio.current_task()}

    async def end(self) -> None:
        for _ in range(3):  # somebody who waited for the old connection may start it again
            await self.hub.stop()
            await asyncio.sleep(0.1)
        _done, pending = await asyncio.wait(self.calls, timeout=30) if self.calls else (set(), set())
        assert not pending, "a call never ends"
        for call in self.calls:
            assert call.cancelled() or call.exception() is None or isinstance(call.exception(), SignalRError | OSError)
        assert self.hub.state is ConnectionState.DISCONNECTED
        assert all(socket.closed.is_set() for socket in self.sockets)
        assert self.up == 0 or self.closed > 0


def _play(seed: int) -> None:
    interleaving: list[Interleaving] = []

    async def whole() -> None:
        interleaving.append(Interleaving(seed))
        await interleaving[0].play()

    try:
        with asyncio.Runner(loop_factory=LeapingLoop) as runner:
            runner.run(whole())
    except BaseException as error:
        error.add_note(f"seed {seed}: {interleaving[0].schedule}")
        raise


def test_some_interleavings() -> None:
    for seed in range(NORMAL):
        _play(seed)


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_many_interleavings() -> None:
    for seed in range(NORMAL, ALL):
        _play(seed)
