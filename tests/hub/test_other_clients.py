"""What breaks in other clients: message by message, against a script.

What needs a network is in test_other_clients_on_the_wire.py; tests/test_defects.py has the list of all.
"""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import attrs
import msgpack
import pytest
from tests.scripted import NEGOTIATED, ScriptedServer, event

from signalr_sdk import (
    ConnectionClosedError,
    ConnectionFailedError,
    ConnectionState,
    HubConnection,
    HubError,
    MessagePackProtocol,
    NegotiationError,
    Retry,
    RetryContext,
    SignalRError,
)
from signalr_sdk.interfaces import HttpResponse
from signalr_sdk.messages import CancelInvocation, Completion, HubMessage, Invocation, StreamItem

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


class AtOnce:
    """A policy that never waits and never gives up; it records what it was asked."""

    def __init__(self) -> None:
        self.asked: list[RetryContext] = []

    def next_delay(self, context: RetryContext) -> float:
        self.asked.append(context)
        return 0.0


def answer(**members: Any) -> HttpResponse:
    return HttpResponse(200, (), json.dumps(members).encode())


# Connecting


async def test_each_attempt_has_a_fresh_token_from_negotiate_on(server: ScriptedServer) -> None:
    """pysignalr starts without a token and then sends that of the attempt before; signalrcore asks for a token once."""
    tokens: list[str] = []

    async def token() -> str:
        tokens.append(f"T{len(tokens) + 1}")
        return tokens[-1]

    hub = server.hub(access_token=token, reconnect=AtOnce())
    first = await server.accept(hub)
    first.vanish()
    second = await server.sockets.get()
    await second.shake_hands()
    await hub.wait_connected()
    asked = [request.headers["Authorization"] for request in server.requests]
    upgrades = [socket.request.headers["Authorization"] for socket in (first, second)]
    assert asked == upgrades == ["Bearer T1", "Bearer T2"]
    assert tokens == ["T1", "T2"]
    await hub.stop()


async def test_headers_and_token_are_in_no_hub_message(server: ScriptedServer) -> None:
    """pysignalr and signalrcore put the token into messages; the Java client changes the user's headers."""
    headers = {"X-App": "1"}
    hub = server.hub(access_token="T1", headers=headers)
    socket = await server.accept(hub)
    call = asyncio.create_task(hub.invoke("Add", 1, 2))
    message = await socket.next()
    assert message == {"type": 1, "invocationId": message["invocationId"], "target": "Add", "arguments": [1, 2]}
    socket.answer(message)
    await call
    assert headers == {"X-App": "1"}
    assert socket.request.headers["X-App"] == "1"
    await hub.stop()


@pytest.mark.parametrize("what", ["refused", "503"])
async def test_a_server_that_is_away_at_the_start(server: ScriptedServer, what: str) -> None:
    """pysignalr does not retry the start. Without `retry_start` the start is an error."""
    tries = 0

    def negotiate() -> HttpResponse:
        nonlocal tries
        tries += 1
        if tries % 3 == 0:
            return answer(**NEGOTIATED)
        if what == "refused":
            raise ConnectionRefusedError("nobody there")
        return HttpResponse(503)

    server.negotiate = negotiate
    with pytest.raises(ConnectionFailedError):
        await server.hub().start()
    tries = 0
    hub = server.hub(retry_start=True, reconnect=Retry.delays(0, 0, 0))
    await server.accept(hub)
    assert tries == 3
    await hub.stop()


async def test_it_comes_back_as_often_as_it_is_lost(server: ScriptedServer) -> None:
    """pysignalr uses its retries up for good. After a clean end it comes back without a pause, as signalr-zero does.

    Each time it is a new negotiation, the policy is asked, and it learns that the connections do not last.
    """
    policy = AtOnce()
    hub = server.hub(reconnect=policy)
    socket = await server.accept(hub)
    for _ in range(12):
        socket.vanish()
        socket = await server.sockets.get()
        await socket.shake_hands()
        await hub.wait_connected()
    assert len(server.requests) == 13
    assert [context.attempt for context in policy.asked] == list(range(12))
    await hub.stop()


