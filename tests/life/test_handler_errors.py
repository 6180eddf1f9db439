"""`handler_errors="raise"`: the first exception of a handler ends the connection, and comes out of `run()`."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any, Literal

import pytest
from tests.scripted import ScriptedServer, event, question
from tests.scripted_host import settle

from signalr_sdk import (
    ConnectionClosedError,
    ConnectionState,
    HubConnection,
    Limits,
    NotConnectedError,
    ResultTypeError,
    Retry,
    SetupError,
    Transport,
)
from signalr_sdk.testing import Hub, HubServer


class BrokenError(Exception):
    """What a handler raises."""


def fail(*_arguments: Any) -> None:
    raise BrokenError("a bug of the user")


class Ticker(Hub):
    """A hub that sends events, and has a call and a stream that never end."""

    async def open(self) -> None:
        for number in range(3):
            await self.clients.caller.send("Tick", number)

    async def hang(self) -> None:
        await asyncio.Event().wait()

    async def ticks(self) -> AsyncIterator[int]:
        yield 1
        await asyncio.Event().wait()


@pytest.mark.parametrize("transport", list(Transport))
async def test_the_first_exception_ends_the_connection(transport: Transport) -> None:
    """Nothing is reconnected; every caller hears of it."""
    async with HubServer({"/ticker": Ticker}, parallel_invocations=8) as server:
        url = server.url("/ticker")
        hub = HubConnection(url, transports=transport, reconnect=Retry.forever(), handler_errors="raise")
        order: list[Any] = []

        @hub.on("Tick")
        async def tick(number: int) -> None:
            order.append(number)
            if number == 1:
                raise BrokenError("no")

        hub.on_error(lambda error: order.append(("error", type(error))))
        hub.on_closed(lambda error: order.append(("closed", type(error))))
        hub.on_reconnecting(lambda _error: order.append("reconnecting"))
        run = asyncio.create_task(hub.run())
        await hub.wait_connected() if hub.state is not ConnectionState.DISCONNECTED else await up(hub)
        call = asyncio.create_task(hub.invoke("Hang"))
        stream = hub.stream("Ticks")
        assert await stream.next(5) == 1
        others = hub.messages("Other")
        wait = asyncio.create_task(hub.wait_for("Never"))
        await asyncio.sleep(0)
        await hub.send("Open")
        with pytest.raises(BrokenError, match="no"):
            await run
        with pytest.raises(BrokenError):
            await wait
        with pytest.raises(BrokenError):
            await others.next()
        for pending in (call, stream.next()):
            with pytest.raises(ConnectionClosedError) as caught:
                await pending
            assert isinstance(caught.value.__cause__, BrokenError)
        assert hub.state is ConnectionState.DISCONNECTED
        await settle()
        assert order == [0, 1, ("error", BrokenError), ("closed", BrokenError)]


async def up(hub: HubConnection) -> None:
    """Wait until another task has begun to start the connection, and it is up."""
    await asyncio.sleep(0)
    await hub.wait_connected()


# The kinds of handlers


Registering = "Callable[[HubConnection, Callable[..., Any]], Any]"


@pytest.mark.parametrize("kind", ["on", "async on", "on_any", "on_connected", "on_connected async", "receiver"])
async def test_each_kind_of_handler(server: ScriptedServer, kind: str) -> None:
    hub = server.hub(handler_errors="raise")
    expected: type[Exception] = BrokenError

    async def fail_later(*_arguments: Any) -> None:
        await asyncio.sleep(0)
        fail()

    class Receiver:
        def e(self, number: int) -> None:
            raise AssertionError(number)

    match kind:
        case "on":
            hub.on("e", fail)
        case "async on":
            hub.on("e", fail_later)
        case "on_any":
            hub.on_any(fail)
        case "on_connected":
            hub.on_connected(fail)
        case "on_connected async":
            hub.on_connected(fail_later)
        case _:
            hub.register(Receiver())
            expected = ResultTypeError
    socket = await server.accept(hub, event("e", "not a number"))
    with pytest.raises(expected):
        await hub.wait_closed()
    assert (await socket.next())["type"] == 7


async def test_on_reconnecting(server: ScriptedServer) -> None:
    """The connection is being made anew meanwhile."""
    hub = server.hub(handler_errors="raise", reconnect=Retry.delays(3600))
    hub.on_reconnecting(fail)
    closed: list[Any] = []
    hub.on_closed(closed.append)
    socket = await server.accept(hub)
    call = asyncio.create_task(hub.wait_connected())
    socket.vanish()
    with pytest.raises(BrokenError):
        await hub.wait_closed()
    await call
    assert hub.state is ConnectionState.DISCONNECTED
    assert [type(error) for error in closed] == [BrokenError]
    with pytest.raises(NotConnectedError):
        await hub.invoke("x")


@pytest.mark.parametrize("handlers", [1, 4])
async def test_no_further_handler_is_called(server: ScriptedServer, handlers: int) -> None:
    """Neither of the same event, nor of later events in the same frame."""
    hub = server.hub(handler_errors="raise", limits=Limits(handlers=handlers))
    called: list[int] = []
    hub.on("e", called.append)
    hub.on("bad", fail)
    hub.on("bad", called.append)
    await server.accept(hub, event("e", 1), event("bad", 2), event("e", 3), event("e", 4))
    with pytest.raises(BrokenError):
        await hub.wait_closed()
    await settle()
    assert called == [1]


async def test_after_the_connection_has_ended(server: ScriptedServer) -> None:
    """An event that had arrived before the end: `wait_closed` and `on_closed` get the exception of its handler."""
    hub = server.hub(handler_errors="raise")
    goes_on = asyncio.Event()
    closed: list[Any] = []

    @hub.on("e")
    async def late() -> None:
        await goes_on.wait()
        fail()

    hub.on_closed(closed.append)
    socket = await server.accept(hub, event("e"))
    await settle()
    socket.vanish()
    await settle()
    assert hub.state is ConnectionState.DISCONNECTED
    goes_on.set()
    with pytest.raises(BrokenError):
        await hub.wait_closed()
    assert [type(error) for error in closed] == [BrokenError]


@pytest.mark.usefixtures("expected_errors")
async def test_after_stop_nothing_is_raised(server: ScriptedServer) -> None:
    """A handler that stops the connection and then fails: the exception goes to the log and to `on_error`."""
    hub = server.hub(handler_errors="raise")
    errors: list[Any] = []

    @hub.on("e")
    async def last() -> None:
        await hub.stop()
        fail()

    hub.on_error(errors.append)
    await server.accept(hub, event("e"))
    await hub.wait_closed()
    await settle()
    assert [type(error) for error in errors] == [BrokenError]


async def test_it_can_be_started_again(server: ScriptedServer) -> None:
    hub = server.hub(handler_errors="raise")
    hub.on("bad", fail)
    await server.accept(hub, event("bad"))
    with pytest.raises(BrokenError):
        await hub.wait_closed()
    await server.accept(hub)
    await hub.stop()
    await hub.wait_closed()


# What ends nothing


@pytest.mark.usefixtures("expected_errors")
async def test_what_is_told_elsewhere(server: ScriptedServer) -> None:
    hub = server.hub(handler_errors="raise")
    hub.on("ask", fail)
    hub.on_error(fail)
    hub.on_closed(fail)
    socket = await server.accept(hub, question("q", "ask"))
    assert (await socket.next())["error"] == "a bug of the user"
    assert hub.state is ConnectionState.CONNECTED
    hub.on("bad", fail)
    socket.event("bad")
    with pytest.raises(BrokenError):
        await hub.wait_closed()
    await settle()


async def test_on_setup_has_an_error_of_its_own(server: ScriptedServer) -> None:
    hub = server.hub(handler_errors="raise")
    hub.on_setup(fail)
    start = asyncio.create_task(hub.start())
    await (await server.sockets.get()).shake_hands()
    with pytest.raises(SetupError) as caught:
        await start
    assert isinstance(caught.value.__cause__, BrokenError)


@pytest.mark.usefixtures("expected_errors")
async def test_report_is_the_default(server: ScriptedServer) -> None:
    hub = server.hub()
    hub.on("bad", fail)
    socket = await server.accept(hub, event("bad"))
    await settle()
    assert hub.state is ConnectionState.CONNECTED
    socket.event("bad")
    await settle()
    await hub.stop()


@pytest.mark.parametrize("value", ["ignore", None, True])
def test_other_values(value: Literal["report"]) -> None:
    with pytest.raises(ValueError, match="handler_errors"):
        HubConnection("http://hub.test/chat", handler_errors=value)
