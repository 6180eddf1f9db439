"""What a message costs end to end: this client beside raw aiohttp and the Python peers that are installed.

    pip install pysignalr aiosignalr
    python -m tests.bench.end_to_end [--server aspnetcore|python] [--protocol json] [--rounds 3] [--count 20000]

Each client is measured in a process of its own, all in turn, against one server; the table has medians of the rounds:
microseconds of the client's processor time for one message, and that beside raw's.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import statistics
import subprocess
import sys
from contextlib import contextmanager
from typing import TYPE_CHECKING

import attrs
from tests.bench.peers import CLIENTS
from tests.interop.hub_server import HubServer
from tests.servers import in_thread

from signalr_sdk.cli.bench import Scenarios
from signalr_sdk.testing import HubServer as PythonServer
from signalr_sdk.testing.demo_hub import DemoHub

if TYPE_CHECKING:
    from collections.abc import Iterator


def calls_of(server: str) -> dict[str, str]:
    """Return the methods of a server's hub that are called."""
    stream = "Counter {count} 0" if server == "aspnetcore" else "Counter {count}"
    return {"invoke": "Add 1 2", "flood": "Flood {event} {count} 32", "stream": stream, "upload": "Sum"}


def measure(client: str, url: str, protocol: str, count: int, calls: dict[str, str]) -> dict[str, float]:
    """Return the microseconds of each scenario, measured in a process of its own; nothing if it failed."""
    program = [sys.executable, "-m", "tests.bench.end_to_end", "--client", client, "--url", url]
    program += ["--protocol", protocol, "--count", str(count), "--calls", json.dumps(calls)]
    done = subprocess.run(program, capture_output=True, text=True, timeout=300, check=False)
    if done.returncode != 0:
        print(f"{client}: {done.stderr.strip().splitlines()[-1:]}", file=sys.stderr)  # noqa: T201
        return {}
    found: dict[str, float] = json.loads(done.stdout)
    return found


def _be(client: str, url: str, protocol: str, count: int, calls: dict[str, str]) -> None:
    scenarios = Scenarios(lambda: CLIENTS[client](url, protocol), count)
    rows = asyncio.run(scenarios.measure(calls))
    print(json.dumps({row.scenario: row.microseconds for row in rows if row.error is None}))  # noqa: T201


@contextmanager
def served(name: str) -> Iterator[str]:
    """Run a server; give the URL of its hub.

    Raises:
        ServerMissingError: there is no ASP.NET Core here.
    """
    if name == "aspnetcore":
        server = HubServer.start()
        try:
            yield server.url()
        finally:
            server.close()
    else:
        with in_thread(PythonServer({"/hub": DemoHub}, parallel_invocations=2)) as python:
            yield python.url("/hub")


@attrs.define
class Table:
    """Figures of several rounds."""

    found: dict[tuple[str, str], list[float]] = attrs.field(factory=dict)

    def add(self, client: str, figures: dict[str, float]) -> None:
        """Add a client's figures of one round."""
        for scenario, figure in figures.items():
            self.found.setdefault((scenario, client), []).append(figure)

    def __str__(self) -> str:
        lines = ["scenario".ljust(28) + "".join(client.rjust(18) for client in CLIENTS)]
        for scenario in dict.fromkeys(scenario for scenario, _client in self.found):
            raw = statistics.median(self.found.get((scenario, "raw"), [float("nan")]))
            cells = [self._cell(self.found.get((scenario, client)), raw) for client in CLIENTS]
            lines.append(scenario.ljust(28) + "".join(cell.rjust(18) for cell in cells))
        return "\n".join(lines)

    @staticmethod
    def _cell(figures: list[float] | None, raw: float) -> str:
        if not figures:
            return "-"
        median = statistics.median(figures)
        return f"{median:.2f} ({median / raw:.2f})"


def main() -> None:
    """Measure all, or be one of the processes."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--server", choices=["aspnetcore", "python"], default="aspnetcore")
    parser.add_argument("--protocol", choices=["json", "messagepack"], default="json")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--count", type=int, default=20_000)
    parser.add_argument("--client", choices=list(CLIENTS))
    parser.add_argument("--url")
    parser.add_argument("--calls", type=json.loads)
    given = parser.parse_args()
    if given.client is not None:
        _be(given.client, given.url, given.protocol, given.count, given.calls)
        return
    table = Table()
    calls = calls_of(given.server)
    with served(given.server) as url:
        for _ in range(given.rounds):
            for client in CLIENTS:
                table.add(client, measure(client, url, given.protocol, given.count, calls))
    print(table)  # noqa: T201


if __name__ == "__main__":
    main()
