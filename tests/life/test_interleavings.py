"""start, set-up, reconnect, stop, loss, cut and cancellation in the same turns of the event loop.

In every order that a seed says.
"""

from __future__ import annotations

import asyncio
import random
from typing import TYPE_CHECKING, Any

import pytest
from tests.doubles import LeapingLoop
from tests.scripted import ScriptedServer, ScriptedSocket

from signalr_sdk import ConnectionState, Retry, SignalRError, Timeouts

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

NORMAL, ALL = 300, 10_000
STEPS = (
    *("start", "start", "stop", "reconnect", "reconnect", "invoke", "flush", "wait", "cut", "loss", "close"),
    *("cancel", "cancel"),
)


class Interleaving:
    """One random order of events, on an event loop without waiting."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        self.server = ScriptedServer()
        self.set_up = self.random.random() < 0.5
        self.hub = self.server.hub(
            reconnect=self.random.choice([Retry.delays(0, 0.1), False]),
            retry_start=self.random.choice([Retry.delays(0, 0.1), False]),
            timeouts=Timeouts(close=1.0, ready=1.0, handshake=1.0, server=5.0, setup=2.0),
        )
        if self.set_up:
            self.hub.on_setup(self._log_in)
        self.closed = 0
        self.up = 0
        self.hub.on_connected(self._note_up)
        self.hub.on_closed(self._note_closed)
        self.calls: list[asyncio.Task[Any]] = []
        self.sockets: list[ScriptedSocket] = []
        self.schedule: list[str] = []
        self.servers: list[asyncio.Task[None]] = []
        self.early: list[str] = []

    def _note_up(self, _id: str | None) -> None:
        self.up += 1

    def _note_closed(self, _error: Exception | None) -> None:
        self.closed += 1

    async def _log_in(self, _connection_id: str | None) -> None:
        what = self.random.choice(["invoke", "invoke", "send", "fail", "stop"])
        self.schedule.append(f"set-up: {what}")
        match what:
            case "invoke":
                await self.hub.invoke("LogIn")
            case "send":
                await self.hub.send("LogIn")
            case "stop":
                await self.hub.stop()
            case _:
                raise OSError("no")

    async def accept(self) -> None:
        while True:
            socket = await self.server.sockets.get()
            self.sockets.append(socket)
            socket.say({})  # before the request has come: no turn is lost
            if self.set_up:
                self.servers.append(asyncio.create_task(self._serve(socket)))

    async def _serve(self, socket: ScriptedSocket) -> None:
        """Answer the call of the set-up, which must be the first one."""
        await socket.next()
        call = await socket.next()
        if call["type"] == 7:
            return
        if call["target"] != "LogIn":
            self.early.append(call["target"])
        if "invocationId" in call and self.random.random() < 0.7:
            socket.answer(call)

    def step(self) -> None:
        hub, choose = self.hub, self.random.choice
        calls: dict[str, Callable[[], Coroutine[Any, Any, Any]]] = {
            "start": hub.start,
            "stop": hub.stop,
            "reconnect": hub.reconnect,
            "invoke": lambda: hub.invoke("Never", timeout=choose([0.0, 1.0, None])),
            "flush": hub.flush,
            "wait": lambda: hub.wait_connected(1.0),
        }
        what = choose(STEPS)
        self.schedule.append(what)
        if what in calls:
            self.calls.append(asyncio.create_task(calls[what]()))
        match what:
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
        for task in (accept, *self.servers):
            task.cancel()
        await asyncio.wait({accept, *self.servers})
        assert not self.early, "a call came before the set-up had succeeded"
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
