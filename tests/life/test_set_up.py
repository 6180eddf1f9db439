"""`on_setup`: what must have succeeded before a new connection counts as up."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Any

import pytest
from tests.doubles import without_waiting
from tests.scripted import ScriptedServer, ScriptedSocket, event, question
from tests.scripted_host import Host, now, settle

from signalr_sdk import (
    ConnectionClosedError,
    ConnectionState,
    HubConnection,
    HubError,
    Limits,
    NotConnectedError,
    Retry,
    RetryContext,
    ServerTimeoutError,
    SetupError,
    SlowConsumerError,
    StateError,
    Timeouts,
    Transport,
    is_transient,
)
from signalr_sdk.testing import Hub, HubServer

if TYPE_CHECKING:
    from collections.abc import Callable

AT_ONCE = Retry(wait=lambda _state: 0.0)


class Room(Hub):
    """A hub that lets in only who has logged in, and speaks at once.

    Attributes:
        refusals: how many log-ins are refused before one succeeds.
        order: all calls of all clients, in order.
    """

    refusals = 0
    order: list[str]

    async def on_connected(self) -> None:
        await self.clients.caller.send("Tick", 0)

    async def log_in(self, name: str) -> str:
        self.order.append(f"log in {name}")
        await self.clients.caller.send("Tick", 1)
        if type(self).refusals:
            type(self).refusals -= 1
            raise ValueError("not now")
        return f"hello {name}"

    async def say(self, text: str) -> str:
        self.order.append(f"say {text}")
        await self.clients.caller.send("Tick", 2)
        return text

    async def ask(self, event: str) -> Any:
        return await self.clients.caller.invoke(event, "?")

    async def cut(self) -> None:
        self.context.abort()

    async def count(self, count: int) -> AsyncIterator[int]:
        for number in range(count):
            yield number


@pytest.fixture(params=list(Transport))
async def room(request: pytest.FixtureRequest) -> AsyncIterator[Callable[..., HubConnection]]:
    """A function that makes connections to a hub of their own, over each transport."""
    hub_class = type("Room", (Room,), {"order": []})
    async with HubServer({"/room": hub_class}, detailed_errors=True, parallel_invocations=8) as server:

        def connection(**options: Any) -> HubConnection:
            return HubConnection(server.url("/room"), transports=request.param, **options)

        connection.hub_class = hub_class  # type: ignore[attr-defined]
        yield connection


# On every transport


async def test_it_runs_before_the_connection_counts(room: Callable[..., HubConnection]) -> None:
    hub = room(reconnect=False)
    order: list[str] = []
    seen: list[tuple[ConnectionState, str | None, Transport | None]] = []

    @hub.on_setup
    async def log_in(connection_id: str) -> None:
        seen.append((hub.state, hub.connection_id, hub.transport))
        order.append(f"set up {bool(connection_id)}")
        order.append(await hub.invoke("LogIn", "me"))
        async with hub.stream("Count", 3) as numbers:
            order.append(str([number async for number in numbers]))

    hub.on_setup(lambda _connection_id: order.append("second"))
    hub.on_connected(lambda _connection_id: order.append("connected"))
    hub.on("Tick", lambda number: order.append(f"tick {number}"))
    ticks = hub.messages("tick")
    async with hub:
        order.append("started")
        assert seen == [(ConnectionState.CONNECTING, None, None)]
        assert hub.state is ConnectionState.CONNECTED
        assert [await ticks.next(5) for _ in range(2)] == [(0,), (1,)]
        await hub.invoke("Say", "x")
        assert await ticks.next(5) == (2,)
    assert order[:4] == ["set up True", "hello me", "[0, 1, 2]", "second"]
    assert [each for each in order[4:] if each != "started"] == ["connected", "tick 0", "tick 1", "tick 2"]


async def test_one_that_fails_three_times_and_then_works(room: Callable[..., HubConnection]) -> None:
    """One `start`; calls of others go out only when it has succeeded; events of failed attempts are thrown away."""
    hub = room(reconnect=AT_ONCE, retry_start=True)
    room.hub_class.refusals = 3  # type: ignore[attr-defined]
    ticks: list[int] = []
    hub.on("Tick", ticks.append)
    connected: list[str | None] = []
    hub.on_connected(connected.append)
    hub.on_setup(lambda _connection_id: hub.invoke("LogIn", "me"))
    start = asyncio.create_task(hub.start())
    await asyncio.sleep(0)
    said = asyncio.create_task(hub.invoke("Say", "others"))
    await start
    assert await said == "others"
    assert room.hub_class.order == ["log in me"] * 4 + ["say others"]  # type: ignore[attr-defined]
    await hub.stop()
    assert ticks == [0, 1, 2]
    assert len(connected) == 1


async def test_a_reconnect_sets_up_again(room: Callable[..., HubConnection]) -> None:
    hub = room(reconnect=Retry.forever(wait=lambda _state: 0.0))
    order: list[str] = []
    states: list[ConnectionState] = []

    @hub.on_setup
    async def log_in(_connection_id: str | None) -> None:
        states.append(hub.state)
        order.append(await hub.invoke("LogIn", "me"))

    up = asyncio.Event()
    hub.on_connected(lambda _connection_id: order.append("connected"))
    hub.on_reconnecting(lambda _error: order.append("reconnecting"))
    hub.on_reconnected(lambda _connection_id: order.append("reconnected"))
    hub.on_reconnected(lambda _connection_id: up.set())
    async with hub:
        await hub.send("Cut")
        await up.wait()
        assert await hub.invoke("Say", "again") == "again"
    assert order == ["hello me", "connected", "reconnecting", "hello me", "connected", "reconnected"]
    assert states == [ConnectionState.CONNECTING, ConnectionState.RECONNECTING]


async def test_questions_of_the_server_are_answered_meanwhile(room: Callable[..., HubConnection]) -> None:
    """Also by a handler that calls the hub itself."""
    hub = room(reconnect=False)
    answers: list[Any] = []

    async def answer(_text: str) -> str:
        return str(await hub.invoke("Say", "inside"))

    hub.on("Question", answer)

    @hub.on_setup
    async def asked(_connection_id: str | None) -> None:
        answers.append(await hub.invoke("Ask", "Question"))

    async with hub:
        assert answers == ["inside"]


async def test_an_iterator_made_inside_gets_events_at_once(room: Callable[..., HubConnection]) -> None:
    """One that was made outside, and handlers, get all of them when the set-up has succeeded."""
    hub = room(reconnect=False)
    outside = hub.messages("Tick")
    any_: list[tuple[str, tuple[Any, ...]]] = []
    handled: list[int] = []
    hub.on("Tick", handled.append)
    hub.on_any(lambda name, arguments: any_.append((name, arguments)))
    inside: list[Any] = []

    @hub.on_setup
    async def snapshot(_connection_id: str | None) -> None:
        ticks = asyncio.create_task(hub.wait_for("Tick", timeout=5))
        events = hub.events("Tick")
        await hub.invoke("LogIn", "me")
        inside.append(await ticks)
        inside.append(await events.next(5))
        assert handled == []

    async with hub:
        assert [await outside.next(5) for _ in range(2)] == [(0,), (1,)]
        await hub.invoke("Say", "x")
        assert await outside.next(5) == (2,)
    assert len(inside) == 2
    assert handled == [0, 1, 2]
    assert any_ == []


# What fails


async def start_failing(hub: HubConnection) -> SetupError:
    with pytest.raises(SetupError) as caught:
        await hub.start()
    assert hub.state is ConnectionState.DISCONNECTED
    return caught.value


async def test_an_exception_is_a_failed_attempt(room: Callable[..., HubConnection]) -> None:
    hub = room()
    closed: list[Any] = []
    hub.on_closed(closed.append)

    @hub.on_setup
    async def log_in(_connection_id: str | None) -> None:
        await hub.invoke("LogIn", "me")

    room.hub_class.refusals = 1  # type: ignore[attr-defined]
    error = await start_failing(hub)
    assert isinstance(error.__cause__, HubError)
    assert "not now" in str(error)
    assert is_transient(RetryContext(1, 0.0, error, was_connected=False))
    assert closed == []  # the connection was never up
    await hub.start()
    await hub.stop()


@pytest.mark.parametrize("raised", [ValueError("wrong"), KeyError(), asyncio.CancelledError(), GeneratorExit("odd")])
async def test_any_exception(server: ScriptedServer, raised: BaseException) -> None:
    hub = server.hub()

    def fail(_connection_id: str | None) -> None:
        raise raised

    hub.on_setup(fail)
    start = asyncio.create_task(start_failing(hub))
    socket = await server.sockets.get()
    await socket.shake_hands()
    error = await start
    assert error.__cause__ is raised or (error.__cause__ and error.__cause__.__cause__ is raised)
    assert (await socket.next())["type"] == 7
    assert socket.closed.is_set()


async def test_handlers_end_at_the_first_failure(server: ScriptedServer) -> None:
    hub = server.hub()
    hub.on_setup(lambda _connection_id: 1 / 0)
    hub.on_setup(lambda _connection_id: pytest.fail("not called"))
    start = asyncio.create_task(start_failing(hub))
    await (await server.sockets.get()).shake_hands()
    assert isinstance((await start).__cause__, ZeroDivisionError)


@without_waiting
async def test_it_takes_too_long() -> None:
    async with Host() as host:
        hub = host.server.hub(timeouts=Timeouts(setup=5, keep_alive=None, server=None))
        cancelled = asyncio.Event()

        @hub.on_setup
        async def hang(_connection_id: str | None) -> None:
            try:
                await hub.invoke("Never")
            except asyncio.CancelledError:
                cancelled.set()
                raise

        began = now()
        error = await start_failing(hub)
        assert 5 <= now() - began < 5.5
        assert isinstance(error.__cause__, TimeoutError)
        assert "Timeouts.setup" in str(error)
        assert cancelled.is_set()
        calls = [await host.sockets[-1].next() for _ in range(3)]
        assert [call["type"] for call in calls] == [1, 5, 7]  # the call, its cancellation, the goodbye


@without_waiting
async def test_one_that_will_not_be_cancelled_holds_nobody_up(caplog: pytest.LogCaptureFixture) -> None:
    async with Host() as host:
        hub = host.server.hub(timeouts=Timeouts(setup=5, keep_alive=None, server=None))
        over = asyncio.Event()

        @hub.on_setup
        async def stubborn(_connection_id: str | None) -> None:
            while not over.is_set():
                try:
                    await over.wait()
                except asyncio.CancelledError:
                    continue
            with pytest.raises(NotConnectedError):
                await hub.invoke("Late")
            over.clear()

        began = now()
        await start_failing(hub)
        assert now() - began < 5.5
        assert "stubborn" in caplog.text
        over.set()
        await settle()
        assert not over.is_set()


@pytest.mark.parametrize("stateful", [False, True])
async def test_a_loss_meanwhile(server: ScriptedServer, *, stateful: bool) -> None:
    """Pending calls of the handler get ConnectionClosedError; nothing is resumed."""
    hub = server.hub(stateful_reconnect=stateful, reconnect=Retry.delays(0))
    errors: list[BaseException] = []

    @hub.on_setup
    async def log_in(_connection_id: str | None) -> None:
        try:
            await hub.invoke("LogIn")
        except BaseException as error:
            errors.append(error)
            raise

    start = asyncio.create_task(start_failing(hub))
    socket = await server.sockets.get()
    await socket.shake_hands()
    await socket.next()
    socket.vanish("cut")
    error = await start
    assert isinstance(error.__cause__, ConnectionClosedError)
    assert "cut" in str(error)
    assert [type(each) for each in errors] == [ConnectionClosedError]
    assert server.sockets.empty()


@pytest.mark.parametrize(("close", "transient"), [({"type": 7, "allowReconnect": True}, True), ({"type": 7}, False)])
async def test_a_close_meanwhile(server: ScriptedServer, close: dict[str, Any], *, transient: bool) -> None:
    hub = server.hub()
    hub.on_setup(lambda _connection_id: hub.invoke("LogIn"))
    start = asyncio.create_task(start_failing(hub))
    socket = await server.sockets.get()
    await socket.shake_hands()
    await socket.next()
    socket.say(close)
    error = await start
    assert is_transient(RetryContext(1, 0.0, error, was_connected=True)) is transient


async def test_the_policy_sees_the_cause(server: ScriptedServer) -> None:
    """A policy that gives up on a wrong password."""

    class Policy:
        def next_delay(self, context: RetryContext) -> float | None:
            cause = context.error.__cause__ if context.error is not None else None
            return None if isinstance(cause, PermissionError) else 0.0

    hub = server.hub(reconnect=Policy())
    passwords = ["right", "wrong"]

    @hub.on_setup
    def log_in(_connection_id: str | None) -> None:
        if passwords.pop(0) == "wrong":
            raise PermissionError("wrong password")

    socket = await server.accept(hub)
    socket.vanish()
    await (await server.sockets.get()).shake_hands()
    with pytest.raises(SetupError, match="wrong password"):
        await hub.wait_closed()


# stop() and cancelling


@pytest.mark.parametrize("how", ["stop", "cancel", "both"])
async def test_stopping_meanwhile(server: ScriptedServer, how: str) -> None:
    hub = server.hub()
    ended: list[str] = []

    @hub.on_setup
    async def hang(_connection_id: str | None) -> None:
        try:
            await hub.invoke("Never")
        finally:
            await asyncio.sleep(0)
            ended.append("cleaned up")

    start = asyncio.create_task(hub.start())
    socket = await server.sockets.get()
    await socket.shake_hands()
    await socket.next()
    if how != "stop":
        start.cancel()
        await asyncio.sleep(0)
    if how != "cancel":
        await hub.stop()
    with pytest.raises((asyncio.CancelledError, ConnectionClosedError)):
        await start
    assert hub.state is ConnectionState.DISCONNECTED
    assert ended == ["cleaned up"]
    assert socket.closed.is_set()


@pytest.mark.parametrize("where", ["handler", "task", "clean-up"])
async def test_the_handler_itself_calls_stop(server: ScriptedServer, where: str) -> None:
    hub = server.hub(timeouts=Timeouts(close=60))
    order: list[str] = []

    @hub.on_setup
    async def give_up(_connection_id: str | None) -> None:
        if where == "clean-up":
            try:
                await hub.invoke("Never")
            finally:
                await hub.stop()
                order.append("stopped")
        stop = hub.stop() if where == "handler" else asyncio.create_task(hub.stop())
        await stop
        order.append("stopped")
        with pytest.raises(NotConnectedError):
            await hub.invoke("Anything")
        order.append("went on")

    start = asyncio.create_task(hub.start())
    socket = await server.sockets.get()
    await socket.shake_hands()
    if where == "clean-up":
        await socket.next()
        async with asyncio.timeout(5):
            await hub.stop()
    with pytest.raises(ConnectionClosedError, match="stop"):
        await start
    assert hub.state is ConnectionState.DISCONNECTED  # so that it can be started again at once
    await settle()
    assert order == (["stopped"] if where == "clean-up" else ["stopped", "went on"])
    assert hub.state is ConnectionState.DISCONNECTED


async def test_what_cannot_be_called_inside(server: ScriptedServer) -> None:
    hub = server.hub()
    refused: list[str] = []

    @hub.on_setup
    async def wrong(_connection_id: str | None) -> None:
        for call in (hub.start, hub.reconnect, hub.wait_connected):
            with pytest.raises(StateError) as caught:
                await call()
            refused.append(str(caught.value))

    await server.accept(hub)
    assert len(refused) == 3
    await hub.stop()


async def test_a_task_of_the_handler_waits_like_others_afterwards(server: ScriptedServer) -> None:
    """Its context is the set-up's until the set-up ends."""
    hub = server.hub(reconnect=AT_ONCE)
    goes_on = asyncio.Event()
    tasks: list[asyncio.Task[Any]] = []
    setups = 0

    @hub.on_setup
    async def begin(_connection_id: str | None) -> None:
        nonlocal setups
        setups += 1
        if setups == 1:

            async def later() -> None:
                await goes_on.wait()
                await hub.invoke("Late")

            tasks.append(asyncio.create_task(later()))
        else:
            await hub.invoke("Again")

    socket = await server.accept(hub)
    socket.vanish()
    socket = await server.sockets.get()
    goes_on.set()
    await socket.shake_hands()
    call = await socket.next()
    assert call["target"] == "Again"
    await settle()
    socket.answer(call)
    late = await socket.next()
    assert late["target"] == "Late"
    socket.answer(late)
    await tasks[0]
    await hub.stop()


