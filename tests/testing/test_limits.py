"""Clients that are silent, slow, hostile or gone."""

from __future__ import annotations

import asyncio
import base64
import io
import json
from collections.abc import AsyncIterator  # the server looks the types of the hub's methods up
from typing import TYPE_CHECKING, Any

import aiohttp
import pytest
from tests.raw_client import END, SHAKE_HANDS, RawClient, call, until

from signalr_sdk import ConnectionClosedError, HubConnection, HubError, Transport, Upload
from signalr_sdk.testing import Hub, HubException, HubServer, client_streams, running_invocations, transport_connection

if TYPE_CHECKING:
    from signalr_sdk.testing.connected_client import ConnectedClient


class Busy(Hub):
    """Records in `seen` what happens; each test has a class of its own."""

    seen: list[Any]
    go_on: asyncio.Event

    async def on_disconnected(self, error: Exception | None) -> None:
        self.seen.append(error)

    async def add(self, a: int, b: int) -> int:
        return a + b

    async def flood(self, size: int) -> AsyncIterator[str]:
        text = "x" * size
        sent = 0
        try:
            while True:
                yield text
                sent += 1
                self.seen.append(sent)
        except BaseException as error:
            self.seen.append(type(error))
            raise

    async def wait_stream(self) -> AsyncIterator[int]:
        yield 1
        try:
            await asyncio.Event().wait()
        except BaseException as error:
            self.seen.append(type(error))
            raise

    async def slow_sum(self, numbers: AsyncIterator[int]) -> int:
        self.seen.append("started")
        await self.go_on.wait()
        return sum([number async for number in numbers])

    async def hold(self) -> int:
        self.seen.append("held")
        await self.go_on.wait()
        return len(self.seen)

    async def ask(self) -> str:
        try:
            return str(await self.clients.caller.invoke("Ask", result_type=int))
        except HubException as error:
            self.seen.append(str(error))
            raise


@pytest.fixture
def hub_class() -> type[Busy]:
    return type("Own", (Busy,), {"seen": [], "go_on": asyncio.Event()})


def only_client(server: HubServer) -> ConnectedClient:
    (client,) = server._hubs["/hub"].registry.clients.values()
    return client


# Silence


async def test_no_handshake(hub_class: type[Busy]) -> None:
    async with (
        HubServer({"/hub": hub_class}, handshake_timeout=0.01) as server,
        RawClient(server.url("/hub"), handshake=None) as client,
    ):
        assert await client.hear_all() == ['{"error":"Handshake was canceled."}']
        assert client.code == 1000
    assert hub_class.seen == []


@pytest.mark.parametrize("clean", [True, False])
async def test_gone_before_the_handshake(clean: bool, hub_class: type[Busy]) -> None:
    async with HubServer({"/hub": hub_class}) as server:
        (endpoint,) = server._endpoints
        async with RawClient(server.url("/hub"), handshake=None) as client:
            if not clean:
                client.socket._response.connection.transport.abort()  # type: ignore[union-attr]
        await until(lambda: not endpoint.connections)
    assert hub_class.seen == []


async def test_pings_go_out(hub_class: type[Busy]) -> None:
    async with (
        HubServer({"/hub": hub_class}, keep_alive=0.01, client_timeout=None) as server,
        RawClient(server.url("/hub")) as client,
    ):
        await client.hears(["{}", '{"type":6}', '{"type":6}'])


async def test_a_timeout_without_pings_of_the_server(hub_class: type[Busy]) -> None:
    async with (
        HubServer({"/hub": hub_class}, keep_alive=None, client_timeout=0.05) as server,
        RawClient(server.url("/hub")) as client,
    ):
        await client.say('{"type":6}' + END)
        _shaken, end = await client.hear_all()
    assert json.loads(end) == {"type": 7, "error": "Connection closed with an error.", "allowReconnect": True}


async def test_who_never_polls_is_forgotten(hub_class: type[Busy], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transport_connection, "_GAP", 0.01)
    async with HubServer({"/hub": hub_class}) as server, aiohttp.ClientSession() as session:
        (endpoint,) = server._endpoints
        await negotiated(session, server)
        await until(lambda: not endpoint.connections)
        url = await negotiated(session, server)
        async with session.get(url) as answer:
            assert answer.status == 200
        async with session.post(url, data=SHAKE_HANDS) as answer:
            assert answer.status == 200
        await until(lambda: not endpoint.connections and hub_class.seen)
    assert isinstance(hub_class.seen[0], ConnectionClosedError)


