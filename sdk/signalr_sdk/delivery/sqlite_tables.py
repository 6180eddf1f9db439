"""The statements of a `SqliteStore`: what each operation reads and changes, on a connection inside a transaction."""

from __future__ import annotations

import hashlib
import time
from typing import TYPE_CHECKING, Any, Final

import attrs

from ..errors import OutboxFullError
from .entry import OutboxLimits, Position, StoredEntry
from .sqlite_schema import ENTRY
from .stores import Page

if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Collection, Iterable, Sequence

    from .stores import Ending, Overflow

# One `read` looks at this many rows at most, so that a read that leaves out most rows does not hold up the others.
_SCANNED: Final = 10_000
# SQLite takes at most 999 parameters in one statement (32 766 since 3.32).
_PARAMETERS: Final = 500

_MARKS = ", ".join("?" * len(ENTRY.split(",")))
_INSERT: Final = {table: f"INSERT INTO {table} ({ENTRY}) VALUES ({_MARKS})" for table in ("entries", "dead")}
_PUT: Final = (
    "INSERT INTO entries (position, id, key, method, put_at, expires, remember, attempts, elapsed, delay, due, body) "
    "VALUES (?, ?, ?, ?, ?, ?, ?, 0, 0, 0, 0, ?)"
)


@attrs.define
class Totals:
    """The one row of the table `totals`."""

    position: int
    revision: int
    waiting: int
    dead: int
    bytes: int
    put: int
    delivered: int
    died: int
    dropped: int
    expired: int


_TOTALS: Final = ", ".join(each.name for each in attrs.fields(Totals))
_SET_TOTALS: Final = f"UPDATE totals SET {', '.join(f'{each.name} = ?' for each in attrs.fields(Totals))}"


