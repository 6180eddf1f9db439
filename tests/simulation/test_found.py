"""Defects that simulated runs have found, each in the shortest form that shows it."""

from __future__ import annotations

import asyncio

from signalr_sdk import HubConnection, Retry, Timeouts, Transport
from signalr_sdk.testing import Hub, HubServer, SimulatedNetwork

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
