"""An outbox in front of hubs of ASP.NET Core: killed servers and lost connections lose nothing, and keep the order."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Literal

import pytest

from signalr_sdk import FeedGapError, FeedResetError, HubConnection, Retry, RetryContext
from signalr_sdk.delivery import ID, Feed, Outbox, OutboxLimits

from .hub_server import HubServer, ServerMissingError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = pytest.mark.timeout(60)

HUBS = ("/ledger", "/ledger-parallel")
PROTOCOLS: tuple[Literal["json", "messagepack"], ...] = ("json", "messagepack")


class AtOnce:
    """A retry policy: so many attempts, without a delay."""

    def __init__(self, attempts: int) -> None:
        self._attempts = attempts

    def next_delay(self, context: RetryContext) -> float | None:
        return 0.0 if context.attempt + 1 < self._attempts else None


@pytest.fixture
def server(tmp_path: Path) -> Iterator[HubServer]:
    """A server whose ledger lasts."""
    try:
        server = HubServer.start(ledger=tmp_path / "ledger")
    except ServerMissingError as error:
        pytest.skip(str(error))
    with server:
        yield server


def connection(server: HubServer, path: str, protocol: Literal["json", "messagepack"]) -> HubConnection:
    policy = Retry.forever(wait=lambda _state: 0.02)
    return HubConnection(server.url(path), protocol=protocol, reconnect=policy, retry_start=policy)


async def recorded(server: HubServer) -> list[dict[str, Any]]:
    """Return what the server has recorded."""
    rows: list[dict[str, Any]] = []
    async with HubConnection(server.url("/ledger-parallel")) as hub:
        while page := await hub.invoke("Ledger", len(rows)):
            rows += page
    return rows


def numbers(rows: list[dict[str, Any]], key: str) -> list[int]:
    return list(dict.fromkeys(row["n"] for row in rows if row["key"] == key))


@pytest.mark.parametrize("path", HUBS)
@pytest.mark.parametrize("protocol", PROTOCOLS)
async def test_lost_connections_lose_nothing_and_keep_the_order(
    server: HubServer, tmp_path: Path, path: str, protocol: Literal["json", "messagepack"]
) -> None:
    hub = connection(server, path, protocol)
    async with hub, Outbox(tmp_path / "outbox.db", hub, lanes=4) as outbox:
        await hub.invoke("Rule", "k1", "abort-after", 3)
        await hub.invoke("Rule", "k2", "abort", 2)
        await hub.invoke("Rule", "k3", "fail-after", 1)
        await asyncio.gather(*(outbox.put("Store", ID, f"k{n % 5}", n, key=f"k{n % 5}") for n in range(200)))
        await outbox.drain(40)
        stats = await outbox.stats()
    rows = await recorded(server)
    for key in range(5):
        assert numbers(rows, f"k{key}") == list(range(key, 200, 5))
    assert (stats.delivered, stats.dead, stats.waiting) == (200, 0, 0)


@pytest.mark.parametrize("protocol", PROTOCOLS)
async def test_a_batch_over_a_killed_connection(
    server: HubServer, tmp_path: Path, protocol: Literal["json", "messagepack"]
) -> None:
    hub = connection(server, "/ledger", protocol)
    limits = OutboxLimits(entry_bytes=100_000)
    options: dict[str, Any] = {"batch": {"StoreAll": 32}, "limits": limits, "retry": AtOnce(2)}
    async with hub, Outbox(tmp_path / "outbox.db", hub, **options) as outbox:
        await hub.invoke("Rule", "bad", "fail", -1)
        for n in range(100):
            reading = {"id": "bad" if n == 50 else ID, "key": None, "n": n}
            if n == 70:
                reading["text"] = "x" * 40_000  # over the 32 KiB of ASP.NET Core: ends the connection
            await outbox.put("StoreAll", reading)
        await outbox.drain(40)
        dead = await outbox.entries(dead=True)
    assert [entry.args[0]["n"] for entry in dead] == [50, 70]
    rows = await recorded(server)
    assert [row["n"] for row in rows] == [n for n in range(100) if n not in (50, 70)]


async def test_a_killed_server_loses_nothing(server: HubServer, tmp_path: Path) -> None:
    hub = connection(server, "/ledger", "json")
    async with hub, Outbox(tmp_path / "outbox.db", hub, lanes=4) as outbox:
        await hub.invoke("Rule", "k1", "crash-after", 1)
        await asyncio.gather(*(outbox.put("Store", ID, f"k{n % 4}", n, key=f"k{n % 4}") for n in range(100)))
        await server.wait_ended()
        again = HubServer.start(ledger=tmp_path / "ledger", port=server.port)
        with again:
            await outbox.drain(40)
            rows = await recorded(again)
    for key in range(4):
        assert numbers(rows, f"k{key}") == list(range(key, 100, 4))


@pytest.mark.parametrize("protocol", PROTOCOLS)
async def test_a_feed_over_lost_connections_gaps_and_a_new_series(
    server: HubServer, tmp_path: Path, protocol: Literal["json", "messagepack"]
) -> None:
    hub = connection(server, "/ledger", protocol)
    events: Feed[dict[str, Any]] = Feed(
        hub,
        "item",
        number=lambda item: item["n"],
        epoch=lambda item: item["epoch"],
        catch_up=lambda at: hub.stream("Since", at.epoch, at.number),
        store=tmp_path / "feed.db",
        start=0,
        gap_timeout=0.1,
    )
    emitting = HubConnection(server.url("/ledger"))
    seen: list[Any] = []
    async with emitting, hub, events:
        await emitting.invoke("Emit", 20, 0)
        await emitting.invoke("EmitBackwards", 10)
        await hub.send("AbortMe")
        await emitting.invoke("Emit", 20, 1)
        await emitting.invoke("EmitAgain", 7)
        seen += [(await anext(events))["n"] for _ in range(50)]
        await emitting.invoke("EmitSilently", 5)
        await emitting.invoke("Forget", 54)
        await emitting.invoke("Emit", 1, 0)
        with pytest.raises(FeedGapError, match="51 to 53"):
            await anext(events)
        seen += [(await anext(events))["n"] for _ in range(3)]
        await emitting.invoke("NewEpoch", "e2")
        await emitting.invoke("Emit", 2, 0)
        with pytest.raises(FeedResetError):
            await anext(events)
        seen += [(await anext(events))["n"] for _ in range(2)]
    assert seen == [*range(1, 51), 54, 55, 56, 1, 2]
