"""A path that takes nothing is a loss after `Timeouts.server`; a server that is only busy is left in peace."""

from __future__ import annotations

import asyncio
import math
import socket
import sys
from typing import TYPE_CHECKING, Any

import pytest
from tests.scripted import ScriptedServer, ScriptedSocket

from signalr_sdk import HubConnection, ServerTimeoutError, Timeouts, Transport
from signalr_sdk._connecting.opening import OpenConnection, OpenTransport
from signalr_sdk._core.path_watch import PathSample
from signalr_sdk._http.tcp_sockets import TcpSockets, seconds_since_data
from signalr_sdk.classic import HubConnection as ClassicConnection
from signalr_sdk.testing import ClassicHub, ClassicHubServer, FaultProxy, Hub, HubServer

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

linux = pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells what is acknowledged")


class SlowHub(Hub):
    async def take(self, text: str) -> int:
        return len(text)


@pytest.fixture
async def slow_server() -> AsyncIterator[HubServer]:
    async with HubServer({"/hub": SlowHub}) as server:
        yield server


def _ignore_silence(hub: HubConnection) -> None:
    """Let the server be silent: that is another matter than the path."""
    assert hub._life.link is not None
    hub._life.link._session._timeout = math.inf


@pytest.mark.parametrize("transport", list(Transport))
async def test_a_path_that_acknowledges_nothing_is_lost(
    slow_server: HubServer, transport: Transport, monkeypatch: pytest.MonkeyPatch
) -> None:
    hub = HubConnection(
        slow_server.url("/hub"), transports=transport, reconnect=False, timeouts=Timeouts(server=0.4, keep_alive=0.1)
    )
    async with hub:
        _ignore_silence(hub)
        monkeypatch.setattr(OpenConnection, "path_samples", lambda _connection: {1: PathSample(2, 99.0)})
        await hub.send("take", "x")
        with pytest.raises(ServerTimeoutError, match=r"acknowledged for 0\.4 s: the path to the server is dead"):
            await hub.wait_closed()


class SlowClassicHub(ClassicHub):
    async def take(self, text: str) -> int:
        return len(text)


@pytest.mark.parametrize("transport", list(Transport))
async def test_a_path_that_acknowledges_nothing_is_lost_to_a_classic_connection_too(
    transport: Transport, monkeypatch: pytest.MonkeyPatch
) -> None:
    lost: asyncio.Queue[Exception] = asyncio.Queue()
    back = asyncio.Event()
    async with ClassicHubServer({"Slow": SlowClassicHub}, keep_alive=None) as server:
        connection = ClassicConnection(server.url(), transports=transport, timeouts=Timeouts(server=0.4))
        hub = connection.hub("Slow")
        connection.on_reconnecting(lost.put_nowait)
        connection.on_reconnected(lambda _connection_id: back.set())
        async with connection:
            with monkeypatch.context() as patch:
                patch.setattr(OpenTransport, "path_samples", lambda _connection: {1: PathSample(2, 99.0)})
                assert await hub.invoke("Take", "x") == 1
                error = await lost.get()
            await back.wait()
            assert await hub.invoke("Take", "xy") == 2
    assert isinstance(error, ServerTimeoutError)
    assert "acknowledged for 0.4 s: the path to the server is dead" in str(error)


async def test_a_client_of_the_users_has_no_sockets_to_look_at(slow_server: HubServer) -> None:
    import aiohttp  # only this test has a session of its own

    async with aiohttp.ClientSession() as session, HubConnection(slow_server.url("/hub"), http=session) as hub:
        link = hub._life.link
        assert link is not None
        assert not link.connection.sees_paths
        assert link.connection.path_samples() == {}


@linux
async def test_the_system_is_asked_about_our_own_sockets(slow_server: HubServer) -> None:
    async with HubConnection(slow_server.url("/hub")) as hub:
        await hub.invoke("take", "x")
        link = hub._life.link
        assert link is not None
        samples = list(link.connection.path_samples().values())
        assert samples
        assert all(sample.since_ack < 10 for sample in samples)
        assert all(100 < sample.acknowledged < 10_000 for sample in samples)
        assert all(sample.repeats < 10 for sample in samples)


@linux
def test_the_system_knows_when_data_came() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener, socket.create_connection(listener.getsockname()) as client:
        served, _address = listener.accept()
        with served:
            served.send(b"x")
            assert client.recv(1) == b"x"
            since = seconds_since_data(client)
            assert since is not None
            assert 0 <= since < 10
    assert seconds_since_data(client) is None


@linux
@pytest.mark.parametrize("transport", list(Transport))
async def test_a_server_that_reads_nothing_keeps_its_connection(slow_server: HubServer, transport: Transport) -> None:
    """Its system acknowledges: for twice the timeout nothing that was sent is read, and all of it arrives later."""
    seconds = 0.5
    async with FaultProxy(slow_server.port) as proxy:
        hub = HubConnection(
            proxy.url("/hub"), transports=transport, reconnect=False, timeouts=Timeouts(server=seconds, keep_alive=0.1)
        )
        lost: list[Any] = []
        hub.on_closed(lost.append)
        async with hub:
            _ignore_silence(hub)
            proxy.stall("up")
            calls = [asyncio.create_task(hub.invoke("take", "x" * 1_000_000)) for _ in range(8)]
            await asyncio.sleep(2 * seconds)
            assert not lost
            proxy.resume("up")
            assert await asyncio.gather(*calls) == [1_000_000] * 8


@linux
async def test_an_idle_peer_is_probed() -> None:
    import socket  # only this test makes one

    sockets = TcpSockets(30.0)
    made = sockets.make((socket.AF_INET, socket.SOCK_STREAM, 0, "", ("127.0.0.1", 1)))
    try:
        assert made.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
        options = (socket.TCP_KEEPIDLE, socket.TCP_KEEPINTVL, socket.TCP_KEEPCNT)
        assert [made.getsockopt(socket.IPPROTO_TCP, option) for option in options] == [10, 5, 4]
    finally:
        made.close()
    assert sockets.samples() == {}


async def test_the_first_ping_leaves_alone(server: ScriptedServer, monkeypatch: pytest.MonkeyPatch) -> None:
    writes: list[bytes] = []
    send = ScriptedSocket.send

    async def noted(socket: ScriptedSocket, data: bytes, /) -> None:
        writes.append(data)
        await send(socket, data)

    monkeypatch.setattr(ScriptedSocket, "send", noted)
    hub = server.hub()
    start = asyncio.create_task(hub.start())
    socket = await server.sockets.get()
    early = asyncio.create_task(hub.send("Early"))  # waits for the connection
    await socket.shake_hands()
    await asyncio.gather(start, early)
    await socket.next()
    await hub.stop()
    assert writes[1] == b'{"type":6}\x1e'
