"""`Schedule`: which entries an outbox calls next, and what the end of a call means for them.

This module has no clock and does no I/O. Theory of operation:

- Entries lie in the store in the order of their commits. The schedule knows a window of them: it reads ahead.
- Entries with the same key form a *line*. Only the first entry of a line may be called. A line is *busy* while its
  first entry is under way, and *blocked* while its first entry waits for its next attempt.
- What the window cannot hold stays in the store: a line that has more entries there, at positions that were read
  already, *lags*. Reading ahead leaves out the lines that lag, so a line that is blocked, however long, never stops
  the others.
- A *call* is one entry, or several for a method that takes a list (a batch). The entries of a batch may come from
  several lines; all of these lines are then busy.
- An entry that was under way in two losses of the connection in a row is *suspect*: it is called while nothing else is
  under way, so that a further loss can only be its fault. A batch that failed is called again in halves.
"""

from __future__ import annotations

import enum
import heapq
import itertools
import sys
from collections import deque
from typing import TYPE_CHECKING, Final

import attrs

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from .entry import StoredEntry
    from .stores import Page

# The window: this number of entries, beside the first entries of blocked lines.
WINDOW: Final = 1000
# Entries of one line in the window. More only delay those of other lines.
LINE: Final = 250
# With more blocked lines than this, reading ahead stops.
BLOCKED: Final = 10_000
# After this number of losses in a row, an entry is suspect.
SUSPECT: Final = 2


class End(enum.Enum):
    """How a call ended, if not with a result."""

    FAILED = "the hub method failed, or took too long"
    REFUSED = "the hub protocol cannot encode the arguments"
    LOST = "the connection was lost during the call"
    UNSENT = "there was no connection"


@attrs.define(eq=False)
class _Marks:
    """What this process knows about an entry that was in trouble.

    Attributes:
        losses: losses of the connection in a row while the entry was under way.
        most: the most entries in a batch with this entry.
    """

    losses: int = 0
    most: int | None = None


@attrs.define(eq=False)
class _Line:
    """The entries with one key.

    Attributes:
        key: the key.
        entries: the entries in the window, in order, without those under way.
        busy: number of its entries under way.
        due: the first entry is not called before this time.
        lags_behind: the entries behind this position, up to the position of the reading, are in the store only; `None`
            if there are none.
    """

    key: str | None
    entries: deque[StoredEntry] = attrs.field(factory=deque)
    busy: int = 0
    due: float = 0.0
    lags_behind: int | None = None


@attrs.frozen(eq=False)
class Call:
    """Entries that are under way together.

    Attributes:
        method: the hub method.
        entries: the entries, in order.
        is_batch: whether the method gets one list.
        is_alone: whether nothing else may be under way, because an entry is suspect.
        revision: the revision of the store when the call began.
    """

    method: str
    entries: tuple[StoredEntry, ...]
    is_batch: bool
    is_alone: bool
    revision: int | None


@attrs.frozen
class Reading:
    """What to read next: the arguments of `OutboxStore.read`.

    Attributes:
        window: the number of the window that the reading is for.
    """

    window: int
    after: int
    limit: int
    skip: Collection[str | None] = ()
    key: str | None = None
    until: int | None = None


