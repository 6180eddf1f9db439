"""Streams to the hub."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from signalr_sdk import HubError, LocalProtocolError, StateError, Upload

from .hubs import hub_at, items_of

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from tests.python_server import AnyServer

    from .conftest import Combination


class Source:
    """Yields three numbers, then an error or nothing for good; remembers that it was closed."""

    def __init__(self, error: Exception | None = None) -> None:
        self.error = error
        self.closed = asyncio.Event()

    async def numbers(self) -> AsyncIterator[int]:
        try:
            for number in range(3):
                yield number
            if self.error is not None:
                raise self.error
            await asyncio.Event().wait()
        finally:
            self.closed.set()


async def test_generators(any_server: AnyServer, combination: Combination) -> None:
    async with hub_at(any_server, combination) as hub:
        assert await hub.invoke("Sum", items_of([1, 2, 3, 4])) == 10
        assert await hub.invoke("SumFrom", 10, items_of([1, 2, 3, 4])) == 20
        assert await hub.invoke("Sum", items_of(range(1000))) == 499_500
        assert await hub.invoke("Concat", items_of(["a", "é", "🚀"])) == "aé🚀"
        assert await hub.invoke("Sum", items_of([])) == 0


async def test_two_streams_side_by_side(any_server: AnyServer, combination: Combination) -> None:
    async with hub_at(any_server, combination) as hub:
        assert await hub.invoke("Zip", items_of("abc"), items_of("123")) == ["a1", "b2", "c3"]


async def test_bytes(any_server: AnyServer, combination: Combination) -> None:
    async with hub_at(any_server, combination) as hub:
        assert await hub.invoke("CountBytes", items_of([bytes(100_000)] * 10)) == 1_000_000


async def test_uploads_of_iterables_and_by_hand(any_server: AnyServer, combination: Combination) -> None:
    async with hub_at(any_server, combination) as hub:
        assert await hub.invoke("Sum", Upload([1, 2, 3])) == 6
        assert await hub.invoke("Sum", Upload(items_of([1, 2, 3]))) == 6
        upload: Upload[int] = Upload()
        call = asyncio.create_task(hub.invoke("Sum", upload))
        for number in range(200):
            await upload.send(number)
        upload.close()
        assert await call == 19_900
        with pytest.raises(StateError):
            await upload.send(1)


async def test_after_send_nobody_answers(any_server: AnyServer, combination: Combination) -> None:
    async with hub_at(any_server, combination) as hub:
        await hub.send("RecordAll", items_of(["a", "b", "c"]))
        ended = await any_server.wait_event("upload-ended", connection_id=hub.connection_id)
        assert ended.detail == "completed"
        recorded = await any_server.events("recorded", connection_id=hub.connection_id)
    assert [event.detail for event in recorded] == ["a", "b", "c"]


async def test_an_error_of_the_source_reaches_the_hub_method(any_server: AnyServer, combination: Combination) -> None:
    source = Source(ValueError("client failed"))
    async with hub_at(any_server, combination) as hub:
        with pytest.raises(HubError) as caught:
            await hub.invoke("Sum", source.numbers())
        assert str(caught.value) == (
            "An unexpected error occurred invoking 'Sum' on the server. HubException: client failed"
        )
        await source.closed.wait()
        upload: Upload[str] = Upload()
        await hub.send("RecordAll", upload)
        await upload.send("one")
        upload.close(ValueError("by hand"))
        ended = await any_server.wait_event("upload-ended", connection_id=hub.connection_id)
        assert ended.detail == "by hand"


async def test_a_call_that_ends_first_ends_its_upload(any_server: AnyServer, combination: Combination) -> None:
    source = Source()
    async with hub_at(any_server, combination) as hub:
        with pytest.raises(HubError) as caught:
            await hub.invoke("TakeThenThrow", source.numbers(), 3)
        assert str(caught.value) == (
            "An unexpected error occurred invoking 'TakeThenThrow' on the server. HubException: enough"
        )
        await source.closed.wait()
        assert await hub.invoke("Add", 1, 2) == 3


async def test_a_cancelled_call_ends_its_upload(any_server: AnyServer, combination: Combination) -> None:
    source = Source()
    async with hub_at(any_server, combination) as hub:
        call = asyncio.create_task(hub.invoke("Sum", source.numbers()))
        await hub.invoke("Nothing")
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call
        await source.closed.wait()
        assert await hub.invoke("Add", 1, 2) == 3


async def test_the_end_of_the_connection_ends_uploads(any_server: AnyServer, combination: Combination) -> None:
    source = Source()
    async with hub_at(any_server, combination) as hub:
        await hub.send("Sum", source.numbers())
        await hub.invoke("Nothing")
    await source.closed.wait()


async def test_an_item_that_cannot_be_encoded(any_server: AnyServer, combination: Combination) -> None:
    async with hub_at(any_server, combination) as hub:
        with pytest.raises(LocalProtocolError):
            await hub.invoke("Sum", items_of([1, object()]))
        assert await hub.invoke("Add", 1, 2) == 3


async def test_both_ways_at_once(any_server: AnyServer, combination: Combination) -> None:
    async with hub_at(any_server, combination) as hub:
        assert [word async for word in hub.stream("Uppercase", items_of(["a", "b"]))] == ["A", "B"]
        upload: Upload[str] = Upload()
        async with hub.stream("Uppercase", upload, item_type=str) as words:
            for word in ["one", "two", "three"]:
                await upload.send(word)
                assert await words.next() == word.upper()
            upload.close()
            with pytest.raises(StopAsyncIteration):
                await words.next()


async def test_lists_are_ordinary_arguments(any_server: AnyServer, combination: Combination) -> None:
    async with hub_at(any_server, combination) as hub:
        assert await hub.invoke("EchoInts", [1, 2]) == [1, 2]
        assert await hub.invoke("EchoInts", (1, 2)) == [1, 2]
