"""How long `signalr` takes to start, beside the imports of what it is made of: the best of five, in one run.

python tests/bench/start.py
"""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import attrs

from signalr_sdk.testing import HubServer
from signalr_sdk.testing.demo_hub import DemoHub

ROUNDS = 5
SIGNALR = str(Path(sys.executable).with_name("signalr"))


@attrs.frozen
class Figure:
    """The best of some runs, in milliseconds: what a user waits, and what the processor does."""

    waited: float
    worked: float


def measure(command: list[str]) -> Figure:
    """Run a command some times, and return the best of the runs."""
    # Import `resource` only here: Windows does not have this module.
    import resource

    runs = []
    for _ in range(ROUNDS):
        before, began = resource.getrusage(resource.RUSAGE_CHILDREN), time.perf_counter()
        subprocess.run(command, check=True, capture_output=True)
        waited, after = time.perf_counter() - began, resource.getrusage(resource.RUSAGE_CHILDREN)
        runs.append((waited, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime))
    return Figure(min(run[0] for run in runs) * 1000, min(run[1] for run in runs) * 1000)


def main() -> None:
    """Print the table."""
    with HubServer({"/chat": DemoHub}) as server:
        commands = {
            "python, nothing imported": [sys.executable, "-c", ""],
            "import typer, rich": [sys.executable, "-c", "import typer, rich"],
            "import signalr_sdk": [sys.executable, "-c", "import signalr_sdk"],
            "signalr --version": [SIGNALR, "--version"],
            "signalr --help": [SIGNALR, "--help"],
            "signalr invoke --help": [SIGNALR, "invoke", "--help"],
            "signalr invoke URL Add 1 2": [SIGNALR, "invoke", server.url("/chat"), "Add", "1", "2"],
        }
        for name, command in commands.items():
            figure = measure(command)
            sys.stdout.write(f"{name:30} {figure.waited:6.0f} ms, {figure.worked:5.0f} ms of processor time\n")


if __name__ == "__main__":
    main()
