"""Hubs: which methods clients can call, by which names, with which arguments."""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator  # the server looks the types of the hub's methods up
from dataclasses import dataclass
from decimal import Decimal
from typing import Annotated, Any

import attrs
import pytest

from signalr_sdk import HubConnection, HubError, Upload
from signalr_sdk._typed.structure import default_converter
from signalr_sdk.testing import Hub, HubServer
from signalr_sdk.testing.hub_methods import methods_of


@attrs.frozen
class Point:
    x: int
    label: str = "none"


@dataclass
class Line:
    start: Point
    ends: list[Point]


class Exact(Hub):
    async def double(self, value: Decimal, items: AsyncIterator[Decimal]) -> list[Decimal]:
        return [value, *[item async for item in items]]

    async def ask(self) -> Decimal:
        answer: Decimal = await self.clients.caller.invoke("price", result_type=Decimal)
        return answer

    async def anything(self, value: Any) -> str:
        return type(value).__name__


@pytest.mark.parametrize("protocol", ["json", "messagepack"])
async def test_a_decimal_keeps_all_its_digits(protocol: Any) -> None:
    price = Decimal("0.1234567890123456789012345678")
    async with HubServer({"/exact": Exact}) as server:
        hub = HubConnection(server.url("/exact"), protocol=protocol)
        hub.on("price", lambda: price)
        async with hub:
            assert await hub.invoke("Double", price, Upload([price]), result_type=list[Decimal]) == [price, price]
            assert await hub.invoke("Ask", result_type=Decimal) == price
            assert await hub.invoke("Anything", 1.5) == "float"


class Calling(Hub):
    async def add_numbers(self, a: int, b: int = 10) -> int:
        return a + b

    def plain(self, text: str) -> str:
        return text + "!"

    async def mirror(self, line: Line) -> Line:
        return Line(line.ends[0], [line.start])

    async def anything(self, value, other: object):  # type: ignore[no-untyped-def]
        return [value, other]

    async def points(self, start: int, items: AsyncIterator[Point], scale: int = 2) -> list[int]:
        return [start, *[point.x * scale async for point in items]]

    async def untyped(self, items: AsyncIterator) -> list[Any]:  # type: ignore[type-arg]
        return [item async for item in items]

    async def _private(self) -> None:
        raise AssertionError

    @staticmethod
    async def helper() -> None:
        raise AssertionError

    @classmethod
    async def make(cls) -> None:
        raise AssertionError


@pytest.fixture(params=["json", "messagepack"])
async def hub(request: pytest.FixtureRequest) -> AsyncIterator[HubConnection]:
    async with (
        HubServer({"/hub": Calling}, detailed_errors=True) as server,
        HubConnection(server.url("/hub"), protocol=request.param, reconnect=False) as connection,
    ):
        yield connection


@pytest.mark.parametrize("name", ["AddNumbers", "addNumbers", "add_numbers", "ADDNUMBERS", "Add_Numbers"])
async def test_names(name: str, hub: HubConnection) -> None:
    assert await hub.invoke(name, 1, 2) == 3


@pytest.mark.parametrize("name", ["_private", "helper", "make", "on_connected", "OnDisconnected", "context", ""])
async def test_what_clients_cannot_call(name: str, hub: HubConnection) -> None:
    with pytest.raises(HubError, match=r"Method does not exist\."):
        await hub.invoke(name)


async def test_optional_parameters(hub: HubConnection) -> None:
    assert await hub.invoke("AddNumbers", 1) == 11
    for arguments in [(), (1, 2, 3)]:
        with pytest.raises(HubError, match=f"provides {len(arguments)} argument"):
            await hub.invoke("AddNumbers", *arguments)


async def test_plain_functions(hub: HubConnection) -> None:
    assert await hub.invoke("Plain", "hi") == "hi!"


async def test_classes(hub: HubConnection) -> None:
    line = Line(Point(1, "a"), [Point(2)])
    assert await hub.invoke("Mirror", line, result_type=Line) == Line(Point(2), [Point(1, "a")])


async def test_anything_goes_where_nothing_is_said(hub: HubConnection) -> None:
    assert await hub.invoke("Anything", {"a": [1]}, None) == [{"a": [1]}, None]


