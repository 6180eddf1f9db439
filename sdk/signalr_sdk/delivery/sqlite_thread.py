"""`SqliteThread`: one thread owns the connection to the file, and writes what waits in one transaction.

Requests come from the event loop through a queue. The thread takes all that wait, runs the writing ones in one
transaction (so that puts at the same time share one sync), then the reading ones, and hands all results back in one
call of the event loop.
"""

from __future__ import annotations

import asyncio
import logging
import queue
import sqlite3
import threading
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final, TypeVar

import attrs

from .._guard.futures import fail, resolve
from ..errors import StoreError
from .sqlite_errors import is_full, store_error
from .sqlite_tables import Tables

if TYPE_CHECKING:
    from collections.abc import Callable

    from .sqlite_file import SqliteFile

T = TypeVar("T")

_log = logging.getLogger("signalr_sdk.delivery")

# The most requests in one transaction: the first of them wait for the last.
_MOST: Final = 1000
# Pages that are given back to a full disk at once.
_FREED: Final = 64
# Removals are synced with the next put, at the latest after this number of seconds.
_UNSYNCED: Final = 1.0


@attrs.define(eq=False)
class _Request:
    """One piece of work for the thread.

    Attributes:
        work: the work.
        future: gets the result, on its event loop.
        writes: whether the work writes.
        durable: whether the future waits until the disk has the change.
        frees: whether the work removes entries, so that the reserve may be given up for it.
    """

    work: Callable[[Tables], Any]
    future: asyncio.Future[Any]
    writes: bool
    durable: bool
    frees: bool
    result: Any = None
    error: Exception | None = None


