"""Hostile HTTP: both clients take the same hostile answers, with the same errors, in bounded time and memory."""

from __future__ import annotations

import asyncio
import gzip
import tracemalloc
import zlib
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import aiohttp
import httpx
import pytest
from tests.doubles import on_uvloop
from tests.servers import RawConnection, Request, assert_hides, raw_server

from signalr_sdk._http.aiohttp_client import AiohttpClient
from signalr_sdk._http.httpx_client import HttpxClient
from signalr_sdk._http.request_sender import RequestSender
from signalr_sdk.errors import RemoteProtocolError
from signalr_sdk.interfaces import HttpClient, HttpRequest, HttpResponse
from signalr_sdk.options import Timeouts

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

newer_aiohttp = pytest.mark.skipif(
    tuple(map(int, aiohttp.__version__.split(".")[:2])) < (3, 14),
    reason="aiohttp 3.12 takes any number of headers, and sends a header with a NUL",
)

MIB = 1024 * 1024
SECRET = "top-secret"


@asynccontextmanager
async def _aiohttp() -> AsyncIterator[HttpClient]:
    client = AiohttpClient()
    yield client
    await client.close()


@asynccontextmanager
async def _shared_aiohttp() -> AsyncIterator[HttpClient]:
    async with aiohttp.ClientSession() as session:
        yield AiohttpClient(session)


@asynccontextmanager
async def _httpx() -> AsyncIterator[HttpClient]:
    async with httpx.AsyncClient() as client:
        yield HttpxClient(client)


@pytest.fixture(params=[_aiohttp, _shared_aiohttp, _httpx], ids=["aiohttp", "shared aiohttp", "httpx"])
async def http(request: pytest.FixtureRequest) -> AsyncIterator[HttpClient]:
    """Each HTTP client in turn."""
    async with request.param() as client:
        yield client


def get(url: str, **options: Any) -> HttpRequest:
    headers = {"Authorization": f"Bearer {SECRET}"}
    return HttpRequest(method="GET", url=f"{url}/?id={SECRET}", headers=headers, **{"timeout": 5.0, **options})


def answering(*pieces: bytes) -> Callable[[RawConnection], Awaitable[None]]:
    """Return a server that answers each request with these bytes, and then hangs up."""

    async def serve(connection: RawConnection) -> None:
        await connection.request()
        for piece in pieces:
            connection.write(piece)
            await connection.writer.drain()

    return serve


def whole(body: bytes, *fields: str, status: int = 200) -> bytes:
    """Return the bytes of an answer."""
    lines = "".join(f"{field}\r\n" for field in fields)
    return f"HTTP/1.1 {status} Said\r\nContent-Length: {len(body)}\r\n{lines}\r\n".encode(
        "utf-8", "surrogateescape"
    ) + (body)


async def peak_of(work: Awaitable[Any]) -> int:
    """Await; return the most bytes that Python had allocated meanwhile."""
    tracemalloc.start()
    try:
        await work
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


async def fails(work: Awaitable[Any], *kinds: type[Exception]) -> Exception:
    """Await; return the error, which is of one of these kinds and shows no secret."""
    with pytest.raises(kinds) as caught:
        await work
    assert_hides(caught.value, SECRET)
    return caught.value


async def read_all(http: HttpClient, request: HttpRequest) -> list[bytes]:
    chunks = []
    async with http.stream(request) as stream:
        while chunk := await stream.read():
            chunks.append(chunk)
    return chunks


# Compressed answers, although none was asked for


