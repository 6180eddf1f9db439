"""Typed results: from what a protocol decoded to the type that the caller wants, by cattrs."""

from __future__ import annotations

import base64
import contextlib
import dataclasses
import operator
import re
import reprlib
import types
import typing
from collections.abc import Mapping, MutableMapping
from datetime import date, datetime, time, timedelta, timezone
from decimal import Decimal, InvalidOperation
from enum import Enum, Flag
from functools import lru_cache, reduce
from types import NoneType
from typing import Any, get_args, get_origin
from uuid import UUID

import attrs

from ..errors import LocalProtocolError, ResultTypeError
from ..options import DateTimeOffset
from .values import TICKS_PER_MICROSECOND, Naming, field_names

if typing.TYPE_CHECKING:
    from ..interfaces import Converter

_TIMEDELTA = re.compile(r"(-)?(?:(\d+)\.)?(\d{1,2}):(\d{2}):(\d{2})(?:\.(\d{1,7}))?")
_TICKS_PER_DAY = 24 * 3600 * 1_000_000 * TICKS_PER_MICROSECOND
_INT_TEXT = re.compile(r"[+-]?\d{1,40}")


@lru_cache(maxsize=16)
def default_converter(naming: Naming) -> Converter:
    """Return a cattrs converter that undoes what a protocol does to values.

    Args:
        naming: the protocol's.

    Raises:
        LocalProtocolError: cattrs is not installed.
    """
    try:
        # Optional: the extra `typed`.
        import cattrs
        import cattrs.gen
        from cattrs.strategies import configure_union_passthrough
    except ImportError:
        raise LocalProtocolError(
            "result_type and item_type need cattrs: pip install 'signalr-sdk[typed]', or pass converter="
        ) from None

    converter = cattrs.Converter(detailed_validation=False)
    for kind, hook in _HOOKS.items():
        converter.register_structure_hook(kind, hook)
    # Not like the others: that would resolve its annotations, which exist for type checkers only.
    converter.register_structure_hook_func(lambda cl: cl is DateTimeOffset, _to_offset)
    configure_union_passthrough(str | bool | int | float | bytes | None, converter)
    converter.register_structure_hook_factory(_is_plain_union, _plain_union_hook)
    converter.register_structure_hook_factory(_is_optional, lambda cl: _optional_hook(cl, converter))
    converter.register_structure_hook_factory(_has_fields, lambda cl: _class_hook(cl, converter, naming))
    converter.register_structure_hook_factory(_is_enum, lambda _cl: _to_enum)
    converter.register_structure_hook_factory(
        _has_int_keys, lambda cl: cattrs.gen.make_mapping_structure_fn(cl, converter, dict, key_type=_IntKey)
    )
    return converter


def _class_hook(cl: Any, converter: Any, naming: Naming) -> Any:
    from cattrs.gen import make_dict_structure_fn, override  # cattrs is there: its converter calls this

    names = field_names(get_origin(cl) or cl, naming) or ()
    renamed: dict[str, Any] = {name: override(rename=wire) for name, wire in names}
    structure_dict = make_dict_structure_fn(cl, converter, _cattrs_detailed_validation=False, **renamed)

    def hook(value: Any, cl: Any) -> Any:
        if not isinstance(value, Mapping):
            raise _unfit(value, cl)
        return structure_dict(value, cl)

    return hook


def structure(converter: Converter, value: Any, type_: Any) -> Any:
    """Return the value as the wanted type.

    Raises:
        ResultTypeError: it does not fit.
    """
    if type_ is Any:
        return value
    try:
        return converter.structure(value, type_)
    except Exception as error:
        name = getattr(type_, "__qualname__", None) if isinstance(type_, type) else None
        why = f"it has no {error}" if isinstance(error, KeyError) else f"{error!s:.200}"
        raise ResultTypeError(f"the value {reprlib.repr(value)} is no {name or type_}: {why}", value, type_) from error


