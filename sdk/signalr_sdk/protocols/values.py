"""Values of users in JSON and MessagePack: names of attributes, parts of values, times, dates and decimals."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable, Iterable, Iterator
from datetime import date, datetime, time, timedelta, timezone
from enum import Enum
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Final, Literal, TypeAlias

import attrs

if TYPE_CHECKING:
    from decimal import Decimal

Naming: TypeAlias = Callable[[str], str]
NamingChoice: TypeAlias = Literal["camel", "pascal"] | Naming | None

TICKS_PER_MICROSECOND: Final = 10
MINUTE: Final = timedelta(minutes=1)

# The errors that may be raised while a value is encoded: by the codecs, and by properties of users' classes.
ENCODING_ERRORS: Final = (
    TypeError,
    ValueError,
    ArithmeticError,
    LookupError,
    AttributeError,
    BufferError,
    RecursionError,
)

# .NET reads a decimal from text only without an exponent, so exponents up to this size are written out as digits.
_LONGEST_EXPONENT = 40
_MICROSECOND = timedelta(microseconds=1)
_WORD = re.compile(r"_+([a-zA-Z0-9])")
_CAPITALS = re.compile(r"[A-Z]+$|[A-Z]+(?=[A-Z])|[A-Z]")


def camel(name: str) -> str:
    """Return `first_name` as `firstName`, and `URLPath` as `urlPath`, as System.Text.Json does."""
    name = _WORD.sub(lambda match: match[1].upper(), name.strip("_"))
    capitals = _CAPITALS.match(name)
    return name if capitals is None else capitals[0].lower() + name[capitals.end() :]


def pascal(name: str) -> str:
    """Return `first_name` as `FirstName`."""
    name = _WORD.sub(lambda match: match[1].upper(), name.strip("_"))
    return name[:1].upper() + name[1:]


def unchanged(name: str) -> str:
    """Return `first_name` unchanged, for `naming=None`."""
    return name


def resolve_naming(choice: NamingChoice) -> Naming:
    """Return the function for the argument `naming=`, which is `"camel"`, `"pascal"`, `None` or already a function.

    Raises:
        ValueError: the argument is none of these.
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
def field_names(cls: Any, naming: Naming) -> tuple[tuple[str, str], ...] | None:
    """Return pairs (attribute name, wire name) for the fields of an attrs class or dataclass; `None` for other classes.

    The wire name is the name in JSON or MessagePack.
    """
    if attrs.has(cls):
        return tuple((field.name, naming(field.name)) for field in attrs.fields(cls))
    if dataclasses.is_dataclass(cls):
        return tuple((field.name, naming(field.name)) for field in dataclasses.fields(cls))
    return None


def _fields_of(value: object, naming: Naming) -> tuple[tuple[str, str], ...] | None:
    cls: Any = type(value)  # mypy does not see that a class is hashable
    return field_names(cls, naming)


def to_dict(value: object, naming: Naming) -> dict[str, Any]:
    """Return an instance of an attrs class or dataclass as a dict. The keys are the names to send.

    Raises:
        TypeError: the value is of another class, whose instances cannot be sent.
    """
    names = _fields_of(value, naming)
    if names is None:
        raise TypeError(
            f"a value of type {type(value).__qualname__} cannot be sent (make it a plain value, or pass converter=)"
        )
    return {wire: getattr(value, name) for name, wire in names}


def parts(value: object, naming: Naming) -> Iterable[Any]:
    """Return the values of a dict, the items of a list or tuple, or the attributes of an instance."""
    if isinstance(value, dict):
        return value.values()
    if isinstance(value, list | tuple):
        return value
    return [getattr(value, name) for name, _wire in _fields_of(value, naming) or ()]


def named_parts(value: object, naming: Naming) -> Iterator[tuple[str, Any]] | None:
    """Return pairs `(step, part)` for the parts of a value; `None` for a value without parts.

    The step leads to the part in the path that an error shows: `[0]`, `['key']` or `.name`.
    """
    if isinstance(value, dict):
        return ((f"[{key!r:.40}]", part) for key, part in value.items())
    if isinstance(value, list | tuple):
        return ((f"[{index}]", part) for index, part in enumerate(value))
    names = _fields_of(value, naming)
    if names is None:
        return None
    return ((f".{name}", getattr(value, name)) for name, _wire in names)


def reason(error: Exception) -> str:
    """Return a text that tells the user why a value could not be encoded. `error` is the error of the codec."""
    if isinstance(error, UnicodeEncodeError):
        return "a string with a lone surrogate cannot be sent, since it is no Unicode text"
    if isinstance(error, RecursionError):
        return "the value is nested too deeply to be sent"
    return str(error)


def timedelta_text(value: timedelta) -> str:
    """Return the text of a .NET `TimeSpan`: `[-][d.]hh:mm:ss[.fffffff]`."""
    sign = "-" if value < timedelta(0) else ""
    value = abs(value)
    hours, seconds = divmod(value.seconds, 3600)
    minutes, seconds = divmod(seconds, 60)
    days = f"{value.days}." if value.days else ""
    fraction = f".{value.microseconds * TICKS_PER_MICROSECOND:07}" if value.microseconds else ""
    return f"{sign}{days}{hours:02}:{minutes:02}:{seconds:02}{fraction}"


def timedelta_ticks(value: timedelta) -> int:
    """Return the duration in units of 100 ns, the ticks of .NET."""
    return value // _MICROSECOND * TICKS_PER_MICROSECOND


def time_text(value: time) -> str:
    """Return the text of a .NET `TimeOnly`, `hh:mm:ss[.ffffff]`."""
    return _without_zone(value).isoformat()


def time_ticks(value: time) -> int:
    """Return the time since midnight in units of 100 ns, the ticks of .NET."""
    value = _without_zone(value)
    seconds = (value.hour * 60 + value.minute) * 60 + value.second
    return (seconds * 1_000_000 + value.microsecond) * TICKS_PER_MICROSECOND


def _without_zone(value: time) -> time:
    if value.tzinfo is not None:
        raise TypeError("a time with a time zone cannot be sent, since .NET's TimeOnly has none")
    return value


def datetime_text(value: datetime) -> str:
    """Return the ISO 8601 text, with `Z` for UTC: .NET turns any offset, also +00:00, into the server's local time.

    The offset is rounded to whole minutes, and the moment stays the same: .NET refuses offsets with seconds, which time
    zones of the 19th century have.
    """
    text = whole_minutes(value).isoformat()
    return text.removesuffix("+00:00") + "Z" if text.endswith("+00:00") else text


def whole_minutes(value: datetime) -> datetime:
    """Return the same moment with an offset of whole minutes: .NET refuses other offsets."""
    offset = value.utcoffset()
    if offset is None or not offset % MINUTE:
        return value
    return value.astimezone(timezone(round(offset / MINUTE) * MINUTE))


def date_days(value: date) -> int:
    """Return the days since 0001-01-01, as MessagePack on .NET encodes a `DateOnly`."""
    return value.toordinal() - 1


def decimal_text(value: Decimal) -> str:
    """Return all digits of a decimal as text. An exponent from -40 to 40 is written out as digits.

    Raises:
        TypeError: the value is infinite or a NaN.
    """
    exponent = value.as_tuple().exponent
    if not isinstance(exponent, int):
        raise TypeError(f"{value} is no number that can be sent")
    return f"{value:f}" if abs(exponent) <= _LONGEST_EXPONENT else str(value)


def enum_or_plain(value: object) -> object:
    """Return the value of an enum's member, and any other value as it is."""
    return value.value if isinstance(value, Enum) else value