# Events meanwhile


async def begun(
    server: ScriptedServer, hub: HubConnection
) -> tuple[asyncio.Task[None], ScriptedSocket, dict[str, Any]]:
    """Start a connection whose set-up makes one call; return the call too, which is not answered."""
    hub.on_setup(lambda _connection_id: hub.invoke("LogIn"))
    start = asyncio.create_task(hub.start())
    socket = await server.sockets.get()
    await socket.shake_hands(event("first", 0))
    return start, socket, await socket.next()


async def test_holding_events_back_does_not_pause_reading(server: ScriptedServer) -> None:
    """Not even when far more wait than `limits.messages`: the answer to the set-up's own call must be read."""
    hub = server.hub(limits=Limits(messages=10))
    got: list[Any] = []
    hub.on("first", got.append)
    hub.on("e", got.append)
    start, socket, call = await begun(server, hub)
    for number in range(1, 1001):
        socket.event("e", number)
    await socket.all_read()
    assert got == []
    socket.answer(call)
    await start
    await settle(200)
    assert got == list(range(1001))
    await hub.stop()


async def test_what_waits_counts_in_buffered_bytes(server: ScriptedServer) -> None:
    hub = server.hub(limits=Limits(buffered_bytes=10_000))
    got: list[int] = []
    errors: list[Exception] = []
    hub.on("e", lambda number, _padding: got.append(number))
    hub.on_error(errors.append)
    start, socket, call = await begun(server, hub)
    for number in range(100):
        socket.event("e", number, "x" * 960)
    await socket.all_read()
    socket.answer(call)
    await start
    await settle(100)
    assert got == list(range(100 - len(got), 100))
    assert 5 < len(got) < 10
    assert [type(error) for error in errors] == [SlowConsumerError]
    await hub.stop()


