"""Ids of entries."""

from __future__ import annotations

import os
import threading
import time
from typing import Final


class _Ids:
    """Makes UUIDs of version 7 (RFC 9562), which rise within one process, also when the clock goes back."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._last = 0

    def new(self) -> str:
        now = time.time_ns() // 1_000_000
        with self._lock:
            # 12 bits behind the milliseconds count the ids of one millisecond. The counter overflows into the
            # milliseconds, so that ids rise also when many are made at once.
            self._last = last = max(now << 12, self._last + 1)
        number = (last >> 12) << 80 | 0x7 << 76 | (last & 0xFFF) << 64 | 0b10 << 62
        number |= int.from_bytes(os.urandom(8), "big") >> 2
        text = f"{number:032x}"
        return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:]}"


_ids: Final = _Ids()


def new_id() -> str:
    """Return a new id for an entry: a UUID of version 7 as text. Ids made later in one process sort behind.

    Example:
        >>> first, second = new_id(), new_id()
        >>> len(first), first < second
        (36, True)
    """
    return _ids.new()
