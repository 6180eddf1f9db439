"""Values in MessagePack, as MessagePack-CSharp on the server reads and writes them."""

from __future__ import annotations

from collections.abc import Callable
from datetime import date, datetime, time, timedelta, timezone
from decimal import Decimal
from enum import Enum
from typing import Any
from uuid import UUID

from ..errors import LocalProtocolError
from ..options import DateTimeOffset
from .values import Naming, children, date_days, decimal_text, is_local, take_apart, time_ticks, timedelta_ticks

_MINUTE = timedelta(minutes=1)


class MessagePackCodec:
    """Packs and unpacks values.

    Args:
        naming: how attribute names are written.
    """

    def __init__(self, naming: Naming) -> None:
        # Imported when first needed: `import signalr_sdk` stays light.
        import msgpack

        self._msgpack: Any = msgpack
        self._naming = naming
        # A packer is neither thread-safe nor re-entrant, so whoever packs takes one out (which is atomic).
        self._packers: list[Any] = []

    def pack(self, value: object) -> bytes:
        """Encode.

        Raises:
            TypeError, ValueError, OverflowError: it cannot be encoded.
        """
        try:
            packer = self._packers.pop()
        except IndexError:
            packer = self._msgpack.Packer(default=self._plain, strict_types=True)
        data: bytes = packer.pack(value)
        self._packers.append(packer)
        return data

    def unpack(self, data: bytes) -> Any:
        """Decode. Timestamps become aware datetimes where Python has such, else stay `msgpack.Timestamp`.

        Raises:
            ValueError, TypeError: it is no MessagePack.
        """
        try:
            return self._msgpack.unpackb(data, timestamp=3, strict_map_key=False)
        except OverflowError:
            return self._with_datetimes(self._msgpack.unpackb(data, timestamp=0, strict_map_key=False))

    def _with_datetimes(self, value: Any) -> Any:
        if isinstance(value, list):
            return [self._with_datetimes(part) for part in value]
        if isinstance(value, dict):
            return {self._with_datetimes(key): self._with_datetimes(part) for key, part in value.items()}
        if isinstance(value, self._msgpack.Timestamp):
            try:
                return value.to_datetime()
            except OverflowError:
                return value
        return value

    def _plain(self, value: object) -> object:
        """Return a value that msgpack knows for one that it does not."""
        replaced = _REPLACED.get(type(value))
        if replaced is not None:
            return replaced(self, value)
        return self._plain_subclass(value)

    def _plain_subclass(self, value: object) -> object:
        if isinstance(value, Enum):
            # .NET parses a name or a number as text, and refuses a plain number.
            return str(value.value) if isinstance(value.value, int) else value.value
        for base, replace in _REPLACED.items():
            if isinstance(value, base):
                return replace(self, value)
        for base in (bool, int, float, str, bytes, list, dict):
            if isinstance(value, base):
                return base(value)
        parts = take_apart(value, self._naming)
        if parts is None:
            raise TypeError(f"a value of type {type(value).__name__} cannot be sent")
        return parts

    def timestamp(self, value: datetime) -> object:
        """Return an aware datetime as MessagePack's own timestamp."""
        if is_local(value):
            raise LocalProtocolError(
                "a datetime without a time zone cannot be sent in MessagePack: make it aware, "
                "for example with value.astimezone() or value.replace(tzinfo=timezone.utc)"
            )
        return self._msgpack.Timestamp.from_datetime(value)

    def date_time_offset(self, value: DateTimeOffset) -> object:
        """Return `[timestamp of the local clock as if it were UTC, offset in minutes]`."""
        offset = value.value.utcoffset() or timedelta()
        clock = value.value.replace(tzinfo=timezone.utc)
        return [self._msgpack.Timestamp.from_datetime(clock), offset // _MINUTE]

    # Errors

    def explain(self, value: object, path: str) -> None:
        """Raise an error that names the part that cannot be encoded; return if all of it can."""
        try:
            self._explain(value, path, set())
        except RecursionError:
            raise LocalProtocolError(f"{path}: the value is nested too deeply to be sent") from None

    def _explain(self, value: object, path: str, open_: set[int]) -> None:
        parts = None if isinstance(value, Enum) else children(value, self._naming)
        if parts is None:
            self._explain_leaf(value, path)
            return
        if id(value) in open_:
            raise LocalProtocolError(f"{path}: the value contains itself")
        open_.add(id(value))
        if isinstance(value, dict):
            for key in value:
                self._explain_leaf(key, f"{path} (a key)")
        for name, part in parts:
            self._explain(part, path + name, open_)
        open_.discard(id(value))

    def _explain_leaf(self, value: object, path: str) -> None:
        try:
            self.pack(value)
        except LocalProtocolError as error:
            raise LocalProtocolError(f"{path}: {error}") from None
        except OverflowError:
            raise LocalProtocolError(
                f"{path}: an integer over 64 bits cannot be sent in MessagePack (as text, or a Decimal?)"
            ) from None
        except UnicodeEncodeError:
            raise LocalProtocolError(
                f"{path}: a string with a lone surrogate cannot be sent, since it is no Unicode text"
            ) from None
        except (TypeError, ValueError) as error:
            raise LocalProtocolError(f"{path}: {error} (make it a plain value, or pass converter=)") from None


_REPLACED: dict[type, Callable[[MessagePackCodec, Any], object]] = {
    tuple: lambda _codec, value: list(value),
    datetime: MessagePackCodec.timestamp,
    DateTimeOffset: MessagePackCodec.date_time_offset,
    date: lambda _codec, value: date_days(value),
    time: lambda _codec, value: time_ticks(value),
    timedelta: lambda _codec, value: timedelta_ticks(value),
    UUID: lambda _codec, value: str(value),
    Decimal: lambda _codec, value: decimal_text(value),
    memoryview: lambda _codec, value: bytes(value),
}
