"""Each answer that a server, a proxy or an app server before Azure gives to negotiate."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest
from tests.servers import assert_hides

from signalr_sdk import (
    ClassicServerError,
    ConnectionClosedError,
    ConnectionFailedError,
    ConnectionState,
    HubConnection,
    Limits,
    NegotiationError,
    Retry,
    Timeouts,
    Transport,
)

if TYPE_CHECKING:
    from .conftest import Combination
    from .hub_server import HubServer

QUERY_SECRET = "query-secret"
TOKEN_SECRET = "token-secret"


async def refused(server: HubServer, path: str, **options: Any) -> NegotiationError:
    """Return the error of a start; it names the URL, holds no secret and leaves the connection as it was."""
    joint = "&" if "?" in path else "?"
    hub = HubConnection(
        server.url(f"{path}{joint}secret={QUERY_SECRET}"),
        **{"access_token": TOKEN_SECRET, "reconnect": False, **options},
    )
    with pytest.raises(NegotiationError) as caught:
        await hub.start()
    error = caught.value
    assert error.url == server.url(path.partition("?")[0]) + "/negotiate"
    assert error.url in str(error)
    assert_hides(error, QUERY_SECRET, TOKEN_SECRET)
    assert hub.state is ConnectionState.DISCONNECTED
    return error


# Redirects


async def test_the_token_of_a_redirect_replaces_the_users(hub_server: HubServer, combination: Combination) -> None:
    url = hub_server.url("/redirect")
    async with HubConnection(url, access_token=TOKEN_SECRET, **combination.options) as hub:
        assert await hub.invoke("User") == "redirected-user"
        assert await hub.invoke("Query", "redirected") == "yes"
        assert hub.url == url


async def test_a_redirect_without_a_token_keeps_the_users(hub_server: HubServer, combination: Combination) -> None:
    url = hub_server.url("/redirect-without-token")
    async with HubConnection(url, access_token=TOKEN_SECRET, **combination.options) as hub:
        assert await hub.invoke("Header", "Authorization") == f"Bearer {TOKEN_SECRET}"
        assert await hub.invoke("Add", 1, 2) == 3


async def test_a_redirect_begins_anew_with_each_start(hub_server: HubServer) -> None:
    hub = HubConnection(hub_server.url("/redirect"))
    for _ in range(2):
        async with hub:
            assert await hub.invoke("User") == "redirected-user"


@pytest.mark.parametrize("limit", [1, 5, None])
async def test_a_loop_of_redirects_ends_at_the_limit(hub_server: HubServer, limit: int | None) -> None:
    limits = Limits() if limit is None else Limits(redirects=limit)
    error = await refused(hub_server, "/redirect-loop", limits=limits)
    assert f"redirected more than {limit or 100} times" in str(error)


@pytest.mark.parametrize("path", ["/app", "/app-text", "/app-two-hops"])
async def test_an_app_server_before_azure(hub_server: HubServer, combination: Combination, path: str) -> None:
    async with HubConnection(hub_server.url(path), **combination.options) as hub:
        expected = "Bearer hop-token" if path == "/app-two-hops" else "anonymous"
        assert await hub.invoke("User") == expected


async def test_the_app_server_sees_the_users_token(hub_server: HubServer) -> None:
    async with HubConnection(hub_server.url("/app"), access_token="mine") as hub:
        assert await hub.invoke("User") == "Bearer mine"


# Refusals


async def test_a_server_that_says_no(hub_server: HubServer) -> None:
    error = await refused(hub_server, "/negotiate-error")
    assert "the server refused: This connection is not allowed." in str(error)
    assert error.status == 200


async def test_a_page_of_a_proxy(hub_server: HubServer) -> None:
    error = await refused(hub_server, "/negotiate-html")
    assert "the answer is HTML, not JSON: does a proxy or login page stand before the hub?" in str(error)
    assert error.status == 200


async def test_an_answer_with_nothing_in_it(hub_server: HubServer) -> None:
    assert "the answer has no connectionId" in str(await refused(hub_server, "/negotiate-empty"))


async def test_a_classic_server(hub_server: HubServer) -> None:
    error = await refused(hub_server, "/negotiate-classic")
    assert isinstance(error, ClassicServerError)
    assert "classic ASP.NET SignalR" in str(error)


@pytest.mark.parametrize(
    ("path", "status", "text"),
    [
        ("/negotiate-500", 500, "the server failed"),
        ("/negotiate-503", 503, "not available at the moment"),
        ("/nothing-here", 404, "not a SignalR endpoint"),
        ("/hub-auth", 401, "the server wants authentication: pass access_token="),
        ("/token", 404, "check the path of the URL"),
        ("/app-not-connected", 500, "Azure SignalR Service is not connected yet, please try again later."),
        ("/client?hub=chat", 401, "not valid for this hub"),
    ],
)
async def test_a_refusal_has_its_status_and_what_to_do(
    hub_server: HubServer, path: str, status: int, text: str
) -> None:
    error = await refused(hub_server, path)
    assert error.status == status
    assert f"status {status}" in str(error)
    assert text in str(error)
    assert error.retry_after is None


async def test_a_url_that_has_negotiate_already_is_explained(hub_server: HubServer) -> None:
    assert "give the hub's URL without that" in str(await refused(hub_server, "/hub/negotiate"))


async def throttled(server: HubServer) -> list[NegotiationError]:
    """Start until the server lets us in, which it does every third time; return its refusals."""
    errors: list[NegotiationError] = []
    while True:
        hub = HubConnection(server.url("/app-throttled"), reconnect=False)
        try:
            async with hub:
                assert await hub.invoke("User") == "anonymous"
                return errors
        except NegotiationError as error:
            errors.append(error)


async def test_a_server_that_asks_to_wait(hub_server: HubServer) -> None:
    await throttled(hub_server)
    errors = await throttled(hub_server)
    assert [(error.status, error.retry_after) for error in errors] == [(429, 1.0), (429, 1.0)]
    assert "asks to wait 1 s" in str(errors[0])


async def test_what_it_asks_to_wait_is_waited(hub_server: HubServer) -> None:
    await throttled(hub_server)
    url = hub_server.url("/app-throttled")
    loop = asyncio.get_running_loop()
    before = loop.time()
    async with HubConnection(url, reconnect=Retry.delays(0, 0), retry_start=True) as hub:
        assert await hub.invoke("User") == "anonymous"
    assert loop.time() - before >= 2  # twice one second, though the policy says none


async def test_transports_that_nobody_knows(hub_server: HubServer) -> None:
    hub = HubConnection(hub_server.url("/negotiate-unknown-transports"))
    with pytest.raises(ConnectionFailedError) as caught:
        await hub.start()
    assert "CarrierPigeon" in str(caught.value)
    assert len(caught.value.attempts) == 1


# Trying again


async def test_a_start_may_be_tried_again(hub_server: HubServer) -> None:
    url = hub_server.url("/negotiate-flaky?key=again&failures=2")
    async with HubConnection(url, reconnect=Retry.delays(0, 0), retry_start=True) as hub:
        assert await hub.invoke("Add", 1, 2) == 3


async def test_a_policy_that_gives_up_raises_the_last_error(hub_server: HubServer) -> None:
    error = await refused(
        hub_server, "/negotiate-flaky?key=gives-up&failures=9", reconnect=Retry.delays(0, 0), retry_start=True
    )
    assert error.status == 503


async def test_a_start_is_not_retried_unless_asked_for(hub_server: HubServer) -> None:
    assert (await refused(hub_server, "/negotiate-flaky?key=once&failures=1")).status == 503


# Slowness


class Asked:
    """A token provider that says when negotiate is about to be sent."""

    def __init__(self) -> None:
        self.happened = asyncio.Event()

    def __call__(self) -> str:
        self.happened.set()
        return TOKEN_SECRET


async def test_a_slow_answer_is_waited_for(hub_server: HubServer) -> None:
    async with HubConnection(hub_server.url("/negotiate-slow?milliseconds=200")) as hub:
        assert await hub.invoke("Add", 1, 2) == 3


async def test_an_answer_that_is_too_slow(hub_server: HubServer) -> None:
    error = await refused(hub_server, "/negotiate-slow?milliseconds=60000", timeouts=Timeouts(request=0.1))
    assert "0.1 s" in str(error)
    assert isinstance(error.__cause__, TimeoutError)


async def test_stop_while_the_server_thinks(hub_server: HubServer) -> None:
    asked = Asked()
    hub = HubConnection(hub_server.url("/negotiate-slow?milliseconds=60000"), access_token=asked)
    start = asyncio.create_task(hub.start())
    await asked.happened.wait()
    await hub.stop()
    with pytest.raises(ConnectionClosedError, match=r"stop\(\) was called"):
        await start
    assert hub.state is ConnectionState.DISCONNECTED


async def test_cancelling_start_while_the_server_thinks(hub_server: HubServer) -> None:
    asked = Asked()
    hub = HubConnection(hub_server.url("/negotiate-slow?milliseconds=60000"), access_token=asked)
    start = asyncio.create_task(hub.start())
    await asked.happened.wait()
    start.cancel()
    with pytest.raises(asyncio.CancelledError):
        await start
    assert hub.state is ConnectionState.DISCONNECTED
    assert hub.transport is None


async def test_a_timeout_around_start(hub_server: HubServer) -> None:
    hub = HubConnection(hub_server.url("/negotiate-slow?milliseconds=60000"))
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.1):
            await hub.start()
    assert hub.state is ConnectionState.DISCONNECTED


# Skipping it


async def test_without_negotiation(hub_server: HubServer) -> None:
    async with HubConnection(hub_server.url("/hub?room=7"), skip_negotiation=True) as hub:
        assert hub.transport is Transport.WEBSOCKETS
        assert hub.connection_id is None
        assert await hub.invoke("ConnectionId")
        assert await hub.invoke("Query", "room") == "7"


async def test_without_negotiation_and_without_a_web_socket(hub_server: HubServer) -> None:
    hub = HubConnection(hub_server.url(f"/nothing-here?secret={QUERY_SECRET}"), skip_negotiation=True)
    with pytest.raises(ConnectionFailedError) as caught:
        await hub.start()
    assert [getattr(attempt, "status", None) for attempt in caught.value.attempts] == [404]
    assert hub_server.url("/nothing-here") in str(caught.value)
    assert_hides(caught.value, QUERY_SECRET)
