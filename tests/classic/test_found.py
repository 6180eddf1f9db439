"""What reviews have found in the classic client, each in a test that failed then."""

from __future__ import annotations

import asyncio
import json
import logging
import time
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import pytest
from aiohttp import web
from tests.classic.test_resuming import play
from tests.servers import app_server

from signalr_sdk import (
    ConnectionClosedError,
    ConnectionFailedError,
    Limits,
    NegotiationError,
    RemoteProtocolError,
    Timeouts,
    Transport,
)
from signalr_sdk.classic import HubConnection, PersistentConnection
from signalr_sdk.classic.hubs_script import read_script
from signalr_sdk.classic.json_codec import ClassicJson
from signalr_sdk.classic.opening import OpenConnection
from signalr_sdk.classic.session import ClassicSession, HubMessages, RawMessages
from signalr_sdk.testing import ClassicHub, ClassicHubServer, RawHandler

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    from tests.classic.test_resuming import World

    Answer = Callable[[web.Request], Awaitable[web.StreamResponse]]

POSTS = pytest.mark.parametrize("transport", [Transport.SERVER_SENT_EVENTS, Transport.LONG_POLLING])


@asynccontextmanager
async def hostile(answers: dict[str, Answer], **negotiated: Any) -> AsyncIterator[str]:
    """Run a server that answers as the test says; yield its URL."""
    members: dict[str, Any] = {
        "Url": "/signalr",
        "ConnectionToken": "a token",
        "ConnectionId": "an id",
        "KeepAliveTimeout": 20.0,
        "DisconnectTimeout": 30.0,
        "ConnectionTimeout": 110.0,
        "TryWebSockets": False,
        "ProtocolVersion": "2.0",
        "TransportConnectTimeout": 5.0,
        "LongPollDelay": 0.0,
        **negotiated,
    }

    async def handle(request: web.Request) -> web.StreamResponse:
        command = request.match_info["command"]
        if command in answers:
            return await answers[command](request)
        return web.json_response(members if command == "negotiate" else {"Response": "started"})

    app = web.Application()
    app.router.add_route("*", "/signalr/{command}", handle)
    async with app_server(app) as url:
        yield f"{url}/signalr"


async def event_stream(request: web.Request, *events: str, stays: bool = False) -> web.StreamResponse:
    """Answer with an event stream that has these events; if `stays` is true, the stream does not end."""
    response = web.StreamResponse(headers={"Content-Type": "text/event-stream"})
    await response.prepare(request)
    await response.write("".join(f"data: {event}\n\n" for event in events).encode())
    while stays and request.transport is not None:  # noqa: ASYNC110 - until the client is gone
        await asyncio.sleep(0.01)
    return response


# Sending


@POSTS
async def test_stop_sends_what_was_sent(transport: Transport) -> None:
    done: list[int] = []
    begun = asyncio.Event()

    class Chat(ClassicHub):
        async def note(self, number: int) -> None:
            begun.set()
            await asyncio.sleep(0.01)
            done.append(number)

    async with ClassicHubServer({"Chat": Chat}) as server:
        connection = HubConnection(server.url(), transports=transport, timeouts=Timeouts(close=60))
        chat = connection.hub("Chat")
        await connection.start()
        sends = [asyncio.ensure_future(chat.send("Note", number)) for number in range(5)]
        await begun.wait()
        await connection.stop()
        await asyncio.gather(*sends)
        assert done == [0, 1, 2, 3, 4]


@POSTS
async def test_of_a_send_that_stop_cuts_nobody_knows_whether_it_has_arrived(
    transport: Transport, caplog: pytest.LogCaptureFixture
) -> None:
    begun = asyncio.Event()

    class Chat(ClassicHub):
        async def hang(self) -> None:
            begun.set()
            await asyncio.Event().wait()

    async with ClassicHubServer({"Chat": Chat}) as server:
        connection = HubConnection(server.url(), transports=transport, timeouts=Timeouts(close=0.3))
        chat = connection.hub("Chat")
        await connection.start()
        first = asyncio.ensure_future(chat.send("Hang"))
        await begun.wait()
        second = asyncio.ensure_future(chat.send("Hang"))
        await asyncio.sleep(0)  # it waits for the first
        await connection.stop()
        with pytest.raises(ConnectionClosedError, match="not known what has arrived"):
            await first
        with pytest.raises(ConnectionClosedError, match="this was not sent"):
            await second
    assert "1 messages were not sent" in caplog.text


