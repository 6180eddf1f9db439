"""Ten kills of the processes and of the server, with a fixed seed. `tests/delivery/kills.py` makes more by hand."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from tests.interop.hub_server import ServerMissingError, find_program

from .kills import kills

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.interop
@pytest.mark.slow
@pytest.mark.timeout(170)
@pytest.mark.parametrize(("path", "protocol"), [("/ledger", "json"), ("/ledger-parallel", "messagepack")])
def test_kills_lose_nothing_and_keep_the_order(tmp_path: Path, path: str, protocol: str) -> None:
    try:
        find_program()
    except ServerMissingError as error:
        pytest.skip(str(error))
    with kills(tmp_path, path, protocol, seed=7) as run:
        run.run(5)
        run.check()
