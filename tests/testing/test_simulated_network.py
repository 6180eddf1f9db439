"""`SimulatedNetwork`: TCP in memory, clocks that leap, faults, and the promise that a seed repeats a run."""

from __future__ import annotations

import asyncio
import itertools
import random
import secrets
import socket
import ssl
import struct
import time
import uuid
from collections.abc import Callable, Coroutine
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, TypeVar

import httpx
import pytest
from tests.page_programs import SOURCE, blocks

from signalr_sdk import HubConnection, Transport
from signalr_sdk._life.resuming import time_asleep
from signalr_sdk.testing import Hub, HubServer, SimulatedNetwork

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

T = TypeVar("T")
Main = Callable[[SimulatedNetwork], Coroutine[Any, Any, T]]
HOST, PORT = "hub.example", 80


class Chat(Hub):
    async def add(self, a: int, b: int) -> int:
        return a + b


def run(main: Main[T], seed: int = 1, **options: Any) -> T:
    network = SimulatedNetwork(seed, **options)
    return network.run(main(network))


@asynccontextmanager
async def connected() -> AsyncIterator[tuple[Any, Any, Any, Any]]:
    """Give reader and writer of the client, then of the server."""
    accepted: asyncio.Future[tuple[Any, Any]] = asyncio.get_running_loop().create_future()

    async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if accepted.done():
            writer.close()
        else:
            accepted.set_result((reader, writer))

    server = await asyncio.start_server(accept, HOST, PORT)
    async with server:
        reader, writer = await asyncio.open_connection(HOST, PORT)
        served_reader, served_writer = await accepted
        yield reader, writer, served_reader, served_writer
        writer.close()
        served_writer.close()


# A run


def test_the_example() -> None:
    (block,) = blocks("testing/simulated_network.py", SOURCE)
    names = {each.__name__: each for each in (Hub, HubServer, HubConnection, SimulatedNetwork, asyncio)}
    exec(block.text, names)


@pytest.mark.parametrize("transport", list(Transport))
def test_a_seed_repeats_a_run(transport: Transport) -> None:
    async def main(network: SimulatedNetwork) -> tuple[Any, ...]:
        async with (
            HubServer({"/chat": Chat}) as server,
            HubConnection(server.url("/chat"), transports=transport) as hub,
        ):
            network.cut()
            await asyncio.sleep(100)
            assert await hub.invoke("Add", 1, 2) == 3
            return hub.connection_id, time.time(), uuid.uuid4(), secrets.token_hex(4), random.random()

    def play(seed: int) -> tuple[Any, ...]:
        network = SimulatedNetwork(seed)
        return network.run(main(network)), network.fingerprint, network.time, network.accepted

    first = play(1)
    assert play(1) == first
    assert not set(play(2)[0]) & set(first[0])


def test_the_clocks() -> None:
    before = time.time()

    async def main(network: SimulatedNetwork) -> None:
        loop = asyncio.get_running_loop()
        begin, wall = time.monotonic(), time.time()
        await asyncio.sleep(86_400)
        assert time.monotonic() - begin == loop.time() - begin == network.time - begin == 86_400
        assert time_asleep() == 0
        assert time.time() - wall == 86_400
        network.leap(-3600)
        assert time.time() - wall == 86_400 - 3600
        network.suspend(1000)
        assert (time.monotonic() - begin, time.time() - wall) == (87_400, 87_400 - 3600)

    run(main)
    assert 0 <= time.time() - before < 60


def test_the_process_is_as_before() -> None:
    random.seed(1)
    before = (random.getstate(), time.time, time.monotonic, secrets.token_bytes, socket.socket)

    async def main(_network: SimulatedNetwork) -> None:
        random.random()
        assert isinstance(socket.socket(), before[-1])
        assert isinstance(socket.socket(), socket.socket)
        with socket.socketpair()[0] as real:
            assert isinstance(real, socket.socket)
            assert real.fileno() < 1000

    with pytest.warns(ResourceWarning):
        run(main)
    assert (random.getstate(), time.time, time.monotonic, secrets.token_bytes, socket.socket) == before


