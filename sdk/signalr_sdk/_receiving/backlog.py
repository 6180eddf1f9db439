"""Bounded queues for consumers, and the account of bytes that all queues of a connection share.

SignalR has no flow control of its own. While a queue is above its mark, or all queues together hold half of the bytes
that they may hold, the connection stops reading for a while, so that the transport holds the server back. Beyond the
whole number of bytes (`Limits.buffered_bytes`, counted as received) the fullest queue sheds messages.
"""

from __future__ import annotations

import sys
from collections import deque
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence


class Backlog:
    """The account of one hub connection.

    Attributes:
        held: bytes in all queues.
        limit: bytes that all queues may hold.
        half: half of the limit; above it reading pauses.
        over_half_full: whether more than half of the limit is held.
        above: how many reasons there are to pause reading: queues above their marks, and `over_half_full`.
        relieved: called when the last reason is gone; set by the link that reads.
    """

    __slots__ = ("_queues", "above", "half", "held", "limit", "over_half_full", "relieved")

    def __init__(self, limit: int) -> None:
        self.held: int = 0
        self.above: int = 0
        self.relieved: Callable[[], None] = _nothing
        self.limit: int = limit
        self.half: int = limit // 2
        self.over_half_full: bool = False
        self._queues: set[WaitingQueue] = set()

    def join(self, queue: WaitingQueue) -> None:
        """Count this queue among those that may have to shed messages."""
        self._queues.add(queue)

    def leave(self, queue: WaitingQueue) -> None:
        """Forget a queue and its bytes. Its messages may still be taken."""
        self._queues.discard(queue)
        self.release(queue.held)
        self.note_mark(queue, above=False)
        queue.account = _NO_ACCOUNT

    def release(self, size: int) -> None:
        """Count bytes as no longer held."""
        self.held -= size
        if self.over_half_full and self.held <= self.half:
            self.over_half_full = False
            self._count(-1)

    def note_over_half(self) -> None:
        """Note that more than half of the limit is held; above the limit have queues shed messages."""
        if not self.over_half_full:
            self.over_half_full = True
            self._count(1)
        if self.held > self.limit:
            self.shed_excess()

    def note_mark(self, queue: WaitingQueue, *, above: bool) -> None:
        """Note whether a queue is above its mark."""
        if queue.above is above:
            return
        queue.above = above
        self._count(1 if above else -1)

    def _count(self, change: int) -> None:
        self.above += change
        if self.above == 0:
            self.relieved()

    def shed_excess(self) -> None:
        """Have the fullest queues shed messages until the limit is kept. The last message of a queue always stays."""
        candidates = set(self._queues)
        while self.held > self.limit and candidates:
            fullest = max(candidates, key=_held_beyond_last)
            if len(fullest.messages) < 2:
                return
            held = self.held
            fullest.shed(held - self.limit)
            if self.held == held:
                # This queue can shed nothing more: try the next fullest.
                candidates.discard(fullest)


class WaitingQueue:
    """Messages that wait for one consumer, oldest first.

    Attributes:
        messages: the messages.
        sizes: the bytes of each message, as received.
        held: the sum of `sizes`.
        mark: the number of messages above which reading pauses.
        above: whether more messages wait than `mark`.
        account: the backlog that counts `held`.
    """

    __slots__ = ("above", "account", "held", "mark", "messages", "sizes")

    def __init__(self, backlog: Backlog, mark: int) -> None:
        # An empty deque takes 0.7 KB, and many a queue never holds anything.
        self.messages: deque[Any] = _EMPTY
        self.sizes: deque[int] = _EMPTY
        self.held: int = 0
        self.mark: int = mark
        self.above: bool = False
        self.account: Backlog = backlog

    def put(self, message: Any, size: int) -> None:
        """Add a message at the end.

        Args:
            message: what the consumer gets.
            size: bytes as received.
        """
        self.put_all((message,), (size,))

    def put_all(self, messages: Iterable[Any], sizes: Sequence[int]) -> None:
        """Add messages at the end, with the size of each."""
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
        """Return and remove the oldest message."""
        message = self.messages.popleft()
        self.release_taken()
        return message

    def release_taken(self) -> None:
        """Release the bytes of messages that a consumer has popped from `messages`. Call it before each await."""
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
            # A call of `release` for each message would cost a twentieth more (tests/bench/test_receiving.py).
            self.account.held -= size
        if self.above and len(messages) <= self.mark:
            self.account.note_mark(self, above=False)

    def take_many(self, count: int, size: int) -> list[Any]:
        """Return and remove the oldest messages in one step, for a consumer on another thread.

        Args:
            count: the largest number of messages.
            size: the number of bytes after which no further message is taken.
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
        """Whether the consumer is as fast as the server again."""
        return not self.above and not self.account.over_half_full

    def clear(self) -> None:
        """Discard all messages."""
        self.messages.clear()
        self.release_taken()

    def shed(self, excess: int) -> None:
        """Discard messages, but not the last one: all queues together hold `excess` bytes too many."""
        goal = self.held - excess
        while self.held > goal and len(self.messages) > 1:
            self.take()


def _held_beyond_last(queue: WaitingQueue) -> int:
    return queue.held if len(queue.messages) > 1 else -1


def _nothing() -> None:
    return None


# A deque that stays empty even if code adds to it by mistake.
_EMPTY: Final[deque[Any]] = deque(maxlen=0)
# The account of queues that get nothing more. Nobody reads its figures.
_NO_ACCOUNT = Backlog(sys.maxsize)
