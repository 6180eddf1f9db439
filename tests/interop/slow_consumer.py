"""A process of its own whose memory is measured: it reads a large stream and stops reading now and then.

    slow_consumer.py URL TRANSPORT PROTOCOL pauses|stops SIZE

It prints one line of JSON. `pauses`: three seconds three times; `stops`: half a minute once, with a call each second.
"""

from __future__ import annotations

import asyncio
import json
import resource
import sys
from pathlib import Path
from typing import Any

from signalr_sdk import HubConnection, StreamOverflowError

TOTAL = 200 * 1024 * 1024
PAUSE = 3.0
STOP = 30


def resident_bytes() -> int:
    """Return the resident memory of this process."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()


class Memory:
    """Watches the resident memory from now on."""

    def __init__(self) -> None:
        self._before = self._most = resident_bytes()

    async def watch(self) -> None:
        while True:
            self._most = max(self._most, resident_bytes())
            await asyncio.sleep(0.02)

    @property
    def growth(self) -> float:
        """The most that it has grown, in MB."""
        return (max(self._most, resident_bytes()) - self._before) / 1024 / 1024


async def pauses(hub: HubConnection, size: int) -> dict[str, Any]:
    count = TOTAL // size
    items = 0
    async with hub.stream("Blobs", count, size) as blobs:
        async for _ in blobs:
            items += 1
            if items in (count // 4, count // 2, 3 * count // 4):
                await asyncio.sleep(PAUSE)  # this is the slowness that is tested
    return {"items": items, "of": count}


async def stops(hub: HubConnection, size: int) -> dict[str, Any]:
    count = TOTAL // size
    items, calls, overflowed = 0, 0, False
    async with hub.stream("Blobs", count, size) as blobs:
        await anext(blobs)
        for second in range(STOP):
            calls += await hub.invoke("Add", second, 1, timeout=5) == second + 1
            await asyncio.sleep(1)  # this is the slowness that is tested
        try:
            async for _ in blobs:
                items += 1
        except StreamOverflowError as error:
            overflowed = error.buffered == items
    return {"items": items, "of": count, "calls": calls, "overflowed": overflowed}


async def main(url: str, transport: str, protocol: Any, what: str, size: str) -> None:
    async with HubConnection(url, transports=transport, protocol=protocol, reconnect=False) as hub:
        connection_id = hub.connection_id
        assert (
            len([blob async for blob in hub.stream("Blobs", 10, int(size))]) == 10
        )  # what is loaded late is loaded now
        memory = Memory()
        watching = asyncio.create_task(memory.watch())
        result = await (pauses if what == "pauses" else stops)(hub, int(size))
        watching.cancel()
        same = hub.connection_id == connection_id and await hub.invoke("ConnectionId") == connection_id
    print(json.dumps({**result, "growth": memory.growth, "same_connection": same}))  # noqa: T201  # for the test


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
