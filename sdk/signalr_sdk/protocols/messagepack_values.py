"""Packs and unpacks values as MessagePack, in the forms that MessagePack-CSharp on the server reads and writes."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from enum import Enum
from functools import partial
from typing import Any, Final
from uuid import UUID

import msgpack

from ..errors import LocalProtocolError, RemoteProtocolError
from ..options import DateTimeOffset
from . import values

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
# A packer never frees the memory of its largest message, so a packer that wrote more than this many bytes is dropped.
_KEPT_PACKER = 65536


# The header of an array or map says how many items follow, and msgpack reserves memory for this number, even if fewer
# items follow. So a message with more than `LARGE` bytes and more than `_HEADERS` headers is checked before it is
# decoded.
LARGE: Final = 4096
_HEADERS = 16
# A message with a wrong timestamp is refused if it has more bytes than this: reading such a message takes 0.2 s for
# each MiB, and blocks the event loop.
_MOST_RECODED = 1024 * 1024
# `_TIMESTAMP`: the extension code of timestamps. Each dict gives, for the first byte of a value, how many bytes to
# read next. `_EXTENSIONS` and `_SIZED`: the bytes that hold the value's length. `_FIXED`: all other bytes of a value
# with a fixed size; for an array or map, the bytes that hold the number of its items.
_TIMESTAMP: Final = -1
_EXTENSIONS: Final = {0xC7: 1, 0xC8: 2, 0xC9: 4}
_SIZED: Final = {0xC4: 1, 0xC5: 2, 0xC6: 4, 0xD9: 1, 0xDA: 2, 0xDB: 4}
_FIXED: Final = (
    {0xCA: 4, 0xCB: 8, 0xDC: 2, 0xDD: 4, 0xDE: 2, 0xDF: 4}
    | {0xCC + power: 1 << power for power in range(4)}
    | {0xD0 + power: 1 << power for power in range(4)}
)
_MAYBE_TIMESTAMP: Final = re.compile(rb"(?:[\xd4-\xd8]|\xc7.|\xc8..|\xc9....)\xff", re.DOTALL)
# Python gives some values the same hash, for example tuples of -1 and -2. At most so many keys of a map may have the
# same hash: with more, each look-up in the map would compare all of these keys.
_SAME_HASH = 32


class MessagePackCodec:
    """Packs and unpacks values. Several threads may use one codec at the same time.

    Args:
        naming: how attribute names are written.
    """

    def __init__(self, naming: values.Naming) -> None:
        self._naming = naming
        self._new_packer: Callable[[], Any] = partial(
            msgpack.Packer, default=self._plain, strict_types=True, datetime=True
        )
        # Packers are kept, since a new one costs as much as packing a small message (tests/bench/test_codec.py).
        # A packer is neither thread-safe nor re-entrant, so `pack` takes it out of the list, in one atomic step.
        self._packers: list[Any] = []

    def pack(self, value: object) -> bytes:
        """Return the value in MessagePack.

        Raises:
            One of `ENCODING_ERRORS`: the value cannot be encoded.
        """
        try:
            packer = self._packers.pop()
        except IndexError:
            packer = self._new_packer()
        data: bytes = packer.pack(value)
        if len(data) < _KEPT_PACKER:
            self._packers.append(packer)
        return data

    def check_large(self, data: bytes) -> None:
        """Check that the arrays and maps of a message hold all the items that their headers promise.

        Call this before decoding a message of more than `LARGE` bytes. Without this check, 400 nested arrays in a
        message of 16 MiB, each of which promises one item for each byte that follows, would make msgpack reserve 50 GB.

        Raises:
            ValueError: the message is not complete.
        """
        if sum(map(data.count, (b"\xdc", b"\xdd", b"\xde", b"\xdf"))) > _HEADERS:
            self._check_complete(data)

    def _check_complete(self, data: bytes) -> None:
        # For 0, which stands for no limit, msgpack would reserve 1 MiB.
        unpacker = msgpack.Unpacker(max_buffer_size=max(len(data), 1))
        unpacker.feed(data)
        try:
            unpacker.skip()  # makes no objects
        except (ValueError, msgpack.UnpackException) as error:
            raise ValueError(f"an array or map promises more than there is: {error}") from None
        if unpacker.tell() != len(data):
            raise ValueError("bytes follow behind the message")

    def unpack_slowly(self, data: bytes) -> Any:
        """Decode a message that `msgpack.unpackb` refuses because it holds unusual values.

        - A timestamp outside the range of `datetime` becomes a `msgpack.Timestamp`.
        - A timestamp with a wrong length, and an extension with a reserved code, become a `msgpack.ExtType`.
        - An array or map that is a key of a map becomes a tuple.
        - A text that is not UTF-8 becomes `bytes`.

        Raises:
            ValueError, TypeError, RecursionError: the bytes are no MessagePack.
            RemoteProtocolError: a map has so many keys with the same hash that reading it would take very long.
        """
        unpack = partial(
            msgpack.unpackb,
            strict_map_key=False,
            ext_hook=self._reserved,
            object_pairs_hook=_with_any_keys,
            unicode_errors="surrogateescape",
        )
        try:
            value = unpack(data, timestamp=0)
        except ValueError:
            # msgpack refuses the whole message if one timestamp in it is wrong. So give all timestamps an extension
            # code that no other value in the message has (`spare`): msgpack then passes the timestamps to `_reserved`.
            self._check_complete(data)
            data, spare = _recode_timestamps(data)
            value = unpack(data, timestamp=0, ext_hook=partial(self._reserved, spare=spare))
        return self._with_datetimes(value)

    def _reserved(self, code: int, data: bytes, spare: int | None = None) -> Any:
        if code == spare:
            try:
                return msgpack.Timestamp.from_bytes(data)
            except ValueError:
                code = _TIMESTAMP
        # Do not call `ExtType(...)`: it refuses codes below 0, which MessagePack reserves.
        return tuple.__new__(msgpack.ExtType, (code, data))

    def _with_datetimes(self, value: Any) -> Any:
        if isinstance(value, str):
            return _text_or_bytes(value)
        if isinstance(value, msgpack.Timestamp):
            return _datetime_of(value)
        if isinstance(value, list):
            return [self._with_datetimes(part) for part in value]
        if isinstance(value, dict):
            return {self._with_datetimes(key): self._with_datetimes(part) for key, part in value.items()}
        if type(value) is tuple:
            return tuple(self._with_datetimes(part) for part in value)
        return value

    def _plain(self, value: object) -> object:
        """Return a value that msgpack can pack, in place of a value whose type msgpack does not know.

        msgpack does not call this function again for the returned value, so msgpack itself must know the returned type.
        """
        replace = _REPLACED.get(type(value))
        if replace is not None:
            return replace(value)
        if isinstance(value, DateTimeOffset):
            return self._date_time_offset(value.value)
        if isinstance(value, Enum):
            return self._plain_enum(value.value)
        for base, replace in _REPLACED.items():
            if isinstance(value, base):
                return replace(value)
        return values.to_dict(value, self._naming)

    def _plain_enum(self, value: object) -> object:
        """Return what is sent for an enum member with this value.

        An integer is sent as text, because .NET refuses an integer for an enum.
        """
        if isinstance(value, int):
            return str(int(value))
        return value if type(value) in _NATIVE else self._plain(value)

    def _date_time_offset(self, value: datetime) -> object:
        """Return `[local time as if it were UTC, offset in minutes]`: for 12:00+02:00 it is `[12:00 UTC, 120]`."""
        value = values.whole_minutes(value)
        offset = value.utcoffset() or timedelta()
        return [value.replace(tzinfo=UTC), offset // values.MINUTE]

    def explain(self, members: Iterable[tuple[str, Any]]) -> LocalProtocolError:
        """Return an error for a message that cannot be encoded. The error names the path of the first wrong value.

        Args:
            members: a tuple (name, value) for each member of the message.
        """
        search = _Search(self.pack, self._naming)
        name = ""
        try:
            for name, value in members:
                search.look_at(value, name)
        except RecursionError as error:
            return LocalProtocolError(f"{name}: {values.reason(error)}")
        except values.ENCODING_ERRORS as error:
            return LocalProtocolError(f"{search.path}: {values.reason(error)}")
        # Every part can be packed alone, so the message is nested deeper than msgpack allows.
        return LocalProtocolError("the values of the message are nested too deeply to be sent")


class _Search:
    """Packs the parts of a value one by one, to find the part that cannot be packed.

    Attributes:
        path: the place of the part that was packed last, such as `arguments[0].name`. After an exception, the place of
            the part that cannot be packed.
    """

    def __init__(self, pack: Callable[[object], bytes], naming: values.Naming) -> None:
        self.path = ""
        self._pack = pack
        self._naming = naming
        self._open: set[int] = set()

    def look_at(self, value: object, path: str) -> None:
        self.path = path
        steps = None if isinstance(value, Enum | DateTimeOffset) else values.named_parts(value, self._naming)
        if steps is None:
            self._pack(value)
            return
        if id(value) in self._open:
            raise ValueError("the value contains itself")
        self._open.add(id(value))
        if isinstance(value, dict):
            for key in value:
                self._pack(key)
        for step, part in steps:
            self.look_at(part, path + step)
        self._open.discard(id(value))


def _with_any_keys(pairs: list[tuple[Any, Any]]) -> dict[Any, Any]:
    pairs = [(_hashable(key), value) for key, value in pairs]
    if len(pairs) > _SAME_HASH:
        most = max(Counter(hash(key) for key, _value in pairs).values())
        if most > _SAME_HASH:
            raise RemoteProtocolError(
                f"this is no hub message, a map has {most} keys with the same hash, which would take very long to read"
            )
    return dict(pairs)


def _recode_timestamps(data: bytes) -> tuple[bytes, int]:
    """Return `(message, code)`: the message with a new extension code for all its timestamps, and this code.

    Raises:
        ValueError: the message has no timestamp, or is too large.
    """
    if len(data) > _MOST_RECODED or not _MAYBE_TIMESTAMP.search(data):
        raise ValueError("it is not MessagePack, or a timestamp in it is none")
    found, used, position = [], set(), 0
    try:
        while position < len(data):
            kind = data[position]
            position += 1
            if kind in _EXTENSIONS or 0xD4 <= kind <= 0xD8:
                digits = _EXTENSIONS.get(kind, 0)
                size = int.from_bytes(data[position : position + digits], "big") if digits else 1 << (kind - 0xD4)
                position += digits
                used.add(data[position])
                if data[position] == _TIMESTAMP & 0xFF:
                    found.append(position)
                position += 1 + size
            elif kind in _SIZED:
                digits = _SIZED[kind]
                position += digits + int.from_bytes(data[position : position + digits], "big")
            else:
                position += kind & 0x1F if 0xA0 <= kind <= 0xBF else _FIXED.get(kind, 0)
        spare = next(code for code in range(0x80) if code not in used)
    except StopIteration:
        raise ValueError("it has a timestamp that is none, and 128 kinds of extensions") from None
    recoded = bytearray(data)
    for position in found:
        recoded[position] = spare
    return bytes(recoded), spare


def _datetime_of(stamp: Any) -> Any:
    try:
        return _EPOCH + timedelta(seconds=stamp.seconds, microseconds=stamp.nanoseconds // 1000)
    except OverflowError:
        return stamp


def _text_or_bytes(text: str) -> str | bytes:
    """Return a text unchanged. If the text has surrogates, it was no UTF-8: return the received bytes instead."""
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode("utf-8", "surrogateescape")
    return text


def _hashable(key: Any) -> Any:
    if isinstance(key, dict):
        key = list(key.items())
    return tuple(_hashable(part) for part in key) if type(key) in (list, tuple) else key


def _pack_int(value: int) -> int:
    if not -(2**63) <= value < 2**64:
        raise ValueError("an integer over 64 bits cannot be sent in MessagePack (send text or a Decimal)")
    return int(value)


def _pack_datetime(value: datetime) -> datetime:
    # msgpack packs datetimes with a time zone itself, so this value has no time zone, or is of a subclass of datetime.
    if value.utcoffset() is None:
        raise ValueError(
            f"{value!r} has no time zone, so it cannot be sent in MessagePack: make it aware, "
            "for example with value.astimezone() or value.replace(tzinfo=timezone.utc)"
        )
    return _EPOCH + (value - _EPOCH)


# The types that msgpack packs without calling `_plain`.
_NATIVE: Final = frozenset({type(None), bool, float, str, bytes, list, dict})
# For each type, the function that turns its values into values that msgpack packs. For an instance of a subclass, the
# first base class in this order counts: datetime must stand before date, or a subclass of datetime would be sent as a
# date.
_REPLACED: Final[dict[type, Callable[[Any], object]]] = {
    tuple: list,
    datetime: _pack_datetime,
    date: values.date_days,
    time: values.time_ticks,
    timedelta: values.timedelta_ticks,
    UUID: str,
    Decimal: values.decimal_text,
    int: _pack_int,
    float: float,
    str: str.__str__,
    bytes: bytes,
    bytearray: bytes,
    list: list,
    dict: dict,
}
