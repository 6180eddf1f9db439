"""HubConnection against a scripted server: what users rely on, message by message."""

from __future__ import annotations

import asyncio
import gc
import logging
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from tests.scripted import ScriptedServer, ScriptedSocket, event, question

from signalr_sdk import (
    ConnectionClosedError,
    ConnectionFailedError,
    ConnectionState,
    HandshakeError,
    HubConnection,
    HubError,
    InvocationTimeoutError,
    Limits,
    LocalProtocolError,
    NegotiationError,
    NotConnectedError,
    RemoteProtocolError,
    Retry,
    ServerTimeoutError,
    StateError,
    StreamOverflowError,
    Timeouts,
    Transport,
    Upload,
)
from signalr_sdk.interfaces import HttpResponse

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


async def settle() -> None:
    """Let everything run that can."""
    for _ in range(20):
        await asyncio.sleep(0)


# Starting


async def test_start_returns_when_the_handshake_is_done(server: ScriptedServer) -> None:
    """The Swift client shows no connection id."""
    hub = server.hub()
    assert (hub.state, hub.connection_id, hub.transport) == (ConnectionState.DISCONNECTED, None, None)
    start = asyncio.create_task(hub.start())
    socket = await server.sockets.get()
    assert await socket.next() == {"protocol": "json", "version": 1}
    await settle()
    assert not start.done()
    assert hub.state is ConnectionState.CONNECTING
    socket.say({})
    await start
    assert (hub.state, hub.connection_id) == (ConnectionState.CONNECTED, "public-id")
    assert hub.transport is Transport.WEBSOCKETS
    assert socket.request.url.endswith("/chat?id=secret-id")
    await hub.stop()
    assert (hub.state, hub.connection_id) == (ConnectionState.DISCONNECTED, None)


async def test_start_twice_is_refused(server: ScriptedServer) -> None:
    hub = server.hub()
    await server.accept(hub)
    with pytest.raises(StateError, match="connected"):
        await hub.start()
    await hub.stop()


async def test_messages_next_to_the_handshake_answer_reach_their_handlers(server: ScriptedServer) -> None:
    """A hub that sends in OnConnected produces such messages. aiosignalr and signalr-zero lose them."""
    hub = server.hub()
    got = asyncio.Event()
    hub.on("welcome", got.set)
    await server.accept(hub, event("welcome"))
    await got.wait()
    await hub.stop()


async def test_a_close_next_to_the_handshake_answer_fails_the_start(server: ScriptedServer) -> None:
    hub = server.hub()
    closed: list[Any] = []
    hub.on_closed(closed.append)
    with pytest.raises(ConnectionFailedError, match="no entry"):
        await server.accept(hub, {"type": 7, "error": "no entry"})
    assert hub.state is ConnectionState.DISCONNECTED
    assert closed == []


async def test_a_refused_handshake_fails_the_start(server: ScriptedServer) -> None:
    """signalrcore says that it is connected."""
    hub = server.hub()
    start = asyncio.create_task(hub.start())
    socket = await server.sockets.get()
    socket.say({"error": "not supported"})
    with pytest.raises(HandshakeError, match="not supported"):
        await start
    assert socket.closed.is_set()


async def test_a_handshake_that_is_never_answered_times_out(server: ScriptedServer) -> None:
    """pysignalr and signalrcore wait for ever."""
    hub = server.hub(timeouts=Timeouts(handshake=0.05))
    with pytest.raises(HandshakeError, match=r"within 0\.05 s"):
        await hub.start()
    assert hub.state is ConnectionState.DISCONNECTED


@pytest.mark.parametrize("end", ["vanish", "close"])
async def test_a_connection_that_ends_before_the_handshake(server: ScriptedServer, end: str) -> None:
    """aiosignalr notices only after 15 s."""
    hub = server.hub()
    start = asyncio.create_task(hub.start())
    socket = await server.sockets.get()
    if end == "vanish":
        socket.vanish()
    else:
        await socket.close()
    with pytest.raises(HandshakeError):
        await start


async def test_cancelling_start_leaves_nothing(server: ScriptedServer) -> None:
    hub = server.hub()
    start = asyncio.create_task(hub.start())
    socket = await server.sockets.get()
    start.cancel()
    with pytest.raises(asyncio.CancelledError):
        await start
    assert hub.state is ConnectionState.DISCONNECTED
    assert socket.closed.is_set()
    await server.accept(hub)
    await hub.stop()


async def test_stop_during_start(server: ScriptedServer) -> None:
    hub = server.hub()
    start = asyncio.create_task(hub.start())
    await server.sockets.get()
    await hub.stop()
    with pytest.raises(ConnectionClosedError, match=r"stop\(\)"):
        await start
    assert hub.state is ConnectionState.DISCONNECTED


async def test_a_start_that_was_stopped_ends_disconnected(server: ScriptedServer) -> None:
    """The one who called `start` may start again at once, and need not know who called `stop`."""
    hub = server.hub()

    async def start_twice() -> None:
        with pytest.raises(ConnectionClosedError, match=r"stop\(\)"):
            await hub.start()
        assert hub.state is ConnectionState.DISCONNECTED
        await hub.start()

    starts = asyncio.create_task(start_twice())
    await server.sockets.get()
    await hub.stop()
    await (await server.sockets.get()).shake_hands()
    await starts
    await hub.stop()


async def test_stop_during_a_stalled_connect(server: ScriptedServer) -> None:
    """The JavaScript client hangs here."""
    stalled = asyncio.Event()

    async def stall() -> None:
        stalled.set()
        await asyncio.Event().wait()

    server.connect = stall
    hub = server.hub()
    start = asyncio.create_task(hub.start())
    await stalled.wait()
    await hub.stop()
    with pytest.raises(ConnectionClosedError):
        await start


async def test_a_connection_can_be_started_again(server: ScriptedServer) -> None:
    hub = server.hub()
    got: list[Any] = []
    hub.on("x", got.append)
    for n in range(3):
        socket = await server.accept(hub)
        socket.event("x", n)
        call = asyncio.create_task(hub.invoke("Add"))
        socket.answer(await socket.next(), n)
        assert await call == n
        await hub.stop()
    assert got == [0, 1, 2]


# Stopping


async def test_stop_sends_what_waits_and_says_good_bye(server: ScriptedServer) -> None:
    """The Swift client never sends Close; signalrcore takes up to 15 s to stop."""
    hub = server.hub()
    socket = await server.accept(hub)
    await hub.send("Log", "last words")
    await hub.stop()
    assert (await socket.next())["arguments"] == ["last words"]
    assert await socket.next() == {"type": 7}
    assert socket.closed.is_set()
    await hub.stop()
    await hub.wait_closed()


async def test_stop_with_a_peer_that_takes_nothing_is_bounded(server: ScriptedServer) -> None:
    """signalrcore waits for the peer; in the .NET client Close waits behind a full buffer."""
    hub = server.hub(timeouts=Timeouts(close=0.05))
    socket = await server.accept(hub)
    socket.stalled.clear()
    await hub.send("Log", "stuck")
    await hub.stop()
    assert hub.state is ConnectionState.DISCONNECTED
    assert socket.closed.is_set()


