"""The aiohttp client: what goes on the wire, what comes back, and what every failure is called."""

from __future__ import annotations

import asyncio
import pickle
import socket
import ssl
from typing import Any

import aiohttp
import attrs
import pytest
from aiohttp import web
from aiohttp.abc import AbstractResolver, ResolveResult
from tests.servers import Authority, RawConnection, Request, app_server, assert_hides, http_proxy, raw_server

from signalr_sdk._http.aiohttp_client import AiohttpClient
from signalr_sdk.errors import RemoteProtocolError
from signalr_sdk.interfaces import HttpClient, HttpRequest, WebSocketConnector, WebSocketOptions

QUERY_SECRET = "query-secret"
TOKEN_SECRET = "token-secret"
PROXY_SECRET = "proxy-secret"


def get(url: str, **options: Any) -> HttpRequest:
    return HttpRequest(
        method="GET",
        url=f"{url}/hub?id={QUERY_SECRET}",
        headers={"Authorization": f"Bearer {TOKEN_SECRET}", "X-One": "1"},
        **options,
    )


async def fails(client: AiohttpClient, request: HttpRequest) -> Exception:
    """Return the error of a request; it holds no secret and survives pickling."""
    with pytest.raises(Exception) as caught:  # noqa: PT011  # the caller looks
        await client.request(request)
    error = caught.value
    assert_hides(error, QUERY_SECRET, TOKEN_SECRET, PROXY_SECRET)
    copy = pickle.loads(pickle.dumps(error))
    assert (type(copy), str(copy)) == (type(error), str(error))
    return error


def test_it_is_a_client_with_web_sockets() -> None:
    client = AiohttpClient()
    assert isinstance(client, HttpClient)
    assert isinstance(client, WebSocketConnector)


# What goes out and comes in


async def test_url_headers_and_body_go_out_as_they_are(client: AiohttpClient) -> None:
    seen: list[Request | None] = []

    async def serve(connection: RawConnection) -> None:
        for _ in range(2):
            seen.append(await connection.request())
            connection.answer(200, b"body", X_Answer="yes", Set_Cookie="a=1\r\nSet-Cookie: b=2")

    async with raw_server(serve) as server:
        url = f"{server.url}/a%2Fb/%7Ec?x=%2f&y=a+b&sig=%3D=="
        answer = await client.request(
            HttpRequest(method="POST", url=url, headers={"X-Odd": "é", "Accept": "*/*", "User-Agent": "me"}, body=b"hi")
        )
        await client.request(HttpRequest(method="POST", url=url))
    assert answer.status == 200
    assert answer.body == b"body"
    assert answer.header("x-answer") == "yes"
    assert [value for name, value in answer.headers if name == "Set-Cookie"] == ["a=1", "b=2"]
    first, second = seen
    assert first is not None
    assert second is not None
    assert first.target == "/a%2Fb/%7Ec?x=%2f&y=a+b&sig=%3D=="
    assert first.body == b"hi"
    assert first.headers == {
        "host": f"127.0.0.1:{server.port}",
        "x-odd": "é",
        "accept": "*/*",
        "user-agent": "me",
        "accept-encoding": "identity",
        "content-length": "2",
    }
    assert second.headers["content-length"] == "0"
    assert len(server.connections) == 1


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_redirects_are_not_followed(client: AiohttpClient, status: int) -> None:
    async def serve(connection: RawConnection) -> None:
        await connection.request()
        connection.answer(status, Location="/elsewhere")
        assert await connection.request() is None

    async with raw_server(serve) as server:
        answer = await client.request(get(server.url))
        await client.close()
    assert (answer.status, answer.header("Location")) == (status, "/elsewhere")


async def test_cookies_are_left_to_the_caller(client: AiohttpClient) -> None:
    seen = []

    async def serve(connection: RawConnection) -> None:
        while (request := await connection.request()) is not None:
            seen.append(request.headers.get("cookie"))
            connection.answer(200, Set_Cookie="a=1")

    async with raw_server(serve) as server:
        url = server.url.replace("127.0.0.1", "localhost")
        await client.request(get(url))
        await client.request(get(url))
        await client.close()
    assert seen == [None, None]


async def test_an_answer_may_be_as_large_as_the_limit_and_no_larger(client: AiohttpClient) -> None:
    async def serve(connection: RawConnection) -> None:
        while await connection.request():
            connection.answer(200, b"x" * 100)

    async with raw_server(serve) as server:
        assert len((await client.request(get(server.url, max_bytes=100))).body) == 100
        error = await fails(client, get(server.url, max_bytes=99))
        assert len((await client.request(get(server.url))).body) == 100
        await client.close()
    assert isinstance(error, RemoteProtocolError)
    assert "over the limit of 99" in str(error)


