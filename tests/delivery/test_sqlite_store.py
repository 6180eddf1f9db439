"""The file of an outbox: full disks, damage, other versions, other processes, clocks that jump."""

from __future__ import annotations

import asyncio
import os
import signal
import sqlite3
import stat
import subprocess
import sys
import textwrap
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from signalr_sdk import StateError, StoreError
from signalr_sdk.delivery import ID, Outbox, OutboxLimits, Position, SqliteStore, sqlite_tables
from signalr_sdk.delivery import sqlite_schema as schema

if TYPE_CHECKING:
    from collections.abc import Iterator

    from signalr_sdk import HubConnection
    from signalr_sdk.delivery.sqlite_tables import Tables
    from signalr_sdk.testing import LedgerHub

ROOT = Path(__file__).parents[2]
# Starting a process can take seconds on a busy machine.
pytestmark = pytest.mark.timeout(60)
POSIX = pytest.mark.skipif(sys.platform == "win32", reason="Windows has no forks, modes of files, and signals")


async def on_thread(store: Any, statement: str) -> Any:
    """Run a statement on the store's own connection."""

    def work(tables: Tables) -> Any:
        return tables._execute(statement).fetchall()

    return await store._request(work, writes=False)


# The file


@POSIX
async def test_only_the_owner_can_read_the_files(path: Path) -> None:
    async with Outbox(path) as outbox:
        await outbox.put("A")
        modes = {each.name: stat.S_IMODE(each.stat().st_mode) for each in path.parent.iterdir()}
    assert set(modes) >= {"outbox.db", "outbox.db-wal", "outbox.db-shm", "outbox.db-reserve"}
    assert set(modes.values()) == {0o600}


async def test_the_write_ahead_log_is_gone_when_the_last_one_has_closed(path: Path) -> None:
    async with Outbox(path) as one, Outbox(path) as two:
        await one.put("A")
        await two.put("B")
        assert [entry.method for entry in await one.entries()] == ["A", "B"]
    assert not path.with_name("outbox.db-wal").exists()


async def test_one_store_serves_an_outbox_and_feeds(path: Path) -> None:
    store = SqliteStore(path)
    async with Outbox(store) as outbox:
        await store.open()
        await store.save("one", Position(3, "monday"))
        await store.save("two", Position(-(2**62), 7))
        await store.save("one", Position(4))
        await store.close()
        await outbox.put("A")
        assert await store.load("one") == Position(4)
        assert await store.load("two") == Position(-(2**62), 7)
        assert await store.load("three") is None
    with pytest.raises(StoreError, match="not open"):
        await store.load("one")


@pytest.mark.parametrize("options", [{"durability": "none"}, {"damaged": "delete"}])
def test_wrong_arguments_are_refused(path: Path, options: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=next(iter(options))):
        SqliteStore(path, **options)


async def test_puts_survive_without_waiting_for_the_disk(path: Path) -> None:
    async with Outbox(SqliteStore(path, durability="normal")) as outbox:
        await outbox.put("A", 1)
        assert await on_thread(outbox.store, "PRAGMA synchronous") == [(1,)]
    async with Outbox(path) as outbox:
        assert (await outbox.stats()).waiting == 1


async def test_removals_are_synced_within_a_second(path: Path) -> None:
    store = SqliteStore(path)
    async with Outbox(store) as outbox:
        await outbox.put("A")
        page = await store.read(0, 10)
        await store.done(page.entries, "delivered")
        assert await on_thread(store, "PRAGMA synchronous") == [(1,)]
        deadline = time.monotonic() + 5
        while await on_thread(store, "PRAGMA synchronous") == [(1,)]:
            assert time.monotonic() < deadline
            await asyncio.sleep(0.3)  # the thread syncs when nothing has come for a second


