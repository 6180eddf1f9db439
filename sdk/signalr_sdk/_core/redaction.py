"""Texts from outside, made safe for errors and logs: short, on one line, and without tokens."""

from __future__ import annotations

import re

# Servers quote the request that they refuse, with its token. A JSON web token begins with eyJ, in base64 `{"`.
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