async def test_an_answer_over_the_limit_is_not_read_to_its_end(client: AiohttpClient) -> None:
    async def serve(connection: RawConnection) -> None:
        await connection.request()
        connection.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        while True:
            connection.write(b"400\r\n" + b"x" * 0x400 + b"\r\n")
            await connection.writer.drain()

    async with raw_server(serve) as server:
        assert isinstance(await fails(client, get(server.url, max_bytes=5000)), RemoteProtocolError)


async def test_an_answer_may_come_byte_by_byte(client: AiohttpClient) -> None:
    async def serve(connection: RawConnection) -> None:
        await connection.request()
        for byte in b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello":
            connection.write(bytes([byte]))
            await connection.writer.drain()
            await asyncio.sleep(0)

    async with raw_server(serve) as server:
        assert (await client.request(get(server.url))).body == b"hello"


async def test_a_stream_is_read_as_it_comes_and_dropped_at_the_end(client: AiohttpClient) -> None:
    left = asyncio.Event()

    async def serve(connection: RawConnection) -> None:
        await connection.request()
        connection.write(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n")
        connection.write(b"one")
        while await connection.request():
            pass
        left.set()

    async with raw_server(serve) as server:
        async with client.stream(get(server.url, timeout=5)) as stream:
            assert stream.response.header("content-type") == "text/event-stream"
            assert stream.response.body == b""
            assert await stream.read() == b"one"
            server.connections[0].write(b"two")
            assert await stream.read() == b"two"
        await left.wait()


async def test_a_stream_ends_with_nothing(client: AiohttpClient) -> None:
    async def serve(connection: RawConnection) -> None:
        await connection.request()
        connection.answer(200, b"all")

    async with raw_server(serve) as server, client.stream(get(server.url)) as stream:
        assert [await stream.read(), await stream.read(), await stream.read()] == [b"all", b"", b""]


# A GET is sent once


@pytest.mark.parametrize("shared", [False, True])
@pytest.mark.parametrize("reused", [False, True])
async def test_a_get_is_never_repeated(shared: bool, reused: bool) -> None:
    """aiohttp repeats it without a word, and long polling lost what the first one had taken."""
    polls = []

    async def serve(connection: RawConnection) -> None:
        if reused:
            await connection.request()
            connection.answer(200)
        polls.append(await connection.request())
        connection.cut()

    session = aiohttp.ClientSession() if shared else None
    client = AiohttpClient(session)
    async with raw_server(serve) as server:
        if reused:
            await client.request(get(server.url))
        error = await fails(client, get(server.url))
        await client.close()
        if session is not None:
            await session.close()
    assert isinstance(error, ConnectionResetError)
    assert str(error) == f"the connection to 127.0.0.1:{server.port} was lost before its answer had come"
    assert len([poll for poll in polls if poll]) == 1


async def test_a_session_keeps_its_own_middlewares() -> None:
    async def add(request: aiohttp.ClientRequest, handler: aiohttp.ClientHandlerType) -> aiohttp.ClientResponse:
        request.headers["X-Added"] = "yes"
        return await handler(request)

    seen = []

    async def serve(connection: RawConnection) -> None:
        request = await connection.request()
        assert request is not None
        seen.append(request.headers["x-added"])
        connection.answer(200)

    async with raw_server(serve) as server, aiohttp.ClientSession(middlewares=(add,)) as session:
        await AiohttpClient(session).request(get(server.url))
    assert seen == ["yes"]


async def test_a_kept_alive_connection_that_breaks_between_two_requests_harms_nobody(client: AiohttpClient) -> None:
    async def serve(connection: RawConnection) -> None:
        await connection.request()
        connection.answer(200)
        await connection.writer.drain()
        connection.writer.close()

    async with raw_server(serve) as server:
        for _ in range(30):
            assert (await client.request(get(server.url))).status == 200
            # It is in the client's system when it is out of the server's; reading it is the client's business.
            await server.connections[-1].writer.wait_closed()
    assert len(server.connections) == 30


# Failures of the network


async def test_a_refused_connection_names_host_and_port(client: AiohttpClient) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    error = await fails(client, get(f"http://127.0.0.1:{port}"))
    assert isinstance(error, ConnectionRefusedError)
    assert str(error).startswith(f"cannot connect to 127.0.0.1:{port}: ")
    assert isinstance(error.__cause__, ConnectionRefusedError)


class NoNames(AbstractResolver):
    async def resolve(self, host: str, port: int = 0, family: int = 0) -> list[ResolveResult]:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    async def close(self) -> None:
        pass


async def test_a_name_that_does_not_exist_is_named() -> None:
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(resolver=NoNames())) as session:
        error = await fails(AiohttpClient(session), get("http://no.such.host"))
    assert isinstance(error, socket.gaierror)
    assert "cannot find the address of no.such.host:80: Name or service not known" in str(error)
    assert error.errno == socket.EAI_NONAME


