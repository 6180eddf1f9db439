"""Removes the tokens, cookies and keys of one connection from error texts: a server may quote them in an answer."""

from __future__ import annotations

from urllib.parse import quote

from ..errors import ConnectionClosedError, ConnectionFailedError, SignalRError

# Do not hide secrets with fewer characters than `_SHORTEST`: they may occur by chance inside the ordinary words of an
# error text.
_SHORTEST = 6
# A long error text is cut, and ends with the character `_CUT`. The cut may leave only the first part of a secret: hide
# this part if it has at least `_SHORTEST_PART` characters.
_CUT = "…"
_SHORTEST_PART = 4
_MASK = "***"


class KnownSecrets:
    """Replaces the secrets of one connection by `***` in error texts, even if a secret looks like an ordinary word."""

    def __init__(self) -> None:
        self._forms: set[str] = set()

    def add(self, secret: str | None) -> None:
        """Let `hide` replace this secret: unchanged, percent-encoded as in a query, or escaped as in .NET's JSON."""
        if secret is not None and len(secret) >= _SHORTEST:
            self._forms |= {secret, quote(secret, safe="", errors="replace"), secret.replace("+", "\\u002B")}

    def hide(self, text: str) -> str:
        """Return the text with `***` for each secret, also for a secret whose last part was cut off (`…`)."""
        # Replace the longest secret first: a shorter secret may be a part of it, and the other part would stay visible.
        for secret in sorted(self._forms, key=len, reverse=True):
            text = text.replace(secret, _MASK)
            at = text.find(_CUT)
            while at >= 0:
                start = _start_of_part(text, at, secret)
                text = f"{text[:start]}{_MASK}{text[at:]}" if start < at else text
                at = text.find(_CUT, text.index(_CUT, start) + 1)
        return text

    def hide_in(self, error: BaseException | None) -> None:
        """Replace the secrets by `***` in the texts of an error, of its `__cause__` and of all further causes.

        For a `ConnectionFailedError`, also change the errors in its attribute `attempts`. Stop at the first cause that
        is no `SignalRError`.
        """
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
    """Find the first part of a secret, directly before the index `end` at which the text was cut.

    Return the index at which this part begins; `end` if the text before `end` is no part of the secret.
    """
    start = text.find(secret[:_SHORTEST_PART], max(0, end - len(secret)), end)
    while start >= 0:
        if secret.startswith(text[start:end]):
            return start
        start = text.find(secret[:_SHORTEST_PART], start + 1, end)
    return end
