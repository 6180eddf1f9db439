"""`events`: several events in one iterator, in the order received across all of them."""

from __future__ import annotations

import asyncio
import gc
import pickle
from typing import TYPE_CHECKING, Any

import pytest
from tests.scripted import ScriptedServer, event, question

from signalr_sdk import HubConnection, HubEvent, Limits, SlowConsumerError, Transport
from signalr_sdk.testing import Hub, HubServer

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


class Market(Hub):
    """A hub whose events belong together: a trade is meant by the price before it."""

    async def open(self, count: int) -> None:
        caller = self.clients.caller
        for number in range(count):
            await caller.send("Price", "MSFT", number)
            await caller.send("trade", "MSFT", number)
            await caller.send("news", number)

    async def ask(self, event: str) -> Any:
        return await self.clients.caller.invoke(event, "?")


@pytest.fixture(params=list(Transport))
async def market(request: pytest.FixtureRequest) -> AsyncIterator[HubConnection]:
    async with (
        HubServer({"/market": Market}) as server,
        HubConnection(server.url("/market"), transports=request.param, reconnect=False) as hub,
    ):
        yield hub


async def settle() -> None:
    """Let everything run that can."""
    for _ in range(20):
        await asyncio.sleep(0)


# On every transport


async def test_several_events_in_the_order_received(market: HubConnection) -> None:
    events = market.events("price", "Trade")
    market.on("news", lambda _number: None)
    await market.invoke("Open", 100)
    got = [await events.next(timeout=5) for _ in range(200)]
    assert got == [(name, ("MSFT", number)) for number in range(100) for name in ("Price", "trade")]
    assert {type(each) for each in got} == {HubEvent}


async def test_all_events_and_no_question_of_the_server(
    market: HubConnection, caplog: pytest.LogCaptureFixture
) -> None:
    market.on("Price", lambda *_arguments: 7)
    lifecycle: list[Any] = []
    market.on_closed(lifecycle.append)
    async with market.events() as events:
        await market.invoke("Open", 1)
        assert await market.invoke("Ask", "Price") == 7
        await market.invoke("Open", 1)
        await market.stop()
        names = [(name, arguments[-1]) async for name, arguments in events]
    assert names == [("Price", 0), ("trade", 0), ("news", 0)] * 2
    await settle()
    assert lifecycle == [None]
    assert "no handler" not in caplog.text


# What has a handler


async def test_names_count_as_having_a_handler(server: ScriptedServer, caplog: pytest.LogCaptureFixture) -> None:
    hub = server.hub()
    any_, handled = list[Any](), list[Any]()
    hub.on_any(lambda name, arguments: any_.append((name, arguments)))
    hub.on("B", lambda *arguments: handled.append(arguments))
    events = hub.events("a", "b", "A")
    socket = await server.accept(hub)
    socket.say(event("A", 1), event("b", 2), event("c", 3), event("a", 4))
    assert [await events.next() for _ in range(3)] == [("A", (1,)), ("b", (2,)), ("a", (4,))]
    await settle()
    assert (any_, handled) == ([("c", (3,))], [(2,)])
    await hub.stop()
    assert "no handler" not in caplog.text


async def test_without_names_nothing_is_taken_from_on_any(server: ScriptedServer) -> None:
    hub = server.hub()
    any_ = list[Any]()
    hub.on_any(lambda name, arguments: any_.append((name, *arguments)))
    prices, all_ = hub.messages("price"), hub.events()
    socket = await server.accept(hub)
    socket.say(event("news", 1), event("price", 2), event("News", 3))
    assert [await all_.next() for _ in range(3)] == [("news", (1,)), ("price", (2,)), ("News", (3,))]
    assert await prices.next() == (2,)
    await settle()
    assert any_ == [("news", 1), ("News", 3)]
    await hub.stop()


async def test_without_names_the_warning_is_silent_while_open(
    server: ScriptedServer, caplog: pytest.LogCaptureFixture
) -> None:
    hub = server.hub()
    socket = await server.accept(hub)
    async with hub.events() as events:
        socket.event("news", 1)
        assert await events.next() == ("news", (1,))
    await settle()
    assert "no handler" not in caplog.text
    events = hub.events()
    hub.on("news", print)
    socket.event("news", 2)  # the handler is gone when its turn comes
    await events.next()
    hub.off("news")
    await settle()
    assert "no handler" not in caplog.text
    events.close()
    socket.event("news", 3)
    await settle()
    assert caplog.text.count("'news', for which there is no handler") == 1
    await hub.stop()


async def test_events_alone_do_not_wait_for_handlers(server: ScriptedServer) -> None:
    """An event that only `events()` gets is kept and counted once."""
    hub = server.hub()
    events = hub.events()
    socket = await server.accept(hub)
    socket.say(*(event("tick", n) for n in range(10)))
    await settle()
    assert not hub._dispatcher._queue.messages
    assert hub._backlog.held == sum(events._queue.sizes)
    assert len(events._queue.messages) == 10
    await hub.stop()


