"""Requests one level below aiohttp's session: when they are possible, what they leave to the session, and what ends."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import aiohttp
import pytest
from tests.servers import RawConnection, Request, raw_server

from signalr_sdk._http.aiohttp_client import AiohttpClient
from signalr_sdk._http.aiohttp_exchange import Exchanges
from signalr_sdk.interfaces import HttpRequest

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

LARGE = 600 * 1024


@pytest.fixture
async def direct() -> AsyncIterator[AiohttpClient]:
    client = AiohttpClient()
    yield client
    await client.close()


@pytest.fixture
def over_sessions(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """A list of the methods of all requests that go over aiohttp's session, except those that are never sent."""
    asked = []
    request = aiohttp.ClientSession.request

    def noted(self: aiohttp.ClientSession, method: str, url: Any, **options: Any) -> Any:
        asked.append(method)
        return request(self, method, url, **options)

    monkeypatch.setattr(aiohttp.ClientSession, "request", noted)
    return asked


async def echo(connection: RawConnection) -> None:
    while (request := await connection.request()) is not None:
        connection.answer(200, f"{request.method} {request.target} {len(request.body)}".encode())


def test_this_version_of_aiohttp_has_what_is_needed() -> None:
    assert Exchanges.possible()


@pytest.mark.parametrize("name", ["BaseConnector.connect", "client_proto.ResponseHandler.set_response_params"])
@pytest.mark.parametrize("is_there", [True, False])
def test_another_aiohttp_may_lack_it(monkeypatch: pytest.MonkeyPatch, name: str, is_there: bool) -> None:
    if is_there:
        monkeypatch.setattr(f"aiohttp.{name}", lambda self, request: None)
    else:
        monkeypatch.delattr(f"aiohttp.{name}")
    Exchanges.possible.cache_clear()
    try:
        assert not Exchanges.possible()
    finally:
        Exchanges.possible.cache_clear()


async def test_they_are_used(direct: AiohttpClient, over_sessions: list[str]) -> None:
    async with raw_server(echo) as server:
        for method in ("POST", "GET", "DELETE"):
            answer = await direct.request(HttpRequest(method=method, url=f"{server.url}/a?b", body=b"x"))
            assert answer.body == f"{method} /a?b 1".encode()
        assert len(server.connections) == 1
        await direct.close()
    assert over_sessions == []


async def test_a_large_body_goes_over_the_session(direct: AiohttpClient, over_sessions: list[str]) -> None:
    async with raw_server(echo) as server:
        await direct.request(HttpRequest(method="POST", url=server.url, body=bytes(LARGE)))
        await direct.close()
    assert over_sessions == ["POST"]


@pytest.mark.parametrize("name", ["Host", "host", "Connection", "content-length"])
async def test_headers_that_are_more_than_text_go_over_the_session(
    direct: AiohttpClient, over_sessions: list[str], name: str
) -> None:
    seen: list[Request | None] = []

    async def serve(connection: RawConnection) -> None:
        seen.append(await connection.request())
        connection.answer(200)

    async with raw_server(serve) as server:
        await direct.request(HttpRequest(method="POST", url=server.url, headers={name: "1"}, body=b"x"))
    (request,) = seen
    assert request is not None
    assert request.headers[name.lower()] == "1"
    assert over_sessions == ["POST"]


