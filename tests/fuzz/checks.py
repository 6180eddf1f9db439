"""What every parser must hold, and comparisons that tell `1` from `True` and survive deep nesting."""

from __future__ import annotations

import marshal
import zlib
from random import Random
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

LONGEST_TEXT = 2000
_OLD_FORMAT = 2  # without references, which depend on how often an object is used


class BrokenError(AssertionError):
    """A parser does not do what it must."""


def require(holds: object, what: str, *facts: object) -> None:
    """Raise `BrokenError` unless this holds."""
    if not holds:
        raise BrokenError(": ".join((what, *map(_shown, facts))))


def _shown(fact: object) -> str:
    try:
        return repr(fact)[:500]
    except RecursionError:
        return f"a deep {type(fact).__name__}"


def random_of(data: bytes) -> Random:
    """Return the source of all that is random in the handling of an input: the same for the same bytes."""
    return Random(zlib.crc32(data))


def pieces(data: bytes, random: Random) -> list[bytes]:
    """Return the bytes in pieces: many small ones, or a few."""
    if not data:
        return []
    if len(data) < 200 and random.random() < 0.3:
        return [data[place : place + 1] for place in range(len(data))]
    cuts = sorted(random.randint(0, len(data)) for _ in range(random.choice((1, 1, 2, 5))))
    return [data[begin:end] for begin, end in zip((0, *cuts), (*cuts, len(data)), strict=True)]


def check_error(error: BaseException) -> None:
    """Check that the text of an error can be shown anywhere."""
    text = str(error)
    require(text, "the error has no text", type(error))
    require(text.isprintable(), "the text of the error is not printable", text)
    require(len(text) <= LONGEST_TEXT, "the text of the error is too long", len(text), text)


def outcome(parse: Callable[[], Any], *allowed: type[Exception]) -> Any:
    """Return the result, or the type and the text of an error that is allowed."""
    try:
        return parse()
    except allowed as error:
        check_error(error)
        return type(error), str(error)


def same(one: Any, other: Any) -> bool:
    """Return whether two results are equal, types of numbers and NaN included."""
    try:
        return marshal.dumps(one, _OLD_FORMAT) == marshal.dumps(other, _OLD_FORMAT)
    except ValueError:
        return _same(one, other)


def _same(one: Any, other: Any) -> bool:
    waiting = [(one, other)]
    while waiting:
        a, b = waiting.pop()
        if type(a) is not type(b):
            return False
        if type(a) in (list, tuple):
            if len(a) != len(b):
                return False
            waiting.extend(zip(a, b, strict=True))
        elif type(a) is dict:
            if len(a) != len(b):
                return False
            waiting.extend(zip(a.keys(), b.keys(), strict=True))
            waiting.extend(zip(a.values(), b.values(), strict=True))
        elif a is not b and a != b and repr(a) != repr(b):
            return False
    return True