async def test_attempts_that_fail_are_not_the_last(server: ScriptedServer) -> None:
    """signalrcore stays in `reconnecting` for ever if the first attempt fails, and loses calls made meanwhile."""
    away = 5

    def negotiate() -> HttpResponse:
        nonlocal away
        if socket.closed.is_set() and away:
            away -= 1
            raise ConnectionRefusedError("nobody there")
        return answer(**NEGOTIATED)

    hub = server.hub(reconnect=AtOnce())
    socket = await server.accept(hub)
    server.negotiate = negotiate
    lost = asyncio.Event()
    hub.on_reconnecting(lambda _error: lost.set())
    socket.vanish()
    await lost.wait()
    call = asyncio.create_task(hub.invoke("Add"))
    again = await server.sockets.get()
    await again.shake_hands()
    again.answer(await again.next(), 3)
    assert await call == 3
    assert away == 0
    await hub.stop()


async def test_the_reason_is_kept_when_the_policy_gives_up(server: ScriptedServer) -> None:
    """After the last attempt, onclose of the JavaScript client gets `undefined`, and Closed of .NET's gets null."""
    hub = server.hub(reconnect=Retry.delays(0))
    told: list[Exception | None] = []
    over = asyncio.Event()
    hub.on_closed(told.append)
    hub.on_closed(lambda _error: over.set())
    socket = await server.accept(hub)
    server.negotiate = lambda: HttpResponse(503)
    socket.vanish()
    with pytest.raises(SignalRError) as caught:
        await hub.wait_closed()
    await over.wait()
    assert repr(told) == repr([caught.value])
    assert isinstance(told[0], NegotiationError)
    assert told[0].status == 503


async def test_each_attempt_begins_at_the_hub_with_the_users_token(server: ScriptedServer) -> None:
    """pysignalr keeps the redirect's URL and token, the Swift client its token; aiosignalr ignores both."""

    def negotiate() -> HttpResponse:
        if "hub.test" in server.requests[-1].url:
            return answer(url="http://service.test/client?hub=chat", accessToken="S1")
        return answer(**NEGOTIATED)

    server.negotiate = negotiate
    hub = server.hub(access_token="T1", reconnect=AtOnce())
    socket = await server.accept(hub)
    for _ in range(2):
        asked = [(request.url, request.headers["Authorization"]) for request in server.requests]
        assert [(url.partition("?")[0], token) for url, token in asked] == [
            ("http://hub.test/chat/negotiate", "Bearer T1"),
            ("http://service.test/client/negotiate", "Bearer S1"),
        ]
        assert socket.request.url == "http://service.test/client?hub=chat&id=secret-id"
        assert socket.request.headers["Authorization"] == "Bearer S1"
        server.requests.clear()
        socket.vanish()
        socket = await server.sockets.get()
        await socket.shake_hands()
        await hub.wait_connected()
    await hub.stop()


async def test_a_url_with_a_query(server: ScriptedServer) -> None:
    """aiosignalr puts `/negotiate` and `id` behind the query."""
    hub = HubConnection("http://hub.test/chat?tenant=7", http=server, reconnect=False)
    socket = await server.accept(hub)
    assert server.requests[0].url == "http://hub.test/chat/negotiate?tenant=7&negotiateVersion=1"
    assert socket.request.url == "http://hub.test/chat?tenant=7&id=secret-id"
    await hub.stop()


async def test_negotiation_stays_skipped(server: ScriptedServer) -> None:
    """aiosignalr negotiates when it reconnects."""
    hub = server.hub(skip_negotiation=True, reconnect=AtOnce())
    socket = await server.accept(hub)
    socket.vanish()
    await (await server.sockets.get()).shake_hands()
    await hub.wait_connected()
    assert server.requests == []
    await hub.stop()


async def test_a_start_that_is_refused_says_so(server: ScriptedServer) -> None:
    """signalrcore has an error for this and raises another one, and cannot be started again."""
    server.negotiate = lambda: HttpResponse(401)
    hub = server.hub()
    with pytest.raises(NegotiationError) as caught:
        await hub.start()
    assert caught.value.status == 401
    server.negotiate = lambda: answer(**NEGOTIATED)
    await server.accept(hub)
    await hub.stop()


