"""Classic ASP.NET SignalR: many losses of all kinds under a steady broadcast and calls.

`CLASSIC_LOSSES=300` makes so many losses on each transport; a run of the whole suite makes a few.
"""

from __future__ import annotations

import asyncio
import os
import random
from collections import Counter
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import attrs
import pytest
from tenacity import wait_fixed

from signalr_sdk import ConnectionClosedError, NotConnectedError, Retry, Timeouts, Transport
from signalr_sdk.classic import HubConnection

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.interop.classic_server import ClassicServer

LOSSES = int(os.environ.get("CLASSIC_LOSSES", "10"))
SOON = Retry(wait=wait_fixed(0.05))
# Silence after which a muted server counts as lost, in seconds.
SILENCE = 1.0


@attrs.define
class Run:
    """A connection under a steady broadcast and calls."""

    server: ClassicServer
    connection: HubConnection
    gate: asyncio.Event
    sent: int = 0
    received: list[int] = attrs.field(factory=list)
    calls: Counter[str] = attrs.field(factory=Counter)
    events: Counter[str] = attrs.field(factory=Counter)
    identities: list[str | None] = attrs.field(factory=list)
    gone: asyncio.Event = attrs.field(factory=asyncio.Event)
    back: asyncio.Event = attrs.field(factory=asyncio.Event)

    def __attrs_post_init__(self) -> None:
        connection = self.connection
        hub = connection.hub("testHub")
        hub.on("number", self.received.append)
        hub.on_any(lambda _name, _arguments: None)
        connection.on_setup(lambda _id: hub.invoke("Join", "g"))
        connection.on_connected(self.identities.append)
        connection.on_reconnecting(lambda _error: self.gone.set())
        connection.on_reconnected(self._note_back)

    def _note_back(self, _identity: str | None) -> None:
        self.events.update(["reconnected"])
        self.back.set()

    async def broadcast(self) -> None:
        """Send numbers to the group without end."""
        while True:
            await self.server.broadcast("number", self.sent, group="g")
            self.sent += 1

    async def call(self) -> None:
        """Call a hub method without end. Each call ends once."""
        hub = self.connection.hub("testHub")
        number = 0
        while True:
            number += 1
            try:
                assert await hub.invoke("Add", number, 1, timeout=20) == number + 1
                self.calls.update(["result"])
            except (ConnectionClosedError, NotConnectedError) as error:
                self.calls.update([type(error).__name__])

    async def lose(self, how: str) -> None:
        """Lose the transport once, and wait until the connection is back."""
        self.back.clear()
        if how in ("reset", "fin", "close", "refuse"):
            # A cut between two polls is no loss: cut again then.
            while not self.back.is_set():
                if await self._cut(how):
                    with suppress(TimeoutError):
                        await asyncio.wait_for(self.back.wait(), 3)
            return
        if how == "mute":
            self.gone.clear()
            self.gate.clear()
            await self.server.control("/mute", what="all")
            await asyncio.wait_for(self.gone.wait(), 30)
            await self.server.control("/mute", what="none")
            self.gate.set()
        else:
            await self.server.control("/restart", seconds=0.2, keys=how)
        await asyncio.wait_for(self.back.wait(), 30)

    async def _cut(self, how: str) -> bool:
        """Cut the connection. Return whether there was anything to cut."""
        if how != "refuse":
            return bool(await self.server.control("/drop", how=how))
        await self.server.control("/refuse", on=1)
        await asyncio.sleep(0.2)
        await self.server.control("/refuse", on=0)
        return True

    async def catch_up(self, number: int) -> None:
        """Wait until a number has arrived."""
        async with asyncio.timeout(30):
            while True:
                if self.received and self.received[-1] >= number:
                    return
                await asyncio.sleep(0.01)


async def _run(server: ClassicServer, transport: Transport, kinds: list[str], count: int) -> Run:
    choose = random.Random(7)
    gate = asyncio.Event()
    gate.set()

    async def token() -> None:
        """Let no transport be opened while the server is mute: what it believes to send over that would be lost."""
        await gate.wait()

    connection = HubConnection(
        server.url(),
        transports=transport,
        access_token=token,
        reconnect=SOON,
        # On a busy machine, the server may be silent for too long while the connection joins the group.
        retry_start=SOON,
        timeouts=Timeouts(server=SILENCE, ready=30),
    )
    run = Run(server, connection, gate)
    async with connection:
        working: list[asyncio.Task[Any]] = [asyncio.ensure_future(work) for work in (run.broadcast(), run.call())]
        try:
            for _ in range(count):
                await run.catch_up(run.sent + 1)
                await run.lose(choose.choice(kinds))
            await run.catch_up(run.sent + 1)
        finally:
            for task in working:
                task.cancel()
            ended = await asyncio.gather(*working, return_exceptions=True)
        assert {type(error) for error in ended} == {asyncio.CancelledError}
    assert run.calls["result"] > count
    return run


@pytest.mark.slow
@pytest.mark.timeout(60 + 3 * LOSSES)
@pytest.mark.parametrize("transport", list(Transport))
async def test_nothing_is_missing_or_comes_twice(
    start_classic_server: Callable[..., ClassicServer], transport: Transport
) -> None:
    # A poll that ends in good order, and a poll without an answer, are no losses.
    kinds = ["reset", "fin", "refuse", *(["close", "mute"] if transport is not Transport.LONG_POLLING else [])]
    server = start_classic_server("--buffer", "10000")
    run = await _run(server, transport, kinds, LOSSES)
    first = run.received[0]
    assert run.received == list(range(first, first + len(run.received)))
    assert len(run.identities) == 1
    assert run.events["reconnected"] >= LOSSES
    (identity,) = run.identities
    assert identity is not None
    # The log of the server keeps only the latest.
    assert (await server.events(identity)).count("connected") <= 1


@pytest.mark.slow
@pytest.mark.timeout(60 + 3 * LOSSES)
@pytest.mark.parametrize("transport", list(Transport))
async def test_servers_that_are_killed_and_replaced(
    start_classic_server: Callable[..., ClassicServer], transport: Transport
) -> None:
    """With the same keys the connection goes on, and its groups with it; with new ones another one follows."""
    server = start_classic_server("--buffer", "10000")
    run = await _run(server, transport, ["same", "same", "new", "reset"], LOSSES)
    assert run.received == sorted(set(run.received))
    assert run.events["reconnected"] >= LOSSES
    assert len(set(run.identities)) == len(run.identities) > 1
