"""Queues of received messages with limits: `WaitingQueue` is one queue, `Backlog` counts the bytes in all queues.

The SignalR protocol has no flow control. A connection therefore stops reading for a while if handlers or iterators are
slow: when one queue holds more messages than its `mark`, or when all queues together hold more than half of
`Limits.buffered_bytes`. While the client does not read, TCP slows the server down. If the queues together hold more
than `Limits.buffered_bytes`, the fullest queue drops messages.
"""

from __future__ import annotations

import sys
from collections import deque
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence


class Backlog:
    """Counts the bytes of received messages that wait in all queues of one hub connection.

    Attributes:
        held: the number of bytes in all queues.
        limit: the largest number of bytes in all queues.
        half: half of `limit`. Above `half`, the connection stops reading for a while.
        over_half_full: whether `held` is above `half`.
        above: the number of reasons to stop reading: one for each queue with more messages than its `mark`, and one if
            `over_half_full` is true.
        relieved: a callback that each new connection sets, called when `above` becomes 0: reading can go on.
    """

    __slots__ = ("_queues", "above", "half", "held", "limit", "over_half_full", "relieved")

    def __init__(self, limit: int) -> None:
        self.held: int = 0
        self.above: int = 0
        self.relieved: Callable[[], None] = do_nothing
        self.limit: int = limit
        self.half: int = limit // 2
        self.over_half_full: bool = False
        self._queues: set[WaitingQueue] = set()

    def join(self, queue: WaitingQueue) -> None:
        """Add a queue to the queues that drop messages when `held` is above `limit`."""
        self._queues.add(queue)

    def leave(self, queue: WaitingQueue) -> None:
        """Stop counting the bytes of a queue that has ended. The consumer may still take the messages in the queue."""
        self._queues.discard(queue)
        self.release(queue.held)
        self.note_mark(queue, above=False)
        queue.account = _NO_ACCOUNT

    def release(self, size: int) -> None:
        """Subtract bytes of messages that have left a queue."""
        self.held -= size
        if self.over_half_full and self.held <= self.half:
            self.over_half_full = False
            self._count(-1)

    def note_over_half(self) -> None:
        """Set `over_half_full` to true. If `held` is also above `limit`, make queues drop messages."""
        if not self.over_half_full:
            self.over_half_full = True
            self._count(1)
        if self.held > self.limit:
            self.shed_excess()

    def note_mark(self, queue: WaitingQueue, *, above: bool) -> None:
        """Record whether a queue holds more messages than its limit `mark`, which is a reason to stop reading."""
        if queue.above is above:
            return
        queue.above = above
        self._count(1 if above else -1)

    def _count(self, change: int) -> None:
        self.above += change
        if self.above == 0:
            self.relieved()

    def shed_excess(self) -> None:
        """Make the fullest queues drop messages until `held` is within `limit`. Each queue keeps its last message."""
        candidates = set(self._queues)
        while self.held > self.limit and candidates:
            fullest = max(candidates, key=_held_beyond_last)
            if len(fullest.messages) < 2:
                return
            held = self.held
            fullest.shed(held - self.limit)
            if self.held == held:
                # This queue can drop no more messages: try the next fullest queue.
                candidates.discard(fullest)


