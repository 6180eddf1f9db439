"""What the fuzzers and reviews of start, set-up, reconnect, stop and handler errors have found."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from tests.doubles import without_waiting
from tests.scripted import ScriptedServer, ScriptedSocket, question
from tests.scripted_host import Host, now, settle

from signalr_sdk import (
    ConnectionClosedError,
    ConnectionState,
    Limits,
    Retry,
    SetupError,
    StateError,
    Timeouts,
)

pytestmark = pytest.mark.timeout(10)

QUIET = Timeouts(keep_alive=None, server=None, close=2)
AT_ONCE = Retry(wait=lambda _state: 0.0)


class BrokenError(Exception):
    """What a handler raises."""


def fail(*_arguments: Any) -> None:
    raise BrokenError("a bug of the user")


def let_receive_ignore_cancellation(socket: ScriptedSocket, over: asyncio.Event) -> None:
    """Let `receive` be users' code that swallows its cancellation until `over` is set."""

    async def receive() -> bytes | None:
        while not over.is_set():
            try:
                await over.wait()
            except asyncio.CancelledError:
                continue
        return None

    socket.receive = receive  # type: ignore[method-assign]


# reconnect() and stop()


@pytest.mark.parametrize("turns", range(8))
async def test_stop_closes_a_connection_that_was_given_up(server: ScriptedServer, turns: int) -> None:
    """Right after `reconnect`, nobody had closed the old connection, and `stop` did not know of it any more."""
    hub = server.hub()
    socket = await server.accept(hub)
    again = asyncio.create_task(hub.reconnect())
    await settle(turns)
    await hub.stop()
    results = await asyncio.gather(again, return_exceptions=True)
    assert isinstance(results[0], ConnectionClosedError | StateError)
    assert socket.closed.is_set()


# handler_errors="raise"


@without_waiting
async def test_a_receive_that_ignores_its_cancellation_does_not_keep_a_failed_connection() -> None:
    async with Host() as host:
        hub = host.server.hub(handler_errors="raise", reconnect=AT_ONCE, timeouts=QUIET)
        hub.on("bad", fail)
        closed: list[Any] = []
        hub.on_closed(closed.append)
        await hub.start()
        over, socket = asyncio.Event(), host.sockets[-1]
        let_receive_ignore_cancellation(socket, over)
        socket.event("bad")
        began = now()
        with pytest.raises(BrokenError):
            await hub.wait_closed()
        assert now() - began < 2
        assert hub.state is ConnectionState.DISCONNECTED
        assert [type(error) for error in closed] == [BrokenError]
        over.set()
        await settle()
        assert len(host.sockets) == 1


async def test_no_reconnect_in_the_turn_of_the_failure(server: ScriptedServer) -> None:
    """It gets the handler's exception, and no other handler is called."""
    hub = server.hub(handler_errors="raise", reconnect=AT_ONCE)
    reconnecting: list[Any] = []
    hub.on_reconnecting(reconnecting.append)
    tasks: list[asyncio.Task[None]] = []

    @hub.on("bad")
    async def bad() -> None:
        tasks.append(asyncio.create_task(hub.reconnect()))
        fail()

    socket = await server.accept(hub)
    socket.event("bad")
    with pytest.raises(BrokenError):
        await hub.wait_closed()
    with pytest.raises(BrokenError):
        await tasks[0]
    assert reconnecting == []
    assert server.sockets.empty()


async def test_events_of_the_same_turn_are_discarded(server: ScriptedServer) -> None:
    """A payload that had arrived before the connection noticed the failure."""
    hub = server.hub(handler_errors="raise")
    called: list[int] = []

    @hub.on("bad")
    async def bad() -> None:
        hub.on("late", called.append)
        asyncio.get_running_loop().call_soon(hub._dispatcher.events, ["late"], [[1]], [10])
        fail()

    socket = await server.accept(hub)
    socket.event("bad")
    with pytest.raises(BrokenError):
        await hub.wait_closed()
    assert called == []


# Set-up


@without_waiting
async def test_a_line_that_is_lost_at_the_end_of_a_set_up_and_a_receive_that_hangs() -> None:
    """The callback for such a receive was the one of the set-up, for ever."""
    async with Host() as host:
        hub = host.server.hub(reconnect=AT_ONCE, timeouts=Timeouts(keep_alive=1, server=3, close=1, setup=10))
        over = asyncio.Event()

        @hub.on_setup
        async def slow(_connection_id: str | None) -> None:
            if len(host.sockets) == 1:
                let_receive_ignore_cancellation(host.sockets[-1], over)
                host.sockets[-1].say({"type": 6})
                await asyncio.sleep(3.5)

        await hub.start()
        lost = asyncio.Event()
        hub.on_reconnected(lambda _connection_id: lost.set())
        async with asyncio.timeout(20):
            await lost.wait()
        over.set()
        await hub.stop()


@pytest.mark.parametrize("first", [True, False])
async def test_the_program_cancels_the_end_of_a_set_up(server: ScriptedServer, *, first: bool) -> None:
    """Before its first step, or in the middle: the handler ends, and the connection is closed."""
    hub = server.hub(timeouts=Timeouts(close=1))
    ended = asyncio.Event()

    @hub.on_setup
    async def hang(_connection_id: str | None) -> None:
        try:
            await asyncio.Event().wait()
        finally:
            ended.set()

    start = asyncio.create_task(hub.start())
    socket = await server.sockets.get()
    await socket.shake_hands()
    await settle()
    if not first:
        socket.stalled.clear()
    socket.vanish()
    cancelled = 0
    for _ in range(50):
        for task in asyncio.all_tasks():
            if task.get_name() == "signalr_sdk end a set-up" and not task.cancelling() and cancelled < 2:
                cancelled += task.cancel()
        await asyncio.sleep(0)
    assert cancelled == 2
    with pytest.raises(SetupError):
        await start
    assert ended.is_set()
    assert socket.closed.is_set()


async def test_an_old_question_is_no_part_of_a_set_up(server: ScriptedServer) -> None:
    """A question of the connection before waits for its turn, and its handler then waits for the connection."""
    hub = server.hub(reconnect=AT_ONCE, limits=Limits(client_results=1))
    goes_on = asyncio.Event()

    @hub.on("ask")
    async def answer(number: int) -> None:
        if number == 1:
            await goes_on.wait()
        else:
            await hub.invoke("FromOldQuestion")

    hub.on_setup(lambda connection_id: hub.invoke("LogIn"))
    start = asyncio.create_task(hub.start())
    socket = await server.sockets.get()
    await socket.shake_hands()
    socket.answer(await socket.next())
    await start
    socket.say(question("q1", "ask", 1), question("q2", "ask", 2))
    await settle()
    socket.vanish()
    socket = await server.sockets.get()
    await socket.shake_hands()
    call = await socket.next()
    goes_on.set()
    await settle()
    assert socket._from_client.empty()
    socket.answer(call)
    assert (await socket.next())["target"] == "FromOldQuestion"
    await hub.stop()
