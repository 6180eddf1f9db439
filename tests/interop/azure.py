"""What the tests with Azure SignalR Service share: keys, app servers, and clients as its REST API has them."""

from __future__ import annotations

import asyncio
import time
import uuid
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, TypeAlias

import attrs
import jwt
from aiohttp import web
from tests.servers import app_server

from signalr_sdk import Retry
from signalr_sdk.azure import AzureSignalR

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from signalr_sdk import HubConnection

    from .hub_server import HubServer

# As in server/AzureService.cs.
PRIMARY = "PrimaryKeyPrimaryKeyPrimaryKeyPrimaryKeyPrim="
SECONDARY = "SecondaryKeySecondaryKeySecondaryKeySecondar="
WRONG = "WrongKeyWrongKeyWrongKeyWrongKeyWrongKeyWron="

APP_TOKEN = "app-token-of-the-user"
AT_ONCE = Retry.delays(*[0.0] * 20)


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


@attrs.define
class AppServer:
    """An app server with an origin of its own, and what it was asked."""

    url: str = ""
    asked: list[dict[str, str]] = attrs.Factory(list)
    targets: list[str] = attrs.Factory(list)
    refreshes: list[dict[str, str]] = attrs.Factory(list)


Answer: TypeAlias = "Callable[[web.Request], Any]"


@asynccontextmanager
async def app_at(answer: Answer, path: str = "/chat", *, refresh: Answer | None = None) -> AsyncIterator[AppServer]:
    """Run an app server that answers negotiate so, and the refresh of a token if it can do that."""
    app = AppServer()

    async def negotiate(request: web.Request) -> web.Response:
        app.asked.append(_headers(request))
        app.targets.append(request.raw_path)
        response = _response(answer(request))
        if response.status == 200:
            response.set_cookie("ARRAffinity", "instance-7")
        return response

    async def refreshed(request: web.Request) -> web.Response:
        assert refresh is not None
        app.refreshes.append({":path": request.raw_path, **_headers(request)})
        return _response(refresh(request))

    application = web.Application()
    application.router.add_post(f"{path}/negotiate", negotiate)
    if refresh is not None:
        application.router.add_post(f"{path}/refresh", refreshed)
    async with app_server(application) as origin:
        app.url = origin + path
        yield app


def _headers(request: web.Request) -> dict[str, str]:
    return {name.lower(): value for name, value in request.headers.items()}


def _response(said: Any) -> web.Response:
    return said if isinstance(said, web.Response) else web.json_response(said)


def redirect(server: HubServer, hub: str = "chat", user: str = "anna", **claims: Any) -> dict[str, Any]:
    """Return what an app server answers."""
    token = signed(f"http://127.0.0.1/client/?hub={hub}", **{"nameid": user, **claims})
    return {"url": server.url(f"/client/?hub={hub}"), "accessToken": token, "availableTransports": []}


async def requests_of(server: HubServer, hub: str) -> list[str]:
    """Return the requests of clients of a hub, with their tokens."""
    details = [event.detail or "" for event in await server.events("azure-request")]
    return [detail for detail in details if f"hub={hub}" in detail]


class Watched:
    """A connection, and each time that it came back."""

    def __init__(self, hub: HubConnection) -> None:
        self.hub = hub
        self.losses: list[Exception | None] = []
        self._back = asyncio.Event()
        hub.on_reconnecting(self.losses.append)
        hub.on_reconnected(lambda _: self._back.set())

    async def back(self) -> None:
        async with asyncio.timeout(8):
            await self._back.wait()
        self._back.clear()


async def past(seconds: float) -> None:
    """Wait until a token of so many seconds, made before, has run out: the service's clock cannot be turned."""
    await asyncio.sleep(seconds + 0.1)
