"""`FaultProxy`: byte by byte with an echo server, and between a client and a hub."""

from __future__ import annotations

import asyncio
import socket
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Literal

import pytest
from tests.raw_client import until
from tests.servers import RawConnection, raw_server
from tests.testing.faulty import COMBINATIONS, client, server

from signalr_sdk import ConnectionFailedError, HubConnection, Transport
from signalr_sdk.testing import FaultProxy

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


async def echo(connection: RawConnection) -> None:
    while data := await connection.reader.read(100_000):
        connection.write(data)
        await connection.writer.drain()


@asynccontextmanager
async def echoing(piece: int | None = None) -> AsyncIterator[tuple[FaultProxy, RawConnection]]:
    """Run an echo server behind a proxy; yield the proxy and a connection through it."""
    async with raw_server(echo) as upstream, FaultProxy(upstream.port, piece=piece) as proxy, connected(proxy) as line:
        yield proxy, line


@asynccontextmanager
async def connected(proxy: FaultProxy) -> AsyncIterator[RawConnection]:
    reader, writer = await asyncio.open_connection("127.0.0.1", proxy.port)
    try:
        yield RawConnection(reader, writer)
    finally:
        writer.transport.abort()


async def rest(line: RawConnection) -> bytes:
    """Return all further data; `!` at the end stands for an error."""
    heard = b""
    try:
        while data := await line.reader.read(100_000):
            heard += data
    except ConnectionError:
        return heard + b"!"
    return heard


async def test_it_forwards_and_counts() -> None:
    async with echoing() as (proxy, line):
        line.write(b"hello")
        assert await line.reader.readexactly(5) == b"hello"
        async with connected(proxy) as other:
            other.write(b"x")
            assert await other.reader.read(1) == b"x"
            assert (proxy.connections, proxy.accepted) == (2, 2)
            # A half-closed connection is half-closed at the other end too, after the data before it.
            other.write(b"last")
            other.writer.write_eof()
            assert await rest(other) == b"last"
        await until(lambda: proxy.connections == 1)
        assert proxy.url("/hub") == f"http://127.0.0.1:{proxy.port}/hub"
        assert proxy.url("/hub", "https") == f"https://127.0.0.1:{proxy.port}/hub"
        with pytest.raises(RuntimeError, match="started already"):
            await proxy.start()
    await proxy.stop()


async def test_much_goes_through() -> None:
    data = bytes(range(256)) * 8000
    async with echoing() as (_proxy, line):
        line.write(data)
        assert await line.reader.readexactly(len(data)) == data


@pytest.mark.parametrize("reset", [False, True])
async def test_a_cut(reset: bool) -> None:
    async with echoing() as (proxy, line):
        line.write(b"hello")
        assert await line.reader.readexactly(5) == b"hello"
        assert proxy.cut(reset=reset) == 1
        assert await rest(line) == (b"!" if reset else b"")
        await until(lambda: proxy.connections == 0)


@pytest.mark.parametrize("piece", [None, 1, 3])
@pytest.mark.parametrize("count", [0, 1, 4, 9, 10])
async def test_a_cut_at_an_exact_byte(count: int, piece: int | None) -> None:
    async with echoing(piece) as (proxy, line):
        line.write(b"hello")
        assert await line.reader.readexactly(5) == b"hello"
        proxy.cut_after(count, "down")
        line.write(b"0123456789")
        heard = await rest(line)
        # With a count of 0 the connection may be cut before the test has written, which is an error.
        assert heard == b"0123456789"[:count] or (heard == b"!" and not count)
        async with connected(proxy) as other:  # the cut happens once
            other.write(b"0123456789")
            assert await other.reader.readexactly(10) == b"0123456789"


async def test_the_server_gets_exactly_so_many_bytes() -> None:
    heard: list[bytes] = []

    async def listen(connection: RawConnection) -> None:
        heard.append(await rest(connection))

    async with raw_server(listen) as upstream, FaultProxy(upstream.port) as proxy, connected(proxy) as line:
        proxy.cut_after(7, "up")
        line.write(b"01234")
        await asyncio.sleep(0)
        line.write(b"56789")
        assert await rest(line) in (b"", b"!")  # an error, since the test has sent more than that
        await until(lambda: heard)
        assert heard == [b"0123456"]


async def test_a_reset_at_a_byte() -> None:
    async with echoing() as (proxy, line):
        proxy.cut_after(5, "down", reset=True)
        line.write(b"0123456789")
        assert (await rest(line)).endswith(b"!")


