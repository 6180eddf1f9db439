"""Adds the trades of a hub to a stream of Redis: each once and in order, on one of any number of replicas at a time.

    python trades_relay.py http://localhost:5000/trades redis://localhost

The hub sends the event `Trade` with an object that has a number `n`. Its method `TradesSince(n)` streams the trades
behind a number.
"""

from __future__ import annotations

import asyncio
import logging
import signal
import sys
from contextlib import suppress
from typing import Any

from signalr_sdk import HubConnection, Retry, Timeouts
from signalr_sdk.delivery import Feed
from signalr_sdk.fleet import Relay


async def main(hub_url: str, redis_url: str) -> None:
    """Relay until SIGTERM."""
    hub = HubConnection(
        hub_url,
        reconnect=Retry.forever(),
        retry_start=Retry.forever(),
        timeouts=Timeouts(close=0.8),  # less than a third of the lease's three seconds
    )
    trades: Feed[dict[str, Any]] = Feed(
        hub,
        "Trade",
        number=lambda trade: trade["n"],
        catch_up=lambda at: hub.stream("TradesSince", at.number),
        start=0,
        check_every=30,
    )
    relaying = asyncio.create_task(Relay(hub, redis_url, "trades", feeds=[trades]).run())
    # The end of the process in order: another replica takes over at once, not when the lease has expired.
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, relaying.cancel)
    with suppress(asyncio.CancelledError):
        await relaying


if __name__ == "__main__":
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(name)s %(message)s")
    asyncio.run(main(*sys.argv[1:3]))
