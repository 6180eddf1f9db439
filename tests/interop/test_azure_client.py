"""Hubs behind Azure SignalR Service, as an ordinary client meets them: the app server redirects to the service."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pytest
from aiohttp import web

from signalr_sdk import ConnectionClosedError, HubConnection, NegotiationError, Retry, Transport

from .azure import APP_TOKEN, AT_ONCE, Clock, Watched, app_at, azure_at, past, redirect, requests_of, signed

if TYPE_CHECKING:
    from collections.abc import Iterator

    from signalr_sdk.azure import AzureSignalR

    from .conftest import Combination, StartServer
    from .hub_server import HubServer

# Getting in


@pytest.mark.parametrize("path", ["/app", "/app-text", "/app-two-hops"])
async def test_a_hub_behind_the_service_just_works(hub_server: HubServer, combination: Combination, path: str) -> None:
    async with HubConnection(hub_server.url(path), access_token=APP_TOKEN, **combination.options) as hub:
        assert hub.transport is combination.transport
        assert hub.url == hub_server.url(path)
        # The imitated app server makes the token that it got the user; behind two hops that is the first one's.
        token = "hop-token" if path == "/app-two-hops" else APP_TOKEN
        assert await hub.invoke("User") == f"Bearer {token}"
        async with hub.messages("Told") as told:
            await hub.invoke("CallMe", "Told", [1, "ü"])
            assert await told.next(timeout=5) == (1, "ü")
        assert [n async for n in hub.stream("Counter", 3, 0)] == [0, 1, 2]


async def test_the_query_is_kept_as_it_is(hub_server: HubServer, combination: Combination) -> None:
    query = f"room=a%2Fb%20c&%C3%BC=%c3%bc&plus=a+b&empty=&flag&{combination}"
    async with HubConnection(hub_server.url(f"/app?{query}"), **combination.options) as hub:
        assert await hub.invoke("Query", "room") == "a/b c"
    asked = [detail for detail in await requests_of(hub_server, "chat") if query in detail]
    assert len(asked) >= 2
    for detail in asked:
        assert f"?hub=chat&asrs.op=%2Fapp&{query}&negotiateVersion=1&asrs_request_id=a%2Fb%3D" in detail
        assert detail.count("hub=") == detail.count("negotiateVersion=") == 1
    assert asked[0].startswith("POST /client/negotiate?")


@pytest.mark.parametrize("path", ["/app/negotiate", "/app-text/negotiate?code=secret"])
async def test_the_negotiate_url_itself_is_explained(hub_server: HubServer, path: str) -> None:
    with pytest.raises(NegotiationError, match="give the hub's URL without that") as caught:
        await HubConnection(hub_server.url(path), reconnect=False).start()
    assert caught.value.status == 404
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize("status", [404, 405])
async def test_the_negotiate_url_of_a_function_is_explained(status: int) -> None:
    async with app_at(lambda _: web.Response(status=status), "/api/negotiate") as app:
        with pytest.raises(NegotiationError, match="give the hub's URL without that"):
            await HubConnection(app.url, reconnect=False).start()
    assert app.targets == ["/api/negotiate/negotiate?negotiateVersion=1"]


async def test_a_function_that_answers_text(hub_server: HubServer, combination: Combination) -> None:
    # Azure Functions: only two members, as text; the function key stays with the function.
    async with azure_at(hub_server, "functions") as azure:
        answer = await azure.negotiate("anna")
        text = f'{{"url":"{answer["url"]}","accessToken":"{answer["accessToken"]}"}}'
        async with app_at(lambda _: web.Response(text=text), "/api") as app:
            url = f"{app.url}?code=function%2Fkey%3D%3D"
            async with HubConnection(url, **combination.options) as hub:
                assert await hub.invoke("User") == "anna"
                assert await hub.invoke("Query", "code") == ""
    assert app.targets == ["/api/negotiate?code=function%2Fkey%3D%3D&negotiateVersion=1"]


# Who gets what


async def test_no_credential_of_the_user_reaches_the_service(hub_server: HubServer, combination: Combination) -> None:
    name = f"o{combination}".replace("-", "").lower()
    async with app_at(lambda _: redirect(hub_server, name)) as app:
        hub = HubConnection(
            app.url,
            access_token=APP_TOKEN,
            headers={"X-Api-Key": "key-of-the-user", "X-Tenant": "blue"},
            cookies={"session": "cookie-of-the-user"},
            forward_headers=["X-Tenant"],
            **combination.options,
        )
        async with hub:
            assert await hub.invoke("User") == "anna"
            assert await hub.invoke("Header", "X-Api-Key") == ""
            assert await hub.invoke("Header", "X-Tenant") == "blue"
            assert await hub.invoke("Header", "Cookie") == ""
    (asked,) = app.asked
    assert asked["authorization"] == f"Bearer {APP_TOKEN}"
    assert asked["x-api-key"] == "key-of-the-user"
    assert asked["cookie"] == "session=cookie-of-the-user"
    seen = await requests_of(hub_server, name)
    assert len(seen) >= 2
    assert not [detail for detail in seen if APP_TOKEN in detail]
    # One token for all requests: the service finds its instance by it.
    assert len({detail.rpartition(" ")[2] for detail in seen}) == 1


async def test_no_token_of_the_service_reaches_the_app_server(hub_server: HubServer) -> None:
    tokens = iter(f"app-token-{n}" for n in range(9))
    async with app_at(lambda _: redirect(hub_server, "tokens")) as app, azure_at(hub_server, "tokens") as azure:
        watched = Watched(HubConnection(app.url, access_token=lambda: next(tokens), reconnect=AT_ONCE))
        async with watched.hub as hub:
            for _ in range(2):
                await close(azure, hub, "scaling in")
                await watched.back()
    assert [asked["authorization"] for asked in app.asked] == [f"Bearer app-token-{n}" for n in range(3)]
    # Cookies of the app server's own last for one connection.
    assert not [asked for asked in app.asked if "cookie" in asked]


@pytest.mark.parametrize("transport", [Transport.WEBSOCKETS, Transport.SERVER_SENT_EVENTS])
async def test_a_token_in_the_query_is_the_services_as_well(hub_server: HubServer, transport: Transport) -> None:
    name = f"query{transport}".lower()
    async with app_at(lambda _: redirect(hub_server, name)) as app:
        hub = HubConnection(app.url, access_token=APP_TOKEN, access_token_in="query", transports=transport)
        async with hub:
            assert await hub.invoke("User") == "anna"
    assert app.asked[0]["authorization"] == f"Bearer {APP_TOKEN}"
    seen = await requests_of(hub_server, name)
    assert [detail for detail in seen if detail.startswith("GET ") and "access_token=eyJ" in detail]
    assert not [detail for detail in seen if APP_TOKEN in detail]


# Coming back


async def close(azure: AzureSignalR, hub: HubConnection, reason: str | None) -> None:
    await hub.invoke("Nothing")  # the service knows a client once it answers a call
    assert hub.connection_id is not None
    await azure.close_connection(hub.connection_id, reason)


@pytest.mark.parametrize("reason", ["Connection closed with an error.", None])
async def test_each_reconnect_begins_at_the_app_server(
    hub_server: HubServer, combination: Combination, reason: str | None
) -> None:
    users = iter(["anna", "bert", "carl"])
    name = f"r{combination}{bool(reason)}".replace("-", "").lower()
    async with app_at(lambda _: redirect(hub_server, name, next(users))) as app, azure_at(hub_server, name) as azure:
        watched = Watched(HubConnection(app.url, reconnect=AT_ONCE, **combination.options))
        async with watched.hub as hub:
            for user in ("anna", "bert"):
                assert await hub.invoke("User") == user
                await close(azure, hub, reason)
                await watched.back()
            assert await hub.invoke("User") == "carl"
    assert len(app.asked) == 3
    for error in watched.losses:
        assert isinstance(error, ConnectionClosedError)
        assert error.allow_reconnect
        assert error.reason == reason
    assert len({detail.rpartition(" ")[2] for detail in await requests_of(hub_server, name)}) == 3


async def test_the_app_server_moves_the_client_to_another_endpoint(
    hub_server: HubServer, start_server: StartServer
) -> None:
    second = start_server()
    endpoints = iter([hub_server, second])
    async with app_at(lambda _: redirect(next(endpoints), "moved")) as app, azure_at(hub_server, "moved") as azure:
        watched = Watched(HubConnection(app.url, reconnect=AT_ONCE))
        async with watched.hub as hub:
            await close(azure, hub, "shard is going away")
            await watched.back()
            assert await hub.invoke("User") == "anna"
            assert hub.connection_id in await second.connections()
            assert hub.connection_id not in await hub_server.connections()
    assert len(await requests_of(second, "moved")) >= 2
    first_tokens, second_tokens = [
        {detail.rpartition(" ")[2] for detail in await requests_of(server, "moved")} for server in (hub_server, second)
    ]
    assert not first_tokens & second_tokens


async def test_an_hour_later_url_and_token_are_new(hub_server: HubServer, combination: Combination) -> None:
    name = f"hour{combination}".replace("-", "").lower()
    clock = Clock()
    clock.now -= 3590  # what is given now is near its end
    given: list[tuple[str, str]] = []

    def answer(_request: web.Request) -> object:
        token = signed(f"http://127.0.0.1/client/?hub={name}", exp=int(clock.now) + 3600, nameid="anna")
        given.append((f"asrs_request_id={len(given)}", token))
        return {"url": hub_server.url(f"/client/?hub={name}&{given[-1][0]}"), "accessToken": token}

    async with app_at(answer) as app, azure_at(hub_server, name) as azure:
        watched = Watched(HubConnection(app.url, reconnect=AT_ONCE, **combination.options))
        async with watched.hub as hub:
            for _ in range(2):
                await close(azure, hub, "scaling in")
                clock.now += 3600
                await watched.back()
                assert await hub.invoke("User") == "anna"
    assert len(app.asked) == len(given) == 3
    seen = await requests_of(hub_server, name)
    for number in range(3):
        mine = [detail for detail in seen if given[number][0] in detail]
        assert len(mine) >= 2
        assert all(detail.endswith(f"Bearer {given[number][1]}") for detail in mine)


async def test_a_throttled_reconnect_waits_as_it_is_told(hub_server: HubServer) -> None:
    again = [web.Response(status=429, headers={"Retry-After": "1"}) for _ in range(2)]
    answers: Iterator[object] = iter([redirect(hub_server, "throttled"), *again])

    def answer(_request: web.Request) -> object:
        return next(answers, redirect(hub_server, "throttled"))

    async with app_at(answer) as app, azure_at(hub_server, "throttled") as azure:
        watched = Watched(HubConnection(app.url, reconnect=AT_ONCE))
        async with watched.hub as hub:
            before = time.monotonic()
            await close(azure, hub, "scaling in")
            await watched.back()
            assert time.monotonic() - before >= 2
            assert await hub.invoke("User") == "anna"
    assert len(app.asked) == 4


async def test_an_app_server_without_the_service_is_tried_again(hub_server: HubServer) -> None:
    text = "Azure SignalR Service is not connected yet, please try again later."
    answers: Iterator[object] = iter([web.Response(status=500, text=text)])
    async with app_at(lambda _: next(answers, redirect(hub_server, "later"))) as app:
        async with HubConnection(app.url, reconnect=AT_ONCE, retry_start=True) as hub:
            assert await hub.invoke("User") == "anna"
        assert len(app.asked) == 2
    with pytest.raises(NegotiationError, match=text):
        await HubConnection(hub_server.url("/app-not-connected"), reconnect=False).start()


async def test_a_stale_token_leads_back_to_the_app_server(hub_server: HubServer) -> None:
    answers = iter([redirect(hub_server, "stale", lifetime=-1)])
    async with (
        app_at(lambda _: next(answers, redirect(hub_server, "stale"))) as app,
        HubConnection(app.url, reconnect=Retry(wait=lambda _: 0.0, retry=lambda _: True), retry_start=True) as hub,
    ):
        assert await hub.invoke("User") == "anna"
        assert len(app.asked) == 2


# Tokens that run out


async def test_the_service_closes_when_the_token_runs_out(hub_server: HubServer, combination: Combination) -> None:
    url = hub_server.url(f"/app-closing?seconds=2&who={combination}")
    watched = Watched(HubConnection(url, access_token=APP_TOKEN, reconnect=AT_ONCE, **combination.options))
    async with watched.hub as hub:
        before = hub.connection_id
        await watched.back()
        assert hub.connection_id != before
        assert await hub.invoke("User") == f"Bearer {APP_TOKEN}"
    negotiated = [e for e in await hub_server.events("app-negotiate") if f"who={combination}" in (e.detail or "")]
    assert len(negotiated) == 2
    (error,) = watched.losses
    assert isinstance(error, ConnectionClosedError)
    assert error.allow_reconnect


@pytest.mark.parametrize("transport", [Transport.SERVER_SENT_EVENTS, Transport.LONG_POLLING])
async def test_a_token_that_runs_out_under_http_requests(hub_server: HubServer, transport: Transport) -> None:
    watched = Watched(HubConnection(hub_server.url("/app?seconds=2"), transports=transport, reconnect=AT_ONCE))
    async with watched.hub as hub:
        before = hub.connection_id
        await past(2)
        # This one is refused with 401, and is lost with its connection.
        with pytest.raises(ConnectionClosedError, match="status 401"):
            await hub.invoke("Add", 1, 2)
        await watched.back()
        assert hub.connection_id != before
        assert await hub.invoke("Add", 1, 2) == 3
    assert len(watched.losses) == 1


async def test_a_web_socket_outlives_its_token(hub_server: HubServer) -> None:
    watched = Watched(HubConnection(hub_server.url("/app?seconds=2"), transports=Transport.WEBSOCKETS))
    async with watched.hub as hub:
        await past(2)
        assert await hub.invoke("Add", 1, 2) == 3
    assert watched.losses == []
