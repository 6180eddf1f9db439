"""`Sequence`: puts numbered events in order, and says what is missing. Without a clock and without I/O.

Live events and those of `catch_up` overlap and cross. The sequence knows the position up to which everything has been
passed on, and keeps what came too early. A *reset* is another series of numbers: another epoch, or, where events have
no epoch, numbers far back on a new connection, after `catch_up` has shown that the hub does not know the last number.
"""

from __future__ import annotations

from typing import Any, TypeAlias

import attrs

from .entry import Position

Epoch: TypeAlias = str | int | None


@attrs.frozen
class Passed:
    """An event in its place."""

    item: Any
    position: Position


@attrs.frozen
class Gap:
    """Numbers that never came, from `first` to `last`."""

    first: int
    last: int
    position: Position


@attrs.frozen
class Reset:
    """The numbers begin anew."""

    before: Position
    position: Position


Output: TypeAlias = Passed | Gap | Reset


class Sequence:
    """The order of numbered events.

    Args:
        position: where to begin; `None`: with the first event that comes.
        buffer: how many events that came too early are kept.

    Attributes:
        position: everything up to here was passed on.
        has_lost: whether events were let go that must be fetched again.
        is_doubtful: whether a number far back on a new connection looks like a reset, which `catch_up` must show.
    """

    def __init__(self, position: Position | None, buffer: int) -> None:
        self.position: Position | None = position
        self.has_lost: bool = False
        self.is_doubtful: bool = False
        self._buffer = buffer
        self._early: dict[int, Any] = {}
        # Events of another epoch, and events far back on this connection, until `catch_up` says what they mean.
        self._foreign: dict[tuple[Epoch, int], Any] = {}
        self._old: dict[int, Any] = {}
        self._is_new_connection = False

    @property
    def first_missing(self) -> int | None:
        """The first number that is missing, although a later one has come; `None` if none is."""
        return self.position.number + 1 if self._early and self.position is not None else None

    @property
    def has_foreign(self) -> bool:
        """Whether events of another epoch have come."""
        return bool(self._foreign)

    def note_connection(self) -> None:
        """Note that a new connection is up."""
        self._is_new_connection = True
        self.is_doubtful = False
        self._old.clear()

    def live(self, item: Any, number: int, epoch: Epoch, room: int) -> list[Output]:
        """Take an event from the hub.

        Args:
            item: the event.
            number: its number.
            epoch: its epoch, if events have one.
            room: how many events may be passed on now.
        """
        if self.position is None:
            self.position = Position(number - 1, epoch)
        if self._is_foreign(epoch):
            self._keep(self._foreign, (epoch, number), item)
            return []
        if number <= self.position.number:
            if self._is_new_connection and epoch is None:
                self.is_doubtful = True
                self._keep(self._old, number, item)
            return []
        return self._take(item, number, epoch, room)

    def fetched(self, item: Any, number: int, epoch: Epoch, room: int) -> list[Output]:
        """Take an event from `catch_up`. The arguments are those of `live`."""
        if self.position is None:
            self.position = Position(number - 1, epoch)
        outputs: list[Output] = []
        if self._is_foreign(epoch):
            outputs.append(self._reset(Position(number - 1, epoch)))
        elif number <= self.position.number:
            return []
        else:
            self._is_new_connection = self.is_doubtful = False
        return outputs + self._take(item, number, epoch, room)

    def _is_foreign(self, epoch: Epoch) -> bool:
        known = self.position.epoch if self.position is not None else None
        return epoch is not None and known is not None and epoch != known

    def _keep(self, where: dict[Any, Any], key: object, item: Any) -> None:
        if len(where) < self._buffer:
            where[key] = item
        else:
            self.has_lost = True

    def _take(self, item: Any, number: int, epoch: Epoch, room: int) -> list[Output]:
        position = self.position
        assert position is not None
        if position.epoch is None and epoch is not None:
            self.position = position = Position(position.number, epoch)
        if number == position.number + 1:
            self._early[number] = item
            return self.advance(room)
        self._keep(self._early, number, item)
        return []

    def advance(self, room: int) -> list[Output]:
        """Pass on what is in order, as far as there is room."""
        outputs: list[Output] = []
        position = self.position
        while position is not None and position.number + 1 in self._early:
            if len(outputs) >= room:
                # Let everything go: what is fetched again comes in order, and the memory is bounded.
                self._early.clear()
                self.has_lost = True
                break
            item = self._early.pop(position.number + 1)
            self.position = position = Position(position.number + 1, position.epoch)
            outputs.append(Passed(item, position))
        return outputs

    def give_up(self, room: int) -> list[Output]:
        """Give up the numbers that are missing, and go on behind them."""
        position = self.position
        if not self._early or position is None:
            return []
        following = min(self._early)
        self.position = Position(following - 1, position.epoch)
        return [Gap(position.number + 1, following - 1, self.position), *self.advance(room)]

    def begin_foreign(self, room: int) -> list[Output]:
        """Begin the series of the newest foreign event: `catch_up` knows nothing of that series."""
        if not self._foreign:
            return []
        epoch = list(self._foreign)[-1][0]
        first = min(number for each, number in self._foreign if each == epoch)
        return [self._reset(Position(first - 1, epoch)), *self.advance(room)]

    def begin_anew(self, first: int | None, room: int) -> list[Output]:
        """Begin a new series without an epoch, with its first number.

        Args:
            first: the first number that `catch_up` has; `None` if it has none.
            room: how many events may be passed on now.
        """
        if first is None:
            first = min(self._old, default=1)
        return [self._reset(Position(first - 1)), *self.advance(room)]

    def trust(self) -> None:
        """Note that the hub still knows the last number, so that events far back are repetitions."""
        self._is_new_connection = self.is_doubtful = False
        self._old.clear()

    def _reset(self, after: Position) -> Reset:
        before = self.position
        assert before is not None
        self.position = after
        self._early = {number: item for (epoch, number), item in self._foreign.items() if epoch == after.epoch}
        if after.epoch is None:
            self._early = dict(self._old)
        self._early = {number: item for number, item in self._early.items() if number > after.number}
        self._foreign.clear()
        self.trust()
        return Reset(before, after)
