"""`RedisStore`: an outbox in Redis, which many machines share."""

from __future__ import annotations

import asyncio
import random
import signal
import time
from contextlib import AsyncExitStack, suppress
from functools import partial
from typing import TYPE_CHECKING, Any

import attrs
import pytest

from signalr_sdk import HubConnection, LeaseLostError, OutboxFullError, Retry, StateError, StoreError
from signalr_sdk.delivery import ID, Outbox, OutboxLimits, Page, SqliteStore, StoredEntry
from signalr_sdk.fleet import RedisStore
from signalr_sdk.testing import HubServer, LedgerHub

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable
    from pathlib import Path

    from tests.fleet.redis_process import RedisProcess

    from signalr_sdk.delivery import OutboxStore

LIMITS = OutboxLimits()

# A test that fails on a busy machine shows nothing.
pytestmark = pytest.mark.timeout(60)


@pytest.fixture
async def store(redis_process: RedisProcess) -> AsyncIterator[RedisStore]:
    """An open store."""
    store = RedisStore(redis_process.url, "box", ttl=9)
    await store.open()
    yield store
    await store.close()


@pytest.fixture
def ledger_hub() -> type[LedgerHub]:
    """A hub with a ledger of its own."""

    class TestLedger(LedgerHub):
        pass

    return TestLedger


@pytest.fixture
async def server(ledger_hub: type[LedgerHub]) -> AsyncIterator[HubServer]:
    """A server with this hub."""
    async with HubServer({"/ledger": ledger_hub}, parallel_invocations=16) as server:
        yield server


def entry(number: int, *, key: str | None = None, own: str | None = None, size: int = 10) -> StoredEntry:
    return StoredEntry(own or f"id-{number}", "Store", key, bytes(size), 1.8e9, None, None if own is None else 60.0)


async def add(store: OutboxStore, *entries: StoredEntry, limits: OutboxLimits = LIMITS) -> list[bool]:
    return await asyncio.gather(*(store.add(each, each.body, limits, "refuse") for each in entries))


def without_clock(stats: Any) -> Any:
    return attrs.evolve(stats, oldest=None, delivering=False)


# As SqliteStore does


async def _update(failed: StoredEntry, store: OutboxStore) -> None:
    await store.update(failed)


class Both:
    """The same operations on a SqliteStore and a RedisStore, with equal results."""

    def __init__(self, one: SqliteStore, other: RedisStore, seed: int) -> None:
        self.stores: tuple[OutboxStore, OutboxStore] = (one, other)
        self.random = random.Random(seed)
        self.ids: list[str] = []

    async def both(self, call: Callable[[OutboxStore], Any]) -> Any:
        results = []
        for store in self.stores:
            try:
                result = await call(store)
                if isinstance(result, Page):
                    # The revisions change at the same time, by another amount. At the end, any position behind the last
                    # entry means the same.
                    result = attrs.evolve(result, revision=0, position=result.position if result.more else 0)
                results.append(result)
            except (OutboxFullError, ValueError) as error:
                results.append(repr(error))
        assert results[0] == results[1]
        return results[0]

    async def step(self) -> None:
        kind = self.random.choice(
            ["add", "add", "add", "done", "update", "drop", "read", "read_key", "entries", "stats"]
        )
        await getattr(self, f"_{kind}")()

    def _entry(self) -> StoredEntry:
        own = self.random.choice([None, None, f"own-{self.random.randrange(8)}"])
        number = len(self.ids)
        made = entry(number, key=self.random.choice([None, "a", "b", "é"]), own=own, size=self.random.choice([5, 60]))
        self.ids.append(made.id)
        return made

    async def _add(self) -> None:
        limits = OutboxLimits(entries=20, bytes=1000)
        overflow: Any = self.random.choice(["refuse", "drop_oldest"])
        made = self._entry()
        await self.both(lambda store: store.add(made, made.body, limits, overflow))

    async def _some(self) -> list[StoredEntry]:
        waiting = (await self.both(lambda store: store.read(0, 100))).entries
        return self.random.sample(waiting, min(len(waiting), 2))

    async def _done(self) -> None:
        how: Any = self.random.choice(["delivered", "expired"])
        some = await self._some()
        await self.both(lambda store: store.done(some, how))

    async def _update(self) -> None:
        for each in await self._some():
            failed = attrs.evolve(
                each, attempts=each.attempts + 1, elapsed=0.5, delay=2.0, due=1.8e9, error="é", dead=each.attempts == 1
            )
            await self.both(partial(_update, failed))

    async def _drop(self) -> None:
        ids = self.random.sample(self.ids, min(len(self.ids), 3))
        all_dead = self.random.random() < 0.2
        await self.both(lambda store: store.drop(ids, all_dead))

    async def _read(self) -> None:
        after, limit = self.random.randrange(30), self.random.randrange(1, 10)
        skip = self.random.sample([None, "a", "b"], self.random.randrange(3))
        await self.both(lambda store: store.read(after, limit, skip=skip))

    async def _read_key(self) -> None:
        after, limit, key = (
            self.random.randrange(30),
            self.random.randrange(1, 10),
            self.random.choice([None, "a", "é"]),
        )
        await self.both(lambda store: store.read(after, limit, key=key, until=after + 20))

    async def _entries(self) -> None:
        dead, after = self.random.choice([None, True, False]), self.random.choice([None, 3])
        await self.both(lambda store: store.entries(dead=dead, limit=7, after=after))

    async def _stats(self) -> None:
        one, other = [without_clock(await store.stats()) for store in self.stores]
        assert one == other


