"""Values as users have them: what both protocols need to take them apart."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable, Iterator
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from enum import Enum
from functools import lru_cache
from typing import Any, Literal, TypeAlias

import attrs

from ..errors import LocalProtocolError

Naming: TypeAlias = Callable[[str], str]
NamingChoice: TypeAlias = Literal["camel", "pascal"] | Naming | None

_TICKS_PER_MICROSECOND = 10
_MICROSECOND = timedelta(microseconds=1)
_WORD = re.compile(r"_+([a-zA-Z0-9])")


def camel(name: str) -> str:
    """Return `first_name` as `firstName`."""
    name = _WORD.sub(lambda match: match[1].upper(), name.strip("_"))
    return name[:1].lower() + name[1:]


def pascal(name: str) -> str:
    """Return `first_name` as `FirstName`."""
    name = camel(name)
    return name[:1].upper() + name[1:]


def unchanged(name: str) -> str:
    """Return `first_name` as it is."""
    return name


def resolve_naming(choice: NamingChoice) -> Naming:
    """Return the function for a `naming=` argument.

    Raises:
        ValueError: there is no such naming.
    """
    if choice is None:
        return unchanged
    if callable(choice):
        return choice
    named = {"camel": camel, "pascal": pascal}.get(choice)
    if named is None:
        raise ValueError(f"naming must be 'camel', 'pascal', None or a function, not {choice!r}")
    return named


@lru_cache(maxsize=1024)
def field_names(cls: type, naming: Naming) -> tuple[tuple[str, str], ...] | None:
    """Return attribute and wire name of each field of an attrs class or dataclass; `None` for other classes."""
    if attrs.has(cls):
        return tuple((field.name, naming(field.name.strip("_"))) for field in attrs.fields(cls))
    if dataclasses.is_dataclass(cls):
        return tuple((field.name, naming(field.name)) for field in dataclasses.fields(cls))
    return None


def take_apart(value: object, naming: Naming) -> dict[str, Any] | None:
    """Return an instance of an attrs class or dataclass as a dict by wire names; `None` for other values."""
    names = field_names(type(value), naming)
    return None if names is None else {wire: getattr(value, name) for name, wire in names}


def timedelta_text(value: timedelta) -> str:
    """Return it as .NET writes a `TimeSpan`: `[-][d.]hh:mm:ss[.fffffff]`."""
    sign = "-" if value < timedelta(0) else ""
    value = abs(value)
    hours, seconds = divmod(value.seconds, 3600)
    minutes, seconds = divmod(seconds, 60)
    days = f"{value.days}." if value.days else ""
    fraction = f".{value.microseconds * _TICKS_PER_MICROSECOND:07}" if value.microseconds else ""
    return f"{sign}{days}{hours:02}:{minutes:02}:{seconds:02}{fraction}"


def timedelta_ticks(value: timedelta) -> int:
    """Return it in units of 100 ns."""
    return value // _MICROSECOND * _TICKS_PER_MICROSECOND


def time_ticks(value: time) -> int:
    """Return the units of 100 ns since midnight."""
    seconds = (value.hour * 60 + value.minute) * 60 + value.second
    return (seconds * 1_000_000 + value.microsecond) * _TICKS_PER_MICROSECOND


def date_days(value: date) -> int:
    """Return the days since 0001-01-01."""
    return value.toordinal() - 1


def decimal_text(value: Decimal) -> str:
    """Return all digits, without an exponent where that stays short.

    Raises:
        LocalProtocolError: it is no number.
    """
    if not value.is_finite():
        raise LocalProtocolError(f"{value} is no number that can be sent")
    exponent = value.as_tuple().exponent
    return f"{value:f}" if isinstance(exponent, int) and abs(exponent) < 40 else str(value)  # noqa: PLR2004


def is_local(value: datetime | time) -> bool:
    """Return whether it says nothing of its time zone."""
    return value.utcoffset() is None


def children(value: object, naming: Naming) -> Iterator[tuple[str, Any]] | None:
    """Return path and value of each part of a value; `None` if it has no parts."""
    if isinstance(value, dict):
        return ((f"[{key!r:.40}]", part) for key, part in value.items())
    if isinstance(value, list | tuple):
        return ((f"[{index}]", part) for index, part in enumerate(value))
    names = field_names(type(value), naming) if not isinstance(value, type) else None
    if names is None:
        return None
    return ((f".{name}", getattr(value, name)) for name, _wire in names)


def enum_or_plain(value: object) -> object:
    """Return an enum's value, and other values as they are."""
    return value.value if isinstance(value, Enum) else value
