"""Defects that simulated runs have found, each in the shortest form that shows it."""

from __future__ import annotations

import asyncio
import json

from signalr_sdk import HubConnection, Retry, Timeouts, Transport
from signalr_sdk.testing import Hub, HubServer, SimulatedNetwork

HOST = "hub.example"
TIMEOUTS = Timeouts(connect=3, request=3, handshake=3, keep_alive=1, server=3, close=2, ready=5)


def test_a_resume_that_is_cut_off_leaves_no_web_socket_behind() -> None:
    """The server waits 5 s for the close of a WebSocket whose line is lost. The client goes away meanwhile."""
    network = SimulatedNetwork(seed=1)

    async def go() -> int:
        server = HubServer({"/hub": Hub}, stateful_reconnect=True)
        async with server:
            hub = HubConnection(
                server.url("/hub"),
                transports=Transport.WEBSOCKETS,
                stateful_reconnect=True,
                timeouts=TIMEOUTS,
                reconnect=Retry(wait=lambda _state: 0.1),
            )
            async with hub:
                network.lose_line()
                await asyncio.sleep(4)  # after 3 s of silence the client has opened another WebSocket
                assert network.accepted == 2
                network.cut(reset=True)
            await asyncio.sleep(60)
            return len(server._in_use)

    assert network.run(go()) == 0


def test_a_web_socket_with_unsent_data_is_closed_on_a_lost_line() -> None:
    """The server has more to send than the network takes, and waited for room before it closed the WebSocket."""
    network = SimulatedNetwork(seed=1)

    async def go() -> int:
        async with HubServer({"/hub": Hub}) as server:
            hub = HubConnection(server.url("/hub"), transports=Transport.WEBSOCKETS, timeouts=TIMEOUTS)
            async with hub:
                await asyncio.sleep(5)
                network.lose_line()
                for size in (250_000, 40_000, 40_000, 40_000):
                    await server.send("/hub", "Event", "x" * size)
                    await asyncio.sleep(0.1)
            await asyncio.sleep(60)
            return len(server._in_use)

    assert network.run(go()) == 0


def test_a_request_whose_body_does_not_come_is_given_up() -> None:
    """The server waited two hours for the rest of a POST on a lost line."""
    network = SimulatedNetwork(seed=1)

    async def go() -> tuple[int, bytes]:
        async with HubServer({"/hub": Hub}, host=HOST) as server:
            reader, writer = await asyncio.open_connection(HOST, server.port)
            head = f"HTTP/1.1\r\nHost: {HOST}\r\n"
            writer.write(f"POST /hub/negotiate?negotiateVersion=1 {head}Content-Length: 0\r\n\r\n".encode())
            await reader.readuntil(b"\r\n\r\n")
            token = json.loads(await reader.readuntil(b"]}]}"))["connectionToken"]
            writer.write(f"GET /hub?id={token} {head}\r\n".encode())
            await reader.readuntil(b"\r\n\r\n")
            writer.write(f"POST /hub?id={token} {head}Content-Length: 100\r\n\r\n".encode())
            await asyncio.sleep(60)
            status = await reader.readline()
            writer.close()
            return len(server._in_use), status

    assert network.run(go()) == (0, b"HTTP/1.1 408 Request Timeout\r\n")