async def test_concurrent_stops_share_one(server: ScriptedServer) -> None:
    hub = server.hub()
    await server.accept(hub)
    closed: list[Any] = []
    hub.on_closed(closed.append)
    await asyncio.gather(*(hub.stop() for _ in range(5)))
    await settle()
    assert closed == [None]


async def test_a_cancelled_stop_goes_on(server: ScriptedServer) -> None:
    hub = server.hub()
    socket = await server.accept(hub)
    socket.stalled.clear()
    stop = asyncio.create_task(hub.stop())
    await settle()
    stop.cancel()
    with pytest.raises(asyncio.CancelledError):
        await stop
    socket.stalled.set()
    await hub.stop()
    assert hub.state is ConnectionState.DISCONNECTED


async def test_stop_ends_pending_calls(server: ScriptedServer) -> None:
    hub = server.hub()
    socket = await server.accept(hub)
    call = asyncio.create_task(hub.invoke("Slow"))
    stream = hub.stream("Slow")
    item = asyncio.create_task(stream.next())
    await socket.next()
    await socket.next()
    await hub.stop()
    for task in (call, item):
        with pytest.raises(ConnectionClosedError, match="may or may not have run"):
            await task


async def test_stop_from_a_handler(server: ScriptedServer) -> None:
    hub = server.hub()
    socket = await server.accept(hub)
    after = asyncio.Event()
    handled: list[Any] = []

    async def stop() -> None:
        await hub.stop()
        assert hub.state is ConnectionState.DISCONNECTED
        after.set()

    hub.on("stop", stop)
    hub.on("later", handled.append)
    socket.say(event("stop"), event("later", 1))
    await after.wait()
    assert handled == []
    await settle()


async def test_stop_from_a_task_of_a_handler(server: ScriptedServer) -> None:
    hub = server.hub()
    socket = await server.accept(hub)
    after = asyncio.Event()

    async def stop() -> None:
        await asyncio.gather(hub.stop())
        after.set()

    hub.on("stop", stop)
    socket.event("stop")
    await after.wait()


async def test_stop_from_a_client_result(server: ScriptedServer) -> None:
    hub = server.hub()
    socket = await server.accept(hub)
    after = asyncio.Event()

    async def ask() -> int:
        await hub.stop()
        after.set()
        return 1

    hub.on("ask", ask)
    socket.say(question("q", "ask"))
    await after.wait()
    await settle()


async def test_stop_from_lifecycle_handlers(server: ScriptedServer) -> None:
    hub = server.hub()
    after = asyncio.Event()

    @hub.on_connected
    async def stop(connection_id: str) -> None:
        await hub.stop()
        after.set()

    await server.accept(hub)
    await after.wait()
    hub.off(handler=stop)

    @hub.on_closed
    async def closed(error: Exception | None) -> None:
        await hub.stop()
        after.set()

    after.clear()
    socket = await server.accept(hub)
    socket.vanish()
    await after.wait()
    await settle()


async def test_stop_cancels_handlers_that_run(server: ScriptedServer) -> None:
    hub = server.hub()
    socket = await server.accept(hub)
    running, ended = asyncio.Event(), []

    async def slow(name: str) -> None:
        running.set()
        try:
            await asyncio.Event().wait()
        finally:
            ended.append(name)

    hub.on("slow", slow)
    socket.say(event("slow", "event"))
    await running.wait()
    running.clear()
    socket.say(question("q", "slow", "question"))
    await running.wait()
    await hub.stop()
    assert sorted(ended) == ["event", "question"]


async def test_on_closed_may_start_again(server: ScriptedServer) -> None:
    hub = server.hub()
    restarted = asyncio.Event()

    @hub.on_closed
    async def again(error: Exception | None) -> None:
        hub.off(handler=again)
        await hub.start()
        restarted.set()

    socket = await server.accept(hub)
    socket.vanish()
    await (await server.sockets.get()).shake_hands()
    await restarted.wait()
    assert hub.state is ConnectionState.CONNECTED
    await hub.stop()


# The end of a connection


async def test_pending_calls_fail_when_the_connection_is_lost(server: ScriptedServer) -> None:
    """pysignalr, signalrcore and the Swift client leave such calls pending for ever."""
    hub = server.hub()
    socket = await server.accept(hub)
    calls = [asyncio.create_task(hub.invoke("Slow")) for _ in range(3)]
    for _ in calls:
        await socket.next()
    socket.vanish()
    errors = await asyncio.gather(*calls, return_exceptions=True)
    assert all(isinstance(error, ConnectionClosedError) for error in errors)
    assert len({id(error) for error in errors}) == 3
    assert len({id(error.__cause__) for error in errors if isinstance(error, Exception)}) == 1
    with pytest.raises(ConnectionClosedError, match="1006"):
        await hub.wait_closed()
    assert hub.state is ConnectionState.DISCONNECTED


async def test_a_close_message_ends_the_connection_with_its_text(server: ScriptedServer) -> None:
    """aiosignalr drops the text; pysignalr ignores a Close without one."""
    hub = server.hub()
    socket = await server.accept(hub)
    closed: list[Any] = []
    hub.on_closed(closed.append)
    socket.say({"type": 7, "error": "maintenance", "allowReconnect": True})
    with pytest.raises(ConnectionClosedError, match="maintenance") as caught:
        await hub.wait_closed()
    assert (caught.value.reason, caught.value.allow_reconnect) == ("maintenance", True)
    await settle()
    assert [error.reason for error in closed] == ["maintenance"]
    assert socket.closed.is_set()


async def test_each_waiter_gets_an_error_of_its_own(server: ScriptedServer) -> None:
    """Each `raise` adds to the traceback of the error: a shared object would grow, and show the lines of others."""
    hub = server.hub()
    socket = await server.accept(hub)
    closed: list[Any] = []
    hub.on_closed(closed.append)
    waiters = [asyncio.create_task(hub.wait_closed()) for _ in range(3)]
    await settle()
    cause = OSError("no route")
    error = ConnectionClosedError("the line is cut", "cut", allow_reconnect=True)
    error.__cause__ = cause
    error.add_note("at noon")
    socket.fail_receive(error)
    errors = await asyncio.gather(*waiters, hub.wait_closed(), return_exceptions=True)
    assert len({id(each) for each in (*errors, *closed)}) == 5
    for each in errors:
        assert isinstance(each, ConnectionClosedError)
        assert (str(each), each.reason, each.allow_reconnect) == ("the line is cut", "cut", True)
        assert each.__cause__ is cause
        assert each.__notes__ == ["at noon"]


async def test_waiters_for_a_connection_get_errors_of_their_own(server: ScriptedServer) -> None:
    def refuse() -> HttpResponse:
        return HttpResponse(404)

    server.negotiate = refuse
    hub = server.hub()
    start = asyncio.create_task(hub.start())
    await asyncio.sleep(0)
    waiters = [asyncio.create_task(hub.wait_connected()) for _ in range(2)]
    errors = await asyncio.gather(start, *waiters, return_exceptions=True)
    assert len({id(each) for each in errors}) == 3
    assert [type(each) for each in errors] == [NegotiationError] * 3
    assert [each.status for each in errors if isinstance(each, NegotiationError)] == [404] * 3


