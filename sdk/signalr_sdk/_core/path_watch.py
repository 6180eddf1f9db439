"""Finds out from TCP's acknowledgements whether the network path to the server is dead, or the server is only busy.

The operating system of a busy server still acknowledges the data that it gets; while its receive buffer is full, it
acknowledges TCP's probes. On a dead path all packets are lost, or all large ones (a hole for large packets). So a path
is dead if sent data stays unacknowledged for the timeout, and no acknowledgement of this data comes in this time.

Each packet of the server carries an acknowledgement, also if it acknowledges nothing new. While TCP repeats a segment
because its timer has expired, such packets say only that the way from the server is open.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import attrs

# After data was sent, wait this many seconds before `look` is called: on a good path too, an acknowledgement takes some
# time.
_FIRST_LOOK = 1.0


@attrs.frozen
class PathSample:
    """What TCP knows of one socket.

    Attributes:
        unacknowledged: the number of segments that were sent and are not acknowledged.
        since_ack: seconds since the last acknowledgement came, which may have acknowledged nothing new.
        acknowledged: the number of bytes that were ever acknowledged.
        repeats: how often TCP's timer has expired since the last new acknowledgement. A timer that expires while the
            peer's receive buffer is full does not count.
    """

    unacknowledged: int
    since_ack: float
    acknowledged: int = 0
    repeats: int = 0


class PathWatch:
    """Decides when to ask TCP about the sockets of a connection, and whether the network path of a socket is dead.

    Args:
        timeout: a path is dead after so many seconds without an acknowledgement; `None` for never.

    Attributes:
        deadline: the time at which to call `look`; infinity while all sent data is acknowledged.
    """

    def __init__(self, timeout: float | None) -> None:
        self.deadline = math.inf
        self._timeout = timeout
        self._first_look = 0.0 if timeout is None else min(_FIRST_LOOK, timeout / 4)
        # Since when each socket waits for an acknowledgement, and how much was acknowledged by then.
        self._suspects: dict[int, tuple[float, int]] = {}

    def note_sent(self, now: float) -> bool:
        """Note that data is sent now, which the server must acknowledge. Return whether `deadline` has changed."""
        if self._timeout is None or self.deadline < math.inf:
            return False
        self.deadline = now + self._first_look
        return True

    def look(self, samples: Mapping[int, PathSample], now: float) -> bool:
        """Return whether the path of any socket is dead, and set the next `deadline`.

        Args:
            samples: what TCP knows of each socket. The key is a number that means the same socket in each call. Sockets
                of which the operating system tells nothing are left out.
            now: the time in seconds, of the same clock as for `note_sent`.
        """
        assert self._timeout is not None
        suspects: dict[int, tuple[float, int]] = {}
        for name, sample in samples.items():
            if sample.unacknowledged:
                present = (now, sample.acknowledged)
                since, acknowledged = self._suspects.get(name, present)
                # The timeout of this socket began at the time `since`. If an acknowledgement has come after that time,
                # the path is not dead: the timeout begins again now.
                has_come = sample.since_ack < now - since and not sample.repeats
                is_open = has_come or sample.acknowledged > acknowledged
                suspects[name] = present if is_open else (since, acknowledged)
        self._suspects = suspects
        oldest = min((since for since, _ in suspects.values()), default=math.inf)
        dead_at = oldest + self._timeout - self._first_look
        # The next call of `look` must be soon, and not only at `dead_at`: the timeout of data that is sent after this
        # call begins at the next call. After a late call, a dead path would be noticed late.
        self.deadline = min(dead_at, now + 2 * self._first_look) if suspects else math.inf
        return now >= dead_at
