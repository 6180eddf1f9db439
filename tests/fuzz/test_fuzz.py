"""Some seconds of fuzzing, the same inputs each time, and the corpus: see README.md."""

from __future__ import annotations

import pytest

from .runner import Runner
from .targets import CORPUS, TARGETS

# Inputs of each parser, of some seconds in all.
COUNT = 3000


@pytest.mark.parametrize("name", TARGETS)
@pytest.mark.timeout(60)
def test_nothing_is_broken(name: str) -> None:
    runner = Runner(TARGETS[name])
    runner.run_corpus()
    runner.run_seed(1, COUNT)
    assert runner.count == COUNT + len(TARGETS[name].seeds)


def test_each_folder_of_the_corpus_belongs_to_a_parser() -> None:
    assert {path.name for path in CORPUS.iterdir()} == set(TARGETS)
