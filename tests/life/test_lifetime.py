"""Ends at the wrong moment: races, losses, stops, users' code that misbehaves. Nothing may hang, leak or get lost."""

from __future__ import annotations

import asyncio
import gc
import itertools
import logging
import random
from typing import TYPE_CHECKING, Any

import pytest
from tests.scripted import ScriptedServer, ScriptedSocket, event, question

from signalr_sdk import (
    Connection,
    ConnectionClosedError,
    ConnectionFailedError,
    ConnectionState,
    HubConnection,
    Limits,
    NotConnectedError,
    Retry,
    ServerTimeoutError,
    SignalRError,
    StateError,
    Timeouts,
    Upload,
)
from signalr_sdk._sending.outgoing import Outgoing

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Iterator

    from signalr_sdk import RetryContext


async def settle(turns: int = 20) -> None:
    """Let everything run that can."""
    for _ in range(turns):
        await asyncio.sleep(0)


def close_message(**rest: Any) -> dict[str, Any]:
    return {"type": 7, **rest}


class Source:
    """An upload that never has an item, and tells when it is closed."""

    def __init__(self) -> None:
        self.closed = False

    def __aiter__(self) -> AsyncIterator[int]:
        return self

    async def __anext__(self) -> int:
        await asyncio.Event().wait()
        return 1

    async def aclose(self) -> None:
        self.closed = True


# The outgoing buffer


class Valve:
    """Takes the first write when it is opened, and all later ones at once."""

    def __init__(self) -> None:
        self.opened = asyncio.Event()
        self.writes: list[bytes] = []

    async def send(self, data: bytes, /) -> None:
        await self.opened.wait()
        self.writes.append(data)

    def send_now(self, _data: bytes, /) -> bool:
        return False

    async def flush(self) -> None:
        pass


@pytest.mark.parametrize("turns", range(8))
async def test_a_sender_is_cancelled_or_has_sent_but_never_both(turns: int) -> None:
    """Whatever the moment of the cancellation; the one behind it is woken in any case."""
    valve = Valve()
    outgoing = Outgoing(valve, 1, writing=lambda: None, failed=lambda _error: None)
    outgoing.put_now(b"first")
    sender = asyncio.create_task(outgoing.put(b"second"))
    last = asyncio.create_task(outgoing.put(b"last"))
    await settle()
    valve.opened.set()
    await settle(turns)
    sender.cancel()
    await last
    await outgoing.flush()
    await asyncio.wait({sender})
    assert sender.cancelled() == (b"second" not in valve.writes)
    assert valve.writes[-1] == b"last"


async def test_an_invoke_that_waits_for_room_ends_with_the_connection(server: ScriptedServer) -> None:
    hub = server.hub(limits=Limits(outgoing_bytes=1))
    socket = await server.accept(hub)
    await hub.flush()
    socket.stalled.clear()
    await hub.send("X")
    call = asyncio.create_task(hub.invoke("Y"))
    await settle()
    socket.vanish()
    with pytest.raises(ConnectionClosedError):
        await call
    del call
    gc.collect()  # an exception that nobody retrieved is logged now
    await hub.stop()


async def test_what_cannot_be_sent_any_more_is_an_error_and_no_silence(server: ScriptedServer) -> None:
    """Writing has failed, and the reader does not know it yet."""
    hub = server.hub()
    socket = await server.accept(hub)
    await hub.flush()
    socket.closed.set()
    await hub.send("lost")
    await settle()
    assert hub.state is ConnectionState.CONNECTED
    for late in (hub.send("X"), hub.invoke("X"), hub.stream("X").next()):
        with pytest.raises(ConnectionClosedError, match="not sent"):
            await late
    await hub.stop()


async def test_an_endless_upload_ends_when_writing_has_failed(server: ScriptedServer) -> None:
    hub = server.hub()
    socket = await server.accept(hub)
    await hub.flush()
    taken = 0

    def endless() -> Iterator[int]:
        nonlocal taken
        for taken in range(100_000):
            if taken == 3:
                socket.closed.set()
                link = hub._life.link
                assert link is not None
                link.outgoing.end(ConnectionClosedError("reset"))
            yield taken

    await hub.send("Sum", Upload(endless()))
    await settle()
    assert taken < 10
    await hub.stop()


