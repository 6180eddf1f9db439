"""Reads the begin and the end of the time in which a JSON web token (JWT) is valid. The current time is an argument."""

from __future__ import annotations

import base64
import json

import attrs


@attrs.frozen
class TokenTimes:
    """The begin and the end of the time in which a token is valid. A time that is not in the token is `None`.

    Attributes:
        begins: the claim `nbf` (not before), in seconds since 1970.
        ends: the claim `exp` (expiration time), in seconds since 1970.
    """

    begins: float | None = None
    ends: float | None = None


def token_times(token: str) -> TokenTimes:
    """Return the begin and the end of a JWT's lifetime; the signature is not verified.

    Both times are `None` if the token is no JWT.
    """
    parts = token.split(".")
    try:
        claims = json.loads(base64.urlsafe_b64decode(parts[1] + "=" * (-len(parts[1]) % 4)))
        begins, ends = claims.get("nbf"), claims.get("exp")
    except (IndexError, ValueError, AttributeError, RecursionError):
        return TokenTimes()
    return TokenTimes(*(float(at) if isinstance(at, int | float) else None for at in (begins, ends)))


def lifetime_remark(token: str, now: float) -> str:
    """Return a text like `; valid for 20 min` or `; expired 2 h ago`. Empty if the token has no expiration time."""
    ends = token_times(token).ends
    if ends is None:
        return ""
    left = ends - now
    return f"; valid for {rough_duration(left)}" if left > 0 else f"; expired {rough_duration(-left)} ago"


def rough_duration(seconds: float) -> str:
    """Return a duration as a text, in the largest unit with a number of at least 2.

    For example, 119 minutes are `119 min`, and 120 minutes are `2 h`.
    """
    for unit, size in (("days", 86400.0), ("h", 3600.0), ("min", 60.0)):
        if seconds >= 2 * size:
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds:.0f} s"
