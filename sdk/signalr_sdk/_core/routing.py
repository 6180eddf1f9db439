"""Finds the object that gets each received message: a sink, the inbox, or the session itself.

A `Sink` gets the stream items and the completion that answer one call. The `Inbox` gets the calls of the other side.
Pings, Close and Ack are for the session itself.

With stateful reconnect, `new_runs` leaves out the messages that had come before the reconnect and now come again.
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
        """Take a list of stream items, and a list of the size of each item: the bytes of its encoded message."""

    def completed(self, result: Any, error: str | None, /) -> None:
        """Take the completion, the last answer of the call: a result or an error text (both `None` for no result)."""


class Inbox(Protocol):
    """Gets all messages that are no answers: the calls and cancellations of the other side."""

    def events(self, targets: list[str], arguments: list[Any], sizes: list[int], /) -> None:
        """Take invocations that want no answer, as three lists of equal length.

        Args:
            targets: the name of the method in each invocation.
            arguments: the list of arguments of each invocation.
            sizes: the bytes of each encoded invocation.
        """

    def message(self, message: HubMessage, /) -> None:
        """Take a single message: an invocation with an id, a stream invocation, or a cancellation."""


Deliveries: TypeAlias = list[tuple[Callable[..., None], tuple[Any, ...]]]
"""The calls that deliver messages, in the order in which they must be made: a function of a sink or of the inbox, and
its arguments."""


class Router:
    """Finds the sink or inbox for each received message of one connection.

    The methods do not deliver messages. They append the calls to make, each as `(function, arguments)`, to the list
    `deliveries`.

    Args:
        inbox: gets the calls and cancellations of the other side.

    Attributes:
        sinks: a dict from the id of a call or stream to its sink.
        forwards_unclaimed: whether the inbox gets items and completions that have no sink. Otherwise these are
            dropped, as the specification demands.
        dropped: whether an item or completion was dropped. The session resets this attribute.
    """

    def __init__(self, inbox: Inbox) -> None:
        self.sinks: dict[str, Sink] = {}
        self.forwards_unclaimed = False
        self.dropped = False
        self._inbox = inbox

    def route(self, batch: Batch, sizes: list[int], begin: int, end: int, deliveries: Deliveries) -> int:
        """Append to `deliveries` the calls that deliver the messages of `batch` from index `begin` up to `end`.

        One call delivers several neighbouring events, or several neighbouring items of one stream.

        Args:
            batch: the decoded messages of one payload.
            sizes: the bytes of each encoded message in the batch.
            begin: the index of the first message.
            end: the index after the last message.
            deliveries: the list of calls.

        Returns:
            The index of the first message that the session itself handles, such as a ping; later messages are not
            delivered by this call. `end` if all messages are delivered.
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
        """Append to `deliveries` the call that delivers a message; return `False` if the session must handle it."""
        if type(message) is Completion:
            sink = self.sinks.pop(message.invocation_id, None)
            if sink is not None:
                deliveries.append((sink.completed, (message.result, message.error)))
            elif self.forwards_unclaimed:
                deliveries.append((self._inbox.message, (message,)))
            else:
                self.dropped = True
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
        else:
            self.dropped = True

    def _route_result(self, name: str, result: Any, deliveries: Deliveries) -> None:
        sink = self.sinks.pop(name, None)
        if sink is not None:
            deliveries.append((sink.completed, (result, None)))
        elif self.forwards_unclaimed:
            deliveries.append((self._inbox.message, (Completion(name, result, has_result=True),)))
        else:
            self.dropped = True


def new_runs(batch: Batch, replay: Replay, size: int, now: float) -> Iterator[tuple[int, int]]:
    """Yield `(begin, end)`, two indexes into the batch, for each run of neighbouring messages that are new.

    Repeated messages, which have come before the reconnect, are in no run. A run is counted for the next Ack only when
    the caller asks for the next run: if the session ends with a message of a run, that run is not counted.

    Args:
        batch: the messages of one payload.
        replay: the message numbers of the connection.
        size: bytes of the payload.
        now: the time.

    Raises:
        RemoteProtocolError: a Sequence skips messages that have not come.
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
    """Return how many messages from index `begin` up to `end` have a type that stateful reconnect numbers."""
    kinds, values = batch.kinds, batch.values
    return sum(kinds[index] != MESSAGE or type(values[index]) in _NUMBERED for index in range(begin, end))