# What arrives


async def test_what_is_unknown_is_ignored(server: ScriptedServer) -> None:
    """An unknown message type ends pysignalr and signalrcore; an unknown property or an Ack ends pysignalr."""
    hub = server.hub()
    socket = await server.accept(hub)
    got: list[Any] = []
    hub.on("x", got.append)
    socket.say({"type": 99, "more": {}}, {"type": 8, "sequenceId": 4}, {**event("x", 1), "unheardOf": [1]})
    call = asyncio.create_task(hub.invoke("Add"))
    asked = await socket.next()
    socket.say({"type": 3, "invocationId": asked["invocationId"], "result": 3, "unheardOf": None})
    assert await call == 3
    socket.say({"type": 6, "unheardOf": 1})
    socket.event("x", 2)
    done = asyncio.Event()
    hub.on("end", done.set)
    socket.event("end")
    await done.wait()
    assert got == [1, 2]
    await hub.stop()


async def test_a_message_may_be_split_anywhere(server: ScriptedServer) -> None:
    """Half a message ends the connection in the JavaScript client, pysignalr and signalrcore."""
    hub = server.hub()
    socket = await server.accept(hub)
    got: list[str] = []
    whole = asyncio.Event()
    hub.on("x", got.append)
    hub.on("end", whole.set)
    data = json.dumps(event("x", "Zoë"), ensure_ascii=False).encode() + b"\x1e"
    for cut in range(1, len(data)):
        socket.say(data[:cut])
        socket.say(data[cut:])
    socket.event("end")
    await whole.wait()
    assert got == ["Zoë"] * (len(data) - 1)
    await hub.stop()


async def test_several_messages_in_one_frame(server: ScriptedServer) -> None:
    """On long polling, signalrcore needs a poll for each message."""
    hub = server.hub()
    socket = await server.accept(hub)
    got: list[int] = []
    done = asyncio.Event()
    hub.on("x", got.append)
    hub.on("end", done.set)
    socket.say(*(event("x", n) for n in range(50)), event("end"))
    await done.wait()
    assert got == list(range(50))
    await hub.stop()


async def test_errors_of_the_hub_reach_the_caller(server: ScriptedServer) -> None:
    """pysignalr and signalrcore tell a global handler at best, and never the call or the stream."""
    hub = server.hub()
    socket = await server.accept(hub)
    call = asyncio.create_task(hub.invoke("Fail"))
    socket.fail(await socket.next(), "no luck")
    with pytest.raises(HubError, match="no luck"):
        await call
    item = asyncio.create_task(hub.stream("Fail").next())
    socket.fail(await socket.next(), "no luck either")
    with pytest.raises(HubError, match="no luck either"):
        await item
    assert hub.state is ConnectionState.CONNECTED
    await hub.stop()


@pytest.mark.parametrize("error", [None, "bye"])
async def test_a_close_that_allows_no_reconnect_is_the_end(server: ScriptedServer, error: str | None) -> None:
    """signalrcore, aiosignalr and signalr-zero reconnect; pysignalr and the Swift client ignore the Close."""
    hub = server.hub(reconnect=True)
    socket = await server.accept(hub)
    socket.say({"type": 7} if error is None else {"type": 7, "error": error})
    if error is None:
        await hub.wait_closed()
    else:
        with pytest.raises(ConnectionClosedError, match=error):
            await hub.wait_closed()
    assert hub.state is ConnectionState.DISCONNECTED
    assert len(server.requests) == 1


@pytest.mark.parametrize("error", [None, "bye"])
async def test_a_policy_may_reconnect_after_a_close_that_allows_no_reconnect(
    server: ScriptedServer, error: str | None
) -> None:
    policy = AtOnce()
    hub = server.hub(reconnect=policy)
    told: list[Exception] = []
    hub.on_reconnecting(told.append)
    socket = await server.accept(hub)
    socket.say({"type": 7} if error is None else {"type": 7, "error": error})
    await (await server.sockets.get()).shake_hands()
    await hub.wait_connected()
    asked = policy.asked[0].error
    assert isinstance(asked, ConnectionClosedError)
    assert (asked.reason, asked.allow_reconnect) == (error, False)
    await hub.stop()
    assert told == [asked]