@POSTS
async def test_flush_waits_only_for_what_was_sent_before(transport: Transport) -> None:
    class Chat(ClassicHub):
        async def note(self) -> None:
            await asyncio.sleep(0.001)

    async with ClassicHubServer({"Chat": Chat}) as server:
        connection = HubConnection(server.url(), transports=transport)
        chat = connection.hub("Chat")

        async def send_for_ever() -> None:
            while True:
                await chat.send("Note")

        async with connection:
            sending = [asyncio.ensure_future(send_for_ever()) for _ in range(3)]
            await asyncio.sleep(0)
            await connection.flush()
            for each in sending:
                each.cancel()
            await asyncio.wait(sending)


async def test_stop_keeps_time_for_the_abort(monkeypatch: pytest.MonkeyPatch) -> None:
    async def never(_connection: OpenConnection) -> None:
        await asyncio.Event().wait()

    async with ClassicHubServer({"Chat": ClassicHub}) as server:
        connection = HubConnection(server.url(), transports="WebSockets", timeouts=Timeouts(close=0.9))
        connection.hub("Chat")
        await connection.start()
        monkeypatch.setattr(OpenConnection, "close_transport", never)
        await connection.stop()
        assert (await server.wait_disconnected()).error is None


# Losses


@pytest.mark.parametrize("status", [404, 503])
def test_a_late_refusal_of_a_reconnect_ends_in_a_new_connection(status: int) -> None:
    async def body(world: World) -> None:
        _ = world.server.faults.delay("reconnect", 6.0, times=None)
        _ = world.server.faults.answer("reconnect", status, times=None)
        began = world.network.time
        await world.drop()
        await world.until("connected", 2)
        assert world.network.time - began < (10 if status == 404 else 25)

    play(body, Transport.LONG_POLLING, disconnect=15.0)


def test_a_ping_that_is_refused_ends_the_attempts_to_reconnect() -> None:
    async def body(world: World) -> None:
        _ = world.server.faults.answer("reconnect", 503, times=None)
        _ = world.server.faults.answer("ping", 401)
        began = world.network.time
        await world.drop()
        await world.until("connected", 2)
        assert world.network.time - began < 5

    play(body, Transport.WEBSOCKETS, options={"ping": 0.5})


async def test_receive_in_a_second_life() -> None:
    class Echo(RawHandler):
        async def on_received(self, data: str) -> None:
            await self.connections.send(self.context.connection_id, data)

    async with ClassicHubServer({}, raw={"/raw": Echo}) as server:
        connection = PersistentConnection(server.url("/raw"))
        connection.on_received(lambda _value: None)
        for _life in range(2):
            async with connection:
                receiving = asyncio.ensure_future(connection.receive())
                await asyncio.sleep(0)
                await connection.send("one")
                assert await receiving == "one"


async def test_the_error_of_a_call_that_was_too_large_says_so() -> None:
    class Chat(ClassicHub):
        async def length(self, text: str) -> int:
            return len(text)

    async with ClassicHubServer({"Chat": Chat}) as server:
        connection = HubConnection(server.url(), transports="WebSockets")
        chat = connection.hub("Chat")
        async with connection:
            with pytest.raises(
                ConnectionClosedError, match=r"the call has 700\d\d bytes, and unless it is set up otherwise"
            ):
                await chat.invoke("Length", "x" * 70_000)


async def test_a_hub_that_the_server_does_not_know_is_not_asked_for_again() -> None:
    async with ClassicHubServer({"Chat": ClassicHub}) as server:
        connection = HubConnection(server.url(), retry_start=True)
        connection.hub("Chatt")
        with pytest.raises(NegotiationError, match="'Chatt' Hub could not be resolved"):
            await connection.start()


# Hostile servers


