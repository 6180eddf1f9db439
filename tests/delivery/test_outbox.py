"""An outbox in front of a hub: what arrives, in which order, and how often."""

from __future__ import annotations

import asyncio
import math
import threading
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, Any

import attrs
import pytest
from tests.tcp_proxy import until

from signalr_sdk import HubConnection, LocalProtocolError, OutboxFullError, RetryContext, StateError
from signalr_sdk.delivery import ID, Entry, Outbox, OutboxLimits, SqliteStore

if TYPE_CHECKING:
    from pathlib import Path

    from signalr_sdk.testing import HubServer, LedgerHub


@attrs.define
class Delays:
    """A retry policy: these delays, and then the end."""

    delays: list[float]
    asked: list[RetryContext] = attrs.field(factory=list)

    def next_delay(self, context: RetryContext) -> float | None:
        self.asked.append(context)
        return self.delays[context.attempt] if context.attempt < len(self.delays) else None


def numbers(hub: type[LedgerHub], key: str | None = None) -> list[int]:
    return [row.n for row in hub.state.rows if key is None or row.key == key]


async def test_a_call_is_delivered_with_its_id(path: Path, hub: HubConnection, ledger_hub: type[LedgerHub]) -> None:
    async with hub, Outbox(path, hub) as outbox:
        entry_id = await outbox.put("Store", ID, "kitchen", 20, key="kitchen")
        await outbox.drain(5)
    (row,) = ledger_hub.state.rows
    assert (row.id, row.key, row.n) == (entry_id, "kitchen", 20)


async def test_what_was_put_before_the_connection_waits_for_it(
    path: Path, hub: HubConnection, ledger_hub: type[LedgerHub]
) -> None:
    async with Outbox(path) as outbox:
        for n in range(5):
            await outbox.put("Store", ID, None, n)
    async with Outbox(path, hub) as outbox:
        assert (await outbox.stats()).waiting == 5
        async with hub:
            await outbox.drain(5)
        stats = await outbox.stats()
    assert numbers(ledger_hub) == [0, 1, 2, 3, 4]
    assert (stats.put, stats.delivered, stats.waiting, stats.bytes, stats.oldest) == (5, 5, 0, 0, None)


@pytest.mark.parametrize("lanes", [1, 8])
async def test_each_key_keeps_its_order_over_lost_connections(
    path: Path, hub: HubConnection, ledger_hub: type[LedgerHub], lanes: int
) -> None:
    ledger_hub.state.rule("k1", "abort", 3)
    ledger_hub.state.rule("k2", "abort-after", 1)
    async with hub, Outbox(path, hub, lanes=lanes) as outbox:
        await asyncio.gather(*(outbox.put("Store", ID, f"k{n % 4}", n, key=f"k{n % 4}") for n in range(80)))
        await outbox.drain(9)
    for key in range(4):
        found = numbers(ledger_hub, f"k{key}")
        assert list(dict.fromkeys(found)) == list(range(key, 80, 4))
    # Each of the four lost connections may take the answer to a call of each lane with it.
    assert max(ledger_hub.state.seen().values()) <= 5


async def test_a_key_that_waits_holds_up_no_other(path: Path, hub: HubConnection, ledger_hub: type[LedgerHub]) -> None:
    ledger_hub.state.rule("slow", "fail", -1)
    async with hub, Outbox(path, hub, retry=Delays([3600.0])) as outbox:
        await asyncio.gather(*(outbox.put("Store", ID, "slow", n, key="slow") for n in range(1500)))
        await outbox.put("Store", ID, "fast", 1, key="fast")
        while not numbers(ledger_hub, "fast"):
            await outbox.store.changed(0.05)
        assert (await outbox.stats()).waiting == 1500
    assert numbers(ledger_hub, "slow") == []


