"""Connections through Azure SignalR Service that live on: over a cut of the line, and past the end of their token."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Literal

import pytest
from aiohttp import web

from signalr_sdk import AuthenticationRefreshError, HubConnection, Timeouts, Transport, TransportError
from signalr_sdk._hub import link as hub_link

from .azure import APP_TOKEN, AT_ONCE, Watched, app_at, past, redirect, requests_of
from .hubs import cut_and_abort

if TYPE_CHECKING:
    from collections.abc import Callable

    from .conftest import Combination
    from .hub_server import HubServer

# As redirects name it, query aside.
SERVICE = "/client/"
PROTOCOLS: tuple[Literal["json", "messagepack"], ...] = ("json", "messagepack")


class Tokens:
    """A provider of app tokens, each another one, that counts how often it was asked."""

    def __init__(self) -> None:
        self.given = 0

    def __call__(self) -> str:
        self.given += 1
        return f"app-token-{self.given}"


async def lines_of(server: HubServer, hub: HubConnection) -> list[str]:
    """Return the requests that had the id of the connection: the query of each, and the token."""
    assert hub.connection_id is not None
    link = hub._life.link
    assert link is not None
    endpoint = link.connection.endpoint
    assert endpoint is not None
    assert endpoint.connection_token is not None
    events = await server.events("azure-request")
    return [event.detail for event in events if event.detail and f"id={endpoint.connection_token} " in event.detail]


def token_of(request: str) -> str:
    return request.rpartition(" ")[2]


# Stateful reconnect


@pytest.mark.parametrize("protocol", PROTOCOLS)
async def test_cuts_are_resumed_and_nothing_is_lost(
    hub_server: HubServer, protocol: Literal["json", "messagepack"]
) -> None:
    tokens, events = Tokens(), list[int]()
    query = f"who=cuts-{protocol}"
    hub = HubConnection(
        hub_server.url(f"/app?{query}"), access_token=tokens, stateful_reconnect=True, protocol=protocol
    )
    watched = Watched(hub)
    hub.on("event", lambda number, _text: events.append(number))

    async def calls() -> list[int]:
        return [await hub.invoke("Add", number, 1) for number in range(100)]

    async def stream() -> list[int]:
        return [item async for item in hub.stream("Counter", 200, 1)]

    async with hub:
        connection_id = hub.connection_id
        for _ in range(3):
            done = asyncio.gather(calls(), stream(), hub.invoke("Flood", "event", 100, 20), hub.invoke("Delay", 100))
            while not await hub_server.drop_transports(SERVICE):
                pass
            added, counted, _flooded, delayed = await done
            assert (added, counted, delayed) == (list(range(1, 101)), list(range(200)), 100)
        assert events == [*range(100)] * 3
        assert hub.connection_id == connection_id
        assert await hub.invoke("User") == "Bearer app-token-1"
        lines = await lines_of(hub_server, hub)
    assert watched.losses == []
    assert tokens.given == 1
    negotiated = [each for each in await hub_server.events("app-negotiate") if query in (each.detail or "")]
    assert len(negotiated) == 1
    # Negotiation has no id. The token is the one that the redirect gave, and no other.
    assert len(lines) >= 4
    assert len({token_of(line) for line in lines}) == 1
    assert token_of(lines[0]).startswith("eyJ")


async def test_a_line_that_is_resumed_carries_nothing_of_the_users(hub_server: HubServer) -> None:
    async with app_at(lambda _: redirect(hub_server, "resumed")) as app:
        hub = HubConnection(
            app.url,
            access_token=APP_TOKEN,
            headers={"X-Api-Key": "key-of-the-user"},
            cookies={"session": "cookie-of-the-user"},
            stateful_reconnect=True,
        )
        async with hub:
            connection_id = hub.connection_id
            await hub.invoke("Nothing")
            assert await hub_server.drop_transports(SERVICE) == 1
            assert await hub.invoke("Header", "X-Api-Key") == ""
            assert await hub.invoke("Header", "Cookie") == ""
            assert hub.connection_id == connection_id
    (asked,) = app.asked
    assert (asked["authorization"], asked["cookie"]) == (f"Bearer {APP_TOKEN}", "session=cookie-of-the-user")
    seen = await requests_of(hub_server, "resumed")
    # The client asks for stateful reconnect at the service itself, where the app server has not handed that on.
    assert "&useStatefulReconnect=true" in seen[0]
    assert len(seen) == 3
    assert len({token_of(line) for line in seen}) == 1
    assert not [line for line in seen if APP_TOKEN in line]


async def test_a_resume_that_is_refused_leads_back_to_the_app_server(hub_server: HubServer) -> None:
    users, tokens = iter(["anna", "bert"]), Tokens()
    async with app_at(lambda _: redirect(hub_server, "refused", next(users))) as app:
        hub = HubConnection(app.url, access_token=tokens, stateful_reconnect=True, reconnect=AT_ONCE)
        watched = Watched(hub)
        async with hub:
            first = hub.connection_id
            assert await hub.invoke("User") == "anna"
            # As an instance of the service that was restarted.
            await cut_and_abort(hub_server, hub, SERVICE)
            await watched.back()
            assert hub.connection_id != first
            assert await hub.invoke("User") == "bert"
            # The new connection can be resumed as well.
            second = hub.connection_id
            await hub_server.drop_transports(SERVICE)
            assert await hub.invoke("User") == "bert"
            assert hub.connection_id == second
    assert [asked["authorization"] for asked in app.asked] == ["Bearer app-token-1", "Bearer app-token-2"]
    (error,) = watched.losses
    assert error is not None
    assert isinstance(error.__cause__, TransportError)
    assert error.__cause__.status in (404, 409)
    assert len({token_of(line) for line in await requests_of(hub_server, "refused")}) == 2


async def test_a_token_that_has_run_out_resumes_nothing(hub_server: HubServer) -> None:
    """A WebSocket outlives its token, but another line with it is refused."""
    answers = iter([redirect(hub_server, "late", lifetime=3)])
    async with app_at(lambda _: next(answers, redirect(hub_server, "late", "bert"))) as app:
        hub = HubConnection(app.url, access_token=Tokens(), stateful_reconnect=True, reconnect=AT_ONCE)
        watched = Watched(hub)
        async with hub:
            assert await hub.invoke("User") == "anna"
            await past(3)
            await hub_server.drop_transports(SERVICE)
            await watched.back()
            assert await hub.invoke("User") == "bert"
    assert [asked["authorization"] for asked in app.asked] == ["Bearer app-token-1", "Bearer app-token-2"]
    (error,) = watched.losses
    assert error is not None
    assert isinstance(error.__cause__, TransportError)
    assert error.__cause__.status == 401


async def test_a_window_that_is_over_leads_back_to_the_app_server(
    hub_server: HubServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hub_link, "_WINDOW", 0.3)
    users, tokens = iter(["anna", "bert"]), Tokens()
    async with app_at(lambda _: redirect(hub_server, "window", next(users))) as app:
        hub = HubConnection(app.url, access_token=tokens, stateful_reconnect=True, timeouts=Timeouts(connect=5.0))
        watched = Watched(hub)
        async with hub:
            first, link = hub.connection_id, hub._life.link
            assert link is not None

            async def unreachable() -> None:
                raise TransportError("no route to the service", transport=Transport.WEBSOCKETS)

            link.connection.reopen = unreachable  # type: ignore[method-assign]
            await hub_server.drop_transports(SERVICE)
            await watched.back()
            assert hub.connection_id != first
            assert await hub.invoke("User") == "bert"
    assert tokens.given == len(app.asked) == 2
    assert len(watched.losses) == 1


# Authentication refresh


class Refreshing:
    """An app server that names a lifetime, and gives a token of the service's with each refresh.

    The tokens live for a minute whatever it says, but for the first if that is wanted.
    """

    def __init__(
        self, server: HubServer, name: str, seconds: float, *, gives_token: bool = True, first: float = 60
    ) -> None:
        self._server, self._name, self._seconds = server, name, seconds
        self._gives_token, self._first = gives_token, first
        self.given: list[str] = []

    def negotiate(self, _request: web.Request) -> dict[str, Any]:
        return {**self._redirect(), "tokenLifetimeSeconds": self._seconds}

    def refresh(self, _request: web.Request) -> dict[str, Any]:
        token = {"accessToken": self._redirect()["accessToken"]} if self._gives_token else {}
        return {"tokenLifetimeSeconds": self._seconds, **token}

    def _redirect(self) -> dict[str, Any]:
        answer = redirect(self._server, self._name, lifetime=60 if self.given else self._first)
        self.given.append(answer["accessToken"])
        return answer


def name_for(combination: Combination, what: str) -> str:
    return f"{what}{combination}".replace("-", "").lower()


async def test_the_app_server_refreshes_the_token_of_the_service(
    hub_server: HubServer, combination: Combination
) -> None:
    server = Refreshing(hub_server, name_for(combination, "fresh"), 1)
    lifetimes: asyncio.Queue[float | None] = asyncio.Queue()
    async with app_at(server.negotiate, refresh=server.refresh) as app:
        hub = HubConnection(
            f"{app.url}?room=1",
            access_token=Tokens(),
            headers={"X-Api-Key": "key-of-the-user"},
            **combination.options,
        )
        watched = Watched(hub)
        hub.on_authentication_refreshed(lifetimes.put_nowait)
        async with hub:
            connection_id = hub.connection_id
            for _ in range(3):
                assert await lifetimes.get() == 1.0
                assert await hub.invoke("User") == "anna"
            assert hub.connection_id == connection_id
            lines = await lines_of(hub_server, hub)
    assert watched.losses == []
    assert len(app.asked) == 1
    shown = [each["authorization"] for each in (*app.asked, *app.refreshes[:3])]
    assert shown == [f"Bearer app-token-{number}" for number in range(1, 5)]
    for refresh in app.refreshes:
        assert refresh[":path"] == "/chat/refresh?room=1"
        # The connection token of the service's, which stands in the query of its lines; the refresh has no body.
        assert f"id={refresh['x-signalr-connection-token']} " in lines[0]
        assert (refresh["x-api-key"], refresh.get("content-length", "0")) == ("key-of-the-user", "0")
    used = list(dict.fromkeys(map(token_of, lines)))
    if combination.transport is Transport.WEBSOCKETS:
        assert used == server.given[:1]
    else:
        # Another refresh may be quicker than a request.
        order = [server.given.index(token) for token in used]
        assert order == sorted(order)
        assert order[0] == 0
        assert order[-1] >= 3


@pytest.mark.parametrize("transport", [Transport.SERVER_SENT_EVENTS, Transport.LONG_POLLING])
async def test_with_refreshes_a_connection_outlives_its_first_token(
    hub_server: HubServer, transport: Transport
) -> None:
    server = Refreshing(hub_server, f"outlives{transport}".lower(), 60, first=3)
    async with app_at(server.negotiate, refresh=server.refresh) as app:
        hub = HubConnection(app.url, access_token=Tokens(), transports=transport)
        watched = Watched(hub)
        async with hub:
            await hub.refresh_authentication()
            await past(3)
            assert await hub.invoke("User") == "anna"
    assert watched.losses == []


@pytest.mark.parametrize("gives_token", [True, False])
async def test_by_hand_with_and_without_a_token_of_the_service(
    hub_server: HubServer, combination: Combination, gives_token: bool
) -> None:
    server = Refreshing(hub_server, name_for(combination, f"hand{gives_token}"), 60, gives_token=gives_token)
    async with app_at(server.negotiate, refresh=server.refresh) as app:
        hub = HubConnection(app.url, access_token=Tokens(), **combination.options)
        async with hub:
            assert await hub.invoke("User") == "anna"
            before = len(await lines_of(hub_server, hub))
            assert await hub.refresh_authentication() == 60.0
            assert await hub.invoke("User") == "anna"
            # A poll that was under way when the token came had the one before.
            await hub.invoke("Nothing")
            lines = await lines_of(hub_server, hub)
    assert [each["authorization"] for each in app.refreshes] == ["Bearer app-token-2"]
    if combination.transport is not Transport.WEBSOCKETS:
        assert len(lines) > before
        assert token_of(lines[-1]) == server.given[-1]
    assert not [line for line in lines if "app-token" in line]


async def test_a_line_is_resumed_with_the_refreshed_token(hub_server: HubServer) -> None:
    server = Refreshing(hub_server, "both", 60)
    async with app_at(server.negotiate, refresh=server.refresh) as app:
        hub = HubConnection(app.url, access_token=Tokens(), stateful_reconnect=True)
        watched = Watched(hub)
        async with hub:
            connection_id = hub.connection_id
            await hub.refresh_authentication()
            await hub_server.drop_transports(SERVICE)
            assert await hub.invoke("User") == "anna"
            assert hub.connection_id == connection_id
            lines = await lines_of(hub_server, hub)
    assert [token_of(line) for line in lines] == server.given
    assert watched.losses == []


@pytest.mark.parametrize(
    ("status", "error"), [(404, "refresh_disabled"), (401, "invalid_token"), (403, "user_mismatch"), (500, "oops")]
)
async def test_a_refusal_of_the_app_server_changes_nothing(
    hub_server: HubServer, combination: Combination, status: int, error: str
) -> None:
    server = Refreshing(hub_server, name_for(combination, f"no{status}"), 60)
    answer: Callable[[web.Request], Any] = lambda _: web.json_response({"error": error}, status=status)  # noqa: E731
    async with app_at(server.negotiate, refresh=answer) as app:
        hub = HubConnection(app.url, access_token=APP_TOKEN, **combination.options)
        watched = Watched(hub)
        async with hub:
            with pytest.raises(AuthenticationRefreshError) as caught:
                await hub.refresh_authentication()
            assert caught.value.status == status
            assert await hub.invoke("User") == "anna"
            assert {token_of(line) for line in await lines_of(hub_server, hub)} == set(server.given)
    assert len(server.given) == len(app.refreshes) == 1
    assert watched.losses == []


async def test_a_reconnect_after_refreshes_begins_anew(hub_server: HubServer) -> None:
    server = Refreshing(hub_server, "anew", 60)
    async with app_at(server.negotiate, refresh=server.refresh) as app:
        hub = HubConnection(app.url, access_token=Tokens(), reconnect=AT_ONCE)
        watched = Watched(hub)
        async with hub:
            await hub.refresh_authentication()
            await hub_server.drop_transports(SERVICE)
            await watched.back()
            await hub.refresh_authentication()
            lines = await lines_of(hub_server, hub)
    # Negotiate, refresh; negotiate, refresh: each with an app token of its own, none of them the service's.
    assert [each["authorization"][-1] for each in app.asked] == ["1", "3"]
    assert [each["authorization"][-1] for each in app.refreshes] == ["2", "4"]
    assert [token_of(line) for line in lines] == server.given[2:3]
