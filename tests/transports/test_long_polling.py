"""The long polling transport, over aiohttp and over scripted answers."""

from __future__ import annotations

import asyncio
import logging
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import pytest
from tests.doubles import ScriptedHttp, without_waiting
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

    from signalr_sdk.interfaces import HttpClient, HttpRequest

SECRET = "query-secret"
TOKEN = "token-secret"
EMPTY = HttpResponse(200)
OVER = HttpResponse(204)
ACCEPTED = HttpResponse(202)


def data(body: bytes) -> HttpResponse:
    return HttpResponse(200, (), body)


@asynccontextmanager
async def opened(
    http: HttpClient,
    url: str = "http://example.com",
    timeouts: Timeouts | None = None,
    transfer_format: TransferFormat = TransferFormat.TEXT,
    **options: Any,
) -> AsyncIterator[ActiveTransport]:
    """Open the transport, and close it at the end."""
    timeouts = timeouts or Timeouts()
    url = f"{url}/hub?id={SECRET}"
    sender = RequestSender(http, url, timeouts=timeouts, **{"access_token": TOKEN, **options})
    settings = TransportSettings(transfer_format, 1000)
    transport = await open_transport(Transport.LONG_POLLING, sender, url, settings)
    try:
        yield transport
    finally:
        await transport.close()


def methods(http: ScriptedHttp) -> list[str]:
    return [request.method for request in http.requests]


class PollServer:
    """Answers the first poll, and then each one with what `say` gave."""

    def __init__(self) -> None:
        self.requests: list[Request] = []
        self.polled = asyncio.Event()
        self.posted = asyncio.Event()
        self.holds_posts = False
        self._answers: asyncio.Queue[bytes] = asyncio.Queue()
        self._answers.put_nowait(b"")

    def say(self, body: bytes) -> None:
        self._answers.put_nowait(body)

    def methods(self) -> list[str]:
        return [request.method for request in self.requests]

    async def __call__(self, connection: RawConnection) -> None:
        while (request := await connection.request()) is not None:
            self.requests.append(request)
            if request.method == "GET":
                if len([poll for poll in self.requests if poll.method == "GET"]) > 1:
                    self.polled.set()
                # A client that leaves meanwhile takes no answer with it.
                leaving = asyncio.create_task(connection.reader.read(1))
                answering = asyncio.create_task(self._answers.get())
                try:
                    await asyncio.wait({leaving, answering}, return_when=asyncio.FIRST_COMPLETED)
                finally:
                    for task in (leaving, answering):
                        task.cancel()
                    await asyncio.gather(leaving, answering, return_exceptions=True)
                if answering.cancelled():
                    return
                connection.answer(200, answering.result())
            elif request.method == "POST":
                self.posted.set()
                if not self.holds_posts:
                    connection.answer(200)
            else:
                connection.answer(202)


# Messages


@pytest.mark.parametrize(
    ("transfer_format", "content_type"),
    [(TransferFormat.TEXT, "text/plain;charset=UTF-8"), (TransferFormat.BINARY, "application/octet-stream")],
)
async def test_polls_bring_and_posts_take(
    client: AiohttpClient, transfer_format: TransferFormat, content_type: str
) -> None:
    serve = PollServer()
    async with raw_server(serve) as server:
        async with opened(client, server.url, transfer_format=transfer_format) as transport:
            assert transport.kind is Transport.LONG_POLLING
            assert transport.inherent_keep_alive
            serve.say(b"\x00one")
            assert await transport.receive() == b"\x00one"
            await transport.send(b"two")
            await transport.flush()
        await client.close()
    assert serve.methods() == ["GET", "GET", "POST", "DELETE"]
    assert {request.target for request in serve.requests} == {f"/hub?id={SECRET}"}
    assert {request.headers["authorization"] for request in serve.requests} == {f"Bearer {TOKEN}"}
    assert serve.requests[2].headers["content-type"] == content_type
    assert serve.requests[2].body == b"two"


async def test_the_first_poll_may_bring_something_already() -> None:
    http = ScriptedHttp(data(b"early"), data(b"late"), OVER)
    async with opened(http) as transport:
        assert await transport.receive() == b"early"
        assert await transport.receive() == b"late"
        assert await transport.receive() is None


async def test_a_poll_that_brings_nothing_is_followed_by_the_next() -> None:
    http = ScriptedHttp(EMPTY, EMPTY, EMPTY, data(b"x"), OVER)
    async with opened(http) as transport:
        assert await transport.receive() == b"x"
        assert await transport.receive() is None


@without_waiting
async def test_a_server_that_answers_empty_at_once_is_asked_once_a_second_at_most() -> None:
    http = ScriptedHttp(*[EMPTY] * 3601)
    time = asyncio.get_running_loop().time
    began = time()
    async with opened(http) as transport:
        with pytest.raises(AssertionError, match="nobody expected"):
            await transport.receive()
        assert time() - began > 3500
        http.answers.append(OVER)
        http.answers.append(ACCEPTED)


