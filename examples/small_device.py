"""A device in thirty lines: each reading arrives at least once, over an outage.

    python examples/small_device.py https://example.com/meters

It wants a hub with a method `Record(text)`, which in earnest would know by its number a reading that it has already.
"""

from __future__ import annotations

import asyncio
import sys
from urllib.parse import urlsplit

from signalr_sdk import ConnectionClosedError, HubConnection, Retry, Timeouts
from signalr_sdk.testing import FaultProxy


async def main(url: str) -> None:
    """Deliver 20 readings; the proxy, which belongs to the rehearsal, cuts the line at the tenth."""
    there = urlsplit(url)
    async with FaultProxy(there.port or 80, there.hostname or "") as proxy:
        hub = HubConnection(
            proxy.url(there.path), reconnect=Retry.forever(), retry_start=True, timeouts=Timeouts(ready=None)
        )
        async with hub:
            for number in range(20):
                delivery = asyncio.create_task(hub.invoke("Record", f"reading {number}"))
                if number == 10:
                    proxy.cut()
                try:
                    await delivery
                except ConnectionClosedError:
                    await hub.invoke("Record", f"reading {number}")
    print("20 readings delivered")


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1]))