async def test_senders_that_wait_for_room_do_not_follow_the_good_bye(server: ScriptedServer) -> None:
    hub = server.hub(limits=Limits(outgoing_bytes=1))
    socket = await server.accept(hub)
    await hub.flush()
    socket.stalled.clear()
    await hub.send("first")
    waiting = [asyncio.create_task(hub.send("second")), asyncio.create_task(hub.send("third"))]
    await settle()
    stop = asyncio.create_task(hub.stop())
    await settle()
    socket.stalled.set()
    await stop
    for each in waiting:
        with pytest.raises(ConnectionClosedError):
            await each
    assert (await socket.next())["target"] == "first"
    assert (await socket.next())["type"] == 7


@pytest.mark.parametrize("how", ["stop", "failed write"])
async def test_lost_messages_are_counted_once(
    server: ScriptedServer, caplog: pytest.LogCaptureFixture, how: str
) -> None:
    hub = server.hub(timeouts=Timeouts(close=0.05, keep_alive=None))
    socket = await server.accept(hub)
    await hub.flush()
    if how == "stop":
        socket.stalled.clear()
    else:
        socket.closed.set()
    await hub.send("X")
    await settle()
    await hub.stop()
    assert caplog.text.count("not sent before the connection ended") == 1


# Starting and stopping


@pytest.mark.parametrize("reconnect", [False, True])
async def test_a_call_that_waits_gets_no_connection_that_is_lost_already(
    server: ScriptedServer, reconnect: bool
) -> None:
    hub = server.hub(reconnect=Retry.delays(0, 0) if reconnect else False)
    start = asyncio.create_task(hub.start())
    socket = await server.sockets.get()
    call = asyncio.create_task(hub.invoke("Add"))
    await settle()
    socket.say({})
    socket.say(close_message(error="restarting", allowReconnect=reconnect))
    await start
    if reconnect:
        socket = await server.sockets.get()
        await socket.shake_hands()
        socket.answer(await socket.next(), 3)
        assert await call == 3
    else:
        with pytest.raises(NotConnectedError) as caught:
            await call
        assert isinstance(caught.value.__cause__, ConnectionClosedError)
    await hub.stop()


@pytest.mark.parametrize("turns", range(12))
@pytest.mark.parametrize("again", [False, True])
async def test_stop_at_any_moment_of_a_start(server: ScriptedServer, turns: int, again: bool) -> None:
    hub = server.hub(reconnect=Retry.delays(0, 0) if again else False)
    if again:
        socket = await server.accept(hub)
        start = asyncio.create_task(hub.wait_closed())
        socket.vanish()
    else:
        start = asyncio.create_task(hub.start())
    socket = await server.sockets.get()
    socket.say({})
    await settle(turns)
    await hub.stop()
    assert hub.state is ConnectionState.DISCONNECTED
    await asyncio.wait({start})
    assert start.exception() is None or isinstance(start.exception(), ConnectionClosedError)
    assert socket.closed.is_set()


async def test_stop_does_not_wait_for_a_consumer_that_is_behind(server: ScriptedServer) -> None:
    hub = server.hub(timeouts=Timeouts(pause=None, close=None))
    socket = await server.accept(hub)
    messages = hub.messages("tick", buffer=1)
    for n in range(3):
        socket.event("tick", n)
    await settle()
    await hub.stop()
    messages.close()
    assert (hub._backlog.held, hub._backlog.above) == (0, 0)


async def test_events_that_arrive_while_stopping_are_discarded(server: ScriptedServer) -> None:
    hub = server.hub()
    handled: list[int] = []
    hub.on("late", handled.append)
    socket = await server.accept(hub)
    await hub.flush()
    socket.stalled.clear()
    stop = asyncio.create_task(hub.stop())
    await settle()
    socket.event("late", 1)
    await settle()
    socket.stalled.set()
    await stop
    assert handled == []
    assert hub._backlog.held == 0


@pytest.mark.parametrize("busy", [False, True])
async def test_stop_after_a_loss_leaves_on_closed_handlers_alone(server: ScriptedServer, busy: bool) -> None:
    """The usual course: a call in an `async with` fails, the block is left, and on_closed is still to be told."""
    hub = server.hub()
    go_on, done = asyncio.Event(), asyncio.Event()

    async def closed(error: Exception | None) -> None:
        assert isinstance(error, ConnectionClosedError)
        await go_on.wait()
        done.set()

    async def slow() -> None:
        await asyncio.Event().wait()

    hub.on_closed(closed)
    hub.on("slow", slow)
    socket = await server.accept(hub)
    if busy:
        socket.event("slow")
        await settle()
    call = asyncio.create_task(hub.invoke("X"))
    await settle()
    socket.vanish()
    with pytest.raises(ConnectionClosedError):
        await call
    await settle()
    await hub.stop()
    await settle()
    go_on.set()
    await done.wait()
    await settle()


