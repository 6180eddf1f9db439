"""The Server-Sent Events transport, over aiohttp and over scripted answers."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import pytest
from tests.doubles import ScriptedHttp, ScriptedStream
from tests.servers import Authority, RawConnection, Request, assert_hides, http_proxy, raw_server

from signalr_sdk._http.aiohttp_client import AiohttpClient
from signalr_sdk._http.request_sender import RequestSender
from signalr_sdk._transports.contract import ActiveTransport, TransportSettings
from signalr_sdk._transports.opening import open_transport
from signalr_sdk.errors import ConnectionClosedError, ConnectionFailedError, RemoteProtocolError, TransportError
from signalr_sdk.interfaces import HttpResponse
from signalr_sdk.options import Timeouts, TransferFormat, Transport

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from signalr_sdk.interfaces import HttpClient

SECRET = "query-secret"
TOKEN = "token-secret"
EVENT_STREAM = (("Content-Type", "text/event-stream; charset=utf-8"),)
HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"


def chunk(data: bytes) -> bytes:
    return f"{len(data):x}\r\n".encode() + data + b"\r\n"


@asynccontextmanager
async def opened(
    http: HttpClient, url: str = "http://example.com", timeouts: Timeouts | None = None, **options: Any
) -> AsyncIterator[ActiveTransport]:
    """Open the transport, and close it at the end."""
    timeouts = timeouts or Timeouts()
    url = f"{url}/hub?id={SECRET}"
    sender = RequestSender(http, url, timeouts=timeouts, **{"access_token": TOKEN, **options})
    settings = TransportSettings(TransferFormat.TEXT, 1000)
    transport = await open_transport(Transport.SERVER_SENT_EVENTS, sender, url, settings)
    try:
        yield transport
    finally:
        await transport.close()


def events(*chunks: bytes, error: OSError | None = None) -> ScriptedHttp:
    """Return a client that gets this event stream."""
    return ScriptedHttp(ScriptedStream(HttpResponse(200, EVENT_STREAM), chunks, error))


class EventServer:
    """Serves the event stream on one connection and POSTs on the others."""

    def __init__(self) -> None:
        self.posts: asyncio.Queue[Request] = asyncio.Queue()
        self.stream: RawConnection | None = None
        self.stream_request: Request | None = None
        self.gone = asyncio.Event()
        self.holds_posts = False

    async def __call__(self, connection: RawConnection) -> None:
        while (request := await connection.request()) is not None:
            if request.method == "POST":
                self.posts.put_nowait(request)
                if not self.holds_posts:
                    connection.answer(200)
            else:
                self.stream, self.stream_request = connection, request
                connection.write(HEAD + chunk(b":\r\n\r\n"))
        if connection is self.stream:
            self.gone.set()

    def say(self, data: bytes) -> None:
        assert self.stream is not None
        self.stream.write(chunk(data))


# Messages


async def test_events_come_and_posts_go(client: AiohttpClient) -> None:
    serve = EventServer()
    async with raw_server(serve) as server, opened(client, server.url) as transport:
        assert transport.kind is Transport.SERVER_SENT_EVENTS
        assert not transport.inherent_keep_alive
        serve.say(b"data: {}\x1e\r\n\r\n")
        assert await transport.receive() == b"{}\x1e"
        await transport.send("hällo".encode())
        await transport.flush()
        post = serve.posts.get_nowait()
        await transport.close()
        await serve.gone.wait()
        await client.close()
    assert serve.stream_request is not None
    for request in (serve.stream_request, post):
        assert request.target == f"/hub?id={SECRET}"
        assert request.headers["authorization"] == f"Bearer {TOKEN}"
    assert serve.stream_request.headers["accept"] == "text/event-stream"
    assert post.headers["content-type"] == "text/plain;charset=UTF-8"
    assert post.body == "hällo".encode()


async def test_events_that_arrive_together_are_joined() -> None:
    async with opened(events(b"data: a\n\ndata: b\n\ndat", b"a: c\n\n")) as transport:
        assert await transport.receive() == b"ab"
        assert await transport.receive() == b"c"


async def test_events_may_be_split_at_every_byte() -> None:
    stream = b":\r\n\r\ndata: {}\x1e\r\n\r\ndata: one\r\ndata: two\r\n\r\n"
    async with opened(events(*(bytes([byte]) for byte in stream))) as transport:
        assert await transport.receive() == b"{}\x1e"
        assert await transport.receive() == b"one\ntwo"
        assert await transport.receive() is None


async def test_comments_are_nothing() -> None:
    async with opened(events(b":\r\n\r\n", b": ping\n\n", b"data: x\n\n")) as transport:
        assert await transport.receive() == b"x"


async def test_the_stream_has_no_time_limit_once_it_is_open() -> None:
    """aiohttp's limit of 300 s for a request ended it every five minutes."""
    http = events()
    async with opened(http, timeouts=Timeouts(connect=7.0)):
        pass
    assert http.requests[0].timeout == 7.0  # for the head only, says HttpRequest
    assert http.requests[0].max_bytes is None


