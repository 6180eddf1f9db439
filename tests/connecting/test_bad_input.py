"""What goes wrong has a name, a status and a place, and no secret; nothing hangs and nothing is left behind."""

from __future__ import annotations

import asyncio
import json
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, Any

import pytest
from aiohttp import web
from tests.servers import Authority, RawConnection, app_server, assert_hides, chain, raw_server

from signalr_sdk import (
    ClassicServerError,
    ConnectionClosedError,
    ConnectionFailedError,
    ConnectionState,
    HandshakeError,
    HubConnection,
    HubError,
    LocalProtocolError,
    NegotiationError,
    NotConnectedError,
    StateError,
    Timeouts,
    Transport,
    TransportError,
)

if TYPE_CHECKING:
    import logging
    from collections.abc import AsyncIterator, Awaitable, Callable

QUERY_SECRET = "query-secret"
TOKEN_SECRET = "token-secret"
HEADER_SECRET = "header-secret"
SECRETS = (QUERY_SECRET, TOKEN_SECRET, HEADER_SECRET, "connection-secret")
RECORD = b"\x1e"

every_transport = pytest.mark.parametrize("transport", list(Transport))


@pytest.fixture(autouse=True)
def no_environment_proxies(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)


def connection(url: str, **options: Any) -> HubConnection:
    """Return a connection with a secret wherever one can be."""
    return HubConnection(
        f"{url}?secret={QUERY_SECRET}",
        **{
            "access_token": TOKEN_SECRET,
            "headers": {"X-Key": HEADER_SECRET},
            "reconnect": False,
            **options,
        },
    )


async def fails(hub: HubConnection) -> Exception:
    """Return the error of a start, which shows no secret and has changed nothing."""
    with pytest.raises(ConnectionFailedError) as caught:
        await hub.start()
    assert_hides(caught.value, *SECRETS)
    assert hub.state is ConnectionState.DISCONNECTED
    assert hub.connection_id is None
    assert hub.transport is None
    with pytest.raises(NotConnectedError):
        await hub.invoke("Anything")
    await hub.stop()
    return caught.value


async def fails_to_negotiate(hub: HubConnection) -> NegotiationError:
    """Do the same for an error of negotiate, which says where it was."""
    error = await fails(hub)
    assert isinstance(error, NegotiationError)
    assert error.url is not None
    assert error.url == hub.url.partition("?")[0] + "/negotiate"
    assert error.url in str(error)
    return error


# URLs


@pytest.mark.parametrize(
    "url",
    [
        "",
        "hub",
        "/hub",
        "//example.com/hub",
        "ftp://example.com/hub",
        "file:///etc/passwd",
        "http://",
        "http:///hub",
        "http://example.com:0/hub",
        "http://example.com:99999/hub",
        "http://example.com:port/hub",
        f"http://user:{TOKEN_SECRET}@example.com/hub",
        "http://exa mple.com/hub",
        "http://[::1/hub",
        "http://example.com/h\nub",
        "localhost:5000/hub",
    ],
)
def test_a_url_that_cannot_be_one(url: str) -> None:
    with pytest.raises(ValueError, match="URL") as caught:
        connection(url)
    assert_hides(caught.value, *SECRETS)


@pytest.mark.parametrize("url", [None, 1, b"http://example.com/hub", object()])
def test_a_url_that_is_no_text(url: Any) -> None:
    with pytest.raises(TypeError, match="must be a str"):
        HubConnection(url)


def test_what_a_connection_shows_of_itself() -> None:
    hub = connection("http://example.com/hub")
    assert "http://example.com/hub" in repr(hub)
    for secret in SECRETS:
        assert secret not in repr(hub)


# The way there


async def test_a_refused_connection() -> None:
    async def serve(_connection: RawConnection) -> None: ...

    async with raw_server(serve) as server:
        url, port = server.url, server.port
    error = await fails_to_negotiate(connection(f"{url}/hub"))
    assert error.status is None
    assert f"cannot connect to 127.0.0.1:{port}" in str(error)
    assert any(isinstance(link, ConnectionRefusedError) for link in chain(error))


@every_transport
async def test_a_name_that_nobody_has(transport: Transport) -> None:
    hub = connection("http://nobody.invalid/hub", transports=transport)
    assert "cannot find the address of nobody.invalid:80" in str(await fails_to_negotiate(hub))


async def test_a_name_that_nobody_has_without_negotiation() -> None:
    error = await fails(connection("http://nobody.invalid/hub", skip_negotiation=True))
    assert isinstance(error, ConnectionFailedError)
    (attempt,) = error.attempts
    assert isinstance(attempt, TransportError)
    assert attempt.url == "http://nobody.invalid/hub"
    assert "cannot find the address of nobody.invalid:80" in str(error)


