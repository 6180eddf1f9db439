"""Small servers for tests: raw TCP, aiohttp applications, an HTTP proxy, and certificates for TLS."""

from __future__ import annotations

import asyncio
import base64
import ssl
import threading
import traceback
from contextlib import asynccontextmanager, contextmanager, suppress
from typing import TYPE_CHECKING, TypeVar

import attrs
import trustme
from aiohttp import web

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
    from contextlib import AbstractAsyncContextManager

T = TypeVar("T")


@attrs.frozen
class Request:
    """An HTTP request, with header names in lower case."""

    method: str
    target: str
    headers: dict[str, str]
    body: bytes


class RawConnection:
    """The server's end of one TCP connection."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    async def request(self) -> Request | None:
        """Read a request; return `None` when the client has closed the connection."""
        head = await self.head()
        if head is None:
            return None
        length = int(head.headers.get("content-length", "0"))
        return attrs.evolve(head, body=await self.reader.readexactly(length))

    async def head(self) -> Request | None:
        """Read the head of a request; the body stays unread."""
        try:
            lines = (await self.reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
        except asyncio.IncompleteReadError:
            return None
        method, target, _version = lines[0].split(" ")
        fields = (line.partition(":") for line in lines[1:] if line)
        return Request(method, target, {name.lower(): value.strip() for name, _, value in fields}, b"")

    def write(self, data: bytes) -> None:
        """Send these bytes."""
        self.writer.write(data)

    def answer(self, status: int = 200, body: bytes = b"", **headers: str) -> None:
        """Send a response; `_` in the name of a header stands for `-`."""
        fields = "".join(f"{name.replace('_', '-')}: {value}\r\n" for name, value in headers.items())
        length = "" if status == 204 else f"Content-Length: {len(body)}\r\n"
        self.write(f"HTTP/1.1 {status} Said\r\n{fields}{length}\r\n".encode() + body)

    def cut(self) -> None:
        """Close the connection at once."""
        self.writer.transport.abort()


@attrs.frozen
class RawServer:
    """A running server.

    Attributes:
        url: the server's URL.
        port: the server's port.
        connections: all connections so far.
    """

    url: str
    port: int
    connections: list[RawConnection]


@asynccontextmanager
async def raw_server(
    serve: Callable[[RawConnection], Awaitable[None]], tls: ssl.SSLContext | None = None
) -> AsyncIterator[RawServer]:
    """Run a server that calls `serve` for each connection, and closes the connection when `serve` returns."""
    tasks: set[asyncio.Task[None]] = set()
    connections: list[RawConnection] = []

    async def run(connection: RawConnection) -> None:
        try:
            await serve(connection)
            with suppress(OSError):
                await connection.writer.drain()
            connection.writer.close()
        except (ConnectionError, asyncio.IncompleteReadError):
            connection.cut()

    def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connections.append(RawConnection(reader, writer))
        tasks.add(asyncio.create_task(run(connections[-1])))

    server = await asyncio.start_server(connected, "127.0.0.1", 0, ssl=tls)
    port = server.sockets[0].getsockname()[1]
    try:
        yield RawServer(f"{'https' if tls else 'http'}://127.0.0.1:{port}", port, connections)
    finally:
        server.close()
        for connection in connections:
            connection.cut()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


@asynccontextmanager
async def app_server(app: web.Application, tls: ssl.SSLContext | None = None) -> AsyncIterator[str]:
    """Run an aiohttp application, and yield its URL."""
    runner = web.AppRunner(app, shutdown_timeout=0.01)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0, ssl_context=tls)
    await site.start()
    try:
        yield f"{'https' if tls else 'http'}://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()


@attrs.frozen
class Proxy:
    """A running proxy, with the first line of each request."""

    url: str
    lines: list[str]


@asynccontextmanager
async def http_proxy(user_and_password: str | None = None) -> AsyncIterator[Proxy]:
    """Run an HTTP proxy, for CONNECT and for requests with a whole URL."""
    lines: list[str] = []
    wanted = user_and_password and f"Basic {base64.b64encode(user_and_password.encode()).decode()}"

    async def serve(client: RawConnection) -> None:
        head = await client.head()
        if head is None:
            return
        lines.append(f"{head.method} {head.target}")
        if wanted and head.headers.get("proxy-authorization") != wanted:
            client.answer(407, Proxy_Authenticate="Basic")
            return
        whole = head.method != "CONNECT"
        host, port = head.target.removeprefix("http://").partition("/")[0].split(":")
        upstream = RawConnection(*await asyncio.open_connection(host, int(port)))
        if whole:
            fields = "".join(f"{name}: {value}\r\n" for name, value in head.headers.items() if "proxy" not in name)
            path = head.target.removeprefix(f"http://{host}:{port}")
            upstream.write(f"{head.method} {path} HTTP/1.1\r\n{fields}\r\n".encode())
        else:
            client.write(b"HTTP/1.1 200 Connected\r\n\r\n")
        try:
            await asyncio.gather(_copy(client, upstream), _copy(upstream, client))
        finally:
            upstream.cut()

    async with raw_server(serve) as server:
        yield Proxy(server.url, lines)


async def _copy(source: RawConnection, target: RawConnection) -> None:
    while data := await source.reader.read(65536):
        target.write(data)
        await target.writer.drain()
    # When one end closes, the other one is closed too.
    target.cut()


@contextmanager
def in_thread(server: AbstractAsyncContextManager[T]) -> Iterator[T]:
    """Run an async server in a thread, so that the test can block."""
    ready, leave = threading.Event(), asyncio.Event()
    loop = asyncio.new_event_loop()
    got: list[T] = []

    async def serve() -> None:
        async with server as value:
            got.append(value)
            ready.set()
            await leave.wait()

    thread = threading.Thread(target=lambda: loop.run_until_complete(serve()))
    thread.start()
    try:
        assert ready.wait(9)
        yield got[0]
    finally:
        loop.call_soon_threadsafe(leave.set)
        thread.join()
        loop.close()


class Authority:
    """A certificate authority for tests, with a certificate for 127.0.0.1."""

    def __init__(self) -> None:
        self.ca = trustme.CA()
        self._certificate = self.ca.issue_cert("127.0.0.1", "localhost")

    def server(self, *, wants_client_certificate: bool = False) -> ssl.SSLContext:
        """Return the TLS context of a server."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self._certificate.configure_cert(context)
        if wants_client_certificate:
            self.ca.configure_trust(context)
            context.verify_mode = ssl.CERT_REQUIRED
        return context

    def client(self, *, with_certificate: bool = False) -> ssl.SSLContext:
        """Return the TLS context of a client that trusts the authority."""
        context = ssl.create_default_context()
        self.ca.configure_trust(context)
        if with_certificate:
            self.ca.issue_cert("client@example.com").configure_cert(context)
        return context


def chain(error: BaseException) -> list[BaseException]:
    """Return the error with all its causes, contexts and attempts, also suppressed ones."""
    found: list[BaseException] = []
    waiting: list[BaseException | None] = [error]
    while waiting:
        link = waiting.pop()
        if link is not None and link not in found:
            found.append(link)
            waiting += [link.__cause__, link.__context__, *getattr(link, "attempts", ())]
    return found


def assert_hides(error: BaseException, *secrets: str) -> None:
    """Fail if a text or an attribute of the error, or of its causes, has a secret in it."""
    texts = ["".join(traceback.format_exception(error))]
    for link in chain(error):
        texts += [str(link), repr(link), repr(link.args), repr(vars(link))]
    for secret in secrets:
        assert not [text for text in texts if secret in text]
