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

ASP.NET Core counts wrongly in one case: an item of a stream that is over there has no number for it. That is so for
items that come late, and when items are sent again whose stream was already complete. So what both sides count is
brought together with more Sequences and with *fillers*, messages that have a number and no meaning:

- When a stream is over (`resync_after_stream`), the last numbers that may be wrong are gone through once more with
  fillers.
- In what is sent again, a run of items at the numbers j to j+r-1 is followed by the next message, by Sequence(j+1), by
  r-1 fillers, and by that message again. Where the items were counted, the first copy counts and all that follows are
  duplicates. Where they were not, they had all come before, so the first copy has the number of a duplicate, the
  fillers are duplicates too, and the second copy is the one that counts.

And it refuses a Sequence that goes beyond where the last one has put it, also when it has come further before. So after
a Sequence the next one does not go beyond it, until a message is acknowledged that was first sent after it: fillers
stand for what is acknowledged and need not be sent again.

What the other side claims is checked: an Ack of what was never sent, or a Sequence that leaves a gap, would mean
messages that are lost in silence. Source: HubProtocol.md of dotnet/aspnetcore, "Ack" and "Sequence".
"""

from __future__ import annotations

import math
from collections import deque
from typing import TYPE_CHECKING

from ..errors import RemoteProtocolError

if TYPE_CHECKING:
    from collections.abc import Callable

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
        synced: whether the other side has said, after a cut, which message it sends next.
        alive: whether the other side has sent anything new since a cut: a message or a ping.
        ack_at: when the next Ack is due; infinity for never.
    """

    def __init__(self, limit: int) -> None:
        self.received = 0
        self.duplicates = 0
        self.synced = self.alive = True
        self.ack_at = math.inf
        self._limit = limit
        # Each with the id of the stream that it is an item of, if it is one.
        self._kept: deque[tuple[bytes, str | None]] = deque()
        self._bytes = 0
        self._acknowledged = 0
        # The number that no Sequence may go beyond, and the last message that was sent before it was said.
        self._ceiling = math.inf
        self._ceiling_until = 0
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
    def kept(self) -> int:
        """How many messages are not acknowledged."""
        return len(self._kept)

    def keep(self, data: bytes, stream_id: str | None = None) -> None:
        """Number a message that goes out now, and keep it.

        Args:
            data: the message.
            stream_id: for an item: of which stream.
        """
        self._kept.append((data, stream_id))
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
            self._bytes -= len(self._kept.popleft()[0])
            self._acknowledged += 1
        if self._acknowledged > self._ceiling_until:
            self._ceiling = math.inf

    def again(self, sequence: Callable[[int], bytes], filler: bytes) -> list[bytes]:
        """Return what is sent first after a cut.

        Args:
            sequence: encodes a Sequence.
            filler: a message that has a number and no meaning.
        """
        self.synced = self.alive = False
        self.duplicates = 0
        number, run = self.next_number, 0
        first = self._begin_at(number)
        messages = [sequence(first), *[filler] * (number - first)]
        for data, stream_id in self._kept:
            if run and stream_id is None:
                messages += [data, sequence(number - run + 1), *[filler] * (run - 1)]
            messages.append(data)
            run = 0 if stream_id is None else run + 1
            number += 1
        return messages

    def resync_after_stream(self, stream_id: str, sequence: Callable[[int], bytes], filler: bytes) -> bytes:
        """Return what brings the numbers together after the last message of a stream; nothing if they are certain."""
        items = sum(kept == stream_id for _data, kept in self._kept)
        if not items:
            return b""
        end = self.next_number + len(self._kept)
        first = self._begin_at(end - items)
        return sequence(first) + (end - first) * filler

    def _begin_at(self, number: int) -> int:
        """Return the number for a Sequence that is said now: this one, or what the last one allows."""
        first = int(min(number, self._ceiling))
        self._ceiling, self._ceiling_until = first, self._acknowledged + len(self._kept)
        return first

    # Receiving

    def expect(self, number: int, now: float) -> None:
        """Take a Sequence: the next message has this number. What follows is acknowledged, in case our Ack got lost.

        Raises:
            RemoteProtocolError: messages before it have not come, and would be lost.
        """
        if not 0 < number <= self.received + 1:
            raise RemoteProtocolError(
                f"the other side goes on with message {number}, but {self.received + 1} is the next to come "
                f"(stateful reconnect)"
            )
        self.duplicates, self.synced = self.received + 1 - number, True
        self.ack_at = min(self.ack_at, now + _ACK_DELAY)

    def take(self, count: int, size: int, now: float) -> None:
        """Note that messages have come.

        Args:
            count: how many, without those that had come before.
            size: bytes that came.
            now: the time.
        """
        self.received += count
        self.alive = True
        self._unannounced += size
        due = now if self._unannounced >= self._limit // _ACK_PART else now + _ACK_DELAY
        self.ack_at = min(self.ack_at, due)

    def announce(self) -> int:
        """Return the number for the Ack that goes out now."""
        self._unannounced = 0
        self.ack_at = math.inf
        return self.received
