"""Two servers on two ports: after a redirect nothing of the user's reaches the other one, on any transport."""

from __future__ import annotations

import asyncio
import itertools
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import pytest
from aiohttp import web
from tests.small_hub import COMBINATIONS, Asked, SmallHub, kind_of

from signalr_sdk import HubConnection, Retry, Transport

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

each_combination = pytest.mark.parametrize(("transport", "protocol"), COMBINATIONS)

AT_ONCE = Retry(wait=lambda _state: 0.0)
REQUESTS = {
    Transport.WEBSOCKETS: {"negotiate", "websocket"},
    Transport.SERVER_SENT_EVENTS: {"negotiate", "sse", "post"},
    Transport.LONG_POLLING: {"negotiate", "poll", "post", "delete"},
}


class TwoServers:
    """`home`, which is the hub's URL, and `away`, where it sends its clients.

    Attributes:
        with_token: whether the redirect carries a token, a new one each time.
        provided: the tokens that the user's provider gave.
    """

    def __init__(self, home: SmallHub, away: SmallHub) -> None:
        self.home, self.away = home, away
        self.with_token = True
        self.provided: list[str] = []
        self._numbers = itertools.count(1)
        home.before = self._redirect

    async def _redirect(self, request: web.Request) -> web.StreamResponse | None:
        assert kind_of(request) == "negotiate"
        number = next(self._numbers)
        answer: dict[str, str] = {"url": f"{self.away.url}?region=west"}
        if self.with_token:
            answer["accessToken"] = f"redirect-{number}"
        response = web.json_response(answer)
        response.set_cookie("home-affinity", "secret-affinity")
        return response

    def provide(self) -> str:
        self.provided.append(f"users-{len(self.provided) + 1}")
        return self.provided[-1]

    def client(self, **options: Any) -> HubConnection:
        given: dict[str, Any] = {
            "protocol": self.home.protocol,
            "access_token": self.provide,
            "headers": {"X-Api-Key": "secret-key", "X-Tenant": "blue", "Authorization": "Basic secret"},
            "cookies": {"session": "secret-session"},
            "reconnect": AT_ONCE,
        }
        return HubConnection(f"{self.home.url}?id-of=mine", **given | options)


@asynccontextmanager
async def two_servers(transport: Transport, protocol: Any) -> AsyncIterator[TwoServers]:
    home, away = (SmallHub((transport,), protocol()) for _ in range(2))
    away.cookies = {"affinity": "west-1"}
    async with home.running(), away.running():
        yield TwoServers(home, away)


def assert_nothing_of_the_users(asked: list[Asked], token: str | None, *cookies: str | None) -> None:
    for each in asked:
        text = f"{each.target} {dict(each.headers)}"
        assert "secret" not in text
        assert "users-" not in text
        assert "blue" not in text
        assert each.token == (f"Bearer {token}" if token else None)
        assert each.headers.get("Cookie") in cookies


@each_combination
async def test_only_the_redirects_own_things_go_to_another_origin(transport: Transport, protocol: Any) -> None:
    async with two_servers(transport, protocol) as servers:
        async with servers.client() as hub:
            assert await hub.invoke("Echo", 1) == 1
        assert {each.kind for each in servers.away.asked} == REQUESTS[transport]
        assert_nothing_of_the_users(servers.away.asked, "redirect-1", None, "affinity=west-1")
        assert all(each.headers.get("Cookie") for each in servers.away.asked[1:])
        (asked,) = servers.home.asked
        assert asked.token == "Bearer users-1"
        assert (asked.headers["X-Api-Key"], asked.headers["Cookie"]) == ("secret-key", "session=secret-session")


@each_combination
async def test_a_redirect_without_a_token_gets_none_of_ours(transport: Transport, protocol: Any) -> None:
    async with two_servers(transport, protocol) as servers:
        servers.with_token = False
        async with servers.client() as hub:
            assert await hub.invoke("Echo", 1) == 1
        assert_nothing_of_the_users(servers.away.asked, None, None, "affinity=west-1")


@each_combination
async def test_what_is_named_goes_along(transport: Transport, protocol: Any) -> None:
    async with two_servers(transport, protocol) as servers:
        async with servers.client(forward_headers=["x-tenant"]) as hub:
            assert await hub.invoke("Echo", 1) == 1
        assert {each.headers.get("X-Tenant") for each in servers.away.asked} == {"blue"}
        assert "secret" not in str([dict(each.headers) for each in servers.away.asked])


@each_combination
async def test_the_token_of_a_redirect_ends_with_its_connection(transport: Transport, protocol: Any) -> None:
    """Each connection begins at the hub's URL, with the user's token; so does one that is lost for a 401."""
    async with two_servers(transport, protocol) as servers, servers.client() as hub:
        reconnected = asyncio.Event()
        hub.on_reconnected(lambda _id: reconnected.set())
        servers.away.end()
        await reconnected.wait()
        assert await hub.invoke("Echo", 1) == 1
        assert [each.token for each in servers.home.asked] == ["Bearer users-1", "Bearer users-2"]
        tokens = [each.token for each in servers.away.asked]
        assert [token for token, _ in itertools.groupby(tokens)] == ["Bearer redirect-1", "Bearer redirect-2"]
        assert servers.away.asked[tokens.index("Bearer redirect-2")].headers.get("Cookie") is None


@pytest.mark.parametrize(
    ("transport", "kind"),
    [
        (Transport.WEBSOCKETS, "websocket"),
        (Transport.SERVER_SENT_EVENTS, "sse"),
        (Transport.SERVER_SENT_EVENTS, "post"),
        (Transport.LONG_POLLING, "poll"),
        (Transport.LONG_POLLING, "post"),
    ],
)
async def test_a_401_with_the_token_of_a_redirect_asks_nobody_and_begins_again(transport: Transport, kind: str) -> None:
    async with SmallHub((transport,)).running() as home, SmallHub((transport,)).running() as away:
        servers = TwoServers(home, away)
        refused: list[str] = []

        async def refuse_the_first(request: web.Request) -> web.StreamResponse | None:
            token = request.headers.get("Authorization", "")
            if kind_of(request) != kind or token != "Bearer redirect-1":
                return None
            refused.append(token)
            return web.Response(status=401)

        away.before = refuse_the_first
        async with servers.client(retry_start=Retry(wait=lambda _state: 0.0, retry=lambda _context: True)) as hub:
            assert await hub.invoke("Echo", 1) == 1
            assert len(refused) == 1
            assert servers.provided == ["users-1", "users-2"]
            assert [each.token for each in home.asked] == ["Bearer users-1", "Bearer users-2"]