@without_waiting
async def test_the_first_empty_answers_are_followed_by_polls_at_once() -> None:
    time = asyncio.get_running_loop().time
    http = ScriptedHttp(EMPTY, *[EMPTY, EMPTY, data(b"x")] * 100, OVER)
    async with opened(http) as transport:
        for _ in range(100):
            assert await transport.receive() == b"x"
        assert await transport.receive() is None
        assert time() == 0


@without_waiting
async def test_a_poll_that_the_server_held_is_followed_by_the_next_at_once() -> None:
    """ASP.NET Core ends a poll without messages after 90 s, some proxies earlier."""
    time = asyncio.get_running_loop().time

    class Holding(ScriptedHttp):
        async def request(self, request: HttpRequest, /) -> HttpResponse:
            if self.answers and len(self.requests) > 0:
                await asyncio.sleep(5)
            return await super().request(request)

    http = Holding(*[EMPTY] * 100, OVER)
    async with opened(http) as transport:
        assert await transport.receive() is None
        assert time() == 100 * 5


@without_waiting
async def test_close_ends_the_wait_for_the_next_poll() -> None:
    http = ScriptedHttp(*[EMPTY] * 20, ACCEPTED)
    async with opened(http) as transport:
        receiving = asyncio.create_task(transport.receive())
        await asyncio.sleep(0.1)
        await transport.close()
        assert await receiving is None
    assert methods(http)[-1] == "DELETE"
    assert len(http.requests) < 10


async def test_nobody_polls_without_being_asked() -> None:
    http = ScriptedHttp(EMPTY, ACCEPTED)
    async with opened(http):
        assert methods(http) == ["GET"]


async def test_time_limits_and_sizes_of_each_request() -> None:
    http = ScriptedHttp(EMPTY, data(b"x"), HttpResponse(200), ACCEPTED)
    async with opened(http, timeouts=Timeouts(request=3.0, connect=7.0)) as transport:
        await transport.receive()
        await transport.send(b"x")
    first, poll, post, delete = http.requests
    assert [request.timeout for request in (first, poll, post, delete)] == [3.0, 120.0, None, 3.0]
    assert {request.connect_timeout for request in http.requests} == {7.0}
    assert first.max_bytes == poll.max_bytes == 2 * 1000 + 128 * 1024


# The end


async def test_204_is_the_end_without_a_delete() -> None:
    http = ScriptedHttp(EMPTY, OVER)
    async with opened(http) as transport:
        assert await transport.receive() is None
        assert await transport.receive() is None
    assert methods(http) == ["GET", "GET"]


@pytest.mark.parametrize(
    ("answer", "text"),
    [
        (HttpResponse(404), "the connection is gone: the server does not know it any more (status 404)"),
        (HttpResponse(500), "the server refused a poll (status 500)"),
        (HttpResponse(401), "the server refused a poll (status 401)"),
        (HttpResponse(302), "the server refused a poll (status 302)"),
        (TimeoutError("no answer"), "a poll was not answered, so what it would have brought is lost: no answer"),
        (ConnectionResetError("cut"), "a poll was cut off, and what it may have brought is lost: cut"),
    ],
)
async def test_a_poll_that_fails_is_a_loss_without_a_delete(answer: HttpResponse | Exception, text: str) -> None:
    """Some clients poll a connection that is gone in a busy loop, and tell nobody."""
    http = ScriptedHttp(EMPTY, answer)
    async with opened(http) as transport:
        with pytest.raises(ConnectionClosedError) as caught:
            await transport.receive()
    assert str(caught.value) == text
    assert caught.value.allow_reconnect
    assert methods(http) == ["GET", "GET"]


async def test_a_poll_over_the_limit_is_refused(client: AiohttpClient) -> None:
    serve = PollServer()
    async with raw_server(serve) as server:
        async with opened(client, server.url) as transport:
            serve.say(b"x" * (2 * 1000 + 128 * 1024 + 1))
            with pytest.raises(RemoteProtocolError, match="over the limit"):
                await transport.receive()
        await client.close()
    assert serve.methods() == ["GET", "GET"]


