"""Some kills, stops and cuts of a relay's leader, and of machines that share an outbox, with fixed seeds.

`tests/fleet/kills.py`, and `tests/delivery/kills.py` with `--redis`, make more by hand.
"""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

import pytest
from tests.delivery.kills import kills as outbox_kills
from tests.interop.hub_server import ServerMissingError, find_program

if TYPE_CHECKING:
    from pathlib import Path

    from tests.fleet.redis_process import RedisProcess


@pytest.mark.slow
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


@pytest.mark.interop
@pytest.mark.slow
@pytest.mark.timeout(170)
def test_a_shared_outbox_loses_nothing_and_keeps_the_order(tmp_path: Path, redis_process: RedisProcess) -> None:
    try:
        find_program()
    except ServerMissingError as error:
        pytest.skip(str(error))
    workers = ["a1,a2", "b1", "c1", "d1", "e1"]
    with outbox_kills(tmp_path, "/ledger", "json", 7, redis=redis_process.url, workers=workers) as run:
        run.run(5)
        run.check()
