"""Starting and ending: the hubs with a will of their own, tokens, cookies, and servers that go away."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, Any

import pytest

from signalr_sdk import (
    ConnectionClosedError,
    ConnectionFailedError,
    ConnectionState,
    HandshakeError,
    HubError,
    NegotiationError,
    ServerTimeoutError,
    Timeouts,
    Transport,
)

from .conftest import COMBINATIONS, Combination
from .hubs import hub_at

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.python_server import AnyServer

    from .conftest import StartServer
    from .hub_server import HubServer

TOO_LARGE = (
    "Connection closed with an error. InvalidDataException: The maximum message size of 1024B was exceeded. The "
    "message size can be configured in AddHubOptions."
)


async def test_stop_is_seen_at_once(any_server: AnyServer, combination: Combination) -> None:
    hub = hub_at(any_server, combination)
    await hub.start()
    connection_id = hub.connection_id
    assert connection_id in await any_server.connections()
    await hub.stop()
    gone = await any_server.wait_event("disconnected", connection_id=connection_id)
    assert gone.detail is None
    assert hub.state is ConnectionState.DISCONNECTED
    assert (hub.connection_id, hub.transport) == (None, None)
    await hub.wait_closed()


async def test_stop_and_start_again(any_server: AnyServer, combination: Combination) -> None:
    hub = hub_at(any_server, combination)
    ids = set()
    for _ in range(3):
        async with hub:
            ids.add(hub.connection_id)
            assert await hub.invoke("Add", 1, 2) == 3
    assert len(ids) == 3


async def test_the_server_ends_a_connection(any_server: AnyServer, combination: Combination) -> None:
    async with hub_at(any_server, combination) as hub:
        ended: list[Exception | None] = []
        closed = asyncio.Event()

        @hub.on_closed
        def note(error: Exception | None) -> None:
            ended.append(error)
            closed.set()

        assert hub.connection_id is not None
        assert await any_server.abort(hub.connection_id)
        await hub.wait_closed()
        await closed.wait()
    assert ended == [None]


@pytest.mark.timeout(100)  # a server's start alone takes several seconds on a busy machine
async def test_the_server_shuts_down(start_server: StartServer) -> None:
    server = start_server()
    async with AsyncExitStack() as stack:
        hubs = [await stack.enter_async_context(hub_at(server, combination)) for combination in COMBINATIONS]
        calls = [asyncio.create_task(hub.invoke("Delay", 60_000)) for hub in hubs]
        await asyncio.gather(*(hub.invoke("Nothing") for hub in hubs))
        await server.shutdown()
        for hub, call in zip(hubs, calls, strict=True):
            with pytest.raises(ConnectionClosedError):
                await call
            with pytest.raises(ConnectionClosedError) as caught:
                await hub.wait_closed()
            assert caught.value.allow_reconnect


async def test_the_wire_is_cut(hub_server: HubServer, combination: Combination) -> None:
    async with hub_at(hub_server, combination, "/hub-not-stateful") as hub:
        await hub.invoke("Nothing")
        while not await hub_server.drop_transports("/hub-not-stateful"):
            await hub.invoke("Nothing")  # between two polls there is nothing to cut
        with pytest.raises(ConnectionClosedError) as caught:
            await hub.wait_closed()
        assert caught.value.allow_reconnect


# Handshakes


@pytest.mark.parametrize("transport", [Transport.WEBSOCKETS, Transport.LONG_POLLING])
async def test_protocols_that_the_hub_does_not_speak(transport: Transport, any_server: AnyServer) -> None:
    json, messagepack = Combination(transport, "json"), Combination(transport, "messagepack")
    async with hub_at(any_server, json, "/hub-json-only") as hub:
        assert await hub.invoke("Add", 1, 2) == 3
    async with hub_at(any_server, messagepack, "/hub-messagepack-only") as hub:
        assert await hub.invoke("Add", 1, 2) == 3
    with pytest.raises(HandshakeError, match="The protocol 'messagepack' is not supported"):
        await hub_at(any_server, messagepack, "/hub-json-only").start()
    with pytest.raises(HandshakeError, match="The protocol 'json' is not supported"):
        await hub_at(any_server, json, "/hub-messagepack-only").start()


async def test_a_hub_that_refuses(any_server: AnyServer, combination: Combination) -> None:
    hub = hub_at(any_server, combination, "/hub-refusing")
    with pytest.raises((ConnectionFailedError, ConnectionClosedError), match="HubException: no entry"):
        # The refusal may stand in the frame after the handshake: then the connection ends with it.
        await hub.run()
    assert hub.state is ConnectionState.DISCONNECTED


# Silence


@pytest.mark.parametrize("transport", [Transport.WEBSOCKETS, Transport.SERVER_SENT_EVENTS])
async def test_a_silent_server_is_a_lost_one(transport: Transport, any_server: AnyServer) -> None:
    combination = Combination(transport, "json")
    async with hub_at(any_server, combination, "/hub-quiet", timeouts=Timeouts(server=0.3)) as hub:
        with pytest.raises(ConnectionClosedError) as pending:
            await hub.invoke("Delay", 60_000)
        assert isinstance(pending.value.__cause__, ServerTimeoutError)
        with pytest.raises(ServerTimeoutError):
            await hub.wait_closed()


@pytest.mark.slow
@pytest.mark.timeout(60)
async def test_pings_keep_an_impatient_server(any_server: AnyServer, combination: Combination) -> None:
    timeouts = Timeouts(keep_alive=0.3, server=3)
    async with hub_at(any_server, combination, "/hub-impatient", timeouts=timeouts) as hub:
        assert await hub.invoke("Delay", 3500) == 3500


async def test_short_polls(any_server: AnyServer) -> None:
    async with hub_at(any_server, None, "/hub-lp-short") as hub:
        assert hub.transport is Transport.LONG_POLLING
        assert await hub.invoke("Delay", 1000) == 1000
        event = hub.messages("Event")
        await hub.invoke("CallMe", "Event", [1])
        assert await event.next(timeout=5) == (1,)


# Limits of the server


async def test_small_messages_may_travel_together(any_server: AnyServer, combination: Combination) -> None:
    async with hub_at(any_server, combination, "/hub-small-messages") as hub:
        results = await asyncio.gather(*(hub.invoke("Add", i, 1) for i in range(200)))
        assert results == list(range(1, 201))


async def test_a_message_that_is_too_large_for_the_server(any_server: AnyServer, combination: Combination) -> None:
    async with hub_at(any_server, combination, "/hub-small-messages") as hub:
        with pytest.raises(ConnectionClosedError) as pending:
            await hub.invoke("Length", "x" * 5000)
        with pytest.raises(ConnectionClosedError) as closed:
            await hub.wait_closed()
    assert closed.value.reason == TOO_LARGE
    assert TOO_LARGE in str(closed.value)
    assert pending.value.reason in (TOO_LARGE, None)


async def test_one_invocation_at_a_time(any_server: AnyServer, combination: Combination) -> None:
    async with hub_at(any_server, combination, "/hub-one-at-a-time") as hub:
        order: list[str] = []

        async def call(method: str, *arguments: int) -> None:
            await hub.invoke(method, *arguments)
            order.append(method)

        await asyncio.gather(call("Delay", 200), call("Add", 1, 2), call("Nothing"))
        assert order == ["Delay", "Add", "Nothing"]
        hub.on("Ask", lambda question: question)
        assert await hub.invoke("AskCaller", "Ask", "hi") == "hi"


# Tokens and cookies


def as_string(token: str) -> Any:
    return token


def as_function(token: str) -> Any:
    return lambda: token


def as_coroutine_function(token: str) -> Any:
    async def provide() -> str:
        await asyncio.sleep(0)
        return token

    return provide


@pytest.mark.parametrize("give", [as_string, as_function, as_coroutine_function])
async def test_tokens(give: Callable[[str], Any], hub_server: HubServer, combination: Combination) -> None:
    ada = give(await hub_server.token("ada"))
    async with hub_at(hub_server, combination, "/hub-auth", access_token=ada) as hub:
        assert await hub.invoke("User") == "ada"
        with pytest.raises(HubError) as caught:
            await hub.invoke("AdminsOnly")
        assert str(caught.value) == "Failed to invoke 'AdminsOnly' because user is unauthorized"
    admin = give(await hub_server.token("admin"))
    async with hub_at(hub_server, combination, "/hub-auth", access_token=admin) as hub:
        assert await hub.invoke("AdminsOnly") == "secret"


async def test_tokens_in_the_query(any_server: AnyServer, combination: Combination) -> None:
    token = await any_server.token("ada")
    async with hub_at(any_server, combination, "/hub-auth", access_token=token, access_token_in="query") as hub:
        assert await hub.invoke("User") == "ada"


async def test_no_token_and_an_expired_one(any_server: AnyServer, combination: Combination) -> None:
    for token in (None, await any_server.token("ada", seconds=-10)):
        with pytest.raises(NegotiationError) as caught:
            await hub_at(any_server, combination, "/hub-auth", access_token=token).start()
        assert caught.value.status == 401
        assert token is None or token not in str(caught.value)


async def test_a_token_that_runs_out_ends_the_connection(hub_server: HubServer, combination: Combination) -> None:
    token = await hub_server.token("ada", seconds=1.5)
    async with hub_at(hub_server, combination, "/hub-auth-expiring", access_token=token) as hub:
        with pytest.raises(ConnectionClosedError) as caught:
            await hub.wait_closed()
        assert caught.value.allow_reconnect


async def test_cookies(hub_server: HubServer, combination: Combination) -> None:
    with pytest.raises(NegotiationError) as caught:
        await hub_at(hub_server, combination, "/hub-cookie").start()
    assert caught.value.status == 401
    async with hub_at(hub_server, combination, "/hub-cookie", cookies=await hub_server.login("ada")) as hub:
        assert await hub.invoke("User") == "ada"