async def test_a_close_in_good_order_is_no_error(server: ScriptedServer) -> None:
    hub = server.hub()
    socket = await server.accept(hub)
    closed: list[Any] = []
    hub.on_closed(closed.append)
    socket.say({"type": 7})
    await hub.wait_closed()
    await settle()
    assert closed == [None]


async def test_events_before_a_loss_are_still_handled(server: ScriptedServer) -> None:
    hub = server.hub()
    socket = await server.accept(hub)
    order: list[Any] = []

    async def slow(n: int) -> None:
        await asyncio.sleep(0)
        order.append(n)

    hub.on("x", slow)
    hub.on_closed(lambda _error: order.append("closed"))
    socket.say(*(event("x", n) for n in range(5)))
    socket.vanish()
    with pytest.raises(ConnectionClosedError):
        await hub.wait_closed()
    assert order[:5] == [0, 1, 2, 3, 4]
    await settle()
    assert order[5:] == ["closed"]


async def test_garbage_ends_the_connection_with_a_named_error(server: ScriptedServer) -> None:
    """The Swift client goes on after data that it cannot read, in the handshake too."""
    hub = server.hub()
    socket = await server.accept(hub)
    got: list[int] = []
    hub.on("x", got.append)
    call = asyncio.create_task(hub.invoke("Slow"))
    await socket.next()
    socket.say(event("x", 1), b"<html>\x1e")
    with pytest.raises(RemoteProtocolError):
        await hub.wait_closed()
    with pytest.raises(ConnectionClosedError):
        await call
    assert got == [1]


async def test_a_silent_server_is_noticed(server: ScriptedServer) -> None:
    """pysignalr and signalrcore never notice."""
    hub = server.hub(timeouts=Timeouts(server=0.05))
    await server.accept(hub)
    with pytest.raises(ServerTimeoutError):
        await hub.wait_closed()


async def test_pings_go_out(server: ScriptedServer) -> None:
    """signalrcore sends no pings unless automatic reconnect is on."""
    hub = server.hub(timeouts=Timeouts(keep_alive=0.01, server=None))
    socket = await server.accept(hub)
    for _ in range(3):
        assert await socket._from_client.get() == {"type": 6}
    await hub.stop()


async def test_run_starts_waits_and_stops(server: ScriptedServer) -> None:
    hub = server.hub()
    run = asyncio.create_task(hub.run())
    socket = await server.sockets.get()
    await socket.shake_hands()
    await hub.wait_connected(timeout=5)
    socket.say({"type": 7})
    await run
    assert hub.state is ConnectionState.DISCONNECTED


# Calls


async def test_invoke_returns_results_and_raises_errors(server: ScriptedServer) -> None:
    hub = server.hub()
    socket = await server.accept(hub)
    call = asyncio.create_task(hub.invoke("Add", 1, 2))
    asked = await socket.next()
    assert asked == {"type": 1, "invocationId": "1", "target": "Add", "arguments": [1, 2]}
    socket.answer(asked, 3)
    assert await call == 3
    call = asyncio.create_task(hub.invoke("Fail"))
    socket.fail(await socket.next(), "it broke")
    with pytest.raises(HubError) as caught:
        await call
    assert (str(caught.value), caught.value.method) == ("it broke", "Fail")
    await hub.stop()


async def test_answers_may_come_in_any_order(server: ScriptedServer) -> None:
    hub = server.hub()
    socket = await server.accept(hub)
    calls = [asyncio.create_task(hub.invoke("Echo", n)) for n in range(10)]
    asked = [await socket.next() for _ in calls]
    for message in reversed(asked):
        socket.answer(message, message["arguments"][0])
    assert await asyncio.gather(*calls) == list(range(10))
    await hub.stop()


@pytest.mark.parametrize("how", ["timeout", "default", "cancel"])
async def test_a_call_that_is_given_up_is_cancelled_on_the_server(server: ScriptedServer, how: str) -> None:
    """aiosignalr keeps the entry of the call for ever; the .NET client before 11 does not tell the server."""
    hub = server.hub(timeouts=Timeouts(invoke=0.05 if how == "default" else None))
    socket = await server.accept(hub)
    call = asyncio.create_task(hub.invoke("Slow", **({"timeout": 0.05} if how == "timeout" else {})))
    asked = await socket.next()
    if how == "cancel":
        call.cancel()
    with pytest.raises(asyncio.CancelledError if how == "cancel" else InvocationTimeoutError):
        await call
    assert await socket.next() == {"type": 5, "invocationId": asked["invocationId"]}
    socket.answer(asked, "too late")
    call = asyncio.create_task(hub.invoke("Fast", timeout=None))
    socket.answer(await socket.next(), 1)
    assert await call == 1
    await hub.stop()


@pytest.mark.parametrize("completed", [False, True])
async def test_a_server_that_streams_to_a_plain_call_is_told_to_stop(server: ScriptedServer, completed: bool) -> None:
    """ASP.NET Core refuses such a call; other servers stream for ever."""
    hub = server.hub()
    socket = await server.accept(hub)
    call = asyncio.create_task(hub.invoke("Forever", numbers(7)))
    asked = await socket.next()
    assert [(await socket.next())["type"] for _ in range(2)] == [2, 3]
    item = {"type": 2, "invocationId": asked["invocationId"], "item": 1}
    socket.say(item, item, *[{"type": 3, "invocationId": asked["invocationId"]}] * completed)
    with pytest.raises(RemoteProtocolError, match="call it with stream"):
        await call
    await hub.send("Next")
    if not completed:
        assert await socket.next() == {"type": 5, "invocationId": asked["invocationId"]}
    assert (await socket.next())["target"] == "Next"
    await hub.stop()


async def test_an_error_of_the_connection_is_no_timeout_of_the_call(server: ScriptedServer) -> None:
    hub = server.hub(timeouts=Timeouts(server=0.05))
    socket = await server.accept(hub)
    call = asyncio.create_task(hub.invoke("Slow", timeout=60))
    frame = asyncio.create_task(socket.next())
    # On a slow machine the connection may be lost before the writer's turn.
    await asyncio.wait({call, frame}, return_when=asyncio.FIRST_COMPLETED)
    frame.cancel()
    with pytest.raises(ConnectionClosedError) as caught:
        await call
    assert isinstance(caught.value.__cause__, ServerTimeoutError)


async def test_what_cannot_be_encoded_is_an_error_of_the_call_alone(server: ScriptedServer) -> None:
    hub = server.hub()
    socket = await server.accept(hub)
    for bad in (hub.invoke("X", {"a": [object()]}), hub.send("X", float("nan"))):
        with pytest.raises(LocalProtocolError):
            await bad
    with pytest.raises(TypeError):
        await hub.send(5)  # type: ignore[arg-type]
    call = asyncio.create_task(hub.invoke("Fine"))
    socket.answer(await socket.next(), 1)
    assert await call == 1
    await hub.stop()


async def test_calls_without_a_connection_are_refused_at_once(server: ScriptedServer) -> None:
    hub = server.hub()
    for call in (hub.invoke("X"), hub.send("X"), hub.flush(), hub.stream("X").next()):
        with pytest.raises(NotConnectedError) as caught:
            await call
        assert caught.value.state is ConnectionState.DISCONNECTED
    with pytest.raises(NotConnectedError):
        await hub.wait_connected()


