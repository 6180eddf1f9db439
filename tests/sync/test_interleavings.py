"""start, set-up, reconnect, stop, loss and cancellation by several threads at once, in orders that a seed says."""

from __future__ import annotations

import os
import random
import threading
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import pytest
from tests.users.seams import SEAMS, Server
from tests.users.wrongs import Chance

from signalr_sdk import ConnectionState, Retry, SignalRError, Timeouts
from signalr_sdk.sync import HubConnection

if TYPE_CHECKING:
    from collections.abc import Callable

# By hand: `INTERLEAVINGS=10000 pytest -m slow tests/sync/test_interleavings.py`, seven minutes.
STEPS = ("start", "start", "stop", "reconnect", "reconnect", "invoke", "send", "flush", "cut", "wait")
NORMAL, ALL = 25, int(os.environ.get("INTERLEAVINGS", "500"))


class Interleaving:
    """Three threads that start, stop, call and cut one connection at the same time."""

    def __init__(self, seed: int) -> None:
        self.seed = seed
        self.random = random.Random(seed)
        self.chance = Chance(seed, SEAMS)
        self.chance.rate = 0.0
        self.servers: list[Server] = []
        policy: Any = self.random.choice([Retry.delays(0, 0), False])
        self.hub = HubConnection(
            "http://hub.test/chat",
            http=self.client,
            reconnect=policy,
            timeouts=Timeouts(close=1.0, ready=0.2),
        )
        # The connection ids whose set-up is over, and the calls that came before.
        self.set_up: set[str] = set()
        self.early: list[object] = []
        if self.random.random() < 0.5:
            self.hub.on_setup(self.log_in)
        self.plans = [[self.random.choice(STEPS) for _ in range(6)] for _ in range(3)]

    def client(self) -> Server:
        server = Server(self.chance)
        server.called = self.called
        self.servers.append(server)
        return server

    def called(self, connection_id: str, message: dict[str, Any]) -> None:
        if message["target"] == "LogIn":
            self.set_up.add(connection_id)
        elif self.hub._hub._handlers.lifecycle and connection_id not in self.set_up:
            self.early.append(message)

    def log_in(self, _connection_id: str | None) -> None:
        self.hub.invoke("LogIn")

    def cut(self) -> None:
        loop = self.hub._hub._life.loop
        for server in self.servers:
            for peer in server.peers:
                if loop is not None:
                    loop.call_soon_threadsafe(peer.vanish)

    def act(self, plan: list[str]) -> None:
        hub = self.hub
        actions: dict[str, Callable[[], object]] = {
            "start": hub.start,
            "reconnect": hub.reconnect,
            "stop": hub.stop,
            "invoke": lambda: hub.invoke("Echo", 1, timeout=0.2),
            "send": lambda: hub.send("Log", 1),
            "flush": hub.flush,
            "wait": lambda: hub.wait_connected(0.05),
            "cut": self.cut,
        }
        for name in plan:
            with suppress(SignalRError, OSError, RuntimeError):
                actions[name]()

    def play(self) -> None:
        threads = [threading.Thread(target=self.act, args=(plan,), daemon=True) for plan in self.plans]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(20)
            assert not thread.is_alive(), f"a call never ends: seed {self.seed}, {self.plans}"
        self.hub.stop()
        assert self.hub.state is ConnectionState.DISCONNECTED
        assert not self.early


def test_some_interleavings() -> None:
    for seed in range(NORMAL):
        Interleaving(seed).play()


@pytest.mark.slow
@pytest.mark.timeout(3600)
def test_many_interleavings() -> None:
    for seed in range(NORMAL, ALL):
        Interleaving(seed).play()
