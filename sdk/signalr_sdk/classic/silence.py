"""`SilenceWatch`: decides when a silent server is slow, when its transport is lost, and when its hubs are idle.

A server sends something within its keep-alive timeout, if only a keep-alive. Source: SignalR/SignalR,
`HeartbeatMonitor.cs` of the .NET client.
"""

from __future__ import annotations

import enum
import math
from typing import Final

# The part of the keep-alive timeout after which a silent server counts as slow.
_SLOW: Final = 2 / 3
# Without a limit, look at the clocks at this interval in seconds.
_INTERVAL: Final = 10.0


class Silence(enum.Enum):
    """What the silence of a server means."""

    NONE = enum.auto()  # nothing
    SLOW = enum.auto()  # the server is slow: said once for each silence
    LOST = enum.auto()  # the transport is lost
    IDLE = enum.auto()  # the hubs were idle for too long


class SilenceWatch:
    """Watches one connection. All times are in seconds, of one clock.

    Args:
        limit: the silence after which a transport is lost; `None` for no limit.
        idle: the time without a message of the hubs after which the connection is lost; `None` for no limit.
    """

    def __init__(self, limit: float | None, idle: float | None) -> None:
        self.limit: float | None = limit
        self.idle: float | None = idle
        self._is_slow = False
        # When the last message of a hub came; infinity before `begin_idle`.
        self._last_message = math.inf

    def begin_idle(self, now: float) -> None:
        """Begin to count the time without messages."""
        self._last_message = now

    def note_message(self, now: float) -> None:
        """Note that a hub has sent a message or an answer."""
        if self._last_message < math.inf:
            self._last_message = now

    def begin_transport(self, now: float) -> None:
        """Note that another transport was opened, which brings what the hubs have sent meanwhile."""
        self._is_slow = False
        self.note_message(now)

    def next_look(self, heard: float, now: float) -> float:
        """Return the time of the next `look`.

        Args:
            heard: when the last byte came.
            now: the time.
        """
        limit = self.limit
        due = now + _INTERVAL if limit is None else heard + limit * (1 if self._is_slow else _SLOW)
        return due if self.idle is None else min(due, self._last_message + self.idle)

    def look(self, heard: float, now: float) -> Silence:
        """Return what the silence means.

        Args:
            heard: when the last byte came.
            now: the time.
        """
        if self.limit is not None and now >= heard + self.limit:
            return Silence.LOST
        if self.idle is not None and now >= self._last_message + self.idle:
            return Silence.IDLE
        was_slow = self._is_slow
        self._is_slow = self.limit is not None and now >= heard + self.limit * _SLOW
        return Silence.SLOW if self._is_slow and not was_slow else Silence.NONE
