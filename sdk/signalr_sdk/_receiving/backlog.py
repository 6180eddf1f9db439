"""What waits for consumers: bounded queues, and the account that all queues of a connection share.

SignalR has no flow control of its own. While a queue is above its mark, or all together hold half of what they may, the
connection stops reading for a while, so that the transport holds the server back. What all queues hold together is
bounded in bytes, as received: beyond that the fullest queue gives way.
"""

from __future__ import annotations

import sys
from collections import deque
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence


class Backlog:
    """The account of one `HubConnection`.

    Attributes:
        held: bytes in all queues.
        limit: how many they may hold.
        high: half of that: the mark in bytes.
        crowded: whether more is held.
        above: number of marks that are exceeded.
        relieved: called when none is any more; set by whoever reads.
    """

    __slots__ = ("_queues", "above", "crowded", "held", "high", "limit", "relieved")

    def __init__(self, limit: int) -> None:
        self.held = 0
        self.above = 0
        self.relieved: Callable[[], None] = _nothing
        self.limit = limit
        self.high = limit // 2
        self.crowded = False
        self._queues: set[WaitingQueue] = set()

    def join(self, queue: WaitingQueue) -> None:
        """Count this queue among those that may have to give way."""
        self._queues.add(queue)

    def leave(self, queue: WaitingQueue) -> None:
        """Forget a queue and what it holds, which may still be taken."""
        self._queues.discard(queue)
        self.release(queue.held)
        self.level(queue, above=False)
        queue.account = _NO_ACCOUNT

    def release(self, size: int) -> None:
        """Note that bytes are not held any more."""
        self.held -= size
        if self.crowded and self.held <= self.high:
            self.crowded = False
            self._count(-1)

    def crowd(self) -> None:
        """Note that much is held, and make room if it is too much."""
        if not self.crowded:
            self.crowded = True
            self._count(1)
        if self.held > self.limit:
            self.check()

    def level(self, queue: WaitingQueue, *, above: bool) -> None:
        """Note that a queue went over its mark, or is back at it."""
        if queue.above is above:
            return
        queue.above = above
        self._count(1 if above else -1)

    def _count(self, change: int) -> None:
        self.above += change
        if self.above == 0:
            self.relieved()

    def check(self) -> None:
        """Have the fullest queues give way while all hold too much. The last message of a queue always stays."""
        candidates = set(self._queues)
        while self.held > self.limit and candidates:
            fullest = max(candidates, key=_held_beyond_last)
            if len(fullest.messages) < 2:
                return
            held = self.held
            fullest.give_way(held - self.limit)
            if self.held == held:
                # What it has must stay; another one may have something.
                candidates.discard(fullest)


class WaitingQueue:
    """Messages that wait for one consumer, oldest first.

    Attributes:
        messages: what waits.
        sizes: the bytes of each.
        held: all bytes.
        mark: how many may wait before reading pauses.
        above: whether more wait.
        account: where its bytes are counted.
    """

    __slots__ = ("above", "account", "held", "mark", "messages", "sizes")

    def __init__(self, backlog: Backlog, mark: int) -> None:
        # An empty deque takes 0.7 KB, and many a queue never holds anything.
        self.messages: deque[Any] = _EMPTY
        self.sizes: deque[int] = _EMPTY
        self.held = 0
        self.mark = mark
        self.above = False
        self.account = backlog

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
            account.level(self, above=True)
        if account.held > account.high:
            account.crowd()

    def take(self) -> Any:
        """Return and remove the oldest message."""
        message = self.messages.popleft()
        self.settle()
        return message

    def settle(self) -> None:
        """Let go of the bytes of all that a consumer has popped from `messages`, before it waits for anything."""
        messages, sizes, size = self.messages, self.sizes, self.held
        if messages:
            size = 0
            for _ in range(len(sizes) - len(messages)):
                size += sizes.popleft()
        else:
            sizes.clear()
        self.held -= size
        if self.account.crowded:
            self.account.release(size)
        else:
            # As `release` does: a call for each message is a twentieth of what it costs.
            self.account.held -= size
        if self.above and len(messages) <= self.mark:
            self.account.level(self, above=False)

    def take_many(self, count: int, size: int) -> list[Any]:
        """Return and remove the oldest messages, as one step: for consumers on other threads.

        Args:
            count: so many at most.
            size: no further one when they have so many bytes.
        """
        taken: list[Any] = []
        messages, held = self.messages, 0
        for each in self.sizes:
            if len(taken) == count or held >= size:
                break
            taken.append(messages.popleft())
            held += each
        self.settle()
        return taken

    @property
    def calm(self) -> bool:
        """Whether the consumer has caught up: an episode of slowness is over."""
        return not self.above and not self.account.crowded

    def clear(self) -> None:
        """Throw away all that waits."""
        self.messages.clear()
        self.settle()

    def give_way(self, excess: int) -> None:
        """Hold less, but keep the last message: all queues together hold `excess` bytes too much."""
        goal = self.held - excess
        while self.held > goal and len(self.messages) > 1:
            self.take()


def _held_beyond_last(queue: WaitingQueue) -> int:
    return queue.held if len(queue.messages) > 1 else -1


def _nothing() -> None:
    return None


# Nothing can be added to it, by mistake either.
_EMPTY: Final[deque[Any]] = deque(maxlen=0)
# For queues that get nothing more: nobody reads its figures.
_NO_ACCOUNT = Backlog(sys.maxsize)
