"""Fixtures of the shell tier."""

from __future__ import annotations

import pytest
from tests.scripted import ScriptedServer


@pytest.fixture
async def server() -> ScriptedServer:
    """A scripted hub server."""
    return ScriptedServer()