async def test_a_question_goes_to_messages_only(server: ScriptedServer) -> None:
    hub = server.hub()
    named, all_, messages = hub.events("ask", "tell"), hub.events(), hub.messages("ask")
    socket = await server.accept(hub)
    socket.say(question("q", "ask", 1), event("tell", 2))
    assert (await socket.next())["error"] == "Client didn't provide a result."
    assert await named.next() == await all_.next() == ("tell", (2,))
    assert await messages.next() == (1,)
    await hub.stop()


# As messages


async def test_the_end(server: ScriptedServer) -> None:
    hub = server.hub()
    iterators = [hub.events(), hub.events("a", "b")]
    socket = await server.accept(hub)
    socket.say(event("a", 1), event("b", 2))
    await settle()
    socket.vanish()
    for events in iterators:
        assert [each async for each in events] == [("a", (1,)), ("b", (2,))]
        with pytest.raises(StopAsyncIteration):
            await events.next()
    assert not hub._dispatcher._subscribers


async def test_they_survive_a_reconnect(server: ScriptedServer) -> None:
    hub = server.hub(reconnect=True)
    events = hub.events("a", "b")
    socket = await server.accept(hub)
    socket.event("a", 1)
    await settle()
    socket.vanish()
    await (await server.sockets.get()).shake_hands(event("b", 2), event("a", 3))
    assert [await events.next(timeout=5) for _ in range(3)] == [("a", (1,)), ("b", (2,)), ("a", (3,))]
    await hub.stop()


async def test_closing_and_letting_go(server: ScriptedServer) -> None:
    hub = server.hub()
    socket = await server.accept(hub)
    kept = hub.events("x", "other")
    async with hub.events("x", "y") as events:
        socket.say(event("x", 1), event("y", 2))
        assert await events.next(timeout=5) == ("x", (1,))
    assert [each async for each in events] == []
    for names in (("x", "y"), ()):
        asyncio.get_running_loop().call_soon(socket.event, "y")
        async for _ in hub.events(*names):
            break
    gone = hub.events("x"), hub.events()
    del gone
    gc.collect()
    await settle()
    assert hub._dispatcher._subscribers.keys() == {"x", "other"}
    socket.event("x", 3)
    assert [(await kept.next()).arguments for _ in range(2)] == [(1,), (3,)]
    await hub.stop()


async def test_a_timeout_loses_nothing(server: ScriptedServer) -> None:
    hub = server.hub()
    events = hub.events()
    socket = await server.accept(hub)
    with pytest.raises(TimeoutError):
        await events.next(timeout=0.01)
    socket.event("x", 1)
    assert await events.next() == HubEvent("x", (1,))
    await hub.stop()


@pytest.mark.parametrize("names", [(), ("a", "b")])
async def test_the_newest_only(server: ScriptedServer, names: tuple[str, ...]) -> None:
    hub = server.hub()
    events = hub.events(*names, buffer=3, overflow="drop_oldest")
    socket = await server.accept(hub)
    socket.say(*(event("ab"[n % 2], n) for n in range(10)))
    await settle()
    assert [await events.next() for _ in range(3)] == [("b", (7,)), ("a", (8,)), ("b", (9,))]
    await hub.stop()


async def test_too_slow(server: ScriptedServer) -> None:
    hub = server.hub(limits=Limits(buffered_bytes=1000))
    errors = list[Exception]()
    hub.on_error(errors.append)
    events = hub.events(buffer=2)
    socket = await server.accept(hub)
    socket.say(*(event("x", n, "y" * 100) for n in range(20)))
    await settle()
    assert hub._backlog.above
    got = [(await events.next()).arguments[0] for _ in range(len(events._queue.messages))]
    assert got == list(range(20 - len(got), 20))
    await settle()
    (error,) = errors
    assert isinstance(error, SlowConsumerError)
    assert error.dropped == 20 - len(got) > 0
    await hub.stop()


async def test_wrong_arguments(server: ScriptedServer) -> None:
    hub = server.hub()
    wrong: list[Any] = [["a", "b"], None, 1]
    for name in wrong:
        with pytest.raises(TypeError, match="the name of an event is a str, not"):
            hub.events("a", name)
        with pytest.raises(TypeError, match="the name of an event is a str, not"):
            hub.messages(name)
    options: list[dict[str, Any]] = [{"overflow": "explode"}, {"buffer": 0}, {"buffer": True}]
    for each in options:
        with pytest.raises(ValueError, match="must be"):
            hub.events("a", **each)
    assert not hub._dispatcher._subscribers


def test_a_hub_event_is_a_plain_tuple_with_names() -> None:
    name, arguments = told = HubEvent("Trade", ("MSFT", 1.5))
    assert (name, arguments) == (told.name, told.arguments) == ("Trade", ("MSFT", 1.5))
    assert pickle.loads(pickle.dumps(told)) == told
