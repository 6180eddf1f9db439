"""`python -m tests.faults.lab`: all kinds of connections through all faults of the lab. See README.md."""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import secrets
import signal
import subprocess
import sys
import tempfile
import time
from typing import TYPE_CHECKING, Any, Final

import attrs
from tests.interop.conftest import COMBINATIONS
from tests.interop.hub_server import ServerMissingError, find_program

from signalr_sdk import Transport

from .hub_processes import PROCESSES
from .table import Row, table

if TYPE_CHECKING:
    from collections.abc import Iterator

# `.ci/run` is the same on each machine, and root may do all that the lab needs: there, a missing lab is a failure.
_MUST: Final = os.environ.get("CI") == "true"


@attrs.frozen
class Play:
    """One client with one server. `str` gives the options that repeat it."""

    server: str
    combination: str
    stateful: bool
    seed: int
    times: tuple[str, ...]

    @property
    def name(self) -> str:
        """The kind of connection, short enough for the head of a column."""
        transport, _, protocol = self.combination.partition("-")
        short = {"WebSockets": "WS", "ServerSentEvents": "SSE", "LongPolling": "LP"}[transport]
        return f"{short} {protocol}{' stateful' if self.stateful else ''}"

    def __str__(self) -> str:
        stateful = ("--stateful",) if self.stateful else ()
        options = ("--server", self.server, "--combination", self.combination, *stateful, "--seed", str(self.seed))
        return " ".join((*options, *self.times))


def parse(arguments: list[str]) -> argparse.Namespace:
    """Return the options of the command line."""
    parser = argparse.ArgumentParser(prog="python -m tests.faults.lab", description="Clients on bad networks.")
    parser.add_argument("--seed", type=int, help="default: random")
    parser.add_argument(
        "--seconds",
        type=float,
        help="about as long as this, with the test server only (default: each fault, each server)",
    )
    parser.add_argument("--server", choices=PROCESSES, help="default: all that are there")
    parser.add_argument("--jobs", type=int, default=7, help="plays at the same time (default: %(default)s)")
    return parser.parse_args(arguments)


def plays(options: argparse.Namespace) -> Iterator[Play]:
    """Yield all kinds of connections, with the servers that the options ask for and that are there."""
    seed = secrets.randbelow(1_000_000) if options.seed is None else options.seed
    # The last third is for the last faults, which end when the client works again.
    times = () if options.seconds is None else ("--seconds", f"{options.seconds * 2 / 3:g}", "--longest", "2")
    for server in servers(options):
        # README.md says what ASP.NET Core does wrong here: by default these plays are left out.
        with_stateful = server != "aspnetcore" or options.server == server
        for stateful in (False, True) if with_stateful else (False,):
            for combination in COMBINATIONS:
                if combination.transport is Transport.WEBSOCKETS or not stateful:
                    yield Play(server, str(combination), stateful, seed, times)
                    seed += 1


def servers(options: argparse.Namespace) -> list[str]:
    """Return the names of the servers, and say which one is not there."""
    if options.server is not None:
        return [options.server]
    if options.seconds is not None:
        return ["python"]
    try:
        find_program()
    except ServerMissingError as error:
        say(str(error))
        return ["python"]
    return [*PROCESSES]


def say(text: str) -> None:
    """Print lines at once."""
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


class Lab:
    """Runs plays, each one in a process, and collects what came of their faults.

    Args:
        jobs: how many plays run at the same time.
        folder: for the temporary files of plays, which are killed without a chance to remove them.

    Attributes:
        rows: what came of the faults.
        failed: the plays in which something was wrong.
    """

    def __init__(self, jobs: int, folder: str) -> None:
        self.rows: list[Row] = []
        self.failed: list[Play] = []
        self._places = asyncio.Semaphore(jobs)
        self._environment = {**os.environ, "TMPDIR": folder}

    async def run(self, all_plays: list[Play]) -> None:
        """Run all plays. When this is cancelled, the plays are killed, and their namespaces are gone with them."""
        async with asyncio.TaskGroup() as group:
            for play in all_plays:
                group.create_task(self._run(play))

    async def _run(self, play: Play) -> None:
        command = (sys.executable, "-m", "tests.faults.lab.play", *str(play).split())
        async with self._places:
            # In a session of its own: Ctrl-C is for this process, which then kills the play.
            process = await asyncio.create_subprocess_exec(
                *command, stdout=asyncio.subprocess.PIPE, start_new_session=True, env=self._environment
            )
            try:
                await self._read(play, process)
            finally:
                if process.returncode is None:
                    process.kill()
                    await process.wait()
        if process.returncode != 0:
            self.failed.append(play)

    async def _read(self, play: Play, process: asyncio.subprocess.Process) -> None:
        assert process.stdout is not None
        while line := await process.stdout.readline():
            outcome: dict[str, Any] = json.loads(line)
            row = Row(connection=play.name, **outcome)
            self.rows.append(row)
            say(f"{time.strftime('%H:%M:%S')} {play.server}: {row}")
        await process.wait()


def is_missing() -> bool:
    """Return whether there can be no lab on this machine, and say why.

    A process of its own tries, since a process stays in the namespaces that it has made.
    """
    if sys.platform != "linux":
        say("the lab of real networks needs Linux")
        return True
    command = [sys.executable, "-m", "tests.faults.lab.namespaces"]
    found = subprocess.run(command, capture_output=True, text=True, check=False)
    if found.returncode != 0:
        say(f"no lab of real networks on this machine: {(found.stdout + found.stderr).strip()}")
    return found.returncode != 0


def main(arguments: list[str]) -> int:
    """Run the lab; return the exit status."""
    options = parse(arguments)
    if is_missing():
        return 1 if _MUST and os.geteuid() == 0 else 0
    signal.signal(signal.SIGTERM, signal.default_int_handler)  # as Ctrl-C
    with tempfile.TemporaryDirectory(prefix=f"signalr-sdk-lab-{os.getpid()}-") as folder:
        lab = Lab(options.jobs, folder)
        try:
            asyncio.run(lab.run(list(plays(options))))
        except KeyboardInterrupt:
            return 130
        finally:
            say(table(lab.rows))
    for play in lab.failed:
        say(f"FAILED: python -m tests.faults.lab.play {play}")
    return 1 if lab.failed else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
