"""Texts about errors of a hub: what the hub said, and what the user of the command line can do."""

from __future__ import annotations

import json
import re
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from .._core.redaction import redact_error, shortened

if TYPE_CHECKING:
    from collections.abc import Sequence

    from .. import HubError

# ASP.NET Core says "Failed to invoke 'X' due to an error on the server." if it cannot bind the arguments. It adds the
# InvalidDataException if detailed errors are on. For an exception of the hub method itself it says "An unexpected error
# occurred invoking 'X' on the server."
_NOT_BOUND = re.compile(
    r"InvalidDataException|^Failed to invoke '.*' due to an error on the server\.$|sent \d+ stream\(s\)"
)
_STREAMING = "to invoke the streaming"
_NOT_STREAMING = "to invoke the non-streaming"
_UNKNOWN = "Method does not exist"
_WRONG_NUMBER = re.compile(r"provides (\d{1,6}) argument\(s\) but target expects (\d{1,6})")
# The hub calls a method of this client or of another one, and the client does not have the method.
_NO_ANSWER = "Client didn't provide a result"
_LONGEST_SHOWN = 40


def explained(error: HubError, sent: Sequence[Any] | None) -> str:
    """Return the text of a hub's error, with a hint if the call was made in a wrong way.

    Args:
        error: the error.
        sent: the arguments of the call; `None` if the call is not known.
    """
    text = redact_error(error)
    if _STREAMING in text:
        return f"{text.rstrip('.')}; call it with stream"
    if _NOT_STREAMING in text:
        return f"{text.rstrip('.')}; call it with invoke"
    if _UNKNOWN in text:
        is_written_as_code = re.search(r"[\s(]", error.method) is not None
        how = "write for example Add 1 2, without brackets" if is_written_as_code else "check its name"
        return f"{text.rstrip('.')}; {how}"
    if _NO_ANSWER in text:
        how = "signalr connect shows which, and answers it with the line answer METHOD=VALUE or --answer 'METHOD=VALUE'"
        return f"{text.rstrip('.')}; the hub calls a method of a client: {how}"
    if sent is None or not _NOT_BOUND.search(text):
        return text
    return f"{text.rstrip('.')}; the arguments went out as {_sent_as(sent)}{_how_to_write(text, sent)}"


def _how_to_write(text: str, sent: Sequence[Any]) -> str:
    number = _WRONG_NUMBER.search(text)
    if number is None:
        return "; write =TEXT for text, JSON for the rest"
    # Two texts in a row that are too many are often one text that the user has not put into quotes.
    are_texts = [isinstance(value, str) for value in sent]
    is_split = int(number[1]) > int(number[2]) and any(map(all, pairwise(are_texts)))
    return "; put quotes around a text with blanks" if is_split else ""


def _sent_as(arguments: Sequence[Any]) -> str:
    """Return how arguments went out, as a text for users: `number 1, text "a"`."""
    return ", ".join(f"{_kind(value)} {_shown(value)}".strip() for value in arguments) or "none at all"


def _shown(value: Any) -> str:
    if value is None:
        return ""
    return shortened(json.dumps(value, ensure_ascii=False), _LONGEST_SHOWN)


def _kind(value: Any) -> str:
    match value:
        case None:
            return "null"
        case bool():
            return "boolean"
        case int() | float():
            return "number"
        case str():
            return "text"
        case list():
            return "array"
        case _:
            return "object"
