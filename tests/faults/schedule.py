"""Which fault happens when: a pure function of a seed."""

from __future__ import annotations

import random
from typing import TYPE_CHECKING

import attrs

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence


@attrs.frozen
class Fault:
    """One fault.

    Attributes:
        kind: name of the method of `FaultyServer` that makes the fault.
        pause: seconds without a fault before this one.
        lasts: seconds that the fault lasts, if its kind lasts.
        amount: chooses among the variants of the kind: bytes, a status, a place.
        settles: whether the next fault waits until the client works again.
    """

    kind: str
    pause: float
    lasts: float
    amount: int
    settles: bool

    def __str__(self) -> str:
        then = "" if self.settles else ", and on at once"
        return f"after {self.pause:.2f} s: {self.kind} ({self.lasts:.2f} s, {self.amount}){then}"


class Schedule:
    """The endless series of faults of a seed. Each kind comes once before any kind comes again.

    Args:
        seed: the same seed gives the same faults.
        kinds: the kinds of faults, in any order.
        longest: the most seconds that a fault lasts.
    """

    def __init__(self, seed: int, kinds: Sequence[str], longest: float = 4.0) -> None:
        self._seed = seed
        self._kinds = sorted(kinds)
        self._longest = longest

    def __iter__(self) -> Iterator[Fault]:
        chance = random.Random(self._seed)
        left: list[str] = []
        while True:
            left = left or chance.sample(self._kinds, len(self._kinds))
            yield Fault(
                left.pop(),
                pause=chance.uniform(0.0, 0.5) if chance.random() < 0.8 else 0.0,
                # Many faults are short, a few are long.
                lasts=self._longest * chance.random() ** 3,
                amount=chance.randrange(10_000),
                settles=chance.random() < 0.7,
            )
