"""Hub messages in MessagePack, nearly right: with long headers for short values, and headers that promise too much."""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable
    from random import Random

WORDS = (
    b"\x02\x91\x06",
    b"\x91\x06",
    b"\x96\x01\x80\xc0\xa1E\x91\x01\x90",
    b"\x94\x02\x80\xa13\x01",
    b"\x95\x03\x80\xa11\x03\x01",
    b"\x94\x03\x80\xa11\x02",
    b"\x93\x07\xa3bye\xc2",
    b"\x92\x09\x01",
    b"\x92\x08\x01",
    *(b"\xc0", b"\xc1", b"\xc2", b"\xc3", b"\x80", b"\x90", b"\xa0", b"\x7f", b"\xff", b"\xe0"),
    *(
        b"\xd6\xff\x00\x00\x00\x01",
        b"\xd7\xff" + bytes(8),
        b"\xc7\x0c\xff" + bytes(12),
        b"\xc7\x03\xffabc",
        b"\xd4\xff\x00",
    ),
    *(
        b"\xd6\xff\xff\xff\xff\xff",
        b"\xd7\xff" + b"\xff" * 8,
        b"\xc7\x0c\xff" + b"\xff" * 12,
        b"\xd4\x05x",
        b"\xd4\xfex",
    ),
    *(b"\xdd\xff\xff\xff\xff", b"\xdd\x00\x00\x10\x00", b"\xdf\xff\xff\xff\xff", b"\xdc\xff\xff", b"\xde\x00\x10"),
    *(
        b"\xdb\xff\xff\xff\xff",
        b"\xc6\x7f\xff\xff\xff",
        b"\xc9\x00\x00\x00\x04\x01abcd",
        b"\xa2\xff\xfe",
        b"\xa3\xed\xa0\x80",
    ),
    *(b"\xcb\x7f\xf8" + bytes(6), b"\xca\x7f\x80\x00\x00", b"\xcf" + b"\xff" * 8, b"\xd3\x80" + bytes(7)),
    *(b"\x81\x90\x01", b"\x81\x80\x01", b"\x81\xc4\x01a\x01", b"\x82\x01\x01\xca\x3f\x80\x00\x00\x02", b"\x81\xc0\xc0"),
    *(b"\xff\xff\xff\xff\x07", b"\xff\xff\xff\xff\x08", b"\x80\x80\x80\x80\x80", b"\x80\x00", b"\x81\x00"),
)
_IDS = (b"\xa11", b"\xa12", b"\xa13", b"\xa14", b"\xa19", b"\xa0", b"\xc0", b"\x01", b"\xc4\x011", b"\xd9\x011")


def payload(random: Random) -> bytes:
    """Return some messages, each with its length before it, which is now and then wrong."""
    return b"".join(framed(message(random), random) for _ in range(random.choice((1, 1, 2, 3, 8))))


def framed(frame: bytes, random: Random) -> bytes:
    """Return the message with its length before it."""
    length = len(frame) if random.random() < 0.98 else random.choice((0, 1, len(frame) + 1, 2**31, 300))
    prefix = bytearray()
    while length > 0x7F:
        prefix.append(length & 0x7F | 0x80)
        length >>= 7
    prefix.append(length)
    return bytes(prefix) + frame


def message(random: Random) -> bytes:
    """Return a message whose members may be missing, wrong or too many."""
    kind = random.choice((1, 1, 2, 2, 3, 3, 4, 5, 6, 7, 8, 9, 0, 10))
    members = [
        member if random.random() < 0.95 else value(random, 2) for member in (bytes((kind,)), *_members(kind, random))
    ]
    while members and random.random() < 0.05:
        members.pop()
    while random.random() < 0.05:
        members.append(value(random, 2))
    return _array(members, random)


