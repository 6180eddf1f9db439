"""Values in JSON: two codecs that behave the same, and the slow writer behind them."""

from __future__ import annotations

import base64
import json
import math
from collections.abc import Callable
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from enum import Enum
from typing import Any, Protocol
from uuid import UUID

from ..errors import LocalProtocolError
from ..options import DateTimeOffset
from .values import (
    Naming,
    children,
    decimal_text,
    enum_or_plain,
    is_local,
    take_apart,
    timedelta_text,
)

# Longer numbers are more than `int` takes from text (sys.int_info.default_max_str_digits).
_LONGEST_INT = 4000


class JsonBackend(Protocol):
    """A codec."""

    def encoder(self, naming: Naming) -> Callable[[object], bytes]:
        """Return the function that encodes values; it raises for what it cannot do."""

    def loads(self, data: bytes, /) -> Any:
        """Decode; raise ValueError for what it does not accept."""

    def loads_exactly(self, data: bytes, /) -> Any:
        """Decode, with fractions as `Decimal`."""

    def loads_slowly(self, data: bytes, /, *, exact: bool) -> Any:
        """Decode all that is JSON, also what `loads` does not accept."""


def choose_backend() -> JsonBackend:
    """Return orjson if it is installed, else the standard library."""
    try:
        # Optional: the extra `speed`.
        import orjson
    except ImportError:
        return StandardBackend()
    return OrjsonBackend(orjson)


def _refuse_constant(text: str) -> Any:
    raise ValueError(f"{text} is not JSON")


def _parse_int(text: str) -> int | Decimal:
    return int(text) if len(text) < _LONGEST_INT else Decimal(text)


_standard = json.JSONDecoder(parse_constant=_refuse_constant)
_slow = json.JSONDecoder(parse_constant=_refuse_constant, parse_int=_parse_int)
_exact = json.JSONDecoder(parse_constant=_refuse_constant, parse_int=_parse_int, parse_float=Decimal)