async def test_stop_waits_for_the_connection_before_too(server: ScriptedServer) -> None:
    """on_closed starts again while the old transport is still closing."""
    hub = server.hub()
    socket = await server.accept(hub)
    closing, restarted = asyncio.Event(), asyncio.Event()

    async def slow_close() -> None:
        closing.set()
        try:
            await asyncio.Event().wait()
        finally:
            socket.closed.set()

    socket.close = slow_close  # type: ignore[method-assign]
    link = hub._life.link
    assert link is not None
    link.connection.transport.close = slow_close  # type: ignore[method-assign]

    async def again(_error: Exception | None) -> None:
        restarted.set()
        with pytest.raises(ConnectionClosedError):
            await hub.start()

    hub.on_closed(again)
    socket.say(close_message())
    await closing.wait()
    await restarted.wait()
    await settle()
    await hub.stop()
    assert socket.closed.is_set()


def test_a_connection_may_move_to_another_event_loop() -> None:
    server = ScriptedServer()
    hub = server.hub()

    async def use() -> None:
        server.sockets = asyncio.Queue()
        await server.accept(hub)
        await hub.stop()
        await hub.stop()

    async def only_stop() -> None:
        await hub.stop()

    asyncio.run(use())
    asyncio.run(only_stop())
    asyncio.run(use())


async def test_a_handler_that_is_cancelled_may_call_stop_as_it_cleans_up(server: ScriptedServer) -> None:
    hub = server.hub(timeouts=Timeouts(close=None))
    began, over = asyncio.Event(), asyncio.Event()

    async def careful() -> None:
        began.set()
        try:
            await asyncio.Event().wait()
        finally:
            await hub.stop()
            over.set()

    hub.on("x", careful)
    socket = await server.accept(hub)
    socket.event("x")
    await began.wait()
    await hub.stop()
    assert over.is_set()
    assert hub.state is ConnectionState.DISCONNECTED


async def test_a_second_call_with_an_upload_harms_the_first_one_not(server: ScriptedServer) -> None:
    hub = server.hub()
    socket = await server.accept(hub)
    upload: Upload[int] = Upload()
    await hub.send("Sum", upload)
    for again in (hub.send("Sum", upload), hub.invoke("Sum", upload)):
        with pytest.raises(StateError, match="used already"):
            await again
    await upload.send(1)
    assert (await socket.next())["target"] == "Sum"
    assert (await socket.next())["item"] == 1
    await hub.stop()


async def test_a_source_that_will_not_close_does_not_hold_stop_up(server: ScriptedServer) -> None:
    hub = server.hub(timeouts=Timeouts(close=0.05))
    socket = await server.accept(hub)

    async def stubborn() -> AsyncIterator[int]:
        try:
            yield 1
            await asyncio.Event().wait()
        finally:
            await asyncio.Event().wait()

    await hub.send("Sum", stubborn())
    assert (await socket.next())["target"] == "Sum"
    assert (await socket.next())["item"] == 1
    await hub.stop()
    assert hub.state is ConnectionState.DISCONNECTED


@pytest.mark.parametrize("how", ["stop", "loss"])
async def test_a_transport_that_cannot_be_closed(server: ScriptedServer, how: str) -> None:
    hub = server.hub(reconnect=Retry.delays(0))
    socket = await server.accept(hub)
    link = hub._life.link
    assert link is not None

    async def broken() -> None:
        await socket.close()
        raise OSError("bad file descriptor")

    link.connection.transport.close = broken  # type: ignore[method-assign]
    if how == "loss":
        socket.vanish()
        socket = await server.sockets.get()
        await socket.shake_hands()
        await hub.wait_connected()
    await hub.stop()
    assert hub.state is ConnectionState.DISCONNECTED


