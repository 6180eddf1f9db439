"""What the tests with Azure SignalR Service share: its keys, and clients as the service's REST API sees them."""

from __future__ import annotations

import time
import uuid
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import jwt

from signalr_sdk.azure import AzureSignalR

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from signalr_sdk import HubConnection

    from .hub_server import HubServer

# As in server/AzureService.cs.
PRIMARY = "PrimaryKeyPrimaryKeyPrimaryKeyPrimaryKeyPrim="
SECONDARY = "SecondaryKeySecondaryKeySecondaryKeySecondar="
WRONG = "WrongKeyWrongKeyWrongKeyWrongKeyWrongKeyWron="


def connection_string(server: HubServer, key: str = PRIMARY) -> str:
    """Return the one of the imitated service."""
    return f"Endpoint=http://127.0.0.1;Port={server.port};AccessKey={key};Version=1.0;"


def azure_at(server: HubServer, hub: str = "chat", *, key: str = PRIMARY, **options: Any) -> AzureSignalR:
    """Return one who sends to a hub of the imitated service."""
    return AzureSignalR(connection_string(server, key), hub, **options)


def signed(audience: str, *, key: str = PRIMARY, lifetime: float = 60, **claims: object) -> str:
    """Return a token made without the package; no two are the same."""
    claims = {"aud": audience, "exp": int(time.time() + lifetime), "jti": uuid.uuid4().hex, **claims}
    return jwt.encode(claims, key, "HS256")


@asynccontextmanager
async def known(hub: HubConnection) -> AsyncIterator[HubConnection]:
    """Connect, and wait until the service knows that: it does once it answers a call, not with the handshake."""
    async with hub:
        await hub.invoke("Nothing")
        yield hub


class Clock:
    """A clock that tests turn."""

    def __init__(self) -> None:
        self.now = time.time()

    def __call__(self) -> float:
        return self.now
