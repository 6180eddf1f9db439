"""`Relay`: the events of a hub in a stream of Redis, by one replica at a time."""

from __future__ import annotations

import asyncio
import json
import signal
from contextlib import asynccontextmanager
from functools import partial
from typing import TYPE_CHECKING, Any

import pytest
from tests.tcp_proxy import until

from signalr_sdk import HubConnection, Retry, StateError, Timeouts
from signalr_sdk.delivery import Feed
from signalr_sdk.fleet import Relay
from signalr_sdk.testing import HubServer, LedgerHub

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from tests.fleet.redis_process import RedisProcess

    from signalr_sdk.delivery import Position

STREAM = "items"

# A test that fails on a busy machine shows nothing.
pytestmark = pytest.mark.timeout(60)


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


def connection(server: HubServer) -> HubConnection:
    policy = Retry.forever(wait=lambda _state: 0.02)
    return HubConnection(server.url("/ledger"), reconnect=policy, retry_start=policy, timeouts=Timeouts(close=0.2))


def feed(hub: HubConnection, **options: Any) -> Feed[Any]:
    def since(at: Position) -> Any:
        return hub.stream("Since", at.epoch, at.number)

    options = {"number": lambda item: item["n"], "start": 0, "catch_up": since, "gap_timeout": 0.5, **options}
    return Feed(hub, "item", **options)


def relay(server: HubServer, redis_process: RedisProcess, events: tuple[str, ...] = (), **options: Any) -> Relay:
    hub = connection(server)
    feeds = [] if events else [feed(hub, **options.pop("feed", {}))]
    return Relay(hub, redis_process.url, STREAM, events, feeds=feeds, **{"ttl": 6.0, **options})


@asynccontextmanager
async def running(*relays: Relay) -> AsyncIterator[None]:
    tasks = [asyncio.create_task(each.run()) for each in relays]
    try:
        yield
    finally:
        for task in tasks:
            task.cancel()
        for outcome in await asyncio.gather(*tasks, return_exceptions=True):
            assert isinstance(outcome, asyncio.CancelledError), outcome


def entries(redis: Any, *kinds: str) -> list[dict[str, str]]:
    return [fields for _id, fields in redis.xrange(STREAM) if not kinds or fields["kind"] in kinds]


def numbers(redis: Any) -> list[int]:
    return [int(fields["number"]) for fields in entries(redis, "event")]


async def test_numbered_events_come_into_the_stream(
    server: HubServer, ledger_hub: type[LedgerHub], redis_process: RedisProcess, redis: Any
) -> None:
    ledger_hub.state.next_item()
    async with running(relay(server, redis_process)):
        await until(lambda: numbers(redis) == [1])
        await server.send("/ledger", "item", ledger_hub.state.next_item())
        await until(lambda: numbers(redis) == [1, 2])
    takeover, *events = entries(redis)
    assert takeover == {"kind": "takeover", "event": "", "args": "[]", "token": takeover["token"], "at": takeover["at"]}
    assert json.loads(events[1]["args"]) == [{"epoch": "e1", "n": 2, "text": "e1-2"}]
    assert {each["token"] for each in events} == {takeover["token"]} == {redis.get("{items}:sink")}
    assert int(events[1]["at"]) > 1_700_000_000_000
    assert redis.get("{items}:lease") is None


async def test_positions_outlive_the_leader(
    server: HubServer, ledger_hub: type[LedgerHub], redis_process: RedisProcess, redis: Any
) -> None:
    ledger = ledger_hub.state
    for count in range(1, 4):
        ledger.next_item()
        async with running(relay(server, redis_process), relay(server, redis_process)):
            await until(partial(lambda wanted: len(numbers(redis)) == wanted, count))
    assert numbers(redis) == [1, 2, 3]
    assert len(entries(redis, "takeover")) >= 3


