"""Values in JSON: two codecs with the same behaviour, and a slow writer for values that the codecs cannot encode."""

from __future__ import annotations

import base64
import json
import math
from collections.abc import Callable, Iterable
from datetime import date, datetime, time, timedelta
from decimal import Decimal, InvalidOperation
from enum import Enum
from functools import lru_cache, partial
from types import ModuleType
from typing import Any, TypeAlias
from uuid import UUID

from ..errors import LocalProtocolError
from ..options import DateTimeOffset
from . import values

Default: TypeAlias = Callable[[object], object]

orjson: ModuleType | None
try:
    # orjson is optional: it belongs to the extra `speed`.
    import orjson
except ImportError:
    orjson = None

# Integers with 640 digits or more become `Decimal`: `int` may refuse them, because a program can lower Python's limit
# for the digits of an `int` to 640 (`sys.set_int_max_str_digits`).
_LONGEST_INT = 640


def _refuse_constant(text: str) -> Any:
    raise ValueError(f"{text} is not JSON")


def _parse_int(text: str) -> int | Decimal:
    return int(text) if len(text) < _LONGEST_INT else Decimal(text)


def _parse_exactly(text: str) -> Decimal | float:
    try:
        return Decimal(text)
    except InvalidOperation:
        # `Decimal` refuses an exponent with 19 digits or more. `float` reads such a number as zero or infinity.
        return float(text)


_standard = json.JSONDecoder(parse_constant=_refuse_constant)
_slow = json.JSONDecoder(parse_constant=_refuse_constant, parse_int=_parse_int)
_exact = json.JSONDecoder(parse_constant=_refuse_constant, parse_int=_parse_int, parse_float=_parse_exactly)


def loads_exactly(data: bytes) -> Any:
    """Decode a JSON text, with `Decimal` for numbers with a fraction, so that no digit is lost."""
    return _exact.decode(str(data, "utf-8"))


def loads_slowly(data: bytes) -> Any:
    """Decode any JSON text, also a text that a codec's faster `loads` does not accept."""
    return _slow.decode(str(data, "utf-8"))


@lru_cache(maxsize=16)
def _encoder(default: Default) -> json.JSONEncoder:
    # Keep the encoder: `json.dumps` would make a new encoder for each message, which takes longer than encoding a small
    # message.
    return json.JSONEncoder(default=default, ensure_ascii=False, allow_nan=False, separators=(",", ":"))


class StandardBackend:
    """The JSON codec of the standard library.

    Attributes:
        options: what callers pass as third argument of `dumps`, which ignores it. `orjson.dumps` needs such an
            argument, and callers call both codecs in the same way.
        hides_nonfinite: whether `dumps` silently writes NaN and infinities as null.
    """

    options = 0
    hides_nonfinite = False

    def dumps(self, value: object, default: Default, _options: int, /) -> bytes:
        """Encode a value as JSON. May raise any of `ENCODING_ERRORS`.

        For a value of a type that the codec does not know, it calls `default(value)` and encodes the result instead.
        """
        return _encoder(default).encode(value).encode()

    def loads(self, data: bytes, /) -> Any:
        """Decode a JSON text. Raises ValueError or RecursionError if the codec does not accept the text."""
        return _standard.decode(str(data, "utf-8"))

    def default(self, naming: values.Naming) -> Default:
        """Return the function to pass to `dumps` as `default`. `naming` turns attribute names into names in JSON.

        This codec cannot encode a `Decimal`: `dumps` raises an error, and its caller then uses `write_slowly`.
        """
        return partial(plain, naming=naming)


class OrjsonBackend:
    """The JSON codec of orjson, with the same members as `StandardBackend`.

    Args:
        orjson: the module, which is optional.
    """

    hides_nonfinite = True

    def __init__(self, orjson: Any) -> None:
        # Let `default` handle dataclasses and datetimes: orjson would write the attribute names of dataclasses
        # unchanged. It would also round the UTC offset of a datetime to minutes without changing the local time: the
        # server would get another moment.
        self.options: int = orjson.OPT_PASSTHROUGH_DATACLASS | orjson.OPT_PASSTHROUGH_DATETIME
        self.dumps: Callable[[object, Default, int], bytes] = orjson.dumps
        self.loads: Callable[[bytes], Any] = orjson.loads
        self._fragment: Callable[[str], object] = orjson.Fragment

    def default(self, naming: values.Naming) -> Default:
        """See `StandardBackend.default`. orjson can write a `Decimal`, as the text of a number."""
        fragment = self._fragment

        def default(value: object) -> object:
            return fragment(values.decimal_text(value)) if isinstance(value, Decimal) else plain(value, naming)

        return default


JsonBackend: TypeAlias = StandardBackend | OrjsonBackend


def choose_backend() -> JsonBackend:
    """Return the backend with orjson if orjson is installed, otherwise the backend with the standard library."""
    return StandardBackend() if orjson is None else OrjsonBackend(orjson)


def holds_nonfinite(value: object, naming: values.Naming) -> bool:
    """Return whether a value holds a NaN or an infinity, which orjson writes as null.

    Do not call this for a value that contains itself: the search would never end.
    """
    todo = [value]
    while todo:
        each = values.enum_or_plain(todo.pop())
        if isinstance(each, float):
            if not math.isfinite(each):
                return True
        elif each is not None and not isinstance(each, str | int):
            todo += values.parts(each, naming)
    return False


