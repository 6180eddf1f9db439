"""Finds out by TCP's acknowledgements whether a path to the server is dead or the server is only busy.

The system of a busy server acknowledges the data that it gets, or, if it has no room, the probes of TCP. On a dead path
all packets are lost and nothing is acknowledged: at two looks data is unacknowledged, and no acknowledgement has come
in between.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import attrs

if TYPE_CHECKING:
    from collections.abc import Mapping

# Look for the first time so many seconds after data was sent: by then most paths have acknowledged the data.
_FIRST_LOOK = 1.0


@attrs.frozen
class PathSample:
    """What TCP knows of one socket.

    Attributes:
        unacknowledged: the number of segments that were sent and are not acknowledged.
        since_ack: seconds since the last acknowledgement came.
    """

    unacknowledged: int
    since_ack: float


class PathWatch:
    """Decides when to look at the sockets of a connection, and whether the path of a socket is dead.

    Args:
        timeout: after so many seconds without an acknowledgement a path is dead; `None` for never.

    Attributes:
        deadline: when to call `look`; infinity while all sent data is acknowledged.
    """

    def __init__(self, timeout: float | None) -> None:
        self.deadline = math.inf
        self._timeout = timeout
        self._first_look = 0.0 if timeout is None else min(_FIRST_LOOK, timeout / 4)
        self._suspects: dict[int, float] = {}

    def note_sent(self, now: float) -> bool:
        """Note that data is sent now; return whether `deadline` has changed."""
        if self._timeout is None or self.deadline < math.inf:
            return False
        self.deadline = now + self._first_look
        return True

    def look(self, samples: Mapping[int, PathSample], now: float) -> bool:
        """Return whether a path is dead, and set the next deadline.

        Args:
            samples: a sample for each socket, by a number of the socket. Sockets that cannot be asked are left out.
            now: the time.
        """
        assert self._timeout is not None
        suspects: dict[int, float] = {}
        for name, sample in samples.items():
            if sample.unacknowledged:
                since = self._suspects.get(name, now)
                # An acknowledgement has come after the earlier look, so the data that is unacknowledged now was sent
                # later.
                suspects[name] = now if sample.since_ack < now - since else since
        self._suspects = suspects
        oldest = min(suspects.values(), default=math.inf)
        dead_at = oldest + self._timeout - self._first_look
        # Most suspects are data that was sent a moment ago. Look again soon, to see data that is sent meanwhile.
        self.deadline = min(dead_at, now + 2 * self._first_look) if suspects else math.inf
        return now >= dead_at