# What loses digits as a float


def needs_exact(type_: Any) -> bool:
    """Return whether `Decimal` is anywhere in a type, so that numbers must be decoded without losing a digit."""
    try:
        return _needs_exact_cached(type_)
    except TypeError:
        # It has no hash, as an Annotated with a list in it.
        return _mentions_decimal(type_, {})


@lru_cache(maxsize=1024)
def _needs_exact_cached(type_: Any) -> bool:
    return _mentions_decimal(type_, {})


def _mentions_decimal(type_: Any, seen: dict[int, Any]) -> bool:
    """Look into a type; `seen` keeps what it has seen alive, so that no id is used again meanwhile."""
    if type_ is Decimal:
        return True
    if id(type_) in seen:
        return False
    seen[id(type_)] = type_
    parts = [*get_args(type_), getattr(type_, "__supertype__", None), getattr(type_, "__value__", None)]
    cls = get_origin(type_) or type_
    if isinstance(cls, type) and (_has_fields(cls) or typing.is_typeddict(cls)):
        parts += _hints(cls)
    return any(_mentions_decimal(part, seen) for part in parts if part is not None)


def _hints(cls: type) -> list[Any]:
    try:
        return list(typing.get_type_hints(cls).values())
    except (NameError, AttributeError, TypeError):
        # A name that is known to type checkers only: cattrs will say so when it comes to that.
        return []


# Hooks: strict where the official clients' languages are


def _unfit(value: Any, cl: Any) -> TypeError:
    return TypeError(f"{type(value).__name__} where {getattr(cl, '__name__', cl)} is wanted")


def _to_int(value: Any, cl: Any) -> int:
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    raise _unfit(value, cl)


def _to_bool(value: Any, cl: Any) -> bool:
    if isinstance(value, bool):
        return value
    raise _unfit(value, cl)


def _to_str(value: Any, cl: Any) -> str:
    if isinstance(value, str):
        return value
    raise _unfit(value, cl)


def _to_float(value: Any, cl: Any) -> float:
    if isinstance(value, int | float | Decimal) and not isinstance(value, bool):
        return float(value)
    raise _unfit(value, cl)


def _to_decimal(value: Any, cl: Any) -> Decimal:
    if isinstance(value, Decimal):
        return value
    if isinstance(value, str | int | float) and not isinstance(value, bool):
        with contextlib.suppress(InvalidOperation):
            return Decimal(str(value))
    raise _unfit(value, cl)


def _to_bytes(value: Any, cl: Any) -> bytes:
    if isinstance(value, bytes):
        return value
    if isinstance(value, str):
        return base64.b64decode(value, validate=True)
    raise _unfit(value, cl)


def _to_datetime(value: Any, cl: Any) -> datetime:
    match value:
        case datetime():
            return value
        case str():
            return datetime.fromisoformat(value)
        case [datetime() as clock, int() as minutes]:
            # A DateTimeOffset in MessagePack: the local clock as if it were UTC.
            return clock.replace(tzinfo=timezone(timedelta(minutes=minutes)))
        case _:
            raise _unfit(value, cl)


def _to_offset(value: Any, cl: Any) -> DateTimeOffset:
    return DateTimeOffset(_to_datetime(value, cl))


def _to_date(value: Any, cl: Any) -> date:
    match value:
        case datetime():
            return value.date()
        case str():
            return date.fromisoformat(value.partition("T")[0])
        case int() if not isinstance(value, bool):
            return date.fromordinal(value + 1)
        case _:
            raise _unfit(value, cl)


