"""Where received messages go: to the call or stream that waits for them, or to the inbox."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias

from ..messages import CancelInvocation, Completion, Invocation, Sequence, StreamInvocation, StreamItem
from ..protocols.batches import EVENT, ITEM, MESSAGE, Batch

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ..messages import HubMessage
    from .replay import Replay

_NUMBERED = frozenset({Invocation, StreamInvocation, StreamItem, Completion, CancelInvocation})


class Sink(Protocol):
    """What waits for an answer."""

    def items(self, items: list[Any], sizes: list[int], /) -> None:
        """Take stream items, and how many bytes each had."""

    def completed(self, result: Any, error: str | None, /) -> None:
        """Take the end, with the result or the error, if there is one; nothing follows it."""


class Inbox(Protocol):
    """What takes all that the other side starts."""

    def events(self, targets: list[str], arguments: list[Any], sizes: list[int], /) -> None:
        """Take plain events: the target, arguments and bytes of each."""

    def message(self, message: HubMessage, /) -> None:
        """Take any other message."""


Deliveries: TypeAlias = list[tuple[Callable[..., None], tuple[Any, ...]]]
"""Calls to be made, in this order: functions of sinks and of the inbox, and their arguments."""


class Router:
    """Knows who waits for what. It looks up each message's sink once, and calls nobody.

    Args:
        inbox: for all that the other side starts.

    Attributes:
        sinks: by the id of the call or stream.
        takes_strays: whether the inbox gets answers to nobody too; else they are dropped, as the specification wants.
    """

    def __init__(self, inbox: Inbox) -> None:
        self.sinks: dict[str, Sink] = {}
        self.takes_strays = False
        self._inbox = inbox

    def route(self, batch: Batch, sizes: list[int], begin: int, end: int, deliveries: Deliveries) -> int:
        """Add the calls that hand on these messages; neighbours that go the same way share one.

        Returns:
            Where a message is that is for the session itself; `end` if there is none.
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
        """Add the call that hands on this message; return `False` if it is for the session itself."""
        if type(message) is Completion:
            sink = self.sinks.pop(message.invocation_id, None)
            if sink is not None:
                deliveries.append((sink.completed, (message.result, message.error)))
            elif self.takes_strays:
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
        elif self.takes_strays:
            for item, size in zip(items, sizes, strict=True):
                deliveries.append((self._inbox.message, (StreamItem(name, item, None, size),)))

    def _route_result(self, name: str, result: Any, deliveries: Deliveries) -> None:
        sink = self.sinks.pop(name, None)
        if sink is not None:
            deliveries.append((sink.completed, (result, None)))
        elif self.takes_strays:
            deliveries.append((self._inbox.message, (Completion(name, result, has_result=True),)))


def new_runs(batch: Batch, replay: Replay, size: int, now: float) -> Iterator[tuple[int, int]]:
    """Yield where each run of messages begins and ends that have not come before, and count them.

    A run is counted when the next one is asked for: who stops there leaves the last run uncounted.

    Args:
        batch: one payload of a connection with stateful reconnect.
        replay: its numbers.
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
                replay.take(count, size, now)
                size = 0


def _next_sequence(batch: Batch, begin: int) -> int:
    """Return where the next Sequence is, or the end."""
    kinds, values = batch.kinds, batch.values
    for index in range(begin, len(kinds)):
        if kinds[index] == MESSAGE and type(values[index]) is Sequence:
            return index
    return len(kinds)


def _count_numbered(batch: Batch, begin: int, end: int) -> int:
    """Return how many of these messages have a number."""
    kinds, values = batch.kinds, batch.values
    return sum(kinds[index] != MESSAGE or type(values[index]) in _NUMBERED for index in range(begin, end))
