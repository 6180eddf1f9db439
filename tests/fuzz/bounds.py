"""Bounds on what an input may cost: CPU time for each kilobyte, memory for each byte."""

from __future__ import annotations

import time
import tracemalloc
from typing import TYPE_CHECKING

from .checks import BrokenError

if TYPE_CHECKING:
    from .targets import Check

# A check handles each input several times over: whole, split, by other codecs. Generous, since machines differ; what
# grows faster than the input goes over them by orders of magnitude.
_MILLISECONDS, _MILLISECONDS_PER_KILOBYTE = 200.0, 20.0
_BYTES, _BYTES_PER_BYTE = 512 * 1024, 1500
_MEASURED_AGAIN = 3


def check_time(check: Check, data: bytes, milliseconds: float) -> None:
    """Raise if handling the input took too long, again and again.

    Args:
        check: handles an input.
        data: the input.
        milliseconds: CPU time that it took.
    """
    bound = _MILLISECONDS + _MILLISECONDS_PER_KILOBYTE * len(data) / 1024
    if milliseconds <= bound:
        return
    for _ in range(_MEASURED_AGAIN):
        began = time.thread_time()
        check(data)
        milliseconds = min(milliseconds, 1000 * (time.thread_time() - began))
    if milliseconds > bound:
        raise BrokenError(f"{len(data)} bytes took {milliseconds:.0f} ms of CPU time, over the bound of {bound:.0f} ms")


def check_memory(check: Check, data: bytes) -> None:
    """Handle the input and raise if that takes too much memory. The measurement makes it slow, and repeats exactly."""
    tracemalloc.start()
    try:
        check(data)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    bound = _BYTES + _BYTES_PER_BYTE * len(data)
    if peak > bound:
        raise BrokenError(f"{len(data)} bytes took {peak} bytes of memory, over the bound of {bound}")
