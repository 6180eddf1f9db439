"""One run: a client in a world, a schedule of faults, and what is left when the client has stopped."""

from __future__ import annotations

import asyncio
import itertools
import os
import sys
import threading
from typing import TYPE_CHECKING, Self

import attrs
from tests.conftest import FILES, watched

from .client import Client, timers
from .ledger import BrokenError, Ledger, until

if TYPE_CHECKING:
    from collections import Counter
    from collections.abc import Iterable

    from tests.interop.conftest import Combination

    from .schedule import Fault
    from .worlds import World

_TICK = 0.03


@attrs.define
class Run:
    """What is to be done, and what was done so far.

    Attributes:
        combination: how the client travels.
        stateful: with stateful reconnect.
        seed: of the faults and the traffic.
        history: the faults that came.
        counts: what there was, by its name.
    """

    combination: Combination
    stateful: bool
    seed: int
    history: list[Fault] = attrs.field(factory=list)
    counts: Counter[str] | None = None

    async def through(self, world: World, faults: Iterable[Fault]) -> None:
        """Go through these faults.

        Raises:
            BrokenError: an invariant does not hold.
        """
        before = Remains.now()
        client = Client(world, self.combination, stateful=self.stateful, seed=self.seed)
        self.counts = client.ledger.counts
        try:
            async with asyncio.TaskGroup() as group:
                traffic = group.create_task(client.traffic(), name="traffic")
                others = [
                    group.create_task(client.live(), name="life"),
                    group.create_task(client.ledger.watch(), name="watch"),
                    group.create_task(_tick(world, client.ledger), name="ticks"),
                ]
                await client.works()
                await self._faults(world, client, faults)
                client.be_quiet()
                await client.works()
                await traffic
                for task in others:
                    task.cancel()
        except BaseExceptionGroup as group_error:
            raise _first(group_error) from group_error
        await client.stop()
        await self._check_end(client, before)

    async def _faults(self, world: World, client: Client, faults: Iterable[Fault]) -> None:
        for fault in faults:
            await asyncio.sleep(fault.pause)
            self.history.append(fault)
            client.ledger.counts["faults"] += 1
            if fault.kind == "stop":
                await client.stop()
            else:
                world.connection_id = client.hub.connection_id
                await world.do(fault)
            client.ledger.check()
            if fault.settles:
                await client.works()

    async def _check_end(self, client: Client, before: Remains) -> None:
        lives = client.ledger.lives
        await until(
            lambda: not Remains.now().beyond(before) and not lives.unheard,
            lambda: f"after stop() there are {Remains.now().beyond(before)}, and nobody was told of {lives.unheard}",
        )
        client.ledger.check()


async def _tick(world: World, ledger: Ledger) -> None:
    """Have the hub send numbered events."""
    for number in itertools.count():
        if world.ticks:
            try:
                await world.tick(number)
            except OSError:
                ledger.arrivals.uncertain.add(number)
        await asyncio.sleep(_TICK)


@attrs.frozen
class Remains:
    """What a process has open, and what the event loop has to do."""

    tasks: frozenset[asyncio.Task[object]]
    threads: frozenset[threading.Thread]
    timers: int
    watched: int
    files: int

    @classmethod
    def now(cls) -> Self:
        """Return what there is."""
        loop = asyncio.get_running_loop()
        # The faults use the loop's own threads.
        workers: set[threading.Thread] = getattr(getattr(loop, "_default_executor", None), "_threads", set())
        files = len(os.listdir(FILES)) if sys.platform.startswith("linux") else 0  # noqa: PTH208 - called often
        return cls(
            frozenset(asyncio.all_tasks()),
            frozenset(set(threading.enumerate()) - workers),
            len(timers()),
            len(watched(loop)),
            files,
        )

    def beyond(self, before: Self) -> list[str]:
        """Return what is here and was not before."""
        left = [repr(each) for each in (*(self.tasks - before.tasks), *(self.threads - before.threads))]
        for name in ("timers", "watched", "files"):
            more = getattr(self, name) - getattr(before, name)
            left += [f"{more} more {name}"] if more > 0 else []
        return left


def _first(group: BaseExceptionGroup[BaseException]) -> BaseException:
    """Return the broken invariant, or what else went wrong."""
    broken = group.subgroup(BrokenError)
    error: BaseException = broken or group
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error
