"""A token provider learns why it is asked: over each transport, for connections with and without the hub protocol."""

from __future__ import annotations

import asyncio
from typing import Any

import attrs
import pytest
from aiohttp import web
from tests.small_hub import COMBINATIONS, SmallHub, kind_of

from signalr_sdk import (
    AuthenticationRefresh,
    Connection,
    HubConnection,
    HubProtocol,
    Retry,
    TokenRequest,
    Transport,
)
from signalr_sdk.testing import Hub, HubServer, Identity

AT_ONCE = Retry.forever(wait=lambda _state: 0.0)
TRANSPORTS = list(Transport)


class Whoami(Hub):
    """A hub."""

    async def user(self) -> str | None:
        return self.context.user

    async def abort(self) -> None:
        self.context.abort()


class Vault:
    """Keeps a token until the server refuses it, as `TokenRequest` allows. The tokens are token-1, token-2, ..."""

    def __init__(self) -> None:
        self.requests: list[TokenRequest] = []
        self.made = 1

    @property
    def token(self) -> str:
        return f"token-{self.made}"

    async def __call__(self, request: TokenRequest) -> str:
        self.requests.append(request)
        if request.reason == "refresh" or request.refused == self.token:
            self.made += 1
        return self.token


@attrs.define
class Doorkeeper:
    """Knows which tokens are good."""

    good: set[str]

    def __call__(self, token: str | None) -> str | None:
        return "ada" if token in self.good else None


@pytest.mark.parametrize("transport", TRANSPORTS)
async def test_a_kept_token_is_replaced_as_soon_as_it_is_refused(transport: Transport) -> None:
    vault, door = Vault(), Doorkeeper({"token-1"})
    async with HubServer({"/hub": Whoami}, authorize=door) as server:
        hub = HubConnection(server.url("/hub"), transports=transport, access_token=vault, reconnect=AT_ONCE)
        up: asyncio.Queue[Any] = asyncio.Queue()
        hub.on_reconnected(up.put_nowait)
        async with hub:
            assert await hub.invoke("User") == "ada"
            await hub.send("Abort")
            await up.get()
            assert [request.reason for request in vault.requests] == ["connect", "connect"]
        door.good = {"token-2"}
        async with hub:
            assert await hub.invoke("User") == "ada"
        assert vault.requests[1].attempt == 1
        assert vault.requests[2:] == [TokenRequest("connect"), TokenRequest("refused", refused="token-1")]


@pytest.mark.parametrize(("transport", "protocol"), COMBINATIONS)
async def test_each_request_that_is_refused_tells_its_token(transport: Transport, protocol: type[HubProtocol]) -> None:
    """Negotiate, the WebSocket upgrade, the event stream, a poll, a POST: each is refused once."""
    vault, refused = Vault(), set[str]()

    async def refuse_each_once(request: web.Request) -> web.StreamResponse | None:
        kind = kind_of(request)
        if kind in refused or kind == "delete":
            return None
        refused.add(kind)
        return web.Response(status=401)

    small = SmallHub(protocol=protocol())
    small.before = refuse_each_once
    async with small.running():
        hub = small.client(transports=transport, access_token=vault)
        async with hub:
            assert await hub.invoke("Echo", "x", timeout=5) == "x"
    expected = [TokenRequest("connect")]
    expected += [TokenRequest("refused", refused=f"token-{n + 1}") for n in range(len(refused))]
    assert vault.requests == expected
    assert len(refused) == {Transport.WEBSOCKETS: 2}.get(transport, 3)


@pytest.mark.parametrize("transport", TRANSPORTS)
async def test_a_refresh_says_so(transport: Transport) -> None:
    vault = Vault()
    refreshed: asyncio.Queue[float | None] = asyncio.Queue()
    async with HubServer(
        {"/hub": Whoami},
        authorize=lambda token: Identity("ada", expires_in=1 if token == "token-1" else 3600),
        authentication_refresh=True,
    ) as server:
        hub = HubConnection(
            server.url("/hub"),
            transports=transport,
            access_token=vault,
            authentication_refresh=AuthenticationRefresh(before=1),
        )
        hub.on_authentication_refreshed(refreshed.put_nowait)
        async with hub:
            assert await refreshed.get() == 3600
            await hub.refresh_authentication()
    assert vault.requests == [TokenRequest("connect"), TokenRequest("refresh"), TokenRequest("refresh")]


@pytest.mark.parametrize("transport", TRANSPORTS)
async def test_a_raw_connection_asks_in_the_same_way(transport: Transport) -> None:
    vault = Vault()
    async with (
        HubServer({"/hub": Whoami}, authorize=Doorkeeper({"token-2"})) as server,
        Connection(server.url("/hub"), transports=transport, access_token=vault),
    ):
        pass
    assert vault.requests == [TokenRequest("connect"), TokenRequest("refused", refused="token-1")]