class WaitingQueue:
    """A queue of received messages that wait for one consumer, oldest first.

    Attributes:
        messages: the messages.
        sizes: the number of bytes of each message, as received.
        held: the sum of `sizes`.
        mark: the connection stops reading while the queue holds more messages than this number.
        above: whether the queue holds more messages than `mark`.
        account: the backlog, which counts the bytes of all queues together.
    """

    __slots__ = ("above", "account", "held", "mark", "messages", "sizes")

    def __init__(self, backlog: Backlog, mark: int) -> None:
        # All queues share one empty deque until the first `put`, because a deque takes 0.7 KB even if empty.
        self.messages: deque[Any] = _EMPTY
        self.sizes: deque[int] = _EMPTY
        self.held: int = 0
        self.mark: int = mark
        self.above: bool = False
        self.account: Backlog = backlog

    def put(self, message: Any, size: int) -> None:
        """Add a message at the end.

        Args:
            message: the object that the consumer gets.
            size: the number of bytes of the message, as received.
        """
        self.put_all((message,), (size,))

    def put_all(self, messages: Iterable[Any], sizes: Sequence[int]) -> None:
        """Add messages at the end. `sizes` has the number of bytes of each message, as received from the server."""
        if self.messages is _EMPTY:
            self.messages, self.sizes = deque(), deque()
        self.messages.extend(messages)
        self.sizes.extend(sizes)
        account, size = self.account, sum(sizes)
        self.held += size
        account.held += size
        if len(self.messages) > self.mark and not self.above:
            account.note_mark(self, above=True)
        if account.held > account.half:
            account.note_over_half()

    def take(self) -> Any:
        """Remove and return the oldest message, and subtract its bytes from the backlog."""
        message = self.messages.popleft()
        self.release_taken()
        return message

    def release_taken(self) -> None:
        """Subtract the bytes of messages that a consumer has popped from `messages`.

        After popping messages, the consumer must call `release_taken` before the next `await`: other tasks need correct
        numbers in `held` and `sizes`.
        """
        messages, sizes, size = self.messages, self.sizes, self.held
        if messages:
            size = 0
            for _ in range(len(sizes) - len(messages)):
                size += sizes.popleft()
        else:
            sizes.clear()
        self.held -= size
        if self.account.over_half_full:
            self.account.release(size)
        else:
            # Do not call `release`: the call would make receiving 5 % slower (tests/bench/test_receiving.py).
            self.account.held -= size
        if self.above and len(messages) <= self.mark:
            self.account.note_mark(self, above=False)

    def take_many(self, count: int, size: int) -> list[Any]:
        """Remove the oldest messages, and return them as a list, for a consumer on another thread.

        Args:
            count: the largest number of messages.
            size: stop when the taken messages have this number of bytes or more.
        """
        taken: list[Any] = []
        messages, held = self.messages, 0
        for each in self.sizes:
            if len(taken) == count or held >= size:
                break
            taken.append(messages.popleft())
            held += each
        self.release_taken()
        return taken

    @property
    def caught_up(self) -> bool:
        """Whether this queue gives the connection no reason to stop reading.

        True if this queue holds at most `mark` messages, and all queues together hold at most half of
        `Limits.buffered_bytes`.
        """
        return not self.above and not self.account.over_half_full

    def clear(self) -> None:
        """Discard all messages, and subtract their bytes from the backlog."""
        self.messages.clear()
        self.release_taken()

    def shed(self, excess: int) -> None:
        """Drop the oldest messages until `excess` bytes are gone or only the last message is left."""
        goal, dropped = self.held - excess, []
        while self.held > goal and len(self.messages) > 1:
            dropped.append(self.messages.popleft())
            # Do not call `self.release_taken`: `EventQueue.release_taken` would report the number of dropped events too
            # early, before `note_dropped` counts the events that this loop drops.
            WaitingQueue.release_taken(self)
        self.note_dropped(dropped)

    def note_dropped(self, messages: list[Any]) -> None:
        """Called by `shed` with the dropped messages, oldest first. A subclass can count, log or put back messages."""


def _held_beyond_last(queue: WaitingQueue) -> int:
    return queue.held if len(queue.messages) > 1 else -1


def do_nothing() -> None:
    """Do nothing: this function is the `relieved` callback of a `Backlog` while there is no connection."""


# The shared empty deque. With `maxlen=0` the deque stays empty even if code adds a message by mistake.
_EMPTY: Final[deque[Any]] = deque(maxlen=0)
# The `account` of queues that have ended. Its numbers are never used.
_NO_ACCOUNT = Backlog(sys.maxsize)
