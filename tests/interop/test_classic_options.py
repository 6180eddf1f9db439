"""Classic ASP.NET SignalR: options and promises that it shares with ASP.NET Core SignalR."""

from __future__ import annotations

import asyncio
import logging
import re
import subprocess
import sys
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

import aiohttp
import httpx
import pytest
from tenacity import wait_fixed

from signalr_sdk import (
    ConnectionFailedError,
    ConnectionState,
    HandshakeError,
    Limits,
    NotConnectedError,
    Retry,
    ServerTimeoutError,
    SetupError,
    SlowConsumerError,
    Timeouts,
    Transport,
)
from signalr_sdk.classic import HubConnection

if TYPE_CHECKING:
    from tests.interop.classic_server import ClassicServer

ALL = pytest.mark.parametrize("transport", list(Transport))
SOON = Retry(wait=wait_fixed(0.05))


def test_the_package_does_not_import_it() -> None:
    code = "import signalr_sdk, sys; sys.exit(any(name.startswith('signalr_sdk.classic') for name in sys.modules))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


async def test_a_slow_handler_holds_up_nobody(classic_server: ClassicServer) -> None:
    """Reading goes on: the oldest events are dropped here, and `on_error` hears of it."""
    connection = HubConnection(classic_server.url(), limits=Limits(buffered_bytes=100_000))
    hub = connection.hub("testHub")
    go_on, seen, errors = asyncio.Event(), list[int](), list[Exception]()

    @hub.on("number")
    async def number(value: int, _text: str) -> None:
        await go_on.wait()
        seen.append(value)

    hub.on("welcome", lambda _id: None)
    connection.on_error(errors.append)
    async with connection:
        await hub.invoke("FloodBig", 300, 1000)
        assert await hub.invoke("Add", 1, 2) == 3
        async with hub.messages("end") as ends:
            await hub.invoke("CallBack", "end", [])
            await ends.next(5)
        go_on.set()
        async with asyncio.timeout(10):
            while True:
                if seen and seen[-1] == 299 and errors:
                    break
                await asyncio.sleep(0.01)
    (error,) = errors
    assert isinstance(error, SlowConsumerError)
    assert seen == sorted(seen)
    assert seen[-50:] == list(range(250, 300))
    assert len(seen) + error.dropped == 300


@ALL
async def test_a_hub_that_is_idle(classic_server: ClassicServer, transport: Transport) -> None:
    """Keep-alives do not count, and a new connection follows at once."""
    connection = HubConnection(classic_server.url(), transports=transport, reconnect=SOON, timeouts=Timeouts(idle=0.5))
    connection.hub("testHub").on("welcome", lambda _id: None)
    lost: asyncio.Queue[Any] = asyncio.Queue()
    connection.on_reconnecting(lost.put_nowait)
    back: asyncio.Queue[Any] = asyncio.Queue()
    connection.on_reconnected(back.put_nowait)
    async with connection:
        first = connection.connection_id
        error = await asyncio.wait_for(lost.get(), 10)
        assert isinstance(error, ServerTimeoutError)
        assert "Timeouts.idle" in str(error)
        assert await asyncio.wait_for(back.get(), 10) != first
    paths = [each["path"] for each in await classic_server.log("request")]
    assert not any(path.endswith("/reconnect") for path in paths)


@ALL
async def test_set_up(classic_server: ClassicServer, transport: Transport) -> None:
    """It can call the hub and wait for its events; other events come after it."""
    connection = HubConnection(classic_server.url(), transports=transport)
    hub = connection.hub("testHub")
    happened: list[Any] = []

    @connection.on_setup
    async def set_up(identity: str) -> None:
        assert (connection.state, connection.connection_id) == (ConnectionState.CONNECTING, None)
        async with hub.events("joined") as events, hub.messages("broadcast") as messages:
            await hub.invoke("Join", "g")
            assert tuple(await events.next(5)) == ("joined", (identity, "g"))
            await hub.send("BroadcastAll", "x")
            assert (await messages.next(5))[0] == "x"
        happened.append("set up")

    hub.on("welcome", lambda _id: happened.append("welcome"))
    connection.on_connected(lambda _id: happened.append("connected"))
    async with connection, hub.messages("end") as ends:
        await hub.invoke("CallBack", "end", [])
        await ends.next(5)
    assert happened == ["set up", "connected", "welcome"]


async def test_a_set_up_that_fails(classic_server: ClassicServer) -> None:
    connection = HubConnection(classic_server.url())
    hub = connection.hub("testHub")
    connection.on_setup(lambda _id: hub.invoke("HubBoom"))
    with pytest.raises(SetupError, match="visible message"):
        await connection.start()
    assert connection.state is ConnectionState.DISCONNECTED


