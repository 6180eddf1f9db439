"""A client that sets up each connection (join, then snapshot), and a policy whose waits only `reconnect()` ends."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from signalr_sdk import ConnectionClosedError, ConnectionState, Retry, RetryContext, SignalRError

if TYPE_CHECKING:
    import random
    from collections.abc import Iterable

    from tests.interop.hub_server import ServerEvent

    from signalr_sdk import HubConnection

    from .invariants import Invariants

_SNAPSHOT = 3  # events
# Of a set-up that fails by itself.
_FAILING = 0.1
# Seconds, longer than the patience of all runs: a wait that nobody ends breaks an invariant.
_LONG = 100_000.0
_HURRY = 3.0


class SetUps:
    """The set-up of each connection of a client.

    The invariants: a connection is set up once; no call of others reaches the hub before; the events of the snapshot
    come to the iterator of the set-up, in order, and to nobody else; an event that came during the set-up also comes to
    the handlers, after the set-up.

    Attributes:
        first_tick: the first tick that the set-up has seen on the latest connection; `None` if it saw no tick.
    """

    def __init__(self, hub: HubConnection, invariants: Invariants, chance: random.Random, longest: float) -> None:
        self.first_tick: int | None = None
        self._hub = hub
        self._invariants = invariants
        self._chance = chance
        self._longest = longest
        self._number = 0
        self._begun: set[str | None] = set()
        self._done: set[str] = set()
        hub.on_setup(self._set_up)

    async def _set_up(self, connection_id: str | None) -> None:
        self._invariants.counts["set-ups begun"] += 1
        if connection_id in self._begun:
            self._invariants.fail(f"{connection_id} was set up twice")
        self._begun.add(connection_id)
        self.first_tick = None
        try:
            await self._join(connection_id)
        except (ConnectionClosedError, OSError):
            raise
        except Exception as error:
            self._invariants.fail(f"the set-up ended with {error!r}")
            raise
        self._invariants.counts["set-ups"] += 1

    async def _join(self, connection_id: str | None) -> None:
        async with self._hub.messages("tick") as ticks:
            await self._hub.invoke("Record", f"joins {connection_id}")
            await asyncio.sleep(self._chance.uniform(0.0, self._longest))
            if self._chance.random() < _FAILING:
                raise OSError("this set-up fails")
            await self._snapshot()
            with suppress(TimeoutError):
                (tick,) = await ticks.next(0.0)
                self.first_tick = int(tick)
        await self._hub.invoke("Record", f"is set up {connection_id}")

    async def _snapshot(self) -> None:
        self._number += 1
        name = f"snapshot {self._number}"
        async with self._hub.messages(name) as events:
            await self._hub.invoke("Flood", name, _SNAPSHOT, 10)
            got: list[Any] = []
            for _ in range(_SNAPSHOT):
                with suppress(TimeoutError):
                    got.append((await events.next(0.0))[0])
        if got != [*range(_SNAPSHOT)]:
            self._invariants.fail(f"{name} had the events {got}")

    def check_order(self, events: Iterable[ServerEvent]) -> None:
        """Check what the hub has recorded since the last call."""
        for event in events:
            if event.kind != "recorded" or event.detail is None:
                continue
            what, _, connection_id = event.detail.rpartition(" ")
            if what in ("joins", "is set up"):
                if connection_id != event.connection_id:
                    self._invariants.fail(f"the set-up of {connection_id} called on {event.connection_id}")
                if what == "is set up":
                    self._done.add(event.connection_id)
            elif event.connection_id not in self._done:
                self._invariants.fail(f"'{event.detail}' came before the set-up of {event.connection_id} was over")


class HurriedPolicy:
    """Waits for ever, but has `reconnect()` called once in each wait. Gives up when `Retry` does."""

    def __init__(self, chance: random.Random) -> None:
        self.hub: HubConnection | None = None
        self._chance = chance
        self._usual = Retry()
        self._tasks: set[asyncio.Task[None]] = set()

    def next_delay(self, context: RetryContext, /) -> float | None:
        """See `RetryPolicy`."""
        if self._usual.next_delay(context) is None:
            return None
        asyncio.get_running_loop().call_later(self._chance.choice([0.0, 0.0, self._chance.random() * _HURRY]), self._go)
        return _LONG

    def _go(self) -> None:
        assert self.hub is not None
        if self.hub.state in (ConnectionState.CONNECTING, ConnectionState.RECONNECTING):
            task = asyncio.create_task(self._hurry(self.hub), name="hurry")
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    @staticmethod
    async def _hurry(hub: HubConnection) -> None:
        with suppress(SignalRError, OSError):  # the connection has ended meanwhile
            await hub.reconnect()
