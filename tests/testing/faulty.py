"""For tests of faults: a hub, a server, and clients for each combination of transport and protocol."""

from __future__ import annotations

from collections.abc import AsyncIterator  # the server evaluates the annotations of hub methods
from typing import Any

from signalr_sdk import HubConnection, Retry, Transport
from signalr_sdk.testing import Hub, HubServer

COMBINATIONS = [
    (Transport.WEBSOCKETS, "json"),
    (Transport.WEBSOCKETS, "messagepack"),
    (Transport.SERVER_SENT_EVENTS, "json"),
    (Transport.LONG_POLLING, "json"),
    (Transport.LONG_POLLING, "messagepack"),
]
# A retry policy that reconnects at once, as often as needed.
AT_ONCE = Retry.delays(*[0.0] * 1000)


class Chat(Hub):
    """Repeats texts to all clients."""

    async def say(self, text: str) -> str:
        await self.clients.all.send("said", text)
        return text

    async def add(self, a: int, b: int) -> int:
        return a + b

    async def counter(self, count: int) -> AsyncIterator[int]:
        for number in range(count):
            yield number


def server(**options: Any) -> HubServer:
    """Return a server for `Chat` that is not started."""
    return HubServer({"/chat": Chat}, **options)


def client(url: str, transport: Transport = Transport.WEBSOCKETS, **options: Any) -> HubConnection:
    """Return a connection that is not started, and that reconnects at once."""
    return HubConnection(url, transports=transport, **{"reconnect": AT_ONCE, **options})