@pytest.mark.parametrize("answered", [False, True])
async def test_a_poll_that_is_cut_is_a_loss_and_never_repeated(client: AiohttpClient, answered: bool) -> None:
    """The messages of its answer would be gone without a word."""
    polls = []

    async def serve(connection: RawConnection) -> None:
        while (request := await connection.request()) is not None:
            polls.append(request)
            if len(polls) == 1:
                connection.answer(200)
                continue
            if answered:
                connection.write(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf")
                await connection.writer.drain()
                return
            connection.cut()

    async with raw_server(serve) as server, opened(client, server.url) as transport:
        with pytest.raises(ConnectionClosedError, match="a poll was cut off") as caught:
            await transport.receive()
        assert_hides(caught.value, SECRET, TOKEN)
    assert len(polls) == 2


async def test_a_connection_that_is_closed_between_two_polls_is_no_loss(client: AiohttpClient) -> None:
    """Proxies do that; nothing was under way on it."""

    async def serve(connection: RawConnection) -> None:
        request = await connection.request()
        assert request is not None
        connection.answer(202 if request.method == "DELETE" else 200, b"x")
        await connection.writer.drain()

    async with raw_server(serve) as server:
        async with opened(client, server.url) as transport:
            for _ in range(30):
                assert await transport.receive() == b"x"
                await server.connections[-1].writer.wait_closed()
        await client.close()


# Posting


@pytest.mark.parametrize(("status", "text"), [(404, "is gone"), (413, "too large"), (503, "refused what was sent")])
async def test_a_post_that_is_refused_is_a_loss(status: int, text: str) -> None:
    http = ScriptedHttp(EMPTY, HttpResponse(status), ACCEPTED)
    async with opened(http) as transport:
        with pytest.raises(ConnectionClosedError, match=text) as caught:
            await transport.send(b"x")
    assert f"status {status}" in str(caught.value)


async def test_an_answer_to_a_post_that_is_too_large_or_compressed_is_a_loss() -> None:
    http = ScriptedHttp(EMPTY, RemoteProtocolError("the answer is compressed"), ACCEPTED)
    async with opened(http) as transport:
        with pytest.raises(ConnectionClosedError, match="the answer is compressed") as caught:
            await transport.send(b"x")
    assert caught.value.allow_reconnect


@pytest.mark.parametrize("failing", ["poll", "post"])
async def test_a_401_asks_for_another_token_and_the_connection_lives_on(failing: str) -> None:
    tokens = iter(["old", "new"])
    http = ScriptedHttp(EMPTY, HttpResponse(401), data(b"x"), ACCEPTED)
    async with opened(http, access_token=lambda: next(tokens)) as transport:
        if failing == "poll":
            assert await transport.receive() == b"x"
        else:
            await transport.send(b"x")
    sent = [request.headers["Authorization"] for request in http.requests]
    assert sent == ["Bearer old", "Bearer old", "Bearer new", "Bearer new"]


# Closing


async def test_close_ends_a_poll_and_then_deletes(client: AiohttpClient) -> None:
    serve = PollServer()
    async with raw_server(serve) as server:
        async with opened(client, server.url) as transport:
            receiving = asyncio.create_task(transport.receive())
            await serve.polled.wait()
            await transport.close()
            await transport.close()
            assert await receiving is None
            assert await transport.receive() is None
        await client.close()
    assert serve.methods() == ["GET", "GET", "DELETE"]


async def test_close_ends_a_post_that_the_server_holds(client: AiohttpClient) -> None:
    serve = PollServer()
    serve.holds_posts = True
    async with raw_server(serve) as server:
        async with opened(client, server.url) as transport:
            sending = asyncio.create_task(transport.send(b"x"))
            await serve.posted.wait()
            await transport.close()
            with pytest.raises(ConnectionClosedError, match="the connection was closed"):
                await sending
        await client.close()


@pytest.mark.parametrize(
    ("answer", "logged"),
    [
        (ACCEPTED, None),
        (HttpResponse(200), None),
        (HttpResponse(404), None),
        (HttpResponse(500), "the server refused the DELETE that ends the connection (status 500)"),
        (ConnectionResetError("cut"), "the DELETE that ends the connection failed: cut"),
        (RemoteProtocolError("large"), "the DELETE that ends the connection failed: large"),
    ],
)
async def test_a_delete_that_fails_is_only_logged(
    answer: HttpResponse | Exception, logged: str | None, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG, "signalr_sdk.transport")
    http = ScriptedHttp(EMPTY, answer)
    async with opened(http):
        pass
    assert methods(http) == ["GET", "DELETE"]
    assert [record.getMessage() for record in caplog.records] == ([logged] if logged else [])


async def test_a_token_provider_that_fails_at_the_delete_is_only_logged() -> None:
    tokens = iter(["old"])
    http = ScriptedHttp(EMPTY, HttpResponse(401))
    async with opened(http, access_token=lambda: next(tokens, 7)):
        pass
    assert not http.answers


async def test_a_delete_that_is_not_answered_is_not_waited_for(client: AiohttpClient) -> None:
    async def serve(connection: RawConnection) -> None:
        await connection.request()
        connection.answer(200)
        await connection.request()
        await connection.request()

    async with raw_server(serve) as server, opened(client, server.url, timeouts=Timeouts(request=0.2)):
        pass


async def test_cancelling_close_drops_the_connection(client: AiohttpClient) -> None:
    deleting = asyncio.Event()

    async def serve(connection: RawConnection) -> None:
        while (request := await connection.request()) is not None:
            if request.method == "DELETE":
                deleting.set()
            else:
                connection.answer(200)

    async with raw_server(serve) as server, opened(client, server.url) as transport:
        closing = asyncio.create_task(transport.close())
        await deleting.wait()
        closing.cancel()
        with pytest.raises(asyncio.CancelledError):
            await closing


async def test_cancelling_close_at_once_ends_the_poll_too(client: AiohttpClient) -> None:
    serve = PollServer()
    async with raw_server(serve) as server, opened(client, server.url) as transport:
        receiving = asyncio.create_task(transport.receive())
        await serve.polled.wait()
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0):
                await transport.close()
        assert await receiving is None


