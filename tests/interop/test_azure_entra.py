"""Entra ID against the imitated service, behind a gateway that knows Entra tokens as the real one does."""

from __future__ import annotations

import time
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, NamedTuple

import aiohttp
from aiohttp import web
from tests.servers import app_server
from yarl import URL

from signalr_sdk.azure import AzureSignalR

from .azure import SECONDARY, known, signed

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from .conftest import Combination
    from .hub_server import HubServer

ENTRA = "token-of-entra-id"


class Token(NamedTuple):
    """As azure.core.credentials.AccessToken."""

    token: str
    expires_on: int


class Credential:
    """As one of azure.identity.aio."""

    async def get_token(self, *scopes: str) -> Token:
        assert scopes == ("https://signalr.azure.com/.default",)
        return Token(ENTRA, int(time.time()) + 3600)


@asynccontextmanager
async def gateway(server: HubServer) -> AsyncIterator[str]:
    """Take REST requests with Entra tokens, and pass them on with a key's; hand out a temporary key."""

    async def take(request: web.Request) -> web.Response:
        if request.headers.get("Authorization") != f"Bearer {ENTRA}":
            return web.Response(status=401)
        if request.path == "/api/auth/accessKey":
            return web.json_response({"KeyId": "temporary", "AccessKey": SECONDARY})
        path, _, query = request.raw_path.partition("?")
        url = server.url(path)
        headers = {"Authorization": f"Bearer {signed(url)}", "Content-Type": request.content_type}
        body = await request.read()
        async with (
            aiohttp.ClientSession() as session,
            session.request(
                request.method, URL(f"{url}?{query}", encoded=True), data=body or None, headers=headers
            ) as answer,
        ):
            passed = {name: answer.headers[name] for name in ("x-ms-error-code",) if name in answer.headers}
            return web.Response(status=answer.status, body=await answer.read(), headers=passed)

    app = web.Application()
    app.router.add_route("*", "/{anything:.*}", take)
    async with app_server(app) as url:
        yield url


def options_for(server: HubServer, url: str) -> dict[str, Any]:
    string = f"Endpoint={server.url('')};ServerEndpoint={url};AuthType=azure;Version=1.0;"
    return {"connection_string": string, "credential": Credential()}


async def test_everything_without_an_access_key(hub_server: HubServer, combination: Combination) -> None:
    name = f"e{combination}".replace("-", "").lower()
    async with (
        gateway(hub_server) as url,
        AzureSignalR(hub=name, **options_for(hub_server, url)) as azure,
        known(azure.connect("anna", **combination.options)) as made_by_the_service,
        known(azure.connect("bert", {"role": "admin"}, **combination.options)) as signed_with_a_temporary_key,
    ):
        for hub, user in ((made_by_the_service, "anna"), (signed_with_a_temporary_key, "bert")):
            assert await hub.invoke("User") == user
            assert hub.connection_id is not None
            async with hub.messages("Event") as events:
                await azure.add_to_group(hub.connection_id, "g")
                assert await azure.user_in_group(user, "g")
                await azure.send_user(user, "Event", user)
                assert await events.next(timeout=5) == (user,)
            hub.on("Ask", lambda: "answer")
            assert await azure.invoke_connection(hub.connection_id, "Ask") == "answer"
        assert len([each async for each in azure.group_connections("g", page_size=1)]) == 2
        assert not await azure.user_exists("carl")
