"""Stateful reconnect: both sides number, keep, acknowledge and repeat messages, so that no message is lost.

Theory of operation
-------------------
Each side numbers the messages that it sends, beginning with 1. Invocations, stream invocations, items, completions and
cancellations have a number; Ping, Close, Ack and Sequence have none. Messages do not carry their number: both sides
count.

- Sending: each numbered message is kept until an Ack of the other side covers it. While too many bytes are kept,
  senders wait. Messages without a number never wait.
- Receiving: from time to time an Ack tells the sender how many messages have come, so that the sender can drop these
  messages.
- After the loss of a transport: over the new transport each side first sends a Sequence with the number of the message
  that comes next, and then repeats all messages that are not acknowledged. The receiver drops the messages that it had
  received over the old transport.

ASP.NET Core does not count an item whose stream is over on its side. This happens to items that come late, and to
repeated items whose stream was already complete. So the two counts can differ, and more Sequences and *fillers*
(messages that have a number and no effect) bring them into step again:

- When a stream is over (`resync_after_stream`), a Sequence goes back by as many numbers as the stream has items without
  an Ack, and as many fillers follow.
- After the loss of a transport, a repeated run of r stream items with the numbers j to j+r-1 is followed by: the next
  message (which is no item), Sequence(j+1), r-1 fillers, and the same message once more. If the receiver counts the
  repeated items, the first copy of the message counts; the fillers and the second copy have numbers that the receiver
  knows already, so it drops them. If the receiver does not count the items (it had received all of them over the old
  transport), it takes the first copy and the fillers for the items j to j+r-1 and drops them; then the second copy
  counts.

ASP.NET Core also refuses a Sequence with a higher number than the last Sequence, even if it has received all messages
between the two numbers. So a Sequence has at most the number of the last Sequence, until a message is acknowledged that
was first sent after the last Sequence. Some messages from this low number on may be acknowledged and no longer kept: a
filler is sent in place of each of these messages.

An Ack of a message that was never sent, and a Sequence that skips messages that have not come, are errors: otherwise
messages would be lost without notice. Source: HubProtocol.md of dotnet/aspnetcore, "Ack" and "Sequence".
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable

from ..errors import RemoteProtocolError

# Send an Ack `_ACK_DELAY` seconds after the first message that the Ack covers, or as soon as a quarter (`_ACK_PART`) of
# the bytes that the other side may keep has come. With only one Ack a second, as in Microsoft's clients, the other
# side's buffer would often be full, and its senders would have to wait.
_ACK_DELAY = 1.0
_ACK_PART = 4


class Replay:
    """Counts the messages of one connection in both directions, and keeps sent messages until their Ack.

    Args:
        limit: the most bytes that are kept before senders wait. The other side should have the same limit.

    Attributes:
        received: number of the last message that came.
        duplicates: how many of the next messages have come before and must be dropped.
        synced: false from `repeat` until the other side has sent a Sequence.
        alive: false from `repeat` until the other side has sent a ping or a message that it had not sent before.
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
        # `_ceiling`: the highest number that the next Sequence may have, since ASP.NET Core refuses a higher number
        # than in the last Sequence; infinity for no limit. `_ceiling_until`: the number of the last message that was
        # sent before the last Sequence. An Ack of a later message removes the limit.
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
        """The number of the oldest kept message. If no message is kept: the number that the next message will get."""
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
        """Act on a received Ack: drop all kept messages up to and including this number.

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
        """Return the encoded messages to send first over a new transport: a Sequence, and all messages that are kept.

        Args:
            sequence: a function that gets a number and returns the encoded Sequence message with this number.
            filler: an encoded message that has a number and no effect.
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
        """Return an encoded Sequence and fillers, to send after the last message of a stream of this side.

        ASP.NET Core does not count items that come after the end of a stream on its side. With the Sequence and the
        fillers, the counts of both sides are equal again. Return no bytes if the other side has acknowledged all items
        of the stream.

        Args:
            stream_id: the id of the stream.
            sequence: see `repeat`.
            filler: see `repeat`.
        """
        items = sum(kept == stream_id for _data, kept in self._kept)
        if not items:
            return b""
        end = self.next_number + len(self._kept)
        first = self._begin_at(end - items)
        return sequence(first) + (end - first) * filler

    def _begin_at(self, number: int) -> int:
        """Return the number for the next Sequence: `number`, or a lower number if ASP.NET Core refuses `number`."""
        first = int(min(number, self._ceiling))
        self._ceiling, self._ceiling_until = first, self._acknowledged + len(self._kept)
        return first

    # Receiving: messages are counted for the Acks that this side sends

    def expect(self, number: int, now: float) -> None:
        """Note a received Sequence: the next message from the other side has this number.

        An Ack becomes due, because the last Ack of this side may have been lost with the old transport.

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
        """Return the number of the last received message, to send in an Ack now. Set `ack_at` to infinity."""
        self._unacknowledged_bytes = 0
        self.ack_at = math.inf
        return self.received
