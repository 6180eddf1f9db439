"""Fixtures of the shell tier."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from tests.scripted import ScriptedServer
from tests.servers import Authority

from signalr_sdk._http.aiohttp_client import AiohttpClient

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


@pytest.fixture
async def server() -> ScriptedServer:
    """A scripted hub server."""
    return ScriptedServer()


@pytest.fixture
async def client() -> AsyncIterator[AiohttpClient]:
    """An HTTP client with a session of its own."""
    client = AiohttpClient()
    yield client
    await client.close()


@pytest.fixture(scope="module")
def authority() -> Authority:
    """A certificate authority that no machine trusts."""
    return Authority()


@pytest.fixture(autouse=True)
def no_environment_proxies(monkeypatch: pytest.MonkeyPatch) -> None:
    """A proxy of the machine must not come between the tests and their servers."""
    for name in ("http_proxy", "https_proxy", "no_proxy", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
