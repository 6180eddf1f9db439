"""`SqliteFile`: how a `SqliteStore` makes, opens, checks and sets aside its file.

SQLite keeps its locks by POSIX, which gives up all locks of a process on a file as soon as the process closes any file
descriptor of that file. So nothing here opens the file beside SQLite, but for the moment in which it is made.
"""

from __future__ import annotations

import logging
import os
import shutil
import sqlite3
import threading
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Final

from ..errors import StoreError
from .file_lock import FileLock
from .sqlite_errors import store_error
from .sqlite_schema import PAGE_SIZE, migrate

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

_log = logging.getLogger("signalr_sdk.delivery")

# Seconds for which a transaction waits for those of other processes.
_BUSY: Final = 10.0
# A file up to this size is checked as a whole when it is opened. A larger one would delay the start of the program:
# damage in it is found when the damaged page is read.
_CHECKED: Final = 8 * 1024 * 1024
_RESERVE: Final = 256 * 1024
# After the reserve could not be made, the next attempt is made after this number of seconds.
_RESERVE_PAUSE: Final = 1.0
# Pages in the write-ahead log above which SQLite moves the log into the file, which takes two syncs. On a small disk
# the log must stay small: a log that fills the disk cannot be moved into the file.
_LOG_PAGES: Final = 4000
_LOG_SHARE: Final = 16

# Held while a file is made and opened: another object of this process must not use the file in the moment in which it
# is made, since closing the new, empty file would give up its locks.
_opening = threading.Lock()


class Reserve:
    """A file that holds some room of the disk. It is given up when the disk is full: removing entries needs room too.

    Args:
        path: the file.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._next = 0.0
        self.is_given_up: bool = False

    def make(self) -> bool:
        """Make the file if it is not there; return whether it is there, or cannot be had for another reason than room.

        Tries at most once a second.
        """
        if self._path.exists():
            self.is_given_up = False
            return True
        if time.monotonic() < self._next:
            return False
        self._next = time.monotonic() + _RESERVE_PAUSE
        try:
            self._fill()
        except OSError as error:
            with suppress(OSError):
                self._path.unlink()
            self.is_given_up = store_error(error, self._path).reason == "full"
            return not self.is_given_up
        self.is_given_up = False
        return True

    def _fill(self) -> None:
        file = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        try:
            left = memoryview(bytes(_RESERVE))
            while left:
                left = left[os.write(file, left) :]
            os.fsync(file)
        finally:
            os.close(file)

    def give_up(self) -> None:
        """Give the room back to the disk."""
        self.is_given_up = True
        with suppress(OSError):
            self._path.unlink()


class SqliteFile:
    """The file of a `SqliteStore`. The methods are called on the thread that owns the connection.

    Args:
        path: the file.
        durable: whether commits may wait for the disk.
        set_aside: whether a damaged file is renamed and a new one begun.

    Attributes:
        reserve: the room that is given up when the disk is full.
    """

    def __init__(self, path: Path, *, durable: bool, set_aside: bool) -> None:
        self.path = path
        self.durable = durable
        self.reserve: Reserve = Reserve(beside(path, "-reserve"))
        self._sets_aside = set_aside

    def open(self) -> sqlite3.Connection:
        """Open the file; make it if it is not there.

        Raises:
            StoreError: the file cannot be opened, is damaged, or was made by a newer version.
        """
        try:
            connection = self._open_checked()
        except StoreError as error:
            if error.reason != "damaged" or not self._sets_aside:
                raise
            connection = self._begin_new(error)
        self.reserve.make()
        return connection

    def close(self, connection: sqlite3.Connection) -> None:
        """Close the connection. The last one moves the write-ahead log into the file, and removes the log."""
        with _opening, suppress(sqlite3.Error):
            connection.close()

    def _open_checked(self) -> sqlite3.Connection:
        with _opening:
            _make(self.path)
            connection = sqlite3.connect(self.path, timeout=_BUSY, isolation_level=None, cached_statements=64)
        try:
            self._prepare(connection)
            migrate(connection)
            self._check(connection)
        except BaseException as error:
            self.close(connection)
            if isinstance(error, sqlite3.Error):
                raise store_error(error, self.path) from None
            raise
        return connection

    def _prepare(self, connection: sqlite3.Connection) -> None:
        connection.execute(f"PRAGMA page_size = {PAGE_SIZE}")
        # Lets a full disk have back what deliveries have freed.
        connection.execute("PRAGMA auto_vacuum = INCREMENTAL")
        if _wal_mode(connection) != "wal":
            raise StoreError(
                f"{self.path}: SQLite's write-ahead log does not work here: keep the file on a local disk", "io"
            )
        connection.execute("PRAGMA synchronous = FULL")
        # On macOS, a plain fsync leaves the data in the cache of the disk.
        connection.execute(f"PRAGMA fullfsync = {self.durable:d}")
        connection.execute(f"PRAGMA checkpoint_fullfsync = {self.durable:d}")
        connection.execute("PRAGMA cell_size_check = ON")
        share = shutil.disk_usage(self.path.parent).free // _LOG_SHARE // PAGE_SIZE
        connection.execute(f"PRAGMA wal_autocheckpoint = {max(min(share, _LOG_PAGES), 10)}")

    def _check(self, connection: sqlite3.Connection) -> None:
        (pages,) = connection.execute("PRAGMA page_count").fetchone()
        if pages * PAGE_SIZE <= _CHECKED:
            (text,) = connection.execute("PRAGMA quick_check(1)").fetchone()
            if text != "ok":
                raise StoreError(f"{self.path}: the file is damaged: {text:.200}", "damaged")
        for table in ("entries", "dead", "cursors", "remembered", "totals"):
            connection.execute(f"SELECT * FROM {table} LIMIT 1").fetchall()

    def _begin_new(self, error: StoreError) -> sqlite3.Connection:
        """Rename the damaged file, and make a new one."""
        lock = FileLock(beside(self.path, "-aside"))
        while not lock.acquire():
            time.sleep(0.05)
        try:
            # Another process may have been faster.
            with suppress(StoreError):
                return self._open_checked()
            mark = f".damaged-{time.strftime('%Y%m%d-%H%M%S')}-{os.getpid()}"
            for name in ("", "-wal", "-shm"):
                with suppress(FileNotFoundError):
                    beside(self.path, name).rename(beside(self.path, f"{mark}{name}"))
            _log.error("%s; it was renamed to %s, and a new file begun", error, beside(self.path, mark))
            return self._open_checked()
        finally:
            lock.release()


def beside(path: Path, suffix: str) -> Path:
    """Return the path with a suffix behind its name."""
    return path.with_name(path.name + suffix)


def _wal_mode(connection: sqlite3.Connection) -> str:
    """Switch to the write-ahead log; return the mode. SQLite does not wait here for other processes, so this does."""
    for pause in _pauses():
        try:
            (mode,) = connection.execute("PRAGMA journal_mode = WAL").fetchone()
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode & 0xFF != sqlite3.SQLITE_BUSY or pause is None:
                raise
            time.sleep(pause)
        else:
            return str(mode)
    raise AssertionError("the last pause is None")


def _pauses() -> Iterator[float | None]:
    until = time.monotonic() + _BUSY
    while time.monotonic() < until:
        yield 0.01
    yield None


def _make(path: Path) -> None:
    """Make an empty file that only its owner may read, and let the disk know its name."""
    try:
        os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
    except FileExistsError:
        return
    except OSError as error:
        raise store_error(error, path) from error
    if os.name == "posix":
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
