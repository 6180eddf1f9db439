"""The page on simulated outages: some seeds find the bug of its program, and none is left when the bug is mended."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from tests.page_programs import blocks

from .test_pytest_plugin import PLAIN, run

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.slow
@pytest.mark.timeout(120)
def test_the_page(tmp_path: Path) -> None:
    program, mended = (block.text for block in blocks("how-to/simulated-outages.md") if block.kind == "python")
    counts, said = run(tmp_path, program, *PLAIN)
    assert counts["failed"] >= 1
    assert counts["passed"] >= 1
    assert "SimulatedNetwork(seed=" in said
    assert ": outage " in said
    counts, said = run(tmp_path, program + mended, *PLAIN)
    assert counts == {"passed": 10}, said
