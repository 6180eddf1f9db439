"""Runs commands in this process."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from typing import TypeAlias

import attrs
import pytest

from signalr_sdk.cli.main import main


@attrs.frozen
class Done:
    """The result of a command: exit status and output."""

    status: int
    out: str
    err: str


Signalr: TypeAlias = Callable[..., Done]


@pytest.fixture
def signalr(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Iterator[Signalr]:
    """Run `signalr` with these arguments."""
    for name, value in {"COLUMNS": "200", "NO_COLOR": "1", "TERM": "dumb"}.items():
        monkeypatch.setenv(name, value)
    logger = logging.getLogger("signalr_sdk")
    handlers, level = list(logger.handlers), logger.level

    def run(*arguments: str) -> Done:
        status = main(arguments)
        return Done(status, *capsys.readouterr())

    yield run
    logger.handlers[:] = handlers
    logger.setLevel(level)
