"""Parses Server-Sent Events as SignalR uses them: only the data of an event matters, not its name or id.

Source: the HTML standard, section "Server-sent events".
"""

from __future__ import annotations

from ..errors import RemoteProtocolError

_BOM = b"\xef\xbb\xbf"
# The most bytes in a line before the data of the event: a byte order mark and the name of the field. The limit counts
# only the data, so an incomplete line may have this many bytes more than the limit.
_FIELD = len(_BOM + b"data: ")
_CR = 0x0D
_LF = 0x0A


class SseParser:
    """Turns the bytes of an event stream, cut anywhere, into the data of its events.

    Args:
        limit: largest data of one event, in bytes.
    """

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._line = bytearray()  # the incomplete line at the end
        self._data: bytes | bytearray | None = None  # the data of the incomplete event
        self._after_cr = False
        self._at_start = True

    @property
    def incomplete(self) -> bool:
        """Whether an event has begun but is not complete. If the stream ends now, this event is lost."""
        return bool(self._line) or self._data is not None

    def feed(self, chunk: bytes) -> list[bytes]:
        """Take the next received bytes; return the data of each event that is complete. Empty events are left out.

        Raises:
            RemoteProtocolError: an event is over the limit. Drop the parser then.
        """
        if self._after_cr and chunk:
            self._after_cr = False
            if chunk[0] == _LF:
                chunk = chunk[1:]
        if not chunk:
            return []
        # `bytes.splitlines` splits at LF, CR and CRLF only, and not at 0x1E, which ends the records of SignalR.
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
        # Do not copy the data of an event with one `data:` line: nearly every event has only one line.
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
