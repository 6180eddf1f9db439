"""Finds the hub messages in a stream of bytes that comes in arbitrary pieces, and frames messages for sending.

Text: each message ends with the record separator 0x1E. Binary: each message begins with its length, as a VarInt.
Source: HubProtocol.md of dotnet/aspnetcore, "JSON encoding" and "MessagePack encoding".
"""

from __future__ import annotations

from typing import Final

from ..errors import RemoteProtocolError

SEPARATOR: Final = b"\x1e"

# The length before a binary message has at most 5 bytes with 7 bits each, and at most 31 bits in all, so its fifth byte
# is at most 7.
_MAX_LENGTH_BYTES = 5
_MAX_LAST_BYTE = 7
# The length prefixes that have one byte, made once: to make a prefix for each message takes longer
# (tests/bench/pieces.py, "encode an item").
_SHORT_LENGTHS: Final = tuple(bytes((length,)) for length in range(0x80))
# A large payload is split into slices of whole messages, so that the event loop can run other tasks between two slices.
# A slice has about `_SLICE` bytes (more if a single message is larger), and in the binary format at most
# `_SLICE_MESSAGES` messages.
_SLICE = 32768
_SLICE_MESSAGES = 2048
# A bytes object costs 33 bytes beside its contents, so gather pieces with fewer than `_SMALL` bytes in one bytearray. A
# growing bytearray reserves an eighth more than it holds, so begin another bytearray after `_GATHERED` bytes.
_SMALL = 4096
_GATHERED = 65536


def frame_text(message: bytes) -> bytes:
    """Return the encoded message, followed by the record separator 0x1E."""
    return message + SEPARATOR


def frame_binary(message: bytes) -> bytes:
    """Return the length of the encoded message as a VarInt, followed by the message."""
    length = len(message)
    if length <= 0x7F:
        return _SHORT_LENGTHS[length] + message
    prefix = bytearray()
    while length > 0x7F:
        prefix.append(length & 0x7F | 0x80)
        length >>= 7
    prefix.append(length)
    return bytes(prefix) + message


class _Framing:
    """Keeps the pieces of an incomplete message in linear time and memory, whatever the size of the pieces.

    Attributes:
        error: the error after which `feed` returns no more messages; `None` before an error.
        pending: how many bytes of the incomplete message have come so far.
        unread: a large payload of which `feed` has returned only some messages: call `feed(b"")` for more messages.
            Empty when `feed` has returned all of them.
    """

    def __init__(self, limit: int) -> None:
        self.error: RemoteProtocolError | None = None
        self.pending: int = 0
        self.unread: bytes = b""
        self._position = 0
        self._limit = limit
        self._pieces: list[bytes | bytearray] = []

    def _with_unread(self, data: bytes) -> bytes:
        if self.unread and data:
            data, self._position = self.unread[self._position :] + data, 0
        return data or self.unread

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
        self._pieces, self.pending, self.unread = [], 0, b""

    def _fail_too_large(self, size: int) -> None:
        self._fail(
            f"a message of {size} bytes or more is over the limit of {self._limit} bytes "
            f"(Limits.message_bytes can raise it)"
        )


class TextFraming(_Framing):
    """Splits received bytes into messages, at the record separators 0x1E that end each message.

    Args:
        limit: largest message in bytes.
    """

    unread: bytes  # declared again for pyright, since this class assigns the attribute too

    def feed(self, data: bytes) -> list[bytes]:
        """Take the next received bytes; return the complete messages.

        Then look at `error`, and call `feed(b"")` while `unread` is not empty.
        """
        if self.error is not None:
            return []
        if self.unread or len(data) > _SLICE:
            data = self._next_slice(data)
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

    def _next_slice(self, data: bytes) -> bytes:
        """Return the next slice of a large payload: about 32 KiB, cut after the end of a message if it has one."""
        whole, begin = self._with_unread(data), self._position
        end = whole.rfind(SEPARATOR, begin, begin + _SLICE) + 1 or whole.find(SEPARATOR, begin) + 1 or len(whole)
        self.unread, self._position = (whole, end) if end < len(whole) else (b"", 0)
        return whole[begin:end]

    def _within_limit(self, frames: list[bytes]) -> list[bytes]:
        for index, frame in enumerate(frames):
            if len(frame) > self._limit:
                self._fail_too_large(len(frame))
                return frames[:index]
        return frames


class BinaryFraming(_Framing):
    """Splits received bytes into messages, by the VarInt length before each message.

    Args:
        limit: largest message in bytes.
    """

    unread: bytes  # declared again for pyright, since this class assigns the attribute too

    def __init__(self, limit: int) -> None:
        super().__init__(limit)
        self._needed = 0

    def feed(self, data: bytes) -> list[bytes]:
        """See `TextFraming.feed`."""
        if self.error is not None:
            return []
        data = self._with_pending(data)
        frames: list[bytes] = []
        position, end = self._position, len(data)
        stop = position + _SLICE
        while position < end:
            if position > stop or len(frames) == _SLICE_MESSAGES:
                self.unread, self._position = data, position
                return frames
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
        self.unread, self._position = b"", 0
        if self.error is None:
            self._keep(data[position:])
        return frames

    def _with_pending(self, data: bytes) -> bytes:
        """Return the bytes that earlier calls have kept, followed by `data`. The next message begins at `_position`.

        `_position` is an index of the returned bytes. No bytes are returned while too few have come for the incomplete
        message.
        """
        if self.unread:
            return self._with_unread(data)
        if not self._pieces:
            return data
        if self.pending + len(data) < self._needed:
            self._keep(data)
            return b""
        return self._join(data)

    def _long_length(self, data: bytes, position: int) -> tuple[int, int]:
        """Return `(length, index)`: a message length that takes several bytes, and where the message begins.

        The index is 0 if the length is incomplete, or wrong (then `error` is set).
        """
        length = 0
        for index, byte in enumerate(data[position : position + _MAX_LENGTH_BYTES]):
            if index == _MAX_LENGTH_BYTES - 1 and byte > _MAX_LAST_BYTE:
                self._fail("the length of a message is over 2 GB: this is not the MessagePack hub protocol")
                return 0, 0
            length |= (byte & 0x7F) << (7 * index)
            if byte <= 0x7F:
                return length, position + index + 1
        # The length is incomplete: try again when one more byte has come.
        self._needed = len(data) - position + 1
        return 0, 0

    def _fail_length(self, length: int) -> None:
        if length:
            self._fail_too_large(length)
        else:
            self._fail("a message of 0 bytes: this is not the MessagePack hub protocol")
