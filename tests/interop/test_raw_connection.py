"""Connections without the hub protocol."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

from signalr_sdk import Connection, NegotiationError, NotConnectedError, Transport

if TYPE_CHECKING:
    from .hub_server import HubServer

CASES: list[tuple[Transport, Any, list[Any]]] = [
    (Transport.WEBSOCKETS, "text", ["hello", "é🚀", "x" * 100_000]),
    (Transport.WEBSOCKETS, "binary", [b"\x00\xff", bytes(100_000)]),
    (Transport.SERVER_SENT_EVENTS, "text", ["hello", "é🚀", "two\nlines", "x" * 100_000]),
    (Transport.LONG_POLLING, "text", ["hello", "é🚀", "x" * 100_000]),
    (Transport.LONG_POLLING, "binary", [b"\x00\xff", bytes(100_000)]),
]


@pytest.mark.parametrize(("transport", "transfer_format", "messages"), CASES)
async def test_what_is_sent_comes_back(
    transport: Transport, transfer_format: Any, messages: list[Any], hub_server: HubServer
) -> None:
    async with Connection(hub_server.url("/echo"), transports=transport, transfer_format=transfer_format) as connection:
        assert connection.transport is transport
        for message in messages:
            # Read while sending: what comes back is held back if nobody takes it, and then the server reads no more.
            sending = asyncio.create_task(connection.send(message))
            # The server echoes segments as it reads them: a raw connection has no message borders of its own.
            back = type(message)()
            while len(back) < len(message):
                back += await anext(connection)
            assert back == message
            await sending
    with pytest.raises(NotConnectedError):
        await connection.send(messages[0])


async def test_stop_ends_the_iteration(hub_server: HubServer) -> None:
    async with Connection(hub_server.url("/echo")) as connection:
        waiting = asyncio.create_task(anext(connection, "the end"))
        await connection.send("hello")
        assert await waiting == "hello"
        waiting = asyncio.create_task(anext(connection, "the end"))
        await asyncio.sleep(0)  # it waits
        await connection.stop()
        assert await waiting == "the end"


async def test_a_path_where_nothing_is(hub_server: HubServer) -> None:
    with pytest.raises(NegotiationError) as caught:
        await Connection(hub_server.url("/nothing-here")).start()
    assert caught.value.status == 404
