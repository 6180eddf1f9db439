"""`python -m tests.faults.lab.play`: one client, one server and the faults of a seed, in namespaces of their own.

Writes a line of JSON for each fault. `python -m tests.faults.lab` starts one such process for each kind of connection.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import logging
import sys
import time
import traceback
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing
from typing import TYPE_CHECKING

import attrs
from tests.faults.invariants import POLL, BrokenError
from tests.faults.runs import Run
from tests.faults.schedule import Schedule
from tests.interop.conftest import COMBINATIONS

from .hub_processes import PROCESSES
from .lab_server import LOSSES, LabServer
from .link import Link
from .namespaces import Namespaces, die_with_parent, namespaces

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from tests.faults.schedule import Fault

_DELAY = 0.01  # seconds that a packet takes on a good day
_THREADS = 4


@attrs.define
class Outcome:
    """What came of one fault.

    Attributes:
        fault: its kind.
        noticed: seconds from the beginning of the fault until the client has noticed a loss; `None` if there was none.
        calls: the calls that began after the beginning of the fault and before the next one.
        failed: the calls that ended without a result in that time.
        violation: the invariant that did not hold.
    """

    fault: str
    noticed: float | None = None
    calls: int = 0
    failed: int = 0
    violation: str | None = None


class Observer:
    """Gives a run its faults, and writes what came of each one.

    Args:
        run: the run.
        faults: the faults.
    """

    def __init__(self, run: Run, faults: Iterable[Fault]) -> None:
        self._run = run
        self._faults = faults
        self._outcome: Outcome | None = None
        self._before: Counter[str] = Counter()
        self._began = 0.0

    @property
    def counts(self) -> Counter[str]:
        """How often each thing has happened to the client."""
        return self._run.counts if self._run.counts is not None else Counter()

    def __iter__(self) -> Iterator[Fault]:
        for fault in self._faults:
            self._begin(fault)
            yield fault
            self.end(None)

    def _begin(self, fault: Fault) -> None:
        self._outcome = Outcome(fault.kind)
        self._before, self._began = Counter(self.counts), time.monotonic() + fault.pause

    def end(self, violation: str | None) -> None:
        """Write what came of the present fault; call this without a fault only to write a violation."""
        if self._outcome is None and violation is None:
            return
        outcome = self._outcome or Outcome("-")
        outcome.calls, outcome.failed = (self.counts[name] - self._before[name] for name in ("calls", "lost calls"))
        outcome.violation = violation
        self._outcome = None
        sys.stdout.write(json.dumps(attrs.asdict(outcome)) + "\n")
        sys.stdout.flush()

    async def watch(self) -> None:
        """Note when losses are noticed."""
        while True:
            outcome = self._outcome
            if outcome is not None and outcome.noticed is None and self._has_lost():
                outcome.noticed = max(0.0, time.monotonic() - self._began)
            await asyncio.sleep(POLL)

    def _has_lost(self) -> bool:
        return any(self.counts[event.value] > self._before[event.value] for event in LOSSES)


def parse(arguments: list[str]) -> argparse.Namespace:
    """Return the options of the command line."""
    parser = argparse.ArgumentParser(prog="python -m tests.faults.lab.play", description="One client in the lab.")
    parser.add_argument("--server", choices=PROCESSES, default="python")
    parser.add_argument("--combination", choices=[*map(str, COMBINATIONS)], required=True)
    parser.add_argument("--stateful", action="store_true", help="with stateful reconnect")
    parser.add_argument("--seed", type=int, required=True)
    parser.add_argument("--seconds", type=float, help="no fault begins later (default: each kind of fault comes once)")
    parser.add_argument("--longest", type=float, default=4.0, help="seconds of a fault (default: %(default)s)")
    return parser.parse_args(arguments)


def schedule(options: argparse.Namespace) -> Iterator[Fault]:
    """Yield the faults of a seed. The next one waits until the client works again, so that each one has its result."""
    began = time.monotonic()
    for number, fault in enumerate(Schedule(options.seed, LabServer.kinds, options.longest)):
        if options.seconds is None and number == len(LabServer.kinds):
            return
        if options.seconds is not None and time.monotonic() - began > options.seconds:
            return
        yield attrs.evolve(fault, settles=True)


async def play(options: argparse.Namespace, server: LabServer, pool: ThreadPoolExecutor) -> bool:
    """Let the faults happen; return whether all invariants held."""
    asyncio.get_running_loop().set_default_executor(pool)
    (combination,) = (each for each in COMBINATIONS if str(each) == options.combination)
    run = Run(combination, options.stateful, options.seed)
    observer = Observer(run, schedule(options))
    server.counts = lambda: observer.counts
    watching = asyncio.create_task(observer.watch())
    await asyncio.sleep(0)  # so that the timer of `watch` is not taken for something that the run has left
    try:
        await run.through(server, observer)
    except BrokenError as error:
        observer.end(str(error))
        return False
    except Exception:  # noqa: BLE001 - whatever it is, the other plays go on
        observer.end(traceback.format_exc())
        return False
    finally:
        watching.cancel()
    return True


def in_the_lab(options: argparse.Namespace, network: Namespaces) -> bool:
    """Play in these namespaces; return whether all invariants held."""
    with ExitStack() as stack:
        link = stack.enter_context(Link(network.client, network.server, usual=_DELAY, seed=options.seed))
        # What is not of the client is done by threads in the server's namespace: the server is asked on 127.0.0.1.
        pool = stack.enter_context(ThreadPoolExecutor(_THREADS, initializer=network.enter_servers))
        server = pool.submit(LabServer, PROCESSES[options.server], network, link).result()
        stack.enter_context(closing(server))
        return asyncio.run(play(options, server, pool))


def main(arguments: list[str]) -> int:
    """Play; return the exit status."""
    die_with_parent()
    logging.disable(logging.WARNING)  # lost connections are expected here
    options = parse(arguments)
    with namespaces() as network:
        return 0 if in_the_lab(options, network) else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