def _to_time(value: Any, cl: Any) -> time:
    match value:
        case str():
            return time.fromisoformat(value)
        case int() if not isinstance(value, bool) and 0 <= value < _TICKS_PER_DAY:
            return (datetime.min + timedelta(microseconds=value // TICKS_PER_MICROSECOND)).time()  # noqa: DTZ901  # a clock time
        case _:
            raise _unfit(value, cl)


def _to_timedelta(value: Any, cl: Any) -> timedelta:
    if isinstance(value, int) and not isinstance(value, bool):
        return timedelta(microseconds=value // TICKS_PER_MICROSECOND)
    found = _TIMEDELTA.fullmatch(value) if isinstance(value, str) else None
    if found is None:
        raise _unfit(value, cl)
    sign, days, hours, minutes, seconds, fraction = found.groups(default="0")
    ticks = int(fraction.ljust(7, "0"))
    size = timedelta(
        days=int(days),
        hours=int(hours),
        minutes=int(minutes),
        seconds=int(seconds),
        microseconds=ticks // TICKS_PER_MICROSECOND,
    )
    return -size if sign == "-" else size


def _to_uuid(value: Any, cl: Any) -> UUID:
    match value:
        case UUID():
            return value
        case str():
            return UUID(value)
        case _:
            raise _unfit(value, cl)


def _to_enum(value: Any, cl: Any) -> Enum:
    """By value, by name (in any case, with or without `_`), or by a number written as text; flags by several names."""
    members: type[Enum] = cl
    try:
        return members(value)
    except ValueError:
        if not isinstance(value, str):
            raise
        if _INT_TEXT.fullmatch(value):
            return members(int(value))
        names = {_folded(name): member for name, member in members.__members__.items()}
        wanted = value.split(",") if issubclass(members, Flag) else [value]
        if not all(_folded(name) in names for name in wanted):
            raise
        return reduce(operator.or_, (names[_folded(name)] for name in wanted))


def _folded(name: str) -> str:
    return name.strip().replace("_", "").lower()


_PLAIN = frozenset({str, bool, int, float, bytes, NoneType})


class _IntKey(int):
    """An int key of a dict, which is text in JSON."""


def _to_int_key(value: Any, cl: Any) -> int:
    if isinstance(value, str) and _INT_TEXT.fullmatch(value):
        return int(value)
    return _to_int(value, cl)


_HOOKS: dict[type, Any] = {
    int: _to_int,
    bool: _to_bool,
    str: _to_str,
    float: _to_float,
    Decimal: _to_decimal,
    bytes: _to_bytes,
    datetime: _to_datetime,
    date: _to_date,
    time: _to_time,
    timedelta: _to_timedelta,
    UUID: _to_uuid,
    _IntKey: _to_int_key,
}


def _has_fields(cl: Any) -> bool:
    cls = get_origin(cl) or cl
    if cls is DateTimeOffset:
        return False
    return isinstance(cls, type) and (attrs.has(cls) or dataclasses.is_dataclass(cls))


def _is_union(cl: Any) -> bool:
    return get_origin(cl) in (typing.Union, types.UnionType)


def _is_optional(cl: Any) -> bool:
    return _is_union(cl) and len(get_args(cl)) == 2 and NoneType in get_args(cl)


def _optional_hook(cl: Any, converter: Any) -> Any:
    (wanted,) = (arg for arg in get_args(cl) if arg is not NoneType)
    return lambda value, _cl: None if value is None else converter.structure(value, wanted)


def _is_plain_union(cl: Any) -> bool:
    return _is_union(cl) and _PLAIN.issuperset(get_args(cl))


def _plain_union_hook(cl: Any) -> Any:
    wanted = frozenset(get_args(cl))

    def hook(value: Any, cl: Any) -> Any:
        if type(value) in wanted:
            return value
        if float in wanted and isinstance(value, int | Decimal):
            return _to_float(value, float)
        if bytes in wanted and isinstance(value, str):
            return _to_bytes(value, bytes)
        raise _unfit(value, cl)

    return hook


def _is_enum(cl: Any) -> bool:
    return isinstance(cl, type) and issubclass(cl, Enum)


def _has_int_keys(cl: Any) -> bool:
    return get_origin(cl) in (dict, Mapping, MutableMapping) and get_args(cl)[:1] == (int,)