async def test_a_read_leaves_out_keys_and_says_how_far_it_came(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sqlite_tables, "_SCANNED", 100)
    store = SqliteStore(path)
    async with Outbox(store) as outbox:
        await asyncio.gather(*(outbox.put("A", n, key=f"k{n}" if n < 600 else None) for n in range(700)))
        everything = await store.read(0, 1000)
        assert (len(everything.entries), everything.position, everything.more) == (700, 700, False)
        page = await store.read(0, 50)
        assert (page.entries, page.position, page.more) == (everything.entries[:50], 50, True)
        few = await store.read(0, 1000, skip={None, "k0", "k2"})
        assert ([each.key for each in few.entries[:2]], few.position, few.more) == (["k1", "k3"], 101, True)
        many = await store.read(0, 1000, skip={f"k{n}" for n in range(600)})
        assert (many.entries, many.position, many.more) == ([], 101, True)
        rest = await store.read(601, 1000, skip={f"k{n}" for n in range(600)})
        assert (len(rest.entries), rest.position, rest.more) == (99, 700, False)
        one = await store.read(0, 1000, key="k7", until=700)
        assert ([each.key for each in one.entries], one.position, one.more) == (["k7"], 700, False)
        none = await store.read(0, 30, key=None, until=650)
        assert (len(none.entries), none.position, none.more) == (30, 630, True)
        assert (await store.read(700, 0)).entries == []


# Full disks


async def put_many(outbox: Outbox) -> None:
    for _ in range(100):
        await outbox.put("Store", ID, "x" * 2000, 99)


async def test_a_full_disk_refuses_puts_and_lets_deliveries_through(
    path: Path, hub: HubConnection, ledger_hub: type[LedgerHub]
) -> None:
    async with Outbox(path, hub) as outbox:
        for n in range(20):
            await outbox.put("Store", ID, None, n)
        pages = await on_thread(outbox.store, "PRAGMA page_count")
        await on_thread(outbox.store, f"PRAGMA max_page_count = {pages[0][0]}")
        with pytest.raises(StoreError) as caught:
            await put_many(outbox)
        assert caught.value.reason == "full"
        refused = await outbox.stats()
        async with hub:
            await outbox.drain(5)
        assert (await outbox.stats()).put == refused.put
        await on_thread(outbox.store, "PRAGMA max_page_count = 100000")
        await outbox.put("Store", ID, None, 100)
    assert [row.n for row in ledger_hub.state.rows][:20] == list(range(20))
    assert "Store" not in str(caught.value)