def test_threads_run_at_once() -> None:
    def fail() -> None:
        raise ValueError("no")

    async def main(_network: SimulatedNetwork) -> float:
        with pytest.raises(ValueError, match="no"):
            await asyncio.to_thread(fail)
        return await asyncio.to_thread(time.time)

    assert run(main) == 1_704_067_200.0


def test_a_network_runs_once() -> None:
    async def main() -> int:
        return 1

    network = SimulatedNetwork(1)
    with pytest.raises(RuntimeError, match="only while the network runs"):
        network.suspend(1)
    assert network.run(main()) == 1
    with pytest.raises(RuntimeError, match="runs once"):
        network.run(main())


def test_what_can_never_end() -> None:
    async def main(network: SimulatedNetwork) -> None:
        network.refuse()
        await asyncio.get_running_loop().create_future()

    with pytest.raises(RuntimeError, match="every task waits") as caught:
        run(main, seed=17)
    assert caught.value.__notes__ == ["SimulatedNetwork(seed=17), after 0.000 simulated seconds\n0.000 s: refuse()"]


@pytest.mark.timeout(60)  # seconds of the processor
def test_a_program_that_never_waits() -> None:
    async def main(_network: SimulatedNetwork) -> None:
        for _ in itertools.count():
            await asyncio.sleep(0)

    with pytest.raises(RuntimeError, match="never waits"):
        run(main)


@pytest.mark.parametrize("options", [{"latency": (2, 1)}, {"latency": (-1, 1)}, {"split": 1.5}])
def test_wrong_options(options: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"latency is|split is"):
        SimulatedNetwork(1, **options)


def test_wrong_arguments() -> None:
    network = SimulatedNetwork(1)
    with pytest.raises(ValueError, match="must not be negative"):
        network.cut_after(-1, "up")
    with pytest.raises(ValueError, match="must not be negative"):
        network.suspend(-1)
    with pytest.raises(ValueError, match="'up' or 'down'"):
        network.stall("left")  # type: ignore[arg-type]


def test_what_there_is_not() -> None:
    async def main(_network: SimulatedNetwork) -> None:
        loop = asyncio.get_running_loop()
        with pytest.raises(NotImplementedError, match="no TLS"):
            await asyncio.open_connection(HOST, PORT, ssl=ssl.create_default_context())
        near, far = socket.socketpair()
        with near, far, pytest.raises(TypeError, match="only sockets that were made while it runs"):
            await loop.sock_connect(near, (HOST, PORT))

    run(main)


def test_httpx() -> None:
    async def main(_network: SimulatedNetwork) -> int:
        async with HubServer({"/chat": Chat}, host=HOST) as server, httpx.AsyncClient() as http:
            hub = HubConnection(server.url("/chat"), http=http, transports="LongPolling")
            async with hub:
                result: int = await hub.invoke("Add", 1, 2)
                return result

    assert run(main) == 3


# TCP


def test_data_arrives_in_order_and_in_pieces() -> None:
    async def main(network: SimulatedNetwork) -> None:
        lines: list[str] = []
        network.watch(lines.append)
        async with connected() as (reader, writer, served, answer):
            writer.write(b"0123456789" * 1000)
            writer.writelines([b"a", b"b"])
            assert await served.readexactly(10_002) == b"0123456789" * 1000 + b"ab"
            answer.write(b"yes")
            assert await reader.readexactly(3) == b"yes"
            assert (network.connections, network.accepted) == (1, 1)
        assert len([line for line in lines if " 1 up " in line]) >= 3

    run(main, split=1.0)


def test_half_a_connection() -> None:
    async def main(_network: SimulatedNetwork) -> None:
        async with connected() as (reader, writer, served, answer):
            writer.write(b"question")
            writer.write_eof()
            assert await served.read() == b"question"
            answer.write(b"answer")
            answer.close()
            assert await reader.read() == b"answer"

    run(main)