async def test_a_stream_goes_on_after_the_time_for_its_opening(client: AiohttpClient) -> None:
    serve = EventServer()
    async with (
        raw_server(serve) as server,
        opened(client, server.url, timeouts=Timeouts(connect=0.5)) as transport,
    ):
        receiving = asyncio.create_task(transport.receive())
        await asyncio.wait({receiving}, timeout=0.6)
        serve.say(b"data: late\n\n")
        assert await receiving == b"late"


async def test_an_event_over_the_limit_is_refused() -> None:
    limit = 2 * 1000 + 128 * 1024
    async with opened(events(b"data: " + b"x" * limit + b"\n\n", b"data: " + b"x" * (limit + 100))) as transport:
        assert len(await transport.receive() or b"") == limit
        with pytest.raises(RemoteProtocolError, match=f"over the limit of {limit}"):
            await transport.receive()


async def test_the_token_may_be_in_the_query_of_the_stream(client: AiohttpClient) -> None:
    serve = EventServer()
    async with (
        raw_server(serve) as server,
        opened(client, server.url, access_token_in="query") as transport,
    ):
        await transport.send(b"x")
    assert serve.stream_request is not None
    assert serve.stream_request.target == f"/hub?access_token={TOKEN}&id={SECRET}"
    assert "authorization" not in serve.stream_request.headers
    assert serve.posts.get_nowait().headers["authorization"] == f"Bearer {TOKEN}"


# The end


async def test_the_end_of_the_stream_is_no_error() -> None:
    async with opened(events(b"data: last\n\n")) as transport:
        assert await transport.receive() == b"last"
        assert await transport.receive() is None
        assert await transport.receive() is None


@pytest.mark.parametrize("cut", [b"data: x", b"data: x\n", b"da"])
async def test_an_incomplete_event_is_a_loss(cut: bytes) -> None:
    async with opened(events(cut)) as transport:
        with pytest.raises(ConnectionClosedError, match="incomplete") as caught:
            await transport.receive()
    assert caught.value.allow_reconnect


async def test_a_stream_that_breaks_off_is_a_loss(client: AiohttpClient) -> None:
    serve = EventServer()
    async with raw_server(serve) as server, opened(client, server.url) as transport:
        assert serve.stream is not None
        serve.stream.cut()
        with pytest.raises(ConnectionClosedError, match="the event stream broke off") as caught:
            await transport.receive()
    assert caught.value.allow_reconnect
    assert isinstance(caught.value.__cause__, ConnectionError)
    assert_hides(caught.value, SECRET, TOKEN)


# Posting


@pytest.mark.parametrize(
    ("status", "text"),
    [
        (404, "the connection is gone"),
        (413, "too large"),
        (500, "refused what was sent"),
        (302, "refused"),
        (401, "401"),
    ],
)
async def test_a_post_that_is_refused_is_a_loss(status: int, text: str) -> None:
    http = events()
    async with opened(http) as transport:
        http.answers.append(HttpResponse(status))
        with pytest.raises(ConnectionClosedError, match=text) as caught:
            await transport.send(b"x")
    assert f"status {status}" in str(caught.value)
    assert caught.value.allow_reconnect


