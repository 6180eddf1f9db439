"""One run: a client, a server with a schedule of faults, and a check that nothing is left behind at the end."""

from __future__ import annotations

import asyncio
import itertools
import logging
import os
import sys
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Self

import attrs
from tests.conftest import FILES, LOGGERS, watched

from signalr_sdk import HubConnection

from .busy_client import PAUSES, Client, timers
from .faulty_servers import OUTLIVED
from .invariants import PATIENCE, BrokenError, Invariants, now, until

if TYPE_CHECKING:
    from collections import Counter
    from collections.abc import Callable, Iterable, Iterator

    from tests.interop.conftest import Combination

    from .faulty_servers import FaultyServer
    from .schedule import Fault

_TICK = 0.03
# A connection that is back after so many seconds is back within the server's resume window, which is 15 s.
_WITHIN = 10.0


@attrs.define
class Run:
    """A run, and how far it is.

    Attributes:
        combination: transport and hub protocol of the client.
        stateful: whether the client uses stateful reconnect.
        seed: seed of the faults and of the client's traffic.
        pauses: the shortest and the longest pause between two calls of a kind, in seconds.
        tick: seconds between two events to all clients.
        patience: seconds after which something is taken as never to happen.
        connection: makes the client's connection.
        history: the faults that have happened.
        counts: how often each thing has happened, by its name.
    """

    combination: Combination
    stateful: bool
    seed: int
    pauses: tuple[float, float] = attrs.field(default=PAUSES, kw_only=True)
    tick: float = attrs.field(default=_TICK, kw_only=True)
    patience: float = attrs.field(default=PATIENCE, kw_only=True)
    connection: Callable[..., Any] = attrs.field(default=HubConnection, kw_only=True)
    set_up: float | None = attrs.field(default=None, kw_only=True)
    hurried: bool = attrs.field(default=False, kw_only=True)
    history: list[Fault] = attrs.field(factory=list, init=False)
    counts: Counter[str] | None = attrs.field(default=None, init=False)

    async def through(self, server: FaultyServer, faults: Iterable[Fault]) -> None:
        """Run a client while these faults happen.

        Raises:
            BrokenError: an invariant does not hold.
        """
        before = Remains.now()
        client = Client(
            server,
            self.combination,
            stateful=self.stateful,
            seed=self.seed,
            pauses=self.pauses,
            patience=self.patience,
            connection=self.connection,
            set_up=self.set_up,
            hurried=self.hurried,
        )
        self.counts = client.invariants.counts
        with errors_fail(client.invariants):
            await self._go(server, client, faults)
            await client.stop()
            await server.wait_forgotten()
            await self._check_end(client, before)

    async def _go(self, server: FaultyServer, client: Client, faults: Iterable[Fault]) -> None:
        try:
            async with asyncio.TaskGroup() as group:
                traffic = group.create_task(client.traffic(), name="traffic")
                others = [
                    group.create_task(client.live(), name="life"),
                    group.create_task(client.invariants.watch(), name="watch"),
                    group.create_task(_tick(server, client.invariants, self.tick), name="ticks"),
                ]
                await client.works()
                await self._faults(server, client, faults, group)
                client.be_quiet()
                await client.works()
                await traffic
                for task in others:
                    task.cancel()
        except BaseExceptionGroup as group_error:
            raise _first(group_error) from group_error

    async def _faults(
        self, server: FaultyServer, client: Client, faults: Iterable[Fault], group: asyncio.TaskGroup
    ) -> None:
        settled = True
        for fault in faults:
            await asyncio.sleep(fault.pause)
            self.history.append(fault)
            client.invariants.counts["faults"] += 1
            before, began = client.hub.connection_id, now()
            if fault.kind == "stop":
                await client.stop()
            elif fault.kind == "reconnect":
                cancel_after = fault.lasts * _TICK if fault.amount % 2 else None
                group.create_task(client.reconnect(1 + fault.amount % 3, cancel_after), name="reconnect")
                await asyncio.sleep(0)
            else:
                server.connection_id = before
                await server.do(fault)
            client.invariants.check()
            if fault.settles:
                await client.works()
                if settled and self.stateful and fault.kind in OUTLIVED and now() - began < _WITHIN:
                    _check_resumed(client, before, fault)
            # Stale tokens that were not asked for yet may refuse the next resume.
            settled = fault.settles and not server.tokens.stale

    async def _check_end(self, client: Client, before: Remains) -> None:
        changes = client.invariants.changes
        await until(
            lambda: not Remains.now().beyond(before) and not changes.unheard,
            lambda: f"after stop() there are {Remains.now().beyond(before)}, and nobody was told of {changes.unheard}",
            self.patience,
        )
        client.invariants.check()


def _check_resumed(client: Client, before: str | None, fault: Fault) -> None:
    client.invariants.counts["outlived"] += 1
    if client.hub.connection_id != before:
        client.invariants.fail(f"the connection did not outlive this: {fault}")


async def _tick(server: FaultyServer, invariants: Invariants, pause: float) -> None:
    """Make the hub send numbered events to all clients."""
    for number in itertools.count():
        if server.ticks:
            try:
                await server.tick(number)
            except OSError:
                invariants.received.uncertain.add(number)
        await asyncio.sleep(pause)


class _Failing(logging.Handler):
    def __init__(self, invariants: Invariants) -> None:
        super().__init__(logging.ERROR)
        self._invariants = invariants

    def emit(self, record: logging.LogRecord) -> None:
        self._invariants.fail(f"an ERROR was logged: {record.getMessage()}")


@contextmanager
def errors_fail(invariants: Invariants) -> Iterator[None]:
    """Treat each ERROR in the log as a broken invariant: of the client, or of a task that nobody has awaited."""
    handler = _Failing(invariants)
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
    """What could be left behind: tasks, threads, timers, watched sockets and open files."""

    tasks: frozenset[asyncio.Task[object]]
    threads: frozenset[threading.Thread]
    timers: int
    watched: int
    files: int

    @classmethod
    def now(cls) -> Self:
        """Return what there is now."""
        loop = asyncio.get_running_loop()
        # Without the threads of the loop's executor, which the faults use.
        workers: set[threading.Thread] = getattr(getattr(loop, "_default_executor", None), "_threads", set())
        # uvloop opens files of its own when it first needs them.
        counted = sys.platform.startswith("linux") and isinstance(loop, asyncio.BaseEventLoop)
        files = len(os.listdir(FILES)) if counted else 0  # noqa: PTH208 - called often
        return cls(
            frozenset(asyncio.all_tasks()),
            frozenset(set(threading.enumerate()) - workers),
            len(timers()),
            len(watched(loop)),
            files,
        )

    def beyond(self, before: Self) -> list[str]:
        """Return what is here now and was not there before."""
        left = [repr(each) for each in (*(self.tasks - before.tasks), *(self.threads - before.threads))]
        for name in ("timers", "watched", "files"):
            more = getattr(self, name) - getattr(before, name)
            left += [f"{more} more {name}"] if more > 0 else []
        return left


def _first(group: BaseExceptionGroup[BaseException]) -> BaseException:
    """Return the first broken invariant, or another exception of the group."""
    broken = group.subgroup(BrokenError)
    error: BaseException = broken or group
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error