async def test_the_reserve_is_given_up_for_removals_and_made_again(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    reserve = path.with_name("outbox.db-reserve")
    store = SqliteStore(path)
    async with Outbox(store) as outbox:
        await outbox.put("A")
        assert reserve.stat().st_size == 256 * 1024

        def full(_tables: Tables) -> None:
            if reserve.exists():
                error = sqlite3.OperationalError("database or disk is full")
                error.sqlite_errorcode = sqlite3.SQLITE_FULL
                raise error

        await store._request(full, frees=True)
        assert not reserve.exists()
        file = store._file.reserve
        monkeypatch.setattr(file, "_fill", _no_room)
        with pytest.raises(StoreError) as caught:
            await outbox.put("B")
        assert caught.value.reason == "full"
        monkeypatch.undo()
        monkeypatch.setattr(file, "_next", 0.0)
        await outbox.put("C")
        assert reserve.exists()
        assert [entry.method for entry in await outbox.entries()] == ["A", "C"]


def _no_room() -> None:
    raise OSError(28, "no space left on device")


async def test_an_answer_that_cannot_be_recorded_is_recorded_later_and_not_called_again(
    path: Path, hub: HubConnection, ledger_hub: type[LedgerHub], monkeypatch: pytest.MonkeyPatch
) -> None:
    store = SqliteStore(path)
    done, failures = store.done, [StoreError("full", "full"), StoreError("full", "full")]

    async def failing(*args: Any) -> None:
        if failures:
            raise failures.pop()
        await done(*args)

    monkeypatch.setattr(store, "done", failing)
    async with hub, Outbox(store, hub) as outbox:
        for n in range(10):
            await outbox.put("Store", ID, None, n)
        await outbox.drain(5)
    assert [row.n for row in ledger_hub.state.rows] == list(range(10))


# Damage


def damage(path: Path) -> None:
    with path.open("r+b") as file:
        file.seek(100)
        file.write(b"damaged" * 200)


def write(path: Path, data: bytes) -> None:
    path.write_bytes(data)


def read(path: Path) -> bytes:
    return path.read_bytes()


async def put_some(path: Path) -> None:
    async with Outbox(path) as outbox:
        for n in range(50):
            await outbox.put("A", n)


async def test_a_damaged_file_is_an_error(path: Path) -> None:
    await put_some(path)
    damage(path)
    with pytest.raises(StoreError) as caught:
        await Outbox(path).start()
    assert caught.value.reason == "damaged"


async def test_what_is_no_database_is_an_error(path: Path) -> None:
    write(path, b"no database at all" * 100)
    with pytest.raises(StoreError) as caught:
        await Outbox(path).start()
    assert caught.value.reason == "damaged"


async def test_a_damaged_file_can_be_set_aside(path: Path, expected_errors: list[Any]) -> None:
    await put_some(path)
    damage(path)
    stores = [SqliteStore(path, damaged="set_aside") for _ in range(3)]
    async with Outbox(stores[0]) as one, Outbox(stores[1]) as two, Outbox(stores[2]):
        await one.put("B")
        assert [entry.method for entry in await two.entries()] == ["B"]
    kept = [each.name for each in path.parent.glob("outbox.db.damaged-*")]
    assert len(kept) == 1
    assert kept[0] in expected_errors[0].getMessage()


async def test_a_file_that_was_cut_off_is_damaged(path: Path) -> None:
    await put_some(path)
    write(path, read(path)[: len(read(path)) // 2])
    with pytest.raises(StoreError) as caught:
        await Outbox(path).start()
    assert caught.value.reason == "damaged"


# Other versions


def test_an_older_schema_is_migrated_in_one_transaction(path: Path) -> None:
    connection = sqlite3.connect(path, isolation_level=None)
    schema.migrate(connection)
    connection.execute("INSERT INTO cursors VALUES ('feed', 7, NULL)")
    wrong = [*schema.MIGRATIONS, "CREATE TABLE more (x); CREATE TABLE more (x)"]
    with pytest.raises(sqlite3.OperationalError):
        schema.migrate(connection, wrong)
    assert connection.execute("PRAGMA user_version").fetchone() == (1,)
    schema.migrate(connection, [*schema.MIGRATIONS, "CREATE TABLE more (x); INSERT INTO more VALUES (1)"])
    assert connection.execute("PRAGMA user_version").fetchone() == (2,)
    assert connection.execute("SELECT x, number FROM more, cursors").fetchall() == [(1, 7)]
    connection.close()


async def test_a_newer_schema_is_refused_and_left_alone(path: Path) -> None:
    await put_some(path)
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute("PRAGMA user_version = 99")
    connection.close()
    with pytest.raises(StoreError) as caught:
        await Outbox(SqliteStore(path, damaged="set_aside")).start()
    assert caught.value.reason == "newer"
    assert read(path)


def test_the_statements_are_those_of_sqlite_3_24() -> None:
    """Debian 11 has 3.34: no STRICT (3.37), no RETURNING (3.35); `ON CONFLICT` came with 3.24."""
    sources = "".join(
        (ROOT / "sdk/signalr_sdk/delivery").joinpath(f"sqlite_{name}.py").read_text() for name in ("schema", "tables")
    )
    assert not [word for word in (" STRICT", "RETURNING", "IIF(", "DROP COLUMN") if word in sources]


# Where the file is


async def test_a_file_where_none_can_be_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(StoreError) as caught:
        await Outbox(tmp_path / "nowhere" / "outbox.db").start()
    assert caught.value.reason == "io"


@POSIX
def test_a_file_of_another_user_is_an_error(path: Path) -> None:
    program = """
        import asyncio, os, sys
        from signalr_sdk import StoreError
        from signalr_sdk.delivery import Outbox

        if os.geteuid() == 0:
            os.setuid(65534)
        try:
            asyncio.run(Outbox(sys.argv[1]).start())
        except StoreError as error:
            print(error.reason)
    """
    asyncio.run(put_some(path))
    if os.geteuid() == 0:
        for folder in [path.parent, *path.parent.parents][:3]:
            folder.chmod(0o755)
    else:
        path.chmod(0)
    assert python(program, str(path)) == "io"


def python(program: str, *arguments: str) -> str:
    command = [sys.executable, "-W", "error", "-c", textwrap.dedent(program), *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=50, check=False, cwd=ROOT)
    assert (done.stderr, done.returncode) == ("", 0)
    return done.stdout.strip()


# Processes


async def test_puts_of_another_process_are_delivered(
    path: Path, hub: HubConnection, ledger_hub: type[LedgerHub]
) -> None:
    async with hub, Outbox(path, hub) as outbox:
        await outbox.drain()
        workers = [
            await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "tests.delivery.worker", str(path), "--keys", f"k{n}", "--count", "20"),
                cwd=ROOT,
                stdout=subprocess.DEVNULL,
            )
            for n in range(5)
        ]
        assert [await worker.wait() for worker in workers] == [0] * 5
        await outbox.drain(5)
    for key in range(5):
        assert [row.n for row in ledger_hub.state.rows if row.key == f"k{key}"] == list(range(20))


@POSIX
def test_a_forked_child_cannot_use_the_outbox_and_frees_the_right_to_deliver(path: Path) -> None:
    program = """
        import asyncio, os, sys, time, warnings
        from signalr_sdk import HubConnection, StateError
        from signalr_sdk.delivery import Outbox
        warnings.simplefilter("ignore", DeprecationWarning)  # of the fork

        async def main():
            async with Outbox(sys.argv[1], HubConnection("http://127.0.0.1:1/hub")) as outbox:
                await outbox.put("A", 1)
                while not (await outbox.stats()).delivering:
                    await asyncio.sleep(0.01)
                child = os.fork()
                if child == 0:
                    try:
                        outbox.put("A", 2).send(None)
                    except StateError as error:
                        print("refused", flush=True)
                    os.read(sys.stdin.fileno(), 1)  # outlives its parent
                    os._exit(0)
                os.kill(os.getpid(), 9)

        asyncio.run(main())
    """
    command = [sys.executable, "-c", textwrap.dedent(program), str(path)]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT)
    assert process.wait() == -signal.SIGKILL
    assert process.stdin is not None
    assert process.stdout is not None
    assert process.stdout.readline() == "refused\n"

    async def look() -> tuple[int, bool]:
        async with Outbox(path) as outbox:
            stats = await outbox.stats()
            return stats.waiting, stats.delivering

    # The child is still there, and holds no lock.
    assert asyncio.run(look()) == (1, False)
    process.stdin.close()
    process.stdout.close()