class Tables:
    """The tables, inside one transaction, which begins before this object is made.

    Args:
        connection: the connection.

    Attributes:
        totals: the totals. `flush` writes them, so that a transaction with many puts writes them once.
    """

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._execute = connection.execute
        self._many = connection.executemany
        self._read = self._execute(f"SELECT {_TOTALS} FROM totals").fetchone()
        self.totals: Totals = Totals(*self._read)

    def flush(self) -> None:
        """Write the totals if they have changed."""
        now = attrs.astuple(self.totals)
        if now != self._read:
            self._execute(_SET_TOTALS, now)
            self._read = now

    # Putting

    def add(self, entry: StoredEntry, body: bytes, limits: OutboxLimits, overflow: Overflow) -> bool:
        """See `OutboxStore.add`."""
        if entry.remember is not None and self._is_known(entry, body):
            return False
        totals = self.totals
        size = entry.size
        if totals.waiting + totals.dead >= limits.entries or totals.bytes + size > limits.bytes:
            self._make_room(size, limits, overflow)
        totals.position += 1
        self._execute(
            _PUT,
            (
                totals.position, entry.id, entry.key, entry.method, entry.put_at, entry.expires, entry.remember, body,
            ),
        )  # fmt: skip
        totals.waiting += 1
        totals.put += 1
        totals.bytes += size
        return True

    def _is_known(self, entry: StoredEntry, body: bytes) -> bool:
        known = "SELECT method, key, body FROM {} WHERE id = ?"
        for table in ("entries", "dead"):
            row = self._execute(known.format(table), (entry.id,)).fetchone()
            if row is not None:
                return _same(row == (entry.method, entry.key, body), entry.id)
        now = time.time()
        row = self._execute("SELECT digest FROM remembered WHERE id = ? AND until > ?", (entry.id, now)).fetchone()
        return row is not None and _same(row[0] == _digest(entry, body), entry.id)

    def _make_room(self, size: int, limits: OutboxLimits, overflow: Overflow) -> None:
        totals = self.totals
        if overflow == "refuse" or size > limits.bytes:
            limit = "bytes" if totals.bytes + size > limits.bytes else "entries"
            most = getattr(limits, limit)
            raise OutboxFullError(f"the outbox holds its limit of {most:,} {limit}; nothing was put", limit)
        while totals.waiting + totals.dead >= limits.entries or totals.bytes + size > limits.bytes:
            table = "dead" if totals.dead else "entries"
            self._drop_where(table, "position = (SELECT min(position) FROM {})".format(table), ())  # noqa: UP032

    # Delivering

    def done(self, entries: Sequence[StoredEntry], how: Ending) -> None:
        """See `OutboxStore.done`."""
        totals = self.totals
        for entry in entries:
            if self._execute("DELETE FROM entries WHERE position = ?", (entry.position,)).rowcount == 0:
                continue  # another process has dropped the entry
            totals.waiting -= 1
            totals.bytes -= entry.size
            if how == "expired":
                totals.expired += 1
                continue
            totals.delivered += 1
            if entry.remember:
                self._remember(entry, entry.remember)

    def _remember(self, entry: StoredEntry, seconds: float) -> None:
        now = time.time()
        self._execute("DELETE FROM remembered WHERE until <= ?", (now,))
        row = (entry.id, _digest(entry, entry.body), now + seconds)
        self._execute("INSERT OR REPLACE INTO remembered VALUES (?, ?, ?)", row)

    def update(self, entry: StoredEntry) -> None:
        """See `OutboxStore.update`."""
        place = (entry.position,)
        if not entry.dead:
            new = (entry.attempts, entry.elapsed, entry.delay, entry.due, entry.error)
            self._execute(
                "UPDATE entries SET attempts = ?, elapsed = ?, delay = ?, due = ?, error = ? WHERE position = ?",
                new + place,
            )
        elif self._execute("DELETE FROM entries WHERE position = ?", place).rowcount:
            self._execute(_INSERT["dead"], _row(entry))
            self.totals.waiting -= 1
            self.totals.dead += 1
            self.totals.died += 1

    # Looking after dead entries

    def retry(self, ids: Collection[str]) -> int:
        """See `OutboxStore.retry`."""
        columns = ENTRY.replace("attempts, elapsed, delay, due, error", "0, 0, 0, 0, NULL")
        moved = 0
        for where, values in _chosen(ids) if ids else [("1", [])]:
            self._execute(f"INSERT INTO entries ({ENTRY}) SELECT {columns} FROM dead WHERE {where}", values)
            moved += self._execute(f"DELETE FROM dead WHERE {where}", values).rowcount
        self.totals.waiting += moved
        self.totals.dead -= moved
        self.totals.revision += moved > 0
        return moved

    def drop(self, ids: Collection[str], all_dead: bool) -> int:
        """See `OutboxStore.drop`."""
        dropped = self._drop_where("dead", "1", ()) if all_dead else 0
        for where, values in _chosen(ids):
            dropped += sum(self._drop_where(table, where, values) for table in ("entries", "dead"))
        return dropped

    def _drop_where(self, table: str, where: str, values: Sequence[Any]) -> int:
        size = "length(body) + length(CAST(method AS BLOB)) + length(CAST(ifnull(key, '') AS BLOB))"
        (size,) = self._execute(f"SELECT ifnull(sum({size}), 0) FROM {table} WHERE {where}", values).fetchone()
        count = self._execute(f"DELETE FROM {table} WHERE {where}", values).rowcount
        totals = self.totals
        totals.bytes -= size
        totals.dropped += count
        if table == "dead":
            totals.dead -= count
        else:
            totals.waiting -= count
            totals.revision += count > 0
        return count

    # Reading

    def read(self, after: int, limit: int, skip: Collection[str | None], key: str | None, until: int | None) -> Page:
        """See `OutboxStore.read`."""
        if until is not None:
            return self._read_key(after, limit, key, until)
        end = self._end_of_scan(after) if skip else None
        where, values = "position > ?", [after]
        if end is not None:
            where, values = f"{where} AND position <= ?", [*values, end]
        names = [each for each in skip if each is not None]
        in_sql = names[:_PARAMETERS]
        if in_sql:
            where = f"{where} AND (key IS NULL OR key NOT IN ({', '.join('?' * len(in_sql))}))"
        if None in skip:
            where = f"{where} AND key IS NOT NULL"
        rows = self._execute(
            f"SELECT {ENTRY} FROM entries WHERE {where} ORDER BY position LIMIT ?", [*values, *in_sql, limit]
        ).fetchall()
        is_full = len(rows) == limit
        position = (rows[-1][0] if rows else after) if is_full else self.totals.position if end is None else end
        left_out = set(names[_PARAMETERS:])
        found = [StoredEntry(*_in_order(row)) for row in rows if row[2] not in left_out]
        return Page(found, position, self.totals.revision, is_full or end is not None)

    def _end_of_scan(self, after: int) -> int | None:
        """Return the position up to which a read that leaves out keys looks at rows; `None`: to the end."""
        row = self._execute(
            "SELECT position FROM entries WHERE position > ? ORDER BY position LIMIT 1 OFFSET ?", (after, _SCANNED)
        ).fetchone()
        return None if row is None else row[0]

    def _read_key(self, after: int, limit: int, key: str | None, until: int) -> Page:
        # SQLite uses the index of the keys only with `=`, which is never true for NULL.
        same, values = ("key = ?", [key]) if key is not None else ("key IS NULL", [])
        where = f"{same} AND position > ? AND position <= ?"
        rows = self._execute(
            f"SELECT {ENTRY} FROM entries WHERE {where} ORDER BY position LIMIT ?", [*values, after, until, limit]
        )
        found = [StoredEntry(*_in_order(row)) for row in rows]
        more = len(found) == limit
        return Page(found, found[-1].position if more else until, self.totals.revision, more)

    def entries(self, dead: bool | None, limit: int, after: int | None) -> list[StoredEntry]:
        """See `OutboxStore.entries`."""
        tables = [table for table, is_dead in (("entries", False), ("dead", True)) if dead in (None, is_dead)]
        parts = [f"SELECT {ENTRY}, {table == 'dead':d} FROM {table} WHERE position > ?" for table in tables]
        values = [-1 if after is None else after] * len(parts) + [limit]
        rows = self._execute(" UNION ALL ".join(parts) + " ORDER BY 1 LIMIT ?", values)
        return [attrs.evolve(StoredEntry(*_in_order(row)), dead=bool(row[-1])) for row in rows]

    def oldest(self) -> float | None:
        """Return when the oldest waiting entry was put; `None` if none waits."""
        row = self._execute("SELECT put_at FROM entries ORDER BY position LIMIT 1").fetchone()
        return None if row is None else row[0]

    # Feeds

    def load(self, name: str) -> Position | None:
        """See `CursorStore.load`."""
        row = self._execute("SELECT number, epoch FROM cursors WHERE name = ?", (name,)).fetchone()
        if row is None:
            return None
        number, epoch = row
        # The epoch may be a text or a number: the first character says which.
        return Position(number, epoch and (int(epoch[1:]) if epoch[0] == "i" else epoch[1:]))

    def save(self, name: str, position: Position) -> None:
        """See `CursorStore.save`."""
        epoch = position.epoch
        text = None if epoch is None else f"i{epoch}" if isinstance(epoch, int) else f"s{epoch}"
        self._execute("INSERT OR REPLACE INTO cursors VALUES (?, ?, ?)", (name, position.number, text))