async def test_nobody_is_warned_about_what_the_set_up_took(
    server: ScriptedServer, caplog: pytest.LogCaptureFixture
) -> None:
    hub = server.hub()
    inside: list[Any] = []

    @hub.on_setup
    async def snapshot(_connection_id: str | None) -> None:
        async with hub.messages("snapshot") as snapshots:
            await hub.send("Subscribe")
            inside.append(await snapshots.next(5))

    start = asyncio.create_task(hub.start())
    socket = await server.sockets.get()
    await socket.shake_hands()
    await socket.next()
    socket.say(event("Snapshot", 1), event("other", 2))
    await start
    await settle()
    assert inside == [(1,)]
    assert "Snapshot" not in caplog.text
    assert "other" in caplog.text
    await hub.stop()


async def test_an_iterator_made_inside_lives_on(server: ScriptedServer) -> None:
    """After a set-up that has failed, it ends."""
    hub = server.hub(retry_start=AT_ONCE)
    made: list[Any] = []

    @hub.on_setup
    async def subscribe(_connection_id: str | None) -> None:
        made.append(hub.messages("e"))
        await hub.invoke("Subscribe")

    start = asyncio.create_task(hub.start())
    first = await server.sockets.get()
    await first.shake_hands()
    call = await first.next()
    first.event("e", 1)
    first.fail(call, "not yet")
    second = await server.sockets.get()
    await second.shake_hands()
    call = await second.next()
    second.event("e", 2)
    second.answer(call)
    await start
    second.event("e", 3)
    assert [arguments async for arguments in made[0]] == [(1,)]
    assert [await made[1].next() for _ in range(2)] == [(2,), (3,)]
    await hub.stop()


