"""`LedgerHub`: what it records, and the faults that it makes. `tests/interop/test_ledger.py` has its twin too."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from signalr_sdk import ConnectionClosedError, HubConnection, HubError, Retry
from signalr_sdk.delivery import ID, Outbox
from signalr_sdk.testing import HubServer, LedgerHub

if TYPE_CHECKING:
    from pathlib import Path

# Syncing a file can take seconds on a busy machine.
pytestmark = pytest.mark.timeout(60)


class Meters(LedgerHub):
    """A hub of its own."""


@pytest.fixture(autouse=True)
def new_ledger(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Meters, "state", type(Meters.state)())


async def test_the_example_of_its_page(tmp_path: Path) -> None:
    async with HubServer({"/meters": Meters}) as server:
        hub = HubConnection(server.url("/meters"), reconnect=Retry.forever(wait=lambda _state: 0.01))
        async with hub, Outbox(tmp_path / "meter.db", hub) as outbox:
            Meters.state.rule("*", "abort-after", times=2)
            await outbox.put("Store", ID, "kitchen", 1)
            await outbox.drain(timeout=50)
    assert max(Meters.state.seen().values()) == 3


def test_each_hub_has_a_ledger_of_its_own() -> None:
    class Other(LedgerHub):
        pass

    assert Other.state is not Meters.state


async def test_records_in_a_file_last(tmp_path: Path) -> None:
    class Before(LedgerHub, file=tmp_path / "ledger"):
        pass

    async with HubServer({"/ledger": Before}) as server, HubConnection(server.url("/ledger")) as hub:
        await hub.invoke("Store", "a", None, 1)

    class After(LedgerHub, file=tmp_path / "ledger"):
        pass

    async with HubServer({"/ledger": After}) as server, HubConnection(server.url("/ledger")) as hub:
        assert await hub.invoke("Store", "a", None, 1) == 2


async def test_rules(tmp_path: Path) -> None:
    async with HubServer({"/meters": Meters}) as server, HubConnection(server.url("/meters")) as hub:
        await hub.invoke("Rule", "a", "fail", 1)
        await hub.invoke("Rule", "a", "fail-after", 1)
        await hub.invoke("Rule", "k", "late:1", -1)
        for _ in range(2):
            with pytest.raises(HubError, match="told to fail"):
                await hub.invoke("Store", "a", "k", 1)
        assert await hub.invoke("Store", "a", "k", 1) == 2
        await hub.invoke("ClearRules")
        await hub.invoke("Rule", "*", "abort", 1)
        with pytest.raises(ConnectionClosedError):
            await hub.invoke("StoreValue", "b", 1)
    assert Meters.state.seen() == {"a": 2}


async def test_numbered_events() -> None:
    async with HubServer({"/meters": Meters}) as server, HubConnection(server.url("/meters")) as hub:
        async with hub.messages("item") as items:
            assert await hub.invoke("Emit", 2, 0) == 2
            await hub.invoke("EmitBackwards", 2)
            await hub.invoke("EmitAgain", 1)
            got = [(await items.next(5))[0] for _ in range(5)]
        assert [item["n"] for item in got] == [1, 2, 4, 3, 1]
        assert await hub.invoke("EmitSilently", 1) == 5
        assert [item["n"] async for item in hub.stream("Since", None, 3)] == [4, 5]
        await hub.invoke("Forget", 5)
        assert await hub.invoke("SinceList", "e0", 9) == [{"epoch": "e1", "n": 5, "text": "e1-5"}]
        await hub.invoke("NewEpoch", "e2")
        assert await hub.invoke("SinceList", "e1", 5) == []
        await hub.invoke("Rule", "since", "fail", 1)
        with pytest.raises(HubError):
            await hub.invoke("SinceList", None, 0)
        assert await hub.invoke("SinceCalls") == 3
        assert await hub.invoke("LedgerLength") == 0
        with pytest.raises(ConnectionClosedError):
            await hub.invoke("AbortMe")
