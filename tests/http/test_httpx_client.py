"""The httpx adapter: answers of every kind by respx, and whole connections against the test server."""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import AsyncIterator

import httpx
import pytest
import respx
from tests.servers import RawConnection, raw_server

from signalr_sdk import (
    ConnectionClosedError,
    ConnectionFailedError,
    HubConnection,
    NegotiationError,
    Timeouts,
    Transport,
)
from signalr_sdk._http.httpx_client import HttpxClient
from signalr_sdk._http.request_sender import RequestSender
from signalr_sdk.errors import RemoteProtocolError
from signalr_sdk.interfaces import HttpClient, HttpRequest, WebSocketConnector
from signalr_sdk.testing import Hub, HubServer

URL = "http://hub.test/chat?key=secret"
NEGOTIATE = "http://hub.test/chat/negotiate"
OFFER = {
    "negotiateVersion": 1,
    "connectionId": "a",
    "connectionToken": "b",
    "availableTransports": [{"transport": "LongPolling", "transferFormats": ["Text", "Binary"]}],
}


@pytest.fixture
async def client() -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient() as client:
        yield client


async def fails(client: httpx.AsyncClient, **options: object) -> NegotiationError:
    hub = HubConnection(URL, http=client, reconnect=False, **options)  # type: ignore[arg-type]
    with pytest.raises(NegotiationError) as caught:
        await hub.start()
    shown = f"{caught.value} {caught.value!r} {caught.value.__cause__!r}"
    assert "secret" not in shown
    return caught.value


class Everything(Hub):
    async def add(self, a: int, b: int) -> int:
        return a + b

    async def count(self, n: int) -> AsyncIterator[int]:
        for number in range(n):
            yield number

    async def flood(self, n: int) -> None:
        for number in range(n):
            await self.clients.caller.send("number", number)


@pytest.mark.parametrize(
    ("transport", "protocol"),
    [
        (Transport.SERVER_SENT_EVENTS, "json"),
        (Transport.LONG_POLLING, "json"),
        (Transport.LONG_POLLING, "messagepack"),
    ],
)
async def test_a_whole_connection(client: httpx.AsyncClient, transport: Transport, protocol: str) -> None:
    async with HubServer({"/chat": Everything}) as server:
        hub = HubConnection(server.url("/chat"), http=client, protocol=protocol, transports=transport)  # type: ignore[arg-type]
        numbers: list[int] = []
        hub.on("number", numbers.append)
        async with hub:
            assert hub.transport is transport
            assert await hub.invoke("Add", 1, 2) == 3
            assert [n async for n in hub.stream("Count", 100)] == list(range(100))
            await hub.invoke("Flood", 50)
        assert numbers == list(range(50))
    assert not client.is_closed


async def test_a_subclass_is_a_client_too() -> None:
    class Client(httpx.AsyncClient):
        """A class of the user's, as libraries for OAuth have them."""

    async with (
        HubServer({"/chat": Everything}) as server,
        Client() as client,
        HubConnection(server.url("/chat"), http=client) as hub,
    ):
        assert hub.transport is Transport.SERVER_SENT_EVENTS
        assert await hub.invoke("Add", 1, 2) == 3


async def test_a_client_that_would_block_the_loop_is_refused() -> None:
    class Client(httpx.Client):
        """A class of the user's."""

    with Client() as client:
        hub = HubConnection("http://127.0.0.1:9/", http=client, reconnect=False)  # type: ignore[arg-type]
        with pytest.raises(TypeError, match=r"httpx\.AsyncClient"):
            await hub.start()


async def test_web_sockets_are_not_opened_behind_the_users_back(client: httpx.AsyncClient) -> None:
    assert isinstance(HttpxClient(client), HttpClient)
    assert not isinstance(HttpxClient(client), WebSocketConnector)
    async with HubServer({"/chat": Everything}) as server, HubConnection(server.url("/chat"), http=client) as hub:
        assert hub.transport is Transport.SERVER_SENT_EVENTS
    with pytest.raises(ConnectionFailedError, match="WebSockets"):
        await HubConnection("http://hub.test/", http=client, skip_negotiation=True).start()


@pytest.mark.parametrize("status", [400, 401, 403, 404, 405, 500, 503])
@respx.mock
async def test_refusals(client: httpx.AsyncClient, status: int) -> None:
    respx.post(NEGOTIATE).respond(status, headers={"Retry-After": "7"})
    error = await fails(client)
    assert (error.status, error.url) == (status, NEGOTIATE)
    if status == 503:
        assert error.retry_after == 7


@respx.mock
async def test_http_redirects_are_not_followed(client: httpx.AsyncClient) -> None:
    respx.post(NEGOTIATE).respond(302, headers={"Location": "http://elsewhere.test/login?key=secret"})
    assert "elsewhere.test/login" in str(await fails(client))


@respx.mock
async def test_html_is_no_answer(client: httpx.AsyncClient) -> None:
    respx.post(NEGOTIATE).respond(200, html="<html>login</html>")
    assert "HTML" in str(await fails(client))