async def test_a_question_before_the_set_up_ends(server: ScriptedServer) -> None:
    hub = server.hub()
    hub.on("ask", lambda: 7)
    start, socket, call = await begun(server, hub)
    socket.say(question("q", "ask"))
    assert await socket.next() == {"type": 3, "invocationId": "q", "result": 7}
    socket.answer(call)
    await start
    await hub.stop()


async def test_off_removes_it(server: ScriptedServer) -> None:
    hub = server.hub()
    handler = hub.on_setup(lambda _connection_id: 1 / 0)
    hub.off(handler=handler)
    await server.accept(hub)
    await hub.stop()


# Timeouts


@without_waiting
async def test_the_server_timeout_holds_meanwhile() -> None:
    async with Host() as host:
        hub = host.server.hub(timeouts=Timeouts(setup=None, server=30))
        hub.on_setup(lambda _connection_id: hub.invoke("Never"))
        error = await start_failing(hub)
        assert isinstance(error.__cause__, ServerTimeoutError)


@without_waiting
async def test_idle_stands_still_meanwhile() -> None:
    async with Host() as host:
        hub = host.server.hub(timeouts=Timeouts(setup=60, server=None, idle=5))

        @hub.on_setup
        async def slow(_connection_id: str | None) -> None:
            await asyncio.sleep(20)

        await hub.start()
        began = now()
        with pytest.raises(ServerTimeoutError, match="idle"):
            await hub.wait_closed()
        assert 5 <= now() - began < 6


async def test_the_log_names_the_failure(server: ScriptedServer, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, "signalr_sdk.hub")
    hub = server.hub(retry_start=Retry.delays(0))
    fails = [True, False]

    @hub.on_setup
    def flaky(_connection_id: str | None) -> None:
        if fails.pop(0):
            raise RuntimeError("try again")

    start = asyncio.create_task(hub.start())
    for _ in range(2):
        await (await server.sockets.get()).shake_hands()
    await start
    assert "the set-up of the connection failed: RuntimeError: try again" in caplog.text
    await hub.stop()
