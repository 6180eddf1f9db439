"""Stateful reconnect against a script: a line that is cut, refused, stalled, and stopped at every moment."""

from __future__ import annotations

import asyncio
import json
import logging
import random
from typing import TYPE_CHECKING, Any

import attrs
import pytest
from tests.doubles import without_waiting
from tests.scripted import NEGOTIATED, ScriptedServer, ScriptedSocket, event

from signalr_sdk import (
    ConnectionClosedError,
    ConnectionState,
    HubConnection,
    Limits,
    RemoteProtocolError,
    Retry,
    ServerTimeoutError,
    Timeouts,
    Transport,
    TransportError,
    Upload,
)
from signalr_sdk.interfaces import HttpResponse

if TYPE_CHECKING:
    from collections.abc import Callable

    from signalr_sdk import RetryContext

AT_ONCE = Retry(wait=lambda _state: 0.0)
LATE = 10_000.0  # seconds: longer than any server keeps a connection


@attrs.define
class Policy:
    """Waits as long as it is told, then not at all, and notes what it was asked."""

    delays: list[float] = attrs.field(factory=list)
    asked: list[RetryContext] = attrs.field(factory=list)

    def next_delay(self, context: RetryContext) -> float | None:
        self.asked.append(context)
        return self.delays.pop(0) if self.delays else 0.0


class Events:
    """All lifecycle events of a connection, in order."""

    def __init__(self, hub: HubConnection) -> None:
        self.seen: list[tuple[str, Any]] = []
        self.wanted = asyncio.Event()
        for name in ("connected", "reconnecting", "reconnected", "closed", "error"):
            getattr(hub, f"on_{name}")(lambda value, name=name: self.note(name, value))

    def note(self, name: str, value: Any) -> None:
        self.seen.append((name, value))
        self.wanted.set()

    @property
    def names(self) -> list[str]:
        return [name for name, _value in self.seen]

    async def until(self, name: str) -> Any:
        while name not in self.names:
            self.wanted.clear()
            await self.wanted.wait()
        return next(value for each, value in self.seen if each == name)


def offer(server: ScriptedServer, *, stateful: bool = True) -> None:
    answer = {**NEGOTIATED, "useStatefulReconnect": stateful}
    server.negotiate = lambda: HttpResponse(200, (), json.dumps(answer).encode())


@pytest.fixture
async def server() -> ScriptedServer:
    server = ScriptedServer()
    offer(server)
    return server


def hub_of(server: ScriptedServer, **options: Any) -> HubConnection:
    return server.hub(**{"stateful_reconnect": True, "reconnect": AT_ONCE, **options})


async def resumed(server: ScriptedServer, number: int = 1, sequence: int = 1) -> ScriptedSocket:
    """Return the server's end of the next line, which the client begins with message `sequence`.

    Args:
        server: of the connection.
        number: the message that the server goes on with.
        sequence: what the client must say.
    """
    socket = await server.sockets.get()
    assert await socket.next() == {"type": 9, "sequenceId": sequence}
    socket.say({"type": 9, "sequenceId": number})
    return socket


async def received(socket: ScriptedSocket, kind: int) -> dict[str, Any]:
    """Return the client's next message of a type."""
    while (message := await socket.next())["type"] != kind:
        pass
    return message


def refuses(status: int) -> Callable[[], Any]:
    async def connect() -> None:
        raise TransportError("refused", transport=Transport.WEBSOCKETS, status=status)

    return connect


async def settle(turns: int = 30) -> None:
    for _ in range(turns):
        await asyncio.sleep(0)


# Negotiation


async def test_it_is_asked_for_and_the_handshake_says_version_2(server: ScriptedServer) -> None:
    hub = hub_of(server)
    start = asyncio.create_task(hub.start())
    socket = await server.sockets.get()
    assert await socket.next() == {"protocol": "json", "version": 2}
    socket.say({})
    await start
    assert "useStatefulReconnect=true" in server.requests[0].url
    await hub.stop()


@pytest.mark.parametrize(("asked", "offered"), [(True, False), (False, True)])
async def test_where_one_side_does_not_want_it_nothing_is_different(
    server: ScriptedServer, asked: bool, offered: bool
) -> None:
    offer(server, stateful=offered)
    hub = hub_of(server, stateful_reconnect=asked)
    start = asyncio.create_task(hub.start())
    socket = await server.sockets.get()
    assert await socket.next() == {"protocol": "json", "version": 1}
    socket.say({})
    await start
    assert ("useStatefulReconnect" in server.requests[0].url) is asked
    socket.vanish()
    await (await server.sockets.get()).shake_hands()
    assert len(server.requests) == 2
    await hub.stop()


