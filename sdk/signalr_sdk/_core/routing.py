"""Finds the receiver of each message: the sink of a call or stream, the inbox, or (for pings and the like) the session.

With stateful reconnect, `new_runs` leaves out the messages that came before the reconnect and are repeated.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias

from ..messages import CancelInvocation, Completion, HubMessage, Invocation, Sequence, StreamInvocation, StreamItem
from ..protocols.batches import EVENT, ITEM, MESSAGE, Batch

if TYPE_CHECKING:
    from .replay import Replay

# The types of messages that are numbered, kept and repeated with stateful reconnect.
_NUMBERED = frozenset({Invocation, StreamInvocation, StreamItem, Completion, CancelInvocation})


class Sink(Protocol):
    """Gets the stream items and the completion with which the other side answers one call."""

    def items(self, items: list[Any], sizes: list[int], /) -> None:
        """Take stream items, and the size of each item on the wire, in bytes."""

    def completed(self, result: Any, error: str | None, /) -> None:
        """Take the completion: a result, an error, or neither. No other method is called afterwards."""


class Inbox(Protocol):
    """Gets all messages that are no answers: the calls and cancellations of the other side."""

    def events(self, targets: list[str], arguments: list[Any], sizes: list[int], /) -> None:
        """Take invocations that want no answer: a target, a list of arguments, and a size in bytes for each."""

    def message(self, message: HubMessage, /) -> None:
        """Take a single message: an invocation with an id, a stream invocation, or a cancellation."""


Deliveries: TypeAlias = list[tuple[Callable[..., None], tuple[Any, ...]]]
"""The calls that deliver messages, in the order in which they must be made: a function of a sink or of the inbox, and
its arguments."""


class Router:
    """Finds the sink or inbox for each message of one connection. Notes the calls as deliveries, and never makes them.

    Args:
        inbox: gets the calls and cancellations of the other side.

    Attributes:
        sinks: the sinks by the id of their call or stream.
        forwards_unclaimed: whether the inbox gets items and completions that have no sink. Otherwise these are
            dropped, as the specification demands.
    """

    def __init__(self, inbox: Inbox) -> None:
        self.sinks: dict[str, Sink] = {}
        self.forwards_unclaimed = False
        self._inbox = inbox

    def route(self, batch: Batch, sizes: list[int], begin: int, end: int, deliveries: Deliveries) -> int:
        """Add the calls that deliver the rows from `begin` to `end`. Neighbours for one sink or the inbox share a call.

        Returns:
            The index of the first message for the session itself, which is not delivered; `end` if there is none.
        """
        kinds, names, values = batch.kinds, batch.names, batch.values
        while begin < end:
            kind, stop = kinds[begin], batch.end_of_run(begin, end)
            if kind == EVENT:
                deliveries.append((self._inbox.events, (names[begin:stop], values[begin:stop], sizes[begin:stop])))
            elif kind == ITEM:
                self._route_items(names[begin], values[begin:stop], sizes[begin:stop], deliveries)
            elif kind != MESSAGE:
                self._route_result(names[begin], values[begin], deliveries)
            elif not self.route_message(values[begin], sizes[begin], deliveries):
                return begin
            begin = stop
        return end

    def route_message(self, message: HubMessage | None, size: int, deliveries: Deliveries) -> bool:
        """Add the call that delivers this message; return `False` if the message is for the session, as a ping is."""
        if type(message) is Completion:
            sink = self.sinks.pop(message.invocation_id, None)
            if sink is not None:
                deliveries.append((sink.completed, (message.result, message.error)))
            elif self.forwards_unclaimed:
                deliveries.append((self._inbox.message, (message,)))
        elif type(message) is StreamItem:
            self._route_items(message.invocation_id, [message.item], [size], deliveries)
        elif isinstance(message, Invocation | StreamInvocation | CancelInvocation):
            message.size = size
            deliveries.append((self._inbox.message, (message,)))
        else:
            return False
        return True

    def _route_items(self, name: str, items: list[Any], sizes: list[int], deliveries: Deliveries) -> None:
        sink = self.sinks.get(name)
        if sink is not None:
            deliveries.append((sink.items, (items, sizes)))
        elif self.forwards_unclaimed:
            for item, size in zip(items, sizes, strict=True):
                deliveries.append((self._inbox.message, (StreamItem(name, item, None, size),)))

    def _route_result(self, name: str, result: Any, deliveries: Deliveries) -> None:
        sink = self.sinks.pop(name, None)
        if sink is not None:
            deliveries.append((sink.completed, (result, None)))
        elif self.forwards_unclaimed:
            deliveries.append((self._inbox.message, (Completion(name, result, has_result=True),)))


def new_runs(batch: Batch, replay: Replay, size: int, now: float) -> Iterator[tuple[int, int]]:
    """Yield begin and end index of each run of new messages, without messages repeated after a reconnect.

    The messages of a run are counted, for the next Ack, only when the next run is asked for. So the last run before the
    end of a session is not counted.

    Args:
        batch: the messages of one payload.
        replay: the message numbers of the connection.
        size: bytes of the payload.
        now: the time.

    Raises:
        RemoteProtocolError: a Sequence leaves a gap.
    """
    position, end = 0, len(batch.kinds)
    while position < end:
        begin = position
        if type(batch.values[begin]) is Sequence:
            replay.expect(batch.values[begin].sequence_id, now)
            position += 1
        elif replay.duplicates or not replay.synced:
            position += 1
            if not _count_numbered(batch, begin, position):
                yield begin, position
            elif replay.synced:
                replay.duplicates -= 1
        else:
            position = _next_sequence(batch, begin)
            yield begin, position
            if count := _count_numbered(batch, begin, position):
                replay.count(count, size, now)
                size = 0


def _next_sequence(batch: Batch, begin: int) -> int:
    """Return the index of the next Sequence message from `begin` on, or the end of the batch."""
    kinds, values = batch.kinds, batch.values
    for index in range(begin, len(kinds)):
        if kinds[index] == MESSAGE and type(values[index]) is Sequence:
            return index
    return len(kinds)


def _count_numbered(batch: Batch, begin: int, end: int) -> int:
    """Return how many messages from `begin` up to `end` have a number in stateful reconnect."""
    kinds, values = batch.kinds, batch.values
    return sum(kinds[index] != MESSAGE or type(values[index]) in _NUMBERED for index in range(begin, end))
