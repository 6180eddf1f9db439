"""Tokens that expire, and their renewal on a live connection, as in ASP.NET Core 11."""

from __future__ import annotations

import asyncio
import json
import time
from typing import TYPE_CHECKING, Any, ClassVar

import aiohttp
import attrs
import pytest
from tests.raw_client import until
from tests.testing.faulty import AT_ONCE, Chat

from signalr_sdk import ConnectionClosedError, HubConnection, Transport
from signalr_sdk.testing import HubServer, Identity

if TYPE_CHECKING:
    import logging
    from collections.abc import AsyncIterator, Callable


class Named(Chat):
    """Returns the caller's user name."""

    renewals: ClassVar[list[str | None]] = []

    async def user(self) -> str | None:
        return self.context.user

    async def on_authentication_refreshed(self) -> None:
        self.renewals.append(self.context.user)


TOKENS = {
    "short": Identity("ada", expires_in=0.2),
    "long": Identity("ada", expires_in=3599.5),
    "longer": Identity("ada", expires_in=7200),
    "for ever": Identity("ada"),
    "bob": Identity("bob", expires_in=60),
}


def known(token: str | None) -> Identity | None:
    return TOKENS.get(token or "")


def known_from_now() -> Callable[[str | None], Identity | None]:
    """Return what knows the tokens, each of which ends at a fixed time, however slow the machine is."""
    begin = time.monotonic()

    def known_then(token: str | None) -> Identity | None:
        identity = known(token)
        if identity is None or identity.expires_in is None:
            return identity
        return attrs.evolve(identity, expires_in=max(identity.expires_in - (time.monotonic() - begin), 0.01))

    return known_then


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
    [(True, "long", 3599), (True, "short", 0), (True, "for ever", None), (False, "long", None)],
)
async def test_lifetimes(offered: bool, token: str, lifetime: int | None, session: aiohttp.ClientSession) -> None:
    """In whole seconds, rounded down."""
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
                text = await answer.text()
                return answer.status, json.loads(text) if text else None

        assert await refresh("long", token) == (200, {"tokenLifetimeSeconds": 3599})
        assert await refresh("short", token) == (200, {"tokenLifetimeSeconds": 0})
        assert await refresh("for ever", token) == (200, {})
        assert await refresh("long", "") == (400, {"error": "missing_connection_token"})
        assert await refresh("wrong", token) == (401, None)
        assert await refresh("wrong", "") == (401, None)
        assert await refresh("long", "unknown") == (404, {"error": "connection_not_found"})
        assert await refresh("bob", token) == (403, {"error": "user_changed"})
        async with session.get(chat.url("/chat/refresh"), headers=bearer("long")) as answer:
            assert (answer.status, await answer.text()) == (405, "")
        chat.faults.forget()
        assert await refresh("long", token) == (404, {"error": "connection_not_found"})
        chat.faults.refuse(503, at="refresh")
        async with session.post(chat.url("/chat/refresh")) as answer:
            assert answer.status == 503


async def test_no_refresh_where_it_is_not_offered(session: aiohttp.ClientSession) -> None:
    async with serving() as chat, session.post(chat.url("/chat/refresh")) as answer:
        assert (answer.status, await answer.text()) == (404, "")


async def test_the_application_may_refuse_a_token(session: aiohttp.ClientSession) -> None:
    asked: list[Identity] = []

    async def never(identity: Identity) -> bool:
        asked.append(identity)
        return False

    async with serving(authentication_refresh=never) as chat:
        token = (await negotiate(session, chat, "long"))["connectionToken"]
        url = f"{chat.url('/chat')}?id={token}"
        refused = (403, {"error": "permission_change_rejected"})
        headers = bearer("long", **{"X-SignalR-Connection-Token": token})
        async with session.post(chat.url("/chat/refresh"), headers=headers) as answer:
            assert (answer.status, await answer.json()) == refused
        assert asked == [TOKENS["long"]]
        async with session.get(url, headers=bearer("long")) as answer:
            assert answer.status == 200
        async with session.get(url, headers=bearer("longer")) as answer:
            assert (answer.status, await answer.json()) == refused
        # As in ASP.NET Core, a poll whose token is refused ends the connection.
        async with session.get(url, headers=bearer("long")) as answer:
            assert answer.status == 404