async def test_a_head_request_has_no_body_in_its_answer(direct: AiohttpClient) -> None:
    async def serve(connection: RawConnection) -> None:
        while (request := await connection.request()) is not None:
            assert "content-length" not in request.headers
            connection.write(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n")

    async with raw_server(serve) as server:
        for _ in range(2):
            assert (await direct.request(HttpRequest(method="HEAD", url=server.url, timeout=5))).status == 200
        assert len(server.connections) == 1
        await direct.close()


@pytest.mark.parametrize("mark", ["\r", "\n", "\0", "\r\nX-Other: 1"])
async def test_no_header_holds_a_line_break(direct: AiohttpClient, mark: str) -> None:
    async with raw_server(echo) as server:
        with pytest.raises(ConnectionError, match="a header or the URL holds a line break"):
            await direct.request(HttpRequest(method="POST", url=server.url, headers={"X-One": f"a{mark}b"}))
        assert server.connections == []


async def test_a_request_that_is_cancelled_closes_its_connection(direct: AiohttpClient) -> None:
    asked, ended = asyncio.Event(), asyncio.Event()

    async def serve(connection: RawConnection) -> None:
        await connection.request()
        asked.set()
        assert await connection.request() is None
        ended.set()

    async with raw_server(serve) as server:
        task = asyncio.create_task(direct.request(HttpRequest(method="POST", url=server.url)))
        await asked.wait()
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        await ended.wait()


async def test_a_connection_that_the_server_ends_is_not_used_again(direct: AiohttpClient) -> None:
    async def serve(connection: RawConnection) -> None:
        await connection.request()
        connection.answer(200, Connection="close")

    async with raw_server(serve) as server:
        for _ in range(3):
            assert (await direct.request(HttpRequest(method="POST", url=server.url))).status == 200
        assert len(server.connections) == 3


async def test_what_comes_over_an_idle_connection_is_no_response(direct: AiohttpClient) -> None:
    idle, said = asyncio.Event(), asyncio.Event()

    async def serve(connection: RawConnection) -> None:
        while await connection.request():
            connection.answer(200, b"right")
            await idle.wait()
            connection.answer(408, b"nobody asked")
            said.set()

    async with raw_server(serve) as server:
        for _ in range(3):
            answer = await direct.request(HttpRequest(method="POST", url=server.url))
            assert (answer.status, answer.body) == (200, b"right")
            idle.set()
            await said.wait()
            idle.clear()
            said.clear()
            await asyncio.sleep(0.01)  # until the client has received it
        assert len(server.connections) == 3
        await direct.close()


async def test_a_connection_that_takes_too_long(direct: AiohttpClient, monkeypatch: pytest.MonkeyPatch) -> None:
    async def never(*_arguments: Any) -> None:
        raise TimeoutError

    monkeypatch.setattr(aiohttp.TCPConnector, "connect", never)
    with pytest.raises(TimeoutError, match=r"^cannot connect to 127.0.0.1:1 within 3 s$"):
        await direct.request(HttpRequest(method="POST", url="http://127.0.0.1:1/", connect_timeout=3))


async def test_a_connection_that_is_lost_at_once(direct: AiohttpClient, monkeypatch: pytest.MonkeyPatch) -> None:
    connect = aiohttp.TCPConnector.connect

    async def lost(self: aiohttp.TCPConnector, *arguments: Any) -> Any:
        connection = await connect(self, *arguments)
        assert connection.transport is not None
        connection.transport.abort()
        await asyncio.sleep(0.01)
        assert connection.transport is None
        return connection

    monkeypatch.setattr(aiohttp.TCPConnector, "connect", lost)
    async with raw_server(echo) as server:
        with pytest.raises(ConnectionResetError, match="was lost before its answer had come"):
            await direct.request(HttpRequest(method="POST", url=server.url))


async def test_a_tracer_of_all_sessions_sees_each_request(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tracers give each new session a `TraceConfig`, as those of OpenTelemetry and Sentry do."""
    seen = []

    async def note(_session: aiohttp.ClientSession, _context: Any, request: aiohttp.TraceRequestStartParams) -> None:
        seen.append(str(request.url))

    make = aiohttp.ClientSession.__init__

    def traced(self: aiohttp.ClientSession, **options: Any) -> None:
        tracer = aiohttp.TraceConfig()
        tracer.on_request_start.append(note)
        make(self, **options, trace_configs=[tracer])

    monkeypatch.setattr(aiohttp.ClientSession, "__init__", traced)
    client = AiohttpClient()
    async with raw_server(echo) as server:
        await client.request(HttpRequest(method="POST", url=f"{server.url}/x"))
        await client.close()
    assert seen == [f"{server.url}/x"]


async def test_users_tests_may_replace_the_requests_of_aiohttp(
    direct: AiohttpClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As aioresponses does."""
    asked = []

    async def replaced(_self: aiohttp.ClientSession, method: str, url: Any, **_options: Any) -> Any:
        asked.append((method, str(url)))
        return answer

    async with raw_server(echo) as server:
        url = f"{server.url}/x"
        async with aiohttp.ClientSession() as session, session.post(url) as answer:
            monkeypatch.setattr(aiohttp.ClientSession, "_request", replaced)
            body = (await direct.request(HttpRequest(method="POST", url=url))).body
    assert (asked, body) == ([("POST", url)], b"POST /x 0")
