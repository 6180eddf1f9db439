"""Hub messages in JSON, nearly right."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from random import Random

SEPARATOR = b"\x1e"
NAMES: tuple[bytes, ...] = (
    *(b"type", b"invocationId", b"target", b"arguments", b"streamIds", b"headers", b"item", b"result", b"error"),
    *(b"allowReconnect", b"sequenceId"),
)
WORDS = (
    *(b'"%b":' % name for name in NAMES),
    b'{"type":1,"target":"E","arguments":[1]}\x1e',
    b'{"type":2,"invocationId":"3","item":1}\x1e',
    b'{"type":3,"invocationId":"1","result":1}\x1e',
    b'{"type":6}\x1e',
    b'{"type":7}\x1e',
    b'{"type":9,"sequenceId":1}\x1e',
    SEPARATOR,
    *(b"null", b"true", b"false", b'""', b"[]", b"{}", b"NaN", b"-Infinity", b"1e400", b"-0.0", b"0.1", b"-"),
    *(b"9223372036854775808", b"18446744073709551616", b'"\\ud800"', b'"\\udc00\\ud800"', b'"\\u0000"', b"\\", b'"'),
    *(b"\xef\xbb\xbf", b"\xff", b"\xed\xa0\x80", b",", b":", b" ", b"\n", b'"2026-01-02T03:04:05Z"'),
    *(b"1" * 25, b"1" * 700, b"1" * 5000, b"0." + b"1" * 400, b"1E-99999999999999999999"),
)
_LEAVES = (
    b"0",
    b"1",
    b"-1",
    b"2.5",
    b"1e3",
    b"3.0",
    b'"a"',
    b'"\xc3\xa9"',
    b"null",
    b"true",
    b"false",
    b'"x" ',
    *WORDS[17:],
)
_IDS = (b'"1"', b'"2"', b'"3"', b'"4"', b'"9"', b'""', b"null", b"1", b'"s1"')


def payload(random: Random) -> bytes:
    """Return some messages, each with the separator behind it."""
    return b"".join(message(random) + SEPARATOR for _ in range(random.choice((1, 1, 2, 3, 8))))


def message(random: Random) -> bytes:
    """Return a message whose members may be missing, wrong or there twice."""
    kind = random.choice((1, 1, 2, 2, 3, 3, 4, 5, 6, 7, 8, 9, 0, 10, -1))
    members = [(b"type", b"%d" % kind if random.random() < 0.97 else value(random, 1))]
    for name, found in _members(kind, random):
        if random.random() < 0.93:
            members.append((name, found if random.random() < 0.9 else value(random, 2)))
    while random.random() < 0.1:
        members.append((random.choice(NAMES), value(random, 2)))
    if random.random() < 0.3:
        random.shuffle(members)
    return b"{" + b",".join(b'"%b":%b' % member for member in members) + b"}"


def _members(kind: int, random: Random) -> list[tuple[bytes, bytes]]:
    name = (b"invocationId", random.choice(_IDS))
    call = [(b"target", random.choice((b'"Event"', b'"event"', b'""'))), (b"arguments", _array(random, 3))]
    rare = [(b"streamIds", b'["5"]')] * (random.random() < 0.1) + [(b"headers", b'{"a":"b"}')] * (random.random() < 0.1)
    result = (b"result", value(random, 3)) if random.random() < 0.8 else (b"error", value(random, 1))
    numbers = (b"0", b"1", b"2", b"3", b"-1", b"1.0", b"true", b"99")
    by_kind = {
        1: [*([name] if random.random() < 0.3 else []), *call, *rare],
        2: [name, (b"item", value(random, 3)), *rare[1:]],
        3: [name, result],
        4: [name, *call, *rare],
        5: [name],
        7: [(b"error", value(random, 1)), (b"allowReconnect", value(random, 1))],
        8: [(b"sequenceId", random.choice(numbers))],
        9: [(b"sequenceId", random.choice(numbers))],
    }
    return by_kind.get(kind, [])


def value(random: Random, depth: int) -> bytes:
    """Return a JSON value of at most this depth, or now and then something that is none, or is deeply nested."""
    if random.random() < 0.005:
        deep = random.choice((100, 500, 1000, 1100, 3000))
        return random.choice((b"[" * deep + b"]" * deep, b'{"a":' * deep + b"1" + b"}" * deep))
    if depth <= 0 or random.random() < 0.6:
        return random.choice(_LEAVES)
    return _array(random, depth) if random.random() < 0.6 else _object(random, depth)


def _array(random: Random, depth: int) -> bytes:
    return b"[" + b",".join(value(random, depth - 1) for _ in range(random.choice((0, 1, 2, 3)))) + b"]"


def _object(random: Random, depth: int) -> bytes:
    names = [random.choice((b"a", b"b", b"", b"type", b"\\u0061")) for _ in range(random.choice((0, 1, 2, 3)))]
    return b"{" + b",".join(b'"%b":%b' % (name, value(random, depth - 1)) for name in names) + b"}"
