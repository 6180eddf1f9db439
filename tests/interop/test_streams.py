"""Streams from the hub."""

from __future__ import annotations

import asyncio
import gc
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest

from signalr_sdk import ConnectionClosedError, HubConnection, HubError

from .hubs import Person, PersonData, hub_at

if TYPE_CHECKING:
    from tests.python_server import AnyServer

    from .conftest import Combination


async def test_items_come_in_order(any_server: AnyServer, combination: Combination) -> None:
    async with hub_at(any_server, combination) as hub:
        async with hub.stream("Counter", 1000, 0) as numbers:
            assert [number async for number in numbers] == list(range(1000))
            with pytest.raises(StopAsyncIteration):
                await numbers.next()
        assert [n async for n in hub.stream("CounterChannel", 100, item_type=int)] == list(range(100))
        assert [n async for n in hub.stream("Counter", 0, 0)] == []


async def test_items_come_one_by_one(any_server: AnyServer, combination: Combination) -> None:
    async with hub_at(any_server, combination) as hub, hub.stream("Counter", 5, 10) as numbers:
        assert [await numbers.next(timeout=5) for _ in range(5)] == list(range(5))
        with pytest.raises(StopAsyncIteration):
            await numbers.next(timeout=5)


async def test_an_error_comes_after_the_items(any_server: AnyServer, combination: Combination) -> None:
    async with hub_at(any_server, combination) as hub:
        numbers = hub.stream("CounterThenThrow", 3, "oops")
        assert [await numbers.next() for _ in range(3)] == [0, 1, 2]
        with pytest.raises(HubError) as caught:
            await numbers.next()
        assert str(caught.value) == "An error occurred on the server while streaming results. HubException: oops"
        assert await hub.invoke("Add", 1, 2) == 3


@pytest.mark.parametrize(
    ("method", "arguments", "text"),
    [
        (
            "Missing",
            [],
            "Failed to invoke 'Missing' due to an error on the server. HubException: Method does not exist.",
        ),
        (
            "Add",
            [1, 2],
            "The client attempted to invoke the non-streaming 'Add' method with a streaming invocation.",
        ),
    ],
)
async def test_what_is_no_stream(
    method: str, arguments: list[Any], text: str, any_server: AnyServer, combination: Combination
) -> None:
    async with hub_at(any_server, combination) as hub, hub.stream(method, *arguments) as items:
        with pytest.raises(HubError) as caught:
            await items.next()
        assert str(caught.value) == text


async def leave(hub: HubConnection) -> None:
    async with hub.stream("Forever", 1) as numbers:
        assert await numbers.next() == 0


async def cancel(hub: HubConnection) -> None:
    numbers = hub.stream("Forever", 1)
    assert [await anext(numbers), await anext(numbers)] == [0, 1]
    await numbers.cancel()
    await numbers.cancel()
    with pytest.raises(StopAsyncIteration):
        await anext(numbers)


async def let_go(hub: HubConnection) -> None:
    async for _ in hub.stream("Forever", 1):
        break
    gc.collect()


@pytest.mark.parametrize("end", [leave, cancel, let_go])
async def test_a_stream_let_go_of_is_cancelled_on_the_server(
    end: Any, any_server: AnyServer, combination: Combination
) -> None:
    async with hub_at(any_server, combination) as hub:
        await end(hub)
        ended = await any_server.wait_event("stream-ended", connection_id=hub.connection_id)
        assert ended.detail == "cancelled"
        assert await hub.invoke("Add", 1, 2) == 3


async def test_a_timeout_loses_no_item(any_server: AnyServer, combination: Combination) -> None:
    async with hub_at(any_server, combination) as hub, hub.stream("Counter", 3, 300) as numbers:
        with pytest.raises(TimeoutError):
            await numbers.next(timeout=0.01)
        assert [number async for number in numbers] == [0, 1, 2]


async def test_bytes(any_server: AnyServer, combination: Combination) -> None:
    async with hub_at(any_server, combination) as hub:
        blobs = [blob async for blob in hub.stream("Blobs", 20, 50_000, item_type=bytes)]
        plain = [blob async for blob in hub.stream("Blobs", 1, 3)]
    assert blobs == [bytes(50_000)] * 20
    assert plain == ["AAAA" if combination.protocol == "json" else bytes(3)]


@pytest.mark.parametrize("kind", [Person, PersonData])
async def test_objects(kind: Any, any_server: AnyServer, combination: Combination) -> None:
    async with hub_at(any_server, combination) as hub:
        people = [person async for person in hub.stream("People", 3, item_type=kind)]
    epoch = datetime(1970, 1, 1, tzinfo=UTC)
    assert people == [
        kind(f"Person {i}", i, 1.5, i % 2 == 0, epoch + timedelta(days=i), ["a", "b"], None) for i in range(3)
    ]


async def test_streams_and_calls_side_by_side(any_server: AnyServer, combination: Combination) -> None:
    async def count(hub: HubConnection, upto: int) -> int:
        return len([number async for number in hub.stream("Counter", upto, 1)])

    async with hub_at(any_server, combination) as hub:
        counts = asyncio.gather(*(count(hub, 10 * i) for i in range(8)))
        assert await hub.invoke("Add", 1, 2) == 3
        assert await counts == [10 * i for i in range(8)]


async def test_a_stream_ends_with_the_connection(any_server: AnyServer, combination: Combination) -> None:
    async with hub_at(any_server, combination) as hub:
        numbers = hub.stream("Forever", 60_000)
        assert await numbers.next() == 0
        waiting = asyncio.create_task(numbers.next())
        await hub.invoke("Nothing")
        await hub.stop()
        with pytest.raises(ConnectionClosedError):
            await waiting


async def test_the_consumer_may_call_the_hub(any_server: AnyServer, combination: Combination) -> None:
    async with hub_at(any_server, combination) as hub, hub.stream("Counter", 3000, 0) as numbers:
        total = 0
        async for number in numbers:
            total = await hub.invoke("Add", total, 1) if number % 100 == 0 else total
    assert total == 30
