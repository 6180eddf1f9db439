"""Redis dies: with its memory on disk, without it, and with a replica that Sentinel promotes."""

from __future__ import annotations

import asyncio
import shutil
from contextlib import asynccontextmanager, suppress
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest

from signalr_sdk import HubConnection, Retry, StoreError, Timeouts
from signalr_sdk.delivery import ID, Feed, Outbox
from signalr_sdk.fleet import RedisStore, Relay
from signalr_sdk.testing import HubServer, LedgerHub

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable
    from pathlib import Path

    from tests.fleet.redis_process import RedisProcess

    from signalr_sdk.delivery import Position

pytestmark = [
    pytest.mark.timeout(60),
    pytest.mark.skipif(shutil.which("redis-server") is None, reason="no redis-server on this machine: install it"),
]

STREAM = "items"


class Emitting:
    """A hub that sends numbered events all the time, and a relay of two replicas."""

    def __init__(self, server: HubServer, hub: type[LedgerHub]) -> None:
        self._server, self._hub = server, hub
        self._is_ending = False

    async def emit(self) -> None:
        while not self._is_ending:
            await self._server.send("/ledger", "item", self._hub.state.next_item())
            await asyncio.sleep(0.01)

    def end(self) -> None:
        self._is_ending = True

    @property
    def last(self) -> int:
        return self._hub.state.number

    def relay(self, redis: Any) -> Relay:
        policy = Retry.forever(wait=lambda _state: 0.05)
        hub = HubConnection(
            self._server.url("/ledger"), reconnect=policy, retry_start=policy, timeouts=Timeouts(close=0.2)
        )

        def since(at: Position) -> Any:
            return hub.stream("Since", None, at.number)

        feed: Feed[Any] = Feed(hub, "item", number=lambda item: item["n"], start=0, catch_up=since)
        return Relay(hub, redis, STREAM, feeds=[feed])


@asynccontextmanager
async def emitting(*redis: Any) -> AsyncIterator[Emitting]:
    class Ledger(LedgerHub):
        pass

    async with HubServer({"/ledger": Ledger}) as server:
        made = Emitting(server, Ledger)
        relaying = [asyncio.create_task(made.relay(each).run()) for each in redis]
        sending = asyncio.create_task(made.emit())
        try:
            yield made
        finally:
            made.end()
            await sending
            for task in relaying:
                task.cancel()
            await asyncio.wait(relaying)
            for task in relaying:
                assert task.cancelled()


async def until(condition: Callable[[], object]) -> None:
    while True:
        with suppress(Exception):  # the server is away, or is loading its memory
            if condition():
                return
        await asyncio.sleep(0.02)


def entries(redis: Any) -> list[dict[str, str]]:
    return [fields for _id, fields in redis.xrange(STREAM)]


def position(redis: Any) -> int:
    return int(redis.hget("{items}:relay", "number:item") or 0)


def check(found: list[dict[str, str]], last: int) -> None:
    numbers = [int(fields["number"]) for fields in found if fields["kind"] == "event"]
    assert numbers == list(range(1, last + 1))
    tokens = [int(fields["token"]) for fields in found]
    assert tokens == sorted(tokens)


@pytest.mark.parametrize("keeps", [True, False])
async def test_redis_is_killed_and_started(folder: Path, keeps: bool) -> None:
    # redis-py belongs to an extra.
    from tests.fleet.redis_process import RedisProcess

    options = ["--appendonly", "yes", "--appendfsync", "always"] if keeps else []
    redis = RedisProcess(folder, *options).start()
    client = redis.client()
    try:
        async with emitting(redis.url, redis.url) as made:
            highest = 0
            for _ in range(2):
                before = made.last
                await until(partial(lambda least: position(client) > least, before + 50))
                highest = int(client.get("{items}:fence"))
                redis.kill()
                await asyncio.sleep(0.5)
                redis.start()
            before = made.last
            await until(lambda: position(client) > before + 50)
            made.end()
            await until(lambda: position(client) == made.last)
            check(entries(client), made.last)
            assert int(entries(client)[-1]["token"]) >= highest
            assert keeps or int(entries(client)[0]["token"]) > highest
    finally:
        client.close()
        redis.kill()


async def test_an_outbox_keeps_what_redis_keeps(folder: Path) -> None:
    # redis-py belongs to an extra.
    from tests.fleet.redis_process import RedisProcess

    class Ledger(LedgerHub):
        pass

    redis = RedisProcess(folder, "--appendonly", "yes", "--appendfsync", "always").start()
    policy = Retry.forever(wait=lambda _state: 0.05)
    try:
        async with HubServer({"/ledger": Ledger}) as server:
            hub = HubConnection(server.url("/ledger"), reconnect=policy, retry_start=policy)
            async with hub, Outbox(RedisStore(redis.url, "box"), hub) as outbox:
                killing = asyncio.create_task(kill_twice(redis))
                number = 0
                while number < 60 or not killing.done():
                    with suppress(StoreError):
                        await outbox.put("Store", ID, "k", number, id=f"own-{number}")
                        number += 1
                    await asyncio.sleep(0.01)
                await drained(outbox)
    finally:
        redis.kill()
    numbers = [row.n for row in Ledger.state.rows]
    assert [n for at, n in enumerate(numbers) if numbers[at - 1 : at] != [n]] == list(range(number))


async def kill_twice(redis: RedisProcess) -> None:
    for _ in range(2):
        await asyncio.sleep(0.3)
        redis.kill()
        await asyncio.sleep(0.3)
        await asyncio.to_thread(redis.start)


async def drained(outbox: Outbox) -> None:
    while True:
        with suppress(StoreError):
            return await outbox.drain()
        await asyncio.sleep(0.1)


async def test_sentinel_promotes_a_replica(folder: Path) -> None:
    # redis-py belongs to an extra.
    from redis.asyncio.sentinel import Sentinel
    from tests.fleet.redis_process import RedisProcess, free_port

    servers: list[RedisProcess] = []
    try:
        for name, more in (("one", []), ("two", ["--replicaof", "127.0.0.1"])):
            (folder / name).mkdir()
            options = [*more, str(servers[0].port)] if more else []
            servers.append(RedisProcess(folder / name, *options, port=free_port()).start())
        (folder / "s").mkdir()
        rules = folder / "s" / "sentinel.conf"
        rules.write_text(
            f"sentinel monitor main 127.0.0.1 {servers[0].port} 1\n"
            "sentinel down-after-milliseconds main 500\nsentinel failover-timeout main 5000\n",
            encoding="utf-8",
        )
        sentinel = RedisProcess(folder / "s", str(rules), "--sentinel", port=free_port(), plain=False).start()
        servers.append(sentinel)
        asked: Any = Sentinel([("127.0.0.1", sentinel.port)], socket_timeout=1)  # type: ignore[no-untyped-call]
        clients = [asked.master_for("main", socket_timeout=1) for _ in range(2)]
        one, two = servers[0].client(), servers[1].client()
        await until(lambda: two.info("replication")["master_link_status"] == "up")
        async with emitting(*clients) as made:
            await until(lambda: position(two) > 50)
            servers[0].kill()
            before = made.last
            await until(lambda: position(two) > before + 50)
            made.end()
            await until(lambda: position(two) == made.last)
            found = entries(two)
        check(found, made.last)
        for each in [*clients, *asked.sentinels]:
            await each.aclose()
        one.close()
        two.close()
    finally:
        for server in servers:
            server.kill()