async def test_other_transports_do_not_ask_for_it(server: ScriptedServer) -> None:
    hub = hub_of(server, transports=[Transport.LONG_POLLING], reconnect=False)
    with pytest.raises(ConnectionError):
        await hub.start()
    assert "useStatefulReconnect" not in server.requests[0].url


# A cut line


async def test_a_cut_line_is_resumed_and_nobody_notices(server: ScriptedServer) -> None:
    hub = hub_of(server)
    events = Events(hub)
    got: list[int] = []
    hub.on("event", got.append)
    first = await server.accept(hub)
    call = asyncio.create_task(hub.invoke("Add", 1, 2))
    asked = await first.next()
    first.event("event", 1)
    first.say(event("event", 2), json.dumps(event("event", 3)).encode()[:-4])
    await first.all_read()
    first.vanish()
    second = await resumed(server)
    assert hub.state is ConnectionState.CONNECTED
    assert hub.connection_id == "public-id"
    assert second.request.url == first.request.url
    assert await second.next() == asked
    await hub.send("Log", "while it is resumed")
    assert (await second.next())["arguments"] == ["while it is resumed"]
    for number in (1, 2, 3):
        second.event("event", number)
    second.answer(asked, 3)
    assert await call == 3
    assert await received(second, 8) == {"type": 8, "sequenceId": 4}
    assert got == [1, 2, 3]
    assert events.names == ["connected"]
    assert len(server.requests) == 1
    await hub.stop()


async def test_what_is_acknowledged_is_not_sent_again(server: ScriptedServer) -> None:
    hub = hub_of(server)
    first = await server.accept(hub)
    for number in range(4):
        await hub.send("Log", number)
        await first.next()
    first.say({"type": 8, "sequenceId": 3})
    await first.all_read()
    first.vanish()
    second = await resumed(server, sequence=4)
    assert (await second.next())["arguments"] == [3]
    await hub.stop()


async def test_streams_in_both_directions_go_on(server: ScriptedServer) -> None:
    hub = hub_of(server)
    upload: Upload[int] = Upload()
    first = await server.accept(hub)
    call = asyncio.create_task(hub.invoke("Sum", upload))
    asked = await first.next()
    async with hub.stream("Counter") as numbers:
        stream = await first.next()
        await upload.send(1)
        assert (await first.next())["item"] == 1
        first.item(stream, 10)
        assert await numbers.next() == 10
        first.vanish()
        second = await resumed(server)
        assert [(await second.next())["type"] for _ in range(3)] == [1, 4, 2]
        second.item(stream, 10)
        second.item(stream, 11)
        await upload.send(2)
        upload.close()
        assert (await second.next())["item"] == 2
        assert (await second.next())["type"] == 3
        second.answer(asked, 3)
        assert await numbers.next() == 11
        assert await call == 3
    await hub.stop()


async def test_calls_made_meanwhile_leave_afterwards(server: ScriptedServer) -> None:
    """They wait neither for the connection nor for `Timeouts.ready`; a call that is given up is cancelled."""
    hub = hub_of(server, timeouts=Timeouts(ready=0.001))
    gate = asyncio.Event()
    first = await server.accept(hub)
    server.connect = gate.wait  # type: ignore[assignment]
    first.vanish()
    await settle()
    call = asyncio.create_task(hub.invoke("Add"))
    given_up = asyncio.create_task(hub.invoke("GivenUp"))
    flush = asyncio.create_task(hub.flush())
    await settle()
    given_up.cancel()
    await settle()
    assert not flush.done()
    gate.set()
    second = await resumed(server)
    asked = await second.next()
    assert asked["target"] == "Add"
    assert (await second.next())["target"] == "GivenUp"
    assert (await second.next())["type"] == 5
    await flush
    second.answer(asked, 5)
    assert await call == 5
    await hub.stop()


async def test_a_flush_that_meets_a_lost_line_waits_for_the_next(server: ScriptedServer) -> None:
    hub = hub_of(server)
    first = await server.accept(hub)
    await settle()
    first.stalled.clear()
    flush = asyncio.create_task(hub.flush())
    await settle()
    first.vanish()
    first.stalled.set()
    await resumed(server)
    await flush
    await hub.stop()


