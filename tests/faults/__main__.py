"""`python -m tests.faults`: the long run. See README.md."""

from __future__ import annotations

import argparse
import asyncio
import itertools
import logging
import secrets
import sys
import time
import traceback
from collections import Counter
from contextlib import ExitStack
from typing import TYPE_CHECKING

import attrs
from tests.interop.conftest import COMBINATIONS

from signalr_sdk import Transport

from .faulty_servers import AspNetCoreFaults, AspNetCoreProcess, FaultyServer, PythonFaults
from .invariants import BrokenError
from .runs import Run
from .schedule import Schedule

if TYPE_CHECKING:
    from collections.abc import Iterator

SERVERS = ("aspnetcore", "python")
FAULTS = 25  # of one run


@attrs.frozen
class Kind:
    """A run with one kind of server."""

    server: str
    run: Run

    def __str__(self) -> str:
        stateful = " --stateful" if self.run.stateful else ""
        return f"--server {self.server} --combination {self.run.combination}{stateful} --seed {self.run.seed}"


def parse(arguments: list[str]) -> argparse.Namespace:
    """Return the options of the command line."""
    parser = argparse.ArgumentParser(prog="python -m tests.faults", description="A client and faults.")
    parser.add_argument("--minutes", type=float, default=30.0, help="no run begins later")
    parser.add_argument("--seed", type=int, help="of the first round; each round has the next one (default: random)")
    parser.add_argument("--faults", type=int, default=FAULTS, help="in each run (default: %(default)s)")
    parser.add_argument("--server", choices=SERVERS, help="default: both in turn")
    parser.add_argument("--combination", choices=[*map(str, COMBINATIONS)], help="default: all in turn")
    parser.add_argument("--stateful", action="store_true", help="only with stateful reconnect; default: both in turn")
    return parser.parse_args(arguments)


def kinds(options: argparse.Namespace) -> Iterator[Kind]:
    """Yield all kinds of runs that the options allow, then all again with the next seed, without end."""
    first = secrets.randbelow(1_000_000) if options.seed is None else options.seed
    for seed in itertools.count(first):
        for server, combination, stateful in itertools.product(SERVERS, COMBINATIONS, (False, True)):
            if options.server in (None, server) and options.combination in (None, str(combination)):
                if stateful and combination.transport is not Transport.WEBSOCKETS:
                    continue
                # `--stateful` leaves out the runs without stateful reconnect.
                if stateful or not options.stateful:
                    yield Kind(server, Run(combination, stateful, seed))


def say(text: str) -> None:
    """Print a line that begins with the time."""
    sys.stdout.write(f"{time.strftime('%H:%M:%S')} {text}\n")
    sys.stdout.flush()


async def minutes(total: Counter[str], run: Run) -> None:
    """Print the counts each minute."""
    while True:
        await asyncio.sleep(60)
        say(f"  {summary(total + (run.counts or Counter()))}")


def summary(counts: Counter[str]) -> str:
    """Return the counts as one line."""
    return ", ".join(f"{counts[name]} {name}" for name in sorted(counts))


async def go(kind: Kind, server: FaultyServer, faults: int, total: Counter[str]) -> None:
    """Do one run."""
    schedule = Schedule(kind.run.seed, (*server.kinds, "stop"))
    speaker = asyncio.create_task(minutes(total, kind.run))
    await asyncio.sleep(0)  # so that the speaker's timer exists before the run begins, and is not taken for a leftover
    try:
        await kind.run.through(server, itertools.islice(schedule, faults))
    finally:
        speaker.cancel()


def main(arguments: list[str]) -> int:
    """Run for `--minutes`, or until an invariant is broken; return the exit status."""
    options = parse(arguments)
    logging.disable(logging.WARNING)  # lost connections are expected here
    until = time.monotonic() + 60 * options.minutes
    total: Counter[str] = Counter()
    with ExitStack() as stack:
        process = stack.enter_context(AspNetCoreProcess()) if options.server != "python" else None
        for kind in kinds(options):
            if time.monotonic() > until:
                break
            say(str(kind))
            try:
                with server_of(kind, process) as server:
                    asyncio.run(go(kind, server, options.faults, total))
            except BaseException as error:  # noqa: BLE001 - also Ctrl-C: the faults so far are printed
                say(f"FAILED: {kind}")
                for number, fault in enumerate(kind.run.history, 1):
                    say(f"  {number}. {fault}")
                say(f"{error}" if isinstance(error, BrokenError) else traceback.format_exc())
                return 1
            total += kind.run.counts or Counter()
            total["runs"] += 1
    say(f"nothing is broken: {summary(total)}")
    return 0


def server_of(kind: Kind, process: AspNetCoreProcess | None) -> FaultyServer:
    """Return the server for a run, which is started when its context is entered."""
    if kind.server == "python":
        return PythonFaults()
    assert process is not None
    return AspNetCoreFaults(process, tokens=kind.run.seed % 2 == 1)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
