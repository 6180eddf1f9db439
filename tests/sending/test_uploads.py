"""What is uploaded, and that every source is closed."""

from __future__ import annotations

import asyncio
import functools
from typing import TYPE_CHECKING

import pytest
from tests.raw_client import until
from tests.scripted import ScriptedServer

from signalr_sdk._sending.uploads import Upload, close_source, iterate, split
from signalr_sdk.errors import ConnectionClosedError, StateError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator


async def numbers(*values: int) -> AsyncIterator[int]:
    for value in values:
        yield value


def test_async_iterables_are_streams_and_lists_are_arguments() -> None:
    """The JavaScript client mixes adjacent streams up."""
    first, second = numbers(1), numbers(2)
    upload = Upload([3])
    arguments = (1, first, "x", [4], second, upload, (5,), {"a": 6}, iter([7]))
    plain, streams = split(arguments)
    assert plain[:5] == [1, "x", [4], (5,), {"a": 6}]
    assert streams == [first, second, upload]
    assert split((1, "x")) == ([1, "x"], None)


async def test_sync_and_async_iterables() -> None:
    assert [item async for item in Upload([1, 2])] == [1, 2]
    assert [item async for item in Upload(numbers(1, 2))] == [1, 2]


def test_what_is_not_iterable_is_refused() -> None:
    with pytest.raises(TypeError, match="int"):
        Upload(5)  # type: ignore[arg-type]


async def test_feeding_by_hand_is_bounded() -> None:
    upload: Upload[int] = Upload()
    sent = 0

    async def feed() -> None:
        nonlocal sent
        for n in range(200):
            await upload.send(n)
            sent += 1
        upload.close()
        upload.close()

    feeder = asyncio.create_task(feed())
    for _ in range(5):
        await asyncio.sleep(0)
    assert sent == 64
    assert [item async for item in upload] == list(range(200))
    await feeder
    with pytest.raises(StateError, match="closed"):
        await upload.send(1)


async def test_an_error_ends_the_stream_after_its_items() -> None:
    upload: Upload[int] = Upload()
    await upload.send(1)
    upload.close(error=ValueError("sensor broke"))
    got = []
    with pytest.raises(ValueError, match="sensor broke"):  # noqa: PT012 - the loop is what raises
        async for item in upload:
            got.append(item)  # noqa: PERF401 - what came before the error counts
    assert got == [1]


async def test_a_feeder_learns_that_the_call_is_over() -> None:
    upload: Upload[int] = Upload()
    iterator = aiter(upload)
    for n in range(64):
        await upload.send(n)
    waiting = asyncio.create_task(upload.send(64))
    await asyncio.sleep(0)
    await close_source(upload, iterator)
    with pytest.raises(StateError, match="over"):
        await waiting


async def test_an_upload_is_good_for_one_call() -> None:
    upload: Upload[int] = Upload()
    aiter(upload)
    with pytest.raises(StateError, match="new one"):
        aiter(upload)


async def test_an_upload_of_an_iterable_is_not_fed_by_hand() -> None:
    upload = Upload([1])
    with pytest.raises(StateError):
        await upload.send(2)
    with pytest.raises(StateError):
        upload.close()


async def test_sources_are_closed_also_when_they_never_began() -> None:
    closed = []

    class Source:
        def __aiter__(self) -> AsyncIterator[int]:
            return numbers(1)

        async def aclose(self) -> None:
            closed.append("source")

    def generator() -> Iterator[int]:
        try:
            yield 1
            yield 2
        finally:
            closed.append("generator")

    await close_source(Source(), None)
    await close_source(Upload(Source()), None)
    started = generator()
    next(started)
    await close_source(Upload(started), None)
    half = generator()
    iterator = iterate(half)
    assert await anext(iterator) == 1
    await close_source(Upload(half), iterator)
    assert closed == ["source", "source", "generator", "generator"]


async def test_an_upload_begins_slowly() -> None:
    """ASP.NET Core closes the whole connection if a method ends before more items than its buffer takes."""
    server = ScriptedServer()
    hub = server.hub()
    socket = await server.accept(hub)
    yielded: list[int] = []

    def has_more_than(count: int) -> bool:
        return len(yielded) > count

    async def source() -> AsyncIterator[int]:
        for number in range(100_000):
            yielded.append(number)
            yield number

    socket.stalled.clear()
    call = asyncio.create_task(hub.invoke("Sum", source()))
    for least in (8, 24):
        for _ in range(20):
            await asyncio.sleep(0)
        assert len(yielded) == least
        socket.stalled.set()
        await until(functools.partial(has_more_than, least))
        socket.stalled.clear()
    socket.stalled.set()
    await hub.stop()
    assert len(yielded) < 20_000
    with pytest.raises(ConnectionClosedError):
        await call