@respx.mock
async def test_an_auth_flow_of_httpx_answers_a_401(client: httpx.AsyncClient) -> None:
    client.auth = httpx.BasicAuth("me", "word")
    route = respx.post(NEGOTIATE).respond(
        200, json={**OFFER, "availableTransports": [{"transport": "Pigeon", "transferFormats": []}]}
    )
    with pytest.raises(ConnectionFailedError, match="Pigeon"):
        await HubConnection(URL, http=client, reconnect=False).start()
    assert route.calls.last.request.headers["Authorization"].startswith("Basic ")


@pytest.mark.parametrize(
    ("error", "cause", "text"),
    [
        (httpx.ConnectError("refused"), ConnectionError, "cannot connect to hub.test:80"),
        (httpx.ConnectTimeout("slow"), TimeoutError, "did not answer in time"),
        (httpx.ReadError("cut"), ConnectionError, "broke off: cut"),
        (httpx.RemoteProtocolError("no HTTP"), ConnectionError, "broke off"),
        (httpx.ProxyError("407"), ConnectionError, "the proxy refused"),
    ],
)
@respx.mock
async def test_network_errors_have_plain_names(
    client: httpx.AsyncClient, error: Exception, cause: type[Exception], text: str
) -> None:
    respx.post(NEGOTIATE).mock(side_effect=error)
    failure = await fails(client)
    assert isinstance(failure.__cause__, cause)
    assert text in str(failure)
    assert not isinstance(failure.__cause__.__cause__, httpx.HTTPError)
    assert failure.__cause__.__context__ is None


@respx.mock
async def test_a_slow_answer_times_out(client: httpx.AsyncClient) -> None:
    async def never(_request: httpx.Request) -> httpx.Response:
        await asyncio.Event().wait()
        raise AssertionError

    respx.post(NEGOTIATE).mock(side_effect=never)
    failure = await fails(client, timeouts=Timeouts(request=0.05))
    assert isinstance(failure.__cause__, TimeoutError)


async def test_a_closed_client_is_named() -> None:
    client = httpx.AsyncClient()
    await client.aclose()
    assert "is closed" in str(await fails(client))


async def test_tls_and_dns_keep_their_kind(client: httpx.AsyncClient) -> None:
    async with HubServer({"/chat": Everything}) as server:
        https = server.url("/chat").replace("http:", "https:")
        for url, kind in ((https, ssl.SSLError), ("http://nowhere.invalid/chat", socket.gaierror)):
            with pytest.raises(NegotiationError) as caught:
                await HubConnection(url, http=client, reconnect=False).start()
            assert isinstance(caught.value.__cause__, kind)


@respx.mock
async def test_a_broken_stream_is_a_loss(client: httpx.AsyncClient) -> None:
    class Broken(httpx.AsyncByteStream):
        async def __aiter__(self) -> AsyncIterator[bytes]:
            yield b"data: {}\x1e\n\n"
            yield b""
            raise httpx.ReadError("cut")

    offer = [{"transport": "ServerSentEvents", "transferFormats": ["Text"]}]
    respx.post(NEGOTIATE).respond(200, json={**OFFER, "availableTransports": offer})
    respx.get("http://hub.test/chat").respond(200, stream=Broken(), content_type="text/event-stream")
    respx.post("http://hub.test/chat").respond(200)
    hub = HubConnection(URL, http=client, reconnect=False)
    await hub.start()
    with pytest.raises(ConnectionClosedError, match="cut"):
        await hub.wait_closed()


@respx.mock
async def test_an_answer_over_the_limit_is_not_read(client: httpx.AsyncClient) -> None:
    respx.get("http://hub.test/").respond(200, content=b"x" * 100)
    with pytest.raises(RemoteProtocolError, match="10 bytes"):
        await HttpxClient(client).request(HttpRequest(method="GET", url="http://hub.test/", max_bytes=10))


async def test_cookies_of_the_client_and_of_the_connection_go_along_together() -> None:
    """A login with httpx must not be forgotten when a load balancer sets a cookie."""
    seen: list[str] = []

    async def serve(connection: RawConnection) -> None:
        while (request := await connection.request()) is not None:
            seen.append(request.headers.get("cookie", ""))
            connection.answer(200, Set_Cookie="affinity=1")

    async with raw_server(serve) as server, httpx.AsyncClient(cookies={"login": "me", "mine": "old"}) as client:
        sender = RequestSender(HttpxClient(client), server.url, timeouts=Timeouts(), cookies={"mine": "é"})
        for _ in range(2):
            await sender.request("POST", f"{server.url}/hub", timeout=5.0)
        plain = RequestSender(HttpxClient(client), server.url, timeouts=Timeouts())
        await plain.request("POST", f"{server.url}/hub", timeout=5.0)
    assert seen[:2] == ["login=me; mine=é", "login=me; mine=é; affinity=1"]
    assert sorted(seen[2].split("; ")) == ["affinity=1", "login=me", "mine=old"]
