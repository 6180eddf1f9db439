"""Books the trades of a stream of Redis, as one of any number of workers. What a dead worker had is taken over.

    python trades_worker.py redis://localhost WORKER [IDLE]

WORKER names this worker. Trades that another worker has had for IDLE seconds (by default 30, longer than a trade takes)
are taken over: that worker is dead.
"""

from __future__ import annotations

import asyncio
import json
import signal
import sys
from contextlib import suppress
from typing import Any

from redis.asyncio import Redis
from redis.exceptions import RedisError, ResponseError

STREAM, GROUP = "trades", "book"


async def book(redis: Any, entry: str, fields: dict[str, str]) -> None:
    """Book one entry, and acknowledge it, in one transaction. An entry that comes twice is booked once."""
    async with redis.pipeline(transaction=True) as steps:
        if fields["kind"] == "event":
            (trade,) = json.loads(fields["args"])
            steps.hset("booked", fields["number"], json.dumps(trade))
        else:
            # A `gap` names trades that nobody has, and a `takeover` another relay: for trades, only gaps matter.
            print(fields["kind"], fields["args"], flush=True)
        steps.xack(STREAM, GROUP, entry)
        await steps.execute()


async def work(redis: Any, worker: str, idle: float) -> None:
    """Book trades for ever."""
    with suppress(ResponseError):  # the group is there
        await redis.xgroup_create(STREAM, GROUP, id="0", mkstream=True)
    while True:
        _, taken_over, *_ = await redis.xautoclaim(STREAM, GROUP, worker, min_idle_time=int(idle * 1000), count=10)
        new = await redis.xreadgroup(GROUP, worker, {STREAM: ">"}, count=10, block=1000)
        for entry, fields in [*taken_over, *(each for _, entries in new for each in entries)]:
            if fields:  # the stream may have dropped the entry meanwhile
                await book(redis, entry, fields)


async def main(redis_url: str, worker: str, idle: str = "30") -> None:
    """Work until SIGTERM, over all outages of Redis."""
    # A read that blocks for a second must not count as a dead connection.
    redis: Any = Redis.from_url(redis_url, decode_responses=True, socket_timeout=10)
    task = asyncio.current_task()
    assert task is not None
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
    with suppress(asyncio.CancelledError):
        while True:
            try:
                await work(redis, worker, float(idle))
            except RedisError as error:
                print(error, flush=True)
                await asyncio.sleep(1)
    await redis.aclose()


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:4]))
