"""Calls that are written as one text, such as `Post {"text": "hello world"} 'to all' =1`."""

from __future__ import annotations

import json
from typing import Any

import attrs

from .arguments import half_json, parse_argument

_JSON = json.JSONDecoder()
_NESTED = ("{", "[", '"')


@attrs.frozen
class WrittenCall:
    """A method and its arguments.

    Attributes:
        method: name of the method.
        arguments: the values of the arguments.
    """

    method: str
    arguments: list[Any]


def parse_call(text: str) -> WrittenCall:
    """Parse a method and its arguments. Arguments are JSON, or else text; `=TEXT` is text.

    JSON may have blanks in it. A text with blanks stands between single quotes.

    Raises:
        ValueError: there is no method, or an argument begins like JSON and is none.

    Example:
        >>> parse_call('''Post {"text": "hello world"} 'to all' =1''')
        WrittenCall(method='Post', arguments=[{'text': 'hello world'}, 'to all', '1'])
    """
    method, _, rest = text.strip().partition(" ")
    if not method:
        raise ValueError("the method is missing")
    if method.startswith((*_NESTED, "'", "=")):
        raise ValueError(f"{method!r} is no method; the method's name comes first")
    return WrittenCall(method, parse_values(rest))


def parse_values(text: str) -> list[Any]:
    """Parse arguments in one text, as `parse_call` does."""
    values = []
    position = 0
    while text[position:].strip():
        position += len(text[position:]) - len(text[position:].lstrip())
        value, position = _next(text, position)
        values.append(value)
    return values


def _next(text: str, begin: int) -> tuple[Any, int]:
    """Return the value that begins at a position, and the position after it."""
    if text.startswith(_NESTED, begin):
        try:
            value, end = _JSON.raw_decode(text, begin)
        except (ValueError, RecursionError) as error:
            raise half_json(text[begin:], error) from None
    elif text.startswith("'", begin):
        end = text.find("'", begin + 1) + 1
        if not end:
            raise ValueError(f"a single quote is missing at the end of {text[begin:]!r}")
        value = parse_argument(text[begin + 1 : end - 1])
    else:
        end = begin + len(text[begin:].split(maxsplit=1)[0])
        value = parse_argument(text[begin:end])
    if not (end == len(text) or text[end].isspace()):
        raise ValueError(f"a blank is missing before {text[end:]!r}")
    return value, end