class SqliteThread:
    """Runs requests on the thread that owns the connection.

    Args:
        file: opens the connection, and knows about the disk.
    """

    def __init__(self, file: SqliteFile) -> None:
        self._file = file
        self._queue: queue.SimpleQueue[_Request | None] = queue.SimpleQueue()
        self._unsynced_since: float | None = None
        self._durable = True
        self._thread: threading.Thread | None = None

    async def start(self) -> None:
        """Start the thread, and open the file.

        Raises:
            StoreError: the file cannot be opened.
        """
        opened: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._thread = threading.Thread(target=self._main, args=(opened,), name="signalr_sdk outbox", daemon=True)
        self._thread.start()
        try:
            await asyncio.shield(opened)
        except asyncio.CancelledError:
            self._queue.put(None)
            raise

    async def stop(self) -> None:
        """Run the requests that wait, close the file, and end the thread."""
        thread = self.end()
        if thread is not None:
            await asyncio.shield(asyncio.to_thread(thread.join))

    def end(self) -> threading.Thread | None:
        """Do as `stop`, without waiting for the end of the thread, which is returned if it runs."""
        thread, self._thread = self._thread, None
        if thread is not None:
            self._queue.put(None)
        return thread

    def request(
        self,
        work: Callable[[Tables], T],
        *,
        writes: bool = True,
        durable: bool = True,
        frees: bool = False,
    ) -> asyncio.Future[T]:
        """Queue some work; return the future of its result. Requests run in the order of the calls.

        Args:
            work: gets the tables, inside a transaction.
            writes: whether the work writes. Work that only reads runs after the writes that wait.
            durable: whether the result waits for the disk.
            frees: whether the work makes room in the file.

        Raises:
            StoreError: the store is not open.
        """
        if self._thread is None:
            raise StoreError("the store is not open", "io")
        future: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        self._queue.put(_Request(work, future, writes, durable, frees))
        return future

    # The thread

    def _main(self, opened: asyncio.Future[None]) -> None:
        try:
            connection = self._file.open()
        except Exception as error:  # noqa: BLE001 - whatever it is, `start` raises it
            wrapped = error if isinstance(error, StoreError) else store_error(error, self._file.path)
            _hand_back(opened.get_loop(), _set, opened, None, wrapped)
            return
        _hand_back(opened.get_loop(), _set, opened, None, None)
        try:
            while self._step(connection):
                pass
        finally:
            self._sync(connection)
            self._file.close(connection)

    def _step(self, connection: sqlite3.Connection) -> bool:
        """Run the requests that wait; return whether the thread goes on."""
        requests, goes_on = self._next_requests()
        if not requests:
            self._sync(connection)
            return goes_on
        writes = [each for each in requests if each.writes]
        reads = [each for each in requests if not each.writes]
        if writes:
            self._write(connection, writes)
        if reads:
            self._run(connection, reads, "BEGIN")
        for loop in {each.future.get_loop() for each in requests}:
            mine = [each for each in requests if each.future.get_loop() is loop]
            _hand_back(loop, _resolve, mine)
        return goes_on

    def _next_requests(self) -> tuple[list[_Request], bool]:
        """Return the requests that wait, and whether the thread goes on. An empty list: sync now."""
        since = self._unsynced_since
        timeout = None if since is None else max(since + _UNSYNCED - time.monotonic(), 0.0)
        requests: list[_Request] = []
        with suppress(queue.Empty):
            request = self._queue.get(timeout=timeout)
            while request is not None:
                requests.append(request)
                if len(requests) == _MOST:
                    return requests, True
                request = self._queue.get_nowait()
            return requests, False
        return requests, True

    def _write(self, connection: sqlite3.Connection, requests: list[_Request]) -> None:
        late = self._unsynced_since is not None and time.monotonic() - self._unsynced_since > _UNSYNCED
        self._set_durable(connection, late or any(each.durable for each in requests))
        if self._file.reserve.is_given_up and not self._has_room_again(connection):
            # The room of the reserve is for removals only.
            self._refuse(requests)
            requests = [each for each in requests if each.error is None]
        if not requests or self._run(connection, requests, "BEGIN IMMEDIATE"):
            return
        if any(map(_failed_for_room, requests)):
            self._checkpoint(connection)
            if self._run(connection, requests, "BEGIN IMMEDIATE"):
                return
        for request in requests:
            if not self._run(connection, [request], "BEGIN IMMEDIATE") and _failed_for_room(request) and request.frees:
                self._file.reserve.give_up()
                self._checkpoint(connection)
                self._run(connection, [request], "BEGIN IMMEDIATE")

    def _has_room_again(self, connection: sqlite3.Connection) -> bool:
        """Try to make the reserve again. If there is no room, give the disk back what removals have freed."""
        if self._file.reserve.make():
            return True
        with suppress(sqlite3.Error):
            connection.execute(f"PRAGMA incremental_vacuum({_FREED})").fetchall()
        self._checkpoint(connection)
        return False

    def _refuse(self, requests: list[_Request]) -> None:
        for each in requests:
            if not each.frees:
                each.error = StoreError(f"the disk of {self._file.path} is full; nothing was put", "full")

    def _set_durable(self, connection: sqlite3.Connection, durable: bool) -> None:
        """Let commits wait for the disk, or not. A killed process loses nothing either way, only a power cut does."""
        durable = durable and self._file.durable
        if durable != self._durable:
            connection.execute(f"PRAGMA synchronous = {'FULL' if durable else 'NORMAL'}")
            self._durable = durable

    def _run(self, connection: sqlite3.Connection, requests: list[_Request], begin: str) -> bool:
        """Run requests in one transaction; return whether the transaction succeeded.

        A request that raises an error of its own changes nothing, and the others go on.
        """
        try:
            connection.execute(begin)
            tables = Tables(connection)
            for each in requests:
                each.error = None
                try:
                    each.result = each.work(tables)
                except sqlite3.Error:
                    raise
                except Exception as error:  # noqa: BLE001 - the caller gets it
                    each.error = error
            tables.flush()
            connection.execute("COMMIT")
        except sqlite3.Error as error:
            with suppress(sqlite3.Error):
                if connection.in_transaction:
                    connection.execute("ROLLBACK")
            wrapped = store_error(error, self._file.path)
            for each in requests:
                each.error = wrapped
            return False
        if begin != "BEGIN":
            self._note_commit()
        return True

    def _note_commit(self) -> None:
        if self._durable:
            self._unsynced_since = None
        elif self._unsynced_since is None and self._file.durable:
            self._unsynced_since = time.monotonic()

    def _sync(self, connection: sqlite3.Connection) -> None:
        """Let the disk have the removals of the last second."""
        if self._unsynced_since is None:
            return
        try:
            self._set_durable(connection, True)
            connection.execute("UPDATE totals SET position = position")
        except sqlite3.Error as error:
            _log.debug("the removals could not be synced yet: %s", error)
        # Try again with the next removal, not at once: the disk may be full.
        self._unsynced_since = None

    def _checkpoint(self, connection: sqlite3.Connection) -> None:
        """Move the write-ahead log into the file, so that the room of the log can be used again."""
        with suppress(sqlite3.Error):
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()


def _failed_for_room(request: _Request) -> bool:
    return isinstance(request.error, StoreError) and is_full(request.error)


def _hand_back(loop: asyncio.AbstractEventLoop, callback: Callable[..., None], *args: object) -> None:
    with suppress(RuntimeError):  # the loop is closed, and nobody waits any more
        loop.call_soon_threadsafe(callback, *args)


def _resolve(requests: list[_Request]) -> None:
    for each in requests:
        _set(each.future, each.result, each.error)


def _set(future: asyncio.Future[Any], result: object, error: Exception | None) -> None:
    if error is None:
        resolve(future, result)
    else:
        fail(future, error)
