"""Many connections that do nothing, beside as many raw WebSockets."""

from __future__ import annotations

import sys

import pytest
from tests.bench import idle

# Twice is the goal, which few connections miss: what is allocated once is spread over them.
MOST = 3.0


@pytest.mark.timeout(120)
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="memory is read from /proc, which Linux alone has")
def test_memory_of_200() -> None:
    raw, ours = (idle.measure(kind, connections=200, seconds=0.5, keep_alive=0.1) for kind in ("raw", "ours"))
    assert ours.kilobytes <= MOST * raw.kilobytes
