"""Stateful reconnect: both sides number, keep, acknowledge and repeat messages, so that a cut line loses nothing.

Theory of operation
-------------------
Each side numbers the messages that it sends, beginning with 1. Invocations, stream invocations, items, completions and
cancellations have a number; Ping, Close, Ack and Sequence have none. Messages do not carry their number: both sides
count.

- Sending: each numbered message is kept until an Ack of the other side covers it. While too many bytes are kept,
  senders wait. Messages without a number never wait.
- Receiving: from time to time an Ack tells the sender how many messages have come, so that the sender can drop these
  messages.
- After a cut: over the new transport each side first sends a Sequence with the number of the message that comes next,
  and then repeats all messages that are not acknowledged. The receiver drops as many messages as it had already.

ASP.NET Core does not count an item whose stream is over on its side. This happens to items that come late, and to
repeated items whose stream was already complete. So the two counts can differ, and more Sequences and *fillers*
(messages that have a number and no effect) bring them into step again:

- When a stream is over (`resync_after_stream`), a Sequence goes back to the first number that may be wrong, and fillers
  go through these numbers once more.
- In what is repeated, a run of items with the numbers j to j+r-1 is followed by the next message, by Sequence(j+1), by
  r-1 fillers, and by that message again. If the receiver counted the items, the first copy of the message counts, and
  all later messages of this group are duplicates. If the receiver did not count the items, it had received all of them
  before the cut. Then the first copy gets the number of a duplicate, the fillers are duplicates too, and the second
  copy counts.

ASP.NET Core also refuses a Sequence with a higher number than the last Sequence, even if it had received more messages
before that one. So the next Sequence keeps to the number, until a message is acknowledged that was first sent after it.
Fillers stand for messages that are acknowledged and need not be repeated.

The claims of the other side are checked: an Ack of a message that was never sent, or a Sequence that leaves a gap,
would mean that messages are lost in silence. Source: HubProtocol.md of dotnet/aspnetcore, "Ack" and "Sequence".
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable

from ..errors import RemoteProtocolError

# Send an Ack this many seconds after the first message that it covers, or earlier: when a quarter of the bytes that the
# other side may keep has come. With only one Ack a second, as in Microsoft's clients, the buffer of a fast sender would
# be full before the Ack comes, and the sender would have to wait.
_ACK_DELAY = 1.0
_ACK_PART = 4


class Replay:
    """Counts the messages of one connection in both directions, and keeps sent messages until their Ack.

    Args:
        limit: the most bytes that are kept before senders wait. The other side should have the same limit.

    Attributes:
        received: number of the last message that came.
        duplicates: how many of the next messages have come before and must be dropped.
        synced: false from a cut until the other side has sent a Sequence.
        alive: false from a cut until the other side has sent a ping or a message that it had not sent before.
        ack_at: the time at which the next Ack is due; infinity for never.
    """

    def __init__(self, limit: int) -> None:
        self.received: int = 0
        self.duplicates: int = 0
        self.synced: bool = True
        self.alive: bool = True
        self.ack_at: float = math.inf
        self._limit = limit
        # Each sent message without an Ack, encoded, and its stream id if the message is a stream item (otherwise
        # `None`).
        self._kept: deque[tuple[bytes, str | None]] = deque()
        self._bytes = 0
        self._acknowledged = 0
        # The number of the last Sequence, which the next Sequence must not exceed, and the number of the last message
        # that was sent before that Sequence. An Ack of a later message lifts the limit.
        self._ceiling = math.inf
        self._ceiling_until = 0
        self._unacknowledged_bytes = 0

    # Sending: messages are numbered and kept until the other side acknowledges them

    @property
    def full(self) -> bool:
        """Whether so many bytes are kept that senders must wait for an Ack of the other side."""
        return self._bytes >= self._limit

    @property
    def room(self) -> int:
        """Bytes that may still be kept; negative when the last message went over the limit."""
        return self._limit - self._bytes

    @property
    def next_number(self) -> int:
        """The number of the first message that is kept, or of the next message that is sent if none is kept."""
        return self._acknowledged + 1

    @property
    def kept(self) -> int:
        """The number of messages that were sent and that the other side has not acknowledged."""
        return len(self._kept)

    def keep(self, data: bytes, stream_id: str | None = None) -> None:
        """Count a message that is sent now, and keep it until it is acknowledged.

        Args:
            data: the encoded message.
            stream_id: the id of the stream, if the message is a stream item.
        """
        self._kept.append((data, stream_id))
        self._bytes += len(data)

    def acknowledge(self, number: int) -> None:
        """Drop all kept messages up to this number, since the other side has received them.

        Raises:
            RemoteProtocolError: a message with this number was never sent.
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

    def repeat(self, sequence: Callable[[int], bytes], filler: bytes) -> list[bytes]:
        """Return the messages that must be sent first after a cut: a Sequence, and all messages that are kept.

        Args:
            sequence: returns an encoded Sequence message with this number.
            filler: a message that has a number and no effect.
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
        """Return a Sequence and fillers to send after the last message of a stream.

        Return no bytes if all items of the stream are acknowledged: both sides then count alike.
        """
        items = sum(kept == stream_id for _data, kept in self._kept)
        if not items:
            return b""
        end = self.next_number + len(self._kept)
        first = self._begin_at(end - items)
        return sequence(first) + (end - first) * filler

    def _begin_at(self, number: int) -> int:
        """Return the number for a Sequence that is sent now: `number`, or less if ASP.NET Core would refuse that."""
        first = int(min(number, self._ceiling))
        self._ceiling, self._ceiling_until = first, self._acknowledged + len(self._kept)
        return first

    # Receiving: messages are counted for the Acks that the other side needs

    def expect(self, number: int, now: float) -> None:
        """Note a received Sequence: the next message has this number. An Ack becomes due, as our last may be lost.

        Raises:
            RemoteProtocolError: messages before this number have not come, and would be lost.
        """
        if not 0 < number <= self.received + 1:
            raise RemoteProtocolError(
                f"the other side goes on with message {number}, but {self.received + 1} is the next to come "
                f"(stateful reconnect)"
            )
        self.duplicates, self.synced = self.received + 1 - number, True
        self.ack_at = min(self.ack_at, now + _ACK_DELAY)

    def count(self, messages: int, size: int, now: float) -> None:
        """Note that numbered messages have come, and set the time at which their Ack is due.

        Args:
            messages: how many messages have come, without duplicates.
            size: bytes of the payload that held the messages.
            now: the time.
        """
        self.received += messages
        self.alive = True
        self._unacknowledged_bytes += size
        due = now if self._unacknowledged_bytes >= self._limit // _ACK_PART else now + _ACK_DELAY
        self.ack_at = min(self.ack_at, due)

    def next_ack(self) -> int:
        """Return the number of the last received message, for an Ack that is sent now. No Ack is due then."""
        self._unacknowledged_bytes = 0
        self.ack_at = math.inf
        return self.received