async def test_calls_wait_for_a_connection_that_is_being_made(server: ScriptedServer) -> None:
    """signalrcore and the JavaScript client send such calls before the handshake is answered."""
    hub = server.hub()
    start = asyncio.create_task(hub.start())
    socket = await server.sockets.get()
    calls = [asyncio.create_task(hub.send("X", n)) for n in range(3)]
    await settle()
    assert (await socket.next())["protocol"] == "json"
    assert socket._from_client.empty()
    socket.say({})
    await asyncio.gather(start, *calls)
    assert [(await socket.next())["arguments"] for _ in calls] == [[0], [1], [2]]
    await hub.stop()


async def test_calls_wait_for_a_connection_only_so_long(server: ScriptedServer) -> None:
    """signalrcore loses such calls; in the .NET client a call waits during an attempt and fails between two."""
    hub = server.hub(timeouts=Timeouts(ready=0.05))
    start = asyncio.create_task(hub.start())
    await server.sockets.get()
    with pytest.raises(NotConnectedError, match=r"0\.05 s"):
        await hub.invoke("X")
    waiting = asyncio.create_task(hub.wait_connected())
    await settle()
    await hub.stop()
    with pytest.raises(ConnectionClosedError):
        await waiting
    with pytest.raises(ConnectionClosedError):
        await start


async def test_send_waits_while_the_outgoing_buffer_is_full(server: ScriptedServer) -> None:
    """The Java client silently drops messages that do not fit."""
    hub = server.hub(limits=Limits(outgoing_bytes=100))
    socket = await server.accept(hub)
    socket.stalled.clear()
    sends = [asyncio.create_task(hub.send("X", "x" * 40, n)) for n in range(10)]
    await settle()
    assert 0 < sum(send.done() for send in sends) < 10
    with pytest.raises(InvocationTimeoutError):
        await hub.invoke("Never", timeout=0.02)
    socket.stalled.set()
    await asyncio.gather(*sends)
    assert [(await socket.next())["arguments"][1] for _ in sends] == list(range(10))
    await hub.flush()
    assert socket._from_client.empty()
    await hub.stop()


async def test_unsent_messages_are_counted_in_a_warning(
    server: ScriptedServer, caplog: pytest.LogCaptureFixture
) -> None:
    hub = server.hub()
    socket = await server.accept(hub)
    await hub.flush()
    socket.stalled.clear()
    for n in range(3):
        await hub.send("X", n)
    await settle()
    socket.vanish()
    with pytest.raises(ConnectionClosedError):
        await hub.wait_closed()
    await hub.stop()
    assert "3 messages were not sent" in caplog.text


# Streams


async def test_a_stream_yields_its_items_and_ends(server: ScriptedServer) -> None:
    hub = server.hub()
    socket = await server.accept(hub)
    stream = hub.stream("Count", 3)
    first = asyncio.create_task(stream.next())
    asked = await socket.next()
    assert asked == {"type": 4, "invocationId": "1", "target": "Count", "arguments": [3]}
    socket.item(asked, 1)
    socket.item(asked, 2)
    socket.answer(asked, "ignored")
    assert await first == 1
    assert [item async for item in stream] == [2]
    for _ in range(2):
        with pytest.raises(StopAsyncIteration):
            await stream.next()
    await stream.cancel()
    await hub.stop()
    assert await socket.next() == {"type": 7}


async def test_items_before_an_error_come_first(server: ScriptedServer) -> None:
    hub = server.hub()
    socket = await server.accept(hub)
    got = []
    async with hub.stream("Count") as stream:
        asked = await socket.next()
        socket.item(asked, 1)
        socket.fail(asked, "oops")
        with pytest.raises(HubError, match="oops"):  # noqa: PT012 - the loop is what raises
            async for item in stream:
                got.append(item)  # noqa: PERF401 - what came before the error counts
        with pytest.raises(StopAsyncIteration):
            await stream.next()
    assert got == [1]
    await hub.stop()
    assert await socket.next() == {"type": 7}


@pytest.mark.parametrize("how", ["cancel", "with", "break", "garbage"])
async def test_a_stream_that_is_let_go_of_is_cancelled_on_the_server_once(server: ScriptedServer, how: str) -> None:
    """aiosignalr goes on queueing items, and cancels streams that have ended."""
    hub = server.hub()
    socket = await server.accept(hub)

    async def play() -> dict[str, Any]:
        asked = await socket.next()
        for n in range(3):
            socket.item(asked, n)
        return asked

    playing = asyncio.create_task(play())
    if how == "break":
        async for _ in hub.stream("Forever"):
            break
    elif how == "with":
        async with hub.stream("Forever") as stream:
            assert await stream.next() == 0
    else:
        stream = hub.stream("Forever")
        assert await stream.next() == 0
        if how == "cancel":
            await stream.cancel()
            await stream.cancel()
            with pytest.raises(StopAsyncIteration):
                await stream.next()
        del stream
        gc.collect()
    asked = await playing
    assert await socket.next() == {"type": 5, "invocationId": asked["invocationId"]}
    socket.item(asked, 3)
    await hub.stop()
    assert await socket.next() == {"type": 7}


async def test_a_stream_that_was_never_asked_for_sends_nothing(server: ScriptedServer) -> None:
    hub = server.hub()
    socket = await server.accept(hub)
    stream = hub.stream("Count")
    await stream.cancel()
    with pytest.raises(StopAsyncIteration):
        await stream.next()
    hub.stream("Count")
    await hub.stop()
    assert await socket.next() == {"type": 7}


async def test_a_timeout_around_an_item_loses_nothing(server: ScriptedServer) -> None:
    hub = server.hub()
    socket = await server.accept(hub)
    stream = hub.stream("Count")
    with pytest.raises(TimeoutError):
        await stream.next(timeout=0.01)
    asked = await socket.next()
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.01):
            await anext(stream)
    socket.item(asked, 7)
    assert await stream.next(timeout=5) == 7
    await hub.stop()


async def test_a_stream_that_waits_for_a_connection_may_be_asked_again(server: ScriptedServer) -> None:
    hub = server.hub()
    start = asyncio.create_task(hub.start())
    socket = await server.sockets.get()
    stream = hub.stream("Count")
    with pytest.raises(TimeoutError):
        await stream.next(timeout=0.01)
    await socket.shake_hands()
    await start
    item = asyncio.create_task(stream.next())
    socket.item(await socket.next(), 1)
    assert await item == 1
    await hub.stop()


async def test_invoking_a_streaming_method_is_an_error(server: ScriptedServer) -> None:
    hub = server.hub()
    socket = await server.accept(hub)
    call = asyncio.create_task(hub.invoke("Count"))
    socket.item(await socket.next(), 1)
    with pytest.raises(RemoteProtocolError, match=r"stream\(\)"):
        await call
    await hub.stop()


# Uploads


async def numbers(*values: Any, closed: list[str] | None = None) -> AsyncIterator[Any]:
    try:
        for value in values:
            if isinstance(value, BaseException):
                raise value
            yield value
    finally:
        if closed is not None:
            closed.append("closed")


