"""Cursors: the position of a client in the messages of a classic server, for each topic that it is subscribed to.

A cursor reads `d-FE92521-B,0|C,1F`: the name of the server process, then for each topic its key and the number of the
next message in hexadecimal. A client only repeats the text; the test server also reads and writes it.
Source: SignalR/SignalR, `Cursor.cs`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from ..errors import RemoteProtocolError

_SERVER = re.compile(r"[a-z]-([0-9A-Za-z]*)-")
# A topic's key may contain the characters that separate keys and numbers; they are written with a backslash before.
_ESCAPED = re.compile(r"[\\|,]")
_ENTRY = re.compile(r"((?:\\.|[^\\|,])*),([0-9A-Fa-f]{1,16})(?:\||\Z)", re.DOTALL)


def server_of(cursor: str | None) -> str | None:
    """Return the name of the server process in a cursor; `None` if the cursor has none.

    Example:
        >>> server_of("d-FE92521-B,0|C,1F")
        'FE92521'
    """
    found = _SERVER.match(cursor or "")
    return found[1] if found else None


def write_cursor(server: str, positions: Mapping[str, int]) -> str:
    """Return a cursor.

    Args:
        server: the name of the server process.
        positions: a dict from the key of each topic to the number of the next message.

    Example:
        >>> write_cursor("FE92521", {"B": 0, "C": 31})
        'd-FE92521-B,0|C,1F'
    """
    entries = (f"{_ESCAPED.sub(_escape, key)},{number:X}" for key, number in positions.items())
    return f"d-{server}-{'|'.join(entries)}"


def read_cursor(cursor: str) -> tuple[str, dict[str, int]]:
    """Return the name of the server process in a cursor, and a dict from the key of each topic to a message number.

    Raises:
        RemoteProtocolError: the text is no cursor.

    Example:
        >>> read_cursor("d-FE92521-B,0|C,1F")
        ('FE92521', {'B': 0, 'C': 31})
    """
    found = _SERVER.match(cursor)
    if found is None:
        raise RemoteProtocolError(f"this is no cursor: {cursor!r:.100}")
    positions: dict[str, int] = {}
    at = found.end()
    while at < len(cursor):
        entry = _ENTRY.match(cursor, at)
        if entry is None:
            raise RemoteProtocolError(f"this is no cursor: {cursor!r:.100}")
        positions[re.sub(r"\\(.)", r"\1", entry[1])] = int(entry[2], 16)
        at = entry.end()
    return found[1], positions


def _escape(found: re.Match[str]) -> str:
    return "\\" + found[0]
