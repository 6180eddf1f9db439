"""Shrinking: the shortest schedule of faults that still fails."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import attrs

if TYPE_CHECKING:
    from .plays import Outcome, Play

# A play that fails takes about a second.
_ATTEMPTS = 200


@attrs.define
class Shrinking:
    """Shortens a play that fails.

    Attributes:
        play: the shortest play that has failed so far.
        outcome: its outcome.
        kept: the numbers of its faults in the first play.
        attempts: how many plays were run.
    """

    play: Play
    outcome: Outcome
    kept: list[int] = attrs.field(init=False)
    attempts: int = attrs.field(default=0, init=False)

    def __attrs_post_init__(self) -> None:
        # Faults that had not happened when the play failed have not caused the failure.
        self.kept = [*range(min(len(self.play.faults), self.outcome.counts["faults"]))]
        self.play = self.play.keep(self.kept)

    def shrink(self) -> None:
        """Leave faults out: first half of them at a time, in the end each of them alone."""
        size = max(1, len(self.kept) // 2)
        while True:
            shorter = self._leave_out(size)
            if size == 1 and not shorter:
                break
            size = max(1, size // 2)
        for number in range(len(self.kept)):
            self._simplify(number)

    def _leave_out(self, size: int) -> bool:
        """Try to leave out each group of so many faults; return whether one could be left out."""
        shorter, at = False, 0
        while at < len(self.kept):
            places = [*range(at), *range(at + size, len(self.kept))]
            if self._fails(self.play.keep(places)):
                self.kept = [self.kept[place] for place in places]
                shorter = True
            else:
                at += size
        return shorter

    def _simplify(self, number: int) -> None:
        """Try to let a fault come at once, and to let it last no time."""
        for name in ("pause", "lasts"):
            faults: list[Any] = [*self.play.faults]
            faults[number] = attrs.evolve(faults[number], **{name: 0.0})
            self._fails(attrs.evolve(self.play, faults=tuple(faults)))

    def _fails(self, play: Play) -> bool:
        """Run a play; if it fails, it is the shortest one."""
        if self.attempts >= _ATTEMPTS or play == self.play:
            return False
        self.attempts += 1
        outcome = play.run()
        if outcome.error is None:
            return False
        self.play, self.outcome = play, outcome
        return True