async def test_several_uploads_and_plain_arguments_in_one_call(server: ScriptedServer) -> None:
    """The JavaScript client mixes adjacent streams up."""
    hub = server.hub()
    socket = await server.accept(hub)
    call = asyncio.create_task(hub.invoke("Zip", numbers(1, 2), "plain", Upload([3]), [4]))
    asked = await socket.next()
    assert asked["arguments"] == ["plain", [4]]
    first, second = asked["streamIds"]
    got: dict[str, list[Any]] = {first: [], second: []}
    for _ in range(5):
        message = await socket.next()
        got[message["invocationId"]].append(message.get("item", "end"))
    assert got == {first: [1, 2, "end"], second: [3, "end"]}
    socket.answer(asked, "ok")
    assert await call == "ok"
    await hub.stop()


async def test_an_error_of_the_source_is_told_to_the_server(server: ScriptedServer) -> None:
    """pysignalr tells the server nothing; aiosignalr completes the upload as if it were whole."""
    hub = server.hub()
    socket = await server.accept(hub)
    closed: list[str] = []
    call = asyncio.create_task(hub.invoke("Sum", numbers(1, ValueError("sensor broke"), closed=closed)))
    asked = await socket.next()
    assert (await socket.next())["item"] == 1
    stream_id = asked["streamIds"][0]
    assert await socket.next() == {"type": 3, "invocationId": stream_id, "error": "sensor broke"}
    socket.fail(asked, "client failed")
    with pytest.raises(HubError, match="client failed"):
        await call
    assert closed == ["closed"]
    await hub.stop()


async def test_a_cancelled_source_is_told_as_cancelled(server: ScriptedServer) -> None:
    hub = server.hub()
    socket = await server.accept(hub)
    await hub.send("Sum", numbers(asyncio.CancelledError()))
    await socket.next()
    assert (await socket.next())["error"] == "Stream canceled by client."
    await hub.stop()


async def test_an_item_that_cannot_be_encoded(server: ScriptedServer) -> None:
    hub = server.hub()
    socket = await server.accept(hub)
    errors: list[Any] = []
    hub.on_error(errors.append)
    with pytest.raises(LocalProtocolError):
        await hub.invoke("Sum", numbers(object()))
    asked = await socket.next()
    assert "error" in await socket.next()
    assert asked["target"] == "Sum"
    await hub.stop()


@pytest.mark.usefixtures("expected_errors")
async def test_an_item_that_cannot_be_encoded_after_send(server: ScriptedServer) -> None:
    hub = server.hub()
    socket = await server.accept(hub)
    told = asyncio.Event()
    errors: list[Any] = []
    hub.on_error(errors.append)
    hub.on_error(lambda _error: told.set())
    await hub.send("Sum", numbers(object()))
    await socket.next()
    assert "error" in await socket.next()
    await told.wait()
    assert isinstance(errors[0], LocalProtocolError)
    await hub.stop()


@pytest.mark.parametrize("how", ["answered", "cancelled", "lost", "stopped", "refused", "unencodable"])
async def test_the_source_is_closed_whatever_happens(server: ScriptedServer, how: str) -> None:
    """The JavaScript client goes on reading the source."""
    hub = server.hub()
    closed = asyncio.Event()
    began = asyncio.Event()

    class Source:
        def __aiter__(self) -> AsyncIterator[int]:
            return self

        async def __anext__(self) -> int:
            began.set()
            await asyncio.Event().wait()
            return 1

        async def aclose(self) -> None:
            closed.set()

    if how == "refused":
        with pytest.raises(NotConnectedError):
            await hub.invoke("Sum", Source())
        assert closed.is_set()
        return
    socket = await server.accept(hub)
    if how == "unencodable":
        with pytest.raises(LocalProtocolError):
            await hub.invoke("Sum", Source(), object())
        assert closed.is_set()
        await hub.stop()
        return
    call = asyncio.create_task(hub.invoke("Sum", Source()))
    asked = await socket.next()
    await began.wait()
    if how == "answered":
        socket.answer(asked, 5)
        assert await call == 5
    elif how == "cancelled":
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call
        assert (await socket.next())["error"] == "Stream canceled by client."
        assert (await socket.next())["type"] == 5
    elif how == "lost":
        socket.vanish()
        with pytest.raises(ConnectionClosedError):
            await call
    else:
        await hub.stop()
        with pytest.raises(ConnectionClosedError):
            await call
    await closed.wait()
    await hub.stop()


# Events


async def test_events_are_handled_in_order_also_by_async_handlers(server: ScriptedServer) -> None:
    """aiosignalr runs handlers in reverse order, the JavaScript client overlaps them, signalrcore never awaits them."""
    hub = server.hub()
    socket = await server.accept(hub)
    order: list[Any] = []
    done = asyncio.Event()

    async def slow(n: int) -> None:
        order.append(("begin", n))
        for _ in range(5 - n):
            await asyncio.sleep(0)
        order.append(("end", n))
        if n == 4:
            done.set()

    hub.on("x", slow)
    socket.say(*(event("x", n) for n in range(5)))
    await done.wait()
    assert order == [(what, n) for n in range(5) for what in ("begin", "end")]
    await hub.stop()


async def test_a_handler_may_call_the_hub_and_wait(server: ScriptedServer) -> None:
    """pysignalr, signalrcore and the Swift client deadlock."""
    hub = server.hub()
    socket = await server.accept(hub)
    got = asyncio.get_running_loop().create_future()

    async def ask() -> None:
        got.set_result(await hub.invoke("Add", 1, 2))

    hub.on("x", ask)
    socket.event("x")
    socket.answer(await socket.next(), 3)
    assert await got == 3
    await hub.stop()


@pytest.mark.usefixtures("expected_errors")
async def test_errors_of_handlers_are_isolated(server: ScriptedServer) -> None:
    """pysignalr and signalrcore end the connection; in the .NET client later handlers do not run."""
    hub = server.hub()
    socket = await server.accept(hub)
    errors: list[Any] = []
    got: list[Any] = []
    done = asyncio.Event()
    hub.on_error(lambda _error: 1 / 0)
    hub.on_error(errors.append)

    @hub.on("x")
    def broken(n: int) -> None:
        raise ValueError(n)

    @hub.on("x")
    async def broken_too(n: int) -> None:
        raise KeyError(n)

    @hub.on("x")
    def wrong_arguments() -> None: ...

    @hub.on("x")
    async def cancelled(n: int) -> None:
        raise asyncio.CancelledError

    hub.on("x", got.append)
    hub.on("end", done.set)
    socket.say(event("x", 1), event("end"))
    await done.wait()
    assert got == [1]
    assert [type(error).__name__ for error in errors] == ["ValueError", "KeyError", "TypeError", "SignalRError"]
    assert hub.state is ConnectionState.CONNECTED
    await hub.stop()


async def test_names_match_in_any_case_and_handlers_run_in_order(server: ScriptedServer) -> None:
    hub = server.hub()
    socket = await server.accept(hub)
    order: list[str] = []
    done = asyncio.Event()
    first = hub.on("ReceiveMessage", lambda: order.append("first"))
    hub.on("receivemessage", lambda: order.append("second"))
    hub.on("RECEIVEMESSAGE", first)
    hub.on("end", done.set)
    socket.say(event("receiveMessage"), event("END"))
    await done.wait()
    assert order == ["first", "second"]
    await hub.stop()


