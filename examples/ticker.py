"""A ticker with a slow consumer: skip what is old, or let the server wait.

    python examples/ticker.py https://example.com/prices

It wants a hub with a method `Flood(event, count, size)` that sends so many numbered events to its caller, and a stream
`Counter(count, delay)`.
"""

from __future__ import annotations

import asyncio
import sys

from signalr_sdk import HubConnection

EVENTS = 20_000
ITEMS = 2_000


async def draw(number: int) -> None:
    """Show a price, which takes longer than the next one takes to come."""
    await asyncio.sleep(0.002)
    if number % 500 == 0:
        print(f"  at {number}")


async def only_the_newest(hub: HubConnection) -> None:
    """Handle what is new, and never be more than 10 prices behind."""
    drawn = 0
    async with hub.messages("price", buffer=10, overflow="drop_oldest") as prices:
        flood = asyncio.create_task(hub.invoke("Flood", "price", EVENTS, 20))
        async for number, _text in prices:
            await draw(number)
            drawn += 1
            # The newest is never skipped, so the last one comes for certain.
            if number == EVENTS - 1:
                break
        await flood
    print(f"the newest only: {drawn} prices drawn, {EVENTS - drawn} skipped")


async def every_one(hub: HubConnection) -> None:
    """Handle each item: while 100 wait, nothing more is read, and then the server waits too."""
    drawn = 0
    async with hub.stream("Counter", ITEMS, 0, item_type=int, buffer=100) as numbers:
        async for number in numbers:
            await draw(number)
            drawn += 1
    print(f"every one: {drawn} of {ITEMS} drawn")


async def main(url: str) -> None:
    """Show both ways."""
    async with HubConnection(url) as hub:
        await only_the_newest(hub)
        await every_one(hub)


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1]))
