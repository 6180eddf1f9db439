"""A meter in 25 lines: each reading is on the disk when `put` returns, and arrives over any outage and restart.

    python examples/meter.py https://example.com/meters

It wants a hub with a method `Record(text)`, which in earnest would take the id of the reading too, and know by it one
that it has already. The proxy, which cuts the line at the tenth reading, belongs to the rehearsal, and so does the
folder that is removed at the end.
"""

from __future__ import annotations

import asyncio
import sys
import tempfile
from urllib.parse import urlsplit

from signalr_sdk import HubConnection, Retry
from signalr_sdk.delivery import Outbox
from signalr_sdk.testing import FaultProxy


async def main(url: str, file: str) -> None:
    """Put 20 readings, one after another, and deliver them as long as it takes."""
    there = urlsplit(url)
    async with FaultProxy(there.port or 80, there.hostname or "") as proxy:
        hub = HubConnection(proxy.url(there.path), reconnect=Retry.forever(), retry_start=True)
        async with Outbox(file, hub) as outbox, asyncio.TaskGroup() as tasks:
            connection = tasks.create_task(hub.run())
            for number in range(20):
                await outbox.put("Record", f"reading {number} of the kitchen", key="kitchen")
                if number == 10:
                    proxy.cut()
            await outbox.drain()
            print((await outbox.stats()).delivered, "readings delivered")
            connection.cancel()


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        asyncio.run(main(sys.argv[1], f"{folder}/outbox.db"))
