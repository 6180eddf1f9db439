"""Classic ASP.NET SignalR: calls, values, errors, progress, state, events and groups, on each transport."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from enum import IntEnum
from typing import TYPE_CHECKING, Any, Protocol
from uuid import UUID

import attrs
import pytest

from signalr_sdk import (
    ClassicHubError,
    ConnectionClosedError,
    InvocationTimeoutError,
    LocalProtocolError,
    RemoteProtocolError,
    ResultTypeError,
    Transport,
)
from signalr_sdk.classic import HubConnection, HubProxy

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from tests.interop.classic_server import ClassicServer


@attrs.define
class World:
    """A live connection to the hubs of the server."""

    connection: HubConnection
    hub: HubProxy
    other: HubProxy
    server: ClassicServer


@pytest.fixture(params=list(Transport))
async def world(request: pytest.FixtureRequest, classic_server: ClassicServer) -> AsyncIterator[World]:
    connection = HubConnection(classic_server.url(), transports=request.param)
    hub, other = connection.hub("testHub"), connection.hub("other")
    async with hub.messages("welcome") as welcomes, connection:
        await welcomes.next(5)
        yield World(connection, hub, other, classic_server)


async def test_the_start(world: World) -> None:
    connection = world.connection
    assert connection.transport is not None
    transport = await world.hub.invoke("Transport")
    assert transport.lower() == connection.transport.value.lower()
    assert await world.hub.invoke("Id") == connection.connection_id
    assert connection.connection_id is not None
    await world.server.wait_event(connection.connection_id, "connected", "OtherHub")
    assert await world.server.events(connection.connection_id) == ["connected"]


# Calls and values


@pytest.mark.parametrize("value", [None, True, 1.5, "hi☃ <b>&+%\x1e", [], [[1, "a"]], {"a": {"b": None}}, "x" * 50_000])
async def test_values_come_back(world: World, value: object) -> None:
    assert await world.hub.invoke("Echo", value) == value


async def test_names_in_any_case(world: World) -> None:
    assert world.connection.hub("TESTHUB") is world.hub
    assert await world.hub.invoke("eCHO", 1) == 1
    assert await world.hub.invoke("re-named") == "renamed"


async def test_methods(world: World) -> None:
    hub = world.hub
    assert await hub.invoke("Add", 1, 2) == 3
    assert [await hub.invoke("Overload", "a"), await hub.invoke("Overload", "a", "b")] == ["one", "two"]
    assert await hub.invoke("Nothing") is None
    assert await hub.invoke("Nul") is None
    assert await hub.invoke("Length", "x" * 60_000) == 60_000
    assert await hub.invoke("Big", 1_000_000) == "x" * 1_000_000
    assert await world.other.invoke("Echo", "x") == "other:x"


async def test_calls_overlap(world: World) -> None:
    async with asyncio.TaskGroup() as group:
        slow = group.create_task(world.hub.invoke("Slow", 300))
        quick = [await world.hub.invoke("Add", n, 1) for n in range(5)]
        assert not slow.done()
    assert (quick, slow.result()) == ([1, 2, 3, 4, 5], "slow")


class Colour(IntEnum):
    RED = 0
    GREEN = 1


@attrs.frozen
class Person:
    name: str
    age: int
    friends: list[Any] | None = None


async def test_values_of_dotnet(world: World) -> None:
    hub = world.hub
    day = datetime(2026, 2, 3, 4, 5, 6, 789_000, tzinfo=UTC)
    guid = UUID("6afb5f65-afef-4201-9440-2b18f59f84ab")
    assert await hub.invoke("Aged", Person("Al", 1), result_type=Person) == Person("Al", 2)
    assert await hub.invoke("Aged", Person("Al", 1)) == {"Name": "Al", "Age": 2, "Friends": None}
    assert await hub.invoke("Tomorrow", day, result_type=datetime) == day + timedelta(days=1)
    assert await hub.invoke("Offset", day, result_type=datetime) == day
    assert str(await hub.invoke("Half", Decimal("10.50"), result_type=Decimal)) == "5.25"
    assert await hub.invoke("Same", guid, result_type=UUID) == guid
    assert await hub.invoke("Twice", timedelta(days=1, hours=2), result_type=timedelta) == timedelta(days=2, hours=4)
    assert await hub.invoke("Reverse", b"abc", result_type=bytes) == b"cba"
    assert await hub.invoke("Next", Colour.RED, result_type=Colour) is Colour.GREEN
    assert await hub.invoke("Count", "aab", result_type=dict[str, int]) == {"a": 2, "b": 1}
    assert await hub.invoke("Numbers", 3, result_type=list[int]) == [0, 1, 2]


async def test_a_result_of_another_type(world: World) -> None:
    with pytest.raises(ResultTypeError):
        await world.hub.invoke("Add", 1, 2, result_type=str)


class Declared(Protocol):
    async def add(self, a: int, b: int) -> int: ...
    async def aged(self, person: Person) -> Person: ...


async def test_a_declared_hub(world: World) -> None:
    hub = world.hub.proxy(Declared)
    assert await hub.add(1, b=2) == 3
    assert await hub.aged(Person("Al", 1)) == Person("Al", 2)


# Errors


@pytest.mark.parametrize(
    ("method", "arguments"),
    [("Boom", ()), ("NoSuch", ()), ("Add", (1,)), ("Add", ("x", "y")), ("Optional", (1,)), ("Secret", ())],
)
async def test_errors(world: World, method: str, arguments: tuple[object, ...]) -> None:
    with pytest.raises(ClassicHubError) as raised:
        await world.hub.invoke(method, *arguments)
    error = raised.value
    assert str(error) == f"There was an error invoking Hub method 'testHub.{method}'."
    assert (error.method, error.data, error.is_hub_exception, error.server_trace) == (
        f"testHub.{method}",
        None,
        False,
        None,
    )


@pytest.mark.parametrize(
    ("method", "text", "data"),
    [("HubBoom", "visible message", {"code": 7, "why": "because"}), ("HubBoomPlain", "plain", None)],
)
async def test_hub_exceptions(world: World, method: str, text: str, data: object) -> None:
    with pytest.raises(ClassicHubError, match=text) as raised:
        await world.hub.invoke(method)
    assert (raised.value.is_hub_exception, raised.value.data) == (True, data)


async def test_what_cannot_be_sent(world: World) -> None:
    with pytest.raises(LocalProtocolError, match=r"^arguments\[0\]\[1\]"):
        await world.hub.invoke("Echo", [1, float("nan")])
    world.hub.state["text"] = "x" * 4096
    with pytest.raises(LocalProtocolError, match="4096"):
        await world.hub.send("Nothing")
    assert world.hub.state.pop("text")
    for text in ("x" * (4096 - 8), "é" * (4096 - 8), "😀" * (2048 - 4)):
        world.hub.state["t"] = text
        assert await world.hub.invoke("Add", 1, 2) == 3


async def test_a_result_that_cannot_be_encoded(world: World) -> None:
    """Over HTTP the server sends an empty answer. A WebSocket is closed by it, and taken up again."""
    expected = ConnectionClosedError if world.connection.transport is Transport.WEBSOCKETS else RemoteProtocolError
    with pytest.raises(expected):
        await world.hub.invoke("Circle")
    assert await world.hub.invoke("Add", 1, 2) == 3


async def test_a_call_with_a_time_limit(world: World) -> None:
    with pytest.raises(
        InvocationTimeoutError, match=r"'testHub\.Never' did not end within 0\.2 s; the method may go on"
    ):
        await world.hub.invoke("Never", timeout=0.2)
    assert await world.hub.invoke("Add", 1, 2) == 3


async def test_a_message_over_the_limit_of_the_server(world: World) -> None:
    """WebSockets alone have the limit of 64 KB."""
    if world.connection.transport is not Transport.WEBSOCKETS:
        assert await world.hub.invoke("Length", "x" * 200_000) == 200_000
        return
    with pytest.raises(ConnectionClosedError):
        await world.hub.invoke("Length", "x" * 70_000)
    assert await world.hub.invoke("Add", 1, 2) == 3


# Progress and state


async def test_progress(world: World) -> None:
    values: list[Any] = []

    async def note(value: Any) -> None:
        values.append(value)

    assert await world.hub.invoke("Work", 5, on_progress=note) == "done"
    wanted = [0, {"step": 1}, 2, {"step": 3}, 4]
    if world.connection.transport is Transport.WEBSOCKETS:
        assert values == wanted
    else:
        # The result comes another way than progress, which may be too late.
        assert values == wanted[: len(values)]


async def test_what_on_progress_raises_ends_the_call(world: World) -> None:
    def fail(_value: Any) -> None:
        raise RuntimeError("enough")

    async def work() -> None:
        while True:  # over other transports than WebSockets, all values may come after the result
            await world.hub.invoke("Work", 3, on_progress=fail)

    with pytest.raises(RuntimeError, match="enough"):
        await work()
    assert await world.hub.invoke("Work", 1) == "done"


async def test_state_goes_there_and_back(world: World) -> None:
    hub = world.hub
    assert (await hub.invoke("State"), hub.state) == ("c=1", {"counter": 1})
    assert (await hub.invoke("State"), hub.state) == ("c=2", {"counter": 2})
    hub.state["name"] = "joe"
    assert await hub.invoke("ReadName") == "joe"
    assert world.other.state == {}


async def test_state_that_comes_with_an_event(world: World) -> None:
    hub, seen = world.hub, asyncio.get_running_loop().create_future()
    hub.on("stateful", lambda text: seen.set_result((text, dict(hub.state))))
    await hub.send("StateByCall")
    assert await seen == ("x", {"colour": "green"})


@pytest.mark.usefixtures("expected_errors")
async def test_the_error_of_a_send(world: World) -> None:
    seen = asyncio.get_running_loop().create_future()
    world.connection.on_error(seen.set_result)
    await world.hub.send("HubBoom")
    error = await seen
    assert isinstance(error, ClassicHubError)
    assert (str(error), error.method) == ("visible message", "testHub.HubBoom")


# Events


async def test_events_of_each_hub(world: World) -> None:
    hub, other = world.hub, world.other
    mine, others, any_of_hub = [], [], []
    hub.on("BROADCAST", lambda *arguments: mine.append(arguments))
    other.on("broadcast", lambda *arguments: others.append(arguments))
    hub.on_any(lambda name, arguments: any_of_hub.append((name, arguments)))
    await hub.invoke("BroadcastAll", "yo")
    await other.invoke("Shout", "loud")
    await hub.invoke("CallBack", "unknownToAll", [1])
    async with hub.messages("end") as ends:
        await hub.invoke("CallBack", "end", [])
        assert await ends.next(5) == ()
    assert mine == [("yo", 1, {"x": 2})]
    assert [arguments[0] for arguments in others] == ["other:loud"]
    assert any_of_hub == [("unknownToAll", (1,))]


async def test_iterators(world: World) -> None:
    hub = world.hub
    async with hub.messages("number") as numbers, hub.events() as events, hub.events("number", "last") as named:
        await hub.invoke("Sequence", 0, 100)
        await hub.invoke("CallBack", "last", ["x"])
        assert [await numbers.next(5) for _ in range(100)] == [(n,) for n in range(100)]
        for each in (events, named):
            assert [(await each.next(5)).arguments for _ in range(100)] == [(n,) for n in range(100)]
            assert tuple(await each.next(5)) == ("last", ("x",))


async def test_wait_for_and_off(world: World) -> None:
    hub = world.hub
    seen: list[int] = []
    hub.on("number", seen.append)
    hub.off("number", seen.append)
    waiting = asyncio.ensure_future(hub.wait_for("number", timeout=5))
    await asyncio.sleep(0)
    await hub.invoke("Sequence", 7, 1)
    assert await waiting == (7,)
    assert seen == []


class Receiver:
    def __init__(self) -> None:
        self.people: list[Person] = []

    async def arrived(self, person: Person) -> None:
        self.people.append(person)


async def test_a_typed_receiver(world: World) -> None:
    receiver = world.hub.register(Receiver())
    async with world.hub.messages("arrived") as arrivals:
        await world.hub.invoke("CallBack", "arrived", [{"Name": "Al", "Age": 1, "Friends": None}])
        await arrivals.next(5)
    await world.hub.invoke("Nothing")
    assert receiver.people == [Person("Al", 1)]


async def test_groups(world: World) -> None:
    hub = world.hub
    async with hub.events("groupMessage", "joined", "end") as events:
        await hub.invoke("Join", "g")
        await hub.invoke("ToGroup", "g", "one")
        names = [(await events.next(5)).name for _ in range(2)]
        await hub.invoke("Leave", "g")
        await hub.invoke("ToGroup", "g", "two")
        await hub.invoke("CallBack", "end", [])
        assert [*names, (await events.next(5)).name] == ["joined", "groupMessage", "end"]
