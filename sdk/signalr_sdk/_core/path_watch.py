"""Tells a path that swallows all packets from a server that is only busy, by what TCP knows of its acknowledgements.

A busy server's system acknowledges what it gets, or (if it has no room) what probes ask. On a dead path nothing is
acknowledged: data stays unacknowledged at two looks, and no acknowledgement came between them.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import attrs

if TYPE_CHECKING:
    from collections.abc import Mapping

# The first look comes so many seconds after data was sent: by then most paths have acknowledged the data.
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
    """Decides when to look at the sockets of a connection, and whether one of their paths is dead.

    Args:
        timeout: seconds without an acknowledgement after which a path is dead; `None` for never.

    Attributes:
        deadline: when to call `look`; infinity while all that was sent is acknowledged.
    """

    def __init__(self, timeout: float | None) -> None:
        self.deadline = math.inf
        self._timeout = timeout
        self._first_look = 0.0 if timeout is None else min(_FIRST_LOOK, timeout / 4)
        self._suspects: dict[int, float] = {}

    def note_sent(self, now: float) -> bool:
        """Note that data goes out; return whether `deadline` has changed."""
        if self._timeout is None or self.deadline < math.inf:
            return False
        self.deadline = now + self._first_look
        return True

    def look(self, samples: Mapping[int, PathSample], now: float) -> bool:
        """Return whether a path is dead, and set the next deadline.

        Args:
            samples: by a number that stands for the socket. Sockets that cannot be asked are not in it.
            now: the time.
        """
        assert self._timeout is not None
        suspects: dict[int, float] = {}
        for name, sample in samples.items():
            if sample.unacknowledged:
                since = self._suspects.get(name, now)
                # An acknowledgement came after that look: the data that is unacknowledged now was sent later.
                suspects[name] = now if sample.since_ack < now - since else since
        self._suspects = suspects
        oldest = min(suspects.values(), default=math.inf)
        dead_at = oldest + self._timeout - self._first_look
        # Most suspects are data that was sent a moment ago. Look again soon, to see data that is sent meanwhile.
        self.deadline = min(dead_at, now + 2 * self._first_look) if suspects else math.inf
        return now >= dead_at