async def test_a_failure_is_tried_again_and_then_buried(
    path: Path, hub: HubConnection, ledger_hub: type[LedgerHub]
) -> None:
    ledger_hub.state.rule("bad", "fail", -1)
    ledger_hub.state.rule("good", "fail", 2)
    policy = Delays([0.0, 0.01])
    dead: list[Entry] = []
    delivered: list[tuple[str | None, Any]] = []
    async with Outbox(path, hub, retry=policy) as outbox:
        outbox.on_dead(dead.append)

        @outbox.on_delivered
        async def note(entry: Entry, result: Any) -> None:
            delivered.append((entry.key, result))

        bad = await outbox.put("Store", ID, "bad", 1, key="bad")
        await outbox.put("Store", ID, "good", 2, key="good")
        async with hub:
            await outbox.drain(5)
        (found,) = await outbox.entries(dead=True)
        assert found == dead[0]
        assert (found.id, found.attempts, found.dead, found.args) == (bad, 3, True, (bad, "bad", 1))
        assert found.error is not None
        assert "told to fail" in found.error
        stats = await outbox.stats()
        assert (stats.dead, stats.died, stats.delivered) == (1, 1, 1)
    assert delivered == [("good", 1)]
    assert sorted(context.attempt for context in policy.asked if context.was_connected) == [0, 0, 1, 1, 2]


async def test_a_dead_entry_comes_back_at_its_place(
    path: Path, hub: HubConnection, ledger_hub: type[LedgerHub]
) -> None:
    ledger_hub.state.rule("k", "fail", 1)
    async with Outbox(path, hub, retry=Delays([])) as outbox:
        first = await outbox.put("Store", ID, "k", 1, key="k")
        async with hub:
            await outbox.drain(5)
        await outbox.put("Store", ID, "k", 2, key="k")
        assert await outbox.retry("unknown") == 0
        assert await outbox.retry(first) == 1
        assert [(each.id == first, each.attempts) for each in await outbox.entries()] == [(True, 0), (False, 0)]
        async with hub:
            await outbox.drain(5)
    assert numbers(ledger_hub) == [1, 2]


async def test_entries_can_be_dropped(path: Path) -> None:
    async with Outbox(path) as outbox:
        ids = [await outbox.put("Store", n) for n in range(5)]
        assert await outbox.drop(ids[1], ids[3], "unknown") == 2
        first = await outbox.entries(limit=1)
        assert [each.args for each in first + await outbox.entries(after=first[0])] == [(0,), (2,), (4,)]
        stats = await outbox.stats()
        assert (stats.waiting, stats.dropped) == (3, 2)
        await outbox.drop(ids[0], ids[2], ids[4])
        assert (await outbox.stats()).bytes == 0


async def test_what_another_process_has_dropped_is_not_called(
    path: Path, hub: HubConnection, ledger_hub: type[LedgerHub]
) -> None:
    async with Outbox(path, hub) as outbox, Outbox(path) as other:
        ids = [await outbox.put("Store", ID, None, n) for n in range(3)]
        assert outbox._deliverer is not None
        while not outbox._deliverer._schedule.may_take(0.0):
            await outbox.store.changed(0.02)
        assert await other.drop(ids[0], ids[2]) == 2
        async with hub:
            await outbox.drain(5)
    assert numbers(ledger_hub) == [1]


async def test_a_batch_is_one_call_with_the_items_of_several_keys(
    path: Path, hub: HubConnection, ledger_hub: type[LedgerHub]
) -> None:
    async with Outbox(path, hub, batch={"StoreAll": 40}) as outbox:
        for n in range(100):
            await outbox.put("StoreAll", {"id": ID, "key": f"k{n % 3}", "n": n}, key=f"k{n % 3}")
        async with hub:
            await outbox.drain(5)
    assert numbers(ledger_hub) == list(range(100))
    assert [row.call.split()[1] for row in ledger_hub.state.rows[::40]] == ["40", "40", "20"]