def _members(kind: int, random: Random) -> list[bytes]:
    headers = b"\x80" if random.random() < 0.9 else random.choice((b"\xc0", b"\x81\xa1a\xa1b", b"\x81\xa1a\x01"))
    name, target = random.choice(_IDS), random.choice((b"\xa5Event", b"\xa5event", b"\xa0", b"\xd9\x05Event"))
    arguments = _array([value(random, 2) for _ in range(random.choice((0, 1, 2)))], random)
    ids = random.choice((b"\x90", b"\x90", b"\x91\xa15", b"\xc0"))
    call = random.choice((b"\xc0", b"\xc0", name)) if kind == 1 else name
    outcome = random.choice((b"\x01", b"\x02", b"\x03", b"\x03", b"\x03", b"\xc3", b"\x04"))
    number = random.choice((b"\x00", b"\x01", b"\x02", b"\xff", b"\xc3", b"\xcd\x01\x00"))
    by_kind = {
        1: [headers, call, target, arguments, ids][: random.choice((4, 5, 5, 5))],
        2: [headers, name, value(random, 3)],
        3: [headers, name, outcome, random.choice((value(random, 3), b"\xa4boom"))],
        4: [headers, call, target, arguments, ids],
        5: [headers, name],
        7: [random.choice((b"\xc0", b"\xa3bye", b"\xa0", value(random, 1))), random.choice((b"\xc2", b"\xc3"))],
        8: [number],
        9: [number],
    }
    return by_kind.get(kind, [])


def value(random: Random, depth: int) -> bytes:
    """Return a value of at most this depth, or now and then something that is none, or is deeply nested."""
    if random.random() < 0.005:
        deep = random.choice((100, 511, 512, 1023, 1100, 3000))
        return random.choice((b"\x91" * deep + b"\xc0", b"\x81\xa0" * deep + b"\xc0", b"\xdc\x00\x01" * deep + b"\xc0"))
    if depth <= 0 or random.random() < 0.5:
        return random.choice(_LEAVES)(random) if random.random() < 0.7 else random.choice(WORDS)
    if random.random() < 0.5:
        return _array([value(random, depth - 1) for _ in range(random.choice((0, 1, 2, 3)))], random)
    pairs = [value(random, depth - 1) for _ in range(2 * random.choice((0, 1, 2, 3)))]
    return _map(pairs, random)


def _text(random: Random) -> bytes:
    data = random.choice((b"", b"a", b"Event", b"2026-01-02", b"\xc3\xa9", b"x" * 40, b"\xff", b"\xf0\x9f\x98\x80"))
    return _sized(data, random, ((b"\xd9", ">B"), (b"\xda", ">H"), (b"\xdb", ">I")), 0xA0, 32)


def _binary(random: Random) -> bytes:
    return _sized(random.choice((b"", b"\x00", b"ab" * 9)), random, ((b"\xc4", ">B"), (b"\xc5", ">H"), (b"\xc6", ">I")))


def _number(random: Random) -> bytes:
    return random.choice(
        (b"\x00", b"\x05", b"\xcc\xff", b"\xcd\x00\x01", b"\xd0\x80", b"\xd2\xff\xff\xff\xff", b"\xca\x40\x00\x00\x00")
    )


def _extension(random: Random) -> bytes:
    data = bytes(random.getrandbits(8) for _ in range(random.choice((0, 1, 4, 8, 12, 13))))
    code = random.choice((b"\xff", b"\xff", b"\x01", b"\x80", b"\xfe"))
    return b"\xc7" + bytes((len(data),)) + code + data


_LEAVES: tuple[Callable[[Random], bytes], ...] = (_text, _text, _binary, _number, _extension)


def _sized(
    data: bytes, random: Random, forms: tuple[tuple[bytes, str], ...], short: int | None = None, longest: int = 0
) -> bytes:
    length = len(data) if random.random() < 0.98 else len(data) + random.choice((1, 200))
    if short is not None and length < longest and random.random() < 0.7:
        return bytes((short + length,)) + data
    header, form = random.choice(forms)
    return header + struct.pack(form, min(length, 255)) + data


def _array(members: list[bytes], random: Random) -> bytes:
    return _counted(members, len(members), random, 0x90, b"\xdc\xdd")


def _map(pairs: list[bytes], random: Random) -> bytes:
    return _counted(pairs, len(pairs) // 2, random, 0x80, b"\xde\xdf")


def _counted(parts: list[bytes], count: int, random: Random, short: int, headers: bytes) -> bytes:
    if random.random() < 0.01:
        count += random.choice((1, 1000, 60000))
    if count < 16 and random.random() < 0.9:
        return bytes((short + count,)) + b"".join(parts)
    if count < 65536 and random.random() < 0.5:
        return headers[:1] + struct.pack(">H", count) + b"".join(parts)
    return headers[1:] + struct.pack(">I", count) + b"".join(parts)
