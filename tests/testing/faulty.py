"""What the tests of faults share: a hub, its server, and clients on each of the five combinations."""

from __future__ import annotations

from collections.abc import AsyncIterator  # noqa: TC003  # the server looks the types of the hub's methods up
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
# As often as needed, at once.
AT_ONCE = Retry.delays(*[0.0] * 1000)


class Chat(Hub):
    """Says back what it is told."""

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
    """Return a connection that comes back at once and is not started."""
    return HubConnection(url, transports=transport, **{"reconnect": AT_ONCE, **options})