async def test_errors_of_handlers_can_end_the_connection(classic_server: ClassicServer) -> None:
    connection = HubConnection(classic_server.url(), handler_errors="raise")
    hub = connection.hub("testHub")

    @hub.on("welcome")
    def fail(_identity: str) -> None:
        raise RuntimeError("no")

    async with connection:
        with pytest.raises(RuntimeError, match="no"):
            await connection.wait_closed()


@ALL
async def test_a_start_that_is_cancelled(classic_server: ClassicServer, transport: Transport) -> None:
    connection = HubConnection(classic_server.url(), transports=transport)
    for suffix in ("/negotiate", "/connect", "/start"):
        await classic_server.control("/rule", {"suffix": suffix, "times": 1, "hang": True})
        starting = asyncio.ensure_future(connection.start())
        async with asyncio.timeout(10):
            while True:
                if any(each["path"].endswith(suffix) for each in await classic_server.log("request")):
                    break
                await asyncio.sleep(0.01)
        starting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await starting
        assert connection.state is ConnectionState.DISCONNECTED
        await classic_server.clear()


@pytest.mark.parametrize("transport", [Transport.SERVER_SENT_EVENTS, Transport.LONG_POLLING])
async def test_a_client_of_httpx(classic_server: ClassicServer, transport: Transport) -> None:
    async with httpx.AsyncClient(trust_env=False) as client:
        connection = HubConnection(classic_server.url(), transports=transport, http=client)
        hub = connection.hub("testHub")
        async with connection, hub.messages("number") as numbers:
            await hub.invoke("Sequence", 0, 3)
            assert [await numbers.next(5) for _ in range(3)] == [(0,), (1,), (2,)]
        alone = HubConnection(classic_server.url(), transports="WebSockets", http=client)
        with pytest.raises(ConnectionFailedError, match="has no WebSockets"):
            await alone.start()


async def test_a_session_of_the_users(classic_server: ClassicServer) -> None:
    async with aiohttp.ClientSession() as session:
        connection = HubConnection(classic_server.url(), http=session)
        hub = connection.hub("testHub")
        async with connection:
            assert await hub.invoke("Add", 1, 2) == 3
        assert not session.closed


async def test_flush_and_start_again(classic_server: ClassicServer) -> None:
    connection = HubConnection(classic_server.url())
    hub = connection.hub("testHub")
    with pytest.raises(NotConnectedError):
        await hub.invoke("Add", 1, 2)
    for _ in range(2):
        async with connection, hub.messages("number") as numbers:
            await hub.send("Sequence", 0, 1)
            await connection.flush()
            assert await numbers.next(5) == (0,)


@ALL
async def test_what_was_sent_before_the_stop_arrives(classic_server: ClassicServer, transport: Transport) -> None:
    listener = HubConnection(classic_server.url())
    heard = listener.hub("other").messages("note")
    connection = HubConnection(classic_server.url(), transports=transport)
    async with listener:
        other = connection.hub("other")
        async with connection:
            for number in range(20):
                await other.send("Notify", str(number))
        assert sorted([(await heard.next(5))[0] for _ in range(20)], key=int) == [str(n) for n in range(20)]


async def test_a_server_that_never_answers_the_start(classic_server: ClassicServer) -> None:
    await classic_server.control("/rule", {"suffix": "/start", "times": -1, "hang": True})
    connection = HubConnection(classic_server.url(), timeouts=Timeouts(request=0.3))
    connection.hub("testHub")
    with pytest.raises(HandshakeError):
        await connection.start()


@ALL
async def test_the_log_has_no_secrets(
    classic_server: ClassicServer, transport: Transport, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG, "signalr_sdk")
    connection = HubConnection(
        classic_server.url("/signalr?key=query-secret"), transports=transport, access_token="token-secret"
    )
    hub = connection.hub("testHub")
    async with connection:
        await hub.invoke("Join", "g")
        await hub.invoke("Add", 1, 2)
        back = asyncio.Event()
        connection.on_reconnected(lambda _id: back.set())
        while not await classic_server.control("/drop", how="reset"):
            pass
        await asyncio.wait_for(back.wait(), 10)
        await hub.invoke("Add", 1, 2)
    requests = await classic_server.log("request")
    told = "\n".join(each["query"] + "&" + (each["body"] or "") for each in requests)
    secrets = {unquote(value) for value in re.findall(r"(?:connectionToken|messageId|groupsToken)=([^&\s]+)", told)}
    assert len(secrets) > 2
    texts = "\n".join(record.getMessage() for record in caplog.records)
    assert "received" in texts
    assert [secret for secret in {*secrets, "query-secret", "token-secret"} if secret in texts] == []
