"""`CountedWarning`: one log record for many events of a kind, with their number."""

from __future__ import annotations

import asyncio
import logging
from typing import Final

_log = logging.getLogger("signalr_sdk.delivery")

# Events of a kind are counted for this number of seconds before they are logged.
_PAUSE: Final = 1.0


class CountedWarning:
    """Counts events of one kind, and logs their number: at once on `flush`, otherwise a second after the first one.

    Args:
        text: what has happened, with `%d` for the number.
    """

    def __init__(self, text: str) -> None:
        self._text = text
        self._count = 0
        self._last = ""
        self._timer: asyncio.TimerHandle | None = None

    def add(self, count: int, last: str = "") -> None:
        """Count events.

        Args:
            count: their number.
            last: more about the last one.
        """
        self._count += count
        self._last = last or self._last
        if count and self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(_PAUSE, self.flush)

    def flush(self) -> None:
        """Log what was counted."""
        timer, self._timer = self._timer, None
        if timer is not None:
            timer.cancel()
        if self._count:
            _log.warning(f"{self._text}%s", self._count, f"; the last one: {self._last}" if self._last else "")
        self._count, self._last = 0, ""
