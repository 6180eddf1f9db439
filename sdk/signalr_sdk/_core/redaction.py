"""Text of the other side, made fit for errors and logs."""

from __future__ import annotations

import re

# Servers like to quote what they refuse.
_SECRET = re.compile(r"(?i)(access_token=|\bbearer\s+)[^\s&\"'<>]+|\beyJ[\w-]+\.[\w.-]+")


def redact(text: str, limit: int = 200) -> str:
    r"""Return the text on one line, without control characters and tokens, cut at `limit` characters.

    Example:
        >>> redact("no\r\nway: Bearer abc")
        'no way: Bearer ***'
    """
    visible = "".join(char if char.isprintable() else " " for char in text[: 4 * limit])
    line = _SECRET.sub(lambda found: f"{found[1] or ''}***", " ".join(visible.split()))
    return line if len(line) <= limit else line[:limit] + "…"
