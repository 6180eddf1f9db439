"""A feed: each number once and in order, whatever happens to the connection, the hub and the program."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

from signalr_sdk import FeedGapError, FeedResetError, HubConnection, StateError
from signalr_sdk.delivery import Feed, Position, SqliteStore

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from signalr_sdk.testing import LedgerHub


def feed(hub: HubConnection, **options: Any) -> Feed[dict[str, Any]]:
    """Return a feed of the events of a ledger hub."""
    options.setdefault("catch_up", lambda at: hub.stream("Since", at.epoch, at.number))
    return Feed(hub, "item", number=lambda item: item["n"], **options)


def with_epoch(hub: HubConnection, **options: Any) -> Feed[dict[str, Any]]:
    return feed(hub, epoch=lambda item: item["epoch"], **options)


async def take(items: Feed[dict[str, Any]], count: int) -> list[int]:
    return [(await anext(items))["n"] for _ in range(count)]


async def test_events_come_once_and_in_order(hub: HubConnection) -> None:
    async with feed(hub) as items, hub:
        await hub.invoke("Emit", 3, 0)
        await hub.invoke("EmitAgain", 2)
        await hub.invoke("EmitBackwards", 3)
        assert await take(items, 6) == [1, 2, 3, 4, 5, 6]
        assert items.position == Position(6)


async def test_a_feed_begins_where_it_is_told(hub: HubConnection, ledger_hub: type[LedgerHub]) -> None:
    for _ in range(5):
        ledger_hub.state.next_item()
    async with hub:
        async with feed(hub, start=0) as items:
            assert await take(items, 5) == [1, 2, 3, 4, 5]
        async with feed(hub, start=Position(3)) as items:
            assert await take(items, 2) == [4, 5]
        async with feed(hub) as items:
            await hub.invoke("Emit", 1, 0)
            assert await take(items, 1) == [6]


async def test_missed_events_are_fetched_after_a_reconnect(hub: HubConnection, ledger_hub: type[LedgerHub]) -> None:
    async with feed(hub) as items, hub:
        await hub.invoke("Emit", 2, 0)
        assert await take(items, 2) == [1, 2]
        await hub.send("AbortMe")
        for _ in range(3):
            ledger_hub.state.next_item()
        assert await take(items, 3) == [3, 4, 5]


async def test_an_event_lost_in_silence_is_fetched_when_the_next_one_comes(hub: HubConnection) -> None:
    async with feed(hub) as items, hub:
        await hub.invoke("Emit", 1, 0)
        await hub.invoke("EmitSilently", 2)
        await hub.invoke("Emit", 1, 0)
        assert await take(items, 4) == [1, 2, 3, 4]


async def test_the_feed_looks_for_silent_losses_when_it_is_told(hub: HubConnection) -> None:
    async with feed(hub, check_every=0.05) as items, hub:
        await hub.invoke("Emit", 1, 0)
        await hub.invoke("EmitSilently", 2)
        assert await take(items, 3) == [1, 2, 3]


@pytest.mark.parametrize("is_connected", [False, True])
async def test_the_feed_sleeps_until_it_can_look(
    hub: HubConnection, ledger_hub: type[LedgerHub], caplog: pytest.LogCaptureFixture, is_connected: bool
) -> None:
    """Whether there is no connection, or a `catch_up` that has failed is not due again: the time to look passes."""
    turns = 0

    class Counted(Feed[dict[str, Any]]):
        def _due(self) -> float | None:
            nonlocal turns
            turns += 1
            return super()._due()

    def fail(_at: Position) -> Any:
        raise OSError("no history")

    items = Counted(hub, "item", number=lambda item: item["n"], catch_up=fail, check_every=0.01)
    async with items:
        async with hub:
            await hub.invoke("Emit", 1, 0)
            assert await take(items, 1) == [1]
            while caplog.text.count("catch_up of the feed 'item' failed") < 4:  # noqa: ASYNC110  # the log has no event
                await asyncio.sleep(0.01)
            if is_connected:
                turns = 0
                await asyncio.sleep(0.3)
        if not is_connected:
            turns = 0
            await asyncio.sleep(0.3)
    assert turns < 20


async def test_catch_up_may_return_a_list(hub: HubConnection, ledger_hub: type[LedgerHub]) -> None:
    for _ in range(3):
        ledger_hub.state.next_item()
    async with hub, feed(hub, start=1, catch_up=lambda at: hub.invoke("SinceList", None, at.number)) as items:
        assert await take(items, 2) == [2, 3]


async def test_a_position_lasts_over_a_restart(path: Path, hub: HubConnection, ledger_hub: type[LedgerHub]) -> None:
    for _ in range(5):
        ledger_hub.state.next_item()
    async with hub:
        async with with_epoch(hub, start=0, store=path) as items:
            assert await take(items, 3) == [1, 2, 3]
        # The third was handed out, and not acknowledged by asking for the fourth.
        async with with_epoch(hub, start=0, store=path) as items:
            assert items.position == Position(2, "e1")
            assert await take(items, 1) == [3]
        async with with_epoch(hub, start=0, store=path, name="other") as items:
            assert await take(items, 1) == [1]


async def test_items_can_be_acknowledged_by_hand(path: Path, hub: HubConnection, ledger_hub: type[LedgerHub]) -> None:
    for _ in range(5):
        ledger_hub.state.next_item()
    store = SqliteStore(path)
    async with hub:
        async with feed(hub, start=0, store=store, auto_ack=False) as items:
            await take(items, 2)
            await items.ack()
            assert await store.load("item") == Position(2)
            await take(items, 2)
        async with feed(hub, start=0, store=store) as items:
            assert await take(items, 1) == [3]


async def test_a_feed_without_a_store_goes_on_when_it_is_entered_again(
    hub: HubConnection, ledger_hub: type[LedgerHub]
) -> None:
    for _ in range(5):
        ledger_hub.state.next_item()
    items = feed(hub, start=1)
    async with hub:
        async with items:
            assert await take(items, 2) == [2, 3]
        async with items:
            # The third was not acknowledged by asking for the fourth.
            assert items.position == Position(2)
            assert await take(items, 3) == [3, 4, 5]


async def test_a_gap_is_an_error_in_its_place(hub: HubConnection, ledger_hub: type[LedgerHub]) -> None:
    async with feed(hub, gap_timeout=0.05) as items, hub:
        await hub.invoke("Emit", 1, 0)
        await hub.invoke("EmitSilently", 3)
        ledger_hub.state.forget(below=5)
        await hub.invoke("Emit", 2, 0)
        assert await take(items, 1) == [1]
        with pytest.raises(FeedGapError, match="2 to 4") as caught:
            await anext(items)
        assert (caught.value.first, caught.value.last) == (2, 4)
        assert await take(items, 2) == [5, 6]


async def test_a_gap_may_be_a_warning(
    hub: HubConnection, ledger_hub: type[LedgerHub], caplog: pytest.LogCaptureFixture
) -> None:
    for _ in range(3):
        ledger_hub.state.next_item()
    ledger_hub.state.forget(below=3)
    async with feed(hub, gap_timeout=0, on_gap="continue", start=0) as items, hub:
        await hub.invoke("Emit", 1, 0)
        assert await take(items, 2) == [3, 4]
    assert "1 to 2 never came" in caplog.text


async def test_another_epoch_is_a_reset_in_its_place(hub: HubConnection, ledger_hub: type[LedgerHub]) -> None:
    async with with_epoch(hub) as items, hub:
        await hub.invoke("Emit", 3, 0)
        assert await take(items, 2) == [1, 2]
        await hub.invoke("NewEpoch", "e2")
        await hub.invoke("EmitSilently", 1)
        await hub.invoke("Emit", 2, 0)
        assert await take(items, 1) == [3]
        with pytest.raises(FeedResetError) as caught:
            await anext(items)
        assert (caught.value.before, caught.value.after) == (Position(3, "e1"), Position(0, "e2"))
        assert await take(items, 3) == [1, 2, 3]
        assert items.position == Position(3, "e2")


async def test_an_epoch_that_catch_up_does_not_know_begins_with_its_first_event(hub: HubConnection) -> None:
    async def nothing(_at: Position) -> list[dict[str, Any]]:
        return []

    async with with_epoch(hub, catch_up=nothing, on_reset="continue") as items, hub:
        await hub.invoke("Emit", 1, 0)
        await hub.invoke("NewEpoch", "e2")
        await hub.invoke("Emit", 2, 0)
        assert await take(items, 3) == [1, 1, 2]


async def test_numbers_far_back_on_a_new_connection_are_a_reset(
    hub: HubConnection, ledger_hub: type[LedgerHub]
) -> None:
    connected = asyncio.Event()
    async with feed(hub, catch_up=lambda at: hub.stream("Since", None, at.number)) as items, hub:
        await hub.invoke("Emit", 5, 0)
        assert await take(items, 5) == [1, 2, 3, 4, 5]
        ledger_hub.state.new_epoch("e1")
        hub.on_reconnected(lambda _id: connected.set())
        await hub.send("AbortMe")
        await connected.wait()
        await hub.invoke("EmitSilently", 1)
        await hub.invoke("Emit", 2, 0)
        with pytest.raises(FeedResetError) as caught:
            await anext(items)
        assert (caught.value.before, caught.value.after) == (Position(5), Position(0))
        assert await take(items, 3) == [1, 2, 3]


async def test_a_hub_that_repeats_itself_is_no_reset(hub: HubConnection, ledger_hub: type[LedgerHub]) -> None:
    connected = asyncio.Event()
    async with feed(hub, catch_up=lambda at: hub.stream("Since", None, at.number)) as items, hub:
        await hub.invoke("Emit", 5, 0)
        assert await take(items, 5) == [1, 2, 3, 4, 5]
        hub.on_reconnected(lambda _id: connected.set())
        await hub.send("AbortMe")
        await connected.wait()
        await hub.invoke("EmitAgain", 2)
        await hub.invoke("Emit", 1, 0)
        assert await take(items, 1) == [6]


async def test_a_feed_that_is_not_read_holds_nothing_up_and_loses_nothing(
    hub: HubConnection, ledger_hub: type[LedgerHub]
) -> None:
    async with feed(hub, buffer=8) as items, hub:
        await hub.invoke("Emit", 100, 0)
        assert await hub.invoke("Emit", 100, 0) == 200
        assert await take(items, 200) == list(range(1, 201))
    assert ledger_hub.state.since_calls > 1


async def test_a_catch_up_that_fails_is_tried_again(
    hub: HubConnection, ledger_hub: type[LedgerHub], caplog: pytest.LogCaptureFixture
) -> None:
    for _ in range(2):
        ledger_hub.state.next_item()
    ledger_hub.state.rule("since", "fail", 1)
    async with hub, feed(hub, start=0) as items:
        assert await take(items, 2) == [1, 2]
    assert "catch_up of the feed 'item' failed" in caplog.text


@pytest.mark.parametrize("error", [KeyError("x"), SystemError("y"), asyncio.CancelledError()])
async def test_a_catch_up_may_raise_anything(
    hub: HubConnection, ledger_hub: type[LedgerHub], error: BaseException
) -> None:
    failures = [error]

    async def catch_up(at: Position) -> AsyncIterator[dict[str, Any]]:
        if failures:
            raise failures.pop()
        async for item in hub.stream("Since", None, at.number):
            yield item

    ledger_hub.state.next_item()
    async with hub, feed(hub, start=0, catch_up=catch_up) as items:
        assert await take(items, 1) == [1]


async def test_a_cancelled_wait_loses_nothing(hub: HubConnection) -> None:
    async with feed(hub) as items, hub:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.01):
                await anext(items)
        await hub.invoke("Emit", 1, 0)
        assert await take(items, 1) == [1]


async def test_several_arguments_are_a_list(hub: HubConnection, ledger_server: Any) -> None:
    async def nothing(_at: Position) -> list[Any]:
        return []

    items: Feed[list[Any]] = Feed(hub, "pair", number=lambda pair: pair[0], catch_up=nothing)
    async with items, hub:
        await ledger_server.send("/ledger", "pair", 7, "x")
        assert await anext(items) == [7, "x"]


async def test_a_store_of_ones_own(hub: HubConnection, ledger_hub: type[LedgerHub]) -> None:
    class Memory:
        def __init__(self) -> None:
            self.positions: dict[str, Position] = {"item": Position(1)}

        async def load(self, name: str) -> Position | None:
            return self.positions.get(name)

        async def save(self, name: str, position: Position) -> None:
            self.positions[name] = position

    for _ in range(3):
        ledger_hub.state.next_item()
    store = Memory()
    async with hub, feed(hub, store=store) as items:
        assert await take(items, 2) == [2, 3]
        await items.ack()
    assert store.positions == {"item": Position(3)}


async def test_only_an_entered_feed_can_be_read(hub: HubConnection) -> None:
    items = feed(hub)
    with pytest.raises(StateError, match="not entered"):
        await anext(items)
    async with items:
        with pytest.raises(StateError, match="entered already"):
            await items.__aenter__()
    with pytest.raises(StateError, match="not entered"):
        await items.ack()


@pytest.mark.parametrize(
    "options", [{"buffer": 0}, {"gap_timeout": -1}, {"check_every": "1"}, {"on_gap": "ignore"}, {"on_reset": None}]
)
def test_wrong_arguments_are_refused(options: dict[str, Any]) -> None:
    hub = HubConnection("http://127.0.0.1:1/hub")
    with pytest.raises(ValueError, match=next(iter(options))):
        feed(hub, **options)