def _packed(size: int) -> bytes:
    packer = zlib.compressobj(1, wbits=31)
    return b"".join(packer.compress(bytes(MIB)) for _ in range(size // MIB)) + packer.flush()


BOMBS = {"gzip": _packed(64 * MIB), "gzip, gzip": gzip.compress(_packed(64 * MIB))}


@pytest.mark.parametrize("encoding", BOMBS)
async def test_nothing_is_unpacked(http: HttpClient, encoding: str) -> None:
    bomb = BOMBS[encoding]

    async def ask() -> None:
        async with raw_server(answering(whole(bomb, f"Content-Encoding: {encoding}"))) as server:
            error = await fails(http.request(get(server.url, max_bytes=32 * MIB)), RemoteProtocolError)
        assert f"Content-Encoding: {encoding}" in str(error)

    assert await peak_of(ask()) < 4 * MIB


@pytest.mark.parametrize("encoding", BOMBS)
async def test_no_event_stream_is_unpacked(http: HttpClient, encoding: str) -> None:
    head = f"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nContent-Encoding: {encoding}\r\n\r\n"

    async def ask() -> None:
        async with raw_server(answering(head.encode(), BOMBS[encoding])) as server:
            error = await fails(read_all(http, get(server.url)), RemoteProtocolError)
        assert f"Content-Encoding: {encoding}" in str(error)

    assert await peak_of(ask()) < 4 * MIB


@pytest.mark.parametrize("encoding", ["identity", "Identity", "", " "])
async def test_an_answer_may_say_that_it_is_not_compressed(http: HttpClient, encoding: str) -> None:
    async with raw_server(answering(whole(b"plain", f"Content-Encoding: {encoding}"))) as server:
        assert (await http.request(get(server.url))).body == b"plain"
        assert b"".join(await read_all(http, get(server.url))) == b"plain"


@pytest.mark.parametrize("encoding", ["br", "zstd", "deflate", "x" * 5000, "gz\x1b[31mip"])
async def test_any_other_encoding_is_named_and_cut(http: HttpClient, encoding: str) -> None:
    async with raw_server(answering(whole(b"packed", f"Content-Encoding: {encoding}"))) as server:
        error = await fails(http.request(get(server.url)), RemoteProtocolError, ConnectionError)
    assert len(str(error)) < 500
    assert str(error).isprintable()


async def test_a_refusal_that_is_compressed_keeps_its_status(http: HttpClient) -> None:
    packed = gzip.compress(b"come back later")
    async with raw_server(answering(whole(packed, "Content-Encoding: gzip", "Retry-After: 7", status=503))) as server:
        answer = await http.request(get(server.url))
        async with http.stream(get(server.url)) as stream:
            assert stream.response.status == 503
    assert (answer.status, answer.header("Retry-After"), answer.body) == (503, "7", b"")


async def test_an_empty_answer_needs_no_encoding(http: HttpClient) -> None:
    async with raw_server(answering(whole(b"", "Content-Encoding: gzip"))) as server:
        assert (await http.request(get(server.url))).body == b""


# Headers that are not ASCII


async def test_headers_of_any_bytes_come_in_alike(http: HttpClient) -> None:
    fields = ("X-Utf8: Zoë", "X-Latin1: Zo\udceb", "X-Twice: 1", "X-Twice: 2")
    async with raw_server(answering(whole(b"", *fields))) as server:
        answer = await http.request(get(server.url))
    assert (answer.header("x-utf8"), answer.header("x-latin1")) == ("Zoë", "Zo\udceb")
    assert [value for name, value in answer.headers if name.lower() == "x-twice"] == ["1", "2"]


async def test_headers_go_out_as_utf8(http: HttpClient) -> None:
    seen: list[Request | None] = []

    async def serve(connection: RawConnection) -> None:
        seen.append(await connection.request())
        connection.answer(200)

    async with raw_server(serve) as server:
        await http.request(HttpRequest(method="POST", url=server.url, headers={"X-Name": "Zoë 雪"}, timeout=5.0))
    assert seen[0] is not None
    assert seen[0].headers["x-name"] == "Zoë 雪"


@pytest.mark.parametrize(
    "value",
    ["half\ud800", "line\nbreak", "line\r\nX-Forged: 1", pytest.param("nul\0", marks=newer_aiohttp)],
)
async def test_headers_that_cannot_go_out_are_an_error_of_the_network(http: HttpClient, value: str) -> None:
    request = HttpRequest(method="POST", url="http://127.0.0.1:9/", headers={"X-Name": value}, timeout=5.0)
    async with raw_server(answering(whole(b""))) as server:
        await fails(http.request(HttpRequest(method="POST", url=server.url, headers=request.headers)), ConnectionError)


@pytest.mark.parametrize("sent", ["a=caf\udce9", "a=café", "a=1; Path=/\udce9", "\udce9=1"])
async def test_no_cookie_ends_a_connection(http: HttpClient, sent: str) -> None:
    seen: list[str | None] = []

    async def serve(connection: RawConnection) -> None:
        while (request := await connection.request()) is not None:
            seen.append(request.headers.get("cookie"))
            connection.write(whole(b"", f"Set-Cookie: {sent}", "Set-Cookie: b=2"))

    async with raw_server(serve) as server:
        sender = RequestSender(http, server.url, timeouts=Timeouts(), headers={"X-Name": "Zoë"})
        for _ in range(3):
            answer = await sender.request("POST", f"{server.url}/hub", timeout=5.0)
            assert answer.status == 200
    assert seen[0] is None
    assert seen[1] == seen[2] == ("a=café; b=2" if sent == "a=café" else "b=2")


@pytest.mark.parametrize("token", ["Zoë", "雪"])
async def test_a_connection_token_of_any_text_is_sent_at_a_refresh(http: HttpClient, token: str) -> None:
    seen: list[Request | None] = []

    async def serve(connection: RawConnection) -> None:
        seen.append(await connection.request())
        connection.answer(200)

    async with raw_server(serve) as server:
        sender = RequestSender(http, server.url, timeouts=Timeouts(), access_token="new")
        await sender.refresh(f"{server.url}/refresh", token, timeout=5.0, max_bytes=MIB)
    assert seen[0] is not None
    assert seen[0].headers["x-signalr-connection-token"] == token


# Too much of everything


@pytest.mark.parametrize(
    "said",
    [
        b"HTTP/1.1 200 OK\r\nX-Long: " + b"x" * MIB + b"\r\n\r\n",
        pytest.param(
            b"HTTP/1.1 200 OK\r\n" + b"".join(b"X-%d: 1\r\n" % n for n in range(200_000)) + b"\r\n",
            marks=newer_aiohttp,
        ),
        b"HTTP/1.1 200 " + b"O" * MIB + b"\r\n\r\n",
        pytest.param(
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n" + b"X-Trailer: 1\r\n" * 100_000,
            marks=newer_aiohttp,
        ),
        b"HTTP/1.1 200 OK\r\nContent-Length: " + b"9" * 5000 + b"\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nhello!",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + b"f" * 5000 + b"\r\n",
        b"HTTP/1.1 200 OK\r\n folded\r\n\r\n",
        b"HTTP/1.1 99999 OK\r\n\r\n",
        b"\x16\x03\x01\x00\x05hello",
        bytes(MIB),
    ],
    ids=lambda said: said[:40].decode("latin-1"),
)
async def test_wrong_heads_and_lengths_are_an_error_in_bounded_memory(http: HttpClient, said: bytes) -> None:
    async def ask() -> None:
        async with raw_server(answering(said)) as server:
            await fails(http.request(get(server.url, max_bytes=MIB)), OSError, RemoteProtocolError)

    assert await peak_of(ask()) < 16 * MIB


@pytest.mark.parametrize("head", [b"Transfer-Encoding: chunked\r\n", b""], ids=["chunked", "to the end"])
async def test_an_endless_body_is_read_to_the_limit_and_no_further(http: HttpClient, head: bytes) -> None:
    sent = 0

    async def serve(connection: RawConnection) -> None:
        nonlocal sent
        await connection.request()
        connection.write(b"HTTP/1.1 200 OK\r\n" + head + b"\r\n")
        piece = bytes(0x10000)
        while True:
            connection.write(b"10000\r\n" + piece + b"\r\n" if head else piece)
            sent += len(piece)
            await connection.writer.drain()

    async def ask() -> None:
        async with raw_server(serve) as server:
            error = await fails(http.request(get(server.url, max_bytes=2 * MIB)), RemoteProtocolError)
        assert f"over the limit of {2 * MIB}" in str(error)

    assert await peak_of(ask()) < 16 * MIB
    # What the systems on the way hold comes on top.
    assert sent < 32 * MIB


async def test_a_length_over_the_limit_is_enough(http: HttpClient) -> None:
    async def serve(connection: RawConnection) -> None:
        await connection.request()
        connection.write(b"HTTP/1.1 200 OK\r\nContent-Length: 1000000000\r\n\r\n")
        await connection.request()

    async with raw_server(serve) as server:
        error = await fails(http.request(get(server.url, max_bytes=1000)), RemoteProtocolError)
    assert "over the limit of 1000" in str(error)


async def test_a_long_chunk_extension_costs_what_its_bytes_cost(http: HttpClient) -> None:
    said = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5;" + b"x" * MIB + b"\r\nhello\r\n0\r\n\r\n"

    async def ask() -> None:
        async with raw_server(answering(said)) as server:
            try:
                assert (await http.request(get(server.url, max_bytes=MIB))).body == b"hello"
            except (ConnectionError, RemoteProtocolError) as error:
                assert_hides(error, SECRET)

    assert await peak_of(ask()) < 16 * MIB


async def test_a_body_in_pieces_of_one_byte_costs_what_its_bytes_cost(http: HttpClient) -> None:
    size = MIB // 64
    said = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + b"1\r\nx\r\n" * size + b"0\r\n\r\n"

    async def ask() -> None:
        async with raw_server(answering(said)) as server:
            answer = await http.request(get(server.url, max_bytes=MIB, timeout=30.0))
        assert answer.body == b"x" * size

    assert await peak_of(ask()) < 8 * MIB


@pytest.mark.timeout(60)  # seconds of the processor with httpx
async def test_a_body_in_pieces_of_one_byte_leaves_the_event_loop_to_others(http: HttpClient) -> None:
    size = 100_000
    said = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + b"1\r\nx\r\n" * size + b"0\r\n\r\n"
    turns = 0

    async def count() -> None:
        nonlocal turns
        while True:
            await asyncio.sleep(0)
            turns += 1

    async with raw_server(answering(said)) as server:
        counting = asyncio.create_task(count())
        await http.request(get(server.url, max_bytes=MIB, timeout=50.0))
        counting.cancel()
    # A turn for each 64 KiB at least, which aiohttp's parser in C takes apart in some milliseconds; httpx takes longer.
    # uvloop reads all that has arrived in one turn, until aiohttp has 128 KiB of the body.
    assert turns > (150 if isinstance(http, HttpxClient) else 0 if on_uvloop() else 8)


@pytest.mark.timeout(60)  # `tracemalloc` notes each of up to a million objects
@pytest.mark.parametrize("flood", [b"HTTP/1.1 100 Continue\r\n\r\n", b"HTTP/1.1 103 Early Hints\r\nLink: a\r\n\r\n"])
async def test_a_flood_of_1xx_ends_with_the_time_limit(http: HttpClient, flood: bytes) -> None:
    async def serve(connection: RawConnection) -> None:
        await connection.request()
        while True:
            connection.write(flood * 100)
            await connection.writer.drain()

    async def ask() -> None:
        await fails(http.request(get(server.url, timeout=0.2)), OSError)

    # aiohttp makes objects of all that the event loop reads in one turn, here 30 to 50 times as large. uvloop reads up
    # to 8 MB in a turn: 32 times 256 KB.
    async with raw_server(serve) as server:
        assert await peak_of(ask()) < (512 if on_uvloop() else 16) * MIB
        with pytest.raises(OSError):  # noqa: PT011
            await read_all(http, get(server.url, timeout=0.2))


async def test_a_body_that_trickles_ends_with_the_time_limit(http: HttpClient) -> None:
    async def serve(connection: RawConnection) -> None:
        await connection.request()
        connection.write(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n")
        while True:
            connection.write(b"x")
            await connection.writer.drain()
            await asyncio.sleep(0.01)

    async with raw_server(serve) as server:
        assert isinstance(await fails(http.request(get(server.url, timeout=0.2)), OSError), TimeoutError)


# Redirects


@pytest.mark.parametrize("status", [300, 301, 302, 303, 307, 308])
@pytest.mark.parametrize("location", ["/elsewhere", "//evil.test/", "http://evil.test/"])
async def test_redirects_are_not_followed(http: HttpClient, status: int, location: str) -> None:
    async with raw_server(answering(whole(b"", f"Location: {location}", status=status))) as server:
        answer = await http.request(get(server.url))
        assert (answer.status, answer.header("Location")) == (status, location)
        async with http.stream(get(server.url)) as stream:
            assert stream.response.status == status
        assert len(server.connections) == 2


@pytest.mark.parametrize("location", ["http://evil.test/?x=\udce9", "javascript:1", "\udce9", "http://[", ""])
async def test_a_redirect_to_nowhere_is_a_redirect_or_a_loss(http: HttpClient, location: str) -> None:
    """httpx reads the address although nobody follows it, and its error has no status."""
    async with raw_server(answering(whole(b"", f"Location: {location}", status=302))) as server:
        try:
            answer = await http.request(get(server.url))
        except ConnectionError as error:
            assert_hides(error, SECRET)
        else:
            assert (answer.status, answer.header("Location")) == (302, location)


async def test_both_clients_understand_a_plain_answer_alike(http: HttpClient) -> None:
    async with raw_server(answering(whole(b"body", "X-Answer: yes", status=418))) as server:
        answer = await http.request(get(server.url, max_bytes=4))
    assert answer == HttpResponse(418, answer.headers, b"body")
    assert answer.header("x-answer") == "yes"
