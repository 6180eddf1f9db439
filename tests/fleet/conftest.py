"""A redis-server for the tests of this folder, which skip themselves where there is none."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.fleet.redis_process import RedisProcess


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder with a short name: the name of a Unix socket has at most 107 characters."""
    with tempfile.TemporaryDirectory() as name:
        yield Path(name)


@pytest.fixture
def redis_program() -> str:
    """The program `redis-server`."""
    program = shutil.which("redis-server")
    if program is None:
        pytest.skip("no redis-server on this machine: install it (Debian: apt-get install redis-server)")
    return program


@pytest.fixture
def redis_process(folder: Path, redis_program: str) -> Iterator[RedisProcess]:
    """A redis-server without memory on disk."""
    # redis-py belongs to an extra.
    from tests.fleet.redis_process import RedisProcess

    server = RedisProcess(folder).start()
    yield server
    server.kill()


@pytest.fixture
def redis(redis_process: RedisProcess) -> Iterator[Any]:
    """A client for threads, to look what is in Redis."""
    with redis_process.client() as client:
        yield client
