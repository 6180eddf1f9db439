"""What an error of SQLite means: the `StoreError` that users get."""

from __future__ import annotations

import errno
import shutil
import sqlite3
from contextlib import suppress
from typing import TYPE_CHECKING, Final

from ..errors import StoreError

if TYPE_CHECKING:
    from pathlib import Path

# SQLite reports some writes that fail for lack of room as I/O errors. With less room than this, the disk is full.
_ROOM: Final = 64 * 1024
_REASONS: Final = {
    sqlite3.SQLITE_FULL: "full",
    sqlite3.SQLITE_CORRUPT: "damaged",
    sqlite3.SQLITE_NOTADB: "damaged",
    sqlite3.SQLITE_BUSY: "locked",
    sqlite3.SQLITE_LOCKED: "locked",
}
_TEXTS: Final = {
    "full": "the disk is full",
    "damaged": "the file is damaged (SqliteStore(damaged='set_aside') begins a new one)",
    "locked": "another process holds the lock of the file for too long",
    "io": "the file cannot be read or written",
}


def store_error(error: Exception, path: Path) -> StoreError:
    """Return the error that users get for an error of SQLite or of the operating system."""
    reason = _reason(error, path)
    wrapped = StoreError(f"{path}: {_TEXTS[reason]}: {error}", reason)
    wrapped.__cause__ = error
    return wrapped


def _reason(error: Exception, path: Path) -> str:
    if isinstance(error, OSError):
        return "full" if error.errno in (errno.ENOSPC, errno.EDQUOT) else "io"
    # The lowest eight bits are the primary code.
    code = (getattr(error, "sqlite_errorcode", None) or 0) & 0xFF
    if code == sqlite3.SQLITE_IOERR:
        with suppress(OSError):
            if shutil.disk_usage(path.parent).free < _ROOM:
                return "full"
    return _REASONS.get(code, "io")


def is_full(error: StoreError) -> bool:
    """Return whether more room on the disk would help."""
    return error.reason == "full"
