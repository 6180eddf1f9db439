"""Which fault comes when: a function of the seed and nothing else."""

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
        kind: name of the world's method that does it.
        pause: seconds of peace before it.
        lasts: seconds, where it is one that lasts.
        amount: chooses among what the kind can do: bytes, a status, a place.
        settles: whether the client is waited for before the next one.
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
    """The faults of a seed, without end. They are dealt as cards are: each kind once before any comes again.

    Args:
        seed: the same one gives the same faults.
        kinds: those that there are, in any order.
        longest: seconds that one lasts at most.
    """

    def __init__(self, seed: int, kinds: Sequence[str], longest: float = 4.0) -> None:
        self._seed = seed
        self._kinds = sorted(kinds)
        self._longest = longest

    def __iter__(self) -> Iterator[Fault]:
        chance = random.Random(self._seed)
        cards: list[str] = []
        while True:
            cards = cards or chance.sample(self._kinds, len(self._kinds))
            yield Fault(
                cards.pop(),
                pause=chance.uniform(0.0, 0.5) if chance.random() < 0.8 else 0.0,
                # Many short ones, a few long ones.
                lasts=self._longest * chance.random() ** 3,
                amount=chance.randrange(10_000),
                settles=chance.random() < 0.7,
            )
