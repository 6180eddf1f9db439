"""Some kills, stops and cuts of a relay's leader, with a fixed seed. `tests/fleet/kills.py` makes more by hand."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.timeout(170)
async def test_each_number_is_in_the_stream_once_and_in_order(folder: Path) -> None:
    if shutil.which("redis-server") is None:
        pytest.skip("no redis-server on this machine: install it (Debian: apt-get install redis-server)")
    # redis-py belongs to an extra.
    from .kills import kills

    async with kills(folder, ttl=1.0, rate=200, seed=7) as run:
        for kind in ("kill", "stop", "kill", "cut_redis", "kill", "cut_hub", "kill", "kill"):
            await run.blow(kind)
        await run.finish()
        run.check()