@pytest.mark.parametrize("action", ["fail", "abort"])
async def test_the_guilty_entry_of_a_batch_is_found_and_buried(
    path: Path, hub: HubConnection, ledger_hub: type[LedgerHub], action: str
) -> None:
    ledger_hub.state.rule("guilty", action, -1)
    async with Outbox(path, hub, batch={"StoreAll": 64}, retry=Delays([0.0])) as outbox:
        for n in range(64):
            await outbox.put("StoreAll", {"id": "guilty" if n == 37 else ID, "key": None, "n": n})
        async with hub:
            await outbox.drain(9)
        (dead,) = await outbox.entries(dead=True)
    assert dead.attempts == 2
    assert dead.args[0]["n"] == 37
    assert numbers(ledger_hub) == [n for n in range(64) if n != 37]


async def test_the_entry_that_ends_every_connection_is_found_and_its_neighbours_are_delivered(
    path: Path, hub: HubConnection, ledger_hub: type[LedgerHub]
) -> None:
    limits = OutboxLimits(entry_bytes=100_000)
    async with Outbox(path, hub, lanes=4, retry=Delays([0.0]), limits=limits) as outbox:
        for n in range(8):
            await outbox.put("StoreValue", ID, "x" * (40_000 if n == 3 else 10), key=str(n))
        async with hub:
            await outbox.drain(9)
        (dead,) = await outbox.entries(dead=True)
    assert dead.key == "3"
    assert len(ledger_hub.state.seen()) == 7


async def test_what_the_protocol_refuses_is_dead_at_once(path: Path, hub: HubConnection, caplog: Any) -> None:
    async with hub, Outbox(path, hub) as outbox:
        await outbox.put("StoreValue", ID, {"secret": math.nan})
        await outbox.drain(5)
        (dead,) = await outbox.entries(dead=True)
    assert dead.attempts == 1
    assert dead.error is not None
    assert "['secret']: nan" in dead.error
    assert "a call of 'StoreValue', after 1 attempts: LocalProtocolError" in caplog.text
    assert "secret" not in caplog.text


async def test_an_own_id_is_put_once_also_after_the_delivery(
    path: Path, hub: HubConnection, ledger_hub: type[LedgerHub]
) -> None:
    async with Outbox(path, hub) as outbox:
        assert await outbox.put("Store", ID, None, 1, id="mine") == "mine"
        assert await outbox.put("Store", ID, None, 1, id="mine") == "mine"
        with pytest.raises(ValueError, match="another method, key or arguments"):
            await outbox.put("Store", ID, None, 2, id="mine")
        async with hub:
            await outbox.drain(5)
    async with Outbox(path) as outbox:
        assert await outbox.put("Store", ID, None, 1, id="mine") == "mine"
        with pytest.raises(ValueError, match="another method, key or arguments"):
            await outbox.put("Store", ID, "other", 1, id="mine")
        stats = await outbox.stats()
        assert (stats.waiting, stats.put) == (0, 1)
    assert ledger_hub.state.seen() == {"mine": 1}


async def test_an_own_id_is_forgotten_after_its_time(path: Path, hub: HubConnection) -> None:
    async with hub, Outbox(path, hub, limits=OutboxLimits(remember=0)) as outbox:
        for _ in range(2):
            await outbox.put("Store", ID, None, 1, id="mine")
            await outbox.drain(5)
        assert (await outbox.stats()).delivered == 2


async def test_old_entries_are_dropped(path: Path, hub: HubConnection, ledger_hub: type[LedgerHub]) -> None:
    async with Outbox(path, hub, limits=OutboxLimits(age=3600)) as outbox:
        await outbox.put("Store", ID, None, 1, expires=0)
        await outbox.put("Store", ID, None, 2)
        async with hub:
            await outbox.drain(5)
        stats = await outbox.stats()
    assert numbers(ledger_hub) == [2]
    assert (stats.expired, stats.delivered) == (1, 1)


