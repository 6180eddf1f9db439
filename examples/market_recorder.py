"""A recorder of a market: trades and quotes in the order received, one JSON line each, over an outage.

    python examples/market_recorder.py https://example.com/market

It wants a hub with the methods `JoinGroup(group)`, `SendToGroup(group, event, value)` and `Echo(value)`. The market and
the proxy belong to the rehearsal.
"""

from __future__ import annotations

import asyncio
import io
import json
import sys
from typing import TextIO
from urllib.parse import urlsplit

from signalr_sdk import HubConnection, Retry
from signalr_sdk.testing import FaultProxy

SYMBOLS = ("MSFT", "AAPL")
KINDS = ("Trade", "Quote")


async def record(hub: HubConnection, file: TextIO) -> None:
    """Write all trades and quotes into a file, until the market closes."""
    async for name, arguments in hub.events(*KINDS, "Closed"):
        if name == "Closed":
            return
        file.write(json.dumps([name, *arguments]) + "\n")


async def play(market: HubConnection, first: int) -> None:
    """Trade and quote in turns."""
    for number in range(first, first + 50):
        await market.invoke("SendToGroup", SYMBOLS[number % 2], KINDS[number % 2], number)


async def main(url: str) -> None:
    """Record, lose the line, record on."""
    there, back, file = urlsplit(url), asyncio.Event(), io.StringIO()  # in earnest `open("market.jsonl", "a")`
    async with FaultProxy(there.port or 80, there.hostname or "") as proxy, HubConnection(url) as market:
        hub = HubConnection(proxy.url(there.path), reconnect=Retry.forever(), retry_start=True)
        hub.on_reconnected(lambda _connection_id: back.set())

        @hub.on_setup
        async def subscribe(_connection_id: str | None) -> None:
            for symbol in SYMBOLS:
                await hub.invoke("JoinGroup", symbol)

        recording = asyncio.create_task(record(hub, file))
        async with hub:
            await play(market, 0)
            await hub.invoke("Echo", None)  # its answer comes after the events that were sent before
            proxy.cut()
            await back.wait()
            await play(market, 50)
            await market.invoke("SendToGroup", SYMBOLS[0], "Closed", None)
            await recording
    lines = [json.loads(line) for line in file.getvalue().splitlines()]
    assert lines == [[KINDS[number % 2], number] for number in range(100)]
    print(f"{len(lines)} events recorded, in order")


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1]))