async def test_a_line_that_fails_to_send_is_resumed(server: ScriptedServer, caplog: pytest.LogCaptureFixture) -> None:
    hub = hub_of(server)
    first = await server.accept(hub)
    first.closed.set()
    for number in range(3):
        await hub.send("Log", number)
    second = await resumed(server)
    assert [(await second.next())["arguments"] for _ in range(3)] == [[0], [1], [2]]
    assert hub.state is ConnectionState.CONNECTED
    await hub.stop()
    assert not [record for record in caplog.records if record.levelno >= logging.WARNING]


async def test_a_silent_line_is_resumed_too(server: ScriptedServer) -> None:
    """The .NET client never resumes after a server timeout; the JavaScript client leaves the old socket open."""
    hub = hub_of(server, timeouts=Timeouts(server=0.05))
    events = Events(hub)
    first = await server.accept(hub)
    second = await resumed(server)
    assert first.closed.is_set()
    assert events.names == ["connected"]
    second.say({"type": 7})
    await hub.wait_closed()
    await hub.stop()


async def test_a_server_that_is_silent_on_the_new_line_too_is_not_resumed_again(server: ScriptedServer) -> None:
    """ASP.NET Core never writes again after too much has gathered, but takes one line after another."""
    hub = hub_of(server, timeouts=Timeouts(server=0.05))
    events = Events(hub)
    await server.accept(hub)
    await resumed(server)
    third = await server.sockets.get()
    await third.shake_hands()
    await events.until("reconnected")
    assert isinstance(await events.until("reconnecting"), ServerTimeoutError)
    await hub.stop()


async def test_each_attempt_has_a_fresh_token(server: ScriptedServer) -> None:
    tokens = iter(["one", "two", "three"])
    hub = hub_of(server, access_token=lambda: next(tokens))
    first = await server.accept(hub)
    first.vanish()
    second = await resumed(server)
    second.vanish()
    third = await resumed(server)
    sent = [each.request.headers["Authorization"] for each in (first, second, third)]
    assert sent == ["Bearer one", "Bearer two", "Bearer three"]
    await hub.stop()


# Attempts


async def test_several_attempts_with_the_policys_delays(server: ScriptedServer) -> None:
    policy = Policy([0.0, 0.001, 0.002])
    hub = hub_of(server, reconnect=policy)
    events = Events(hub)
    first = await server.accept(hub)
    failures: list[Exception] = [OSError("no route"), TransportError("busy", status=429)]

    async def connect() -> None:
        if failures:
            raise failures.pop(0)

    server.connect = connect
    first.vanish("gone")
    await resumed(server)
    assert [context.attempt for context in policy.asked] == [0, 1, 2]
    assert str(policy.asked[0].error) == "gone"
    assert "no route" in str(policy.asked[1].error)
    assert events.names == ["connected"]
    await hub.stop()


async def test_a_server_that_takes_it_and_hangs_up_is_not_hit_in_a_tight_loop(server: ScriptedServer) -> None:
    """aiosignalr has no delay and no limit. Here each resume counts until the connection has lasted."""
    policy = Policy()
    hub = hub_of(server, reconnect=policy)
    (await server.accept(hub)).vanish()
    for _ in range(5):
        (await resumed(server)).vanish()
    last = await resumed(server)
    assert [context.attempt for context in policy.asked] == [0, 1, 2, 3, 4, 5]
    assert hub.state is ConnectionState.CONNECTED
    last.say({"type": 7})
    await hub.stop()


@pytest.mark.parametrize("seed", range(5))
@without_waiting
async def test_a_server_that_resumes_and_hangs_up_at_once_is_left_in_peace(seed: int) -> None:
    """Fewer than 40 connects in the first 8 s, with the default policy and without one."""
    random.seed(seed)
    server = ScriptedServer()
    offer(server)
    hub = hub_of(server, reconnect=bool(seed % 2))
    (await server.accept(hub)).vanish()
    lines = 1

    async def take_and_hang_up() -> None:
        nonlocal lines
        while True:
            (await resumed(server)).vanish()
            lines += 1

    serving = asyncio.create_task(take_and_hang_up())
    await asyncio.sleep(8)
    assert 2 <= lines < 40
    await hub.stop()
    serving.cancel()
    await asyncio.wait({serving})


