"""`SqliteStore`: keeps the entries of outboxes and the positions of feeds in one file, by SQLite."""

from __future__ import annotations

import asyncio
import logging
import os
import time
from collections.abc import Callable
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Literal, TypeVar

from .._guard.copying import Uncopied
from .._guard.futures import resolve
from .._guard.loops import check_loop, running_loop
from ..errors import StateError
from .counted_warnings import CountedWarning
from .entry import OutboxLimits, OutboxStats, Position, StoredEntry
from .file_lock import FileLock, is_locked
from .sqlite_errors import store_error
from .sqlite_file import SqliteFile, beside
from .sqlite_tables import Tables
from .sqlite_thread import SqliteThread

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Collection, Sequence

    from .stores import Ending, Overflow, Page

T = TypeVar("T")

_log = logging.getLogger("signalr_sdk.delivery")

# A process that waits for the right to deliver looks this often whether the other process has ended, in seconds.
_CLAIM_PAUSE = 0.25


class SqliteStore(Uncopied):
    """A file that keeps what an outbox has to deliver, and how far feeds have come.

    Any number of processes, and of objects in one process, may use the same file. One of them delivers. One object may
    serve an outbox and several feeds. All files are readable by their owner only, and are not encrypted.

    Besides `path`, there are `path-wal` and `path-shm` (SQLite's), `path-deliverer` (empty; locked by the process that
    delivers) and `path-reserve` (256 KiB, given up when the disk is full).

    Args:
        path: the file, on a local disk.
        durability: `"full"`: what was put survives a power cut. `"normal"`: it survives a killed process only, but
            puts do not wait for the disk.
        damaged: what to do with a damaged file: `"raise"`, or `"set_aside"` to rename the file and begin a new one.

    Raises:
        ValueError: an argument is invalid.

    Example:
        ```python
        store = SqliteStore("meter.db", damaged="set_aside")
        async with Outbox(store, hub) as outbox:
            await outbox.put("Store", ID, 20.5)
        ```
    """

    def __init__(
        self,
        path: str | os.PathLike[str],
        *,
        durability: Literal["full", "normal"] = "full",
        damaged: Literal["raise", "set_aside"] = "raise",
    ) -> None:
        if durability not in ("full", "normal"):
            raise ValueError(f"durability must be 'full' or 'normal', not {durability!r}")
        if damaged not in ("raise", "set_aside"):
            raise ValueError(f"damaged must be 'raise' or 'set_aside', not {damaged!r}")
        # An absolute path: the program may change its working directory.
        self._path = Path(path).absolute()
        self._file = SqliteFile(self._path, durable=durability == "full", set_aside=damaged == "set_aside")
        self._thread = SqliteThread(self._file)
        self._users = 0
        self._pid = 0
        self._loop: asyncio.AbstractEventLoop | None = None
        self._opening: asyncio.Lock | None = None
        self._waiters: set[asyncio.Future[None]] = set()
        self._claims = 0
        self._dropped = CountedWarning("the outbox is full: %d entries were dropped to make room")
        # Counted on the thread of the store, and read on the event loop.
        self._dropped_by_puts = self._dropped_seen = 0

    def __repr__(self) -> str:
        return f"<SqliteStore {self._path}>"

    @property
    def path(self) -> Path:
        """The file."""
        return self._path

    # Opening and closing

    async def open(self) -> None:
        """Open the file; make it if it is not there. Each call has a matching `close`.

        Raises:
            StoreError: the file cannot be opened, is damaged, or was made by a newer version.
            StateError: the store is open on another event loop, or in the parent of this process.
        """
        if self._users and self._pid == os.getpid():
            check_loop(self._loop)
        loop = running_loop()
        if self._loop is not loop or self._pid != os.getpid():
            if self._pid == os.getpid():
                self._thread.end()  # of an event loop that was closed before the store
            self._loop, self._pid, self._users, self._opening = loop, os.getpid(), 0, asyncio.Lock()
            self._thread = SqliteThread(self._file)
            self._waiters = set()
        assert self._opening is not None
        async with self._opening:
            if self._users == 0:
                await self._thread.start()
            self._users += 1

    async def close(self) -> None:
        """Close the file, with the last `close` of all `open`."""
        if self._pid != os.getpid() or self._opening is None:
            return
        async with self._opening:
            self._users -= 1
            if self._users == 0:
                self._dropped.flush()
                await self._thread.stop()

    def _request(
        self, work: Callable[[Tables], T], *, writes: bool = True, durable: bool = True, frees: bool = False
    ) -> asyncio.Future[T]:
        if self._pid != os.getpid():
            raise StateError(
                "this store was opened in the parent of this process, or not at all: make another one in each process"
            )
        return self._thread.request(work, writes=writes, durable=durable, frees=frees)

    # What an outbox needs

    def add(self, entry: StoredEntry, body: bytes, limits: OutboxLimits, overflow: Overflow) -> asyncio.Future[bool]:
        """See `OutboxStore.add`."""

        def work(tables: Tables) -> bool:
            before = tables.totals.dropped
            added = tables.add(entry, body, limits, overflow)
            self._dropped_by_puts += tables.totals.dropped - before
            return added

        added = self._request(work)
        added.add_done_callback(self._note_added)
        return added

    def _note_added(self, _added: object) -> None:
        dropped = self._dropped_by_puts
        self._dropped.add(dropped - self._dropped_seen)
        self._dropped_seen = dropped
        self._notify()

    async def read(
        self,
        after: int,
        limit: int,
        *,
        skip: Collection[str | None] = (),
        key: str | None = None,
        until: int | None = None,
    ) -> Page:
        """See `OutboxStore.read`."""
        return await self._request(lambda tables: tables.read(after, limit, skip, key, until), writes=False)

    async def done(self, entries: Sequence[StoredEntry], how: Ending) -> None:
        """See `OutboxStore.done`."""

        def work(tables: Tables) -> int:
            tables.done(entries, how)
            return tables.totals.waiting

        if await self._request(work, durable=False, frees=True) == 0:
            self._notify()  # of a wait for the last entry

    async def update(self, entry: StoredEntry) -> None:
        """See `OutboxStore.update`."""
        await self._request(lambda tables: tables.update(entry), durable=False, frees=True)
        if entry.dead:
            self._notify()

    async def entries(
        self, *, dead: bool | None = None, limit: int = 100, after: int | None = None
    ) -> list[StoredEntry]:
        """See `OutboxStore.entries`."""
        return await self._request(lambda tables: tables.entries(dead, limit, after), writes=False)

    async def retry(self, ids: Collection[str]) -> int:
        """See `OutboxStore.retry`."""
        count = await self._request(lambda tables: tables.retry(ids))
        self._notify()
        return count

    async def drop(self, ids: Collection[str], all_dead: bool) -> int:
        """See `OutboxStore.drop`."""
        count = await self._request(lambda tables: tables.drop(ids, all_dead), frees=True)
        self._notify()
        return count

    async def stats(self) -> OutboxStats:
        """See `OutboxStore.stats`."""
        return await self._request(self._stats, writes=False)

    def _stats(self, tables: Tables) -> OutboxStats:
        totals, oldest = tables.totals, tables.oldest()
        return OutboxStats(
            waiting=totals.waiting,
            dead=totals.dead,
            bytes=totals.bytes,
            oldest=None if oldest is None else max(time.time() - oldest, 0.0),
            put=totals.put,
            delivered=totals.delivered,
            died=totals.died,
            dropped=totals.dropped,
            expired=totals.expired,
            delivering=self._claims > 0 or is_locked(self._lock_path),
        )

    async def changed(self, timeout: float) -> None:
        """See `OutboxStore.changed`. Changes by other objects are seen when the time is over."""
        waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiters.add(waiter)
        try:
            await asyncio.wait({waiter}, timeout=timeout)
        finally:
            self._waiters.discard(waiter)

    def _notify(self, _done: object = None) -> None:
        for waiter in self._waiters:
            resolve(waiter, None)

    @property
    def _lock_path(self) -> Path:
        return beside(self._path, "-deliverer")

    @asynccontextmanager
    async def claim(self) -> AsyncIterator[None]:
        """See `OutboxStore.claim`. The right is a lock of the operating system, which ends with its process."""
        lock = FileLock(self._lock_path)
        try:
            while not self._acquire(lock):  # noqa: ASYNC110 - another process tells nobody when it ends
                await asyncio.sleep(_CLAIM_PAUSE)
            self._claims += 1
            try:
                yield
            finally:
                self._claims -= 1
        finally:
            lock.release()

    def _acquire(self, lock: FileLock) -> bool:
        try:
            return lock.acquire()
        except OSError as error:
            raise store_error(error, self._lock_path) from error

    # What a feed needs

    async def load(self, name: str) -> Position | None:
        """See `CursorStore.load`."""
        return await self._request(lambda tables: tables.load(name), writes=False)

    async def save(self, name: str, position: Position) -> None:
        """See `CursorStore.save`."""
        await self._request(partial(Tables.save, name=name, position=position))