@pytest.mark.parametrize("direction", ["up", "down", None])
async def test_a_stalled_line(direction: Literal["up", "down"] | None) -> None:
    heard: list[bytes] = []

    async def listen(connection: RawConnection) -> None:
        while data := await connection.reader.read(100):
            heard.append(data)
            connection.write(data)

    async with raw_server(listen) as upstream, FaultProxy(upstream.port) as proxy, connected(proxy) as line:
        line.write(b"0")
        assert await line.reader.read(1) == b"0"
        proxy.stall(direction)
        line.write(b"1")
        if direction == "down":
            await until(lambda: heard == [b"0", b"1"])
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(line.reader.read(1), 0.02)
        assert (heard == [b"0"]) is (direction != "down")
        async with connected(proxy) as other:
            other.write(b"2")
            proxy.resume()
            assert await line.reader.read(1) == b"1"
            assert await other.reader.read(1) == b"2"
        proxy.stall(direction)
        line.write(b"3")
        await asyncio.sleep(0)
        assert proxy.cut() > 0
        assert await rest(line) in (b"", b"!")  # an error, if the proxy has not read all data
        proxy.resume(direction)


async def test_refusing_and_accepting() -> None:
    async with echoing() as (proxy, line):
        port = proxy.port
        proxy.refuse()
        proxy.refuse()
        with pytest.raises(ConnectionRefusedError):
            await asyncio.open_connection("127.0.0.1", port)
        line.write(b"hello")
        assert await line.reader.readexactly(5) == b"hello"
        proxy.accept()
        proxy.accept()
        async with connected(proxy) as other:
            other.write(b"x")
            assert await other.reader.read(1) == b"x"
        proxy.accept()
        proxy.refuse()
        proxy.accept()
        async with connected(proxy) as other:
            other.write(b"x")
            assert await other.reader.read(1) == b"x"
        assert proxy.port == port


async def test_a_server_that_is_not_there() -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        async with FaultProxy(unused.getsockname()[1]) as proxy, connected(proxy) as line:
            assert await rest(line) == b"!"


async def test_a_port_in_use() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        proxy = FaultProxy(1, listen_port=taken.getsockname()[1])
        with pytest.raises(OSError, match="address already in use"):
            await proxy.start()


def test_what_is_wrong() -> None:
    with pytest.raises(ValueError, match="piece must be at least 1, not 0"):
        FaultProxy(1, piece=0)
    with pytest.raises(ValueError, match="count must not be negative, not -1"):
        FaultProxy(1).cut_after(-1, "up")
    with pytest.raises(ValueError, match="a direction is 'up' or 'down', not 'left'"):
        FaultProxy(1).stall("left")  # type: ignore[arg-type]
    FaultProxy(1).refuse()
    FaultProxy(1).accept()


# In front of a hub


@pytest.mark.parametrize(("transport", "protocol"), COMBINATIONS)
@pytest.mark.parametrize("piece", [1, 10])
async def test_byte_by_byte(transport: Transport, protocol: str, piece: int) -> None:
    async with (
        server() as chat,
        FaultProxy(chat.port, piece=piece) as proxy,
        client(proxy.url("/chat"), transport, protocol=protocol) as hub,
    ):
        assert await hub.invoke("Say", "grüße") == "grüße"


@pytest.mark.parametrize(("transport", "protocol"), COMBINATIONS)
async def test_a_client_comes_back_through_it(transport: Transport, protocol: str) -> None:
    async with server() as chat, FaultProxy(chat.port) as proxy:
        async with client(proxy.url("/chat"), transport, protocol=protocol) as hub:
            lost = hub.connection_id
            proxy.cut(reset=True)
            await until(lambda: hub.connection_id not in (None, lost))
            assert await hub.invoke("Add", 1, 2) == 3
        proxy.refuse()
        with pytest.raises(ConnectionFailedError):
            await client(proxy.url("/chat"), transport).start()


def test_in_a_thread() -> None:
    async def use(url: str) -> int:
        async with HubConnection(url, reconnect=False) as hub:
            total: int = await hub.invoke("Add", 1, 2)
            return total

    with server() as chat, FaultProxy(chat.port) as proxy:
        assert asyncio.run(use(proxy.url("/chat"))) == 3
        proxy.stall()
        with pytest.raises(TimeoutError):
            asyncio.run(asyncio.wait_for(use(proxy.url("/chat")), 0.05))
        proxy.resume()
        proxy.refuse()
        with pytest.raises(ConnectionFailedError):
            asyncio.run(use(proxy.url("/chat")))
        proxy.accept()
        assert asyncio.run(use(proxy.url("/chat"))) == 3
