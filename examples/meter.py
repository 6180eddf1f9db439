"""A meter in 25 lines: each reading is on the disk when `put` returns, and arrives over any outage and restart.

    python examples/meter.py https://example.com/meters [outbox.db]

It wants a hub with a method `Record(text)`, which in earnest would take the id of the reading too, and know by it one
that it has already. Without a file the outbox is thrown away at the end, as befits a rehearsal.
"""

from __future__ import annotations

import asyncio
import sys
import tempfile
from pathlib import Path

from signalr_sdk import HubConnection, Retry
from signalr_sdk.delivery import Outbox


async def main(url: str, file: str) -> None:
    """Put 20 readings, one after another, and deliver them as long as it takes."""
    hub = HubConnection(url, reconnect=Retry.forever(), retry_start=True)
    async with Outbox(file, hub) as outbox, asyncio.TaskGroup() as tasks:
        connection = tasks.create_task(hub.run())
        for number in range(20):
            await outbox.put("Record", f"reading {number} of the kitchen", key="kitchen")
        await outbox.drain()
        print((await outbox.stats()).delivered, "readings delivered")
        connection.cancel()


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        asyncio.run(main(sys.argv[1], *sys.argv[2:] or [str(Path(folder, "outbox.db"))]))
