"""Which transport is chosen, what happens when it is blocked, and what each does from start to stop."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from tests.servers import assert_hides

from signalr_sdk import ConnectionFailedError, ConnectionState, HubConnection, Transport, TransportError

if TYPE_CHECKING:
    from .conftest import Combination
    from .hub_server import HubServer

WEBSOCKETS, SSE, POLLING = Transport


@pytest.mark.parametrize(
    ("path", "protocol", "expected"),
    [
        ("/hub", "json", WEBSOCKETS),
        ("/hub", "messagepack", WEBSOCKETS),
        ("/hub-ws", "json", WEBSOCKETS),
        ("/hub-sse", "json", SSE),
        ("/hub-lp", "json", POLLING),
        ("/hub-lp", "messagepack", POLLING),
        ("/hub-no-ws", "json", SSE),
        ("/hub-no-ws", "messagepack", POLLING),
        ("/hub-ws-blocked", "json", SSE),
        ("/hub-ws-blocked", "messagepack", POLLING),
        ("/hub-ws-sse-blocked", "json", POLLING),
        ("/hub-ws-sse-blocked", "messagepack", POLLING),
    ],
)
async def test_the_best_transport_that_works_is_chosen(
    hub_server: HubServer, path: str, protocol: str, expected: Transport
) -> None:
    async with HubConnection(hub_server.url(path), protocol=protocol) as hub:  # type: ignore[arg-type]
        assert hub.transport is expected
        assert await hub.invoke("Transport") == expected
    assert hub.transport is None


@pytest.mark.parametrize(
    ("transports", "expected"),
    [
        ("LongPolling", POLLING),
        (["LongPolling", "ServerSentEvents"], SSE),
        ({Transport.LONG_POLLING, Transport.WEBSOCKETS}, WEBSOCKETS),
    ],
)
async def test_only_transports_that_the_user_allows_are_tried(
    hub_server: HubServer, transports: object, expected: Transport
) -> None:
    async with HubConnection(hub_server.url(), transports=transports) as hub:  # type: ignore[arg-type]
        assert hub.transport is expected


async def test_when_all_are_blocked_one_error_has_every_reason(hub_server: HubServer) -> None:
    hub = HubConnection(
        hub_server.url("/hub-all-blocked?secret=query-secret"), access_token="token-secret", reconnect=False
    )
    with pytest.raises(ConnectionFailedError) as caught:
        await hub.start()
    error = caught.value
    assert type(error) is ConnectionFailedError
    assert [getattr(attempt, "transport", None) for attempt in error.attempts] == list(Transport)
    for attempt in error.attempts:
        assert isinstance(attempt, TransportError)
        assert attempt.status == 403
        assert attempt.url == hub_server.url("/hub-all-blocked")
        assert str(attempt) in str(error)
    assert hub_server.url("/hub-all-blocked") in str(error)
    assert_hides(error, "query-secret", "token-secret")
    assert hub.state is ConnectionState.DISCONNECTED


async def test_blocked_and_not_allowed_are_different_reasons(hub_server: HubServer) -> None:
    hub = HubConnection(hub_server.url("/hub-ws-blocked"), transports="WebSockets")
    with pytest.raises(ConnectionFailedError) as caught:
        await hub.start()
    first, *others = caught.value.attempts
    assert isinstance(first, TransportError)
    assert (first.transport, first.status) == (WEBSOCKETS, 403)
    assert {(getattr(each, "transport", None), getattr(each, "status", None)) for each in others} >= {
        (SSE, None),
        (POLLING, None),
    }


@pytest.mark.parametrize(("path", "transports"), [("/hub-sse", "WebSockets"), ("/hub-lp", "ServerSentEvents")])
async def test_a_transport_that_is_not_offered(hub_server: HubServer, path: str, transports: str) -> None:
    hub = HubConnection(hub_server.url(path), transports=transports)
    with pytest.raises(ConnectionFailedError, match="not among transports="):
        await hub.start()


async def test_message_pack_needs_a_binary_transport(hub_server: HubServer) -> None:
    hub = HubConnection(hub_server.url("/hub-sse"), protocol="messagepack")
    with pytest.raises(ConnectionFailedError) as caught:
        await hub.start()
    (reason,) = caught.value.attempts
    assert isinstance(reason, TransportError)
    assert reason.transport is SSE
    assert "without the transfer format Binary" in str(caught.value)


async def test_the_id_is_the_one_that_the_server_knows(hub_server: HubServer, combination: Combination) -> None:
    hub = HubConnection(hub_server.url(), **combination.options)
    assert hub.connection_id is None
    async with hub:
        assert hub.connection_id == await hub.invoke("ConnectionId")
        assert hub.connection_id in await hub_server.connections()
    assert hub.connection_id is None


async def test_after_stop_the_server_knows_it_no_more(hub_server: HubServer, combination: Combination) -> None:
    async with HubConnection(hub_server.url(), **combination.options) as hub:
        connection_id = hub.connection_id
        await hub.send("Record", f"last words of {connection_id}")
    await hub_server.wait_event("recorded", connection_id=connection_id, detail=f"last words of {connection_id}")
    gone = await hub_server.wait_event("disconnected", connection_id=connection_id)
    assert gone.detail is None


async def test_it_can_be_started_again(hub_server: HubServer, combination: Combination) -> None:
    hub = HubConnection(hub_server.url(), **combination.options)
    ids = set()
    for _ in range(3):
        async with hub:
            ids.add(await hub.invoke("ConnectionId"))
    assert len(ids) == 3


async def test_query_headers_and_cookies_go_along(hub_server: HubServer, combination: Combination) -> None:
    url = hub_server.url("/hub?room=a%2Fb&x=%C3%A9")
    async with HubConnection(url, headers={"X-One": "1"}, cookies={"c": "2"}, **combination.options) as hub:
        assert await hub.invoke("Query", "room") == "a/b"
        assert await hub.invoke("Query", "x") == "é"
        assert await hub.invoke("Header", "X-One") == "1"
        assert await hub.invoke("Cookie", "c") == "2"


async def test_the_scheme_of_a_web_socket_means_the_same(hub_server: HubServer, combination: Combination) -> None:
    url = hub_server.url().replace("http://", "ws://")
    async with HubConnection(url, **combination.options) as hub:
        assert hub.transport is combination.transport
        assert hub.url == hub_server.url()


@pytest.mark.parametrize("protocol", ["json", "messagepack"])
async def test_a_connection_outlives_its_polls(hub_server: HubServer, protocol: str) -> None:
    async with HubConnection(hub_server.url("/hub-lp-short"), protocol=protocol) as hub:  # type: ignore[arg-type]
        connection_id = hub.connection_id
        assert await hub.invoke("Delay", 1000) == 1000  # a poll ends after 300 ms
        assert [item async for item in hub.stream("Counter", 4, 150)] == [0, 1, 2, 3]
        assert hub.connection_id == connection_id


async def test_a_server_that_ends_the_connection(hub_server: HubServer, combination: Combination) -> None:
    async with HubConnection(hub_server.url(), **combination.options) as hub:
        assert hub.connection_id is not None
        assert await hub_server.abort(hub.connection_id)
        await hub.wait_closed()
        assert hub.state is ConnectionState.DISCONNECTED