async def test_a_post_that_breaks_off_is_a_loss() -> None:
    http = events()
    async with opened(http) as transport:
        http.answers.append(ConnectionResetError("cut"))
        with pytest.raises(ConnectionClosedError, match="not known what has arrived: cut"):
            await transport.send(b"x")


async def test_a_token_provider_that_fails_later_is_a_loss() -> None:
    tokens = iter(["old"])
    http = events()
    async with opened(http, access_token=lambda: next(tokens, 7)) as transport:
        http.answers.append(HttpResponse(401))
        with pytest.raises(ConnectionClosedError, match="the access token must be a str"):
            await transport.send(b"x")


async def test_a_post_has_no_time_limit() -> None:
    http = events()
    async with opened(http, timeouts=Timeouts(request=1.0)) as transport:
        http.answers.append(HttpResponse(200))
        await transport.send(b"x")
    assert http.requests[1].timeout is None


# Closing


async def test_close_ends_a_receive_and_a_send_that_wait(client: AiohttpClient) -> None:
    serve = EventServer()
    serve.holds_posts = True
    async with raw_server(serve) as server, opened(client, server.url) as transport:
        receiving = asyncio.create_task(transport.receive())
        sending = asyncio.create_task(transport.send(b"x"))
        await serve.posts.get()
        await transport.close()
        await transport.close()
        assert await receiving is None
        with pytest.raises(ConnectionClosedError, match="the connection was closed"):
            await sending
        assert await transport.receive() is None
        with pytest.raises(ConnectionClosedError):
            await transport.send(b"x")
        await serve.gone.wait()


async def test_several_may_close_at_once(client: AiohttpClient) -> None:
    serve = EventServer()
    async with raw_server(serve) as server, opened(client, server.url) as transport:
        receiving = asyncio.create_task(transport.receive())
        await asyncio.sleep(0)
        await asyncio.gather(transport.close(), transport.close())
        assert await receiving is None


async def test_cancelling_close_drops_the_connection(client: AiohttpClient) -> None:
    serve = EventServer()
    async with raw_server(serve) as server, opened(client, server.url) as transport:
        receiving = asyncio.create_task(transport.receive())
        await asyncio.sleep(0)
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0):
                await transport.close()
        assert await receiving is None
        await serve.gone.wait()


async def test_drop_ends_a_receive_that_waits(client: AiohttpClient) -> None:
    serve = EventServer()
    async with raw_server(serve) as server, opened(client, server.url) as transport:
        receiving = asyncio.create_task(transport.receive())
        await asyncio.sleep(0)
        transport.drop()
        assert await receiving is None
        with pytest.raises(ConnectionClosedError):
            await transport.send(b"x")
        await transport.close()
        await serve.gone.wait()


async def test_close_closes_the_stream_of_any_client() -> None:
    stream = ScriptedStream(HttpResponse(200, EVENT_STREAM))
    async with opened(ScriptedHttp(stream)):
        assert not stream.closed
    assert stream.closed


async def test_a_cancelled_receive_is_cancelled(client: AiohttpClient) -> None:
    serve = EventServer()
    async with raw_server(serve) as server, opened(client, server.url) as transport:
        receiving = asyncio.create_task(transport.receive())
        await asyncio.sleep(0)
        receiving.cancel()
        with pytest.raises(asyncio.CancelledError):
            await receiving
        serve.say(b"data: x\n\n")
        assert await transport.receive() == b"x"


# Opening


async def refusal(http: HttpClient, url: str = "http://example.com", **options: Any) -> TransportError:
    """Return the error of an attempt to open it."""
    with pytest.raises(TransportError) as caught:
        async with opened(http, url, **options):
            pass
    error = caught.value
    assert_hides(error, SECRET, TOKEN)
    assert error.transport is Transport.SERVER_SENT_EVENTS
    assert error.url == f"{url}/hub"
    return error


