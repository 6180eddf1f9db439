"""What the tests of outboxes and feeds share."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from signalr_sdk import HubConnection, Retry
from signalr_sdk.testing import HubServer, LedgerHub

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

HERE = Path(__file__).parent
# Seconds for a test: a disk that others use may take several to sync a file.
LIMIT = 60


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if HERE in item.path.parents and item.get_closest_marker("timeout") is None:
            item.add_marker(pytest.mark.timeout(LIMIT))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Where the file of an outbox is to be."""
    return tmp_path / "outbox.db"


@pytest.fixture
def ledger_hub() -> type[LedgerHub]:
    """A hub with a ledger of its own."""

    class TestLedger(LedgerHub):
        pass

    return TestLedger


@pytest.fixture
async def ledger_server(ledger_hub: type[LedgerHub]) -> AsyncIterator[HubServer]:
    """A server with this hub, which takes messages up to 32 KiB as ASP.NET Core does."""
    hubs = {"/ledger": ledger_hub}
    async with HubServer(hubs, message_bytes=32 * 1024, parallel_invocations=16) as server:
        yield server


@pytest.fixture
async def hub(ledger_server: HubServer) -> AsyncIterator[HubConnection]:
    """A connection to the hub, which is not started, and reconnects at once."""
    policy = Retry.forever(wait=lambda _state: 0.01)
    connection = HubConnection(ledger_server.url("/ledger"), reconnect=policy, retry_start=policy)
    yield connection
    await connection.stop()
