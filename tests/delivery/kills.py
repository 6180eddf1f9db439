"""Kills the processes that put and deliver, and the server, at random moments, and looks what the server has recorded.

    python -m tests.delivery.kills 1000 --seed 7 --path /ledger --protocol json

No acknowledged put may be lost, the order of each key must be kept, and a call may come twice only if its answer was
lost, with the same id.
"""

from __future__ import annotations

import argparse
import contextlib
import random
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter, defaultdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tests.delivery.worker import store_of
from tests.interop.hub_server import ROOT, HubServer

from signalr_sdk.sync import HubConnection, Outbox

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

# A program starts within this time, and the last entries are delivered within this time.
LIMIT = 120.0


class Worker:
    """A process that puts and delivers, and is started again after each kill."""

    def __init__(self, file: str, url: str, keys: str, options: list[str]) -> None:
        self._command = [
            sys.executable,
            "-m",
            "tests.delivery.worker",
            file,
            "--url",
            url,
            "--keys",
            keys,
            *options,
        ]
        self.acknowledged: dict[str, tuple[str, int]] = {}
        self.first = 0
        self.said = threading.Event()
        self._process: subprocess.Popen[str] | None = None
        self._reader: threading.Thread | None = None

    def start(self) -> None:
        self.said.clear()
        command = [*self._command, "--first", str(self.first)]
        self._process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT)
        self._reader = threading.Thread(target=self._read, args=(self._process,))
        self._reader.start()

    def _read(self, process: subprocess.Popen[str]) -> None:
        assert process.stdout is not None
        for line in process.stdout:
            if not line.endswith("\n"):
                return  # the process was killed while it wrote
            match line.split():
                case ["try", _key, n]:
                    self.first = int(n) + 1
                case ["put", key, n, entry_id]:
                    self.acknowledged[entry_id] = (key, int(n))
                    self.said.set()
                case _:
                    pass

    def kill(self) -> None:
        assert self._process is not None
        assert self._reader is not None
        self._process.kill()
        self._process.wait()
        self._reader.join()
        assert self._process.stdout is not None
        self._process.stdout.close()


class Kills:
    """One run.

    Args:
        folder: where files lie.
        path: the path of the hub.
        protocol: the hub protocol.
        seed: which moments and victims are chosen.
        redis: the URL of a Redis, for an outbox that the workers share there; by default the outbox is a file.
        workers: the keys of each process that puts and delivers.

    Attributes:
        kills: how often each process was killed.
    """

    def __init__(
        self,
        folder: Path,
        path: str,
        protocol: str,
        seed: int,
        *,
        redis: str | None = None,
        workers: Sequence[str] = ("a1,a2,a3", "b1,b2"),
    ) -> None:
        self.kills: Counter[str] = Counter()
        self._random = random.Random(seed)
        self._ledger = folder / "ledger"
        self._path = path
        self._server = HubServer.start(ledger=self._ledger)
        self._file = str(folder / "outbox.db") if redis is None else redis
        url = self._server.url(path)
        self._url = url
        lanes = "4" if path == "/ledger-parallel" else "1"
        options = ["--protocol", protocol, "--lanes", lanes]
        self._workers = [Worker(self._file, url, keys, options) for keys in workers]

    def run(self, count: int) -> None:
        for worker in self._workers:
            worker.start()
        try:
            for _ in range(count):
                self._kill_one()
        finally:
            for worker in self._workers:
                worker.kill()
        self._drain()

    def _kill_one(self) -> None:
        for worker in self._workers:
            if not worker.said.wait(LIMIT):
                raise AssertionError("a worker does not put")
        time.sleep(self._random.uniform(0.0, 0.4))  # the random moment is what this is about
        victim = self._random.choice([*self._workers, self._workers[0], None])
        if victim is not None:
            self.kills["worker"] += 1
            victim.kill()
            victim.start()
        else:
            self.kills["server"] += 1
            port = self._server.port
            self._server.kill()
            self._server.close()
            self._server = HubServer.start(ledger=self._ledger, port=port)

    def _drain(self) -> None:
        """Deliver what is left. As long as entries are delivered, nothing hangs."""
        command = [sys.executable, "-m", "tests.delivery.worker", self._file, "--url", self._url, "--drain"]
        process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL)
        try:
            with Outbox(store_of(self._file)) as outbox:
                stats, until = outbox.stats(), time.monotonic() + LIMIT
                while process.poll() is None:
                    assert time.monotonic() < until, f"nothing is delivered any more: {stats}"
                    time.sleep(0.5)  # the other process delivers
                    now = outbox.stats()
                    if now.delivered != stats.delivered:
                        stats, until = now, time.monotonic() + LIMIT
                assert outbox.stats().waiting == 0
        finally:
            process.kill()
            process.wait()

    def rows(self) -> list[dict[str, Any]]:
        rows: list[dict[str, Any]] = []
        with HubConnection(self._server.url("/ledger-parallel")) as hub:
            while page := hub.invoke("Ledger", len(rows)):
                rows += page
        return rows

    def check(self) -> str:
        """Look at what the server has recorded; return a summary.

        Raises:
            AssertionError: a promise was broken.
        """
        rows = self.rows()
        acknowledged = {key: value for worker in self._workers for key, value in worker.acknowledged.items()}
        lost = acknowledged.keys() - {row["id"] for row in rows}
        assert not lost, f"lost: {[acknowledged[each] for each in lost]}"
        of_key: dict[str, list[tuple[int, str]]] = defaultdict(list)
        for row in rows:
            # A double follows at once: the next call of the key waits for the answer.
            if (row["n"], row["id"]) not in of_key[row["key"]][-1:]:
                of_key[row["key"]].append((row["n"], row["id"]))
        for key, found in of_key.items():
            numbers = [n for n, _id in found]
            assert numbers == sorted(set(numbers)), f"the order of {key} is broken: {numbers}"
        doubles = len(rows) - len({row["id"] for row in rows})
        kills = sum(self.kills.values())
        assert doubles <= kills * 4, f"{doubles} doubles for {kills} kills"
        return f"{len(acknowledged)} put, {len(rows)} recorded, {doubles} doubles, {dict(self.kills)} killed"

    def close(self) -> None:
        self._server.close()


@contextlib.contextmanager
def kills(folder: Path, path: str, protocol: str, seed: int, **more: Any) -> Iterator[Kills]:
    run = Kills(folder, path, protocol, seed, **more)
    try:
        yield run
    finally:
        run.close()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("count", type=int)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--path", default="/ledger", choices=["/ledger", "/ledger-parallel"])
    parser.add_argument("--redis", help="the URL of a Redis that has no outbox yet")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--protocol", default="json", choices=["json", "messagepack"])
    options = parser.parse_args()
    with (
        tempfile.TemporaryDirectory() as folder,
        kills(
            *(Path(folder), options.path, options.protocol, options.seed),
            redis=options.redis,
            workers=[f"{number}a,{number}b" for number in range(options.workers)],
        ) as run,
    ):
        run.run(options.count)
        sys.stdout.write(run.check() + "\n")


if __name__ == "__main__":
    main()
