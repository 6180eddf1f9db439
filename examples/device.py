"""A device that delivers what its meter counts, each reading at least once, while the line is cut and the hub restarts.

    python examples/device.py https://example.com/meters

It wants a hub with a method `Record(text)`, which in earnest would take `ID` too, and know by it a reading that it has
already. The meter is made up: a library with a thread of its own that calls back for each reading,
as drivers of sensors do. The outage is made by a proxy that belongs to the rehearsal: leave it out.
"""

from __future__ import annotations

import asyncio
import sys
import tempfile
import threading
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from signalr_sdk import HubConnection, Retry
from signalr_sdk.delivery import Entry, Outbox, OutboxLimits, SqliteStore
from signalr_sdk.testing import FaultProxy

if TYPE_CHECKING:
    from collections.abc import Callable

READINGS = 200


class Meter(threading.Thread):
    """Calls back from its own thread with each reading."""

    def __init__(self, callback: Callable[[int], object]) -> None:
        super().__init__(daemon=True)
        self._callback = callback

    def run(self) -> None:
        """Count."""
        pause = threading.Event()
        for reading in range(1, READINGS + 1):
            pause.wait(0.005)
            self._callback(reading)


def report(entry: Entry) -> None:
    """Say what the hub has refused: it stays in the file, for `signalr outbox ls --dead`."""
    print(f"given up: {entry.id}: {entry.error}", file=sys.stderr)


async def count(outbox: Outbox) -> None:
    """Put each reading into the outbox, whatever the line does."""
    loop = asyncio.get_running_loop()

    def put(reading: int) -> None:
        # On the thread of the meter. `result()` returns when the reading is on the disk.
        text = f"reading {reading}"
        asyncio.run_coroutine_threadsafe(outbox.put("Record", text, id=f"meter 7, {text}"), loop).result()

    meter = Meter(put)
    meter.start()
    await asyncio.to_thread(meter.join)


async def lose_the_line(proxy: FaultProxy) -> None:
    """Cut the line for a while, twice."""
    for _ in range(2):
        await asyncio.sleep(0.2)
        proxy.refuse()
        proxy.cut()
        await asyncio.sleep(0.3)
        proxy.accept()


async def main(url: str, folder: Path) -> None:
    """Deliver until the meter ends, over a line that is lost meanwhile."""
    there = urlsplit(url)
    store = SqliteStore(folder / "outbox.db", damaged="set_aside")
    async with FaultProxy(there.port or 80, there.hostname or "") as proxy:
        hub = HubConnection(proxy.url(there.path), reconnect=Retry.forever(), retry_start=True)
        outbox = Outbox(store, hub, limits=OutboxLimits(entries=100_000), overflow="drop_oldest")
        outbox.on_dead(report)
        async with outbox, asyncio.TaskGroup() as tasks:
            connection = tasks.create_task(hub.run())
            outage = tasks.create_task(lose_the_line(proxy))
            await count(outbox)
            await outage
            await outbox.drain(timeout=60)
            stats = await outbox.stats()
            connection.cancel()
    print(f"{stats.delivered} readings are delivered, {stats.dead} were refused, {stats.dropped} had no room")
    assert stats.delivered == READINGS


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as temporary:
        asyncio.run(main(sys.argv[1], Path(temporary)))