async def test_a_full_outbox_refuses(path: Path) -> None:
    async with Outbox(path, limits=OutboxLimits(entries=2)) as outbox:
        await outbox.put("A", 1)
        await outbox.put("A", 2)
        with pytest.raises(OutboxFullError) as caught:
            await outbox.put("A", 3)
        assert caught.value.limit == "entries"
    async with Outbox(path, limits=OutboxLimits(bytes=10)) as outbox:
        with pytest.raises(OutboxFullError) as caught:
            await outbox.put("A", "x" * 20)
        assert caught.value.limit == "bytes"
        assert [each.args for each in await outbox.entries()] == [(1,), (2,)]


async def test_a_full_outbox_drops_the_oldest(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    async with Outbox(path, limits=OutboxLimits(entries=3), overflow="drop_oldest") as outbox:
        for n in range(5):
            await outbox.put("A", n)
        assert [each.args for each in await outbox.entries()] == [(2,), (3,), (4,)]
        assert (await outbox.stats()).dropped == 2
    assert "2 entries were dropped to make room" in caplog.text


async def test_arguments_that_cannot_be_kept_are_refused(path: Path) -> None:
    async with Outbox(path) as outbox:
        with pytest.raises(LocalProtocolError, match=r"arguments\[1\]"):
            await outbox.put("A", 1, object())
        with pytest.raises(LocalProtocolError, match="entry_bytes"):
            await outbox.put("A", "x" * 30_001)
        assert (await outbox.stats()).put == 0


async def test_puts_at_the_same_time_keep_the_order_of_the_calls(path: Path) -> None:
    async with Outbox(path) as outbox:
        await asyncio.gather(*(outbox.put("A", n) for n in range(500)))
        assert [each.args[0] for each in await outbox.entries(limit=1000)] == list(range(500))


async def test_only_a_started_outbox_can_be_used(path: Path) -> None:
    outbox = Outbox(path)
    with pytest.raises(StateError, match="not started"):
        await outbox.put("A")
    async with outbox:
        with pytest.raises(StateError, match="start"):
            await outbox.start()
        await outbox.put("A")
    with pytest.raises(StateError, match="not started"):
        await outbox.stats()
    await outbox.stop()
    async with outbox:
        draining = asyncio.create_task(outbox.drain())
        await outbox.store.changed(0.02)
    with pytest.raises(StateError, match="not started"):
        await draining
    async with outbox:
        assert (await outbox.stats()).waiting == 1


async def test_stop_ends_a_start(path: Path, hub: HubConnection) -> None:
    outbox = Outbox(path, hub)
    for _ in range(2):
        starting = asyncio.create_task(outbox.start())
        await asyncio.sleep(0)
        await outbox.stop()
        with pytest.raises(StateError, match="stop"):
            await starting
    async with outbox:
        await outbox.put("A")
        assert (await outbox.stats()).waiting == 1


def test_an_outbox_whose_loop_was_closed_starts_on_another(path: Path) -> None:
    outbox = Outbox(path, HubConnection("http://127.0.0.1:1/hub"))

    async def start() -> None:
        await outbox.start()
        await outbox.put("A")

    async def stop() -> int:
        await outbox.stop()
        async with outbox:
            return (await outbox.stats()).waiting

    for count in (1, 2):
        asyncio.run(start())
        assert asyncio.run(stop()) == count


async def test_one_of_two_delivers_and_the_other_takes_over(
    path: Path, hub: HubConnection, ledger_hub: type[LedgerHub]
) -> None:
    store = SqliteStore(path)
    async with hub, Outbox(store, hub) as second:
        async with Outbox(path, hub) as first:
            while not (await first.stats()).delivering:
                await first.store.changed(0.05)
            for n in range(20):
                await second.put("Store", ID, None, n)
            await second.drain(5)
        await second.put("Store", ID, None, 20)
        await second.drain(5)
    assert numbers(ledger_hub) == list(range(21))


async def test_stop_waits_for_calls_under_way(
    path: Path, hub: HubConnection, ledger_hub: type[LedgerHub], ledger_server: HubServer
) -> None:
    ledger_hub.state.rule("*", "late:200")
    async with hub:
        async with Outbox(path, hub) as outbox:
            await outbox.put("Store", ID, None, 1)
            await ledger_server.wait_called("Store")
        async with Outbox(path) as outbox:
            assert (await outbox.stats()).delivered == 1


async def test_stop_leaves_what_is_not_answered(
    path: Path, hub: HubConnection, ledger_hub: type[LedgerHub], ledger_server: HubServer
) -> None:
    ledger_hub.state.rule("*", "late:2000")
    async with hub:
        async with Outbox(path, hub, close=0.05) as outbox:
            await outbox.put("Store", ID, None, 1)
            await ledger_server.wait_called("Store")
        async with Outbox(path) as outbox:
            assert (await outbox.stats()).waiting == 1


@pytest.mark.parametrize("outbox_is_first", [True, False])
async def test_delivery_waits_for_earlier_on_connected_handlers(
    path: Path, hub: HubConnection, ledger_hub: type[LedgerHub], *, outbox_is_first: bool
) -> None:
    go_on = asyncio.Event()
    outbox = Outbox(path, hub)

    @hub.on_connected
    async def log_in(_connection_id: str | None) -> None:
        await go_on.wait()

    async with AsyncExitStack() as entered:
        for each in (outbox, hub) if outbox_is_first else (hub, outbox):
            await entered.enter_async_context(each)
        await outbox.put("Store", ID, None, 1)
        with pytest.raises(TimeoutError):
            await outbox.drain(0.1)
        assert numbers(ledger_hub) == []
        go_on.set()
        await outbox.drain(5)


async def test_delivery_waits_for_handlers_also_without_connection_ids(
    path: Path, ledger_server: HubServer, ledger_hub: type[LedgerHub]
) -> None:
    hub = HubConnection(ledger_server.url("/ledger"), skip_negotiation=True)
    go_on = asyncio.Event()
    go_on.set()

    @hub.on_connected
    async def log_in(_connection_id: str | None) -> None:
        await go_on.wait()

    async with hub, Outbox(path, hub) as outbox:
        await outbox.put("Store", ID, None, 1)
        await outbox.drain(5)
        go_on.clear()
        await hub.reconnect()
        await outbox.put("Store", ID, None, 2)
        with pytest.raises(TimeoutError):
            await outbox.drain(0.1)
        assert numbers(ledger_hub) == [1]
        go_on.set()
        await outbox.drain(5)


async def test_a_handler_of_the_hub_may_start_the_outbox_and_wait_for_it(
    path: Path, hub: HubConnection, ledger_hub: type[LedgerHub]
) -> None:
    outbox = Outbox(path, hub)
    drained = asyncio.Event()

    @hub.on_connected
    async def begin(_connection_id: str | None) -> None:
        await outbox.start()
        await outbox.put("Store", ID, None, 1)
        await outbox.drain(5)
        drained.set()

    async with hub:
        await drained.wait()
        await outbox.stop()
    assert numbers(ledger_hub) == [1]


async def test_a_call_that_takes_too_long_is_a_failure(
    path: Path, hub: HubConnection, ledger_hub: type[LedgerHub]
) -> None:
    ledger_hub.state.rule("*", "late:500")
    policy = Delays([0.0])
    async with hub, Outbox(path, hub, timeout=0.1, retry=policy) as outbox:
        await outbox.put("Store", ID, None, 1)
        await outbox.drain(5)
    assert [type(each.error).__name__ for each in policy.asked] == ["InvocationTimeoutError"]


async def test_attempts_last_over_restarts(path: Path, hub: HubConnection, ledger_hub: type[LedgerHub]) -> None:
    ledger_hub.state.rule("*", "fail", 2)
    first, second = Delays([0.1]), Delays([0.0, 0.0])
    async with hub:
        async with Outbox(path, hub, retry=first) as outbox:
            await outbox.put("Store", ID, None, 1)
            while not first.asked:
                await outbox.store.changed(0.02)
        async with Outbox(path, hub, retry=second) as outbox:
            (entry,) = await outbox.entries()
            assert entry.attempts == 1
            await outbox.drain(5)
    assert [each.attempt for each in second.asked] == [1]
    assert second.asked[0].elapsed >= 0.099
    assert numbers(ledger_hub) == [1]


async def test_a_policy_that_raises_buries(
    path: Path, hub: HubConnection, ledger_hub: type[LedgerHub], expected_errors: list[Any]
) -> None:
    class Broken:
        def next_delay(self, context: RetryContext) -> float | None:
            raise RuntimeError(context.attempt)

    ledger_hub.state.rule("*", "fail")
    async with hub, Outbox(path, hub, retry=Broken()) as outbox:
        await outbox.put("Store", ID, None, 1)
        await outbox.drain(5)
        assert (await outbox.stats()).dead == 1
    assert "the retry policy failed" in expected_errors[0].getMessage()


async def test_a_handler_that_raises_harms_nothing(
    path: Path, hub: HubConnection, ledger_hub: type[LedgerHub], expected_errors: list[Any]
) -> None:
    async with hub, Outbox(path, hub) as outbox:

        @outbox.on_delivered
        def fail(_entry: Entry, _result: object) -> None:
            raise RuntimeError("handler")

        await outbox.put("Store", ID, None, 1)
        await outbox.put("Store", ID, None, 2)
        await outbox.drain(5)
    assert numbers(ledger_hub) == [1, 2]
    assert expected_errors


@pytest.mark.parametrize(
    "options",
    [
        {"lanes": 0},
        {"timeout": -1},
        {"close": math.inf},
        {"overflow": "wait"},
        {"batch": {"A": 0}},
    ],
)
def test_wrong_arguments_are_refused(path: Path, options: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=next(iter(options))):
        Outbox(path, **options)


@pytest.mark.parametrize("kind", ["on_delivered", "on_dead"])
async def test_a_handler_may_stop_the_outbox(
    path: Path, hub: HubConnection, ledger_hub: type[LedgerHub], kind: str, caplog: pytest.LogCaptureFixture
) -> None:
    ledger_hub.state.rule("dead", "fail", -1)
    outbox = Outbox(path, hub, retry=Delays([]), close=3600)
    went_on: list[str] = []

    async def stop(entry: Entry, *_result: object) -> None:
        await asyncio.gather(outbox.stop(), outbox.stop())
        await asyncio.sleep(0)
        went_on.append(entry.id)

    getattr(outbox, kind)(stop)
    async with Outbox(path) as putting:
        for n in range(2):
            await putting.put("Store", ID, "dead" if kind == "on_dead" else "k", n, key="k")
        async with hub:
            await outbox.run()
            assert len(went_on) == 1
            stats = await putting.stats()
            assert (stats.delivered + stats.died, stats.waiting, stats.delivering) == (1, 1, False)
            async with outbox:
                pass
    assert "left behind" not in caplog.text


async def test_run_ends_with_stop(path: Path, hub: HubConnection, ledger_hub: type[LedgerHub]) -> None:
    outbox = Outbox(path, hub)
    delivered = asyncio.Event()
    outbox.on_delivered(lambda _entry, _result: delivered.set())
    async with Outbox(path) as putting:
        await putting.put("Store", ID, None, 1)
    async with hub, asyncio.TaskGroup() as tasks:
        tasks.create_task(outbox.run())
        await delivered.wait()
        await outbox.stop()


async def test_a_hub_of_another_event_loop_is_no_silent_wait(
    path: Path, hub: HubConnection, caplog: pytest.LogCaptureFixture
) -> None:
    connected, over = threading.Event(), threading.Event()

    async def elsewhere() -> None:
        async with hub:
            connected.set()
            await asyncio.to_thread(over.wait)

    thread = asyncio.create_task(asyncio.to_thread(asyncio.run, elsewhere()))
    await asyncio.to_thread(connected.wait)
    async with Outbox(path, hub, close=0) as outbox:
        await outbox.put("Store", ID, None, 1)
        await until(lambda: "belongs to another event loop" in caplog.text)
        assert (await outbox.stats()).waiting == 1
    over.set()
    await thread
