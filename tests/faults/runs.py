"""One run: a client in a world, a schedule of faults, and what is left when the client has stopped."""

from __future__ import annotations

import asyncio
import itertools
import logging
import os
import sys
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, Self

import attrs
from tests.conftest import FILES, LOGGERS, watched

from .client import Client, timers
from .ledger import BrokenError, Ledger, now, until
from .worlds import OUTLIVED

if TYPE_CHECKING:
    from collections import Counter
    from collections.abc import Iterable, Iterator

    from tests.interop.conftest import Combination

    from .schedule import Fault
    from .worlds import World

_TICK = 0.03
# A line that is back after so many seconds is back in the server's window, which is 15.
_WITHIN = 10.0


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
        with errors_fail(client.ledger):
            await self._go(world, client, faults)
            await client.stop()
            await self._check_end(client, before)

    async def _go(self, world: World, client: Client, faults: Iterable[Fault]) -> None:
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

    async def _faults(self, world: World, client: Client, faults: Iterable[Fault]) -> None:
        settled = True
        for fault in faults:
            await asyncio.sleep(fault.pause)
            self.history.append(fault)
            client.ledger.counts["faults"] += 1
            before, began = client.hub.connection_id, now()
            if fault.kind == "stop":
                await client.stop()
            else:
                world.connection_id = before
                await world.do(fault)
            client.ledger.check()
            if fault.settles:
                await client.works()
                if settled and self.stateful and fault.kind in OUTLIVED and now() - began < _WITHIN:
                    _check_resumed(client, before, fault)
            settled = fault.settles

    async def _check_end(self, client: Client, before: Remains) -> None:
        lives = client.ledger.lives
        await until(
            lambda: not Remains.now().beyond(before) and not lives.unheard,
            lambda: f"after stop() there are {Remains.now().beyond(before)}, and nobody was told of {lives.unheard}",
        )
        client.ledger.check()


def _check_resumed(client: Client, before: str | None, fault: Fault) -> None:
    client.ledger.counts["outlived"] += 1
    if client.hub.connection_id != before:
        client.ledger.fail(f"the connection did not outlive this: {fault}")


async def _tick(world: World, ledger: Ledger) -> None:
    """Have the hub send numbered events."""
    for number in itertools.count():
        if world.ticks:
            try:
                await world.tick(number)
            except OSError:
                ledger.arrivals.uncertain.add(number)
        await asyncio.sleep(_TICK)


class _Failing(logging.Handler):
    def __init__(self, ledger: Ledger) -> None:
        super().__init__(logging.ERROR)
        self._ledger = ledger

    def emit(self, record: logging.LogRecord) -> None:
        self._ledger.fail(f"an ERROR was logged: {record.getMessage()}")


@contextmanager
def errors_fail(ledger: Ledger) -> Iterator[None]:
    """Take what is logged as an ERROR as a broken invariant: of the client, or of a task that nobody awaited."""
    handler = _Failing(ledger)
    loggers = [logging.getLogger(name) for name in LOGGERS]
    for logger in loggers:
        logger.addHandler(handler)
    try:
        yield
    finally:
        for logger in loggers:
            logger.removeHandler(handler)


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