async def test_a_server_that_says_nothing_is_tried_again(
    server: ScriptedServer, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "signalr_sdk.hub")
    hub = hub_of(server, timeouts=Timeouts(handshake=0.05))
    first = await server.accept(hub)
    first.vanish()
    silent = await server.sockets.get()
    await hub.send("Log", 1)
    second = await resumed(server)
    assert silent.closed.is_set()
    assert (await second.next())["arguments"] == [1]
    await hub.stop()
    assert "the server did not say where it goes on within 0.05 s" in caplog.text


@pytest.mark.parametrize("status", [404, 401, 409, 301])
async def test_a_refused_resume_becomes_an_ordinary_reconnect(server: ScriptedServer, status: int) -> None:
    """In aiosignalr and the JavaScript client the old buffer stays: every call hangs and every event is dropped."""
    hub = hub_of(server)
    events = Events(hub)
    got: list[int] = []
    hub.on("event", got.append)
    first = await server.accept(hub)
    call = asyncio.create_task(hub.invoke("Add"))
    await first.next()
    await hub.send("Lost")
    server.connect = refuses(status)
    first.vanish("cut")
    error = await events.until("reconnecting")
    server.connect = None
    with pytest.raises(ConnectionClosedError, match="may or may not have run"):
        await call
    assert isinstance(error, ConnectionClosedError)
    assert "cut" in str(error)
    assert "could not be resumed" in str(error)
    assert isinstance(error.__cause__, TransportError)
    offer(server, stateful=False)
    second = await server.sockets.get()
    await second.shake_hands(event("event", 1))
    assert await events.until("reconnected") == "public-id"
    answered = asyncio.create_task(hub.invoke("Add"))
    second.answer(await second.next(), 7)
    assert await answered == 7
    assert got == [1]
    assert events.names == ["connected", "reconnecting", "connected", "reconnected"]
    await hub.stop()


async def test_after_a_refused_resume_the_numbers_begin_anew(server: ScriptedServer) -> None:
    hub = hub_of(server)
    events = Events(hub)
    first = await server.accept(hub)
    await hub.send("Lost")
    server.connect = refuses(404)
    first.vanish()
    await events.until("reconnecting")
    server.connect = None
    second = await server.sockets.get()
    assert await second.next() == {"protocol": "json", "version": 2}
    second.say({})
    await events.until("reconnected")
    await hub.send("Log", 1)
    assert (await second.next())["arguments"] == [1]
    second.vanish()
    third = await resumed(server)
    assert (await third.next())["arguments"] == [1]
    await hub.stop()


async def test_when_the_window_is_over_an_ordinary_reconnect_follows(server: ScriptedServer) -> None:
    hub = hub_of(server, reconnect=Policy([LATE, 0.0]))
    events = Events(hub)
    (await server.accept(hub)).vanish("cut")
    assert str(await events.until("reconnecting")) == "cut"
    await hub.stop()


async def test_a_policy_that_gives_up_ends_it(server: ScriptedServer) -> None:
    hub = hub_of(server, reconnect=Retry.delays(0))
    events = Events(hub)
    first = await server.accept(hub)
    server.connect = refuses(503)
    first.vanish("cut")
    with pytest.raises(ConnectionClosedError, match="could not be resumed"):
        await hub.wait_closed()
    assert events.names == ["connected", "closed"]


async def test_a_policy_that_raises_is_reported_once(
    server: ScriptedServer, expected_errors: list[logging.LogRecord]
) -> None:
    class Broken:
        def next_delay(self, context: RetryContext) -> float | None:
            raise RuntimeError("no idea")

    hub = hub_of(server, reconnect=Broken())
    events = Events(hub)
    (await server.accept(hub)).vanish("cut")
    with pytest.raises(ConnectionClosedError, match="cut"):
        await hub.wait_closed()
    assert events.names == ["connected", "error", "closed"]
    assert len(expected_errors) == 1


@pytest.mark.parametrize("reconnect", [False, None])
async def test_without_a_policy_one_is_tried(server: ScriptedServer, reconnect: bool | None) -> None:
    hub = hub_of(server, reconnect=reconnect)
    events = Events(hub)
    (await server.accept(hub)).vanish("cut")
    second = await resumed(server)
    await settle()
    server.connect = refuses(503)
    second.vanish("cut again")
    with pytest.raises(ConnectionClosedError, match=r"cut again.*could not be resumed"):
        await hub.wait_closed()
    assert events.names == ["connected", "closed"]


# Ends that are no cut


