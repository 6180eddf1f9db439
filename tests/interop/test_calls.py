"""Invocations: results, errors, cancelling, and what the hub knows of its caller."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from signalr_sdk import ConnectionClosedError, ConnectionState, HubError, InvocationTimeoutError, NotConnectedError

from .hubs import hub_at

if TYPE_CHECKING:
    from tests.python_server import AnyServer

    from .conftest import Combination

UNEXPECTED = "An unexpected error occurred invoking '{0}' on the server. "
BINDING = (
    "Failed to invoke 'Add' due to an error on the server. InvalidDataException: Error binding arguments. Make sure "
    "that the types of the provided values match the types of the hub method being invoked."
)
TOO_FEW = (
    "Failed to invoke 'Add' due to an error on the server. InvalidDataException: Invocation provides 1 argument(s) but "
    "target expects 2."
)
ERRORS = {
    "hub exception": ("ThrowHubException", ["boom"], UNEXPECTED.format("ThrowHubException") + "HubException: boom"),
    "exception": ("ThrowException", ["boom"], UNEXPECTED.format("ThrowException") + "InvalidOperationException: boom"),
    "too few": (
        "Add",
        [1],
        TOO_FEW,
    ),
    "wrong type": ("Add", [1, "x"], BINDING),
    "missing": (
        "Missing",
        [],
        "Failed to invoke 'Missing' due to an error on the server. HubException: Method does not exist.",
    ),
    "streaming": (
        "Forever",
        [0],
        "The client attempted to invoke the streaming 'Forever' method with a non-streaming invocation.",
    ),
}


async def test_results(any_server: AnyServer, combination: Combination) -> None:
    async with hub_at(any_server, combination) as hub:
        assert await hub.invoke("Add", 1, 2) == 3
        assert await hub.invoke("add", 1, 2) == 3
        assert await hub.invoke("Echo", {"a": [1, None, "x"]}) == {"a": [1, None, "x"]}
        assert await hub.invoke("Nothing") is None
        assert await hub.invoke("ReturnNull") is None
        assert await hub.invoke("Delay", 1) == 1


async def test_large_messages_both_ways(any_server: AnyServer, combination: Combination) -> None:
    async with hub_at(any_server, combination) as hub:
        assert await hub.invoke("BigString", 1_000_000) == "x" * 1_000_000
        assert await hub.invoke("Length", "é" * 1_000_000) == 1_000_000


async def test_many_calls_at_once(any_server: AnyServer, combination: Combination) -> None:
    async with hub_at(any_server, combination) as hub:
        results = await asyncio.gather(*(hub.invoke("Add", i, i) for i in range(500)))
    assert results == [2 * i for i in range(500)]


@pytest.mark.parametrize(("method", "arguments", "text"), ERRORS.values(), ids=ERRORS)
async def test_errors_have_the_servers_text(
    method: str, arguments: list[object], text: str, any_server: AnyServer, combination: Combination
) -> None:
    async with hub_at(any_server, combination) as hub:
        with pytest.raises(HubError) as caught:
            await hub.invoke(method, *arguments)
        assert str(caught.value) == text
        assert caught.value.method == method
        assert await hub.invoke("Add", 1, 2) == 3


async def test_plain_errors_hide_what_is_no_hub_exception(any_server: AnyServer, combination: Combination) -> None:
    async with hub_at(any_server, combination, "/hub-plain-errors") as hub:
        with pytest.raises(HubError) as hidden:
            await hub.invoke("ThrowException", "secret")
        assert str(hidden.value) == "An unexpected error occurred invoking 'ThrowException' on the server."
        with pytest.raises(HubError) as shown:
            await hub.invoke("ThrowHubException", "shown")
        assert str(shown.value) == UNEXPECTED.format("ThrowHubException") + "HubException: shown"


async def test_send_asks_for_no_answer(any_server: AnyServer, combination: Combination) -> None:
    async with hub_at(any_server, combination) as hub:
        for number in range(100):
            await hub.send("Record", str(number))
        await hub.send("ThrowException", "nobody hears")
        await hub.invoke("Nothing")
        seen = await any_server.wait_event("recorded", connection_id=hub.connection_id, detail="99")
        assert seen.connection_id == hub.connection_id
        recorded = await any_server.events("recorded", connection_id=hub.connection_id)
    assert sorted(int(event.detail or "") for event in recorded) == list(range(100))


async def test_what_was_sent_leaves_before_stop(any_server: AnyServer, combination: Combination) -> None:
    async with hub_at(any_server, combination) as hub:
        connection_id = hub.connection_id
        await hub.send("Record", "last words")
    await any_server.wait_event("recorded", connection_id=connection_id, detail="last words")


async def test_a_timeout_ends_the_call_and_not_the_connection(any_server: AnyServer, combination: Combination) -> None:
    async with hub_at(any_server, combination) as hub:
        with pytest.raises(InvocationTimeoutError, match=r"'Delay' did not end within 0\.1 s"):
            await hub.invoke("Delay", 60_000, timeout=0.1)
        assert await hub.invoke("Add", 1, 2) == 3


async def test_cancelling_ends_the_call_and_not_the_connection(any_server: AnyServer, combination: Combination) -> None:
    async with hub_at(any_server, combination) as hub:
        call = asyncio.create_task(hub.invoke("Delay", 60_000))
        assert await hub.invoke("Add", 1, 2) == 3
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call
        assert await hub.invoke("Add", 1, 2) == 3


async def test_a_late_answer_to_a_cancelled_call_disturbs_nobody(
    any_server: AnyServer, combination: Combination
) -> None:
    async with hub_at(any_server, combination) as hub:
        with pytest.raises(InvocationTimeoutError):
            await hub.invoke("Delay", 300, timeout=0.01)
        assert await hub.invoke("Delay", 600) == 600
        assert hub.state is ConnectionState.CONNECTED


async def test_pending_calls_end_with_the_connection(any_server: AnyServer, combination: Combination) -> None:
    async with hub_at(any_server, combination) as hub:
        calls = [asyncio.create_task(hub.invoke("Delay", 60_000)) for _ in range(3)]
        await hub.invoke("Nothing")
        await hub.stop()
        errors = await asyncio.gather(*calls, return_exceptions=True)
        assert [type(error) for error in errors] == [ConnectionClosedError] * 3
        assert len({id(error) for error in errors}) == 3
        with pytest.raises(NotConnectedError):
            await hub.invoke("Nothing")


async def test_the_hub_knows_its_caller(any_server: AnyServer, combination: Combination) -> None:
    path = "/hub?tenant=a%20b&x=1"
    async with hub_at(any_server, combination, path, headers={"X-Kind": "robot"}, cookies={"flavour": "sweet"}) as hub:
        assert await hub.invoke("ConnectionId") == hub.connection_id
        assert await hub.invoke("Transport") == combination.transport == hub.transport
        assert await hub.invoke("User") is None
        assert await hub.invoke("Query", "tenant") == "a b"
        assert await hub.invoke("Query", "x") == "1"
        assert await hub.invoke("Header", "X-Kind") == "robot"
        assert await hub.invoke("Cookie", "flavour") == "sweet"
        assert "signalr" in (await hub.invoke("Header", "User-Agent")).lower()


async def test_a_token_makes_a_user(any_server: AnyServer, combination: Combination) -> None:
    token = await any_server.token("ada")
    async with hub_at(any_server, combination, access_token=token) as hub:
        assert await hub.invoke("User") == "ada"


async def test_the_hub_ends_the_connection(any_server: AnyServer, combination: Combination) -> None:
    async with hub_at(any_server, combination) as hub:
        with pytest.raises(ConnectionClosedError):
            await hub.invoke("AbortMe")
        await hub.wait_closed()
        assert hub.state is ConnectionState.DISCONNECTED
