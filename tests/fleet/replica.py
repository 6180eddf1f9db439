"""One replica of a relay, as a process: `python -m tests.fleet.replica HUB_URL REDIS_URL TTL`.

Prints its tokens. Ends when its standard input closes, so that no replica outlives the tests.
"""

from __future__ import annotations

import asyncio
import logging
import re
import sys
from typing import TYPE_CHECKING, Any

from signalr_sdk import HubConnection, Retry, Timeouts
from signalr_sdk.delivery import Feed
from signalr_sdk.fleet import Relay

if TYPE_CHECKING:
    from signalr_sdk.delivery import Position

STREAM = "items"


class _Tokens(logging.Handler):
    def emit(self, record: logging.LogRecord) -> None:
        text = record.getMessage()
        found = re.search(r"now, token (\d+)$", text)
        line = f"token {found[1]}" if found else f"log {record.levelname} {text}"
        sys.stdout.write(line + "\n")
        sys.stdout.flush()


async def main(hub_url: str, redis_url: str, ttl: float) -> None:
    policy = Retry.forever(wait=lambda _state: 0.1)
    timeouts = Timeouts(close=ttl / 4)
    hub = HubConnection(hub_url, reconnect=policy, retry_start=policy, timeouts=timeouts)

    def since(at: Position) -> Any:
        return hub.stream("Since", at.epoch, at.number)

    feed: Feed[Any] = Feed(
        hub, "item", number=lambda item: item["n"], epoch=lambda item: item["epoch"], start=0, catch_up=since
    )
    reader = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
    relaying = asyncio.create_task(Relay(hub, redis_url, STREAM, feeds=[feed], ttl=ttl).run())
    ending = asyncio.create_task(reader.read())
    await asyncio.wait({relaying, ending}, return_when=asyncio.FIRST_COMPLETED)
    relaying.cancel()
    await asyncio.gather(relaying, return_exceptions=True)


if __name__ == "__main__":
    logging.getLogger("signalr_sdk.fleet").addHandler(_Tokens())
    logging.getLogger("signalr_sdk.fleet").setLevel(logging.INFO)
    asyncio.run(main(sys.argv[1], sys.argv[2], float(sys.argv[3])))