async def test_a_close_that_allows_it_leads_to_a_reconnect(server: ScriptedServer) -> None:
    """pysignalr raises an error; the Java client ignores `allowReconnect`."""
    hub = server.hub(reconnect=AtOnce())
    socket = await server.accept(hub)
    socket.say({"type": 7, "error": "restart", "allowReconnect": True})
    await (await server.sockets.get()).shake_hands()
    await hub.wait_connected()
    await hub.stop()


async def test_handlers_of_one_event_may_take_it_differently(server: ScriptedServer) -> None:
    """The .NET client uses the first handler's types for all handlers; signalr-async has one handler per name."""
    hub = server.hub()
    got: list[Any] = []
    done = asyncio.Event()

    @hub.on("x")
    def typed(number: int, *rest: str) -> None:
        got.append((number, rest))

    @hub.on("x")
    def other(text: str, flag: bool) -> None:
        got.append((text, flag))
        done.set()

    socket = await server.accept(hub)
    socket.event("x", 1, True)
    await done.wait()
    assert got == [(1, (True,)), (1, True)]
    await hub.stop()


@pytest.mark.usefixtures("expected_errors")
async def test_lifecycle_handlers_are_isolated_and_can_be_removed(server: ScriptedServer) -> None:
    """In the JavaScript client an error skips other handlers, which nothing removes; .NET sees the last error only."""
    hub = server.hub(reconnect=Retry(wait=lambda _state: 0.0))
    order: list[str] = []

    def broken(name: str) -> Any:
        def handler(_argument: object) -> None:
            order.append(f"broken {name}")
            raise ValueError(name)

        return handler

    gone: list[Any] = []
    for name in ("connected", "reconnecting", "reconnected", "closed"):
        register = getattr(hub, f"on_{name}")
        register(broken(name))
        register(gone.append)
        register(lambda _argument, name=name: order.append(name))
    hub.off(handler=gone.append)
    errors: list[str] = []
    hub.on_error(lambda error: errors.append(str(error)))
    over = asyncio.Event()
    hub.on_closed(lambda _error: over.set())
    socket = await server.accept(hub)
    socket.vanish()
    socket = await server.sockets.get()
    await socket.shake_hands()
    await hub.wait_connected()
    socket.say({"type": 7})
    await hub.wait_closed()
    await over.wait()
    names = ["connected", "reconnecting", "connected", "reconnected", "closed"]
    assert order == [entry for name in names for entry in (f"broken {name}", name)]
    assert errors == names
    assert gone == []


# What is sent


async def test_nothing_of_the_last_connection_is_sent_on_the_next(
    server: ScriptedServer, caplog: pytest.LogCaptureFixture
) -> None:
    """A queue that was not emptied made the first reconnect of the JavaScript client fail."""
    hub = server.hub()
    socket = await server.accept(hub)
    socket.stalled.clear()
    await hub.send("Log", "old")
    socket.vanish()
    with pytest.raises(ConnectionClosedError):
        await hub.wait_closed()
    socket.stalled.set()
    socket = await server.accept(hub)
    await hub.send("Log", "new")
    assert (await socket.next())["arguments"] == ["new"]
    await hub.stop()


@attrs.define
class Reading:
    sensor_name: str
    values: list[int]


async def test_arguments_are_left_as_they_are(server: ScriptedServer) -> None:
    """signalrcore renames attributes of the caller's objects; the JavaScript client empties the caller's array."""

    async def stream() -> AsyncIterator[int]:
        yield 1

    hub = server.hub()
    socket = await server.accept(hub)
    reading = Reading("north", [1, 2])
    arguments = [reading, {"key": reading}, stream(), [3]]
    before = list(arguments)
    await hub.send("Store", *arguments)
    sent = {"sensorName": "north", "values": [1, 2]}
    assert (await socket.next())["arguments"] == [sent, {"key": sent}, [3]]
    assert arguments == before
    assert reading == Reading("north", [1, 2])
    assert vars_of(reading) == {"sensor_name", "values"}
    await hub.stop()


