"""`signalr_sdk.testing.LedgerHub` answers as the ledger hub on ASP.NET Core does."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

import pytest

from signalr_sdk import ConnectionClosedError, HubConnection, HubError
from signalr_sdk.testing import HubServer as PythonHubServer
from signalr_sdk.testing import LedgerHub

from .hub_server import HubServer, ServerMissingError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = pytest.mark.timeout(60)
Protocol = Literal["json", "messagepack"]


@pytest.fixture(params=["aspnetcore", "python"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """The URL of a ledger hub of this test's own."""
    if request.param == "python":

        class Twin(LedgerHub, file=tmp_path / "ledger"):
            pass

        with PythonHubServer({"/ledger": Twin}, detailed_errors=True) as server:
            yield server.url("/ledger")
        return
    try:
        real = HubServer.start(ledger=tmp_path / "ledger")
    except ServerMissingError as error:
        pytest.skip(str(error))
    with real:
        yield real.url("/ledger")


async def failure(hub: HubConnection, *call: Any) -> str:
    with pytest.raises((HubError, ConnectionClosedError)) as caught:
        await hub.invoke(*call)
    return type(caught.value).__name__


@pytest.mark.parametrize("protocol", ["json", "messagepack"])
async def test_storing(url: str, protocol: Protocol) -> None:
    async with HubConnection(url, protocol=protocol) as hub:
        assert await hub.invoke("Store", "a", "k", 1) == 1
        assert await hub.invoke("Store", "a", None, 2) == 2
        assert await hub.invoke("StoreValue", "b", {"x": [1]}) == {"x": [1]}
        assert await hub.invoke("StoreAll", [{"id": "c", "key": "k", "n": 3}, {"id": "a", "key": None, "n": 4}]) == 3
        await hub.invoke("Rule", "k", "fail", 1)
        assert await failure(hub, "StoreAll", [{"id": "d", "key": None, "n": 5}, {"id": "e", "key": "k", "n": 6}]) == (
            "HubError"
        )
        await hub.invoke("Rule", "f", "fail-after", 1)
        assert await failure(hub, "Store", "f", None, 7) == "HubError"
        rows = await hub.invoke("Ledger", 1)
        assert await hub.invoke("LedgerLength") == 6
        connection = hub.connection_id
    assert rows == [
        {"id": "a", "key": None, "n": 2, "call": "Store", "connection": connection},
        {"id": "b", "key": None, "n": -1, "call": "StoreValue", "connection": connection},
        {"id": "c", "key": "k", "n": 3, "call": "StoreAll 2 c", "connection": connection},
        {"id": "a", "key": None, "n": 4, "call": "StoreAll 2 c", "connection": connection},
        {"id": "f", "key": None, "n": 7, "call": "Store", "connection": connection},
    ]


@pytest.mark.parametrize("action", ["abort", "abort-after"])
async def test_calls_that_end_the_connection(url: str, action: str) -> None:
    async with HubConnection(url) as hub:
        await hub.invoke("Rule", "*", action, 1)
        assert await failure(hub, "Store", "a", None, 1) == "ConnectionClosedError"
    async with HubConnection(url) as hub:
        assert await hub.invoke("LedgerLength") == (action == "abort-after")
        await hub.invoke("Rule", "*", "late:10", -1)
        assert await hub.invoke("Store", "b", None, 1) == 1
        await hub.invoke("ClearRules")


@pytest.mark.parametrize("protocol", ["json", "messagepack"])
async def test_numbered_events(url: str, protocol: Protocol) -> None:
    async with HubConnection(url, protocol=protocol) as hub, hub.messages("item") as items:
        assert await hub.invoke("Emit", 2, 0) == 2
        await hub.invoke("EmitBackwards", 2)
        await hub.invoke("EmitAgain", 1)
        got = [(await items.next(5))[0] for _ in range(5)]
        assert got[0] == {"epoch": "e1", "n": 1, "text": "e1-1"}
        assert [item["n"] for item in got] == [1, 2, 4, 3, 1]
        assert await hub.invoke("EmitSilently", 1) == 5
        assert [item["n"] async for item in hub.stream("Since", None, 3)] == [4, 5]
        await hub.invoke("Forget", 5)
        assert await hub.invoke("SinceList", "e0", 9) == [{"epoch": "e1", "n": 5, "text": "e1-5"}]
        await hub.invoke("NewEpoch", "e2")
        assert await hub.invoke("SinceList", "e1", 5) == []
        await hub.invoke("Rule", "since", "fail", 1)
        assert await failure(hub, "SinceList", None, 0) == "HubError"
        assert await hub.invoke("SinceCalls") == 3
        assert await failure(hub, "AbortMe") == "ConnectionClosedError"