def test_a_sender_waits_for_the_reader() -> None:
    async def main(_network: SimulatedNetwork) -> None:
        async with connected() as (_reader, writer, served, _answer):
            writer.write(bytes(1_000_000))
            assert writer.transport.get_write_buffer_size() > 500_000
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(100):
                    await writer.drain()
            assert len(await served.readexactly(1_000_000)) == 1_000_000
            await writer.drain()
            assert writer.transport.get_write_buffer_size() == 0

    run(main)


def test_closing_sends_all_data_first() -> None:
    async def main(network: SimulatedNetwork) -> int:
        async with connected() as (_reader, writer, served, _answer):
            writer.write(bytes(1_000_000))
            writer.close()
            length = len(await served.read())
        await asyncio.sleep(1)
        assert network.connections == 0
        return length

    assert run(main) == 1_000_000


def test_data_that_nobody_reads_resets_the_connection() -> None:
    async def main(_network: SimulatedNetwork) -> None:
        async with connected() as (reader, writer, served, answer):
            served._transport.pause_reading()
            writer.write(b"unread")
            await asyncio.sleep(1)
            answer.transport.abort()
            with pytest.raises(ConnectionResetError):
                await reader.read()
            writer.write(b"more")
            with pytest.raises(ConnectionResetError):
                await writer.drain()

    run(main)


def test_data_for_an_end_that_is_closed_resets_the_connection() -> None:
    async def main(_network: SimulatedNetwork) -> None:
        async with connected() as (reader, writer, _served, answer):
            answer.close()
            assert await reader.read() == b""
            writer.write(b"too late")
            await asyncio.sleep(1)
            writer.write(b"later")
            await asyncio.sleep(0)
            assert writer.transport.is_closing()

    run(main)


def test_a_protocol_that_raises() -> None:
    class Failing(asyncio.Protocol):
        def data_received(self, _data: bytes) -> None:
            raise ValueError("no")

    async def main(_network: SimulatedNetwork) -> dict[str, Any]:
        loop = asyncio.get_running_loop()
        contexts: list[dict[str, Any]] = []
        loop.set_exception_handler(lambda _loop, context: contexts.append(context))
        server = await loop.create_server(Failing, HOST, PORT)
        reader, writer = await asyncio.open_connection(HOST, PORT)
        writer.write(b"data")
        assert await reader.read() == b""
        writer.close()
        server.close()
        await server.wait_closed()
        return contexts[0]

    assert isinstance(run(main)["exception"], ValueError)


def test_a_server() -> None:
    async def main(_network: SimulatedNetwork) -> None:
        server = await asyncio.start_server(lambda _reader, writer: writer.close(), HOST, PORT, start_serving=False)
        assert not server.is_serving()
        serving = asyncio.create_task(server.serve_forever())
        await asyncio.sleep(0)
        assert server.is_serving()
        assert server.get_loop() is asyncio.get_running_loop()
        assert server.sockets[0].getsockname() == ("10.0.0.1", PORT)
        with pytest.raises(OSError, match="in use"):
            await asyncio.start_server(lambda *_: None, HOST, PORT)
        reader, writer = await asyncio.open_connection(HOST, PORT)
        assert await reader.read() == b""
        writer.close()
        server.close()
        with pytest.raises(asyncio.CancelledError):
            await serving
        with pytest.raises(ConnectionRefusedError):
            await asyncio.open_connection(HOST, PORT)
        async with await asyncio.start_server(lambda _reader, writer: writer.close(), port=PORT):
            reader, writer = await asyncio.open_connection("other.example", PORT)
            assert await reader.read() == b""
            writer.close()

    run(main)