@pytest.mark.parametrize("seed", range(5))
async def test_the_store_does_what_sqlite_store_does(seed: int, store: RedisStore, tmp_path: Path) -> None:
    sqlite = SqliteStore(tmp_path / "box.db")
    await sqlite.open()
    async with sqlite.claim(), store.claim():
        both = Both(sqlite, store, seed)
        for _ in range(150):
            await both.step()
    await sqlite.close()


async def test_dead_entries_are_retried_at_the_end(store: RedisStore) -> None:
    await add(store, *(entry(number) for number in range(3)))
    async with store.claim():
        first, second, _third = (await store.read(0, 10)).entries
        for each in (first, second):
            await store.update(attrs.evolve(each, attempts=3, error="no", dead=True))
    assert [each.id for each in await store.entries(dead=True)] == ["id-0", "id-1"]
    assert await store.retry(["id-1", "id-7"]) == 1
    assert await store.retry([]) == 1
    assert [(each.id, each.attempts, each.dead) for each in (await store.read(0, 10)).entries] == [
        ("id-2", 0, False),
        ("id-1", 0, False),
        ("id-0", 0, False),
    ]


async def test_many_dead_entries_are_handled_in_parts(store: RedisStore) -> None:
    await add(store, *(entry(number) for number in range(450)))
    async with store.claim():
        for each in (await store.read(0, 500)).entries:
            await store.update(attrs.evolve(each, dead=True))
    assert await store.retry([]) == 450
    assert len(await store.entries(limit=1000)) == 450
    assert await store.drop([f"id-{number}" for number in range(449)], all_dead=True) == 449
    assert (await store.stats()).waiting == 1


async def test_a_read_is_bounded(store: RedisStore) -> None:
    await add(store, *(entry(number, size=30_000) for number in range(100)))
    page = await store.read(0, 1000)
    assert page.more
    assert len(page.entries) < 100
    assert (await store.read(page.position, 1000)).entries[0].id == f"id-{len(page.entries)}"
    assert len(await store.entries()) == 100
    await add(store, *(entry(number, key="a") for number in range(100, 2200)))
    await add(store, entry(2200, key="b"))
    page = await store.read(100, 10, skip=["a"])
    assert (page.entries, page.more) == ([], True)
    assert [each.id for each in (await store.read(page.position, 10, skip=["a"])).entries] == ["id-2200"]
    lag = await store.read(0, 300, key="a", until=2150)
    assert (len(lag.entries), lag.more) == (300, True)


# Many at once


async def test_thousands_at_once_keep_their_order(store: RedisStore) -> None:
    assert all(await add(store, *(entry(number, size=100) for number in range(10_000))))
    found: list[StoredEntry] = []
    while len(found) < 10_000:
        found += (await store.read(found[-1].position if found else 0, 1000)).entries
    assert [each.id for each in found] == [f"id-{number}" for number in range(10_000)]
    await asyncio.gather(*(store.stats() for _ in range(500)), *add_more(store))
    assert (await store.stats()).waiting == 11_000


