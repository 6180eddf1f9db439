"""The secrets of one connection, which texts of the server may quote, and errors must not show."""

from __future__ import annotations

from urllib.parse import quote

from ..errors import ConnectionClosedError, ConnectionFailedError, SignalRError

# A shorter value is no secret, and would be found in words that have nothing to do with it.
_SHORTEST = 6
# A text that was cut ends so; this many characters of a secret before the cut are taken for a part of the secret.
_CUT = "…"
_SHORTEST_PART = 4
_MASK = "***"


class KnownSecrets:
    """Takes tokens, cookies and keys out of texts, also such as no pattern can tell from other words."""

    def __init__(self) -> None:
        self._forms: set[str] = set()

    def add(self, secret: str | None) -> None:
        """Hide this text from now on, also as it stands in a query or in the JSON of .NET."""
        if secret is not None and len(secret) >= _SHORTEST:
            self._forms |= {secret, quote(secret, safe="", errors="replace"), secret.replace("+", "\\u002B")}

    def hide(self, text: str) -> str:
        """Return the text without the secrets, and without the first part of a secret at a place where it was cut."""
        # The longest first: one secret may be a part of another.
        for secret in sorted(self._forms, key=len, reverse=True):
            text = text.replace(secret, _MASK)
            at = text.find(_CUT)
            while at >= 0:
                start = _start_of_part(text, at, secret)
                text = f"{text[:start]}{_MASK}{text[at:]}" if start < at else text
                at = text.find(_CUT, text.index(_CUT, start) + 1)
        return text

    def hide_in(self, error: BaseException | None) -> None:
        """Take the secrets out of the texts of an error of this package, of its causes and of all attempts in it."""
        while isinstance(error, SignalRError):
            error.message = self.hide(error.message)
            error.args = tuple(self.hide(each) if isinstance(each, str) else each for each in error.args)
            if isinstance(error, ConnectionClosedError) and error.reason is not None:
                error.reason = self.hide(error.reason)
            if isinstance(error, ConnectionFailedError):
                for attempt in error.attempts:
                    self.hide_in(attempt)
            error = error.__cause__


def _start_of_part(text: str, end: int, secret: str) -> int:
    """Return where a first part of the secret begins that ends at `end`; `end` if there is none."""
    start = text.find(secret[:_SHORTEST_PART], max(0, end - len(secret)), end)
    while start >= 0:
        if secret.startswith(text[start:end]):
            return start
        start = text.find(secret[:_SHORTEST_PART], start + 1, end)
    return end
