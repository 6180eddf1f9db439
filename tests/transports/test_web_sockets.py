"""The WebSockets transport, over aiohttp, against servers that behave and servers that do not."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import math
import struct
import sys
from contextlib import AsyncExitStack, asynccontextmanager
from typing import TYPE_CHECKING, Any

import aiohttp
import pytest
from aiohttp import web
from tests.raw_client import until
from tests.servers import Authority, RawConnection, Request, app_server, assert_hides, http_proxy, raw_server

from signalr_sdk._http.aiohttp_client import AiohttpClient
from signalr_sdk._http.request_sender import RequestSender
from signalr_sdk._transports.contract import ActiveTransport, TransportSettings
from signalr_sdk._transports.opening import open_transport
from signalr_sdk._transports.web_sockets import WebSocketsTransport
from signalr_sdk.errors import ConnectionClosedError, ConnectionFailedError, RemoteProtocolError, TransportError
from signalr_sdk.interfaces import HttpRequest, WebSocket, WebSocketOptions
from signalr_sdk.options import Timeouts, TransferFormat, Transport

if TYPE_CHECKING:
    import ssl
    from collections.abc import AsyncIterator, Awaitable, Callable

SECRET = "query-secret"
TOKEN = "token-secret"

TEXT, BINARY, CLOSE, PING, PONG = 1, 2, 8, 9, 10


class Frames:
    """The server's end of a WebSocket, frame by frame."""

    def __init__(self, connection: RawConnection, request: Request) -> None:
        self.connection = connection
        self.request = request

    def write(self, opcode: int, payload: bytes = b"") -> None:
        """Send one frame."""
        size = len(payload)
        length = (
            bytes([size]) if size < 126 else struct.pack("!BH" if size < 65536 else "!BQ", 126 + (size > 65535), size)
        )
        self.connection.write(bytes([0x80 | opcode]) + length + payload)

    async def read(self) -> tuple[int, bytes]:
        """Read one frame."""
        read = self.connection.reader.readexactly
        opcode, size = await read(2)
        size &= 0x7F
        if size == 126:
            size = int.from_bytes(await read(2))
        elif size == 127:
            size = int.from_bytes(await read(8))
        mask = await read(4)
        masked = await read(size)
        key = int.from_bytes((mask * (size // 4 + 1))[:size])
        return opcode & 0x0F, (int.from_bytes(masked) ^ key).to_bytes(size)

    async def say_goodbye(self) -> None:
        """Answer the client's closing message; what comes before it is ignored."""
        while (await self.read())[0] != CLOSE:
            pass
        self.write(CLOSE, struct.pack("!H", 1000))


def accept(connection: RawConnection, request: Request) -> Frames:
    key = request.headers["sec-websocket-key"] + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
    proof = base64.b64encode(hashlib.sha1(key.encode(), usedforsecurity=False).digest()).decode()
    connection.write(
        b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        + f"Sec-WebSocket-Accept: {proof}\r\n\r\n".encode()
    )
    return Frames(connection, request)


def web_socket_server(
    serve: Callable[[Frames], Awaitable[None]],
) -> Callable[[RawConnection], Awaitable[None]]:
    async def serve_connection(connection: RawConnection) -> None:
        request = await connection.request()
        if request is not None:
            await serve(accept(connection, request))

    return serve_connection


async def echo(frames: Frames) -> None:
    while True:
        opcode, payload = await frames.read()
        frames.write(opcode, payload)
        if opcode == CLOSE:
            return


@asynccontextmanager
async def opened(
    url: str,
    *,
    session: aiohttp.ClientSession | None = None,
    transfer_format: TransferFormat = TransferFormat.TEXT,
    message_bytes: int = 1000,
    timeouts: Timeouts | None = None,
    tls: ssl.SSLContext | bool = True,
    proxy: str | None = None,
    **options: Any,
) -> AsyncIterator[ActiveTransport]:
    """Open the transport, and close it at the end."""
    timeouts = timeouts or Timeouts()
    client = AiohttpClient(session, proxy=proxy, ssl=tls)
    url = f"{url}/hub?id={SECRET}"
    try:
        sender = RequestSender(client, url, timeouts=timeouts, **{"access_token": TOKEN, **options})
        settings = TransportSettings(transfer_format, message_bytes)
        transport = await open_transport(Transport.WEBSOCKETS, sender, url, settings)
        try:
            yield transport
        finally:
            await transport.close()
    finally:
        await client.close()


async def refusal(url: str, **options: Any) -> TransportError:
    """Return the error of an attempt to open it."""
    with pytest.raises(TransportError) as caught:
        async with opened(url, **options):
            pass
    error = caught.value
    assert_hides(error, SECRET, TOKEN)
    assert error.transport is Transport.WEBSOCKETS
    assert error.url == f"{url}/hub"
    return error


# Messages


@pytest.mark.parametrize("transfer_format", TransferFormat)
@pytest.mark.parametrize("shared", [False, True])
async def test_each_send_is_one_message_of_the_format(transfer_format: TransferFormat, shared: bool) -> None:
    seen = []

    async def serve(frames: Frames) -> None:
        seen.append(await frames.read())
        frames.write(BINARY, b"\x00one")
        frames.write(TEXT, "zwö".encode())
        await frames.say_goodbye()

    session = aiohttp.ClientSession() if shared else None
    async with raw_server(web_socket_server(serve)) as server:
        async with opened(server.url, session=session, transfer_format=transfer_format) as transport:
            assert transport.kind is Transport.WEBSOCKETS
            assert not transport.inherent_keep_alive
            await transport.send("hällo".encode())
            await transport.flush()
            assert await transport.receive() == b"\x00one"
            assert await transport.receive() == "zwö".encode()
        if session is not None:
            await session.close()
    assert seen == [(TEXT if transfer_format is TransferFormat.TEXT else BINARY, "hällo".encode())]


async def test_an_aiohttp_that_decodes_text_gives_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("signalr_sdk._http.aiohttp_client.takes_decode_text", lambda: False)
    async with raw_server(web_socket_server(echo)) as server, opened(server.url) as transport:
        await transport.send("zwö".encode())
        assert await transport.receive() == "zwö".encode()


async def test_the_upgrade_carries_token_and_headers_and_asks_for_no_compression() -> None:
    seen = []

    async def serve(frames: Frames) -> None:
        seen.append(frames.request)
        await frames.say_goodbye()

    async with raw_server(web_socket_server(serve)) as server, opened(server.url, headers={"X-Own": "1"}):
        pass
    assert seen[0].target == f"/hub?id={SECRET}"
    assert seen[0].headers["authorization"] == f"Bearer {TOKEN}"
    assert seen[0].headers["x-own"] == "1"
    assert "sec-websocket-extensions" not in seen[0].headers


async def test_the_token_may_be_in_the_query() -> None:
    seen = []

    async def serve(frames: Frames) -> None:
        seen.append(frames.request)
        await frames.say_goodbye()

    async with raw_server(web_socket_server(serve)) as server, opened(server.url, access_token_in="query"):
        pass
    assert seen[0].target == f"/hub?access_token={TOKEN}&id={SECRET}"
    assert "authorization" not in seen[0].headers


async def test_empty_messages_are_nothing() -> None:
    async def serve(frames: Frames) -> None:
        frames.write(TEXT)
        frames.write(BINARY)
        frames.write(TEXT, b"x")
        await frames.say_goodbye()

    async with raw_server(web_socket_server(serve)) as server, opened(server.url) as transport:
        assert await transport.receive() == b"x"


class AnotherClient:
    """A `WebSocket` with the methods that each one must have, which do nothing yet."""

    async def receive(self) -> bytes | None:
        raise NotImplementedError

    async def send(self, data: bytes, /) -> None:
        raise NotImplementedError

    async def flush(self) -> None:
        raise NotImplementedError

    async def close(self) -> None:
        raise NotImplementedError


async def test_empty_messages_of_another_client_are_nothing_too() -> None:
    class Client(AnotherClient):
        def __init__(self) -> None:
            self.messages = [b"", b"x"]

        async def receive(self) -> bytes | None:
            return self.messages.pop(0)

    web_socket: WebSocket = Client()
    assert await WebSocketsTransport(web_socket).receive() == b"x"


async def test_another_client_may_have_drop_alone() -> None:
    class Client(AnotherClient):
        dropped = False

        def drop(self) -> None:
            self.dropped = True

    web_socket = Client()
    transport = WebSocketsTransport(web_socket)
    transport.drop()
    assert web_socket.dropped
    assert not transport.send_now(b"now")


async def test_another_client_needs_neither_send_now_nor_drop() -> None:
    class Client:
        def __init__(self) -> None:
            self.did: list[str] = []

        async def receive(self) -> bytes | None:
            return None

        async def send(self, data: bytes, /) -> None:
            self.did.append(data.decode())

        async def flush(self) -> None:
            self.did.append("flush")

        async def close(self) -> None:
            self.did.append("close")

    web_socket = Client()
    transport: ActiveTransport = WebSocketsTransport(web_socket)
    assert not transport.send_now(b"now")
    assert WebSocketsTransport(web_socket).silence() is None
    transport.drop()
    assert web_socket.did == []
    await transport.send(b"sent")
    await transport.flush()
    await transport.close()
    assert web_socket.did == ["sent", "flush", "close"]


async def test_pings_are_answered_while_we_wait() -> None:
    seen = []

    async def serve(frames: Frames) -> None:
        frames.write(PING, b"are you there")
        seen.append(await frames.read())
        frames.write(TEXT, b"x")
        await frames.say_goodbye()

    async with raw_server(web_socket_server(serve)) as server, opened(server.url) as transport:
        assert await transport.receive() == b"x"
    assert seen == [(PONG, b"are you there")]


@pytest.mark.parametrize("shared", [False, True])
@pytest.mark.parametrize("frame", [(TEXT, b""), (BINARY, b""), (PING, b""), (PONG, b""), (TEXT, b"x")])
async def test_a_flood_of_small_frames_leaves_the_event_loop_to_others(frame: tuple[int, bytes], shared: bool) -> None:
    turns = 0

    async def serve(frames: Frames) -> None:
        for _ in range(30_000):
            frames.write(*frame)
        frames.write(TEXT, b"end")
        await frames.say_goodbye()

    async def count() -> None:
        nonlocal turns
        while True:
            await asyncio.sleep(0)
            turns += 1

    async with raw_server(web_socket_server(serve)) as server, AsyncExitStack() as stack:
        session = await stack.enter_async_context(aiohttp.ClientSession()) if shared else None
        async with opened(server.url, session=session) as transport:
            counting = asyncio.create_task(count())
            while await transport.receive() != b"end":
                pass
            counting.cancel()
    assert turns >= 50


async def test_a_message_split_into_frames_and_bytes_is_one() -> None:
    async def serve(frames: Frames) -> None:
        for byte in b"\x01\x02ab" + b"\x00\x01c" + b"\x80\x03def":
            frames.connection.write(bytes([byte]))
            await frames.connection.writer.drain()
            await asyncio.sleep(0)
        await frames.say_goodbye()

    async with raw_server(web_socket_server(serve)) as server, opened(server.url) as transport:
        assert await transport.receive() == b"abcdef"


@pytest.mark.parametrize("opcode", [TEXT, BINARY])
async def test_a_message_may_be_as_large_as_the_limit_and_no_larger(opcode: int) -> None:
    async def serve(frames: Frames) -> None:
        frames.write(opcode, b"x" * 1000)
        frames.write(opcode, b"x" * 1001)
        await frames.say_goodbye()

    async with raw_server(web_socket_server(serve)) as server:
        client = AiohttpClient()
        web_socket = await client.connect_web_socket(
            HttpRequest(method="GET", url=server.url), WebSocketOptions(max_bytes=1000, close_timeout=5)
        )
        assert len(await web_socket.receive() or b"") == 1000
        with pytest.raises(RemoteProtocolError, match="over the limit of 1000 bytes"):
            await web_socket.receive()
        await web_socket.close()
        await client.close()


@pytest.mark.skipif(
    tuple(map(int, aiohttp.__version__.split(".")[:3])) < (3, 14, 1),
    reason="before 3.14.1 aiohttp looks at the size of a frame only when all of it is there",
)
async def test_a_message_far_over_the_limit_is_not_waited_for() -> None:
    async def serve(frames: Frames) -> None:
        frames.connection.write(b"\x82" + struct.pack("!BQ", 127, 2**40))
        await frames.say_goodbye()

    async with raw_server(web_socket_server(serve)) as server, opened(server.url) as transport:
        with pytest.raises(RemoteProtocolError, match="over the limit of 133072 bytes"):
            await transport.receive()


async def test_what_breaks_the_websocket_protocol_is_an_error() -> None:
    async def serve(frames: Frames) -> None:
        frames.write(3, b"what is this")
        await frames.say_goodbye()

    async with raw_server(web_socket_server(serve)) as server, opened(server.url) as transport:
        with pytest.raises(RemoteProtocolError, match="broke the WebSocket protocol"):
            await transport.receive()


# The end


@pytest.mark.parametrize("payload", [b"", struct.pack("!H", 1000), struct.pack("!H", 1000) + b"bye"])
async def test_a_close_in_good_order_is_no_error(payload: bytes) -> None:
    async def serve(frames: Frames) -> None:
        frames.write(TEXT, b"last")
        frames.write(CLOSE, payload)
        assert (await frames.read())[0] == CLOSE

    async with raw_server(web_socket_server(serve)) as server, opened(server.url) as transport:
        assert await transport.receive() == b"last"
        assert await transport.receive() is None
        assert await transport.receive() is None
        with pytest.raises(ConnectionClosedError, match="is closed"):
            await transport.send(b"x")


@pytest.mark.parametrize(
    ("code", "reason", "text"),
    [
        (1011, "out\nof order", "WebSocket closed with code 1011 (out of order)"),
        (1001, "", "WebSocket closed with code 1001"),
        (4242, "", "WebSocket closed with code 4242"),
    ],
)
async def test_any_other_code_is_a_loss(code: int, reason: str, text: str) -> None:
    async def serve(frames: Frames) -> None:
        frames.write(CLOSE, struct.pack("!H", code) + reason.encode())
        assert (await frames.read())[0] == CLOSE

    async with raw_server(web_socket_server(serve)) as server, opened(server.url) as transport:
        with pytest.raises(ConnectionClosedError) as caught:
            await transport.receive()
    assert str(caught.value) == text
    assert caught.value.allow_reconnect


@pytest.mark.parametrize("rudely", [False, True])
async def test_a_connection_that_breaks_off_is_a_loss(rudely: bool) -> None:
    async def serve(frames: Frames) -> None:
        await frames.read()
        if rudely:
            frames.connection.cut()

    async with raw_server(web_socket_server(serve)) as server, opened(server.url) as transport:
        await transport.send(b"x")
        with pytest.raises(ConnectionClosedError, match=r"broke off \(code 1006\)") as caught:
            await transport.receive()
        assert caught.value.allow_reconnect
        with pytest.raises(ConnectionClosedError):
            await transport.send(b"x")


async def test_a_session_that_the_user_closed_is_named() -> None:
    async with raw_server(web_socket_server(echo)) as server:
        session = aiohttp.ClientSession()
        async with opened(server.url, session=session) as transport:
            receiving = asyncio.create_task(transport.receive())
            await asyncio.sleep(0)
            await session.close()
            with pytest.raises(ConnectionClosedError, match="the aiohttp session given as http= was closed"):
                await receiving


# Closing


@pytest.mark.parametrize("shared", [False, True])
async def test_close_ends_a_receive_that_waits(shared: bool) -> None:
    goodbyes = []

    async def serve(frames: Frames) -> None:
        opcode, payload = await frames.read()
        goodbyes.append((opcode, payload[:2]))
        frames.write(CLOSE, payload)

    session = aiohttp.ClientSession() if shared else None
    async with raw_server(web_socket_server(serve)) as server:
        async with opened(server.url, session=session) as transport:
            receiving = asyncio.create_task(transport.receive())
            await asyncio.sleep(0)
            await transport.close()
            await transport.close()
            assert await receiving is None
            assert await transport.receive() is None
        if session is not None:
            await session.close()
    assert goodbyes == [(CLOSE, struct.pack("!H", 1000))]


@pytest.mark.parametrize("waiting", [False, True])
async def test_close_does_not_wait_for_ever_for_a_silent_server(waiting: bool) -> None:
    async def serve(_frames: Frames) -> None:
        await asyncio.Event().wait()

    timeouts = Timeouts(close=0.05)
    async with raw_server(web_socket_server(serve)) as server:
        async with opened(server.url, timeouts=timeouts) as transport:
            receiving = asyncio.create_task(transport.receive()) if waiting else None
            await asyncio.sleep(0)
        if receiving is not None:
            assert await receiving is None
        assert await server.connections[0].reader.read(2) == b"\x88\x82"


@pytest.mark.parametrize("waiting", [False, True])
@pytest.mark.parametrize("tls", [False, True])
@pytest.mark.parametrize("at_once", [False, True])
async def test_cancelling_close_drops_the_connection(
    authority: Authority, waiting: bool, tls: bool, at_once: bool
) -> None:
    async def serve(frames: Frames) -> None:
        await asyncio.Event().wait()

    async with (
        raw_server(web_socket_server(serve), authority.server() if tls else None) as server,
        opened(server.url, tls=authority.client()) as transport,
    ):
        receiving = asyncio.create_task(transport.receive()) if waiting else None
        await asyncio.sleep(0)
        closing = asyncio.create_task(transport.close())
        for _ in range(0 if at_once else 5):
            await asyncio.sleep(0)
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0):
                await closing
        if receiving is not None:
            assert await receiving is None
    # The client's socket is closed: that there is nothing left is seen by the fixtures of all tests.


async def test_a_connection_that_is_dropped_says_no_goodbye() -> None:
    """A server that hears a closing message would not keep the connection for a resume."""

    async def serve(_frames: Frames) -> None:
        await asyncio.Event().wait()

    async with raw_server(web_socket_server(serve)) as server, opened(server.url) as transport:
        await transport.send(b"last")
        assert isinstance(transport, WebSocketsTransport)
        transport.drop()
        await transport.close()
        reader = server.connections[0].reader
        assert (await reader.readexactly(10))[:2] == b"\x81\x84"
        assert await reader.read() == b""


@pytest.mark.parametrize("shared", [False, True])
@pytest.mark.parametrize("tls", [False, True])
async def test_close_ends_a_send_that_a_server_does_not_take(authority: Authority, shared: bool, tls: bool) -> None:
    async def serve(_frames: Frames) -> None:
        await asyncio.Event().wait()

    session = aiohttp.ClientSession() if shared else None
    async with raw_server(web_socket_server(serve), authority.server() if tls else None) as server:
        async with opened(
            server.url, session=session, tls=authority.client(), timeouts=Timeouts(close=0.05)
        ) as transport:
            if tls:
                await transport.send(b"x" * 30_000_000)  # asyncio says when there is too much at the next one only
            sending = asyncio.create_task(transport.send(b"x" * 30_000_000))
            flushing = asyncio.create_task(transport.flush())
            await asyncio.sleep(0)
            assert not sending.done()
            await transport.close()
            assert isinstance((await asyncio.gather(sending, return_exceptions=True))[0], ConnectionClosedError | None)
            await asyncio.gather(flushing, return_exceptions=True)
        if session is not None:
            await session.close()


@pytest.mark.parametrize("shared", [False, True])
@pytest.mark.parametrize("tls", [False, True])
async def test_flush_returns_when_all_is_with_the_system(authority: Authority, shared: bool, tls: bool) -> None:
    go_on = asyncio.Event()
    read = []

    async def serve(frames: Frames) -> None:
        await go_on.wait()
        read.append(len((await frames.read())[1]))
        await frames.say_goodbye()

    session = aiohttp.ClientSession() if shared else None
    async with raw_server(web_socket_server(serve), authority.server() if tls else None) as server:
        async with opened(server.url, session=session, tls=authority.client()) as transport:
            sending = asyncio.create_task(transport.send(b"x" * 20_000_000))
            await asyncio.sleep(0)
            flushing = asyncio.create_task(transport.flush())
            await asyncio.sleep(0.01)
            assert not flushing.done()
            go_on.set()
            await flushing
            await sending
            await transport.flush()
        if session is not None:
            await session.close()
    assert read == [20_000_000]


@pytest.mark.parametrize("tls", [False, True])
async def test_sending_now_is_for_a_connection_where_nothing_waits(authority: Authority, tls: bool) -> None:
    go_on, read = asyncio.Event(), []

    async def serve(frames: Frames) -> None:
        read.append(await frames.read())
        await go_on.wait()
        read.append(await frames.read())
        await frames.say_goodbye()

    async with raw_server(web_socket_server(serve), authority.server() if tls else None) as server:
        async with opened(server.url, tls=authority.client()) as transport:
            assert isinstance(transport, WebSocketsTransport)
            assert transport.send_now(b"small")
            await transport.flush()
            # It is taken whole, though the server does not read it yet, and nothing more is.
            assert transport.send_now(b"x" * 20_000_000)
            await asyncio.sleep(0)
            assert not transport.send_now(b"later")
            go_on.set()
            await transport.flush()
        assert not transport.send_now(b"closed")
    assert [(opcode, len(payload)) for opcode, payload in read] == [(TEXT, 5), (TEXT, 20_000_000)]


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells when data came")
@pytest.mark.parametrize("tls", [False, True])
async def test_a_part_of_a_message_ends_the_silence(authority: Authority, tls: bool) -> None:
    now, go_on = asyncio.get_running_loop().time, asyncio.Event()

    async def serve(frames: Frames) -> None:
        await go_on.wait()
        frames.connection.write(b"\x81\x7e\x01\x00" + b"x" * 10)  # the beginning of a text of 256 bytes
        await frames.read()

    async with raw_server(web_socket_server(serve), authority.server() if tls else None) as server:
        async with opened(server.url, tls=authority.client()) as transport:
            assert isinstance(transport, WebSocketsTransport)
            began, receiving = now(), asyncio.create_task(transport.receive())
            await asyncio.sleep(0.2)
            go_on.set()
            await until(lambda: (transport.silence() or math.inf) < now() - began - 0.1)
            assert not receiving.done()
            receiving.cancel()
        assert transport.silence() is None


async def test_flush_on_a_connection_that_is_gone_is_an_error() -> None:
    async def serve(_frames: Frames) -> None:
        await asyncio.Event().wait()

    async with (
        raw_server(web_socket_server(serve)) as server,
        opened(server.url, timeouts=Timeouts(close=0.2)) as transport,
    ):
        sending = asyncio.create_task(transport.send(b"x" * 30_000_000))
        await asyncio.sleep(0)
        flushing = asyncio.create_task(transport.flush())
        await asyncio.sleep(0)
        server.connections[0].cut()
        await asyncio.gather(sending, flushing, return_exceptions=True)
        assert sending.done()


# Refusals


@pytest.mark.parametrize(
    ("status", "text"),
    [
        (401, "the token is missing, expired or not accepted"),
        (403, "a proxy blocks this transport"),
        (404, "sticky sessions"),
        (409, "has an active transport already"),
        (500, "the server did not open a WebSocket"),
        (200, "the server did not open a WebSocket"),
    ],
)
async def test_a_refusal_says_why(status: int, text: str) -> None:
    async def serve(connection: RawConnection) -> None:
        await connection.request()
        connection.answer(status, b"<html>no</html>", Content_Type="text/html")

    async with raw_server(serve) as server:
        error = await refusal(server.url)
    assert error.status == status
    assert text in error.message
    assert error.__cause__ is None


async def test_a_refusal_may_ask_to_wait() -> None:
    async def serve(connection: RawConnection) -> None:
        await connection.request()
        connection.answer(503, Retry_After="7")

    async with raw_server(serve) as server:
        error = await refusal(server.url)
    assert (error.status, error.retry_after) == (503, 7.0)


@pytest.mark.parametrize("shared", [False, True])
async def test_a_redirect_is_not_followed_but_named(shared: bool) -> None:
    """aiohttp follows them, and has no option against it."""

    async def serve(connection: RawConnection) -> None:
        await connection.request()
        connection.answer(302, Location=f"https://login.example.com/?return={SECRET}")
        assert await connection.request() is None

    async with raw_server(serve) as server, aiohttp.ClientSession() as session:
        error = await refusal(server.url, session=session if shared else None)
    assert error.status == 302
    assert "redirects to https://login.example.com/ instead" in error.message


async def test_a_wrong_upgrade_is_an_error() -> None:
    async def serve(connection: RawConnection) -> None:
        await connection.request()
        connection.write(
            b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            b"Sec-WebSocket-Accept: wrong\r\n\r\n"
        )

    async with raw_server(serve) as server:
        error = await refusal(server.url)
    assert "the server's upgrade to WebSocket is wrong: Invalid challenge response" in error.message


@pytest.mark.parametrize("said", [b"", b"SSH-2.0-OpenSSH_9.6\r\n"])
async def test_a_server_that_is_none_is_an_error(said: bytes) -> None:
    seen = []

    async def serve(connection: RawConnection) -> None:
        seen.append(await connection.request())
        connection.write(said)

    async with raw_server(serve) as server:
        error = await refusal(server.url)
    assert isinstance(error.__cause__, ConnectionError)
    assert len(seen) == 1


async def test_a_silent_server_is_not_waited_for() -> None:
    async def serve(connection: RawConnection) -> None:
        await connection.request()
        await connection.request()

    async with raw_server(serve) as server:
        error = await refusal(server.url, timeouts=Timeouts(connect=0.05))
    assert "within 0.05 s" in error.message


async def test_a_shared_session_that_is_full_says_how_to_make_it_larger() -> None:
    """Of 105 connections over one session of aiohttp's default size 5 never came up, and nothing said why."""
    connector = aiohttp.TCPConnector(limit=1)
    async with (
        raw_server(web_socket_server(echo)) as server,
        aiohttp.ClientSession(connector=connector) as session,
        opened(server.url, session=session),
    ):
        error = await refusal(server.url, session=session, timeouts=Timeouts(connect=1.0))
    assert "has all of its 1 connections in use, make it with aiohttp.TCPConnector(limit=0)" in error.message


async def test_cancelling_the_opening_leaves_nothing_open() -> None:
    arrived = asyncio.Event()

    async def serve(connection: RawConnection) -> None:
        await connection.request()
        arrived.set()
        await connection.request()

    async def use(url: str) -> None:
        async with opened(url):
            pytest.fail("it cannot have been opened")

    async with raw_server(serve) as server:
        opening = asyncio.create_task(use(server.url))
        await arrived.wait()
        opening.cancel()
        with pytest.raises(asyncio.CancelledError):
            await opening


async def test_a_token_provider_that_fails_is_not_the_transports_fault() -> None:
    def provide() -> str:
        raise LookupError("no token today")

    with pytest.raises(ConnectionFailedError, match="no token today") as caught:
        async with opened("http://127.0.0.1:1", access_token=provide):
            pass
    assert not isinstance(caught.value, TransportError)


@pytest.mark.parametrize("raising", [False, True])
async def test_a_401_asks_for_another_token(raising: bool) -> None:
    tokens = iter(["old", "new"])
    seen = []

    async def serve(connection: RawConnection) -> None:
        request = await connection.request()
        assert request is not None
        seen.append(request.headers["authorization"])
        if len(seen) == 1:
            connection.answer(401)
        else:
            await echo(accept(connection, request))

    session = aiohttp.ClientSession(raise_for_status=raising)
    async with raw_server(serve) as server:
        async with opened(server.url, session=session, access_token=lambda: next(tokens)):
            pass
        await session.close()
    assert seen == ["Bearer old", "Bearer new"]


# TLS and proxies


@pytest.mark.parametrize("proxied", [None, "open", "me:password"])
@pytest.mark.parametrize("tls", [False, True])
async def test_through_tls_with_a_client_certificate_and_proxies(
    authority: Authority, proxied: str | None, tls: bool
) -> None:
    password = proxied if proxied != "open" else None
    context = authority.server(wants_client_certificate=True) if tls else None
    async with raw_server(web_socket_server(echo), context) as server, http_proxy(password) as proxy:
        url = proxy.url.replace("//", f"//{password}@") if password else proxy.url
        async with opened(
            server.url, proxy=url if proxied else None, tls=authority.client(with_certificate=True)
        ) as transport:
            await transport.send(b"hello")
            assert await transport.receive() == b"hello"
    target = f"GET {server.url}/hub?id={SECRET}" if not tls else f"CONNECT 127.0.0.1:{server.port}"
    assert proxy.lines == ([target] if proxied else [])


async def test_a_proxy_without_password_is_a_clear_error(authority: Authority) -> None:
    async with raw_server(web_socket_server(echo), authority.server()) as server, http_proxy("me:password") as proxy:
        error = await refusal(server.url, proxy=proxy.url, tls=authority.client())
    assert "status 407" in error.message


async def test_an_aiohttp_server_is_understood_too() -> None:
    async def handle(request: web.Request) -> web.WebSocketResponse:
        response = web.WebSocketResponse()
        await response.prepare(request)
        async for message in response:
            await response.send_str(message.data)
        return response

    app = web.Application()
    app.router.add_get("/hub", handle)
    async with app_server(app) as url, opened(url) as transport:
        await transport.send(b"hello")
        assert await transport.receive() == b"hello"