def add_more(store: RedisStore) -> list[Any]:
    return [add(store, entry(number)) for number in range(10_000, 11_000)]


async def test_a_cancelled_put_disturbs_no_other(store: RedisStore) -> None:
    puts = [asyncio.create_task(add(store, entry(number))) for number in range(300)]
    await asyncio.sleep(0)
    for put in puts[::3]:
        put.cancel()
    await asyncio.gather(*puts, return_exceptions=True)
    left = [each.id for each in await store.entries(limit=1000)]
    assert {f"id-{number}" for number in range(300) if number % 3} <= set(left)
    assert left == sorted(left, key=lambda id_: int(id_[3:]))


async def test_what_is_dropped_to_make_room_is_a_warning(
    redis_process: RedisProcess, caplog: pytest.LogCaptureFixture
) -> None:
    limits = OutboxLimits(entries=3)
    async with Outbox(RedisStore(redis_process.url, "box"), limits=limits, overflow="drop_oldest") as outbox:
        await asyncio.gather(*(outbox.put("A", n) for n in range(5)))
        assert [each.args for each in await outbox.entries()] == [(2,), (3,), (4,)]
        assert (await outbox.stats()).dropped == 2
    assert [each.getMessage() for each in caplog.records if "to make room" in each.getMessage()] == [
        "the outbox is full: 2 entries were dropped to make room"
    ]


# The right to deliver


async def test_only_the_holder_of_the_lease_changes_entries(
    redis_process: RedisProcess, store: RedisStore, redis: Any
) -> None:
    await add(store, entry(1))
    with pytest.raises(LeaseLostError):
        await store.done((await store.read(0, 1)).entries, "delivered")
    async with store.claim():
        assert (await store.stats()).delivering
        found = (await store.read(0, 1)).entries
        token = redis.get("{box}:sink")
        redis.set("{box}:sink", str(int(token) + 1))
        with pytest.raises(LeaseLostError):
            await store.done(found, "delivered")
        with pytest.raises(LeaseLostError):
            await store.update(found[0])
    assert not (await store.stats()).delivering
    redis.set("{box}:sink", "9" * 15)
    with pytest.raises(LeaseLostError):
        async with store.claim():
            pass
    assert (await store.stats()).waiting == 1


async def test_a_claim_that_is_lost_ends_its_body(store: RedisStore, redis: Any) -> None:
    async def deliver() -> None:
        async with store.claim():
            redis.delete("{box}:lease")
            await asyncio.Event().wait()

    with pytest.raises(LeaseLostError):
        await deliver()


# When Redis is away, full, or may forget


async def test_errors_are_store_errors(redis_process: RedisProcess, store: RedisStore) -> None:
    redis_process.kill()
    with pytest.raises(StoreError, match="Redis") as caught:
        await add(store, entry(1))
    assert caught.value.reason == "io"
    with pytest.raises(StoreError):
        await store.read(0, 1)
    other = RedisStore(redis_process.url, "box")
    with pytest.raises(StoreError):
        await other.open()
    redis_process.start()
    await again(lambda: add(store, entry(1, own="mine")))
    assert (await store.stats()).waiting == 1


async def again(put: Callable[[], Awaitable[object]]) -> None:
    """Put until the put succeeds: redis-py 5 notices only by an error that its connection is gone."""
    while True:
        with suppress(StoreError):
            await put()
            return


async def test_a_put_into_a_silent_redis_can_be_cancelled(redis_process: RedisProcess, store: RedisStore) -> None:
    redis_process.signal(signal.SIGSTOP)
    try:
        put = asyncio.create_task(add(store, entry(1)))
        await asyncio.sleep(0.1)
        begun = time.monotonic()
        put.cancel()
        with pytest.raises(asyncio.CancelledError):
            await put
        assert time.monotonic() - begun < 4
    finally:
        redis_process.signal(signal.SIGCONT)


