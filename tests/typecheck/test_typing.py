"""The types that users see: mypy infers results from `result_type`, and finds wrong uses."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.mark.timeout(120)  # the first time, mypy reads all of aiohttp
def test_mypy_infers_what_users_ask_for() -> None:
    if importlib.util.find_spec("mypy") is None:
        pytest.skip("mypy is not installed (extra `lint`)")
    command = [sys.executable, "-m", "mypy", "--strict", "tests/typecheck/typed_use.py"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