async def test_off_in_all_its_forms(server: ScriptedServer) -> None:
    hub = server.hub()
    calls: list[str] = []

    def one(*_arguments: Any) -> None:
        calls.append("one")

    def two(*_arguments: Any) -> None:
        calls.append("two")

    for name in ("a", "b", "c"):
        hub.on(name, one)
        hub.on(name, two)
    hub.on_connected(one)
    hub.on_any(one)
    hub.off("a")
    hub.off("B", one)
    hub.off(handler=one)
    hub.off("never")
    with pytest.raises(TypeError):
        hub.off()
    with pytest.raises(TypeError):
        hub.on("x", 5)  # type: ignore[call-overload]
    with pytest.raises(TypeError):
        hub.on(5)  # type: ignore[call-overload]
    socket = await server.accept(hub)
    socket.say(event("a"), event("b"), event("c"))
    await settle()
    assert calls == ["two", "two"]
    await hub.stop()


async def test_handlers_may_add_and_remove_handlers(server: ScriptedServer) -> None:
    hub = server.hub()
    socket = await server.accept(hub)
    calls: list[str] = []

    def once() -> None:
        calls.append("once")
        hub.off("x", once)
        hub.on("x", lambda: calls.append("new"))

    hub.on("x", once)
    socket.say(event("x"), event("x"))
    await settle()
    assert calls == ["once", "new"]
    await hub.stop()


async def test_events_without_a_handler(server: ScriptedServer, caplog: pytest.LogCaptureFixture) -> None:
    hub = server.hub()
    socket = await server.accept(hub)
    socket.say(event("news", 1), event("news", 2))
    await settle()
    assert caplog.text.count("news") == 1
    got: list[Any] = []
    hub.on_any(lambda name, arguments: got.append((name, arguments)))
    hub.on("known", got.append)
    messages = hub.messages("seen")
    socket.say(event("news", 3), event("known", 4), event("seen", 5))
    await settle()
    assert got == [("news", (3,)), 4]
    assert await messages.next() == (5,)
    await hub.stop()


async def test_on_connected_runs_before_events_and_start_does_not_wait(server: ScriptedServer) -> None:
    hub = server.hub()
    order: list[Any] = []
    release = asyncio.Event()

    @hub.on_connected
    async def join(connection_id: str | None) -> None:
        order.append(connection_id)
        await release.wait()

    hub.on("x", order.append)
    await server.accept(hub, event("x", 1))
    await settle()
    assert order == ["public-id"]
    release.set()
    await settle()
    assert order == ["public-id", 1]
    await hub.stop()


async def test_concurrent_handlers_when_order_is_given_up(server: ScriptedServer) -> None:
    hub = server.hub(limits=Limits(handlers=3))
    order: list[Any] = []
    release = asyncio.Event()
    hub.on_connected(lambda _id: order.append("connected"))

    async def slow(n: int) -> None:
        order.append(n)
        await release.wait()

    hub.on("x", slow)
    socket = await server.accept(hub)
    socket.say(*(event("x", n) for n in range(5)))
    await settle()
    assert order == ["connected", 0, 1, 2]
    release.set()
    await settle()
    assert order == ["connected", 0, 1, 2, 3, 4]
    await hub.stop()


# The server asks


def broken() -> None:
    raise ValueError("broke")


@pytest.mark.parametrize(
    ("handlers", "expected"),
    [
        ([lambda: 1], {"result": 1}),
        ([lambda: 0], {"result": 0}),
        ([lambda: None], {"result": None}),
        ([lambda: False], {"result": False}),
        ([], {"error": "Client didn't provide a result."}),
        ([lambda: None, lambda: 2], {"result": 2}),
        ([lambda: 2, lambda: None], {"result": 2}),
        ([lambda: 0, lambda: False], {"error": "Client provided multiple results."}),
        ([broken], {"error": "broke"}),
        ([broken, lambda: 3], {"result": 3}),
        ([lambda: 3, broken], {"error": "broke"}),
    ],
)
async def test_client_results(server: ScriptedServer, handlers: list[Any], expected: dict[str, Any]) -> None:
    """The JavaScript client takes 0 and False for no result; the Swift client does not answer when a handler raises."""
    hub = server.hub()
    for handler in handlers:
        hub.on("ask", handler)
    socket = await server.accept(hub)
    socket.say(question("q1", "ask"))
    assert await socket.next() == {"type": 3, "invocationId": "q1", **expected}
    await hub.stop()


@pytest.mark.usefixtures("expected_errors")
async def test_a_result_that_cannot_be_encoded_is_told_to_both(server: ScriptedServer) -> None:
    hub = server.hub()
    errors: list[Any] = []
    hub.on_error(errors.append)
    hub.on("ask", object)
    socket = await server.accept(hub)
    socket.say(question("q", "ask"))
    assert "object" in (await socket.next())["error"]
    await settle()
    assert isinstance(errors[0], LocalProtocolError)
    await hub.stop()


async def test_the_end_does_not_wait_for_an_answer_that_nobody_reads(server: ScriptedServer) -> None:
    """`run()` would never end, and its program would not notice that the connection is gone."""
    hub = server.hub()
    asked, cancelled = asyncio.Event(), asyncio.Event()

    @hub.on("Ask")
    async def ask() -> None:
        asked.set()
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            cancelled.set()
            raise

    socket = await server.accept(hub)
    socket.say(question("q", "Ask"))
    await asked.wait()
    socket.vanish("cut")
    with pytest.raises(ConnectionClosedError, match="cut"):
        await hub.wait_closed()
    await hub.stop()
    assert cancelled.is_set()


async def test_client_results_run_beside_the_events(server: ScriptedServer) -> None:
    hub = server.hub(limits=Limits(client_results=2))
    release, running = asyncio.Event(), []

    async def slow(n: int) -> int:
        running.append(n)
        await release.wait()
        return n

    hub.on("slow", slow)
    socket = await server.accept(hub)
    socket.say(event("slow", 0), *(question(f"q{n}", "slow", n) for n in range(1, 5)))
    await settle()
    assert running == [0, 1, 2]
    release.set()
    answers = [await socket.next() for _ in range(4)]
    assert {answer["invocationId"]: answer["result"] for answer in answers} == {f"q{n}": n for n in range(1, 5)}
    await hub.stop()


async def test_questions_that_give_way_are_answered_with_an_error(
    server: ScriptedServer, caplog: pytest.LogCaptureFixture
) -> None:
    """ASP.NET Core waits for the answer without a limit."""
    hub = server.hub(limits=Limits(buffered_bytes=1000, client_results=1), timeouts=Timeouts(pause=0.01))
    release = asyncio.Event()

    async def slow(n: int) -> int:
        await release.wait()
        return n

    hub.on("slow", slow)
    socket = await server.accept(hub)
    socket.say(*(question(f"q{n}", "slow", n) for n in range(100)))
    refused = [await socket.next() for _ in range(80)]
    assert {answer["error"] for answer in refused} == {"The client is busy: too many calls wait for their results."}
    release.set()
    answers = refused + [await socket.next() for _ in range(20)]
    assert {answer["invocationId"] for answer in answers} == {f"q{n}" for n in range(100)}
    results = [answer["result"] for answer in answers if "error" not in answer]
    assert 0 < len(results) <= 20
    assert results == [0, *range(101 - len(results), 100)]
    assert "questions of the hub were dropped" in caplog.text
    await hub.stop()


