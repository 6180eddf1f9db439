"""Proxies and receivers against ASP.NET Core, and against the test server."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Protocol
from uuid import UUID

import pytest

from signalr_sdk import HubError, ResultTypeError, Stream, Upload, event, method

from .hubs import Address, Color, Person, hub_at, items_of

if TYPE_CHECKING:
    import logging

    from tests.python_server import AnyServer

    from .conftest import Combination

BORN = datetime(1815, 12, 10, tzinfo=UTC)
ADA = Person("Ada", 36, 1.65, True, BORN, ["a"], Address("s", None))


class HubMethods(Protocol):
    """A part of `TestHub`."""

    async def add(self, a: int, b: int = 10) -> int: ...
    async def nothing(self) -> None: ...
    async def echo_person(self, value: Person) -> Person: ...
    async def echo_decimal(self, value: Decimal) -> Decimal: ...
    async def echo_guid(self, value: UUID) -> UUID: ...
    async def echo_time_span(self, value: timedelta) -> timedelta: ...
    async def echo_color(self, value: Color) -> Color: ...
    async def echo_nullable(self, value: int | None = None) -> int | None: ...
    @method("EchoString")
    async def not_a_number(self, value: str) -> int: ...
    def counter(self, count: int, delay: int = 0) -> AsyncIterator[int]: ...
    def people(self, count: int) -> Stream[Person]: ...
    async def sum_from(self, start: int, numbers: AsyncIterator[int]) -> int: ...
    async def zip(self, left: AsyncIterator[str], right: Upload[str]) -> list[str]: ...
    def uppercase(self, words: AsyncIterator[str]) -> AsyncIterator[str]: ...
    @method(send=True)
    async def record(self, detail: str) -> None: ...
    async def throw_hub_exception(self, message: str) -> None: ...
    async def call_me(self, target: str, arguments: list[Any]) -> None: ...
    async def ask_caller(self, method: str, question: str) -> str | None: ...
    async def ask_caller_for_number(self, method: str, a: int, b: int) -> int: ...


async def test_results_and_arguments(any_server: AnyServer, combination: Combination) -> None:
    async with hub_at(any_server, combination) as hub:
        calls = hub.proxy(HubMethods)
        assert await calls.add(1) == 11
        assert await calls.add(b=1, a=1) == 2
        await calls.nothing()
        assert await calls.echo_person(ADA) == ADA
        assert await calls.echo_decimal(Decimal("19.90")) == Decimal("19.90")
        assert await calls.echo_guid(UUID(int=5)) == UUID(int=5)
        assert await calls.echo_time_span(timedelta(days=1, seconds=2)) == timedelta(days=1, seconds=2)
        assert await calls.echo_color(Color.GREEN) is Color.GREEN
        assert await calls.echo_nullable() is None
        with pytest.raises(ResultTypeError, match="the value 'x' is no int"):
            await calls.not_a_number("x")
        with pytest.raises(HubError, match="because"):
            await calls.throw_hub_exception("because")


async def test_streams_both_ways(any_server: AnyServer, combination: Combination) -> None:
    async with hub_at(any_server, combination) as hub:
        calls = hub.proxy(HubMethods)
        assert [number async for number in calls.counter(3)] == [0, 1, 2]
        async with calls.people(2) as people:
            assert [person.name async for person in people] == ["Person 0", "Person 1"]
        assert await calls.sum_from(100, items_of([1, 2])) == 103
        assert await calls.zip(items_of(["a", "b"]), right=Upload(["c", "d"])) == ["ac", "bd"]
        assert [word async for word in calls.uppercase(items_of(["a", "b"]))] == ["A", "B"]


async def test_what_is_sent(any_server: AnyServer, combination: Combination) -> None:
    async with hub_at(any_server, combination) as hub:
        detail = f"typed-{hub.connection_id}-{combination}"
        await hub.proxy(HubMethods).record(detail)
        await any_server.wait_event("recorded", detail=detail)


class Receiver:
    """Handles events, and answers questions."""

    def __init__(self) -> None:
        self.seen: asyncio.Queue[Any] = asyncio.Queue()

    @event
    async def moved(self, color: Color, at: timedelta, who: UUID) -> None:
        self.seen.put_nowait((color, at, who))

    @event("your-name")
    def name(self, question: str) -> str:
        return f"{question} Ada"

    @event
    def product(self, a: int, b: int) -> int:
        return a * b

    @event
    def wants_a_number(self, question: int) -> str:
        raise AssertionError(question)


async def test_events_and_questions(any_server: AnyServer, combination: Combination) -> None:
    async with hub_at(any_server, combination) as hub:
        receiver, calls = hub.register(Receiver()), hub.proxy(HubMethods)
        ticks = 15_000_000 if combination.protocol == "messagepack" else "00:00:01.5000000"
        await calls.call_me("Moved", ["Green", ticks, str(UUID(int=5))])
        assert await receiver.seen.get() == (Color.GREEN, timedelta(seconds=1.5), UUID(int=5))
        assert await calls.ask_caller("your-name", "You are") == "You are Ada"
        assert await calls.ask_caller_for_number("Product", 6, 7) == 42
        with pytest.raises(HubError, match="the argument 'question' of 'WantsANumber': the value 'x' is no int"):
            await calls.ask_caller("WantsANumber", "x")
        hub.off(handler=receiver)
        with pytest.raises(HubError):
            await calls.ask_caller("your-name", "You are")


async def test_an_event_that_does_not_fit(
    any_server: AnyServer, combination: Combination, expected_errors: list[logging.LogRecord]
) -> None:
    async with hub_at(any_server, combination) as hub:
        errors: asyncio.Queue[Exception] = asyncio.Queue()
        hub.on_error(errors.put_nowait)
        receiver = hub.register(Receiver())
        await hub.proxy(HubMethods).call_me("Moved", ["Purple", 1, "x"])
        error = await errors.get()
        assert isinstance(error, ResultTypeError)
        assert str(error).startswith("the argument 'color' of 'Moved': the value 'Purple' is no Color")
        assert receiver.seen.empty()
    assert len(expected_errors) == 1