async def test_drop_ends_a_poll_and_says_no_goodbye(client: AiohttpClient) -> None:
    serve = PollServer()
    async with raw_server(serve) as server, opened(client, server.url) as transport:
        receiving = asyncio.create_task(transport.receive())
        await serve.polled.wait()
        transport.drop()
        assert await receiving is None
        await transport.close()
        with pytest.raises(ConnectionClosedError):
            await transport.send(b"x")
    assert {request.method for request in serve.requests} == {"GET"}


async def test_nothing_is_sent_without_waiting() -> None:
    http = ScriptedHttp(EMPTY, ACCEPTED)
    async with opened(http) as transport:
        assert not transport.send_now(b"x")
    assert methods(http) == ["GET", "DELETE"]


# Opening


async def refusal(http: HttpClient, url: str = "http://example.com", **options: Any) -> TransportError:
    """Return the error of an attempt to open it."""
    with pytest.raises(TransportError) as caught:
        async with opened(http, url, **options):
            pass
    error = caught.value
    assert_hides(error, SECRET, TOKEN)
    assert error.transport is Transport.LONG_POLLING
    assert error.url == f"{url}/hub"
    return error


@pytest.mark.parametrize(
    ("answer", "text"),
    [
        (HttpResponse(204), "the server closed the connection at once"),
        (HttpResponse(401), "the token is missing"),
        (HttpResponse(404), "sticky sessions"),
        (HttpResponse(429, (("Retry-After", "9"),)), "the server refused it"),
        (HttpResponse(302, (("location", f"/login?r={SECRET}"),)), "redirects to /login, which is not followed"),
    ],
)
async def test_a_refusal_says_why(answer: HttpResponse, text: str) -> None:
    http = ScriptedHttp(answer)
    error = await refusal(http)
    assert error.status == answer.status
    assert text in error.message
    assert error.retry_after == (9.0 if answer.status == 429 else None)
    assert methods(http) == ["GET"]


@pytest.mark.parametrize(
    "failure", [ConnectionRefusedError("away"), TimeoutError("slow"), RemoteProtocolError("large")]
)
async def test_a_first_poll_that_fails_is_a_transport_error(failure: Exception) -> None:
    error = await refusal(ScriptedHttp(failure))
    assert error.message == str(failure)
    assert error.__cause__ is failure


async def test_a_slow_first_poll_is_not_waited_for(client: AiohttpClient) -> None:
    async def serve(connection: RawConnection) -> None:
        await connection.request()
        await connection.request()

    async with raw_server(serve) as server:
        error = await refusal(client, server.url, timeouts=Timeouts(request=0.05))
        await client.close()
    assert "within 0.05 s" in error.message


async def test_a_token_provider_that_fails_is_not_the_transports_fault() -> None:
    with pytest.raises(ConnectionFailedError) as caught:
        async with opened(ScriptedHttp(), access_token=lambda: 7):
            pass
    assert not isinstance(caught.value, TransportError)


# TLS and proxies


@pytest.mark.parametrize("proxied", [None, "open", "me:password"])
@pytest.mark.parametrize("tls", [False, True])
async def test_through_tls_with_a_client_certificate_and_proxies(
    authority: Authority, proxied: str | None, tls: bool
) -> None:
    password = proxied if proxied != "open" else None
    serve = PollServer()
    context = authority.server(wants_client_certificate=True) if tls else None
    async with raw_server(serve, context) as server, http_proxy(password) as proxy:
        url = proxy.url.replace("//", f"//{password}@") if password else proxy.url
        client = AiohttpClient(proxy=url if proxied else None, ssl=authority.client(with_certificate=True))
        async with opened(client, server.url) as transport:
            serve.say(b"hello")
            assert await transport.receive() == b"hello"
            await transport.send(b"hello")
        await client.close()
    assert bool(proxy.lines) == bool(proxied)
    assert serve.methods() == ["GET", "GET", "POST", "DELETE"]
