"""Classic ASP.NET SignalR: raw connections, discovery, negotiation, tokens, cookies and redirects."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

import signalr_sdk
from signalr_sdk import (
    ClassicHubError,
    ClassicServerError,
    ConnectionClosedError,
    ConnectionFailedError,
    CoreServerError,
    NegotiationError,
    NotConnectedError,
    StateError,
    Transport,
    TransportError,
)
from signalr_sdk.classic import HubConnection, PersistentConnection, discover

if TYPE_CHECKING:
    from tests.interop.classic_server import ClassicServer
    from tests.interop.hub_server import HubServer

ALL = pytest.mark.parametrize("transport", list(Transport))


# Raw connections


@ALL
async def test_a_raw_connection(classic_server: ClassicServer, transport: Transport) -> None:
    async with PersistentConnection(classic_server.url("/raw"), transports=transport) as connection:
        assert await connection.receive(5) == {"hello": connection.connection_id}
        await connection.send("a\x1eb☃")
        assert await connection.receive(5) == {"echo": "a\x1eb☃"}
        await connection.send({"a": [1, None]})
        assert await connection.receive(5) == {"echo": '{"a":[1,null]}'}
        values: list[Any] = [{"I": "0", "R": 1}, {"P": {}}, [None], 1.5, "text", {"H": "a", "M": "b", "A": []}]
        for value in values:
            await classic_server.control("/raw", value)
            assert await connection.receive(5) == value


@ALL
async def test_a_raw_connection_is_taken_up_again(classic_server: ClassicServer, transport: Transport) -> None:
    connection = PersistentConnection(classic_server.url("/raw"), transports=transport)
    got: asyncio.Queue[Any] = asyncio.Queue()
    connection.on_received(got.put_nowait)
    async with connection:
        assert await got.get() == {"hello": connection.connection_id}
        identity = connection.connection_id
        await connection.send("all:one")
        assert await asyncio.wait_for(got.get(), 5) == "one"
        back = asyncio.get_running_loop().create_future()
        connection.on_reconnected(back.set_result)
        while not await classic_server.control("/drop", how="reset"):
            pass
        await classic_server.control("/raw", "two")
        assert await asyncio.wait_for(back, 10) == identity
        assert {str(await asyncio.wait_for(got.get(), 5)) for _ in range(2)} == {"two", "again"}
    with pytest.raises(NotConnectedError):
        await connection.receive()


async def test_the_end_of_a_raw_connection(classic_server: ClassicServer) -> None:
    async with PersistentConnection(classic_server.url("/raw")) as connection:
        assert await connection.receive(5) == {"hello": connection.connection_id}
        ending = asyncio.ensure_future(connection.receive())
        await asyncio.sleep(0)
    with pytest.raises(ConnectionClosedError):
        await ending


async def test_iterators_of_a_raw_connection(classic_server: ClassicServer) -> None:
    connection = PersistentConnection(classic_server.url("/raw"))
    async with connection.messages() as messages, connection:
        assert await messages.next(5) == {"hello": connection.connection_id}


# Hubs


async def test_discovery(classic_server: ClassicServer) -> None:
    hubs = await discover(classic_server.url())
    assert hubs["quiet"] == {"One": (), "Notify": ("text",)}
    assert hubs["testHub"]["Add"] == ("a", "b")
    assert hubs["testHub"]["re-named"] == ()
    with pytest.raises(TransportError, match="does not give out its hubs"):
        await discover(classic_server.url("/nothing"))


async def test_a_hub_must_be_named_before_the_start(classic_server: ClassicServer) -> None:
    connection = HubConnection(classic_server.url())
    quiet = connection.hub("quiet")
    async with connection:
        assert connection.hub("QUIET") is quiet
        with pytest.raises(StateError, match="'other' was not named before start"):
            connection.hub("other")
    other = connection.hub("other")
    async with connection:
        assert await other.invoke("Echo", "x") == "other:x"


async def test_an_unknown_hub(classic_server: ClassicServer) -> None:
    connection = HubConnection(classic_server.url())
    connection.hub("nohub")
    with pytest.raises(NegotiationError, match=r"does not know one of the hubs \(nohub\)"):
        await connection.start()


# Tokens, cookies, redirects


@ALL
async def test_a_token_makes_a_user(classic_server: ClassicServer, transport: Transport) -> None:
    connection = HubConnection(classic_server.url(), transports=transport, access_token="ann")
    hub, secret = connection.hub("testHub"), connection.hub("secret")
    async with connection:
        assert await hub.invoke("User") == await secret.invoke("Who") == "ann"


async def test_a_hub_that_wants_a_user(classic_server: ClassicServer) -> None:
    connection = HubConnection(classic_server.url())
    connection.hub("secret")
    with pytest.raises(NegotiationError, match=r"wants authentication \(secret\)") as raised:
        await connection.start()
    assert raised.value.status == 401


@ALL
async def test_a_hub_that_wants_a_user_is_left_out_beside_others(
    classic_server: ClassicServer, transport: Transport
) -> None:
    connection = HubConnection(classic_server.url(), transports=transport)
    hub, secret = connection.hub("testHub"), connection.hub("secret")
    async with connection:
        with pytest.raises(ClassicHubError, match=r"There was an error invoking Hub method 'secret\.Who'"):
            await secret.invoke("Who")
        assert await hub.invoke("Add", 1, 2) == 3
        assert connection.connection_id is not None
        assert await classic_server.events(connection.connection_id) == ["connected"]
        assert await classic_server.events(connection.connection_id, "SecretHub") == []


async def test_another_user_gets_a_new_connection(classic_server: ClassicServer) -> None:
    users = iter(["ann", "bob", "bob", "bob"])
    connection = HubConnection(classic_server.url(), transports="WebSockets", access_token=lambda: next(users))
    hub = connection.hub("testHub")
    back = asyncio.get_running_loop().create_future()
    connection.on_reconnected(back.set_result)
    async with connection:
        first = connection.connection_id
        await classic_server.control("/drop", how="reset")
        assert await asyncio.wait_for(back, 10) != first
        assert await hub.invoke("User") == "bob"


@ALL
async def test_query_headers_and_cookies(classic_server: ClassicServer, transport: Transport) -> None:
    connection = HubConnection(
        classic_server.url("/signalr?room=a%2fb"), transports=transport, headers={"X-Test": "x"}, cookies={"c": "1"}
    )
    hub = connection.hub("testHub")
    async with connection:
        assert await hub.invoke("Query", "room") == "a/b"
        assert await hub.invoke("Header", "X-Test") == "x"
        assert await hub.invoke("Cookie", "c") == "1"
    requests = await classic_server.log("request")
    assert requests
    assert {each["query"].split("&")[0].lstrip("?") for each in requests} == {"room=a%2fb"}


@ALL
async def test_sticky_cookies(classic_server: ClassicServer, transport: Transport) -> None:
    connection = HubConnection(classic_server.url("/sticky/signalr"), transports=transport)
    hub = connection.hub("testHub")
    async with connection:
        assert await hub.invoke("Add", 1, 2) == 3


@ALL
@pytest.mark.parametrize("path", ["/redirect", "/twice"])
async def test_redirects(classic_server: ClassicServer, transport: Transport, path: str) -> None:
    url = classic_server.url(f"{path}?room=1")
    connection = HubConnection(url, transports=transport, access_token="mine")
    hub = connection.hub("testHub")
    async with connection:
        assert await hub.invoke("User") == "azure-user"
        assert await hub.invoke("Query", "room") is None
        assert connection.url == url
        back = asyncio.get_running_loop().create_future()
        connection.on_reconnected(back.set_result)
        while not await classic_server.control("/drop", how="reset"):
            pass
        if transport is not Transport.LONG_POLLING:
            await asyncio.wait_for(back, 10)
        assert await hub.invoke("Add", 1, 2) == 3


@pytest.mark.parametrize(
    ("path", "kind", "text"),
    [
        ("/loop", NegotiationError, "redirected more than 100 times"),
        ("/error", NegotiationError, "the server refused: "),
        ("/core", CoreServerError, "use signalr_sdk.HubConnection"),
        ("/ancient", NegotiationError, "1.3"),
        ("/moved", NegotiationError, "/signalr/negotiate, which is not followed"),
        ("/", NegotiationError, "usually answer at /signalr"),
        ("/nothing", NegotiationError, "check the path"),
    ],
)
async def test_starts_that_fail(
    classic_server: ClassicServer, path: str, kind: type[ConnectionFailedError], text: str
) -> None:
    connection = HubConnection(classic_server.url(path))
    with pytest.raises(kind) as raised:
        await connection.start()
    assert text in str(raised.value)


async def test_a_core_client_names_the_classic_one(classic_server: ClassicServer) -> None:
    with pytest.raises(ClassicServerError, match=r"use signalr_sdk\.classic\.HubConnection"):
        await signalr_sdk.HubConnection(classic_server.url()).start()


async def test_a_classic_client_names_the_core_one(hub_server: HubServer) -> None:
    with pytest.raises(NegotiationError, match=r"signalr_sdk\.HubConnection"):
        await HubConnection(hub_server.url()).start()


async def test_pings(classic_server: ClassicServer) -> None:
    """A refused ping ends the connection; the next one is new."""
    connection = HubConnection(classic_server.url("/signalr?room=1"), ping=0.05)
    back = asyncio.get_running_loop().create_future()
    connection.on_reconnected(back.set_result)
    async with connection:
        first = connection.connection_id
        await classic_server.control("/rule", {"suffix": "/ping", "times": 1, "status": 401})
        assert await asyncio.wait_for(back, 10) != first
    pings = [each for each in await classic_server.log("request") if each["path"].endswith("/ping")]
    assert pings[0]["query"].lstrip("?") == "room=1"