@pytest.mark.parametrize(
    ("status", "headers", "text"),
    [
        (401, (), "the token is missing"),
        (403, (), "a proxy blocks this transport"),
        (404, (), "sticky sessions"),
        (503, (("retry-after", "9"),), "the server refused it"),
        (302, (("Location", f"https://login.example.com/?r={SECRET}"),), "redirects to https://login.example.com/, "),
        (302, (), "the server refused it"),
        (204, (), "the server refused it"),
    ],
)
async def test_a_refusal_says_why(status: int, headers: tuple[tuple[str, str], ...], text: str) -> None:
    stream = ScriptedStream(HttpResponse(status, headers))
    error = await refusal(ScriptedHttp(stream))
    assert error.status == status
    assert text in error.message
    assert error.retry_after == (9.0 if status == 503 else None)
    assert stream.closed


@pytest.mark.parametrize("headers", [(), (("content-type", "text/html; charset=utf-8"),)])
async def test_what_is_no_event_stream_is_refused(headers: tuple[tuple[str, str], ...]) -> None:
    stream = ScriptedStream(HttpResponse(200, headers))
    error = await refusal(ScriptedHttp(stream))
    assert "where an event stream should begin" in error.message
    assert ("text/html" in error.message) == bool(headers)
    assert stream.closed


async def test_the_content_type_may_be_written_in_any_case() -> None:
    stream = ScriptedStream(HttpResponse(200, (("CONTENT-TYPE", "Text/Event-Stream ;x=y"),)))
    async with opened(ScriptedHttp(stream)):
        pass


async def test_a_network_failure_is_a_transport_error() -> None:
    error = await refusal(ScriptedHttp(ConnectionRefusedError("cannot connect")))
    assert error.message == "cannot connect"
    assert isinstance(error.__cause__, ConnectionRefusedError)


async def test_a_slow_head_is_not_waited_for(client: AiohttpClient) -> None:
    async def serve(connection: RawConnection) -> None:
        await connection.request()
        await connection.request()

    async with raw_server(serve) as server:
        error = await refusal(client, server.url, timeouts=Timeouts(connect=0.05))
        await client.close()
    assert "within 0.05 s" in error.message


async def test_cancelling_the_opening_leaves_nothing_open(client: AiohttpClient) -> None:
    arrived = asyncio.Event()

    async def serve(connection: RawConnection) -> None:
        await connection.request()
        arrived.set()
        await connection.request()

    async def use(url: str) -> None:
        async with opened(client, url):
            pytest.fail("it cannot have been opened")

    async with raw_server(serve) as server:
        opening = asyncio.create_task(use(server.url))
        await arrived.wait()
        opening.cancel()
        with pytest.raises(asyncio.CancelledError):
            await opening


async def test_a_token_provider_that_fails_is_not_the_transports_fault() -> None:
    with pytest.raises(ConnectionFailedError) as caught:
        async with opened(ScriptedHttp(), access_token=lambda: 7):
            pass
    assert not isinstance(caught.value, TransportError)


async def test_a_401_asks_for_another_token() -> None:
    tokens = iter(["old", "new"])
    http = ScriptedHttp(HttpResponse(401), ScriptedStream(HttpResponse(200, EVENT_STREAM)), HttpResponse(200))
    async with opened(http, access_token=lambda: next(tokens)) as transport:
        await transport.send(b"x")
    assert [request.headers["Authorization"] for request in http.requests] == ["Bearer old", "Bearer new", "Bearer new"]


# TLS and proxies


@pytest.mark.parametrize("proxied", [None, "open", "me:password"])
@pytest.mark.parametrize("tls", [False, True])
async def test_through_tls_with_a_client_certificate_and_proxies(
    authority: Authority, proxied: str | None, tls: bool
) -> None:
    password = proxied if proxied != "open" else None
    serve = EventServer()
    context = authority.server(wants_client_certificate=True) if tls else None
    async with raw_server(serve, context) as server, http_proxy(password) as proxy:
        url = proxy.url.replace("//", f"//{password}@") if password else proxy.url
        client = AiohttpClient(proxy=url if proxied else None, ssl=authority.client(with_certificate=True))
        async with opened(client, server.url) as transport:
            await transport.send(b"hello")
            serve.say(b"data: hello\n\n")
            assert await transport.receive() == b"hello"
        await client.close()
    assert len(proxy.lines) == (2 if proxied else 0)
