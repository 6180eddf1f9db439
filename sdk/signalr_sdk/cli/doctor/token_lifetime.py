"""From when until when a bearer token is valid, if it is a JSON web token (JWT). Pure: the clock is an argument."""

from __future__ import annotations

import base64
import json

import attrs


@attrs.frozen
class TokenTimes:
    """When a token is valid, in seconds since 1970; `None` where the token does not say.

    Attributes:
        begins: the claim `nbf`.
        ends: the claim `exp`.
    """

    begins: float | None = None
    ends: float | None = None


def token_times(token: str) -> TokenTimes:
    """Return when a JWT is valid. Its signature is not verified; any other token gives no times."""
    parts = token.split(".")
    try:
        claims = json.loads(base64.urlsafe_b64decode(parts[1] + "=" * (-len(parts[1]) % 4)))
        begins, ends = claims.get("nbf"), claims.get("exp")
    except (IndexError, ValueError, AttributeError, RecursionError):
        return TokenTimes()
    return TokenTimes(*(float(at) if isinstance(at, int | float) else None for at in (begins, ends)))


def lifetime_remark(token: str, now: float) -> str:
    """Return how long a token is still valid, to follow another text; empty if the token does not say."""
    ends = token_times(token).ends
    if ends is None:
        return ""
    left = ends - now
    return f"; valid for {rough_duration(left)}" if left > 0 else f"; expired {rough_duration(-left)} ago"


def rough_duration(seconds: float) -> str:
    """Return a duration in its largest unit of which there are at least two, or in seconds."""
    for unit, size in (("days", 86400.0), ("h", 3600.0), ("min", 60.0)):
        if seconds >= 2 * size:
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds:.0f} s"