async def some(*items: Any) -> AsyncIterator[Any]:
    for item in items:
        yield item


async def test_streams_among_arguments(hub: HubConnection) -> None:
    assert await hub.invoke("Points", 1, some(Point(2), Point(3))) == [1, 4, 6]
    assert await hub.invoke("Points", 1, some(Point(2), Point(3)), 3) == [1, 6, 9]
    assert await hub.invoke("Untyped", some(1, "a")) == [1, "a"]


async def test_an_item_that_does_not_fit(hub: HubConnection) -> None:
    with pytest.raises(HubError, match=r"HubException: Failed to bind Stream message\. the value"):
        await hub.invoke("Points", 1, some("text"))


# Classes that cannot be hubs


class Twice(Hub):
    async def add_one(self) -> None:
        raise NotImplementedError

    async def addOne(self) -> None:  # noqa: N802  # that is the point
        raise NotImplementedError


class Starred(Hub):
    async def add(self, *numbers: int) -> None:
        raise NotImplementedError


class ByName(Hub):
    async def add(self, *, number: int) -> None:
        raise NotImplementedError


@pytest.mark.parametrize(
    ("hub_class", "text"),
    [
        (Twice, "Twice: 'addOne' and 'add_one' are the same name to clients"),
        (Starred, r"Starred\.add: clients cannot give '\*numbers: 'int'': parameters go by position"),
        (ByName, r"ByName\.add: clients cannot give 'number: 'int'': parameters go by position"),
    ],
)
def test_hubs_that_cannot_be(hub_class: type[Hub], text: str) -> None:
    with pytest.raises(TypeError, match=text):
        HubServer({"/hub": hub_class})


def test_methods_are_looked_up_once() -> None:
    assert methods_of(Calling) is methods_of(Calling)


class Annotations(Hub):
    async def add(self, numbers: Annotated[AsyncIterator[int], "a stream"], more: Annotated[int, "metres"]) -> int:
        return sum([number async for number in numbers]) + more


async def test_annotated_parameters() -> None:
    async def numbers() -> AsyncIterator[int]:
        yield 1
        yield 2

    async with HubServer({"/chat": Annotations}) as server, HubConnection(server.url("/chat")) as hub:
        assert await hub.invoke("Add", numbers(), 4) == 7


class Unhashable(Hub):
    async def keep(self, values: list[Annotated[int, ["a list has no hash"]]]) -> int:
        return len(values)


async def test_a_type_that_cannot_be_looked_up_is_an_error_and_no_silence() -> None:
    async with HubServer({"/hub": Unhashable}) as server, HubConnection(server.url("/hub")) as hub:
        with pytest.raises(HubError, match="Failed to invoke 'Keep'"):
            await hub.invoke("Keep", [1])


class WithoutCattrs(Hub):
    async def add(self, a: int, b: float) -> float:
        return a + b

    async def draw(self, point: Point) -> str:
        return point.label

    async def total(self, points: AsyncIterator[Point]) -> int:
        return sum([point.x async for point in points])

    async def ask(self) -> int:
        answer: int = await self.clients.caller.invoke("count", result_type=int)
        return answer


async def test_a_server_without_cattrs_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "cattrs", None)
    default_converter.cache_clear()
    async with HubServer({"/hub": WithoutCattrs}, detailed_errors=True) as server:
        hub = HubConnection(server.url("/hub"))
        hub.on("count", lambda: "many")
        async with hub:
            assert await hub.invoke("Add", 1, 2) == 3
            for arguments in ((1.5, 2), ("one", 2), (1, None)):
                with pytest.raises(HubError, match="Error binding arguments"):
                    await hub.invoke("Add", *arguments)
            with pytest.raises(HubError, match=r"cannot make a .*Point.*: result_type needs cattrs: pip install"):
                await hub.invoke("Draw", {"x": 1})
            with pytest.raises(HubError, match="needs cattrs"):
                await hub.invoke("Total", Upload([{"x": 1}]))
            with pytest.raises(HubError, match="Error trying to deserialize result to int"):
                await hub.invoke("Ask")
