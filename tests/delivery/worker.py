"""A program that puts into an outbox, delivers from it, or both, and says on its standard output what it has done.

    python -m tests.delivery.worker FILE|URL [--url URL] [--protocol P] [--lanes N] [--keys a,b] [--first N] [--count N]

It says `try KEY N` before each put and `put KEY N ID` after it, `delivering` when it has the right to deliver, and with
`--count` ends when it has put so many.
"""

from __future__ import annotations

import argparse
import asyncio
import itertools
import sys
from typing import TYPE_CHECKING

from signalr_sdk import HubConnection, Retry
from signalr_sdk.delivery import ID, Outbox

if TYPE_CHECKING:
    from signalr_sdk.delivery import OutboxStore

# A program that puts as fast as it can would keep the processors from all others.
PAUSE = 0.004  # seconds
# With so many entries waiting, a program that puts waits too: on a slow machine, their number would grow for ever.
MOST = 500


def say(*words: object) -> None:
    """Write a line at once: this process may be killed."""
    sys.stdout.write(" ".join(map(str, words)) + "\n")
    sys.stdout.flush()


def store_of(file: str) -> str | OutboxStore:
    """Return the store: a file, or in Redis if the name is a URL."""
    if "://" not in file:
        return file
    # redis-py belongs to an extra.
    from signalr_sdk.fleet import RedisStore

    return RedisStore(file, "box")


async def put(outbox: Outbox, keys: list[str], first: int, count: int | None) -> None:
    numbers = itertools.count(first) if count is None else range(first, first + count)
    for n in numbers:
        key = keys[n % len(keys)]
        say("try", key, n)
        say("put", key, n, await outbox.put("Store", ID, key, n, key=key))
        await asyncio.sleep(PAUSE)
        while n % 50 == 0 and (await outbox.stats()).waiting > MOST:  # noqa: ASYNC110 - other processes deliver
            await asyncio.sleep(1.0)


async def report(outbox: Outbox) -> None:
    while not (await outbox.stats()).delivering:
        await outbox.store.changed(0.05)
    say("delivering")


async def main(options: argparse.Namespace) -> None:
    hub = None
    if options.url:
        policy = Retry.forever(wait=lambda _state: 0.05)
        hub = HubConnection(options.url, protocol=options.protocol, reconnect=policy, retry_start=policy)
    async with Outbox(store_of(options.file), hub, lanes=options.lanes) as outbox, asyncio.TaskGroup() as tasks:
        running = tasks.create_task(hub.run()) if hub is not None else None
        if hub is not None:
            tasks.create_task(report(outbox))
        if options.keys:
            await put(outbox, options.keys.split(","), options.first, options.count)
        if options.drain:
            await outbox.drain()
            say("drained")
        elif hub is not None:
            await asyncio.Event().wait()
        if running is not None:
            running.cancel()


def parsed(arguments: list[str] | None = None) -> argparse.Namespace:
    parser = argparse.ArgumentParser()
    parser.add_argument("file")
    parser.add_argument("--url")
    parser.add_argument("--protocol", default="json")
    parser.add_argument("--lanes", type=int, default=1)
    parser.add_argument("--keys", default="")
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--count", type=int)
    parser.add_argument("--drain", action="store_true")
    return parser.parse_args(arguments)


if __name__ == "__main__":
    asyncio.run(main(parsed()))
