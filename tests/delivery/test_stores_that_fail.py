"""An outbox whose store fails, or loses the right to deliver: nothing is lost, and it goes on."""

from __future__ import annotations

import asyncio
import math
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import attrs
import pytest

from signalr_sdk import LeaseLostError, StateError, StoreError
from signalr_sdk.delivery import ID, Outbox, OutboxLimits, SqliteStore, StoredEntry, entry, file_lock
from signalr_sdk.delivery import deliverer as module
from signalr_sdk.delivery import sqlite_errors as errors

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence
    from pathlib import Path

    from signalr_sdk import HubConnection
    from signalr_sdk.delivery import Page
    from signalr_sdk.delivery.stores import Ending
    from signalr_sdk.testing import LedgerHub


class FailingStore(SqliteStore):
    """A store that raises prepared errors."""

    def __init__(self, path: Path, **failures: list[Exception]) -> None:
        super().__init__(path)
        self._failures = failures
        self.claims = 0

    def _fail(self, name: str) -> None:
        if failures := self._failures.get(name):
            raise failures.pop(0)

    async def read(self, *args: Any, **options: Any) -> Page:
        self._fail("read")
        return await super().read(*args, **options)

    async def done(self, entries: Sequence[StoredEntry], how: Ending) -> None:
        self._fail(how)
        await super().done(entries, how)

    async def update(self, entry: StoredEntry) -> None:
        self._fail("update")
        await super().update(entry)

    @asynccontextmanager
    async def claim(self) -> AsyncIterator[None]:
        self._fail("claim")
        self.claims += 1
        async with super().claim():
            yield


@pytest.fixture(autouse=True)
def short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_STORE_PAUSE", 0.01)


def full() -> StoreError:
    return StoreError("the disk is full", "full")


@pytest.mark.parametrize(
    "failures",
    [
        {"claim": [full(), LeaseLostError("lost")]},
        {"read": [full(), full()]},
        {"read": [LeaseLostError("lost")]},
        {"update": [full()]},
        {"delivered": [LeaseLostError("lost")]},
    ],
    ids=str,
)
async def test_delivery_goes_on(
    path: Path, hub: HubConnection, ledger_hub: type[LedgerHub], failures: dict[str, list[Exception]]
) -> None:
    ledger_hub.state.rule("*", "fail", 1)
    store = FailingStore(path, **failures)
    async with hub, Outbox(store, hub) as outbox:
        for n in range(3):
            await outbox.put("Store", ID, None, n)
        await outbox.drain(8)
    assert list(dict.fromkeys(row.n for row in ledger_hub.state.rows)) == [0, 1, 2]
    assert not any(failures.values())


async def test_a_death_that_cannot_be_recorded_comes_again(
    path: Path, hub: HubConnection, ledger_hub: type[LedgerHub]
) -> None:
    store = FailingStore(path, update=[full()])
    async with hub, Outbox(store, hub) as outbox:
        await outbox.put("StoreValue", ID, math.nan)
        await outbox.drain(8)
        assert (await outbox.stats()).dead == 1


async def test_expired_entries_that_cannot_be_removed_come_again(
    path: Path, hub: HubConnection, ledger_hub: type[LedgerHub], caplog: pytest.LogCaptureFixture
) -> None:
    store = FailingStore(path, expired=[full()])
    async with Outbox(store, hub, limits=OutboxLimits(age=0.0)) as outbox:
        await outbox.put("Store", ID, None, 1)
        await outbox.put("Store", ID, None, 2, expires=3600)
        async with hub:
            await outbox.drain(8)
    assert [row.n for row in ledger_hub.state.rows] == [2]
    assert "were too old" in caplog.text


async def test_the_right_to_deliver_is_claimed_again_after_its_loss(
    path: Path, hub: HubConnection, ledger_hub: type[LedgerHub]
) -> None:
    store = FailingStore(path, delivered=[LeaseLostError("lost")])
    async with hub, Outbox(store, hub) as outbox:
        await outbox.put("Store", ID, None, 1)
        await outbox.drain(8)
    assert store.claims == 2
    assert [row.n for row in ledger_hub.state.rows] == [1, 1]


async def test_a_store_that_cannot_be_opened_leaves_the_outbox_stopped(path: Path) -> None:
    outbox = Outbox(path / "nowhere")
    for _ in range(2):
        with pytest.raises(StoreError):
            await outbox.start()
    with pytest.raises(StateError):
        await outbox.put("A")


async def test_values_of_a_newer_version_are_shown_and_buried(
    path: Path, hub: HubConnection, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with Outbox(path, hub) as outbox:
        await outbox.put("Store", ID)

        def newer(_body: bytes, _id: str) -> list[Any]:
            raise ValueError("a newer version has kept a value of kind 99")

        monkeypatch.setattr(module, "decode_arguments", newer)
        async with hub:
            await outbox.drain(8)
        (dead,) = await outbox.entries(dead=True)
    assert dead.error == "a newer version has kept a value of kind 99"
    assert "kind 99" in dead.args[0]


async def test_a_cancelled_start_leaves_nothing_open(path: Path) -> None:
    starting = asyncio.ensure_future(Outbox(path).start())
    await asyncio.sleep(0)
    starting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await starting


# Small things


def test_what_errors_mean(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    no_room = OSError(28, "no space left")
    assert errors.store_error(no_room, tmp_path / "f").reason == "full"
    assert errors.store_error(PermissionError(13, "no"), tmp_path / "f").reason == "io"

    class WriteError(Exception):
        sqlite_errorcode = 778  # SQLITE_IOERR_WRITE

    assert errors.store_error(WriteError(), tmp_path / "f").reason == "io"
    monkeypatch.setattr(errors, "_ROOM", math.inf)
    assert errors.store_error(WriteError(), tmp_path / "f").reason == "full"


def test_limits_are_checked() -> None:
    for wrong in ({"entries": 0}, {"bytes": True}, {"age": -1}, {"remember": None}):
        with pytest.raises(ValueError, match=next(iter(wrong))):
            OutboxLimits(**wrong)


def test_ids_are_checked() -> None:
    for wrong in ("", "x" * 201, "\ud800"):
        with pytest.raises(ValueError, match="id"):
            entry.checked_id(wrong)
    with pytest.raises(TypeError, match="id must be a str"):
        entry.checked_id(7)


def test_the_place_of_the_id_shows_what_it_is() -> None:
    assert repr(ID) == "ID"


def test_locks_that_a_forked_child_forgets(tmp_path: Path) -> None:
    lock = file_lock.FileLock(tmp_path / "lock")
    assert lock.acquire()
    lock.forget()
    assert not file_lock.is_locked(tmp_path / "lock")
    assert not file_lock.is_locked(tmp_path / "nowhere" / "lock")


async def test_wrong_words_are_refused(path: Path) -> None:
    async with Outbox(path) as outbox:
        with pytest.raises(TypeError, match="method must be a str"):
            await outbox.put(7)  # type: ignore[arg-type]
        with pytest.raises(TypeError, match="key must be a str"):
            await outbox.put("A", key=7)  # type: ignore[arg-type]
        with pytest.raises(ValueError, match="limit"):
            await outbox.entries(limit=0)
        assert attrs.asdict(await outbox.stats())["put"] == 0