@pytest.mark.parametrize("allow", [False, True])
async def test_a_close_message_is_not_resumed(server: ScriptedServer, allow: bool) -> None:
    """In the JavaScript client a Close message leaves a new socket open on the old id."""
    hub = hub_of(server)
    events = Events(hub)
    first = await server.accept(hub)
    first.say({"type": 7, "error": "shutting down", "allowReconnect": allow})
    if allow:
        await events.until("reconnecting")
        second = await server.sockets.get()
        assert (await second.next())["protocol"] == "json"
        await hub.stop()
    else:
        with pytest.raises(ConnectionClosedError, match="shutting down"):
            await hub.wait_closed()
        assert server.sockets.empty()


async def test_a_line_that_is_closed_in_good_order_is_not_resumed(server: ScriptedServer) -> None:
    """The JavaScript client takes a clean close for a cut."""
    hub = hub_of(server)
    events = Events(hub)
    await (await server.accept(hub)).close()
    await events.until("reconnecting")
    await (await server.sockets.get()).shake_hands()
    await events.until("reconnected")
    await hub.stop()


async def test_an_attempt_given_up_that_takes_the_place_of_the_next_one(server: ScriptedServer) -> None:
    """Its request came late, so the server closes the newer WebSocket in good order. That is resumed once."""
    hub = hub_of(server)
    events = Events(hub)
    first = await server.accept(hub)
    failures: list[Exception] = [TimeoutError("no answer in time")]

    async def connect() -> None:
        if failures:
            raise failures.pop()

    server.connect = connect
    first.vanish()
    await (await resumed(server)).close()
    second = await resumed(server)
    assert events.names == ["connected"]
    await second.close()
    await events.until("reconnecting")
    await (await server.sockets.get()).shake_hands()
    await events.until("reconnected")
    await hub.stop()


@pytest.mark.parametrize(
    "message",
    [{"type": 8, "sequenceId": 5}, {"type": 9, "sequenceId": 2}, {"type": 1, "target": 5}],
    ids=["ack", "sequence", "garbage"],
)
async def test_a_server_that_claims_what_cannot_be_is_left(server: ScriptedServer, message: dict[str, Any]) -> None:
    hub = hub_of(server)
    events = Events(hub)
    (await server.accept(hub)).say(message)
    assert isinstance(await events.until("reconnecting"), RemoteProtocolError)
    await (await server.sockets.get()).shake_hands()
    await events.until("reconnected")
    await hub.stop()


async def test_a_server_that_goes_on_where_we_are_not_is_left(server: ScriptedServer) -> None:
    hub = hub_of(server)
    events = Events(hub)
    (await server.accept(hub)).vanish()
    await resumed(server, number=2)
    error = await events.until("reconnecting")
    assert isinstance(error, RemoteProtocolError)
    assert "goes on with message 2, but 1 is the next" in str(error)
    await (await server.sockets.get()).shake_hands()
    await events.until("reconnected")
    await hub.stop()


async def test_a_close_instead_of_a_resume_is_the_end(server: ScriptedServer) -> None:
    hub = hub_of(server)
    (await server.accept(hub)).vanish()
    second = await server.sockets.get()
    second.say({"type": 7, "error": "no more"})
    with pytest.raises(ConnectionClosedError, match="no more"):
        await hub.wait_closed()


# Stop


async def stalled() -> None:
    await asyncio.Event().wait()


async def test_stop_during_a_stalled_resume(server: ScriptedServer) -> None:
    """In the JavaScript client stop() hangs while the upgrade is stalled."""
    hub = hub_of(server)
    first = await server.accept(hub)
    call = asyncio.create_task(hub.invoke("Add"))
    await first.next()
    server.connect = stalled
    first.vanish()
    await settle()
    await asyncio.wait_for(hub.stop(), 4)
    with pytest.raises(ConnectionClosedError, match=r"stop\(\) was called"):
        await call
    assert hub.state.value == "disconnected"
    await hub.wait_closed()


async def test_stop_while_the_server_does_not_say_where_it_goes_on(server: ScriptedServer) -> None:
    hub = hub_of(server)
    (await server.accept(hub)).vanish()
    second = await server.sockets.get()
    await second.next()
    await asyncio.wait_for(hub.stop(), 4)
    assert second.closed.is_set()


async def test_stop_in_a_delay_before_a_resume(server: ScriptedServer) -> None:
    hub = hub_of(server, reconnect=Policy([14.0]))
    (await server.accept(hub)).vanish()
    await settle()
    await asyncio.wait_for(hub.stop(), 4)