def _same(is_same: bool, id_: str) -> bool:
    if not is_same:
        raise ValueError(f"the id {id_!r} was put with another method, key or arguments")
    return True


def _digest(entry: StoredEntry, body: bytes) -> bytes:
    text = repr((entry.method, entry.key)).encode()
    return hashlib.blake2b(text + b"\0" + body, digest_size=16).digest()


def _row(entry: StoredEntry) -> tuple[Any, ...]:
    return (
        entry.position, entry.id, entry.key, entry.method, entry.put_at, entry.expires, entry.remember, entry.attempts,
        entry.elapsed, entry.delay, entry.due, entry.error, entry.body,
    )  # fmt: skip


def _in_order(row: tuple[Any, ...]) -> tuple[Any, ...]:
    """Return the columns of `ENTRY` in the order of the fields of `StoredEntry`."""
    position, id_, key, method, put_at, expires, remember, attempts, elapsed, delay, due, error, body = row[:13]
    return id_, method, key, body, put_at, expires, remember, position, attempts, elapsed, delay, due, error


def _chosen(ids: Iterable[str]) -> list[tuple[str, list[str]]]:
    """Return conditions, each with its values, that choose the rows with these ids."""
    wanted = list(dict.fromkeys(ids))
    parts = [wanted[at : at + _PARAMETERS] for at in range(0, len(wanted), _PARAMETERS)]
    return [(f"id IN ({', '.join('?' * len(part))})", part) for part in parts]
