"""The tier of strangers: clients that other people made, against the test server."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from tests.python_server import PythonServer

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(scope="session")
def strangers_server() -> Iterator[PythonServer]:
    """The test server with the hubs that the ASP.NET Core server of the interop tests has."""
    with PythonServer.start() as server:
        yield server
