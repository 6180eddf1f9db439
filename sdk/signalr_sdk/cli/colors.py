"""Colours of the output on a terminal. In a pipe, with NO_COLOR or with TERM=dumb there are none."""

from __future__ import annotations

import os
import re
import sys
from typing import TextIO

_COLORS = {"red": "31", "green": "32", "yellow": "33", "blue": "34", "cyan": "36", "bold": "1", "dim": "2"}
# A key, a text, a word or a number in JSON.
_PARTS = re.compile(
    r'(?P<text>"(?:[^"\\]|\\.)*")(?P<colon>\s*:)?|(?P<word>\b(?:true|false|null)\b)|(?P<number>-?\d[\d.eE+-]*)'
)


def has_colors(stream: TextIO | None) -> bool:
    """Return whether a stream is a terminal that shows colours. NO_COLOR and FORCE_COLOR decide if they are set."""
    if os.environ.get("NO_COLOR"):
        return False
    if os.environ.get("FORCE_COLOR"):
        return True
    return stream is not None and stream.isatty() and os.environ.get("TERM") != "dumb"


def paint(text: str, color: str) -> str:
    """Return a text with the codes of a terminal for a colour around it."""
    return f"\x1b[{_COLORS[color]}m{text}\x1b[0m"


def paint_json(text: str) -> str:
    """Return a JSON text with colours for its keys, texts, numbers and words."""
    return _PARTS.sub(_painted, text)


def _painted(part: re.Match[str]) -> str:
    if part["colon"] is not None:
        return paint(part["text"], "blue") + part["colon"]
    if part["text"] is not None:
        return paint(part["text"], "green")
    return paint(part[0], "cyan" if part["number"] is not None else "yellow")


def stdout_has_colors() -> bool:
    """Return whether standard output shows colours."""
    return has_colors(sys.stdout)