async def test_a_store_of_the_parent_is_refused_after_a_fork(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    store = SqliteStore(path)
    async with Outbox(store) as outbox:
        pid = os.getpid()
        with monkeypatch.context() as patched:
            patched.setattr(os, "getpid", lambda: pid + 1)
            with pytest.raises(StateError, match="parent of this process"):
                await outbox.put("A")
            with pytest.raises(StateError, match="parent of this process"):
                await store.stats()


@pytest.fixture
def worker(path: Path, hub: HubConnection) -> Iterator[subprocess.Popen[str]]:
    """A process that delivers to the hub."""
    command = [sys.executable, "-m", "tests.delivery.worker", str(path), "--url", hub.url]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT)
    yield process
    process.kill()
    process.wait()
    assert process.stdout is not None
    process.stdout.close()


@POSIX
async def test_a_stopped_process_keeps_the_right_to_deliver_and_goes_on(
    path: Path, hub: HubConnection, ledger_hub: type[LedgerHub], worker: subprocess.Popen[str]
) -> None:
    assert worker.stdout is not None
    assert await asyncio.to_thread(worker.stdout.readline) == "delivering\n"
    worker.send_signal(signal.SIGSTOP)
    await asyncio.to_thread(os.waitid, os.P_PID, worker.pid, os.WSTOPPED)
    async with Outbox(path) as outbox:
        await outbox.put("Store", ID, None, 1)
        assert (await outbox.stats()).delivering
        with pytest.raises(TimeoutError):
            await outbox.drain(0.3)
        worker.send_signal(signal.SIGCONT)
        await outbox.drain(9)
    assert [row.n for row in ledger_hub.state.rows] == [1]


async def test_a_killed_deliverer_is_replaced_within_a_second(
    path: Path, hub: HubConnection, ledger_hub: type[LedgerHub], worker: subprocess.Popen[str]
) -> None:
    assert worker.stdout is not None
    assert await asyncio.to_thread(worker.stdout.readline) == "delivering\n"
    async with hub, Outbox(path, hub) as outbox:
        await outbox.put("Store", ID, None, 1)
        await outbox.drain(5)
        worker.kill()
        await asyncio.to_thread(worker.wait)
        await outbox.put("Store", ID, None, 2)
        await outbox.drain(5)
    assert [row.n for row in ledger_hub.state.rows] == [1, 2]


# Clocks


