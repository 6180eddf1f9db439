"""Where one hub message ends and the next begins, in a stream that is cut anywhere.

Text: each message ends with the record separator 0x1E. Binary: its length stands before it as a VarInt.
Source: HubProtocol.md of dotnet/aspnetcore, "JSON encoding" and "MessagePack encoding".
"""

from __future__ import annotations

from typing import Final

from ..errors import RemoteProtocolError

SEPARATOR: Final = b"\x1e"

# A length has at most 5 bytes of 7 bits, and at most 31 bits in all.
_MAX_LENGTH_BYTES = 5
_MAX_LAST_BYTE = 7
_SHORT_LENGTHS: Final = tuple(bytes((length,)) for length in range(128))
# Smaller pieces are gathered, since each bytes object costs 33 bytes of its own; a gathering buffer reserves an eighth.
_SMALL = 4096
_GATHERED = 65536


def frame_text(message: bytes) -> bytes:
    """Return the message with its separator."""
    return message + SEPARATOR


def frame_binary(message: bytes) -> bytes:
    """Return the message with its length before it."""
    length = len(message)
    if length < len(_SHORT_LENGTHS):
        return _SHORT_LENGTHS[length] + message
    prefix = bytearray()
    while length > 0x7F:
        prefix.append(length & 0x7F | 0x80)
        length >>= 7
    prefix.append(length)
    return bytes(prefix) + message


class _Framing:
    """Keeps the pieces of a message that is not whole yet, so that taking them is linear in time and memory.

    Attributes:
        error: why no more messages come; the frames before it were returned.
        pending: bytes kept.
    """

    def __init__(self, limit: int) -> None:
        self.error: RemoteProtocolError | None = None
        self.pending: int = 0
        self._limit = limit
        self._pieces: list[bytes | bytearray] = []

    def _keep(self, piece: bytes) -> None:
        if not piece:
            return
        self.pending += len(piece)
        if len(piece) >= _SMALL:
            self._pieces.append(piece)
            return
        last = self._pieces[-1] if self._pieces else None
        if isinstance(last, bytearray) and len(last) < _GATHERED:
            last += piece
        else:
            self._pieces.append(bytearray(piece))

    def _join(self, last: bytes) -> bytes:
        self._pieces.append(last)
        whole = b"".join(self._pieces)
        self._pieces, self.pending = [], 0
        return whole

    def _fail(self, text: str) -> None:
        self.error = RemoteProtocolError(text)
        self._pieces, self.pending = [], 0

    def _fail_too_large(self, size: int) -> None:
        self._fail(
            f"a message of {size} bytes or more is over the limit of {self._limit} bytes "
            f"(Limits.message_bytes can raise it)"
        )


class TextFraming(_Framing):
    """Splits a stream at its separators.

    Args:
        limit: largest message in bytes.
    """

    def feed(self, data: bytes) -> list[bytes]:
        """Take a piece of the stream; return the messages that are whole, then look at `error`."""
        if self.error is not None:
            return []
        frames = data.split(SEPARATOR)
        rest = frames.pop()
        if frames and self._pieces:
            if self.pending + len(frames[0]) > self._limit:
                self._fail_too_large(self.pending + len(frames[0]))
                return []
            frames[0] = self._join(frames[0])
        if len(data) > self._limit:
            frames = self._within_limit(frames)
        if rest and self.error is None:
            if self.pending + len(rest) > self._limit:
                self._fail_too_large(self.pending + len(rest))
            else:
                self._keep(rest)
        return frames

    def _within_limit(self, frames: list[bytes]) -> list[bytes]:
        for index, frame in enumerate(frames):
            if len(frame) > self._limit:
                self._fail_too_large(len(frame))
                return frames[:index]
        return frames


class BinaryFraming(_Framing):
    """Splits a stream by the lengths in it.

    Args:
        limit: largest message in bytes.
    """

    def __init__(self, limit: int) -> None:
        super().__init__(limit)
        self._needed = 0

    def feed(self, data: bytes) -> list[bytes]:
        """Take a piece of the stream; return the messages that are whole, then look at `error`."""
        if self.error is not None:
            return []
        if self._pieces:
            if self.pending + len(data) < self._needed:
                self._keep(data)
                return []
            data = self._join(data)
        frames: list[bytes] = []
        position, end = 0, len(data)
        while position < end:
            length, begin = data[position], position + 1
            if length > 0x7F:
                length, begin = self._long_length(data, position)
                if begin == 0:
                    break
            if not 0 < length <= self._limit:
                self._fail_length(length)
                break
            if begin + length > end:
                self._needed = begin + length - position
                break
            position = begin + length
            frames.append(data[begin:position])
        if self.error is None:
            self._keep(data[position:])
        return frames

    def _long_length(self, data: bytes, position: int) -> tuple[int, int]:
        """Return a length of several bytes and where its message begins: 0 while that is not known, or never is."""
        length = 0
        for index, byte in enumerate(data[position : position + _MAX_LENGTH_BYTES]):
            if index == _MAX_LENGTH_BYTES - 1 and byte > _MAX_LAST_BYTE:
                self._fail("the length of a message is over 2 GB: this is no MessagePack hub protocol")
                return 0, 0
            length |= (byte & 0x7F) << (7 * index)
            if byte <= 0x7F:
                return length, position + index + 1
        # The length itself is cut: one more byte may do.
        self._needed = len(data) - position + 1
        return 0, 0

    def _fail_length(self, length: int) -> None:
        if length:
            self._fail_too_large(length)
        else:
            self._fail("a message of 0 bytes: this is no MessagePack hub protocol")
