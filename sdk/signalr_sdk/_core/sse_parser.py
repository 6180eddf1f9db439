"""Server-Sent Events, as far as SignalR uses them: unnamed events of which only the data counts.

Source: the HTML standard, section "Server-sent events".
"""

from __future__ import annotations

from ..errors import RemoteProtocolError

_BOM = b"\xef\xbb\xbf"
# What a line that is still growing may hold besides data.
_FIELD = len(_BOM + b"data: ")
_CR = 0x0D
_LF = 0x0A


class SseParser:
    """Turns the bytes of an event stream, cut anywhere, into the data of its events.

    Args:
        limit: most bytes that one event may have.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._line = bytearray()  # without its end yet
        self._data: bytes | bytearray | None = None  # of the event that is being read
        self._after_cr = False
        self._at_start = True

    @property
    def incomplete(self) -> bool:
        """Whether the stream, if it ended now, would cut an event off."""
        return bool(self._line) or self._data is not None

    def feed(self, chunk: bytes) -> list[bytes]:
        """Take what arrived; return the data of each event that is complete now and has any.

        Raises:
            RemoteProtocolError: an event is over the limit. The parser is of no more use.
        """
        if self._after_cr and chunk:
            self._after_cr = False
            if chunk[0] == _LF:
                chunk = chunk[1:]
        if not chunk:
            return []
        # For bytes these are LF, CR and CRLF only: 0x1E, which SignalR's own records end with, is none.
        lines = chunk.splitlines()
        self._after_cr = chunk[-1] == _CR
        growing = b"" if self._after_cr or chunk[-1] == _LF else lines.pop()
        if lines:
            if self._line:
                lines[0] = bytes(self._line) + lines[0]
                self._line.clear()
            if self._at_start:
                self._at_start = False
                lines[0] = lines[0].removeprefix(_BOM)
        events = self._read(lines)
        self._line += growing
        self._check(max(0, len(self._line) - _FIELD))
        return events

    def _read(self, lines: list[bytes]) -> list[bytes]:
        events = []
        for line in lines:
            if line.startswith(b"data:"):
                self._add(line[6:] if line[5:6] == b" " else line[5:])
            elif not line:
                if self._data:
                    self._check()
                    events.append(bytes(self._data))
                self._data = None
            elif line == b"data":
                self._add(b"")
        return events

    def _add(self, value: bytes) -> None:
        # One line is the rule, and then nothing is copied.
        if self._data is None:
            self._data = value
            return
        if isinstance(self._data, bytes):
            self._data = bytearray(self._data)
        self._data += b"\n"
        self._data += value

    def _check(self, more: int = 0) -> None:
        size = len(self._data or b"") + more
        if size > self._limit:
            raise RemoteProtocolError(
                f"a server-sent event has {size} bytes or more, over the limit of {self._limit}: "
                "Limits.message_bytes can raise it"
            )
