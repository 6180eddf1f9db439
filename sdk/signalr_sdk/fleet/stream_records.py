"""What a relay adds to a stream of Redis: `Record`, and the bounded queue of records that wait to be written."""

from __future__ import annotations

import asyncio
import json
from collections import deque
from functools import partial
from typing import TYPE_CHECKING, Any, Final

import attrs

from ..delivery.entry import Position
from ..protocols.json_values import plain
from ..protocols.values import unchanged

if TYPE_CHECKING:
    from collections.abc import Mapping

    from .redis_client import Argument

# Records that wait. With more, the hub waits.
_WAITING: Final = 1000
_WAITING_BYTES: Final = 4 * 1024 * 1024
# The most records that are added by one script, during which Redis does nothing else.
BATCH: Final = 100
_BATCH_BYTES: Final = 256 * 1024

_default = partial(plain, naming=unchanged)


@attrs.frozen
class Record:
    """One entry of a stream.

    Attributes:
        kind: `"event"`, `"gap"` or `"reset"`.
        event: the name of the event.
        args: the arguments, a JSON list.
        at: when the record was made, in milliseconds since 1970.
        feed: the name of the feed; empty for an event without a number.
        position: the position of the feed after this record.
    """

    kind: str
    event: str
    args: bytes
    at: int
    feed: str = ""
    position: Position | None = None

    def arguments(self) -> list[Argument]:
        """Return what the script needs."""
        position = self.position
        number = 0 if position is None else position.number
        epoch = "" if position is None else epoch_text(position.epoch)
        return [self.feed, number, epoch, self.kind, self.event, self.args, self.at]


def epoch_text(epoch: str | int | None) -> str:
    """Return an epoch as text; the first character says whether the epoch is a text or a number."""
    if epoch is None:
        return ""
    return f"i{epoch}" if isinstance(epoch, int) else f"s{epoch}"


def position_in(state: Mapping[str, str], feed: str) -> Position | None:
    """Return the position of a feed that the state of a relay has; `None` if there is none."""
    number = state.get(f"number:{feed}")
    if number is None:
        return None
    epoch = state.get(f"epoch:{feed}", "")
    return Position(int(number), (int(epoch[1:]) if epoch[0] == "i" else epoch[1:]) if epoch else None)


def json_list(args: list[Any]) -> bytes:
    """Return arguments as a JSON text. Bytes are base64; what JSON has no form for becomes text."""
    try:
        text = json.dumps(args, default=_default, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
        return text.encode()
    except (TypeError, ValueError, AttributeError):
        return json.dumps(_described(args), separators=(",", ":")).encode()


def _described(value: Any) -> Any:
    if isinstance(value, dict):
        return {str(key): _described(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_described(each) for each in value]
    try:
        _ = json.dumps(value, default=_default, allow_nan=False)
    except (TypeError, ValueError, AttributeError):
        return str(value)
    return value if isinstance(value, str | int | float | None) else _default(value)


class RecordQueue:
    """Records that wait to be written: bounded, so that a slow Redis holds up the hub."""

    def __init__(self) -> None:
        self._records: deque[Record] = deque()
        self._bytes = 0
        self._filled = asyncio.Event()
        self._has_room = asyncio.Event()
        self._has_room.set()

    @property
    def is_empty(self) -> bool:
        """Whether no record waits."""
        return not self._records

    async def put(self, record: Record) -> None:
        """Add a record, as soon as there is room."""
        while not self._has_room.is_set():
            await self._has_room.wait()
        self._records.append(record)
        self._bytes += len(record.args)
        if len(self._records) >= _WAITING or self._bytes >= _WAITING_BYTES:
            self._has_room.clear()
        self._filled.set()

    async def filled(self) -> None:
        """Return when there is a record."""
        await self._filled.wait()

    def batch(self) -> list[Record]:
        """Return the oldest records, as many as one script may add. They stay in the queue."""
        found: list[Record] = []
        left = _BATCH_BYTES
        for record in self._records:
            left -= len(record.args)
            if found and (left < 0 or len(found) == BATCH):
                break
            found.append(record)
        return found

    def remove(self, count: int) -> None:
        """Remove the oldest records, which were written."""
        for _ in range(count):
            self._bytes -= len(self._records.popleft().args)
        if not self._records:
            self._filled.clear()
        if len(self._records) < _WAITING and self._bytes < _WAITING_BYTES:
            self._has_room.set()