async def negotiated(session: aiohttp.ClientSession, server: HubServer) -> str:
    async with session.post(server.url("/hub/negotiate?negotiateVersion=1")) as answer:
        return f"{server.url('/hub')}?id={(await answer.json())['connectionToken']}"


async def test_polls(hub_class: type[Busy]) -> None:
    async with HubServer({"/hub": hub_class}, poll_timeout=0.01) as server, aiohttp.ClientSession() as session:
        url = await negotiated(session, server)
        for _ in range(3):
            async with session.get(url) as answer:
                assert (answer.status, await answer.read()) == (200, b"")


async def test_the_newer_poll_wins(hub_class: type[Busy]) -> None:
    async with HubServer({"/hub": hub_class}) as server, aiohttp.ClientSession() as session:
        (endpoint,) = server._endpoints
        url = await negotiated(session, server)
        (connection,) = endpoint.connections.values()
        async with session.get(url) as answer:
            assert answer.status == 200
        first = asyncio.create_task(session.get(url).__aenter__())
        await until(lambda: connection.poll is not None)
        second = asyncio.create_task(session.get(url).__aenter__())
        assert (await first).status == 204
        async with session.post(url, data=SHAKE_HANDS) as answer:
            assert answer.status == 200
        assert await (await second).text() == "{}" + END
        async with session.delete(url) as answer:
            assert answer.status == 202


async def test_a_poll_that_is_let_go_of_loses_nothing(hub_class: type[Busy]) -> None:
    async with HubServer({"/hub": hub_class}) as server, aiohttp.ClientSession() as session:
        (endpoint,) = server._endpoints
        url = await negotiated(session, server)
        (connection,) = endpoint.connections.values()
        async with session.get(url) as answer:
            assert answer.status == 200
        poll = asyncio.create_task(session.get(url).__aenter__())
        await until(lambda: connection.poll is not None)
        poll.cancel()
        await until(lambda: connection.poll is None)
        async with session.post(url, data=SHAKE_HANDS) as answer:
            assert answer.status == 200
        async with session.get(url) as answer:
            assert await answer.text() == "{}" + END


# Slow


@pytest.mark.parametrize("transport", [Transport.WEBSOCKETS, Transport.SERVER_SENT_EVENTS])
async def test_a_client_that_reads_nothing_is_dropped(transport: Transport, hub_class: type[Busy]) -> None:
    size = 100_000
    flood = call("Flood", size, type=4)
    async with HubServer({"/hub": hub_class}, send_timeout=0.2) as server:
        _host, port = "127.0.0.1", server.port
        reader, writer = await asyncio.open_connection(_host, port, limit=1024)
        async with aiohttp.ClientSession() as session:
            url = await negotiated(session, server)
            path = url.partition(str(port))[2]
            head = f"GET {path} HTTP/1.1\r\nHost: localhost\r\n"
            if transport is Transport.WEBSOCKETS:
                key = base64.b64encode(bytes(16)).decode()
                head += f"Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Key: {key}\r\n"
                head += "Sec-WebSocket-Version: 13\r\n"
                writer.write((head + "\r\n").encode() + frame(SHAKE_HANDS) + frame(flood))
            else:
                writer.write((head + "Accept: text/event-stream\r\n\r\n").encode())
                await reader.read(1)
                async with session.post(url, data=SHAKE_HANDS + flood) as answer:
                    assert answer.status == 200
            await until(lambda: len([note for note in hub_class.seen if not isinstance(note, int)]) == 2)
        sent = [note for note in hub_class.seen if isinstance(note, int)]
        how, error = sorted((note for note in hub_class.seen if not isinstance(note, int)), key=is_error)
        # The hub has written only what fits into the buffers of the sockets, and then waited.
        assert len(sent) * size < 30_000_000
        assert how in (asyncio.CancelledError, GeneratorExit)
        assert isinstance(error, ConnectionClosedError)
        writer.close()


def is_error(note: object) -> bool:
    return isinstance(note, Exception)


def frame(text: str) -> bytes:
    """Return a masked WebSocket frame of a short text."""
    data = text.encode()
    assert len(data) < 126
    return bytes([0x81, 0x80 | len(data), 0, 0, 0, 0]) + data


async def test_uploads_wait_for_the_hub_method(hub_class: type[Busy], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client_streams, "_ITEMS", 10)
    async with HubServer({"/hub": hub_class}) as server, RawClient(server.url("/hub")) as client:
        await client.say(call("SlowSum", streamIds=["7"]))
        await until(lambda: hub_class.seen)
        item = '{"type":2,"invocationId":"7","item":1}' + END
        for _ in range(20):
            await client.say(item)
        (upload,) = only_client(server).invocations._streams_up.values()
        await until(lambda: not upload.room.done())
        for _ in range(280):
            await client.say(item)
        assert len(upload._items) <= 20
        await client.say('{"type":3,"invocationId":"7"}' + END)
        hub_class.go_on.set()
        assert (await client.messages())[-1]["result"] == 300