async def test_epochs_gaps_and_resets_are_entries(
    server: HubServer, ledger_hub: type[LedgerHub], redis_process: RedisProcess, redis: Any, caplog: Any
) -> None:
    ledger = ledger_hub.state
    async with running(relay(server, redis_process, feed={"epoch": lambda item: item["epoch"]})):
        await until(lambda: entries(redis, "takeover"))
        ledger.next_item()
        await until(lambda: ledger.since_calls > 0)
        await server.send("/ledger", "item", ledger.find(1))
        await until(lambda: numbers(redis) == [1])
        for _ in range(3):
            ledger.next_item()
        ledger.forget(below=4)
        await server.send("/ledger", "item", ledger.find(4))
        await until(lambda: numbers(redis) == [1, 4])
        ledger.new_epoch("e2")
        await server.send("/ledger", "item", ledger.next_item())
        await until(lambda: numbers(redis) == [1, 4, 1])
    (gap,) = entries(redis, "gap")
    assert (gap["args"], gap["number"], gap["epoch"]) == ("[2,3]", "3", "e1")
    (reset,) = entries(redis, "reset")
    assert (reset["args"], reset["number"], reset["epoch"]) == ('[4,"e1"]', "0", "e2")
    kinds = [each["kind"] for each in entries(redis)]
    assert kinds == ["takeover", "event", "gap", "event", "reset", "event"]
    assert "the events 2 to 3 never came" in caplog.text
    assert "the numbers begin anew" in caplog.text
    assert redis.hmget("{items}:relay", "number:item", "epoch:item") == ["1", "se2"]


async def test_events_without_numbers(server: HubServer, redis_process: RedisProcess, redis: Any) -> None:
    async with running(relay(server, redis_process, ("News", "Odd"))):
        await server.wait_connected()
        await server.send("/ledger", "News", "x", 1)
        await server.send("/ledger", "Odd", None, 1e300)
        await until(lambda: len(entries(redis, "event")) == 2)
    first, last = entries(redis, "event")
    assert (first["event"], first["args"]) == ("News", '["x",1]')
    assert json.loads(last["args"])[1] == 1e300
    assert "number" not in first


async def test_a_stream_is_trimmed(
    server: HubServer, ledger_hub: type[LedgerHub], redis_process: RedisProcess, redis: Any
) -> None:
    for _ in range(1500):
        ledger_hub.state.next_item()
    async with running(relay(server, redis_process, maxlen=100)):
        await until(lambda: redis.hget("{items}:relay", "number:item") == "1500")
    assert 100 <= redis.xlen(STREAM) <= 300
    assert numbers(redis)[-1] == 1500


async def test_an_older_leader_is_refused(
    server: HubServer, ledger_hub: type[LedgerHub], redis_process: RedisProcess, redis: Any, caplog: Any
) -> None:
    async with running(relay(server, redis_process)):
        await until(lambda: entries(redis, "takeover"))
        later = 10 * int(redis.get("{items}:sink"))
        redis.set("{items}:sink", later)
        await until(lambda: ledger_hub.state.since_calls)
        await server.send("/ledger", "item", ledger_hub.state.next_item())
        await until(lambda: "a later leader has taken over" in caplog.text)
        redis.set("{items}:sink", "1")
        await until(lambda: numbers(redis) == [1])


@pytest.mark.parametrize("lost", [["{items}:relay"], ["{items}:sink"], ["{items}:relay", "{items}:sink", STREAM]])
async def test_a_redis_that_has_lost_its_memory_gets_all_again(
    lost: list[str], server: HubServer, ledger_hub: type[LedgerHub], redis_process: RedisProcess, redis: Any
) -> None:
    async with running(relay(server, redis_process)):
        ledger_hub.state.next_item()
        await until(lambda: redis.hget("{items}:relay", "number:item") == "1")
        redis.delete(*lost)
        await server.send("/ledger", "item", ledger_hub.state.next_item())
        await until(lambda: numbers(redis)[-2:] == [1, 2])


