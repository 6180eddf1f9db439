"""Stateful reconnect: what both sides number, keep, acknowledge and send again, so that a cut line loses nothing.

Theory of operation
-------------------
Either side numbers the messages that it sends, from 1 on: invocations, stream invocations, items, completions and
cancellations; the numbers themselves are never sent. Pings, Close, Ack and Sequence have none.

- *Sending*: each numbered message is kept until the other side's Ack covers it. While too much is kept, senders wait;
  what has no number never does.
- *Receiving*: an Ack says from time to time how far we have come, so that the other side can let go.
- *After a cut*: over the new transport each side says first, in a Sequence, which number comes next, and then sends
  again all that is not acknowledged. What the other side has already got it counts, and drops.

What the other side claims is checked: an Ack of what was never sent, or a Sequence that leaves a gap, would mean
messages that are lost in silence. Source: HubProtocol.md of dotnet/aspnetcore, "Ack" and "Sequence".
"""

from __future__ import annotations

import math
from collections import deque

from ..errors import RemoteProtocolError

# An Ack leaves so many seconds after the first message that it covers, or when a part of what the other side may keep
# has come: with one Ack a second, as Microsoft's clients send them, a server's own buffer holds a flood up.
_ACK_DELAY = 1.0
_ACK_PART = 4


class Replay:
    """The numbers of one connection, in both directions.

    Args:
        limit: bytes that are kept for the other side before senders wait; taken as the other side's limit too.

    Attributes:
        received: number of the last message that came.
        duplicates: how many of the next messages have come before.
        ack_at: when the next Ack is due; infinity for never.
    """

    def __init__(self, limit: int) -> None:
        self.received = 0
        self.duplicates = 0
        self.ack_at = math.inf
        self._limit = limit
        self._kept: deque[bytes] = deque()
        self._bytes = 0
        self._acknowledged = 0
        self._unannounced = 0

    # Sending

    @property
    def full(self) -> bool:
        """Whether senders must wait for an Ack."""
        return self._bytes >= self._limit

    @property
    def room(self) -> int:
        """Bytes that may still be kept."""
        return self._limit - self._bytes

    @property
    def next_number(self) -> int:
        """The number of the first message that is kept; with none, of the next that is sent."""
        return self._acknowledged + 1

    @property
    def kept(self) -> list[bytes]:
        """What is to be sent again, oldest first."""
        return list(self._kept)

    def keep(self, data: bytes) -> None:
        """Number a message that goes out now, and keep it."""
        self._kept.append(data)
        self._bytes += len(data)

    def acknowledge(self, number: int) -> None:
        """Let go of all messages up to this number: the other side has them.

        Raises:
            RemoteProtocolError: they were never sent.
        """
        count = number - self._acknowledged
        if count > len(self._kept):
            raise RemoteProtocolError(
                f"the other side acknowledges message {number}, but only "
                f"{self._acknowledged + len(self._kept)} were sent (stateful reconnect)"
            )
        for _ in range(count):
            self._bytes -= len(self._kept.popleft())
            self._acknowledged += 1

    # Receiving

    def expect(self, number: int) -> None:
        """Take a Sequence: the next message has this number.

        Raises:
            RemoteProtocolError: messages before it have not come, and would be lost.
        """
        if not 0 < number <= self.received + 1:
            raise RemoteProtocolError(
                f"the other side goes on with message {number}, but {self.received + 1} is the next to come "
                f"(stateful reconnect)"
            )
        self.duplicates = self.received + 1 - number

    def take(self, count: int, size: int, now: float) -> None:
        """Note that messages have come.

        Args:
            count: how many, without those that had come before.
            size: bytes that came.
            now: the time.
        """
        self.received += count
        self._unannounced += size
        if self._unannounced >= self._limit // _ACK_PART:
            self.ack_at = min(self.ack_at, now)
        elif self.ack_at == math.inf:
            self.ack_at = now + _ACK_DELAY

    def announce(self) -> int:
        """Return the number for the Ack that goes out now."""
        self._unannounced = 0
        self.ack_at = math.inf
        return self.received