async def test_the_server_timeout_survives_a_pause(server: ScriptedServer) -> None:
    """Without pings nothing else sets the timer anew."""
    hub = server.hub(timeouts=Timeouts(keep_alive=None, server=0.05, pause=0.1))
    socket = await server.accept(hub)
    messages = hub.messages("tick", buffer=1)
    for n in range(3):
        socket.event("tick", n)
    with pytest.raises(ServerTimeoutError):
        await hub.wait_closed()
    messages.close()
    await hub.stop()


async def test_stop_of_a_raw_connection_at_the_very_end_of_its_start(
    server: ScriptedServer, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    connection = Connection("http://hub.test/raw", http=server)
    stopping: list[asyncio.Task[None]] = []

    class StopWhenUp(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            if "is up" in record.getMessage():
                stopping.append(asyncio.create_task(connection.stop()))

    caplog.set_level(logging.DEBUG, "signalr_sdk.negotiate")
    monkeypatch.setattr(logging.getLogger("signalr_sdk.negotiate"), "handlers", [StopWhenUp()])
    with pytest.raises(ConnectionFailedError, match="stop"):
        await connection.start()
    await asyncio.wait(stopping)
    assert (await server.sockets.get()).closed.is_set()
    assert connection.transport is None


# Users' code that misbehaves


async def test_a_token_provider_that_is_cancelled_from_inside_fails_the_start(server: ScriptedServer) -> None:
    async def provider() -> str:
        raise asyncio.CancelledError

    hub = server.hub(access_token=provider)
    with pytest.raises(ConnectionFailedError):
        await hub.start()
    assert hub.state is ConnectionState.DISCONNECTED


async def test_a_token_provider_that_is_cancelled_from_inside_fails_one_attempt(server: ScriptedServer) -> None:
    broken: list[bool] = []

    async def provider() -> str:
        if broken:
            broken.clear()
            raise asyncio.CancelledError
        return "token"

    hub = server.hub(access_token=provider, reconnect=Retry.delays(0, 0, 0))
    socket = await server.accept(hub)
    broken.append(True)
    socket.vanish()
    socket = await server.sockets.get()
    await socket.shake_hands()
    await hub.wait_connected()
    await hub.stop()


@pytest.mark.parametrize("then", ["connects", "fails"])
async def test_a_token_provider_that_will_not_be_cancelled(server: ScriptedServer, then: str) -> None:
    asked = asyncio.Event()
    patient: list[bool] = []

    async def provider() -> str:
        if patient:
            asked.set()
            try:
                await asyncio.Event().wait()
            except asyncio.CancelledError:
                if then == "fails":
                    raise ValueError("no token") from None
        return "token"

    hub = server.hub(access_token=provider, reconnect=Retry.delays(0, 0, 0), timeouts=Timeouts(close=0.2))
    socket = await server.accept(hub)
    patient.append(True)
    socket.vanish()
    await asked.wait()
    stop = asyncio.create_task(hub.stop())
    await stop
    assert server.sockets.empty()
    assert hub.state is ConnectionState.DISCONNECTED
    assert socket.closed.is_set()


@pytest.mark.usefixtures("expected_errors")
@pytest.mark.parametrize("delay", ["soon", float("nan")])
async def test_a_policy_that_returns_nonsense_gives_up(server: ScriptedServer, delay: Any) -> None:
    class Policy:
        def next_delay(self, context: RetryContext, /) -> float | None:
            return delay  # type: ignore[no-any-return]

    hub = server.hub(reconnect=Policy())
    socket = await server.accept(hub)
    socket.vanish()
    with pytest.raises(ConnectionClosedError):
        await hub.wait_closed()
    await hub.stop()


@pytest.mark.usefixtures("expected_errors")
async def test_a_sync_handler_may_meet_something_cancelled(server: ScriptedServer) -> None:
    """`task.result()` raises CancelledError, which is none of ours: the next event is handled nevertheless."""
    hub = server.hub()
    next_one = asyncio.Event()
    errors: list[Exception] = []

    def broken(*_args: Any) -> None:
        raise asyncio.CancelledError

    hub.on("broken", broken)
    hub.on_connected(broken)
    hub.on_error(broken)
    hub.on_error(errors.append)
    hub.on("next", next_one.set)
    socket = await server.accept(hub, event("broken"), event("next"))
    await next_one.wait()
    assert [type(error) for error in errors] == [SignalRError, SignalRError]
    socket.say(question("q", "broken"))
    assert "error" in await socket.next()
    await hub.stop()


async def test_the_server_may_cancel_a_question(server: ScriptedServer) -> None:
    hub = server.hub()
    messages = hub.messages("tick")
    socket = await server.accept(hub)
    socket.say({"type": 5, "invocationId": "q"}, event("tick", 1))
    assert await messages.next() == (1,)
    messages.close()
    await hub.stop()


async def test_an_answer_to_what_was_not_asked_yet(server: ScriptedServer) -> None:
    """A server that guesses ids must not end the task of the connection."""
    hub = server.hub(limits=Limits(outgoing_bytes=1))
    socket = await server.accept(hub)
    await hub.flush()
    socket.stalled.clear()
    await hub.send("X")
    item = asyncio.create_task(hub.stream("Count").next())
    await settle()
    socket.say({"type": 3, "invocationId": "1"})
    await settle()
    assert hub.state is ConnectionState.CONNECTED
    socket.stalled.set()
    with pytest.raises(StopAsyncIteration):
        await item
    await hub.stop()
    assert hub._backlog.held == 0


async def test_handlers_for_all_events_change_nothing_for_subscribers(server: ScriptedServer) -> None:
    hub = server.hub()
    seen: list[Any] = []
    hub.on_any(lambda name, args: seen.append((name, args)))

    @hub.on("first")
    def first() -> None:
        hub.off("tick")

    hub.on("tick", lambda _n: None)
    messages = hub.messages("tick")
    socket = await server.accept(hub)
    socket.say(event("first"), event("tick", 1))
    await settle()
    assert await messages.next() == (1,)
    assert seen in ([], [("tick", (1,))])
    messages.close()
    await hub.stop()


# What waits for consumers


async def test_a_large_event_behind_lifecycle_events_is_kept(server: ScriptedServer) -> None:
    """Neither can be dropped: the last event always stays."""
    hub = server.hub(limits=Limits(buffered_bytes=100))
    got: list[Any] = []
    go_on = asyncio.Event()
    hub.on_connected(lambda _id: go_on.wait())
    hub.on_connected(lambda _id: None)
    hub.on("big", got.append)
    socket = await server.accept(hub)
    hub._dispatcher.push_lifecycle("connected", "again")
    socket.event("big", "x" * 200)
    await settle()
    go_on.set()
    await settle()
    assert len(got) == 1
    assert hub._backlog.held == 0
    await hub.stop()


async def test_streams_that_were_never_asked_for_leave_nothing(server: ScriptedServer) -> None:
    hub = server.hub()
    before = len(hub._backlog._queues)
    await asyncio.to_thread(lambda: [hub.stream("Count") for _ in range(10)])
    gc.collect()
    await settle()
    assert len(hub._backlog._queues) == before


@pytest.mark.parametrize("how", ["refused", "gave up waiting", "cancelled meanwhile", "never asked for", "cancelled"])
async def test_the_source_of_a_stream_that_never_began_is_closed(server: ScriptedServer, how: str) -> None:
    hub = server.hub(timeouts=Timeouts(ready=0.05))
    source = Source()
    stream = hub.stream("Running", source)
    if how == "refused":
        with pytest.raises(NotConnectedError):
            await stream.next()
    elif how == "never asked for":
        del stream
        gc.collect()
    elif how == "cancelled":
        await stream.cancel()
    else:
        start = asyncio.create_task(hub.start())
        await server.sockets.get()
        item = asyncio.create_task(stream.next())
        await settle()
        if how == "cancelled meanwhile":
            await stream.cancel()
            item.cancel()
        await asyncio.wait({item})
        assert item.cancelled() or isinstance(item.exception(), NotConnectedError)
        await hub.stop()
        await asyncio.wait({start})
        assert isinstance(start.exception(), ConnectionClosedError)
    await settle()
    assert source.closed


async def test_asking_again_and_again_costs_nothing(server: ScriptedServer) -> None:
    hub = server.hub()
    socket = await server.accept(hub)
    messages, stream = hub.messages("tick"), hub.stream("Count")
    for handle in (messages, stream):
        for _ in range(5):
            with pytest.raises(TimeoutError):
                await handle.next(timeout=0)
        first = asyncio.create_task(handle.next())
        await settle()
        first.cancel()
        await settle()
        assert handle._queue._waiters == []
    assert (await socket.next())["target"] == "Count"
    messages.close()
    await stream.cancel()
    await hub.stop()


# All of it, at random


class RandomWorld:
    """A hub connection, its users and its server, all of whom do what a seed says."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        self.server = ScriptedServer()
        self.hub: HubConnection = self.server.hub(
            reconnect=self,
            timeouts=Timeouts(pause=0.005, close=0.5, ready=0.2),
            limits=Limits(messages=2, stream_items=2, buffered_bytes=400, outgoing_bytes=100, client_results=2),
        )
        self.hub.on("tick", self.handle)
        self.hub.on("ask", self.handle)
        self.hub.on_closed(lambda _error: self.note("closed"))
        self.hub.on_connected(lambda _id: self.note("connected"))
        self.noted: list[str] = []
        self.sources: list[Source] = []
        self.calls: list[asyncio.Task[Any]] = []
        self.running: list[asyncio.Task[Any]] = []
        self.begun = 0
        self.ended: list[str] = []
        self.sockets: list[ScriptedSocket] = []
        self.serving: list[asyncio.Task[None]] = []

    def note(self, what: str) -> None:
        self.noted.append(what)

    def next_delay(self, context: RetryContext, /) -> float | None:
        return None if self.random.random() < 0.1 else 0.0

    async def handle(self, *_arguments: Any) -> int:
        await settle(self.random.randrange(8))
        if self.random.random() < 0.05:
            await self.hub.stop()
        return 1

    # The users

    def begin(self, call: Awaitable[Any]) -> None:
        async def run() -> None:
            task = asyncio.current_task()
            assert task is not None
            self.running.append(task)
            try:
                self.ended.append(repr(await call))
            except (SignalRError, TimeoutError, StopAsyncIteration, asyncio.CancelledError) as error:
                # Not the error itself: its traceback would keep the handles.
                self.ended.append(repr(error))

        self.begun += 1
        self.calls.append(asyncio.create_task(run()))

    def source(self) -> Any:
        kind = self.random.randrange(3)
        if kind == 0:
            return Upload(itertools.count())
        self.sources.append(Source())
        return self.sources[-1] if kind == 1 else Upload(self.sources[-1])

    def arguments(self) -> list[Any]:
        return [self.source() if self.random.random() < 0.3 else "x" * self.random.randrange(90) for _ in range(2)]

    async def iterate(self) -> int:
        stream = self.hub.stream("Count", *self.arguments())
        n = 0
        async for _item in stream:
            await settle(self.random.randrange(6))
            n += 1
            if self.random.random() < 0.1:
                break
        return n

    async def listen(self) -> int:
        overflow: Any = self.random.choice(["wait", "drop_oldest"])
        n = 0
        async for _arguments in self.hub.messages("tick", overflow=overflow):
            await settle(self.random.randrange(6))
            n += 1
            if self.random.random() < 0.1:
                break
        return n

    def step(self) -> None:
        hub, timeout = self.hub, self.random.choice([None, 0.001, 0.01])
        actions: list[tuple[int, Callable[[], None]]] = [
            (3, lambda: self.begin(hub.invoke("Add", *self.arguments(), timeout=timeout))),
            (2, lambda: self.begin(hub.send("Log", *self.arguments()))),
            (2, lambda: self.begin(self.iterate())),
            (1, lambda: self.begin(self.listen())),
            (1, lambda: self.begin(hub.wait_for("tick", timeout=0.01))),
            (2, self.cancel),
            (2, lambda: self.begin(hub.start())),
            (1, lambda: self.begin(hub.stop() if self.random.random() < 0.3 else hub.flush())),
            (2, self.misbehave),
        ]
        weights, functions = zip(*actions, strict=True)
        self.random.choices(functions, weights)[0]()

    def cancel(self) -> None:
        if self.running:
            self.random.choice(self.running).cancel()

    # The server

    def misbehave(self) -> None:
        if not self.sockets:
            return
        socket = self.sockets[-1]
        chance = self.random.randrange(10)
        if chance < 2:
            socket.vanish()
        elif chance == 2:
            socket.say(close_message(error="bye", allowReconnect=self.random.random() < 0.8))
        elif chance == 3:
            socket.say(b"garbage\x1e")
        elif chance == 4:
            socket.closed.set()  # writing fails, reading does not
        elif socket.stalled.is_set():
            socket.stalled.clear()
        else:
            socket.stalled.set()

    async def accept(self) -> None:
        while True:
            socket = await self.server.sockets.get()
            self.sockets.append(socket)
            self.serving.append(asyncio.create_task(self.serve(socket)))

    async def serve(self, socket: ScriptedSocket) -> None:
        await settle(self.random.randrange(5))
        socket.say({}, event("tick", 0))
        while True:
            message = await socket.next()
            for _ in range(self.random.randrange(4)):
                socket.event("tick", "y" * self.random.randrange(100))
            if self.random.random() < 0.2:
                socket.say(question(f"q{self.random.randrange(1000)}", "ask"))
            if "invocationId" in message and message["type"] in (1, 4):
                self.reply(socket, message)

    def reply(self, socket: ScriptedSocket, message: dict[str, Any]) -> None:
        if message["type"] == 4:
            for n in range(self.random.randrange(8)):
                socket.item(message, n)
        end = self.random.randrange(4)
        if end == 0:
            socket.fail(message, "no")
        elif end < 3:
            socket.answer(message, 1)

    # The end

    async def end(self) -> None:
        await self.hub.stop()
        if self.hub.state is not ConnectionState.DISCONNECTED:  # somebody has started it again meanwhile
            await self.hub.stop()
        await settle()  # a task that is cancelled before it begins would not await its coroutine
        for call in self.calls:
            call.cancel()  # subscriptions made when it was stopped wait for the next start
        await asyncio.wait(self.calls, timeout=5)


@pytest.mark.parametrize("seed", range(40))
async def test_whatever_happens_every_call_ends_and_nothing_is_left(
    seed: int, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.ERROR)
    before = asyncio.all_tasks()
    world = RandomWorld(seed)
    accept = asyncio.create_task(world.accept())
    world.begin(world.hub.start())
    for _ in range(120):
        world.step()
        await settle(world.random.randrange(12))
        if world.random.random() < 0.02:
            await asyncio.sleep(0.006)
    # Whoever is still inside start() is stopped with it.
    await world.end()
    await world.end()
    for task in (accept, *world.serving):
        task.cancel()
    await asyncio.wait({accept, *world.serving})
    world.calls.clear()
    world.running.clear()
    gc.collect()
    await settle()
    backlog = world.hub._backlog
    assert len(world.ended) == world.begun
    assert world.hub.state is ConnectionState.DISCONNECTED
    assert (backlog.held, backlog.above) == (0, 0)
    assert len(backlog._queues) == 2
    assert all(source.closed for source in world.sources)
    assert all(socket.closed.is_set() for socket in world.sockets)
    assert asyncio.all_tasks() - before == set()


@pytest.mark.parametrize("turns", range(1, 14))
async def test_a_close_that_is_cancelled_at_any_moment_leaves_no_task(server: ScriptedServer, turns: int) -> None:
    """Also while it drops the transport, when the task that writes is still to be cancelled."""
    before = asyncio.all_tasks()
    hub = server.hub(timeouts=Timeouts(close=0.05))
    socket = await server.accept(hub)
    await hub.flush()
    socket.stalled.clear()
    await hub.send("X")
    await settle()
    link = hub._life.link
    assert link is not None
    closing = asyncio.create_task(link.close(ConnectionClosedError("the end"), goodbye=False))
    await settle(turns)
    closing.cancel()
    await asyncio.wait({closing})
    await hub.stop()
    await settle()
    assert asyncio.all_tasks() - before == set()


async def test_stop_in_the_same_turn_as_start(server: ScriptedServer) -> None:
    """The task of the connection is cancelled before it has begun, and could not tell `start` itself."""
    hub = server.hub()
    start = asyncio.create_task(hub.start())
    stop = asyncio.create_task(hub.stop())
    await asyncio.wait_for(stop, 4)
    with pytest.raises(ConnectionClosedError, match="before the connection was up"):
        await asyncio.wait_for(start, 4)
    assert hub.state is ConnectionState.DISCONNECTED
    await server.accept(hub)
    await hub.stop()


async def test_a_start_that_is_cancelled_in_its_first_turn(server: ScriptedServer) -> None:
    hub = server.hub()
    start = asyncio.create_task(hub.start())
    asyncio.get_running_loop().call_soon(start.cancel)
    with pytest.raises(asyncio.CancelledError):
        await start
    assert hub.state is ConnectionState.DISCONNECTED
    while not server.sockets.empty():
        assert server.sockets.get_nowait().closed.is_set()
    await server.accept(hub)
    await hub.stop()
