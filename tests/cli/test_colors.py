"""Colours of the output."""

from __future__ import annotations

import io

import pytest

from signalr_sdk.cli.colors import has_colors, paint_json


class Terminal(io.StringIO):
    """A terminal."""

    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(
    ("environment", "terminal", "pipe"),
    [
        ({"TERM": "xterm"}, True, False),
        ({"TERM": "dumb"}, False, False),
        ({"TERM": "xterm", "NO_COLOR": "1"}, False, False),
        ({"TERM": "dumb", "FORCE_COLOR": "1"}, True, True),
        ({"NO_COLOR": "1", "FORCE_COLOR": "1"}, False, False),
    ],
)
def test_when_there_are_colours(
    monkeypatch: pytest.MonkeyPatch, environment: dict[str, str], terminal: bool, pipe: bool
) -> None:
    for name in ("TERM", "NO_COLOR", "FORCE_COLOR"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert has_colors(Terminal()) is terminal
    assert has_colors(io.StringIO()) is pipe
    assert has_colors(None) is pipe


def test_json_in_colours() -> None:
    painted = paint_json('{"a\\"b": [1, -2.5e3, true, "x: 1", null]}')
    assert painted == (
        '{\x1b[34m"a\\"b"\x1b[0m: [\x1b[36m1\x1b[0m, \x1b[36m-2.5e3\x1b[0m, \x1b[33mtrue\x1b[0m, '
        '\x1b[32m"x: 1"\x1b[0m, \x1b[33mnull\x1b[0m]}'
    )
