"""A start of a classic connection that does not come to its end: the server learns of it at once."""

from __future__ import annotations

import asyncio

import pytest

from signalr_sdk import ConnectionClosedError, HandshakeError, Timeouts, Transport
from signalr_sdk.classic import HubConnection
from signalr_sdk.testing import ClassicHub, ClassicHubServer

EACH = pytest.mark.parametrize("transport", list(Transport))


def slow_hub() -> tuple[type[ClassicHub], asyncio.Event]:
    """Return a hub whose `on_connected` does not end, and what tells that it has begun."""
    begun = asyncio.Event()

    class Slow(ClassicHub):
        async def on_connected(self) -> None:
            begun.set()
            await asyncio.Event().wait()

    return Slow, begun


@EACH
async def test_stop_while_the_hub_gets_to_know_the_client(transport: Transport) -> None:
    slow, begun = slow_hub()
    async with ClassicHubServer({"Slow": slow}) as server:
        connection = HubConnection(server.url(), transports=transport)
        connection.hub("Slow")
        starting = asyncio.ensure_future(connection.start())
        await begun.wait()
        await connection.stop()
        with pytest.raises(ConnectionClosedError):
            await starting
        assert (await server.wait_disconnected()).error is None


async def test_stop_does_not_wait_for_the_answer(caplog: pytest.LogCaptureFixture) -> None:
    slow, begun = slow_hub()
    async with ClassicHubServer({"Slow": slow}) as server:
        connection = HubConnection(server.url(), timeouts=Timeouts(close=0.4))
        connection.hub("Slow")
        starting = asyncio.ensure_future(connection.start())
        await begun.wait()
        with server.faults.hang("abort") as fault:
            await connection.stop()
            assert fault.happened == 1
        with pytest.raises(ConnectionClosedError):
            await starting
    assert [record for record in caplog.records if "left" in record.getMessage()] == []


@EACH
async def test_a_hub_that_refuses_the_client(transport: Transport, caplog: pytest.LogCaptureFixture) -> None:
    class Refusing(ClassicHub):
        async def on_connected(self) -> None:
            raise ValueError("no")

    async with ClassicHubServer({"Refusing": Refusing}) as server:
        connection = HubConnection(server.url(), transports=transport)
        connection.hub("Refusing")
        with pytest.raises(HandshakeError, match="status 500"):
            await connection.start()
        assert (await server.wait_disconnected()).error is None
    assert "/start failed" in caplog.text


async def test_an_abort_that_is_not_answered_holds_up_nobody() -> None:
    async with ClassicHubServer({"Chat": ClassicHub}) as server:
        connection = HubConnection(server.url())
        connection.hub("Chat")
        _ = server.faults.answer("start", 500)
        with server.faults.hang("abort"), pytest.raises(HandshakeError):
            await asyncio.wait_for(connection.start(), 5)


async def test_a_server_that_ends_the_connection_is_not_told() -> None:
    class Slow(ClassicHub):
        async def on_connected(self) -> None:
            server.faults.end("full")
            await asyncio.Event().wait()

    async with ClassicHubServer({"Slow": Slow}) as server:
        connection = HubConnection(server.url())
        connection.hub("Slow")
        with pytest.raises(HandshakeError, match=r"^the server refused the connection: full "):
            await connection.start()
        assert server.recorded.disconnects == []