@pytest.mark.parametrize("member", ["M", "C", "L"])
def test_a_value_that_is_nested_deeply(member: str) -> None:
    session = ClassicSession(HubMessages(Inbox(), {}), ClassicJson())
    value = "[" * 1000 + "]" * 1000
    with pytest.raises(RemoteProtocolError):
        session.receive(f'{{"{member}":{"[" if member == "M" else ""}{value}{"]" if member == "M" else ""}}}'.encode())


class Inbox:
    def __init__(self) -> None:
        self.sizes: list[int] = []

    def events(self, _targets: list[str], _arguments: list[Any], sizes: list[int]) -> None:
        self.sizes += sizes


def test_each_waiting_message_counts() -> None:
    inbox = Inbox()
    session = ClassicSession(RawMessages(inbox), ClassicJson())
    for deliver, arguments in session.receive(b'{"C":"d-1","M":[1,2,3]}'):
        deliver(*arguments)
    assert sum(inbox.sizes) >= 3 * 64


def test_an_error_does_not_show_the_place() -> None:
    with pytest.raises(RemoteProtocolError) as raised:
        ClassicJson().decode(b'{"C" : "d-CURSOR-B,0","G":"GROUPS","M":[oh]}')
    assert "CURSOR" not in str(raised.value)
    assert "GROUPS" not in str(raised.value)


@pytest.mark.parametrize("line", ["///function () {\n", "///function () {\n" + " " * 199, "function (a"])
def test_a_hostile_script_is_read_in_no_time(line: str) -> None:
    script = line * (2**21 // len(line))
    began = time.process_time()
    assert read_script(script) == {}
    assert time.process_time() - began < 10.0


async def test_messages_before_the_first_envelope_are_limited() -> None:
    event = json.dumps({"C": "d-1", "M": [{"H": "chat", "M": "m", "A": ["x" * 1000]}]})

    async def connect(request: web.Request) -> web.StreamResponse:
        return await event_stream(request, *[event] * 100, stays=True)

    async with hostile({"connect": connect}) as url:
        connection = HubConnection(url, transports="ServerSentEvents", limits=Limits(buffered_bytes=10_000))
        connection.hub("chat")
        with pytest.raises(ConnectionFailedError, match=r"not that it is ready \(Limits.buffered_bytes\)"):
            await connection.start()


async def test_the_next_transport_knows_nothing_of_a_transport_that_has_failed() -> None:
    asked: list[str] = []

    async def connect(request: web.Request) -> web.StreamResponse:
        if request.query["transport"] == "serverSentEvents":
            return await event_stream(request, '{"C":"d-1","S":1,"M":[]}', "garbage")
        asked.append(await request.text())
        return web.Response(text='{"C":"d-2","S":1,"M":[]}')

    async with hostile({"connect": connect}) as url:
        connection = HubConnection(url, transports=["ServerSentEvents", "LongPolling"])
        connection.hub("chat")
        try:
            await connection.start()
        finally:
            await connection.stop()
    assert "d-1" not in asked[0]


async def test_the_refusal_of_a_server_is_short_and_on_one_line() -> None:
    async def connect(request: web.Request) -> web.StreamResponse:
        return await event_stream(request, json.dumps({"E": "no\nway " + "x" * 10_000}))

    async with hostile({"connect": connect}) as url:
        connection = HubConnection(url, transports="ServerSentEvents")
        connection.hub("chat")
        with pytest.raises(ConnectionFailedError, match="no way x") as raised:
            await connection.start()
    assert len(str(raised.value)) < 1000


async def test_an_http_client_that_raises_anything_at_the_abort(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    from signalr_sdk._http.request_sender import RequestSender

    request = RequestSender.request

    async def raising(self: RequestSender, method: str, url: str, **more: Any) -> Any:
        if "/abort" in url:
            raise ValueError("oh")
        return await request(self, method, url, **more)

    caplog.set_level(logging.DEBUG, "signalr_sdk")
    async with ClassicHubServer({"Chat": ClassicHub}) as server:
        monkeypatch.setattr(RequestSender, "request", raising)
        connection = HubConnection(server.url())
        connection.hub("Chat")
        await connection.start()
        await connection.stop()
    assert "the request to abort the connection failed: oh" in caplog.text
