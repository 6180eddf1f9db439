"""IPv4 packets as bytes: the fields that the link reads and changes."""

from __future__ import annotations

import struct
from typing import Final

_TCP: Final = 6
_SHORTEST: Final = 20  # bytes of the shortest IPv4 header, and of the shortest TCP header
_IP_CHECKSUM: Final = 10
# Where the addresses are in the IPv4 header.
SOURCE: Final = 12
DESTINATION: Final = 16
_TCP_FLAGS, _TCP_CHECKSUM = 13, 16
_SYN_AND_ACK, _SYN = 0x12, 0x02


class Segment:
    """An IPv4 packet with a TCP segment.

    Args:
        packet: the bytes of the packet; they are not changed.

    Attributes:
        source: address and port of the sender.
        destination: address and port of the receiver.
        opens: whether this is the first segment of a TCP connection.
    """

    def __init__(self, packet: bytes) -> None:
        self._packet = packet
        self._header = _header_length(packet)
        ports: tuple[int, int] = struct.unpack_from("!HH", packet, self._header)
        self.source = (packet[SOURCE : SOURCE + 4], ports[0])
        self.destination = (packet[DESTINATION : DESTINATION + 4], ports[1])
        self.opens = packet[self._header + _TCP_FLAGS] & _SYN_AND_ACK == _SYN

    def readdressed(self, at: int, address: bytes) -> bytes:
        """Return the packet with another address, and with the checksums that this takes.

        Args:
            at: `SOURCE` or `DESTINATION`.
            address: the new address, four bytes.
        """
        changed = bytearray(self._packet)
        before, changed[at : at + 4] = bytes(changed[at : at + 4]), address
        for checksum in (_IP_CHECKSUM, self._header + _TCP_CHECKSUM):
            (old,) = struct.unpack_from("!H", changed, checksum)
            struct.pack_into("!H", changed, checksum, _updated(old, before, address))
        return bytes(changed)


def is_segment(packet: bytes) -> bool:
    """Return whether this is an IPv4 packet with a whole TCP header."""
    return (
        len(packet) >= 2 * _SHORTEST
        and packet[0] >> 4 == 4
        and packet[9] == _TCP
        and len(packet) >= _header_length(packet) + _SHORTEST
    )


def with_wrong_bit(packet: bytes, chance: float) -> bytes:
    """Return the packet with one bit of its TCP segment inverted.

    Args:
        packet: the packet.
        chance: which bit: from 0.0 for the first one to below 1.0 for the last one.
    """
    first = _header_length(packet) * 8
    bit = first + int(chance * (len(packet) * 8 - first))
    changed = bytearray(packet)
    changed[bit // 8] ^= 0x80 >> bit % 8
    return bytes(changed)


def _header_length(packet: bytes) -> int:
    return (packet[0] & 0x0F) * 4


def _updated(checksum: int, before: bytes, after: bytes) -> int:
    """Return the checksum of data in which four bytes have changed (RFC 1624, equation 3)."""
    words = [~word & 0xFFFF for word in _words(before)] + [*_words(after)]
    total = (~checksum & 0xFFFF) + sum(words)
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return 0xFFFF - total


def _words(address: bytes) -> tuple[int, int]:
    return int.from_bytes(address[:2]), int.from_bytes(address[2:])
