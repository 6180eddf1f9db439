"""A device that uploads what its meter counts, for as long as it counts, over lost connections too.

    python examples/device.py https://example.com/meters

It wants a hub with a method `Sum(numbers)` that takes a stream of whole numbers and returns their sum. The meter here
is made up: a library with a thread of its own that calls back for each reading, as drivers of sensors do.
"""

from __future__ import annotations

import asyncio
import sys
import threading
from collections import deque
from typing import TYPE_CHECKING

from signalr_sdk import ConnectionClosedError, HubConnection, NotConnectedError, StateError, Upload

if TYPE_CHECKING:
    from collections.abc import Callable

READINGS = 200


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


class Readings:
    """Readings that are not uploaded yet; while there is no connection, the newest 10 000 of them."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._waiting: deque[int | None] = deque(maxlen=10_000)
        self._arrived = asyncio.Event()

    def add(self, reading: int | None) -> None:
        """Take a reading, on whatever thread it comes."""
        self._loop.call_soon_threadsafe(self._put, reading)

    def _put(self, reading: int | None) -> None:
        self._waiting.append(reading)
        self._arrived.set()

    async def next(self) -> int | None:
        """Return the oldest, waiting for it if need be."""
        while not self._waiting:
            self._arrived.clear()
            await self._arrived.wait()
        return self._waiting.popleft()


async def upload(hub: HubConnection, readings: Readings) -> None:
    """Feed uploads until the readings end: one after another, a new one for each connection."""
    reading = await readings.next()
    while reading is not None:
        await hub.wait_connected()
        stream: Upload[int] = Upload()
        call = asyncio.create_task(hub.invoke("Sum", stream))
        try:
            while reading is not None:
                await stream.send(reading)
                reading = await readings.next()
        except StateError:
            # The call has ended, and says why. This reading goes into the next upload.
            pass
        else:
            stream.close()
        try:
            print(f"the hub has counted {await call}")
        except (ConnectionClosedError, NotConnectedError) as error:
            print(f"upload interrupted, what was on its way may be lost: {error}", file=sys.stderr)


async def main(url: str) -> None:
    """Upload until the meter ends."""
    readings = Readings()
    async with HubConnection(url, retry_start=True) as hub:
        Meter(readings.add).start()
        await upload(hub, readings)


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1]))