def plain(value: object, naming: values.Naming) -> object:
    """Return a value that a JSON codec can encode, in place of a value whose type the codec does not know.

    Raises:
        TypeError: values of this type cannot be sent.
    """
    match value:
        case datetime():
            return values.datetime_text(value)
        case UUID():
            return str(value)
        case Enum():
            return value.value
        case bytes() | bytearray() | memoryview():
            return base64.b64encode(bytes(value)).decode()
        case tuple():
            return list(value)
        case _:
            return _plain_clock(value, naming)


def _plain_clock(value: object, naming: values.Naming) -> object:
    match value:
        case date():
            return value.isoformat()
        case time():
            return values.time_text(value)
        case timedelta():
            return values.timedelta_text(value)
        case DateTimeOffset():
            return values.datetime_text(value.value)
        case _:
            return values.to_dict(value, naming)


def write_slowly(members: dict[str, Any], naming: values.Naming) -> bytes:
    """Encode the members of a message, also with values that no codec can encode.

    Args:
        members: a dict from the names of the message's members to their values. The path in an error begins with the
            name of a member: `arguments[0].name`.
        naming: how attribute names are written.

    Raises:
        LocalProtocolError: a value cannot be encoded. The text holds the path of the value and the reason.
    """
    writer = _SlowWriter(naming)
    try:
        writer.write_object((name, name, value) for name, value in members.items())
        return "".join(writer.pieces).encode()
    except RecursionError as error:
        raise LocalProtocolError(f"{writer.path.partition('[')[0]}: {values.reason(error)}") from None
    except values.ENCODING_ERRORS as error:
        raise LocalProtocolError(f"{writer.path}: {values.reason(error)}") from None


class _SlowWriter:
    """Writes a value as JSON, piece by piece.

    Attributes:
        pieces: the JSON so far, a list of texts to join.
        path: the place of the value that is being written, such as `arguments[0].name`. After an exception, the place
            of the value that cannot be written.
    """

    def __init__(self, naming: values.Naming) -> None:
        self.pieces: list[str] = []
        self.path = ""
        self._naming = naming
        self._open: set[int] = set()

    def write(self, value: object, path: str) -> None:
        self.path = path
        match value:
            case Enum():
                self.write(value.value, path)
            case None | bool():
                self.pieces.append(json.dumps(value))
            case int():
                self.pieces.append(int.__repr__(value))
            case str():
                self.pieces.append(_text(value))
            case float():
                self.pieces.append(_number(value))
            case Decimal():
                self.pieces.append(values.decimal_text(value))
            case _:
                self._write_compound(value, path)

    def _write_compound(self, value: object, path: str) -> None:
        if id(value) in self._open:
            raise ValueError("the value contains itself")
        self._open.add(id(value))
        match value:
            case dict():
                # Make each key only when its value is next (with a generator). If all keys were made first, a wrong key
                # would be reported before a wrong value that comes earlier in the dict.
                keys = (self._key(key, path) for key in value)
                self.write_object(
                    (key, path + step, part)
                    for key, (step, part) in zip(keys, values.named_parts(value, self._naming) or (), strict=True)
                )
            case list() | tuple():
                self._write_array(value, path)
            case _:
                self._write_other(value, path)
        self._open.discard(id(value))

    def _write_other(self, value: object, path: str) -> None:
        replaced = plain(value, self._naming)
        steps = values.named_parts(value, self._naming)
        if isinstance(replaced, dict) and steps is not None:
            # An instance of a class: JSON has the wire names (`firstName`), but `path` has the attribute names
            # (`.first_name`).
            self.write_object((wire, path + step, part) for wire, (step, part) in zip(replaced, steps, strict=True))
        else:
            self.write(replaced, path)

    def write_object(self, members: Iterable[tuple[str, str, object]]) -> None:
        """Write a JSON object. Each member is a tuple of (name, path, value).

        The path says where the value stands, and is shown in the error if the value cannot be written.
        """
        separator = "{"
        for name, path, value in members:
            self.path = path
            self.pieces.append(f"{separator}{_text(name)}:")
            self.write(value, path)
            separator = ","
        self.pieces.append("{}" if separator == "{" else "}")

    def _write_array(self, items: list[Any] | tuple[Any, ...], path: str) -> None:
        separator = "["
        for index, item in enumerate(items):
            self.pieces.append(separator)
            self.write(item, f"{path}[{index}]")
            separator = ","
        self.pieces.append("[]" if separator == "[" else "]")

    def _key(self, key: object, path: str) -> str:
        """Return a key of a dict as text. `path` is the place of the dict for error texts, such as `arguments[0]`.

        Raises:
            TypeError: the key is of a type that neither the standard library nor .NET accepts for keys.
        """
        self.path = path
        key = values.enum_or_plain(key)
        match key:
            case str():
                return key
            case None | bool():
                return json.dumps(key)
            case float():
                return _number(key)
            case int():
                return int.__repr__(key)
            case Decimal():
                return values.decimal_text(key)
            case UUID() | date() | time() | timedelta():
                return str(plain(key, self._naming))
            case _:
                raise TypeError(f"a key of type {type(key).__qualname__} cannot be written in JSON")


def _text(value: str) -> str:
    value.encode()  # raise for a lone surrogate now, while the path is known
    return json.dumps(value, ensure_ascii=False)


def _number(value: float) -> str:
    if not math.isfinite(value):
        raise ValueError(f"{value} cannot be written in JSON (send None, or text, as the hub method expects)")
    return float.__repr__(value)