async def test_tls_that_is_none() -> None:
    async def serve(client: RawConnection) -> None:
        await client.reader.read(100)
        client.write(b"this is no TLS")

    async with raw_server(serve) as server:
        hub = connection(server.url.replace("http://", "https://") + "/hub")
        assert "check that it speaks TLS there" in str(await fails_to_negotiate(hub))


async def test_a_certificate_that_nobody_trusts() -> None:
    async def serve(client: RawConnection) -> None:
        await client.reader.read()

    async with raw_server(serve, Authority().server()) as server:
        assert "is not trusted" in str(await fails_to_negotiate(connection(f"{server.url}/hub")))


async def test_a_server_that_says_nothing_to_tls() -> None:
    async def serve(client: RawConnection) -> None:
        await client.reader.read()

    async with raw_server(serve) as server:
        url = server.url.replace("http://", "https://") + "/hub"
        hub = connection(url, timeouts=Timeouts(connect=0.1, request=5))
        assert isinstance((await fails_to_negotiate(hub)).__cause__, TimeoutError)


# Answers to negotiate


async def answered(said: bytes) -> NegotiationError:
    async def serve(client: RawConnection) -> None:
        await client.request()
        client.write(said)

    async with raw_server(serve) as server:
        return await fails_to_negotiate(connection(f"{server.url}/hub"))


def http(status: int, body: bytes = b"", **headers: str) -> bytes:
    fields = "".join(f"{name.replace('_', '-')}: {value}\r\n" for name, value in headers.items())
    return f"HTTP/1.1 {status} Said\r\n{fields}Content-Length: {len(body)}\r\n\r\n".encode() + body


@pytest.mark.parametrize(
    ("status", "advice"),
    [
        (400, "the server refused"),
        (401, "the server wants authentication: pass access_token="),
        (403, "access is denied"),
        (404, "check the path of the URL"),
        (405, "takes no POST there"),
        (407, "put them into the URL given as proxy="),
        (429, "too many requests"),
        (500, "the server failed"),
        (502, "the server failed"),
        (503, "not available at the moment"),
    ],
)
async def test_a_refusal_to_negotiate(status: int, advice: str) -> None:
    page = f"<html>you sent ?secret={QUERY_SECRET} and Bearer {TOKEN_SECRET}</html>".encode()
    error = await answered(http(status, page, Content_Type="text/html"))
    assert error.status == status
    assert f"status {status}" in str(error)
    assert advice in str(error)


async def test_a_refusal_that_quotes_the_token() -> None:
    error = await answered(http(401, f"refused Bearer {TOKEN_SECRET}".encode(), Content_Type="text/plain"))
    assert "it says: refused Bearer ***" in str(error)


async def test_a_refusal_that_asks_to_wait() -> None:
    error = await answered(http(503, Retry_After="17"))
    assert error.retry_after == 17
    assert "asks to wait 17 s" in str(error)


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_an_http_redirect_is_not_followed(status: int) -> None:
    error = await answered(http(status, Location=f"https://login.example.com/sign-in?return={QUERY_SECRET}"))
    assert error.status == status
    assert "redirect to https://login.example.com/sign-in, which is not followed" in str(error)


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b"", "the answer is empty, not JSON"),
        (b"<!DOCTYPE html><p>Sign in", "the answer is HTML, not JSON"),
        (b"\xef\xbb\xbf <html>", "the answer is HTML, not JSON"),
        (b"hello", "the answer is not JSON"),
        (b"\xff\xfe", "the answer is not JSON"),
        (b"[" * 100_000, "the answer is not JSON"),
        (b"[]", "is not a JSON object"),
        (b"null", "is not a JSON object"),
        (b"{}", "the answer has no connectionId"),
        (b'{"connectionId":1}', "connectionId is not text"),
        (b'{"connectionId":"a","negotiateVersion":1}', "the answer has no connectionToken"),
        (b'{"connectionId":"a"}', "offers no transports"),
        (b'{"connectionId":"a","availableTransports":{}}', "availableTransports is not a list"),
        (b'{"connectionId":"a","availableTransports":[1]}', "availableTransports is not a list of objects"),
        (b'{"error":"not today"}', "the server refused: not today"),
        (b'{"url":"ftp://elsewhere/hub"}', "where no hub can be"),
        (b'{"url":1}', "url is not text"),
        (b'{"url":"http://elsewhere/hub","accessToken":"a\\nb"}', "no HTTP header can carry"),
    ],
    ids=lambda value: value[:30].decode("latin-1") if isinstance(value, bytes) else "",
)
async def test_an_answer_that_is_no_use(body: bytes, reason: str) -> None:
    error = await answered(http(200, body))
    assert reason in str(error)
    assert error.status == 200


