"""Short plays of each kind, the promise that a seed repeats a play, and shrinking. Longer ones: see README.md."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from .defects import DEFECTS
from .plays import KINDS, SEAM_KINDS, THREAD_KINDS, Kind, Play
from .shrinking import Shrinking

ROOT = Path(__file__).parents[2]
FAULTS = 12
# A deliberate defect shows within so many faults.
SOON = 500


@pytest.mark.parametrize("kind", KINDS + SEAM_KINDS + THREAD_KINDS, ids=str)
def test_each_kind(kind: Kind) -> None:
    outcome = Play.by_seed(kind, seed=3, count=FAULTS).run()
    if outcome.error is not None:
        raise outcome.error
    assert outcome.counts["faults"] == FAULTS
    assert min(outcome.counts[name] for name in ("calls", "events", "items up", "items down")) > 0


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.parametrize(("count", "options"), [(FAULTS, ()), (4, ("--threads",))], ids=["asyncio", "threads"])
def test_a_seed_gives_the_same_play_in_every_process(count: int, options: tuple[str, ...]) -> None:
    def fingerprints(hash_seed: str) -> list[str]:
        command = [sys.executable, "-m", "tests.simulation", "--seed", "3", "--rounds", "1", "--fingerprints"]
        environment = {**os.environ, "PYTHONHASHSEED": hash_seed}
        done = subprocess.run(
            [*command, "--faults", str(count), *options],
            cwd=ROOT,
            env=environment,
            capture_output=True,
            text=True,
            check=True,
        )
        return done.stdout.splitlines()[: len(KINDS)]

    first = fingerprints("1")
    assert len({line.split()[2] for line in first}) == len(KINDS)
    assert fingerprints("2") == first


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("name", DEFECTS)
def test_a_defect_is_found_soon(name: str) -> None:
    """In a process of its own, since the client with the defect leaves all kinds of things behind."""
    command = [sys.executable, "-m", "tests.simulation", "--seed", "3", "--rounds", "40", "--first", "--defect", name]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    found = re.search(r"^found after (\d+) faults", done.stdout, re.MULTILINE)
    assert found is not None, done.stdout
    assert int(found[1]) <= SOON


@pytest.mark.slow
@pytest.mark.timeout(300)
def test_a_failure_shrinks() -> None:
    """Twelve faults, one of which shows the defect: one or two are left."""
    with DEFECTS["future never ends"].made():
        play = Play.by_seed(KINDS[0], seed=0, count=FAULTS)
        outcome = play.run()
        assert outcome.error is not None
        shrinking = Shrinking(play, outcome)
        shrinking.shrink()
    assert len(shrinking.play.faults) <= 2
    assert shrinking.play.faults[-1].kind in {fault.kind for fault in play.faults}
    assert shrinking.outcome.error is not None