async def test_answers_to_questions_that_give_way_are_bounded(
    server: ScriptedServer, caplog: pytest.LogCaptureFixture
) -> None:
    """A hostile server asks without end, and reads no answer."""
    hub = server.hub(limits=Limits(buffered_bytes=1000, client_results=1), timeouts=Timeouts(pause=0.01))
    release = asyncio.Event()
    hub.on("slow", release.wait)
    socket = await server.accept(hub)
    await hub.flush()
    socket.stalled.clear()
    socket.say(question("first", "slow"), *(question(name * 2000, "slow") for name in "abcd"))
    await socket.all_read()
    await settle()
    assert caplog.text.count("1 of them without an answer") == 3
    caplog.clear()
    for batch in range(12):
        socket.say(*(question(f"q{batch}-{n}", "slow") for n in range(1000)))
    await socket.all_read()
    await settle()
    assert "without an answer" in caplog.text
    assert len(hub._dispatcher._client_results.refused) <= 4096
    release.set()
    socket.vanish()
    with pytest.raises(ConnectionClosedError):
        await hub.wait_closed()
    while hub._dispatcher._client_results.refused:
        await settle()


# Events as an iterator


async def test_messages_yield_argument_tuples_until_the_end(server: ScriptedServer) -> None:
    hub = server.hub()
    messages = hub.messages("Trade")
    socket = await server.accept(hub)
    handled: list[Any] = []
    hub.on("trade", lambda *arguments: handled.append(arguments))
    socket.say(event("trade", "a", 1), event("other"), event("TRADE", "b", 2))
    assert await messages.next() == ("a", 1)
    socket.vanish()
    assert [arguments async for arguments in messages] == [("b", 2)]
    with pytest.raises(ConnectionClosedError):
        await hub.wait_closed()
    assert handled == [("a", 1), ("b", 2)]


async def test_messages_can_be_closed_and_let_go_of(server: ScriptedServer) -> None:
    hub = server.hub()
    socket = await server.accept(hub)
    async with hub.messages("x") as messages:
        socket.event("x", 1)
        assert await messages.next(timeout=5) == (1,)
    assert [item async for item in messages] == []
    asyncio.get_running_loop().call_soon(socket.event, "y")
    async for _ in hub.messages("y"):
        break
    gone = hub.messages("x")
    del gone
    gc.collect()
    await settle()
    assert not hub._dispatcher._subscribers
    await hub.stop()


async def test_messages_may_keep_the_newest_only(server: ScriptedServer) -> None:
    hub = server.hub()
    messages = hub.messages("tick", buffer=3, overflow="drop_oldest")
    socket = await server.accept(hub)
    socket.say(*(event("tick", n) for n in range(10)))
    await settle()
    assert [await messages.next() for _ in range(3)] == [(7,), (8,), (9,)]
    await hub.stop()
    wrong: list[dict[str, Any]] = [{"overflow": "explode"}, {"buffer": 0}, {"buffer": True}]
    for options in wrong:
        with pytest.raises(ValueError, match="must be"):
            hub.messages("x", **options)


async def test_wait_for(server: ScriptedServer) -> None:
    hub = server.hub()
    socket = await server.accept(hub)
    with pytest.raises(TimeoutError):
        await hub.wait_for("x", timeout=0.01)
    waiting = asyncio.create_task(hub.wait_for("x", timeout=5))
    await settle()
    socket.event("x", 1, "a")
    assert await waiting == (1, "a")
    waiting = asyncio.create_task(hub.wait_for("x"))
    await settle()
    socket.vanish("cut")
    with pytest.raises(ConnectionClosedError, match="'x'") as caught:
        await waiting
    assert "cut" in str(caught.value.__cause__)


async def test_wait_for_inside_a_handler(server: ScriptedServer) -> None:
    hub = server.hub()
    socket = await server.accept(hub)
    got = asyncio.get_running_loop().create_future()

    async def first() -> None:
        got.set_result(await hub.wait_for("second"))

    hub.on("first", first)
    socket.event("first")
    await settle()
    socket.event("second", 2)
    assert await got == (2,)
    await hub.stop()


# Back-pressure


async def flood(socket: ScriptedSocket, *messages: dict[str, Any]) -> None:
    for message in messages:
        socket.say(message)
    await settle()


async def test_reading_pauses_while_a_stream_is_above_its_mark(server: ScriptedServer) -> None:
    hub = server.hub(limits=Limits(stream_items=3))
    socket = await server.accept(hub)
    stream = hub.stream("Count")
    first = asyncio.create_task(stream.next())
    asked = await socket.next()
    await flood(socket, *({"type": 2, "invocationId": asked["invocationId"], "item": n} for n in range(10)))
    assert await first == 0
    assert socket.waiting > 0
    assert [await stream.next(timeout=5) for _ in range(9)] == list(range(1, 10))
    assert socket.waiting == 0
    await hub.stop()


async def test_reading_goes_on_after_a_full_pause(server: ScriptedServer) -> None:
    hub = server.hub(limits=Limits(messages=2), timeouts=Timeouts(pause=0.05))
    socket = await server.accept(hub)
    release = asyncio.Event()
    got: list[int] = []

    async def slow(n: int) -> None:
        await release.wait()
        got.append(n)

    hub.on("x", slow)
    await flood(socket, *(event("x", n) for n in range(10)))
    assert socket.waiting > 0
    call = asyncio.create_task(hub.invoke("Add"))
    socket.answer(await socket.next(), 3)
    assert await call == 3
    assert socket.waiting == 0
    release.set()
    await settle()
    assert got == list(range(10))
    await hub.stop()


async def test_reading_does_not_pause_while_a_call_waits(server: ScriptedServer) -> None:
    """A consumer that calls the hub is not held up."""
    hub = server.hub(limits=Limits(messages=2), timeouts=Timeouts(pause=None))
    socket = await server.accept(hub)
    done = asyncio.Event()
    results = []

    async def ask(n: int) -> None:
        results.append(await hub.invoke("Double", n))
        if n == 9:
            done.set()

    hub.on("x", ask)
    for n in range(10):
        socket.event("x", n)

    async def play() -> None:
        for _ in range(10):
            asked = await socket.next()
            socket.answer(asked, asked["arguments"][0] * 2)

    playing = asyncio.create_task(play())
    await done.wait()
    await playing
    assert results == [n * 2 for n in range(10)]
    await hub.stop()


async def test_a_stream_that_holds_too_much_fails_alone(server: ScriptedServer) -> None:
    """The queue of a stream has no bound in aiosignalr."""
    hub = server.hub(limits=Limits(buffered_bytes=2000, stream_items=1000), timeouts=Timeouts(pause=0.05))
    socket = await server.accept(hub)
    async with hub.stream("Slow") as slow, hub.stream("Fast") as fast:
        asked, other = await socket.next(), await socket.next()
        for n in range(100):
            socket.item(asked, n)
        await settle()
        assert await socket.next() == {"type": 5, "invocationId": asked["invocationId"]}
        socket.item(other, "fine")
        assert await fast.next() == "fine"
        got = []
        with pytest.raises(StreamOverflowError, match="too slow") as caught:  # noqa: PT012 - the loop is what raises
            async for item in slow:
                got.append(item)  # noqa: PERF401 - what came before the error counts
        assert got == list(range(len(got)))
        assert len(got) == caught.value.buffered
    await hub.stop()