async def test_a_full_redis_refuses_puts_and_lets_deliveries_go_on(store: RedisStore, redis: Any) -> None:
    await add(store, *(entry(number, own=f"own-{number}") for number in range(4)))
    redis.config_set("maxmemory", "1")
    with pytest.raises(StoreError) as caught:
        await add(store, entry(9))
    assert caught.value.reason == "full"
    async with store.claim():
        first, second, third, fourth = (await store.read(0, 10)).entries
        await store.update(attrs.evolve(first, attempts=1))
        await store.update(attrs.evolve(second, attempts=1, dead=True))
        await store.done([third], "delivered")
        await store.done([fourth], "expired")
    assert await store.drop([], all_dead=True) == 1
    assert await store.drop([first.id], all_dead=False) == 1
    stats = await store.stats()
    assert (stats.waiting, stats.dead, stats.bytes) == (0, 0, 0)
    redis.config_set("maxmemory", "0")
    assert await add(store, entry(2, own="own-2")) == [False]


@pytest.mark.parametrize("policy", ["allkeys-lru", "volatile-ttl"])
async def test_a_redis_that_drops_keys_is_refused(redis_process: RedisProcess, redis: Any, policy: str) -> None:
    redis.config_set("maxmemory-policy", policy)
    store = RedisStore(redis_process.url, "box")
    with pytest.raises(StoreError, match=f"noeviction, not {policy}"):
        await store.open()


async def test_a_closed_store(redis_process: RedisProcess) -> None:
    store = RedisStore(redis_process.url, "box")
    with pytest.raises(StateError):
        await store.stats()
    await store.open()
    await store.open()
    await store.close()
    assert (await store.stats()).waiting == 0
    await store.close()
    with pytest.raises(StateError):
        await add(store, entry(1))
    assert repr(store) == "<RedisStore 'box'>"


# With an outbox


def connection(server: HubServer) -> HubConnection:
    policy = Retry.forever(wait=lambda _state: 0.02)
    return HubConnection(server.url("/ledger"), reconnect=policy, retry_start=policy)


def order_of_keys(hub: type[LedgerHub]) -> dict[str | None, list[int]]:
    """Return the numbers of each key, without doubles that follow at once."""
    found: dict[str | None, list[int]] = {}
    for row in hub.state.rows:
        numbers = found.setdefault(row.key, [])
        if numbers[-1:] != [row.n]:
            numbers.append(row.n)
    return found


async def test_an_outbox_delivers(server: HubServer, ledger_hub: type[LedgerHub], redis_process: RedisProcess) -> None:
    async with connection(server) as hub, Outbox(RedisStore(redis_process.url, "box"), hub, lanes=4) as outbox:
        ledger_hub.state.rule("*", "abort-after", times=2)
        for number in range(100):
            await outbox.put("Store", ID, f"k{number % 5}", number, key=f"k{number % 5}", id=f"own-{number}")
        await outbox.put("Store", ID, "k0", 0, key="k0", id="own-0")
        await outbox.drain(40)
        stats = await outbox.stats()
        assert (stats.put, stats.delivered, stats.waiting) == (100, 100, 0)
    assert order_of_keys(ledger_hub) == {f"k{key}": list(range(key, 100, 5)) for key in range(5)}


async def test_five_machines_put_and_another_one_takes_over(
    server: HubServer, ledger_hub: type[LedgerHub], redis_process: RedisProcess, redis: Any
) -> None:
    async with AsyncExitStack() as entered:
        boxes = []
        for _ in range(5):
            hub = await entered.enter_async_context(connection(server))
            store = RedisStore(redis_process.url, "box", ttl=3)
            boxes.append(await entered.enter_async_context(Outbox(store, hub)))

        async def put_all(machine: int, box: Outbox) -> None:
            for number in range(50):
                await box.put("Store", ID, f"m{machine}", number, key=f"m{machine}")
                if machine == 0 and number in (15, 30):
                    redis.delete("{box}:lease")

        await asyncio.gather(*(put_all(machine, box) for machine, box in enumerate(boxes)))
        await boxes[0].drain(40)
    assert order_of_keys(ledger_hub) == {f"m{machine}": list(range(50)) for machine in range(5)}


async def test_an_outbox_goes_on_when_redis_has_lost_its_memory(
    server: HubServer, ledger_hub: type[LedgerHub], redis_process: RedisProcess
) -> None:
    async with connection(server) as hub, Outbox(RedisStore(redis_process.url, "box"), hub) as outbox:
        await outbox.put("Store", ID, "k", 1)
        await outbox.drain(40)
        redis_process.kill()
        redis_process.start()
        await again(lambda: outbox.put("Store", ID, "k", 2, id="mine"))
        await outbox.drain(40)
    assert [row.n for row in ledger_hub.state.rows] == [1, 2]
