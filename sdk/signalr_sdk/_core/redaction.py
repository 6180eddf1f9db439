"""Makes texts from outside safe for errors, logs and terminals: short, on one line, and without tokens."""

from __future__ import annotations

import re

from ..errors import HubError, SignalRError

# The query of a URL, which may have tokens and keys: other libraries name the URL of a failed request in their errors.
_QUERY = re.compile(r"(?i)\b((?:https?|wss?)://[^\s?\"'<>]{1,300}\?)[^\s\"'<>]+")
# Find a token after `access_token=` in a query and after `Bearer`: the server's error text may quote the refused
# request with its token.
# A comma after `access_token=` belongs to the sentence: this package's own texts name the argument so.
_SECRET = re.compile(r"(?i)(access_token=|(?:\bbearer\s+)+)[^\s&\"'<>,][^\s&\"'<>]*")
# A JSON web token begins with `eyJ` (`{"` in base64) and has dots. Find words first (`_WORD`), then look for `eyJ` in
# each word (`_TOKEN`): one regular expression for both would take quadratic time on a long text.
_WORD = re.compile(r"[\w.-]{5,}")
_TOKEN = re.compile(r"\beyJ[\w-]")
_FOREIGN_LIMIT = 500
# The most characters of an error text of this package, which may list an error for each transport that was tried. Other
# error texts are cut at `_FOREIGN_LIMIT`.
_OWN_LIMIT = 4000


def redact(text: str, limit: int = 200) -> str:
    r"""Return the text on one line, without control characters, tokens and queries of URLs, cut at `limit` characters.

    Example:
        >>> redact("no\r\nway: Bearer abc")
        'no way: Bearer ***'
    """
    visible = printable(text[: 4 * limit])
    line = _QUERY.sub(r"\1***", " ".join(visible.split()))
    line = _WORD.sub(_without_token, _SECRET.sub(r"\1***", line))
    return shortened(line, limit)


def shortened(text: str, limit: int) -> str:
    """Return the text, cut at `limit` characters.

    Example:
        >>> shortened("abcd", 3)
        'abc…'
    """
    return text if len(text) <= limit else f"{text[:limit]}…"


def _without_token(word: re.Match[str]) -> str:
    begin = _TOKEN.search(word[0])
    return word[0] if begin is None or "." not in word[0][begin.end() :] else f"{word[0][: begin.start()]}***"


def redact_error(error: BaseException) -> str:
    """Return the text of an error on one line, or the error's type if there is no text.

    The text of an error of this package is cut at 4000 characters, because its parts are already short and safe. Any
    other text is cut at 500 characters, also the text of a `HubError`, which comes from the server.
    """
    try:
        text = str(error)
    except Exception:  # noqa: BLE001 - it is an exception of a user
        text = ""
    own = isinstance(error, SignalRError) and not isinstance(error, HubError)
    return redact(text, _OWN_LIMIT if own else _FOREIGN_LIMIT) or type(error).__name__


def printable(text: str, *, keep: str = "") -> str:
    """Return the text with a space for each control character, line separator, bidi control and half surrogate pair.

    These characters could control a terminal or forge lines.

    Args:
        text: the text.
        keep: characters that stay unchanged.
    """
    return text if text.isprintable() else "".join(c if c.isprintable() or c in keep else " " for c in text)
