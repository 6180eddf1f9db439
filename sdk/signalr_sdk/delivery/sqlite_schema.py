"""The tables of a `SqliteStore`, and how an older file gets them.

- `entries` holds what waits, `dead` what was given up. `position` is never used twice, so that whoever reads ahead can
  go on behind a position.
- `totals` has one row: everything that must be known without counting rows, also with a million entries.
- `remembered` holds ids that users gave, after the delivery.
- `cursors` holds the positions of feeds.

Each index and each table that a `put` changes costs a page in the write-ahead log: keep them few.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NoReturn

from ..errors import StoreError

if TYPE_CHECKING:
    import sqlite3

# A put writes about four pages. Smaller pages than SQLite's 4096 bytes halve what is written to an SD card.
PAGE_SIZE: Final = 2048

_COLUMNS = """
    position INTEGER PRIMARY KEY, id TEXT NOT NULL, key TEXT, method TEXT NOT NULL, put_at REAL NOT NULL, expires REAL,
    remember REAL, attempts INTEGER NOT NULL, elapsed REAL NOT NULL, delay REAL NOT NULL, due REAL NOT NULL,
    error TEXT, body BLOB NOT NULL
"""
_VERSION_1 = f"""
CREATE TABLE entries ({_COLUMNS});
CREATE UNIQUE INDEX entries_id ON entries (id);
CREATE INDEX entries_key ON entries (key, position) WHERE key IS NOT NULL;
CREATE TABLE dead ({_COLUMNS});
CREATE UNIQUE INDEX dead_id ON dead (id);
CREATE TABLE totals (
    position INTEGER NOT NULL, revision INTEGER NOT NULL, waiting INTEGER NOT NULL, dead INTEGER NOT NULL,
    bytes INTEGER NOT NULL, put INTEGER NOT NULL, delivered INTEGER NOT NULL, died INTEGER NOT NULL,
    dropped INTEGER NOT NULL, expired INTEGER NOT NULL
);
INSERT INTO totals VALUES (0, 0, 0, 0, 0, 0, 0, 0, 0, 0);
CREATE TABLE remembered (id TEXT PRIMARY KEY, digest BLOB NOT NULL, until REAL NOT NULL) WITHOUT ROWID;
CREATE INDEX remembered_until ON remembered (until);
CREATE TABLE cursors (name TEXT PRIMARY KEY, number INTEGER NOT NULL, epoch TEXT) WITHOUT ROWID;
"""
# The statements that lead from each version of the schema to the next. Version 0 is an empty file.
MIGRATIONS: Final = [_VERSION_1]

ENTRY: Final = "position, id, key, method, put_at, expires, remember, attempts, elapsed, delay, due, error, body"


def migrate(connection: sqlite3.Connection, migrations: list[str] | None = None) -> None:
    """Bring a file to the newest schema, in one transaction.

    Raises:
        StoreError: a newer version of this package has made the file.
    """
    steps = MIGRATIONS if migrations is None else migrations
    if _version(connection) == len(steps):
        return
    connection.execute("BEGIN IMMEDIATE")
    try:
        # Read the version again: another process may have been faster.
        version = _version(connection)
        if version > len(steps):
            _raise_newer(version, len(steps))
        for step in steps[version:]:
            for statement in filter(str.strip, step.split(";")):
                connection.execute(statement)
        connection.execute(f"PRAGMA user_version = {len(steps)}")
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise


def _version(connection: sqlite3.Connection) -> int:
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    return int(version)


def _raise_newer(version: int, known: int) -> NoReturn:
    raise StoreError(f"a newer version has made the file: its schema is {version}, and {known} is known", "newer")
