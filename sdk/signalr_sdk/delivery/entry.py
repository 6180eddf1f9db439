"""What lies in an outbox: entries, the bounds of an outbox, and its figures."""

from __future__ import annotations

import math
from datetime import UTC, datetime
from typing import Any, Final, final

import attrs

from ..errors import LocalProtocolError

# The longest id that a user may give, in characters.
LONGEST_ID: Final = 200
# Entries that were put before this moment (2024-01-01 UTC, in seconds since 1970) were put on a device whose clock was
# not set: such entries never expire.
CLOCK_IS_SET: Final = 1_704_067_200.0


@final
class Id:
    """The type of `ID`, which stands for the id of an entry among its arguments."""

    def __repr__(self) -> str:
        return "ID"

    def __reduce__(self) -> str:
        return "ID"


ID: Final = Id()
"""Stands for the entry's id among the arguments of `Outbox.put`, at any depth."""


def checked_id(value: object) -> str:
    """Return an id that a user has given.

    Raises:
        TypeError: the id is no text.
        ValueError: the id is empty, longer than 200 characters, or no Unicode text.
    """
    if not isinstance(value, str):
        raise TypeError(f"id must be a str, not {type(value).__name__}")
    if not 0 < len(value) <= LONGEST_ID:
        raise ValueError(f"id must have 1 to {LONGEST_ID} characters, not {len(value)}")
    return checked_text(value, "id")


def checked_text(value: str, name: str) -> str:
    """Return a text that can be encoded as UTF-8. `name` names the text in the error.

    Raises:
        LocalProtocolError: the text has a lone surrogate.
    """
    try:
        value.encode()
    except UnicodeEncodeError:
        raise LocalProtocolError(f"{name} has a lone surrogate, so it is no Unicode text") from None
    return str(value)


@attrs.frozen
class Entry:
    """One call that lies in an outbox.

    Attributes:
        id: the id of the entry. Each delivery of the entry has the same id.
        method: the hub method to call.
        args: the arguments, with the id in place of `ID`. Instances of users' classes come back as objects with the
            same fields, and members of enums as members with the same values.
        key: entries with the same key are called one after another; `None` is a key too.
        put_at: when the entry was put, by the clock of the process that put it.
        attempts: number of failed attempts that count.
        error: text of the last failure; `None` if nothing has failed.
        dead: whether the outbox has given the entry up.
    """

    id: str
    method: str
    args: tuple[Any, ...]
    key: str | None
    put_at: datetime
    attempts: int = 0
    error: str | None = None
    dead: bool = False
    # The place in the store, for `entries(after=)`.
    position: int = attrs.field(default=0, repr=False, eq=False)


@attrs.frozen
class StoredEntry:
    """An entry as an `OutboxStore` keeps it.

    Attributes:
        id: the id.
        method: the hub method.
        key: the key, or `None`.
        body: the encoded arguments. Stores do not look into them.
        put_at: when the entry was put, in seconds since 1970.
        expires: seconds after `put_at` after which the entry is dropped instead of delivered; `None` for never.
        remember: seconds for which the id is remembered after the delivery; `None` if the user has not given the id.
        position: the place of the entry. The store sets it, in the order of the commits.
        attempts: number of failed attempts that count.
        elapsed: seconds that had gone by between the first of these failures and the last.
        delay: seconds from the last failure to the next attempt.
        due: when the next attempt is due, in seconds since 1970.
        error: text of the last failure, or `None`.
        dead: whether the entry is given up.
    """

    id: str
    method: str
    key: str | None
    body: bytes
    put_at: float
    expires: float | None = None
    remember: float | None = None
    position: int = 0
    attempts: int = 0
    elapsed: float = 0.0
    delay: float = 0.0
    due: float = 0.0
    error: str | None = None
    dead: bool = False

    @property
    def size(self) -> int:
        """The bytes of the entry that count for `OutboxLimits`."""
        return len(self.body) + len(self.method.encode()) + len((self.key or "").encode())

    def has_expired(self, now: float) -> bool:
        """Return whether the entry is too old to be delivered. `now` is in seconds since 1970."""
        if self.expires is None or self.put_at < CLOCK_IS_SET:
            return False
        return now - self.put_at > self.expires

    def wait(self, now: float) -> float:
        """Return the seconds until the next attempt. A clock that was changed makes the wait never longer than planned.

        Args:
            now: seconds since 1970.
        """
        return min(max(self.due - now, 0.0), self.delay)


def moment(seconds: float) -> datetime:
    """Return an aware datetime for a number of seconds since 1970."""
    return datetime.fromtimestamp(seconds, UTC)


def _count(_instance: object, attribute: attrs.Attribute[Any], value: object) -> None:
    if not isinstance(value, int) or isinstance(value, bool) or value < 1:
        raise ValueError(f"{attribute.name} must be a positive integer, not {value!r}")


def _seconds(_instance: object, attribute: attrs.Attribute[Any], value: object) -> None:
    if value is None and attribute.name == "age":
        return
    if not isinstance(value, int | float) or isinstance(value, bool) or not 0 <= value < math.inf:
        raise ValueError(f"{attribute.name} must be a number of seconds from 0 on, not {value!r}")


@attrs.frozen(kw_only=True)
class OutboxLimits:
    """The bounds of an outbox.

    Attributes:
        entries: the most entries, dead ones included.
        bytes: the most bytes of all entries, dead ones included.
        entry_bytes: the most bytes of one entry, as the outbox keeps it. ASP.NET Core takes messages of 32 KiB.
        batch_bytes: the most bytes of all entries in one call of a method in `batch`.
        age: seconds after which entries are dropped instead of delivered; `None` for never.
        remember: seconds for which the ids that users gave are remembered after the delivery.

    Example:
        >>> OutboxLimits(entries=1000).remember
        86400.0
    """

    entries: int = attrs.field(default=100_000, validator=_count)
    bytes: int = attrs.field(default=64 * 1024 * 1024, validator=_count)
    entry_bytes: int = attrs.field(default=30_000, validator=_count)
    batch_bytes: int = attrs.field(default=16_000, validator=_count)
    age: float | None = attrs.field(default=None, validator=_seconds)
    remember: float = attrs.field(default=86_400.0, validator=_seconds)


@attrs.frozen
class OutboxStats:
    """The figures of an outbox. The counters last as long as the file.

    Attributes:
        waiting: number of entries that wait to be delivered.
        dead: number of entries that were given up.
        bytes: bytes of all these entries.
        oldest: age of the oldest waiting entry in seconds; `None` if none waits.
        put: how many entries were put.
        delivered: how many entries were delivered.
        died: how many times an entry was given up.
        dropped: how many entries were dropped, by `drop()` or to make room.
        expired: how many entries were too old to be delivered.
        delivering: whether a process delivers now.
    """

    waiting: int
    dead: int
    bytes: int
    oldest: float | None
    put: int
    delivered: int
    died: int
    dropped: int
    expired: int
    delivering: bool


@attrs.frozen
class Position:
    """A place in a series of numbered events.

    Attributes:
        number: the number of the event.
        epoch: which series of numbers this is; `None` if the hub has only one.
    """

    number: int
    epoch: str | int | None = None
