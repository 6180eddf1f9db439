"""Changes of bytes that know no format, but know the words of one."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from random import Random

INTERESTING = (0, 1, 9, 10, 13, 30, 31, 32, 34, 58, 91, 92, 127, 128, 129, 144, 160, 192, 193, 220, 221, 222, 223, 255)
LONGEST = 4096
# A part is repeated up to so many bytes: what costs more than linear time shows there.
LARGEST = 65536


def mutate(data: bytes, random: Random, words: Sequence[bytes], others: Sequence[bytes]) -> bytes:
    """Return the bytes after some changes.

    Args:
        data: the bytes.
        random: decides.
        words: words of the format.
        others: further inputs, to take parts of.
    """
    for _ in range(random.choice((1, 1, 1, 2, 3, 5, 8))):
        data = random.choice(_CHANGES)(data, random, words, others)[:LONGEST]
    if random.random() < 0.002:
        data = _grow(data, random)
    return data


def _span(data: bytes, random: Random) -> tuple[int, int]:
    begin = random.randint(0, len(data))
    return begin, min(len(data), begin + random.choice((1, 1, 2, 4, 8, 32, 200)))


def _set(data: bytes, random: Random, _words: Sequence[bytes], _others: Sequence[bytes]) -> bytes:
    begin, end = _span(data, random)
    byte = random.choice(INTERESTING) if random.random() < 0.5 else random.getrandbits(8)
    return data[:begin] + bytes((byte,)) + data[end if random.random() < 0.2 else begin + 1 :]


def _flip(data: bytes, random: Random, _words: Sequence[bytes], _others: Sequence[bytes]) -> bytes:
    if not data:
        return data
    place = random.randrange(len(data))
    return data[:place] + bytes((data[place] ^ 1 << random.randrange(8),)) + data[place + 1 :]


def _delete(data: bytes, random: Random, _words: Sequence[bytes], _others: Sequence[bytes]) -> bytes:
    begin, end = _span(data, random)
    return data[:begin] + data[end:]


def _repeat(data: bytes, random: Random, _words: Sequence[bytes], _others: Sequence[bytes]) -> bytes:
    begin, end = _span(data, random)
    return data[:begin] + data[begin:end] * random.choice((2, 2, 3, 10, 100)) + data[end:]


def _insert(data: bytes, random: Random, words: Sequence[bytes], _others: Sequence[bytes]) -> bytes:
    begin, end = _span(data, random)
    return data[:begin] + random.choice(words) + data[end if random.random() < 0.5 else begin :]


def _move(data: bytes, random: Random, _words: Sequence[bytes], _others: Sequence[bytes]) -> bytes:
    begin, end = _span(data, random)
    rest = data[:begin] + data[end:]
    place = random.randint(0, len(rest))
    return rest[:place] + data[begin:end] + rest[place:]


def _splice(data: bytes, random: Random, _words: Sequence[bytes], others: Sequence[bytes]) -> bytes:
    other = random.choice(others)
    return data[: random.randint(0, len(data))] + other[random.randint(0, len(other)) :]


def _cut(data: bytes, random: Random, _words: Sequence[bytes], _others: Sequence[bytes]) -> bytes:
    return data[: random.randint(0, len(data))]


_CHANGES: tuple[Callable[[bytes, Random, Sequence[bytes], Sequence[bytes]], bytes], ...] = (
    _set,
    _set,
    _flip,
    _delete,
    _repeat,
    _insert,
    _insert,
    _insert,
    _move,
    _splice,
    _cut,
)


def _grow(data: bytes, random: Random) -> bytes:
    begin, end = _span(data, random)
    part = data[begin:end] or b"["
    count = random.randint(1, LARGEST // len(part))
    return data[:begin] + part * count + data[end:]
