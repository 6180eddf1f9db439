"""`TcpListener` refuses connections at any moment, and forgets none that it has accepted."""

from __future__ import annotations

import asyncio
import socket
from typing import Any

from signalr_sdk.testing.tcp_listener import TcpListener


class Greeting(asyncio.Protocol):
    """Says hello to each client."""

    def connection_made(self, transport: Any) -> None:
        transport.write(b"hello")
        transport.close()


async def test_a_connection_that_is_accepted_while_the_port_closes() -> None:
    """asyncio would keep its socket without a word, and the client would wait for ever."""
    loop = asyncio.get_running_loop()
    listener = TcpListener(Greeting)
    await listener.open("127.0.0.1", 0)
    with socket.create_connection(("127.0.0.1", listener.port)) as client:
        client.setblocking(False)
        # The event loop accepts the connection in its next turn, and makes the transport in the turn after. The port
        # closes between these two.
        loop.call_soon(loop.call_soon, listener.refuse)
        assert await asyncio.wait_for(loop.sock_recv(client, 100), 5) == b"hello"
    await listener.close()