def test_a_socket() -> None:
    async def main(_network: SimulatedNetwork) -> None:
        async with connected() as (_reader, writer, *_):
            own = writer.get_extra_info("socket")
            assert (own.family, own.type, own.proto) == (socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
            assert own.getpeername() == writer.get_extra_info("peername") == ("10.0.0.1", PORT)
            assert own.gettimeout() == 0
            own.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            assert own.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY) == 1
            assert "SimulatedSocket" in repr(own)
            own.shutdown(socket.SHUT_RDWR)
        await asyncio.sleep(0)
        assert own.fileno() == -1
        with pytest.raises(OSError, match="Bad file"):
            own.listen()
        new = socket.socket()
        for call in (new.getpeername, lambda: new.shutdown(socket.SHUT_RD), new.detach):
            with pytest.raises(OSError, match=r"connected|supported"):
                call()
        new.close()

    run(main)


# Faults


@pytest.mark.parametrize("reset", [False, True])
def test_a_cut(reset: bool) -> None:
    async def main(network: SimulatedNetwork) -> None:
        async with connected() as (reader, writer, served, _answer):
            writer.write(b"lost")
            assert network.cut(reset=reset) == 1
            for end in (reader, served):
                if reset:
                    with pytest.raises(ConnectionResetError):
                        await end.read()
                else:
                    assert await end.read() == b""

    run(main)


def test_a_cut_after_some_bytes() -> None:
    async def main(network: SimulatedNetwork) -> None:
        async with connected() as (_reader, writer, served, _answer):
            network.cut_after(5, "up")
            writer.write(b"123")
            await asyncio.sleep(1)
            writer.write(b"456")
            assert await served.read() == b"12345"
        async with connected() as (_reader, writer, served, _answer):
            network.cut_after(0, "up", reset=True)
            with pytest.raises(ConnectionResetError):
                await served.read()

    run(main, split=0.0)


@pytest.mark.parametrize("direction", ["up", "down", None])
def test_a_stall(direction: Any) -> None:
    async def main(network: SimulatedNetwork) -> None:
        network.stall(direction)
        async with connected() as (reader, writer, served, answer):
            writer.write(b"question")
            answer.write(b"answer")
            await asyncio.sleep(1000)
            assert (len(served._buffer), len(reader._buffer)) == (8 * (direction == "down"), 6 * (direction == "up"))
            network.resume(direction)
            assert (await served.readexactly(8), await reader.readexactly(6)) == (b"question", b"answer")

    run(main)


def test_a_black_hole() -> None:
    """Data comes again, the later the longer the hole was. TCP does not know of the data meanwhile."""

    async def main(network: SimulatedNetwork) -> float:
        async with connected() as (_reader, writer, served, answer):
            network.swallow("up")
            network.swallow("down")
            network.swallow()
            began = network.time
            writer.write(b"late")
            await asyncio.sleep(10)
            assert unacknowledged(writer) == 1
            network.restore()
            assert await served.readexactly(4) == b"late"
            late = network.time - began
            assert unacknowledged(writer) == 0
            network.swallow("down")
            writer.write(b"seen")
            assert await served.readexactly(4) == b"seen"
            assert unacknowledged(writer) == 1
            network.restore("down")
            assert unacknowledged(writer) == 0
            network.swallow("down")
            answer.transport.get_extra_info("socket").setsockopt(
                socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0)
            )
            answer.transport.abort()
            await asyncio.sleep(1)
            network.restore("down")
            await asyncio.sleep(100)
            assert not writer.transport.is_closing()  # RST comes only once
            return late

    assert 10 < run(main) < 21


def unacknowledged(writer: asyncio.StreamWriter) -> int:
    info = writer.get_extra_info("socket").getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 60)
    count: int = struct.unpack_from("8x5I", info)[4]
    return count


