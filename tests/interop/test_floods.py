"""Much at once: large values, long streams, and consumers that do not keep up."""

from __future__ import annotations

import asyncio
import base64
import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from signalr_sdk import HubConnection, Upload

from .conftest import COMBINATIONS, Combination

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from .hub_server import HubServer

MEGABYTE = 1024 * 1024
CONSUMER = Path(__file__).parent / "slow_consumer.py"


async def test_large_results_and_arguments(hub_server: HubServer, combination: Combination) -> None:
    async with HubConnection(hub_server.url(), reconnect=False, **combination.options) as hub:
        assert await hub.invoke("BigString", 3 * MEGABYTE) == "x" * (3 * MEGABYTE)
        assert await hub.invoke("Length", "y" * (3 * MEGABYTE)) == 3 * MEGABYTE
        blob = bytes(range(256)) * (3 * MEGABYTE // 256)
        echoed = await hub.invoke("EchoBytes", blob)
        assert (base64.b64decode(echoed) if combination.protocol == "json" else echoed) == blob


async def test_large_results_side_by_side(hub_server: HubServer, combination: Combination) -> None:
    async with HubConnection(hub_server.url(), reconnect=False, **combination.options) as hub:
        sizes = [MEGABYTE, 10, 2 * MEGABYTE, 0, 65_536]
        assert [len(text) for text in await asyncio.gather(*(hub.invoke("BigString", n) for n in sizes))] == sizes


async def test_many_items_arrive_in_order(hub_server: HubServer, combination: Combination) -> None:
    async with HubConnection(hub_server.url(), reconnect=False, **combination.options) as hub:
        assert [n async for n in hub.stream("CounterChannel", 20_000)] == list(range(20_000))


async def test_many_events_arrive_in_order(hub_server: HubServer, combination: Combination) -> None:
    hub = HubConnection(hub_server.url(), reconnect=False, **combination.options)
    async with hub:
        events = hub.messages("Flooded")
        await hub.send("Flood", "Flooded", 5_000, 200)
        for number in range(5_000):
            assert await events.next() == (number, "x" * 200)


async def test_many_calls_at_once(hub_server: HubServer, combination: Combination) -> None:
    async with HubConnection(hub_server.url(), reconnect=False, **combination.options) as hub:
        results = await asyncio.gather(*(hub.invoke("Add", n, 1) for n in range(1_000)))
        assert results == list(range(1, 1_001))


async def test_a_large_upload(hub_server: HubServer, combination: Combination) -> None:
    async def blobs() -> AsyncIterator[bytes]:
        for _ in range(160):
            yield bytes(65_536)

    async with HubConnection(hub_server.url(), reconnect=False, **combination.options) as hub:
        assert await hub.invoke("CountBytes", blobs()) == 160 * 65_536
        assert await hub.invoke("CountBytes", Upload([bytes(3 * MEGABYTE)])) == 3 * MEGABYTE


# In a process of its own, so that nobody else's memory counts


async def consume(server: HubServer, combination: Combination, what: str, size: int) -> dict[str, Any]:
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        str(CONSUMER),
        server.url(),
        combination.transport,
        combination.protocol,
        what,
        str(size),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        out, errors = await process.communicate()
    except BaseException:
        process.kill()
        await process.wait()
        raise
    assert process.returncode == 0, errors.decode()
    result: dict[str, Any] = json.loads(out)
    return result


slow = [
    pytest.mark.slow,
    pytest.mark.timeout(60),
    pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc"),
]
WS_MESSAGEPACK, SSE_JSON, POLLING_MESSAGEPACK = COMBINATIONS[1], COMBINATIONS[2], COMBINATIONS[4]
SMALL, LARGE = 8 * 1024, 64 * 1024


@pytest.mark.parametrize(
    ("combination", "size"),
    [
        pytest.param(WS_MESSAGEPACK, SMALL, marks=slow),
        pytest.param(SSE_JSON, SMALL, marks=slow),
        pytest.param(POLLING_MESSAGEPACK, SMALL, marks=slow),
        pytest.param(WS_MESSAGEPACK, LARGE, marks=slow),
    ],
    ids=str,
)
async def test_a_consumer_that_pauses_gets_everything(
    hub_server: HubServer, combination: Combination, size: int
) -> None:
    result = await consume(hub_server, combination, "pauses", size)
    assert result["items"] == result["of"]
    assert result["growth"] < 60
    assert result["same_connection"]


@pytest.mark.parametrize("how", [pytest.param("stops", marks=slow)])
async def test_consumers_that_stop_harm_nobody_else(hub_server: HubServer, how: str) -> None:
    results = await asyncio.gather(
        consume(hub_server, WS_MESSAGEPACK, how, LARGE),
        consume(hub_server, SSE_JSON, how, SMALL),
    )
    for result in results:
        assert result["overflowed"]
        assert 0 < result["items"] < result["of"]
        assert result["calls"] == 30
        assert result["growth"] < 150
        assert result["same_connection"]