async def test_a_lost_answer_doubles_nothing(
    server: HubServer, ledger_hub: type[LedgerHub], redis_process: RedisProcess, redis: Any
) -> None:
    from signalr_sdk.fleet.redis_client import RedisClient
    from signalr_sdk.fleet.relay import _ADD, _TAKEOVER

    client = RedisClient(redis_process.url, timeout=5)
    keys = [STREAM, "{items}:sink", "{items}:relay"]
    for _ in range(2):
        await client.run(_TAKEOVER, keys, [7, 1, 0])
    event: list[Any] = ["item", 1, "", "event", "item", "[1]", 1]
    assert [await client.run(_ADD, keys, [7, 1, 0, *event]) for _ in range(2)] == [1, 0]
    assert await client.run(_ADD, keys, [6, 1, 0, *event]) == -1
    assert await client.run(_ADD, keys, [7, 3, 0, *event]) == -2
    assert await client.run(_TAKEOVER, keys, [6, 1, 0]) == -1
    await client.close()
    assert [each["kind"] for each in entries(redis)] == ["takeover", "event"]


async def test_a_redis_that_stops_for_long_costs_the_lease_and_no_event(
    server: HubServer, ledger_hub: type[LedgerHub], redis_process: RedisProcess, redis: Any, caplog: Any
) -> None:
    async with running(relay(server, redis_process, ttl=3)):
        ledger_hub.state.next_item()
        await until(lambda: numbers(redis) == [1])
        redis_process.signal(signal.SIGSTOP)
        try:
            ledger_hub.state.next_item()
            await until(lambda: "is lost" in caplog.text)
        finally:
            redis_process.signal(signal.SIGCONT)
        await until(lambda: numbers(redis) == [1, 2])


async def test_a_hub_that_ends_is_started_again(
    server: HubServer, ledger_hub: type[LedgerHub], redis_process: RedisProcess, redis: Any
) -> None:
    hub = HubConnection(server.url("/ledger"), reconnect=False, timeouts=Timeouts(close=0.2))
    async with running(Relay(hub, redis_process.url, STREAM, feeds=[feed(hub)], ttl=6)):
        ledger_hub.state.next_item()
        await until(lambda: numbers(redis) == [1])
        server.faults.cut()
        ledger_hub.state.next_item()
        await until(lambda: numbers(redis) == [1, 2])


async def test_a_hub_that_is_started_is_refused(server: HubServer, redis_process: RedisProcess) -> None:
    hub = connection(server)
    async with hub:
        with pytest.raises(StateError):
            await Relay(hub, redis_process.url, STREAM, ["x"]).run()


def test_wrong_arguments() -> None:
    hub, other = (HubConnection("http://localhost/hub") for _ in range(2))
    url = "redis://localhost"
    wrong: list[tuple[str, dict[str, Any]]] = [
        ("needs events", {}),
        ("not one text", {"events": "item"}),
        ("another hub", {"feeds": [feed(other)]}),
        ("name of its own", {"feeds": [feed(hub), feed(hub)]}),
        ("has a store", {"feeds": [feed(hub, store="x.db")]}),
        ("maxlen", {"events": ["x"], "maxlen": 0}),
        ("brace", {"events": ["x"], "stream": "{}"}),
    ]
    for text, options in wrong:
        with pytest.raises(ValueError, match=text):
            Relay(hub, url, **{"stream": STREAM, **options})
    assert "items" in repr(Relay(hub, "redis://:secret@localhost", STREAM, ["x"]))
    assert "secret" not in repr(Relay(hub, "redis://:secret@localhost", STREAM, ["x"]))


def test_arguments_become_json() -> None:
    from datetime import UTC, datetime
    from decimal import Decimal

    from signalr_sdk.fleet.stream_records import json_list

    assert json_list(["é", b"\x01", None]) == '["é","AQ==",null]'.encode()
    assert json_list([datetime(2026, 1, 1, tzinfo=UTC)]).startswith(b'["2026-01-01T00:00:00')
    assert json.loads(json_list([float("nan"), {1: Decimal("1.5")}, "\ud800", [object]])) == [
        "nan",
        {"1": "1.5"},
        "\ud800",
        ["<class 'object'>"],
    ]