def test_connecting_in_a_black_hole() -> None:
    async def main(network: SimulatedNetwork) -> None:
        async with connected():
            network.swallow("down")
            began = network.time
            with pytest.raises(TimeoutError):
                await asyncio.open_connection(HOST, PORT)
            assert network.time - began == pytest.approx(127)
            asyncio.get_running_loop().call_later(20, network.restore)
            _reader, writer = await asyncio.open_connection(HOST, PORT)
            assert network.time - began == pytest.approx(127 + 31, abs=0.1)
            writer.close()

    run(main)


@pytest.mark.parametrize(("keep_alive", "after"), [((), 7875), ((10, 5, 4), 30)])
def test_a_lost_line_is_noticed_by_keep_alive_probes(keep_alive: tuple[int, ...], after: float) -> None:
    async def main(network: SimulatedNetwork) -> float:
        async with connected() as (reader, writer, _served, answer):
            own = writer.get_extra_info("socket")
            own.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
            for name, value in zip(("TCP_KEEPIDLE", "TCP_KEEPINTVL", "TCP_KEEPCNT"), keep_alive, strict=False):
                own.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)
            assert network.lose_line() == 1
            began = network.time
            with pytest.raises(TimeoutError):
                await reader.read()
            assert not answer.transport.is_closing()
            return network.time - began

    assert run(main) == pytest.approx(after)


def test_a_lost_line_is_noticed_by_data_without_acknowledgement() -> None:
    async def main(network: SimulatedNetwork) -> float:
        async with connected() as (reader, writer, _served, _answer):
            own = writer.get_extra_info("socket")
            own.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
            network.lose_line()
            began = network.time
            writer.write(b"data")
            with pytest.raises(TimeoutError):
                await reader.read()
            return network.time - began

    assert run(main) == pytest.approx(924.6)


def test_refused_connections_and_names() -> None:
    async def main(network: SimulatedNetwork) -> None:
        async with connected():
            network.refuse()
            with pytest.raises(ConnectionRefusedError):
                await asyncio.open_connection(HOST, PORT)
            network.accept()
            network.forget_names()
            with pytest.raises(socket.gaierror):
                await asyncio.open_connection(HOST, PORT)
            loop = asyncio.get_running_loop()
            for host, address in (("localhost", "127.0.0.1"), (None, "127.0.0.1"), (b"10.1.2.3", "10.1.2.3")):
                ((*_, found),) = await loop.getaddrinfo(host, "80")
                assert found == (address, 80)
            network.know_names()
            ((*_, found),) = await loop.getaddrinfo(HOST, None)
            assert found == ("10.0.0.1", 0)
            ((*_, found),) = await loop.getaddrinfo("other.example", None)
            assert found == ("10.0.0.2", 0)

    run(main)


def test_a_slow_network() -> None:
    async def main(network: SimulatedNetwork) -> float:
        async with connected() as (_reader, writer, served, _answer):
            with network.slow(10, 20):
                began = network.time
                writer.write(b"slow")
                await served.readexactly(4)
                return network.time - began

    assert 10 <= run(main, split=0.0) <= 20


# Outages by chance


@pytest.mark.timeout(60)  # days of outages are seconds of the processor
def test_outages() -> None:
    async def main(network: SimulatedNetwork) -> int:
        async with HubServer({"/chat": Chat}, host=HOST) as server, HubConnection(server.url("/chat")) as hub:
            number = await network.outages(2 * 86_400, every=3600)
            await asyncio.sleep(900)
            assert await hub.invoke("Add", 1, 2) == 3
            return number

    assert 20 < run(main) < 60
    first, again = SimulatedNetwork(1), SimulatedNetwork(1)
    number = first.run(first.outages(200_000))
    assert again.run(again.outages(200_000, only=[2, 5])) == number > 40
    kinds = {line.split(": ")[2].split()[0] for line in first.history if "outage" in line}
    assert kinds == {"cut", "lose_line", "leap", "suspend", "stall", "swallow", "refuse", "forget_names", "slow"}
    assert [line.split(": ")[1] for line in again.history if "outage" in line] == ["outage 2", "outage 5"]
    assert set(again.history) <= set(first.history)
