"""The programs of the tutorial do what it says."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tokenize
from itertools import pairwise
from pathlib import Path

import pytest

# Starting a process can take seconds on a busy machine.
pytestmark = pytest.mark.timeout(60)

_DOCS = Path(__file__).parents[1] / "docs"
_TUTORIAL = _DOCS / "tutorial.md"
_PAIR = re.compile(r"^```python\n(.+?)^```\n\n```text\n(.+?)^```$", re.MULTILINE | re.DOTALL)
_PAIRS = _PAIR.findall(_TUTORIAL.read_text(encoding="utf-8"))


def test_every_example_is_on_its_page() -> None:
    page = (_DOCS / "examples.md").read_text(encoding="utf-8")
    examples = _DOCS.parent / "examples"
    there = {path.relative_to(examples).as_posix() for path in examples.rglob("*.py")}
    assert set(re.findall(r"`([\w/]+\.py)`", page)) == there


# Programs that show how little code a whole task takes, and the most lines of code that each may have.
SHORT = {
    "eager_bot.py": 60,
    "fastapi_service.py": 60,
    "log_handler.py": 60,
    "market_recorder.py": 60,
    "meter.py": 25,
    "series_library.py": 60,
    "smart_home.py": 60,
    "trading_bot.py": 60,
}

NO_CODE = (tokenize.COMMENT, tokenize.NL, tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT, tokenize.ENDMARKER)


@pytest.mark.parametrize("name", SHORT)
def test_a_short_example_is_short(name: str) -> None:
    with (_DOCS.parent / "examples" / name).open(encoding="utf-8") as file:
        tokens = list(tokenize.generate_tokens(file.readline))
    code: set[int] = set()
    # The first token is the docstring of the module.
    for before, token in pairwise(tokens):
        is_docstring = token.type == tokenize.STRING and before.type == tokenize.INDENT
        if token.type not in NO_CODE and not is_docstring:
            code |= set(range(token.start[0], token.end[0] + 1))
    assert len(code) <= SHORT[name]
    assert {"FaultProxy", "faults"} & {token.string for token in tokens}, "each has an outage"


def test_every_program_has_its_output() -> None:
    assert len(_PAIRS) == _TUTORIAL.read_text(encoding="utf-8").count("```python") > 0


@pytest.mark.parametrize(("program", "output"), _PAIRS, ids=range(1, len(_PAIRS) + 1))
def test_a_program_of_the_tutorial(program: str, output: str) -> None:
    environment = {name: text for name, text in os.environ.items() if not name.lower().endswith("_proxy")}
    environment.pop("PYTHONASYNCIODEBUG", None)  # on a busy machine, asyncio would say what is slow
    done = subprocess.run(
        [sys.executable, "-W", "error", "-"],
        input=program,
        capture_output=True,
        text=True,
        timeout=50,
        check=False,
        env=environment,
    )
    assert (done.stdout, done.stderr, done.returncode) == (output, "", 0)