def vars_of(value: Any) -> set[str]:
    return {field.name for field in attrs.fields(type(value))}


async def test_calls_have_ids_of_their_own(server: ScriptedServer) -> None:
    """signalr-zero gives all its calls the id 0 (signalr-zero ids)."""
    hub = server.hub()
    socket = await server.accept(hub)
    calls = [asyncio.create_task(hub.invoke("Add", n)) for n in range(20)]
    asked = [await socket.next() for _ in calls]
    assert len({message["invocationId"] for message in asked}) == 20
    for message in reversed(asked):
        socket.answer(message, message["arguments"][0])
    assert await asyncio.gather(*calls) == list(range(20))
    await hub.stop()


# The end


async def test_run_tells_cancelled_from_failed(server: ScriptedServer) -> None:
    """pysignalr says `connected` after either; aiosignalr swallows CancelledError."""
    hub = server.hub()
    connected = asyncio.Event()
    hub.on_connected(lambda _id: connected.set())
    run = asyncio.create_task(hub.run())
    socket = await server.sockets.get()
    await socket.shake_hands()
    await connected.wait()
    run.cancel()
    with pytest.raises(asyncio.CancelledError):
        await run
    assert hub.state is ConnectionState.DISCONNECTED
    assert socket.closed.is_set()
    run = asyncio.create_task(hub.run())
    socket = await server.sockets.get()
    await socket.shake_hands()
    socket.vanish("cut")
    with pytest.raises(ConnectionClosedError, match="cut"):
        await run
    assert hub.state is ConnectionState.DISCONNECTED


# Without a connection


def binary(message: HubMessage) -> Any:
    """Return the message as it is on the wire, without its length."""
    return msgpack.unpackb(MessagePackProtocol().encode(message)[1:])


def test_the_headers_of_messagepack_are_a_map() -> None:
    """aiosignalr writes the integer 128 in place of the headers, which ends the connection."""
    assert binary(StreamItem("1", 5)) == [2, {}, "1", 5]
    assert binary(Completion("1", error="e")) == [3, {}, "1", 1, "e"]
    assert binary(Completion("1")) == [3, {}, "1", 2]
    assert binary(Completion("1", 4, has_result=True)) == [3, {}, "1", 3, 4]
    assert binary(CancelInvocation("1")) == [5, {}, "1"]


def test_messagepack_values_that_others_refuse() -> None:
    """In pysignalr, maps with integer keys end the connection, and a datetime cannot be sent."""
    protocol = MessagePackProtocol()
    decoded = protocol.decode(msgpack.packb([1, {}, None, "x", [{1: "one", 2: {3: None}}], []]))
    assert isinstance(decoded, Invocation)
    assert decoded.arguments == [{1: "one", 2: {3: None}}]
    now = datetime(2026, 2, 3, 4, 5, 6, tzinfo=UTC)
    body = msgpack.unpackb(protocol.encode(Invocation("x", [now]))[1:], timestamp=3)
    assert body[4] == [now]


_SNAPSHOT = """
import sys, types
import aiohttp, asyncio, json, msgpack, attrs, tenacity
names = [name for name in sys.modules if name.partition(".")[0] in {"aiohttp", "asyncio", "json", "msgpack", "attr"}]
def look():
    found = {}
    for name in names:
        for key, value in vars(sys.modules[name]).items():
            if isinstance(value, types.ModuleType):
                continue  # a submodule that is loaded later shows up in its package
            found[name, key] = id(value)
            if isinstance(value, type):
                found.update({(name, key, member): id(what) for member, what in vars(value).items()})
    return found
before = look()
import signalr_sdk
after = look()
changed = [key for key in before if after.get(key) != before[key] and "abc" not in key[-1] and "counter" not in key[-1]]
assert not changed, changed
"""


@pytest.mark.timeout(60)
def test_importing_it_changes_no_other_package() -> None:
    """pysignalr replaces a method of `websockets` for the whole process."""
    subprocess.run([sys.executable, "-c", _SNAPSHOT], check=True, timeout=50)