class StandardBackend:
    """The standard library's json."""

    def encoder(self, naming: Naming) -> Callable[[object], bytes]:
        """Return the function that encodes values."""

        def default(value: object) -> object:
            if isinstance(value, Decimal):
                # It cannot be written as a number here, so the slow writer does it all.
                raise TypeError("Decimal")
            return plain(value, naming)

        encode = json.JSONEncoder(default=default, ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode
        return lambda value: encode(value).encode()

    def loads(self, data: bytes, /) -> Any:
        """Decode."""
        return _standard.decode(str(data, "utf-8"))

    def loads_exactly(self, data: bytes, /) -> Any:
        """Decode, with fractions as `Decimal`."""
        return _exact.decode(str(data, "utf-8"))

    def loads_slowly(self, data: bytes, /, *, exact: bool) -> Any:
        """Decode all that is JSON."""
        return (_exact if exact else _slow).decode(str(data, "utf-8"))


class OrjsonBackend(StandardBackend):
    """orjson.

    Args:
        orjson: the module.
    """

    def __init__(self, orjson: Any) -> None:
        self._orjson = orjson
        self.loads = orjson.loads

    def encoder(self, naming: Naming) -> Callable[[object], bytes]:
        """Return the function that encodes values."""
        dumps, options = self._orjson.dumps, self._orjson.OPT_PASSTHROUGH_DATACLASS
        fragment = self._orjson.Fragment

        def default(value: object) -> object:
            if isinstance(value, Decimal):
                return fragment(decimal_text(value))
            return plain(value, naming)

        def encode(value: object) -> bytes:
            data: bytes = dumps(value, default, options)
            # orjson writes NaN and infinities as null without a word.
            if b"null" in data and _holds_nonfinite(value, naming):
                raise ValueError("not finite")
            return data

        return encode


def _holds_nonfinite(value: object, naming: Naming) -> bool:
    """Look through a value that could be encoded, so it has no cycles."""
    todo = [value]
    while todo:
        each = enum_or_plain(todo.pop())
        if isinstance(each, float):
            if not math.isfinite(each):
                return True
            continue
        if not isinstance(each, str | int) and each is not None:
            parts = children(each, naming)
            if parts is not None:
                todo += [part for _path, part in parts]
    return False


def plain(value: object, naming: Naming) -> object:
    """Return a value that codecs know for one that they do not.

    Raises:
        TypeError: we do not know it either.
    """
    match value:
        case bytes() | bytearray() | memoryview():
            return base64.b64encode(value).decode()
        case Enum():
            return value.value
        case datetime() | date():
            return value.isoformat()
        case time() if is_local(value):
            return value.isoformat()
        case timedelta():
            return timedelta_text(value)
        case UUID():
            return str(value)
        case DateTimeOffset():
            return value.value
        case tuple():
            return list(value)
    parts = take_apart(value, naming)
    if parts is None:
        raise TypeError(f"a value of type {type(value).__name__} cannot be sent")
    return parts


def write_slowly(value: object, path: str, naming: Naming) -> bytes:
    """Encode anything that can be encoded, or say what cannot, and where.

    Args:
        value: what to encode.
        path: what it is called in errors.
        naming: how attribute names are written.

    Raises:
        LocalProtocolError: it cannot be encoded.
    """
    writer = _SlowWriter(naming)
    try:
        writer.write(value, path)
        return "".join(writer.pieces).encode()
    except UnicodeEncodeError:
        raise LocalProtocolError(
            f"{writer.surrogate or path}: a string with a lone surrogate cannot be sent, since it is no Unicode text"
        ) from None
    except RecursionError:
        raise LocalProtocolError(f"{path}: the value is nested too deeply to be sent") from None


class _SlowWriter:
    def __init__(self, naming: Naming) -> None:
        self.pieces: list[str] = []
        self.surrogate = ""
        self._naming = naming
        self._open: set[int] = set()

    def write(self, value: object, path: str) -> None:
        match value:
            case Enum():
                self.write(value.value, path)
            case None | bool() | int() | str():
                self._write_scalar(value, path)
            case float():
                if not math.isfinite(value):
                    raise LocalProtocolError(f"{path}: {value} cannot be written in JSON (None, or a string?)")
                self.pieces.append(float.__repr__(value))
            case Decimal():
                try:
                    self.pieces.append(decimal_text(value))
                except LocalProtocolError as error:
                    raise LocalProtocolError(f"{path}: {error}") from None
            case dict() | list() | tuple():
                self._write_parts(value, path)
            case _:
                self._write_object(value, path)

    def _write_scalar(self, value: bool | int | str | None, path: str) -> None:
        if isinstance(value, str):
            try:
                value.encode()
            except UnicodeEncodeError:
                self.surrogate = path
                raise
            self.pieces.append(json.dumps(value, ensure_ascii=False))
        elif value is None or isinstance(value, bool):
            self.pieces.append(json.dumps(value))
        else:
            self.pieces.append(int.__repr__(value))

    def _write_parts(self, value: dict[Any, Any] | list[Any] | tuple[Any, ...], path: str) -> None:
        if id(value) in self._open:
            raise LocalProtocolError(f"{path}: the value contains itself")
        self._open.add(id(value))
        write = self.pieces.append
        if isinstance(value, dict):
            for index, (key, part) in enumerate(value.items()):
                write("," if index else "{")
                self._write_scalar(self._key(key, path), f"{path} (a key)")
                write(":")
                self.write(part, f"{path}[{key!r:.40}]")
            write("}" if value else "{}")
        else:
            for index, part in enumerate(value):
                write("," if index else "[")
                self.write(part, f"{path}[{index}]")
            write("]" if value else "[]")
        self._open.discard(id(value))

    def _key(self, key: object, path: str) -> str:
        """What the standard library accepts as a key, and some more."""
        key = enum_or_plain(key)
        match key:
            case str():
                return key
            case None | bool() | float():
                return json.dumps(key)
            case int():
                return int.__repr__(key)
            case UUID() | datetime() | date() | Decimal():
                return str(plain(key, self._naming)) if not isinstance(key, Decimal) else decimal_text(key)
        raise LocalProtocolError(f"{path}: a key of type {type(key).__name__} cannot be written in JSON")

    def _write_object(self, value: object, path: str) -> None:
        if id(value) in self._open:
            raise LocalProtocolError(f"{path}: the value contains itself")
        try:
            replaced = plain(value, self._naming)
        except TypeError as error:
            raise LocalProtocolError(f"{path}: {error} (make it a plain value, or pass converter=)") from None
        self._open.add(id(value))
        if isinstance(replaced, dict):
            # Attributes, by their own names in the path.
            for index, ((wire, part), (name, _part)) in enumerate(
                zip(replaced.items(), children(value, self._naming) or (), strict=True)
            ):
                self.pieces.append(("," if index else "{") + json.dumps(wire, ensure_ascii=False) + ":")
                self.write(part, path + name)
            self.pieces.append("}" if replaced else "{}")
        else:
            self.write(replaced, path)
        self._open.discard(id(value))