CUT_HEAD = b"HTTP/1.1 200 OK\r\nContent-Le"
CUT_BODY = b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc"
WRONG_CHUNKS = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\nabc\r\n"
CUT_CHUNKS = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nab"
NO_HTTP = b"SSH-2.0-OpenSSH_9.6\r\n"


@pytest.mark.parametrize("said", [b"", CUT_HEAD, CUT_BODY, WRONG_CHUNKS, CUT_CHUNKS, NO_HTTP])
async def test_an_answer_that_is_none_is_a_connection_error(client: AiohttpClient, said: bytes) -> None:
    async def serve(connection: RawConnection) -> None:
        await connection.request()
        connection.write(said)

    async with raw_server(serve) as server:
        error = await fails(client, get(server.url))
    assert isinstance(error, ConnectionError)
    assert f"127.0.0.1:{server.port}" in str(error)


@pytest.mark.parametrize("said", [CUT_BODY, WRONG_CHUNKS, CUT_CHUNKS])
async def test_a_stream_that_breaks_off_is_a_connection_error(client: AiohttpClient, said: bytes) -> None:
    async def serve(connection: RawConnection) -> None:
        await connection.request()
        connection.write(said)

    async with raw_server(serve) as server:
        with pytest.raises(ConnectionError) as caught:  # noqa: PT012  # which read tells depends on the packets
            async with client.stream(get(server.url)) as stream:
                while await stream.read():
                    pass
    assert_hides(caught.value, QUERY_SECRET, TOKEN_SECRET)


@pytest.mark.parametrize("said", [b"", b"HTTP/1.1 200", b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\na"])
async def test_a_server_that_is_too_slow_is_a_timeout(client: AiohttpClient, said: bytes) -> None:
    async def serve(connection: RawConnection) -> None:
        await connection.request()
        connection.write(said)
        await connection.request()

    async with raw_server(serve) as server:
        error = await fails(client, get(server.url, timeout=0.05))
    assert isinstance(error, TimeoutError)
    assert str(error) == f"no answer from 127.0.0.1:{server.port} within 0.05 s"


async def test_a_shared_session_that_is_full_says_how_to_make_it_larger() -> None:
    async def serve(connection: RawConnection) -> None:
        await connection.request()
        connection.write(b"HTTP/1.1 200 OK\r\n\r\n")
        await connection.request()

    async with (
        raw_server(serve) as server,
        aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=1)) as session,
    ):
        client = AiohttpClient(session)
        async with client.stream(get(server.url)):
            error = await fails(client, get(server.url, connect_timeout=0.05))
    assert isinstance(error, TimeoutError)
    assert str(error) == (
        f"cannot connect to 127.0.0.1:{server.port} within 0.05 s; if the shared session has all of its 1 connections "
        "in use, make it with aiohttp.TCPConnector(limit=0)"
    )


async def test_an_own_session_has_no_limit_of_connections(client: AiohttpClient) -> None:
    arrived = asyncio.Semaphore(0)
    everyone = asyncio.Event()

    async def answer(_request: web.Request) -> web.Response:
        arrived.release()
        await everyone.wait()
        return web.Response()

    app = web.Application()
    app.router.add_get("/hub", answer)
    async with app_server(app) as url:
        requests = asyncio.gather(*(client.request(get(url)) for _ in range(120)))
        for _ in range(120):
            await arrived.acquire()
        everyone.set()
        assert {answer.status for answer in await requests} == {200}
        await client.close()


async def test_a_url_that_cannot_be_used_is_shown_without_its_query(client: AiohttpClient) -> None:
    error = await fails(client, get("http://127.1"))
    assert isinstance(error, ConnectionError)


