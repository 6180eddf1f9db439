"""Runs inputs: from the corpus, or made from a seed."""

from __future__ import annotations

import faulthandler
import sys
import time
import traceback
import zlib
from random import Random
from typing import TYPE_CHECKING

from .bounds import check_memory, check_time
from .mutation import LONGEST

if TYPE_CHECKING:
    from pathlib import Path

    from .targets import Target

# Interesting inputs of this run: further inputs are made of them.
_KEPT = 200
# Memory is measured for one input of so many, and for the large ones.
_MEASURED = 500
_LARGE = 16384
_ROUND = 2000
_HANGS = 120.0  # seconds, for a round


class Runner:
    """Runs inputs of one target.

    Attributes:
        count: how many have run.
        slowest: CPU milliseconds for each kilobyte of the slowest input over a kilobyte, and the input.
    """

    def __init__(self, target: Target, *, timed: bool = False) -> None:
        self.count = 0
        self.slowest = (0.0, b"")
        self._target = target
        self._timed = timed
        self._pool = target.seeds

    def run_corpus(self) -> None:
        """Run the inputs of the corpus, and measure all of them."""
        for data in self._target.seeds:
            self.run(data)
            check_memory(self._target.check, data)

    def run_seed(self, seed: int, count: int) -> None:
        """Run so many inputs, which depend on the seed alone."""
        random = Random(f"{self._target.name} {seed}")
        pool = self._pool = self._target.seeds
        for _ in range(count):
            data = self._target.change(random.choice(pool), random, pool)
            self.run(data)
            _remember(pool, data, random)

    def run(self, data: bytes) -> None:
        """Run one input.

        Raises:
            BrokenError: a check does not hold, or the input is over a bound.
            Exception: what the parser should not have raised.
        """
        check = self._target.check
        self.count += 1
        began = time.thread_time()
        check(data)
        milliseconds = 1000 * (time.thread_time() - began)
        if self._timed:
            check_time(check, data, milliseconds)
            each = milliseconds / (len(data) / 1024) if len(data) > 1024 else 0.0
            if each > self.slowest[0]:
                self.slowest = (each, data)
        if zlib.crc32(data) % _MEASURED == 0 or len(data) > _LARGE:
            check_memory(check, data)


def _remember(pool: list[bytes], data: bytes, random: Random) -> None:
    """Keep some inputs, so that changes add up."""
    if random.random() < 0.02:
        if len(pool) < _KEPT:
            pool.append(data[:LONGEST])
        else:
            pool[random.randrange(len(pool))] = data[:LONGEST]


def run_for(target: Target, seconds: float, seed: int, folder: Path) -> tuple[Runner, int]:
    """Run inputs for so long. What is broken is written into a folder, and to standard output.

    Returns:
        The runner, and the number of broken inputs. It stops at the third.
    """
    runner, broken = Runner(target, timed=True), 0
    until = time.monotonic() + seconds
    while time.monotonic() < until and broken < 3:
        random = Random(f"{target.name} {seed}")
        pool = target.seeds
        # What hangs has at least its traceback shown.
        faulthandler.dump_traceback_later(_HANGS, exit=True)
        for _ in range(_ROUND):
            data = target.change(random.choice(pool), random, pool)
            try:
                runner.run(data)
            except Exception as error:  # noqa: BLE001 - whatever a parser raises is to be reported
                broken += 1
                _report(target, data, error, seed, folder)
                break
            _remember(pool, data, random)
        seed += 1
    faulthandler.cancel_dump_traceback_later()
    return runner, broken


def _report(target: Target, data: bytes, error: Exception, seed: int, folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{target.name}-{zlib.crc32(data):08x}"
    path.write_bytes(data)
    lines = traceback.format_exception(error)
    sys.stdout.write(f"BROKEN {target.name}, seed {seed}, {len(data)} bytes in {path}: {data[:200]!r}\n")
    sys.stdout.write("".join(line[:2000] for line in lines[-4:]) + "\n")
    sys.stdout.flush()