async def test_events_that_hold_too_much_are_dropped_oldest_first(
    server: ScriptedServer, caplog: pytest.LogCaptureFixture
) -> None:
    """The queue of the .NET client has no bound."""
    hub = server.hub(limits=Limits(buffered_bytes=2000), timeouts=Timeouts(pause=0.05))
    socket = await server.accept(hub)
    release, told = asyncio.Event(), asyncio.get_running_loop().create_future()
    got: list[int] = []

    async def slow(n: int) -> None:
        await release.wait()
        got.append(n)

    hub.on("x", slow)
    hub.on_error(told.set_result)
    await flood(socket, *(event("x", n) for n in range(100)))
    await socket.all_read()
    release.set()
    error = await told
    await settle()
    assert got[1:] == list(range(101 - len(got), 100))
    assert error.dropped == 100 - len(got)
    assert "events were dropped" in caplog.text
    await hub.stop()


async def test_a_message_larger_than_the_buffer_is_delivered(server: ScriptedServer) -> None:
    hub = server.hub(limits=Limits(buffered_bytes=100))
    socket = await server.accept(hub)
    got = asyncio.get_running_loop().create_future()
    hub.on("x", lambda text: got.set_result(len(text)))
    socket.event("x", "x" * 1000)
    assert await got == 1000
    await hub.stop()


# Reconnecting


async def test_the_connection_comes_back(server: ScriptedServer) -> None:
    hub = server.hub(reconnect=True)
    order: list[Any] = []
    hub.on_connected(lambda _id: order.append("connected"))
    hub.on_reconnecting(lambda error: order.append(("reconnecting", str(error))))
    hub.on_reconnected(lambda _id: order.append("reconnected"))
    hub.on("x", order.append)
    socket = await server.accept(hub)
    socket.event("x", "before")
    pending = asyncio.create_task(hub.invoke("Slow"))
    await socket.next()
    socket.vanish("cut")
    with pytest.raises(ConnectionClosedError):
        await pending
    assert hub.state is ConnectionState.RECONNECTING
    waiting = asyncio.create_task(hub.send("Log", "while away"))
    again = await server.sockets.get()
    await again.shake_hands(event("x", "after"))
    await waiting
    assert (await again.next())["arguments"] == ["while away"]
    await settle()
    assert order == ["connected", "before", ("reconnecting", "cut"), "connected", "reconnected", "after"]
    await hub.stop()


async def test_stop_while_waiting_to_reconnect(server: ScriptedServer) -> None:
    class Later:
        def next_delay(self, context: Any) -> float:
            return 3600.0

    hub = server.hub(reconnect=Later())
    reconnecting = asyncio.Event()
    hub.on_reconnecting(lambda _error: reconnecting.set())
    socket = await server.accept(hub)
    socket.vanish()
    await reconnecting.wait()
    await hub.stop()
    assert hub.state is ConnectionState.DISCONNECTED


async def test_bad_options_are_refused_at_once() -> None:
    bad: list[dict[str, Any]] = [
        {"protocol": "xml"},
        {"transports": "carrier pigeon"},
        {"transports": []},
        {"skip_negotiation": True, "transports": ["LongPolling"]},
        {"protocol": "messagepack", "transports": "ServerSentEvents"},
        {"reconnect": 5},
        {"reconnect": Retry},
        {"access_token_in": "body"},
        {"headers": {"X Y": "1"}},
        {"headers": {"X": "a\nb"}},
        {"cookies": {"a": "b; c=d"}},
        {"cookies": {"a; b": "c"}},
        {"forward_headers": "X-Trace"},
    ]
    for options in bad:
        with pytest.raises(ValueError, match=r".+"):
            HubConnection("http://h/", **options)
    with pytest.raises(ValueError, match=r".+"):
        HubConnection("ftp://h/")


async def test_cancelling_start_at_the_very_end_closes_the_connection(server: ScriptedServer) -> None:
    """Ctrl-C comes at any moment, also between the handshake and the return of start()."""
    hub = server.hub()
    start = asyncio.create_task(hub.start())

    class CancelWhenConnected(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            start.cancel()

    logger, handler = logging.getLogger("signalr_sdk.hub"), CancelWhenConnected(logging.INFO)
    logger.addHandler(handler)
    before = logger.level
    logger.setLevel(logging.INFO)
    try:
        socket = await server.sockets.get()
        await socket.shake_hands()
        with pytest.raises(asyncio.CancelledError):
            await start
    finally:
        logger.removeHandler(handler)
        logger.setLevel(before)
    assert hub.state is ConnectionState.DISCONNECTED
    assert socket.closed.is_set()


def test_a_forgotten_connection_is_closed_with_the_event_loop() -> None:
    """asyncio.run() cancels what is left, and nothing may complain."""

    async def forget() -> ScriptedSocket:
        server = ScriptedServer()
        return await server.accept(server.hub())

    socket = asyncio.run(forget())
    assert socket.closed.is_set()


async def test_reading_pauses_before_large_items_fill_the_buffer(server: ScriptedServer) -> None:
    """A mark in items is no help when each has many bytes."""
    hub = server.hub(limits=Limits(buffered_bytes=10_000))
    socket = await server.accept(hub)
    stream = hub.stream("Blobs")
    first = asyncio.create_task(stream.next())
    asked = await socket.next()
    await flood(socket, *({"type": 2, "invocationId": asked["invocationId"], "item": "x" * 1000} for _ in range(50)))
    assert len(await first) == 1000
    assert socket.waiting > 0
    for _ in range(49):
        assert len(await stream.next(timeout=5)) == 1000
    assert socket.waiting == 0
    await hub.stop()


async def test_a_converter_serves_arguments_items_and_answers(server: ScriptedServer) -> None:
    class Text:
        def structure(self, obj: Any, cl: Any, /) -> Any:
            return cl(obj)

        def unstructure(self, obj: Any, /) -> Any:
            return str(obj)

    hub = server.hub(converter=Text())
    hub.on("ask", lambda: Path("answer"))
    socket = await server.accept(hub)
    call = asyncio.create_task(hub.invoke("M", Path("argument"), numbers(Path("item")), result_type=Path))
    asked = await socket.next()
    assert asked["arguments"] == ["argument"]
    assert (await socket.next())["item"] == "item"
    await socket.next()
    socket.answer(asked, "result")
    assert await call == Path("result")
    socket.say(question("q", "ask"))
    assert (await socket.next())["result"] == "answer"
    await hub.stop()


@pytest.mark.parametrize("retry_start", [True, Retry.delays(0, 0, 0)])
async def test_a_first_start_may_be_retried_without_reconnecting(server: ScriptedServer, retry_start: Any) -> None:
    answers = [HttpResponse(503), HttpResponse(503)]
    offer = server.negotiate
    server.negotiate = lambda: answers.pop() if answers else offer()
    hub = server.hub(reconnect=False, retry_start=retry_start)
    socket = await server.accept(hub)
    assert len(server.requests) == 3
    socket.vanish()
    with pytest.raises(ConnectionClosedError):
        await hub.wait_closed()