async def test_a_clock_that_jumps_changes_no_order_and_no_wait(
    path: Path, hub: HubConnection, ledger_hub: type[LedgerHub], monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = [4_000_000_000.0]
    monkeypatch.setattr(time, "time", lambda: clock[0])
    ledger_hub.state.rule("*", "fail", 1)
    async with Outbox(path, hub) as outbox:
        await outbox.put("Store", ID, None, 1)
        clock[0] = 5.0  # 1970: a device whose clock is not set
        await outbox.put("Store", ID, None, 2, expires=1)
        clock[0] = 4_000_000_000.0
        async with hub:
            await outbox.drain(5)
        assert (await outbox.stats()).oldest is None
    assert [row.n for row in ledger_hub.state.rows] == [1, 2]


async def test_a_planned_attempt_waits_no_longer_than_planned_when_the_clock_went_back(
    path: Path, hub: HubConnection, ledger_hub: type[LedgerHub], monkeypatch: pytest.MonkeyPatch
) -> None:
    class Soon:
        def next_delay(self, _context: Any) -> float | None:
            return 0.05

    ledger_hub.state.rule("*", "fail", 1)
    async with hub:
        async with Outbox(path, hub, retry=Soon()) as outbox:
            await outbox.put("Store", ID, None, 1)
            while not (await outbox.entries())[0].attempts:
                await outbox.store.changed(0.01)
        real = time.time()
        monkeypatch.setattr(time, "time", lambda: real - 1_000_000)
        async with Outbox(path, hub, retry=Soon()) as outbox:
            await outbox.drain(5)
    assert [row.n for row in ledger_hub.state.rows] == [1]


# Bounds


async def test_figures_agree_with_the_rows_after_all_operations(path: Path, hub: HubConnection) -> None:
    limits = OutboxLimits(entries=50)
    async with Outbox(path, hub, limits=limits, overflow="drop_oldest") as outbox:
        for n in range(80):
            await outbox.put("Store", ID, f"Schlüssel {n % 3}", n, key=f"Schlüssel {n % 3}")
        ids = [entry.id for entry in await outbox.entries(limit=3)]
        await outbox.drop(*ids)
        async with hub:
            await outbox.put("StoreValue", ID, float("nan"))
            await outbox.drain(5)
        await outbox.retry()
        await outbox.put("A")
        stats = await outbox.stats()
        parts = [f"SELECT body, method, key FROM {table}" for table in ("entries", "dead")]
        rows = await on_thread(outbox.store, " UNION ALL ".join(parts))
    assert stats.bytes == sum(len(body) + len(method) + len((key or "").encode()) for body, method, key in rows)
    assert stats.waiting + stats.dead == len(rows)
    assert stats.put == stats.delivered + stats.dropped + stats.expired + stats.waiting + stats.dead


@pytest.mark.slow
@pytest.mark.timeout(60)
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="needs a small file system of Linux")
def test_a_disk_that_is_really_full(tmp_path: Path) -> None:
    """On 2 MiB: all that was put is delivered, and then there is room again."""
    program = """
        import asyncio, pathlib, sys
        from signalr_sdk import HubConnection, StoreError
        from signalr_sdk.delivery import ID, Outbox
        from signalr_sdk.testing import HubServer, LedgerHub

        class Meters(LedgerHub):
            pass

        async def put(outbox):
            for n in range(10_000):
                try:
                    await outbox.put("Store", ID, "x" * 900, n)
                except StoreError as error:
                    assert error.reason == "full", error
                    return n

        def fill(path):
            with path.open("wb", buffering=0) as file:
                try:
                    while True:
                        file.write(b"x" * 1024)
                except OSError:
                    pass

        async def main(folder):
            async with HubServer({"/meters": Meters}) as server:
                hub = HubConnection(server.url("/meters"))
                async with Outbox(folder / "outbox.db", hub) as outbox:
                    count = await put(outbox)
                    fill(folder / "filler")
                    async with hub:
                        await outbox.drain(30)
                        assert [row.n for row in Meters.state.rows] == list(range(count))
                        (folder / "filler").unlink()
                        await asyncio.sleep(1.1)
                        await outbox.put("Store", ID, "x", count)
                        await outbox.drain(30)
            print(count)

        asyncio.run(main(pathlib.Path(sys.argv[1])))
    """
    mount = f"mount -t tmpfs -o size=2M tmpfs {tmp_path}"
    command = [sys.executable, "-W", "error", "-c", textwrap.dedent(program), str(tmp_path)]
    if subprocess.run(["unshare", "-m", "sh", "-c", mount], capture_output=True, check=False).returncode:
        pytest.skip("this user may not mount a file system")
    done = subprocess.run(
        ["unshare", "-m", "sh", "-c", f'{mount} && exec "$@"', "sh", *command],
        capture_output=True,
        text=True,
        check=False,
        cwd=ROOT,
    )
    assert int(done.stdout or 0) > 300, done.stderr
