"""A device that delivers what its meter counts, each reading once, and collects while it is offline.

    python examples/device.py https://example.com/meters

It wants a hub with a method `Record(text)`, which in earnest would store the readings in the text and know by its
number one that it has already. The meter is made up: a library with a thread of its own that calls back for each
reading, as drivers of sensors do. The outage is made by a proxy that belongs to the rehearsal: leave it out.
"""

from __future__ import annotations

import asyncio
import json
import sys
import threading
from collections import deque
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from signalr_sdk import ConnectionClosedError, HubConnection, InvocationTimeoutError, NotConnectedError
from signalr_sdk.testing import FaultProxy

if TYPE_CHECKING:
    from collections.abc import Callable

READINGS = 400
ROOM = 100  # readings that are kept while offline
BATCH = 20  # readings that are delivered at once


class Meter(threading.Thread):
    """Calls back from its own thread with each reading, and with `None` at its end."""

    def __init__(self, callback: Callable[[int | None], None]) -> None:
        super().__init__(daemon=True)
        self._callback = callback

    def run(self) -> None:
        """Count."""
        pause = threading.Event()
        for reading in range(1, READINGS + 1):
            pause.wait(0.005)
            self._callback(reading)
        self._callback(None)


class Outbox:
    """Readings that the hub does not have yet: the newest, as far as there is room."""

    def __init__(self) -> None:
        self.dropped = 0
        self._loop = asyncio.get_running_loop()
        self.overflowed = asyncio.Event()
        self._waiting: deque[int] = deque()
        self._underway: list[int] = []
        self._arrived = asyncio.Event()
        self._ended = False

    def add(self, reading: int | None) -> None:
        """Take a reading, on whatever thread it comes; the oldest goes if there is no room."""
        self._loop.call_soon_threadsafe(self._put, reading)

    def _put(self, reading: int | None) -> None:
        if reading is None:
            self._ended = True
        else:
            self._waiting.append(reading)
        if len(self._waiting) > ROOM:
            self._waiting.popleft()
            self.dropped += 1
            self.overflowed.set()
        self._arrived.set()

    async def batch(self) -> list[int]:
        """Return the oldest readings, waiting for one if need be; none at the end. The same until `forget`."""
        while not (self._underway or self._waiting or self._ended):
            self._arrived.clear()
            await self._arrived.wait()
        while self._waiting and len(self._underway) < BATCH:
            self._underway.append(self._waiting.popleft())
        return self._underway

    def forget(self) -> None:
        """Let go of what is delivered."""
        self._underway = []


async def deliver(hub: HubConnection, outbox: Outbox) -> int:
    """Deliver until the readings end; return how many the hub has."""
    delivered = 0
    while batch := await outbox.batch():
        try:
            await hub.invoke("Record", json.dumps(batch), timeout=10)
        except (ConnectionClosedError, NotConnectedError, InvocationTimeoutError) as error:
            # It may have arrived or not: it is sent again, and the hub looks at the numbers.
            print(f"offline: {error}", file=sys.stderr)
            await hub.wait_connected()
            continue
        delivered += len(batch)
        outbox.forget()
    return delivered


async def lose_the_line(proxy: FaultProxy, outbox: Outbox) -> None:
    """Be offline until the device has no room any more."""
    await asyncio.sleep(0.2)
    proxy.refuse()
    proxy.cut()
    await outbox.overflowed.wait()
    proxy.accept()


async def main(url: str) -> None:
    """Deliver until the meter ends, over a line that is lost meanwhile."""
    there, outbox = urlsplit(url), Outbox()
    async with (
        FaultProxy(there.port or 80, there.hostname or "") as proxy,
        HubConnection(proxy.url(there.path), retry_start=True, stateful_reconnect=True) as hub,
    ):
        Meter(outbox.add).start()
        outage = asyncio.create_task(lose_the_line(proxy, outbox))
        delivered = await deliver(hub, outbox)
        await outage
    print(f"{delivered} readings are delivered, {outbox.dropped} had no room")
    assert delivered + outbox.dropped == READINGS


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1]))
