"""How an outbox keeps arguments: as bytes that do not depend on the hub protocol which delivers them later.

The format is MessagePack with extensions of its own. JSON and MessagePack write a date, an enum or a `Decimal` in
different ways, so the kept value must still be a date, an enum or a `Decimal` when it is delivered.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Callable, Iterable
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from enum import Enum, IntEnum
from keyword import iskeyword
from typing import Any, Final
from uuid import UUID

import attrs
import msgpack

from ..errors import LocalProtocolError
from ..options import DateTimeOffset
from ..protocols import values
from .entry import Id

_NATIVE_INTEGERS: Final = range(-(2**63), 2**64)
_FIELD = re.compile(r"[^\W\d]\w*")


class _Kind(IntEnum):
    """The extension codes. They are in files of users: never change the meaning of a code."""

    ID = 1
    INTEGER = 2
    DATETIME = 3
    DATE = 4
    TIME = 5
    TIMEDELTA = 6
    UUID = 7
    DECIMAL = 8
    ENUM = 9
    DATE_TIME_OFFSET = 10
    INSTANCE = 11


class EnumValue(Enum):
    """A member of an enum whose class is not known here. Hub protocols send the value as for any member of an enum."""

    # An enum without members is called like a function that makes a new enum class.
    NOTHING = None

    @classmethod
    def _missing_(cls, value: object) -> EnumValue:
        member = object.__new__(cls)
        member._value_ = value  # type: ignore[assignment]
        member._name_ = "UNKNOWN"
        return member

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Enum) and self.value == other.value

    def __hash__(self) -> int:
        return hash(self.value)


@functools.lru_cache(maxsize=256)
def _class_of(name: str, fields: tuple[str, ...]) -> type:
    return attrs.make_class(name, list(fields), frozen=True)


# Encoding


def encode_arguments(args: tuple[Any, ...]) -> bytes:
    """Return the arguments of a call as an outbox keeps them.

    Raises:
        LocalProtocolError: a value cannot be kept. The error names the path of the value.
    """
    try:
        return _pack(list(args))
    except values.ENCODING_ERRORS as error:
        raise _explained(args, error) from None


def _pack(value: object) -> bytes:
    data: bytes = msgpack.packb(value, default=_extension, strict_types=True)
    return data


def _text(value: str) -> bytes:
    return value.encode()


def _extension(value: object) -> object:
    """Return what msgpack packs in place of a value whose type msgpack does not know."""
    encode = _ENCODED.get(type(value))
    if encode is not None:
        return encode(value)
    if isinstance(value, Enum):
        return msgpack.ExtType(_Kind.ENUM, _pack(value.value))
    for base, encode in _ENCODED.items():
        if isinstance(value, base):
            return encode(value)
    return _instance(value)


def _instance(value: object) -> object:
    cls: Any = type(value)
    names = values.field_names(cls, values.unchanged)
    if names is None or hasattr(cls, "__aiter__"):  # what has `__aiter__` is a stream for a hub
        raise TypeError(f"a value of type {cls.__qualname__} cannot be kept (make it a plain value, or a dataclass)")
    fields = [name for name, _wire in names]
    return msgpack.ExtType(_Kind.INSTANCE, _pack([cls.__name__, fields, [getattr(value, each) for each in fields]]))


def _integer(value: int) -> object:
    # msgpack calls this for integers over 64 bits too.
    return int(value) if value in _NATIVE_INTEGERS else msgpack.ExtType(_Kind.INTEGER, _text(str(int(value))))


def _time(value: time) -> object:
    return msgpack.ExtType(_Kind.TIME, _text(f"{values.time_text(value)}"))


def _timedelta(value: timedelta) -> object:
    return msgpack.ExtType(_Kind.TIMEDELTA, msgpack.packb([value.days, value.seconds, value.microseconds]))


def _datetime(value: datetime) -> object:
    return msgpack.ExtType(_Kind.DATETIME, _text(value.isoformat()))


# For each type, the function that makes the kept value. For an instance of a subclass, the first base class counts:
# datetime stands before date, which is its base class.
_ENCODED: Final[dict[type, Callable[[Any], object]]] = {
    Id: lambda _value: msgpack.ExtType(_Kind.ID, b""),
    tuple: list,
    datetime: _datetime,
    date: lambda value: msgpack.ExtType(_Kind.DATE, _text(value.isoformat())),
    time: _time,
    timedelta: _timedelta,
    UUID: lambda value: msgpack.ExtType(_Kind.UUID, value.bytes),
    Decimal: lambda value: msgpack.ExtType(_Kind.DECIMAL, _text(str(value))),
    DateTimeOffset: lambda value: msgpack.ExtType(_Kind.DATE_TIME_OFFSET, _text(value.value.isoformat())),
    int: _integer,
    float: float,
    str: str.__str__,
    bytes: bytes,
    bytearray: bytes,
    list: list,
    dict: dict,
}


def _explained(args: tuple[Any, ...], error: Exception) -> LocalProtocolError:
    path, found = _first_wrong(((f"[{index}]", value) for index, value in enumerate(args)), "arguments", ())
    return LocalProtocolError(f"{path or 'arguments'}: {values.reason(found or error)}")


def _first_wrong(parts: Iterable[tuple[str, Any]], path: str, around: tuple[int, ...]) -> tuple[str, Exception | None]:
    """Return path and error of the first part that cannot be kept; `("", None)` if each part can be kept alone."""
    for step, part in parts:
        here = path + step
        if id(part) in around:
            return here, ValueError("the value contains itself")
        try:
            _ = _pack(part)
        except RecursionError as error:
            return here, error
        except values.ENCODING_ERRORS as error:
            inner = None if isinstance(part, Enum) else values.named_parts(part, values.unchanged)
            deeper = _first_wrong(inner, here, (*around, id(part))) if inner is not None else ("", None)
            return deeper if deeper[1] is not None else (here, error)
    return "", None


# Decoding


def decode_arguments(body: bytes, entry_id: str) -> list[Any]:
    """Return the arguments of an entry. `entry_id` takes the place of `ID`.

    Raises:
        ValueError: the bytes were not written by `encode_arguments`.
    """
    arguments = _unpack(body, entry_id)
    if not isinstance(arguments, list | tuple):
        raise ValueError("the kept arguments are no list")  # noqa: TRY004 - wrong bytes, not a wrong argument
    return list(arguments)


def _unpack(data: bytes, entry_id: str) -> Any:
    unpack = functools.partial(
        msgpack.unpackb, data, strict_map_key=False, ext_hook=functools.partial(_decoded, entry_id)
    )
    try:
        return unpack()
    except TypeError:  # a key of a dict was a tuple
        return unpack(use_list=False)


def _decoded(entry_id: str, code: int, data: bytes) -> Any:  # noqa: PLR0911 - one return for each kind
    match code:
        case _Kind.ID:
            return entry_id
        case _Kind.ENUM:
            return EnumValue(_unpack(data, entry_id))
        case _Kind.UUID:
            return UUID(bytes=data)
        case _Kind.TIMEDELTA:
            days, seconds, microseconds = msgpack.unpackb(data)
            return timedelta(days, seconds, microseconds)
        case _Kind.INSTANCE:
            name, fields, parts = _unpack(data, entry_id)
            return _made(name, fields, parts)
        case _Kind.DATE_TIME_OFFSET:
            return DateTimeOffset(datetime.fromisoformat(data.decode()))
        case _:
            return _of_text(code, data)


def _of_text(code: int, data: bytes) -> object:
    of_text = _OF_TEXT.get(code)
    if of_text is None:
        raise ValueError(f"a newer version has kept a value of kind {code}")
    return of_text(data.decode())


_OF_TEXT: Final[dict[int, Callable[[str], object]]] = {
    _Kind.INTEGER: int,
    _Kind.DATETIME: datetime.fromisoformat,
    _Kind.DATE: date.fromisoformat,
    _Kind.TIME: time.fromisoformat,
    _Kind.DECIMAL: Decimal,
}


def _made(name: str, fields: list[str], parts: list[Any]) -> object:
    if all(_FIELD.fullmatch(each) and not iskeyword(each) and not each.startswith("__") for each in fields):
        made = _class_of(name, tuple(fields))
        # attrs names the parameter of the field `_x` by `x`; the order is that of the fields.
        return made(*parts)
    return dict(zip(fields, parts, strict=True))