class Schedule:
    """Decides what to call next. Times are in seconds of any clock that never goes back.

    Args:
        batch: the methods that take one list, each with the most entries in one call.
        batch_bytes: the most bytes of the entries of one batch.

    Attributes:
        under_way: number of calls under way.
    """

    def __init__(self, batch: Mapping[str, int], batch_bytes: int) -> None:
        self.under_way: int = 0
        self._batch = batch
        self._batch_bytes = batch_bytes
        self._marks: dict[int, _Marks] = {}
        self._taken: set[int] = set()
        self._alone = False
        self._revision: int | None = None
        self._looks = True
        self._counter = itertools.count()
        self._window = 0
        self._forget()

    def _forget(self) -> None:
        self._window += 1
        self._lines: dict[str | None, _Line] = {}
        self._lagging: dict[str | None, _Line] = {}
        # Lines that lag, and have nothing in the window and nothing under way.
        self._hungry: dict[str | None, _Line] = {}
        # Heaps of (position of the first entry, number, line) and (due, number, line). An item may be out of date: the
        # line is looked at when it comes up.
        self._ready: list[tuple[int, int, _Line]] = []
        self._blocked: list[tuple[float, int, _Line]] = []
        self._held = 0
        self._read_to = 0
        self._more = True

    # Reading ahead

    def note_news(self) -> None:
        """Note that there may be new entries in the store, and that entries may have come back or be dropped."""
        self._more = self._looks = True

    def reset(self) -> None:
        """Forget the window: entries have come back, or were dropped. Those under way stay under way."""
        busy = {line.key: line for line in self._lines.values() if line.busy}
        self._forget()
        for line in busy.values():
            line.entries.clear()
            line.lags_behind, line.due = None, 0.0
            self._lines[line.key] = line

    def next_reading(self) -> Reading | None:
        """Return what to read now; `None` if the window is full enough, or there is nothing to read."""
        for line in self._hungry.values():
            return Reading(self._window, line.lags_behind or 0, LINE, key=line.key, until=self._read_to)
        if self._more and self._held <= WINDOW // 2 and len(self._blocked) <= BLOCKED:
            return Reading(self._window, self._read_to, WINDOW // 2, skip=frozenset(self._lagging))
        return self.look() if self._looks else None

    def look(self) -> Reading:
        """Return a reading of no entries, which tells whether the revision has changed."""
        return Reading(self._window, self._read_to, 0)

    def add(self, reading: Reading, page: Page, now: float, wall: float) -> None:
        """Add what was read.

        Args:
            reading: what was asked for.
            page: the answer.
            now: the time.
            wall: seconds since 1970, for entries whose next attempt was planned by another process.
        """
        if self._revision not in (None, page.revision):
            self.reset()
            self._revision = page.revision
            return
        self._revision = page.revision
        if reading.window != self._window:
            return  # what was asked for before the reset does not go on where the new window ends
        self._looks = False
        if reading.limit == 0:
            return
        if reading.until is None:
            self._read_to = max(self._read_to, page.position)
            self._more = page.more
        else:
            self._catch_up(reading, page)
        for entry in page.entries:
            if entry.position not in self._taken:
                self._append(entry, now, wall)

    def _catch_up(self, reading: Reading, page: Page) -> None:
        line = self._hungry.pop(reading.key, None)
        if line is None:
            return
        if page.more:
            line.lags_behind = page.position
            if not page.entries:
                self._hungry[line.key] = line
        else:
            line.lags_behind = None
            del self._lagging[reading.key]
            self._drop_if_empty(line)

    def _append(self, entry: StoredEntry, now: float, wall: float) -> None:
        line = self._lines.get(entry.key)
        if line is None:
            line = self._lines[entry.key] = _Line(entry.key)
        if line.lags_behind is None and (len(line.entries) >= LINE or (line.due and line.entries)):
            self._lag(line, line.entries[-1].position)
        if line.lags_behind is not None and entry.position > line.lags_behind:
            return
        line.entries.append(entry)
        self._held += 1
        if len(line.entries) == 1 and not line.busy:
            wait = entry.wait(wall) if entry.delay else 0.0
            self._place(line, now + wait if wait else 0.0)

    def _lag(self, line: _Line, position: int) -> None:
        line.lags_behind = position
        self._lagging[line.key] = line

    def _place(self, line: _Line, due: float) -> None:
        """Let the first entry of a line wait for its call."""
        line.due = due
        if due:
            # Only the first entry of a blocked line stays in the window.
            if len(line.entries) > 1:
                self._held -= len(line.entries) - 1
                first = line.entries[0]
                line.entries = deque([first])
                self._lag(line, first.position)
            heapq.heappush(self._blocked, (due, next(self._counter), line))
        else:
            heapq.heappush(self._ready, (line.entries[0].position, next(self._counter), line))

    def _drop_if_empty(self, line: _Line) -> None:
        if not line.entries and not line.busy and line.lags_behind is None and self._lines.get(line.key) is line:
            del self._lines[line.key]

    # Calling

    def next_due(self) -> float | None:
        """Return when the next blocked line may be called; `None` if none is blocked."""
        while self._blocked and not self._is_blocked(self._blocked[0]):
            heapq.heappop(self._blocked)
        return self._blocked[0][0] if self._blocked else None

    def _is_blocked(self, item: tuple[float, int, _Line]) -> bool:
        due, _number, line = item
        return bool(line.entries) and not line.busy and line.due == due and self._lines.get(line.key) is line

    def _is_ready(self, item: tuple[int, int, _Line]) -> bool:
        position, _number, line = item
        return (
            bool(line.entries)
            and line.entries[0].position == position
            and not line.busy
            and not line.due
            and self._lines.get(line.key) is line
        )

    def may_take(self, now: float) -> bool:
        """Return whether there may be something to call now."""
        due = self.next_due()
        return bool(self._ready) or (due is not None and due <= now)

    def take(self, now: float, wall: float) -> tuple[Call | None, list[StoredEntry]]:
        """Return the next call, or `None` if nothing can be called now; and entries that have expired instead.

        Args:
            now: the time.
            wall: seconds since 1970.
        """
        while (due := self.next_due()) is not None and due <= now:
            line = heapq.heappop(self._blocked)[2]
            self._place(line, 0.0)
        expired: list[StoredEntry] = []
        if self._alone:
            return None, expired
        while self._ready:
            item = heapq.heappop(self._ready)
            if not self._is_ready(item):
                continue
            line = item[2]
            entry = line.entries[0]
            if entry.has_expired(wall):
                expired.append(self._pop(line))
                self._advance(line)
                continue
            alone = self._is_suspect(entry)
            if alone and self.under_way:
                # Let the calls under way end first, and begin none.
                heapq.heappush(self._ready, item)
                return None, expired
            return self._begin(line, wall, alone=alone), expired
        return None, expired

    def _is_suspect(self, entry: StoredEntry) -> bool:
        marks = self._marks.get(entry.position)
        return marks is not None and marks.losses >= SUSPECT

    def _pop(self, line: _Line) -> StoredEntry:
        self._held -= 1
        return line.entries.popleft()

    def _advance(self, line: _Line) -> None:
        """Go on with the next entry of a line that has nothing under way."""
        if line.entries:
            self._place(line, 0.0)
        elif line.lags_behind is not None:
            self._hungry[line.key] = line
        else:
            self._drop_if_empty(line)

    def _begin(self, line: _Line, wall: float, *, alone: bool) -> Call:
        first = line.entries[0]
        most = self._batch.get(first.method)
        entries = [self._take_from(line)] if most is None else self._take_batch(line, most, wall, alone=alone)
        self.under_way += 1
        self._alone = alone
        return Call(first.method, tuple(entries), most is not None, alone, self._revision)

    def _take_from(self, line: _Line) -> StoredEntry:
        entry = self._pop(line)
        line.busy += 1
        self._taken.add(entry.position)
        return entry

    def _take_batch(self, line: _Line, most: int, wall: float, *, alone: bool) -> list[StoredEntry]:
        """Take entries of several lines, in order, as long as they fit into one call."""
        method = line.entries[0].method
        entries: list[StoredEntry] = []
        left = self._batch_bytes
        lines = [(line.entries[0].position, next(self._counter), line)]
        passed: list[tuple[int, int, _Line]] = []
        while len(entries) < most and len(passed) < most and (item := self._next_line(lines, alone=alone)) is not None:
            following = item[2]
            entry = following.entries[0]
            limit = min(most, self._most(entry))
            fits = entry.method == method and len(entries) < limit and (entry.size <= left or not entries)
            if not fits or self._is_suspect(entry) != alone or entry.has_expired(wall):
                passed.append(item)
                continue
            most, left = limit, left - entry.size
            entries.append(self._take_from(following))
            if following.entries:
                heapq.heappush(lines, (following.entries[0].position, next(self._counter), following))
        for item in passed:
            if not item[2].busy:
                heapq.heappush(self._ready, item)
        return entries

    def _next_line(self, lines: list[tuple[int, int, _Line]], *, alone: bool) -> tuple[int, int, _Line] | None:
        """Return the line with the oldest entry: of those in the batch, or of those that are ready."""
        while self._ready and not self._is_ready(self._ready[0]):
            heapq.heappop(self._ready)
        if self._ready and not alone and (not lines or self._ready[0] < lines[0]):
            return heapq.heappop(self._ready)
        return heapq.heappop(lines) if lines else None

    def _most(self, entry: StoredEntry) -> int:
        """Return the most entries in a batch with an entry."""
        if entry.attempts:
            return 1
        marks = self._marks.get(entry.position)
        return sys.maxsize if marks is None or marks.most is None else marks.most

    # Ends of calls

    def succeed(self, call: Call, *, recorded: bool = True) -> None:
        """Note that a call has its result.

        Args:
            call: the call.
            recorded: whether the store has been told. If not, call `note_recorded` later: until then, the entries are
                still in the store, and must not be called again.
        """
        self._end(call)
        if recorded:
            self.note_recorded(call)
        for entry in call.entries:
            self._marks.pop(entry.position, None)
            line = self._lines[entry.key]
            line.busy -= 1
            if not line.busy:
                self._advance(line)

    def note_recorded(self, call: Call) -> None:
        """Note that the store has been told of the result of a call."""
        for entry in call.entries:
            self._taken.discard(entry.position)

    def fail(self, call: Call, end: End) -> bool:
        """Note that a call had no result. Its entries are to be called again, first of their lines.

        Returns:
            Whether the failure counts: the call had one entry, whose retry policy is to be asked. Then call `put_off`
            or `bury`, and not before the store has been told.
        """
        counts = self._counts(call, end)
        if not counts:
            self._give_back(call)
        return counts

    def _counts(self, call: Call, end: End) -> bool:
        single = len(call.entries) == 1
        if end is End.UNSENT:
            return False
        if end is End.LOST:
            return self._note_loss(call)
        if single:
            self._marks.pop(call.entries[0].position, None)
            return True
        self._halve(call)
        return False

    def _note_loss(self, call: Call) -> bool:
        if call.is_alone and len(call.entries) == 1:
            return True
        losses = 0
        for entry in call.entries:
            marks = self._marks.setdefault(entry.position, _Marks())
            marks.losses += 1
            losses = max(losses, marks.losses)
        if losses >= SUSPECT and len(call.entries) > 1:
            self._halve(call)
        return False

    def _halve(self, call: Call) -> None:
        for entry in call.entries:
            self._marks.setdefault(entry.position, _Marks()).most = max(len(call.entries) // 2, 1)

    def put_off(self, call: Call, entry: StoredEntry, due: float) -> None:
        """Let the one entry of a failed call wait until `due`. `entry` is the entry as the store has it now."""
        self._give_back(attrs.evolve(call, entries=(entry,)), due)

    def bury(self, call: Call) -> None:
        """Go on without the one entry of a failed call, which the store has among its dead ones."""
        self.succeed(call)

    def _give_back(self, call: Call, due: float = 0.0) -> None:
        self._end(call)
        self.note_recorded(call)
        lines: dict[str | None, _Line] = {}
        for entry in reversed(call.entries):
            line = lines[entry.key] = self._lines[entry.key]
            line.busy -= 1
            line.entries.appendleft(entry)
            self._held += 1
        for line in lines.values():
            self._place(line, due)
        if call.revision != self._revision:
            # The entries may have been dropped during the call: read again what is there.
            self.reset()

    def _end(self, call: Call) -> None:
        self.under_way -= 1
        if call.is_alone:
            self._alone = False