async def test_what_aiohttp_refuses_is_a_connection_error(client: AiohttpClient) -> None:
    request = attrs.evolve(get("http://127.0.0.1:1"), headers={"X-Bad": f"{TOKEN_SECRET}\r\nX: y"})

    async def serve(connection: RawConnection) -> None:
        await connection.request()

    async with raw_server(serve) as server:
        error = await fails(client, attrs.evolve(request, url=f"{server.url}/?{QUERY_SECRET}"))
    assert isinstance(error, ConnectionError)
    assert "aiohttp refuses to send" in str(error)


# Sessions


async def test_a_closed_session_is_a_clear_error() -> None:
    session = aiohttp.ClientSession()
    await session.close()
    error = await fails(AiohttpClient(session), get("http://127.0.0.1:1"))
    assert str(error).startswith("the aiohttp session given as http= is closed")


def test_a_session_of_another_loop_is_a_clear_error() -> None:
    async def make() -> aiohttp.ClientSession:
        return aiohttp.ClientSession()

    async def use(session: aiohttp.ClientSession) -> Exception:
        return await fails(AiohttpClient(session), get("http://127.0.0.1:1"))

    with asyncio.Runner() as owner:
        session = owner.run(make())
        error = asyncio.run(use(session))
        owner.run(session.close())
    assert "belongs to another event loop" in str(error)


async def test_close_leaves_a_shared_session_open() -> None:
    async with aiohttp.ClientSession() as session:
        client = AiohttpClient(session)
        await client.close()
        assert not session.closed


async def test_a_closed_client_makes_no_new_session(client: AiohttpClient) -> None:
    await client.close()
    await client.close()
    assert str(await fails(client, get("http://127.0.0.1:1"))) == "this HTTP client is closed"


async def test_a_cancelled_request_to_a_server_that_reads_nothing_leaves_no_socket() -> None:
    """asyncio closes a transport only when all is sent, which may be never."""
    arrived = asyncio.Event()

    async def serve(connection: RawConnection) -> None:
        await connection.head()  # asyncio stops reading when this has not taken what came with it
        arrived.set()
        await asyncio.Event().wait()

    async with raw_server(serve) as server:
        client = AiohttpClient()
        body = b"x" * 50_000_000
        posting = asyncio.create_task(client.request(HttpRequest(method="POST", url=server.url, body=body)))
        await arrived.wait()
        posting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await posting
        await client.close()


# TLS


async def test_an_untrusted_certificate_says_how_to_trust_it(client: AiohttpClient, authority: Authority) -> None:
    async def serve(connection: RawConnection) -> None:
        await connection.request()

    async with raw_server(serve, authority.server()) as server:
        error = await fails(client, get(server.url))
    assert isinstance(error, ssl.SSLCertVerificationError)
    assert str(error).startswith(f"the certificate of 127.0.0.1:{server.port} is not trusted: unable to get local")
    assert "ssl=ssl.create_default_context(cafile=...)" in str(error)
    assert error.verify_code != 0


async def test_a_server_without_tls_is_named(client: AiohttpClient) -> None:
    async def serve(connection: RawConnection) -> None:
        await connection.reader.read(1)
        connection.answer(400)

    async with raw_server(serve) as server:
        error = await fails(client, get(server.url.replace("http", "https")))
    assert isinstance(error, ssl.SSLError)
    assert "check that it speaks TLS there" in str(error)


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
async def test_a_missing_client_certificate_is_named(authority: Authority, version: ssl.TLSVersion) -> None:
    async def serve(connection: RawConnection) -> None:
        await connection.request()

    context = authority.client()
    context.maximum_version = version
    async with raw_server(serve, authority.server(wants_client_certificate=True)) as server:
        client = AiohttpClient(ssl=context)
        error = await fails(client, get(server.url))
        await client.close()
    assert isinstance(error, OSError)
    assert "load_cert_chain()" in str(error)


@pytest.mark.parametrize("verify", ["context", "off"])
async def test_a_certificate_is_verified_unless_the_user_says_no(authority: Authority, verify: str) -> None:
    async def serve(connection: RawConnection) -> None:
        await connection.request()
        connection.answer(200)

    async with raw_server(serve, authority.server()) as server:
        client = AiohttpClient(ssl=authority.client() if verify == "context" else False)
        assert (await client.request(get(server.url))).status == 200
        await client.close()


# Proxies


async def say_hello(connection: RawConnection) -> None:
    while (request := await connection.request()) is not None:
        assert "proxy-authorization" not in request.headers
        connection.answer(200, b"hello")


