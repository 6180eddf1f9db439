"""`python -m tests.fuzz.guided NAME ...`: atheris, which looks for inputs that reach new code.

A module of its own, since atheris must see the package when it is imported.
"""

from __future__ import annotations

import importlib
import sys
from random import Random
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from .targets import Target


def main(name: str, arguments: list[str]) -> None:
    """Run libFuzzer over one parser; it ends the process.

    Args:
        name: name of the parser.
        arguments: of libFuzzer.
    """
    # Optional: atheris does not exist for every Python.
    atheris: Any = importlib.import_module("atheris")
    with atheris.instrument_imports(include=["signalr_sdk"]):
        target: Target = importlib.import_module("tests.fuzz.targets").TARGETS[name]
    runner = importlib.import_module("tests.fuzz.runner").Runner(target, timed=True)
    seeds = target.seeds

    def change(data: bytes, longest: int, seed: int) -> bytes:
        random = Random(seed)
        if random.random() < 0.5:
            return bytes(atheris.Mutate(data, longest))
        return target.change(data, random, seeds)[:longest]

    atheris.Setup([sys.argv[0], *arguments], runner.run, custom_mutator=change)
    atheris.Fuzz()


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2:])
