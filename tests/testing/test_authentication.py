"""Tokens that expire, and their renewal on a live connection, as in ASP.NET Core 11."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import aiohttp
import pytest
from tests.raw_client import until
from tests.testing.faulty import AT_ONCE, Chat

from signalr_sdk import ConnectionClosedError, HubConnection, Transport
from signalr_sdk.testing import HubServer, Identity

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


class Named(Chat):
    """Returns the caller's user name."""

    async def user(self) -> str | None:
        return self.context.user


TOKENS = {
    "short": Identity("ada", expires_in=0.2),
    "long": Identity("ada", expires_in=3599.5),
    "for ever": Identity("ada"),
    "bob": Identity("bob", expires_in=60),
}


def known(token: str | None) -> Identity | None:
    return TOKENS.get(token or "")


def serving(**options: Any) -> HubServer:
    return HubServer({"/chat": Named}, **{"authorize": known, **options})


@pytest.fixture
async def session() -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession() as started:
        yield started


def bearer(token: str, **more: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}", **more}


async def negotiate(session: aiohttp.ClientSession, chat: HubServer, token: str) -> dict[str, Any]:
    async with session.post(chat.url("/chat/negotiate?negotiateVersion=1"), headers=bearer(token)) as answer:
        said: dict[str, Any] = await answer.json()
        return said


@pytest.mark.parametrize(
    ("offered", "token", "lifetime"),
    [(True, "long", 3600), (True, "short", 1), (True, "for ever", None), (False, "long", None)],
)
async def test_lifetimes(offered: bool, token: str, lifetime: int | None, session: aiohttp.ClientSession) -> None:
    async with serving(authentication_refresh=offered) as chat:
        answer = await negotiate(session, chat, token)
        assert answer.get("tokenLifetimeSeconds") == lifetime
        async with HubConnection(chat.url("/chat"), access_token=token, reconnect=False) as hub:
            assert await hub.invoke("User") == "ada"


async def test_a_refresh(session: aiohttp.ClientSession) -> None:
    async with serving(authentication_refresh=True) as chat:
        token = (await negotiate(session, chat, "short"))["connectionToken"]

        async def refresh(bearer_token: str, connection: str) -> tuple[int, Any]:
            headers = bearer(bearer_token, **{"X-SignalR-Connection-Token": connection} if connection else {})
            async with session.post(chat.url("/chat/refresh"), headers=headers) as answer:
                return answer.status, await answer.json()

        assert await refresh("long", token) == (200, {"tokenLifetimeSeconds": 3600})
        assert await refresh("for ever", token) == (200, {})
        assert await refresh("long", "") == (400, {"error": "missing_connection_token"})
        assert await refresh("wrong", token) == (401, {"error": "invalid_token"})
        assert await refresh("long", "unknown") == (404, {"error": "connection_not_found"})
        assert await refresh("bob", token) == (403, {"error": "user_mismatch"})
        chat.faults.forget()
        assert await refresh("long", token) == (404, {"error": "connection_not_found"})
        chat.faults.refuse(503, at="refresh")
        async with session.post(chat.url("/chat/refresh")) as answer:
            assert answer.status == 503


async def test_no_refresh_where_it_is_not_offered(session: aiohttp.ClientSession) -> None:
    async with serving() as chat, session.post(chat.url("/chat/refresh")) as answer:
        assert answer.status == 404


async def test_a_poll_with_an_old_token(session: aiohttp.ClientSession) -> None:
    async with serving(authentication_refresh=True) as chat:
        token = (await negotiate(session, chat, "short"))["connectionToken"]
        url = f"{chat.url('/chat')}?id={token}"
        async with session.get(url, headers=bearer("short")) as answer:
            assert answer.status == 200
        (connection,) = chat._connections()
        connection.expires_at = 0.0
        async with session.get(url, headers=bearer("short")) as answer:
            assert (answer.status, answer.content_type) == (409, "application/json")
            assert await answer.json() == {"error": "authentication_refresh_required"}
        headers = bearer("long", **{"X-SignalR-Connection-Token": token})
        async with session.post(chat.url("/chat/refresh"), headers=headers) as answer:
            assert answer.status == 200
        async with session.post(url, headers=bearer("long"), data='{"protocol":"json","version":1}\x1e') as answer:
            assert answer.status == 200
        async with session.get(url, headers=bearer("long")) as answer:
            assert await answer.text() == "{}\x1e"


@pytest.mark.parametrize("transport", Transport)
async def test_a_connection_ends_with_its_token(transport: Transport) -> None:
    tokens = iter(["short", *["long"] * 10])
    async with serving(close_on_expiration=True) as chat:
        async with HubConnection(
            chat.url("/chat"), transports=transport, access_token=lambda: next(tokens), reconnect=False
        ) as hub:
            # The connection expires with the token of negotiate; newer tokens of the transport's requests do not count.
            with pytest.raises(ConnectionClosedError) as caught:
                await hub.wait_closed()
            assert (caught.value.reason, caught.value.allow_reconnect) == (None, True)
        async with HubConnection(chat.url("/chat"), transports=transport, access_token="for ever") as hub:
            assert await hub.invoke("User") == "ada"


async def test_a_negotiation_ends_with_its_token(session: aiohttp.ClientSession) -> None:
    async with serving(close_on_expiration=True) as chat:
        token = (await negotiate(session, chat, "short"))["connectionToken"]
        (connection,) = chat._connections()
        await until(lambda: connection.is_forgotten)
        async with session.get(f"{chat.url('/chat')}?id={token}", headers=bearer("long")) as answer:
            assert answer.status == 404


@pytest.mark.parametrize("transport", Transport)
async def test_a_client_that_refreshes_stays(transport: Transport) -> None:
    """Our own client renews a token after half of its lifetime, which is one second here."""
    tokens = iter(["brief", *["long"] * 50])
    everybody = {**TOKENS, "brief": Identity("ada", expires_in=1.0)}
    async with (
        HubServer(
            {"/chat": Named},
            authorize=lambda token: everybody.get(token or ""),
            authentication_refresh=True,
            close_on_expiration=True,
        ) as chat,
        HubConnection(
            chat.url("/chat"), transports=transport, access_token=lambda: next(tokens), reconnect=AT_ONCE
        ) as hub,
    ):
        refreshed: asyncio.Queue[float | None] = asyncio.Queue()
        hub.on_authentication_refreshed(refreshed.put_nowait)
        first = hub.connection_id
        assert await asyncio.wait_for(refreshed.get(), 5) == 3600
        assert await hub.refresh_authentication() == 3600
        (connection,) = chat._connections()
        assert connection.expiry is not None
        assert connection.expiry.when() > asyncio.get_running_loop().time() + 1000
        assert await hub.invoke("User") == "ada"
        assert hub.connection_id == first
