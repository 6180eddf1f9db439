"""An outbox beside bare SQLite and beside plain calls, in one run: ratios matter, as disks and processors differ.

    python -m tests.bench.delivery [--entries 1000000]

The server is ASP.NET Core with a ledger that it flushes to the disk for each call. With `--entries`, an outbox is
filled with so many, and then looked at: no operation may get slower with the number.
"""

from __future__ import annotations

import argparse
import asyncio
import resource
import sqlite3
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tests.interop.hub_server import HubServer

from signalr_sdk import HubConnection, Retry
from signalr_sdk.delivery import ID, Outbox, OutboxLimits, SqliteStore

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

CALLS = 1000
BATCHED = 20_000
REPEATS = 3


def say(name: str, value: float, unit: str, least: str = "") -> None:
    sys.stdout.write(f"{name:46} {value:12,.2f} {unit}{f'  (wanted: {least})' if least else ''}\n")
    sys.stdout.flush()


async def rate(count: int, work: Callable[[], Awaitable[Any]]) -> float:
    """Return how often a second, from the best of some runs."""
    best = 0.0
    for _ in range(REPEATS):
        start = time.perf_counter()
        await work()
        best = max(best, count / (time.perf_counter() - start))
    return best


def bare_commits(folder: Path) -> float:
    connection = sqlite3.connect(folder / "bare.db", isolation_level=None)
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = FULL")
    connection.execute("CREATE TABLE entries (position INTEGER PRIMARY KEY, body BLOB)")
    best = 0.0
    for _ in range(REPEATS):
        start = time.perf_counter()
        for _ in range(CALLS):
            connection.execute("INSERT INTO entries (body) VALUES (?)", (b"x" * 100,))
        best = max(best, CALLS / (time.perf_counter() - start))
    connection.close()
    return best


async def puts(folder: Path) -> None:
    bare = bare_commits(folder)
    say("bare SQLite, commits one after another", bare, "/s")
    async with Outbox(folder / "puts.db") as outbox:

        async def one_after_another() -> None:
            for n in range(CALLS):
                await outbox.put("Store", ID, "kitchen", n, key="kitchen")

        async def at_once() -> None:
            await asyncio.gather(*(outbox.put("Store", ID, "kitchen", n, key="kitchen") for n in range(CALLS)))

        say("puts one after another, of bare SQLite", await rate(CALLS, one_after_another) / bare, "x", "0.4")
        say("1000 puts at once", await rate(CALLS, at_once), "/s")
        before = resource.getrusage(resource.RUSAGE_SELF)
        await at_once()
        after = resource.getrusage(resource.RUSAGE_SELF)
        used = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
        say("1000 puts at once, processor time of each", used / CALLS * 1e6, "µs", "at most 60")


async def deliver(hub: HubConnection, file: Path, count: int, method: str, keys: int, **options: Any) -> float:
    """Return how many entries a second are delivered, without the time to put them."""
    rates = []
    for repeat in range(REPEATS):
        path = file.with_name(f"{file.name}-{repeat}")
        async with Outbox(path) as outbox:
            args = (lambda n: (ID, "k", n)) if method == "Store" else (lambda n: ({"id": ID, "key": "k", "n": n},))
            await asyncio.gather(*(outbox.put(method, *args(n), key=f"k{n % keys}") for n in range(count)))
        start = time.perf_counter()
        async with Outbox(path, hub, **options) as outbox:
            await outbox.drain()
            rates.append(count / (time.perf_counter() - start))
    return max(rates)


async def deliveries(folder: Path, url: str) -> None:
    async with HubConnection(url, reconnect=Retry.forever()) as hub:

        async def calls(count: int) -> None:
            for n in range(count):
                await hub.invoke("Store", "x", "k", n, timeout=60)

        async def eight() -> None:
            await asyncio.gather(*(calls(CALLS // 8) for _ in range(8)))

        await calls(CALLS)
        plain = await rate(CALLS, lambda: calls(CALLS))
        plain_eight = await rate(CALLS, eight)
        say("plain calls one after another", plain, "/s")
        say("plain calls, eight at once", plain_eight, "/s")
        one = await deliver(hub, folder / "one", CALLS, "Store", 1)
        say("delivered in one lane, of plain calls", one / plain, "x", "0.4")
        say(
            "delivered in eight lanes",
            await deliver(hub, folder / "8", CALLS, "Store", 8, lanes=8) / plain_eight,
            "x",
            "0.25",
        )
        batches = await deliver(hub, folder / "100", BATCHED, "StoreAll", 1, batch={"StoreAll": 100})
        say("delivered in batches of 100", batches, "entries/s", "10 000")


async def many(folder: Path, count: int) -> None:
    """Fill an outbox, and time what must not depend on the number."""
    limits = OutboxLimits(entries=2 * count, bytes=10**11)
    path = folder / "many.db"
    async with Outbox(SqliteStore(path, durability="normal"), limits=limits) as outbox:
        for first in range(0, count, CALLS):
            await asyncio.gather(*(outbox.put("A", ID, n, key=f"k{n % 100}") for n in range(first, first + CALLS)))
    outbox = Outbox(path, limits=limits)
    works: dict[str, Callable[[], Awaitable[Any]]] = {
        "start": outbox.start,
        "put": lambda: outbox.put("A", ID, 1),
        "ls": outbox.entries,
        "stats": outbox.stats,
    }
    for name, work in works.items():
        times = []
        for _ in range(1 if name == "start" else 20):
            start = time.perf_counter()
            await work()
            times.append(time.perf_counter() - start)
        say(f"{name} with {count:,} entries", statistics.median(times) * 1000, "ms")
    await outbox.stop()
    say("largest memory of this process", resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024, "MiB")


async def main(entries: int | None) -> None:
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        if entries is not None:
            await many(folder, entries)
            return
        await puts(folder)
        with HubServer.start(ledger=folder / "ledger") as server:
            await deliveries(folder, server.url("/ledger-parallel"))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--entries", type=int)
    asyncio.run(main(parser.parse_args().entries))