async def test_a_hub_method_after_a_refresh_that_fails(expected_errors: list[logging.LogRecord]) -> None:
    class Failing(Chat):
        async def on_authentication_refreshed(self) -> None:
            raise ValueError("broken")

    async with (
        HubServer({"/chat": Failing}, authorize=known, authentication_refresh=True) as chat,
        HubConnection(chat.url("/chat"), access_token="long") as hub,
    ):
        assert await hub.refresh_authentication() == 3599
    assert "on_authentication_refreshed failed" in expected_errors[0].getMessage()


HANDSHAKE = '{"protocol":"json","version":1}\x1e'
PING = '{"type":6}\x1e'


async def polling(session: aiohttp.ClientSession, chat: HubServer, token: str) -> str:
    """Connect a client over long polling; return the URL of its polls and POSTs."""
    url = f"{chat.url('/chat')}?id={(await negotiate(session, chat, token))['connectionToken']}"
    async with session.get(url, headers=bearer(token)) as answer:
        assert answer.status == 200
    async with session.post(url, headers=bearer(token), data=HANDSHAKE) as answer:
        assert answer.status == 200
    return url


async def test_polls_and_their_tokens(session: aiohttp.ClientSession) -> None:
    """A token that ran out is a 401; one that ends later renews the connection; another user's is a 409."""
    Named.renewals.clear()
    options = {"authorize": known_from_now(), "poll_timeout": 0.01, "close_on_expiration": True}
    async with serving(authentication_refresh=True, **options) as chat:
        url = await polling(session, chat, "long")
        (connection,) = chat._connections()
        ends = connection.expires_at
        async with session.get(url, headers=bearer("wrong")) as answer:
            assert (answer.status, await answer.text()) == (401, "")
        for token, renewals in (("long", []), ("short", []), ("longer", ["ada"]), ("long", ["ada"])):
            async with session.get(url, headers=bearer(token)) as answer:
                assert answer.status == 200
            assert Named.renewals == renewals
        assert ends is not None
        assert connection.expires_at is not None
        assert connection.expires_at > ends + 3000
        async with session.get(url, headers=bearer("bob")) as answer:
            assert (answer.status, answer.content_type) == (409, "application/json")
            assert await answer.json() == {"error": "authentication_refresh_required"}
        # A POST with a new token is taken, and does not renew the connection.
        async with session.post(url, headers=bearer("for ever"), data=PING) as answer:
            assert answer.status == 200
        assert connection.expires_at is not None
        async with session.get(url, headers=bearer("for ever")) as answer:
            assert answer.status == 200
        assert connection.expires_at is None


@pytest.mark.parametrize("offered", [True, False])
async def test_another_user_cannot_take_a_connection_over(offered: bool, session: aiohttp.ClientSession) -> None:
    refused = (403, "The user associated with this connection changed.")
    async with serving(authentication_refresh=offered) as chat:
        url = await polling(session, chat, "long")
        async with session.post(url, headers=bearer("bob"), data=PING) as answer:
            assert (answer.status, await answer.text()) == refused
        async with session.delete(url, headers=bearer("bob")) as answer:
            assert (answer.status, await answer.text()) == refused
        if not offered:
            async with session.get(url, headers=bearer("bob")) as answer:
                assert (answer.status, await answer.text()) == refused
        for headers in ({}, {"Accept": "text/event-stream"}):
            url = f"{chat.url('/chat')}?id={(await negotiate(session, chat, 'long'))['connectionToken']}"
            async with session.get(url, headers=bearer("bob", **headers)) as answer:
                assert (answer.status, await answer.text()) == refused
        with pytest.raises(aiohttp.WSServerHandshakeError, match="403"):
            await session.ws_connect(url, headers=bearer("bob"))


@pytest.mark.parametrize("transport", Transport)
async def test_a_connection_ends_with_its_token(transport: Transport) -> None:
    async with serving(close_on_expiration=True) as chat:
        async with HubConnection(chat.url("/chat"), transports=transport, access_token="short", reconnect=False) as hub:
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
        assert await asyncio.wait_for(refreshed.get(), 5) == 3599
        assert await hub.refresh_authentication() == 3599
        (connection,) = chat._connections()
        assert connection.expiry is not None
        assert connection.expiry.when() > asyncio.get_running_loop().time() + 1000
        assert await hub.invoke("User") == "ada"
        assert hub.connection_id == first
