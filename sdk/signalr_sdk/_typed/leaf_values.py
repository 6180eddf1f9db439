"""Converts single decoded values for typed results: each function returns the type that its name says.

A function reads the forms that both protocols use for its type, and raises an exception for every other value. As on
the server, a text is not converted to a number, and a number is not converted to a text.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import date, datetime, time, timedelta, timezone
from decimal import Decimal, InvalidOperation
from enum import Enum, Flag
from functools import lru_cache
from typing import Any, Final, TypeGuard
from uuid import UUID

from ..options import DateTimeOffset
from ..protocols.values import TICKS_PER_MICROSECOND

_TIMEDELTA = re.compile(r"(-)?(?:([0-9]+)\.)?([0-9]{1,2}):([0-9]{2}):([0-9]{2})(?:\.([0-9]{1,7}))?")
_INT_TEXT = re.compile(r"[+-]?[0-9]{1,40}")
_FLOAT_TEXT = re.compile(r"[+-]?[0-9]{1,400}(?:\.[0-9]{1,400})?(?:[Ee][+-]?[0-9]{1,4})?")
_TICK_DIGITS = 7
_TICKS_PER_DAY = 24 * 3600 * 10**_TICK_DIGITS


def unfit(value: Any, wanted: Any) -> TypeError:
    """Return the TypeError for a decoded value that does not fit the wanted type."""
    return TypeError(f"{type(value).__name__} where {getattr(wanted, '__name__', wanted)} is wanted")


def _is_int(value: Any) -> TypeGuard[int]:
    return isinstance(value, int) and not isinstance(value, bool)


def _to_none(value: Any) -> None:
    if value is not None:
        raise unfit(value, None)


def _unchanged(kind: type) -> Callable[[Any], Any]:
    def check(value: Any) -> Any:
        if isinstance(value, kind):
            return value
        raise unfit(value, kind)

    return check


def _to_int(value: Any) -> int:
    if _is_int(value):
        return value
    raise unfit(value, int)


def _to_float(value: Any) -> float:
    if isinstance(value, float):
        return value
    if _is_int(value) or isinstance(value, Decimal):
        return float(value)
    raise unfit(value, float)


def _to_bytes(value: Any) -> bytes:
    if isinstance(value, bytes):
        return value
    if isinstance(value, str):
        return base64.b64decode(value, validate=True)
    raise unfit(value, bytes)


def _to_decimal(value: Any) -> Decimal:
    if isinstance(value, Decimal):
        return value
    if isinstance(value, str | float) or _is_int(value):
        try:
            return Decimal(str(value))
        except InvalidOperation:
            raise ValueError(f"{value!r:.100} is no number") from None
    raise unfit(value, Decimal)


def _to_uuid(value: Any) -> UUID:
    if isinstance(value, str):
        return UUID(value)
    raise unfit(value, UUID)


def _to_datetime(value: Any) -> datetime:
    match value:
        case datetime():
            return value
        case str():
            return datetime.fromisoformat(value)
        case [datetime() as clock, int() as minutes]:
            # In MessagePack, a DateTimeOffset is a list `[clock, minutes]`: the local time as if it were UTC, and the
            # offset from UTC.
            return clock.replace(tzinfo=timezone(timedelta(minutes=minutes)))
        case _:
            raise unfit(value, datetime)


def _to_offset(value: Any) -> DateTimeOffset:
    return DateTimeOffset(_to_datetime(value))


def _to_date(value: Any) -> date:
    if isinstance(value, str):
        return date.fromisoformat(value.partition("T")[0])
    if _is_int(value):
        return date.fromordinal(value + 1)
    return _to_datetime(value).date()


def _to_time(value: Any) -> time:
    if isinstance(value, str):
        return time.fromisoformat(value)
    if _is_int(value) and 0 <= value < _TICKS_PER_DAY:
        return (datetime.min + _to_timedelta(value)).time()  # noqa: DTZ901  # only the time of day is used
    raise unfit(value, time)


def _to_timedelta(value: Any) -> timedelta:
    if _is_int(value):
        size = timedelta(microseconds=abs(value) // TICKS_PER_MICROSECOND)
        return size if value >= 0 else -size
    found = _TIMEDELTA.fullmatch(value) if isinstance(value, str) else None
    if found is None:
        raise unfit(value, timedelta)
    sign, days, hours, minutes, seconds, fraction = found.groups(default="0")
    ticks = int(fraction.ljust(_TICK_DIGITS, "0"))
    size = timedelta(
        days=int(days),
        hours=int(hours),
        minutes=int(minutes),
        seconds=int(seconds),
        microseconds=ticks // TICKS_PER_MICROSECOND,
    )
    return -size if sign == "-" else size


def to_enum(value: Any, members: type[Enum]) -> Enum:
    """Return the enum member for a decoded value, in any form that .NET writes.

    The decoded value may be the member's value, its name (case and `_` do not matter), or its number as text; for a
    `Flag` also several names.
    """
    if isinstance(value, bool):
        # Look for a member whose value is this bool: `members(True)` would return the member with the value 1, since
        # `True` equals 1.
        for member in members:
            if member.value is value:
                return member
        raise unfit(value, members)
    try:
        return members(value)
    except ValueError:
        if not isinstance(value, str):
            raise
    found = _members_by_name(members).get(_folded(value))
    if found is not None:
        return found
    if _INT_TEXT.fullmatch(value):
        return members(int(value))
    if issubclass(members, Flag):
        # .NET writes several flags as "Read, Write", and no flag as "None".
        return _all_flags(members, _folded(value).split(","))
    raise ValueError(f"{value!r:.100} is no {members.__qualname__}")


def _all_flags(members: type[Flag], names: list[str]) -> Flag:
    known = _members_by_name(members)
    flags = members(0)
    if names == ["none"]:
        return flags
    for name in names:
        flag = known[name.strip()]
        assert isinstance(flag, Flag)
        flags |= flag
    return flags


@lru_cache(maxsize=256)
def _members_by_name(members: Any) -> dict[str, Enum]:
    return {_folded(name): member for name, member in members.__members__.items()}


def _folded(name: str) -> str:
    return name.replace("_", "").lower()


# Keys of dicts: in JSON every key is a text, so these functions also accept the text of a number or of a bool.


def _to_int_key(value: Any) -> int:
    return int(value) if isinstance(value, str) and _INT_TEXT.fullmatch(value) else _to_int(value)


def _to_float_key(value: Any) -> float:
    return float(value) if isinstance(value, str) and _FLOAT_TEXT.fullmatch(value) else _to_float(value)


def _to_bool_key(value: Any) -> bool:
    if isinstance(value, bool):
        return value
    if isinstance(value, str) and value.lower() in ("true", "false"):
        return value.lower() == "true"
    raise unfit(value, bool)


KEY_HOOKS: Final[dict[type, Callable[[Any], Any]]] = {bool: _to_bool_key, int: _to_int_key, float: _to_float_key}


def key_meanings(key: Any) -> Iterator[Any]:
    """Yield the possible meanings of a decoded dict's key: the key itself, then its text as bool, int and float."""
    yield key
    if isinstance(key, str):
        for hook in KEY_HOOKS.values():
            with suppress(TypeError):
                yield hook(key)


HOOKS: Final[dict[type, Callable[[Any], Any]]] = {
    type(None): _to_none,
    bool: _unchanged(bool),
    int: _to_int,
    float: _to_float,
    str: _unchanged(str),
    bytes: _to_bytes,
    Decimal: _to_decimal,
    UUID: _to_uuid,
    datetime: _to_datetime,
    DateTimeOffset: _to_offset,
    date: _to_date,
    time: _to_time,
    timedelta: _to_timedelta,
}
