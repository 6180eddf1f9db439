"""What the tests here compare: times of one process, taken in turn, so that a busy machine slows both sides."""

from __future__ import annotations

import gc
import sys
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

# Processors of others come and go: the best of so many is what the code costs.
ROUNDS = 30

# From Python 3.12 on, coverage of one thread slows down Python code, but not C, in all threads.
SLOWED = 1.5 if sys.version_info >= (3, 12) and sys.gettrace() is not None else 1.0
PAUSE = 0.2  # seconds


def ratio(one: Callable[[], object], other: Callable[[], object], *, rounds: int = ROUNDS) -> float:
    """Return how many times as long `one` takes as `other`: the best of each, measured in turn."""
    best_one = best_other = float("inf")
    gc.collect()
    gc.disable()
    # Where coverage is measured each line of Python costs many times what it does else, and a line in C does not.
    trace = sys.gettrace()
    sys.settrace(None)
    try:
        for _ in range(rounds):
            best_one = min(best_one, _seconds(one))
            best_other = min(best_other, _seconds(other))
    finally:
        sys.settrace(trace)
        gc.enable()
    return best_one / best_other


def settled(measure: Callable[[], float], target: float, *, attempts: int = 8) -> float:
    """Return the first ratio that is within the target, or the best of several attempts.

    A busy neighbour, who takes the caches, may stay longer than a few measurements: each pause is longer than the last.
    """
    best = measure()
    for attempt in range(1, attempts):
        if best <= target:
            break
        time.sleep(PAUSE * attempt)
        best = min(best, measure())
    return best


def _seconds(work: Callable[[], object]) -> float:
    begin = time.process_time()
    work()
    return time.process_time() - begin