async def test_a_classic_server() -> None:
    body = b'{"Url":"/signalr","ConnectionToken":"connection-secret","ConnectionId":"y","ProtocolVersion":"1.5"}'
    assert isinstance(await answered(http(200, body)), ClassicServerError)


@pytest.mark.parametrize(
    "said", [b"", b"HTTP/1.1 200", b"SSH-2.0-OpenSSH_9\r\n", b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n{"]
)
async def test_an_answer_that_is_no_http(said: bytes) -> None:
    error = await answered(said)
    assert error.status is None
    assert "cannot negotiate" in str(error)


async def test_an_answer_without_end() -> None:
    async def serve(client: RawConnection) -> None:
        await client.request()
        client.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        while True:
            client.write(b"10000\r\n" + b"x" * 0x10000 + b"\r\n")
            await client.writer.drain()

    async with raw_server(serve) as server:
        assert "over the limit" in str(await fails_to_negotiate(connection(f"{server.url}/hub")))


async def test_an_answer_that_does_not_come() -> None:
    async def serve(client: RawConnection) -> None:
        await client.reader.read()

    async with raw_server(serve) as server:
        error = await fails_to_negotiate(connection(f"{server.url}/hub", timeouts=Timeouts(request=0.1)))
    assert isinstance(error.__cause__, TimeoutError)


@pytest.mark.parametrize("token", ["line\nbreak", "\x00"])
async def test_a_token_that_no_header_can_carry(token: str) -> None:
    hub = HubConnection("http://127.0.0.1:9/hub", access_token=token + TOKEN_SECRET, reconnect=False)
    with pytest.raises(Exception) as caught:  # noqa: PT011  # the lines below look
        await hub.start()
    assert isinstance(caught.value, ConnectionFailedError | ValueError)
    assert_hides(caught.value, TOKEN_SECRET)
    assert hub.state is ConnectionState.DISCONNECTED


async def test_a_token_provider_that_fails() -> None:
    def provide() -> str:
        raise LookupError("the vault is closed")

    error = await fails(connection("http://127.0.0.1:9/hub", access_token=provide))
    assert any(isinstance(link, LookupError) for link in chain(error))


# Transports


def negotiated(*transports: Transport) -> web.Response:
    return web.json_response(
        {
            "negotiateVersion": 1,
            "connectionId": "public-id",
            "connectionToken": "connection-secret",
            "availableTransports": [
                {"transport": transport, "transferFormats": ["Text", "Binary"]} for transport in transports
            ],
        }
    )


def hub_app(transport: Callable[[web.Request], Awaitable[web.StreamResponse]], *offered: Transport) -> web.Application:
    """Return a server that negotiates and has this transport."""

    async def negotiate(_request: web.Request) -> web.Response:
        return negotiated(*offered or Transport)

    async def dispatch(request: web.Request) -> web.StreamResponse:
        return await transport(request)

    app = web.Application()
    app.router.add_post("/hub/negotiate", negotiate)
    app.router.add_route("*", "/hub", dispatch)
    return app


@pytest.mark.parametrize("status", [301, 400, 401, 403, 404, 405, 409, 500, 503])
@every_transport
async def test_a_refused_transport(transport: Transport, status: int) -> None:
    async def refuse(_request: web.Request) -> web.Response:
        location = {"Location": f"http://elsewhere/x?{QUERY_SECRET}"} if status == 301 else {}
        return web.Response(status=status, text=f"Bearer {TOKEN_SECRET}", headers=location)

    async with app_server(hub_app(refuse)) as url:
        error = await fails(connection(f"{url}/hub", transports=transport))
        assert isinstance(error, ConnectionFailedError)
        attempt = error.attempts[0]
        assert isinstance(attempt, TransportError)
        assert (attempt.transport, attempt.status, attempt.url) == (transport, status, f"{url}/hub")
        assert f"status {status}" in str(error)
        assert f"{url}/hub" in str(error)


async def test_every_refused_transport_is_named() -> None:
    async def refuse(request: web.Request) -> web.Response:
        return web.Response(status=403 if "Upgrade" in request.headers else 404)

    async with app_server(hub_app(refuse)) as url:
        error = await fails(connection(f"{url}/hub"))
    assert isinstance(error, ConnectionFailedError)
    found = [(each.transport, each.status) for each in error.attempts if isinstance(each, TransportError)]
    assert found == list(zip(Transport, (403, 404, 404), strict=True))


@pytest.mark.parametrize("transport", [Transport.SERVER_SENT_EVENTS, Transport.WEBSOCKETS])
async def test_a_page_where_a_transport_should_begin(transport: Transport) -> None:
    async def page(_request: web.Request) -> web.Response:
        return web.Response(text="<html>Sign in</html>", content_type="text/html")

    async with app_server(hub_app(page)) as url:
        error = await fails(connection(f"{url}/hub", transports=transport))
    assert isinstance(error, ConnectionFailedError)
    assert isinstance(error.attempts[0], TransportError)
    assert error.attempts[0].status == 200


@every_transport
async def test_a_transport_that_vanishes_after_negotiate(transport: Transport) -> None:
    async def vanish(request: web.Request) -> web.Response:
        assert request.transport is not None
        request.transport.abort()
        return web.Response()

    async with app_server(hub_app(vanish)) as url:
        error = await fails(connection(f"{url}/hub", transports=transport))
    assert isinstance(error, ConnectionFailedError)
    assert isinstance(error.attempts[0], TransportError)
    assert error.attempts[0].status is None


@every_transport
async def test_a_transport_that_never_begins(transport: Transport) -> None:
    over = asyncio.Event()

    async def wait(_request: web.Request) -> web.Response:
        await over.wait()
        return web.Response()

    async with app_server(hub_app(wait)) as url:
        hub = connection(f"{url}/hub", transports=transport, timeouts=Timeouts(connect=0.2, request=0.2))
        assert "0.2 s" in str(await fails(hub))
        over.set()


# The handshake


async def over_web_socket(say: Callable[[web.WebSocketResponse], Awaitable[None]]) -> Exception:
    """Return the error of a start against this end of a WebSocket, which has read the handshake."""

    async def serve(request: web.Request) -> web.StreamResponse:
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        await socket.receive()
        await say(socket)
        return socket

    async with app_server(hub_app(serve)) as url:
        return await fails(connection(f"{url}/hub", timeouts=Timeouts(handshake=0.3)))


@pytest.mark.parametrize(
    ("said", "reason"),
    [
        (b'{"error":"The protocol is not supported."}' + RECORD, "The protocol is not supported."),
        (b'{"error":"access_token=token-secret"}' + RECORD, "access_token=***"),
        (b"<html>hello" + RECORD, "is not JSON"),
        (b'{"type":6}' + RECORD, "a hub message of type 6 came"),
        (b"{}" + RECORD + b'{"type":7,"error":"no entry"}' + RECORD, "no entry"),
        (b"{}" + RECORD + b"garbage" + RECORD, "is not JSON"),
        (b"", "did not answer the handshake within 0.3 s"),
        (b"{", "did not answer the handshake within 0.3 s"),
    ],
)
async def test_a_handshake_that_fails(said: bytes, reason: str) -> None:
    async def say(socket: web.WebSocketResponse) -> None:
        if said:
            await socket.send_bytes(said)
        await socket.receive()

    error = await over_web_socket(say)
    assert isinstance(error, HandshakeError)
    assert reason in str(error)


@pytest.mark.parametrize("code", [1000, 1001, 1008, 1011])
async def test_a_server_that_closes_instead_of_answering(code: int) -> None:
    async def say(socket: web.WebSocketResponse) -> None:
        await socket.close(code=code)

    assert isinstance(await over_web_socket(say), HandshakeError)


async def test_a_server_that_vanishes_instead_of_answering() -> None:
    async def serve(request: web.Request) -> web.StreamResponse:
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        await socket.receive()
        assert request.transport is not None
        request.transport.abort()
        return socket

    async with app_server(hub_app(serve)) as url:
        assert isinstance(await fails(connection(f"{url}/hub")), HandshakeError)


# A hub that works, until it does not


class TinyHub:
    """A hub over WebSockets that answers each call with its first argument, or vanishes when asked to."""

    async def serve(self, request: web.Request) -> web.StreamResponse:
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        await socket.receive()
        await socket.send_bytes(b"{}" + RECORD)
        async for message in socket:
            for record in message.data.encode().split(RECORD)[:-1]:
                await self._answer(request, socket, json.loads(record))
        return socket

    async def _answer(self, request: web.Request, socket: web.WebSocketResponse, call: dict[str, Any]) -> None:
        if call["type"] != 1:
            return
        if call["target"] == "Vanish":
            assert request.transport is not None
            request.transport.abort()
            return
        answers: list[dict[str, Any]] = []
        if call["target"] == "CallMe":
            answers.append({"type": 1, "target": call["arguments"][0], "arguments": call["arguments"][1:]})
        if "invocationId" in call:
            answers.append({"type": 3, "invocationId": call["invocationId"], "result": call["arguments"][0]})
        await socket.send_bytes(b"".join(json.dumps(each).encode() + RECORD for each in answers))


@pytest.fixture
async def tiny() -> AsyncIterator[HubConnection]:
    async with AsyncExitStack() as stack:
        url = await stack.enter_async_context(app_server(hub_app(TinyHub().serve)))
        yield await stack.enter_async_context(connection(f"{url}/hub"))


async def test_a_server_that_vanishes(tiny: HubConnection) -> None:
    assert await tiny.invoke("Echo", 1) == 1
    with pytest.raises(ConnectionClosedError, match="'Vanish'") as caught:
        await tiny.invoke("Vanish", 0)
    assert_hides(caught.value, *SECRETS)
    with pytest.raises(ConnectionClosedError) as ended:
        await tiny.wait_closed()
    assert ended.value.allow_reconnect
    assert_hides(ended.value, *SECRETS)
    assert tiny.state is ConnectionState.DISCONNECTED


class Unknown:
    def __repr__(self) -> str:
        return TOKEN_SECRET


@pytest.mark.parametrize(
    "argument",
    [float("nan"), float("inf"), "\ud800", {1: Unknown()}, [[Unknown()]], object(), {1, 2}, len],
    ids=["nan", "inf", "surrogate", "dict", "list", "object", "set", "function"],
)
@pytest.mark.parametrize("how", ["invoke", "send", "stream"])
async def test_an_argument_that_cannot_be_encoded(tiny: HubConnection, how: str, argument: Any) -> None:
    calls: dict[str, Callable[..., Awaitable[Any]]] = {
        "invoke": tiny.invoke,
        "send": tiny.send,
        "stream": lambda *args: tiny.stream(*args).next(),
    }
    with pytest.raises(LocalProtocolError, match=r"arguments\[1\]") as caught:
        await calls[how]("Echo", 1, argument)
    assert_hides(caught.value, *SECRETS)
    assert await tiny.invoke("Echo", "alive") == "alive"


async def test_an_argument_that_holds_itself(tiny: HubConnection) -> None:
    cycle: list[Any] = []
    cycle.append(cycle)
    with pytest.raises(LocalProtocolError):
        await tiny.invoke("Echo", cycle)
    assert await tiny.invoke("Echo", "alive") == "alive"


@pytest.mark.parametrize("method", [None, 1, b"Echo"])
async def test_a_method_that_is_no_text(tiny: HubConnection, method: Any) -> None:
    with pytest.raises(TypeError, match="the name of a hub method is a str"):
        await tiny.invoke(method)


@pytest.mark.parametrize("handler", [lambda: None, lambda a, b: None, lambda *, a: None], ids=["none", "two", "named"])
async def test_a_handler_with_the_wrong_arguments(
    tiny: HubConnection, handler: Any, expected_errors: list[logging.LogRecord]
) -> None:
    told: asyncio.Future[Exception] = asyncio.get_running_loop().create_future()
    others = tiny.messages("Event")
    tiny.on("Event", handler)
    tiny.on_error(told.set_result)
    assert await tiny.invoke("CallMe", "Event", 1) == "Event"
    assert isinstance(await told, TypeError)
    assert await others.next() == (1,)
    assert "Event" in expected_errors[0].getMessage()
    assert await tiny.invoke("Echo", "alive") == "alive"


@pytest.mark.parametrize("handler", [None, "Event", 1])
async def test_a_handler_that_cannot_be_called(tiny: HubConnection, handler: Any) -> None:
    if handler is None:
        assert callable(tiny.on("Event"))
        return
    with pytest.raises(TypeError, match="a handler must be callable"):
        tiny.on("Event", handler)


async def test_a_start_too_many(tiny: HubConnection) -> None:
    with pytest.raises(StateError, match="connected"):
        await tiny.start()
    assert await tiny.invoke("Echo", "alive") == "alive"


async def test_an_error_of_the_hub_method() -> None:
    async def serve(request: web.Request) -> web.StreamResponse:
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        await socket.receive()
        await socket.send_bytes(b"{}" + RECORD)
        async for message in socket:
            if '"target"' in message.data:
                await socket.send_bytes(b'{"type":3,"invocationId":"1","error":"not like this"}' + RECORD)
        return socket

    async with app_server(hub_app(serve)) as url, connection(f"{url}/hub") as hub:
        with pytest.raises(HubError, match="not like this") as caught:
            await hub.invoke("Try")
        assert caught.value.method == "Try"
        assert str(caught.value) == "not like this"