async def test_large_items_wait_too(hub_class: type[Busy], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client_streams, "_BYTES", 10)
    async with HubServer({"/hub": hub_class}) as server, RawClient(server.url("/hub")) as client:
        await client.say(call("SlowSum", streamIds=["7"]), '{"type":2,"invocationId":"7","item":1}' + END)
        await until(lambda: hub_class.seen)
        (upload,) = only_client(server).invocations._streams_up.values()
        await until(lambda: not upload.room.done())
        # The client closes the connection while the server does not read from it.
        await client.socket.close()
        await until(lambda: None in hub_class.seen)
        hub_class.go_on.set()


async def test_items_after_the_end_of_a_stream_are_dropped() -> None:
    from signalr_sdk.messages import StreamItem

    upload = client_streams.ClientStream()
    upload.receive(StreamItem("7", 1))
    upload.end(None)
    upload.end("late")
    upload.receive(StreamItem("7", 2))
    assert [item async for item in upload] == [1]


async def test_calls_that_pile_up(hub_class: type[Busy], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(running_invocations, "_LIMIT", 3)
    async with (
        HubServer({"/hub": hub_class}, parallel_invocations=2) as server,
        RawClient(server.url("/hub")) as client,
    ):
        await client.say(*(call("Hold", name=str(number)) for number in range(3)))
        await until(lambda: len(hub_class.seen) == 2)
        client_seen = only_client(server)
        await until(lambda: len(client_seen.invocations._tasks) == 3)
        await client.say(*(call("Hold", name=str(number)) for number in range(3, 10)))
        await until(lambda: client_seen._buffers._in._bytes)
        assert len(client_seen.invocations._tasks) == 3
        hub_class.go_on.set()
        assert await client.hear() == "{}"
        heard = [json.loads(await client.hear() or "") for _ in range(10)]
    assert sorted(int(message["invocationId"]) for message in heard) == list(range(10))


# Hostile


@pytest.mark.parametrize(
    "garbage",
    [
        b"\x1e\x1e\x1e",
        b"\x00" * 1000,
        b"\xff\xfe" + b"\x1e",
        b'{"type":[]}\x1e',
        b'{"type":1}\x1e',
        b"[" * 100_000 + b"\x1e",
    ],
    ids=range(6),
)
@pytest.mark.parametrize("shaken", [True, False])
async def test_garbage(garbage: bytes, shaken: bool, hub_class: type[Busy]) -> None:
    async with HubServer({"/hub": hub_class}, handshake_timeout=0.5) as server:
        async with RawClient(server.url("/hub"), handshake=SHAKE_HANDS if shaken else None) as client:
            await client.say(garbage, garbage + END.encode())
            assert await client.hear_all()
        async with HubConnection(server.url("/hub"), reconnect=False) as hub:
            assert await hub.invoke("Add", 1, 2) == 3


async def test_garbage_in_messagepack(hub_class: type[Busy]) -> None:
    async with HubServer({"/hub": hub_class}, detailed_errors=True) as server:
        for garbage in (b"\x01\xc1", b"\xff\xff\xff\xff\xff\xff", b"\x02\x91\x01"):
            async with RawClient(server.url("/hub"), '{"protocol":"messagepack","version":1}' + END) as client:
                await client.say(garbage)
                # The Close message may come in one frame with the answer to the handshake.
                heard = b""
                while (message := await client.socket.receive()).type is aiohttp.WSMsgType.BINARY:
                    heard += message.data
            assert heard.startswith(b"{}" + END.encode())
            assert b"InvalidDataException" in heard
            assert message.data == 1000


async def test_huge_messages(hub_class: type[Busy]) -> None:
    async with HubServer({"/hub": hub_class}, message_bytes=1000, detailed_errors=True) as server:
        async with RawClient(server.url("/hub")) as client:
            await client.say("x" * 1001)
            _shaken, end = await client.hear_all()
        assert "The maximum message size of 1000B was exceeded." in end
        async with RawClient(server.url("/hub")) as client:
            assert await client.hear() == "{}"
            await client.say("x" * 3_000_000)
            assert await client.hear_all() == []
            assert client.code == 1009
        async with aiohttp.ClientSession() as session:
            async with session.post(await negotiated(session, server), data=io.BytesIO(b"x" * 3_000_000)) as answer:
                assert answer.status == 413
            with pytest.raises(aiohttp.WSServerHandshakeError):
                await session.ws_connect(server.url("/hub"), headers={"Sec-WebSocket-Version": "1"})


# Ends


async def test_a_cancelled_stream_ends_its_generator(hub_class: type[Busy]) -> None:
    async with HubServer({"/hub": hub_class}) as server, RawClient(server.url("/hub")) as client:
        await client.say(call("WaitStream", type=4))
        await client.hears(["{}", '{"type":2,"invocationId":"1","item":1}'])
        await client.say('{"type":5,"invocationId":"1"}' + END)
        await client.hears(['{"type":3,"invocationId":"1"}'])
        assert hub_class.seen == [asyncio.CancelledError]
        # A stream that is cancelled in the frame of its invocation never runs, and has a completion all the same.
        await client.say(call("WaitStream", type=4) + '{"type":5,"invocationId":"1"}' + END)
        assert (await client.messages())[-1] == {"type": 3, "invocationId": "1"}


async def test_streams_end_with_their_client(hub_class: type[Busy]) -> None:
    async with HubServer({"/hub": hub_class}) as server:
        async with RawClient(server.url("/hub")) as client:
            await client.say(call("WaitStream", type=4))
            await client.hears(["{}", '{"type":2,"invocationId":"1","item":1}'])
        await until(lambda: len(hub_class.seen) == 2)
    assert asyncio.CancelledError in hub_class.seen


async def test_uploads_end_with_their_client(hub_class: type[Busy]) -> None:
    async with HubServer({"/hub": hub_class}) as server:
        async with RawClient(server.url("/hub")) as client:
            await client.say(call("SlowSum", streamIds=["7"]))
            await until(lambda: hub_class.seen)
        hub_class.go_on.set()
        await until(lambda: not server._endpoints[0].connections)
    assert hub_class.seen == ["started", None]


async def test_questions_end_with_their_client(hub_class: type[Busy]) -> None:
    async with HubServer({"/hub": hub_class}) as server:
        async with RawClient(server.url("/hub")) as client:
            await client.say(call("Ask"))
            await client.hears(["{}", '{"type":1,"invocationId":"s1","target":"Ask","arguments":[]}'])
        await until(lambda: len(hub_class.seen) == 2)
    assert set(hub_class.seen) == {None, "The client has gone."}


@pytest.mark.parametrize(
    ("answer", "text"),
    [
        ('"result":7', None),
        ('"error":"no"', "no"),
        ('"result":"x"', "Error trying to deserialize result to int. the value 'x' is no int: str where int is wanted"),
    ],
)
async def test_answers(answer: str, text: str | None, hub_class: type[Busy]) -> None:
    async with HubServer({"/hub": hub_class}) as server, RawClient(server.url("/hub")) as client:
        await client.say(call("Ask"))
        await client.hears(["{}", '{"type":1,"invocationId":"s1","target":"Ask","arguments":[]}'])
        await client.say(f'{{"type":3,"invocationId":"s1",{answer}}}' + END)
        (message,) = await client.messages()
    if text is None:
        assert message["result"] == "7"
    else:
        assert message["error"] == f"An unexpected error occurred invoking 'Ask' on the server. HubException: {text}"


class Leaving(Hub):
    async def first(self, numbers: AsyncIterator[int]) -> int:
        async for number in numbers:
            return number
        raise HubException("nothing came")


@pytest.mark.parametrize("transport", Transport)
async def test_a_method_that_leaves_items_behind_ends_the_connection_when_asked(transport: Transport) -> None:
    """As in ASP.NET Core, where the buffer takes 10 items by default; 8 items leave at once, and one is taken."""
    for buffer, survives in ((6, False), (7, True), (None, True)):
        async with (
            HubServer({"/chat": Leaving}, stream_buffer=buffer, detailed_errors=True) as server,
            HubConnection(server.url("/chat"), transports=transport, reconnect=False) as hub,
        ):

            async def numbers() -> AsyncIterator[int]:
                for number in range(8):
                    yield number
                await asyncio.Event().wait()

            assert await hub.invoke("First", numbers()) == 0
            if survives:
                with pytest.raises(HubError, match="nothing came"):
                    await hub.invoke("First", Upload([]))
                continue
            with pytest.raises(ConnectionClosedError) as caught:
                await hub.wait_closed()
            text = "Connection closed with an error. ChannelClosedException: The channel has been closed."
            assert (caught.value.reason, caught.value.allow_reconnect) == (text, True)