@pytest.mark.parametrize("password", [None, f"me:{PROXY_SECRET}"])
@pytest.mark.parametrize("tls", [False, True])
async def test_requests_go_through_a_proxy(authority: Authority, password: str | None, tls: bool) -> None:
    async with raw_server(say_hello, authority.server() if tls else None) as server, http_proxy(password) as proxy:
        url = proxy.url.replace("//", f"//{password}@") if password else proxy.url
        client = AiohttpClient(proxy=url, ssl=authority.client())
        assert (await client.request(get(server.url))).body == b"hello"
        await client.close()
    assert proxy.lines == [f"CONNECT 127.0.0.1:{server.port}" if tls else f"GET {server.url}/hub?id={QUERY_SECRET}"]


async def test_a_proxy_without_its_password_is_a_clear_error(authority: Authority) -> None:
    async with raw_server(say_hello, authority.server()) as server, http_proxy(f"me:{PROXY_SECRET}") as proxy:
        client = AiohttpClient(proxy=proxy.url.replace("//", f"//me:not-{PROXY_SECRET}@"), ssl=authority.client())
        error = await fails(client, get(server.url))
        plain = await client.request(get(server.url.replace("https", "http")))
        await client.close()
    assert isinstance(error, ConnectionError)
    assert "status 407" in str(error)
    assert "http://user:password@proxy:3128" in str(error)
    assert plain.status == 407


async def test_a_proxy_that_is_away_is_named() -> None:
    client = AiohttpClient(proxy=f"http://me:{PROXY_SECRET}@127.0.0.1:1")
    error = await fails(client, get("http://example.com"))
    await client.close()
    assert isinstance(error, ConnectionError)
    assert str(error).startswith("cannot connect to the proxy 127.0.0.1:1: ")


async def test_a_proxy_may_refuse() -> None:
    async def serve(connection: RawConnection) -> None:
        await connection.head()
        connection.answer(403)

    async with raw_server(serve) as proxy:
        client = AiohttpClient(proxy=proxy.url)
        error = await fails(client, get("https://example.com"))
        await client.close()
    assert str(error) == "the proxy refused to connect to example.com:443 (status 403)"


@pytest.mark.parametrize("with_scheme", [True, False])
async def test_proxies_of_the_environment_are_honoured(monkeypatch: pytest.MonkeyPatch, with_scheme: bool) -> None:
    async with raw_server(say_hello) as server, http_proxy() as proxy:
        monkeypatch.setenv("http_proxy", proxy.url if with_scheme else proxy.url.removeprefix("http://"))
        client = AiohttpClient()
        for _ in range(2):
            assert (await client.request(get(server.url))).body == b"hello"
        await client.close()
    assert len(proxy.lines) == 1


async def test_no_proxy_of_the_environment_is_honoured(monkeypatch: pytest.MonkeyPatch, client: AiohttpClient) -> None:
    async with raw_server(say_hello) as server:
        monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
        monkeypatch.setenv("no_proxy", "example.com,127.0.0.1")
        assert (await client.request(get(server.url))).body == b"hello"
        await client.close()


async def test_a_socks_proxy_of_the_environment_is_a_clear_error(
    monkeypatch: pytest.MonkeyPatch, client: AiohttpClient
) -> None:
    monkeypatch.setenv("https_proxy", f"socks5://me:{PROXY_SECRET}@127.0.0.1:1")
    error = await fails(client, get("https://example.com"))
    assert "the environment's proxy for https cannot be used" in str(error)


def test_a_socks_proxy_is_refused_at_once() -> None:
    with pytest.raises(ValueError, match="for SOCKS bring an HttpClient") as caught:
        AiohttpClient(proxy=f"socks5://me:{PROXY_SECRET}@127.0.0.1:1")
    assert_hides(caught.value, PROXY_SECRET)


async def test_netrc_is_not_read(monkeypatch: pytest.MonkeyPatch, tmp_path: Any, client: AiohttpClient) -> None:
    netrc = tmp_path / "netrc"
    netrc.write_text("machine 127.0.0.1 login me password other")
    monkeypatch.setenv("NETRC", str(netrc))
    seen = []

    async def serve(connection: RawConnection) -> None:
        request = await connection.request()
        assert request is not None
        seen.append(request.headers["authorization"])
        connection.answer(200)

    async with raw_server(serve) as server:
        await client.request(get(server.url))
    assert seen == [f"Bearer {TOKEN_SECRET}"]


async def test_a_closed_client_opens_no_web_socket(client: AiohttpClient) -> None:
    await client.close()
    with pytest.raises(ConnectionError, match="closed"):
        await client.connect_web_socket(get("http://127.0.0.1:1"), WebSocketOptions(max_bytes=1))