async def test_stop_while_the_token_provider_hangs_in_a_resume(server: ScriptedServer) -> None:
    answers = [asyncio.sleep(0, "one"), asyncio.Event().wait()]
    hub = hub_of(server, access_token=lambda: answers.pop(0))
    (await server.accept(hub)).vanish()
    await settle()
    assert not answers
    await asyncio.wait_for(hub.stop(), 4)


async def test_stop_with_senders_that_wait_for_acks(server: ScriptedServer) -> None:
    """In the .NET client the Close message waits for Acks too."""
    hub = hub_of(server, limits=Limits(stateful_buffer=1))
    socket = await server.accept(hub)
    await hub.send("First")
    waiting = asyncio.create_task(hub.send("Second"))
    await settle()
    assert not waiting.done()
    await asyncio.wait_for(hub.stop(), 4)
    with pytest.raises(ConnectionClosedError):
        await waiting
    assert (await socket.next())["target"] == "First"
    assert await socket.next() == {"type": 7}


async def test_stop_on_a_line_whose_loss_is_not_known_yet(server: ScriptedServer) -> None:
    """The Close message cannot leave, and nobody waits for another line to take it."""
    hub = hub_of(server, timeouts=Timeouts(close=60))
    socket = await server.accept(hub)
    await settle()
    socket.closed.set()
    await asyncio.wait_for(hub.stop(), 4)


async def test_stop_called_twice_during_a_resume(server: ScriptedServer) -> None:
    hub = hub_of(server)
    first = await server.accept(hub)
    server.connect = stalled
    first.vanish()
    await settle()
    stop = asyncio.create_task(hub.stop())
    again = asyncio.create_task(hub.stop())
    await asyncio.wait_for(asyncio.gather(stop, again), 4)


# Back-pressure


async def test_senders_wait_for_acks_and_nothing_else_does(server: ScriptedServer) -> None:
    """In the .NET client a full buffer blocks pings, Acks and Close too."""
    hub = hub_of(server, limits=Limits(stateful_buffer=200), timeouts=Timeouts(keep_alive=0.05))
    socket = await server.accept(hub)
    sent = 0
    while True:
        waiting = asyncio.create_task(hub.send("Log", sent))
        await settle()
        if not waiting.done():
            break
        sent += 1
    assert 1 < sent < 10
    for _ in range(sent):
        await socket.next()
    # Above a quarter of the buffer: an Ack is due at once.
    socket.event("event", "x" * 100)
    assert await received(socket, 8) == {"type": 8, "sequenceId": 1}
    while (await socket._from_client.get())["type"] != 6:
        pass
    assert not waiting.done()
    socket.say({"type": 8, "sequenceId": sent})
    await waiting
    assert (await socket.next())["arguments"] == [sent]
    await hub.stop()


async def test_senders_that_wait_are_told_when_the_connection_is_lost_for_good(
    server: ScriptedServer, caplog: pytest.LogCaptureFixture
) -> None:
    """In the JavaScript client such senders wait for ever."""
    hub = hub_of(server, limits=Limits(stateful_buffer=1), reconnect=False)
    first = await server.accept(hub)
    await hub.send("First")
    waiting = asyncio.create_task(hub.send("Second"))
    await settle()
    server.connect = refuses(404)
    first.vanish()
    with pytest.raises(ConnectionClosedError):
        await waiting
    with pytest.raises(ConnectionClosedError):
        await hub.wait_closed()
    assert "1 messages were not sent before the connection ended" in caplog.text


async def test_an_ack_leaves_after_a_while_on_a_quiet_line(server: ScriptedServer) -> None:
    hub = hub_of(server)
    socket = await server.accept(hub)
    socket.event("event", 1)
    socket.event("event", 2)
    assert await received(socket, 8) == {"type": 8, "sequenceId": 2}
    await hub.stop()


async def test_the_reason_of_a_silent_server_is_kept(server: ScriptedServer) -> None:
    """In the .NET client the error is lost when the resume fails."""
    hub = hub_of(server, timeouts=Timeouts(server=0.05))
    events = Events(hub)
    await server.accept(hub)
    server.connect = refuses(404)
    error = await events.until("reconnecting")
    assert "silent for 0.05 s" in str(error)
    server.connect = None
    await hub.stop()
    assert not isinstance(error, ServerTimeoutError)
