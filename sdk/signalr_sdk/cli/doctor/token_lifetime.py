"""Reads from a JSON web token (JWT) from when until when the token is valid. The time is an argument."""

from __future__ import annotations

import base64
import json

import attrs


@attrs.frozen
class TokenTimes:
    """From when until when a token is valid, in seconds since 1970. A time is `None` if it is not in the token.

    Attributes:
        begins: the claim `nbf` (not before).
        ends: the claim `exp` (expiration time).
    """

    begins: float | None = None
    ends: float | None = None


def token_times(token: str) -> TokenTimes:
    """Return the times between which a JWT is valid; both are `None` for other tokens. Do not verify the signature."""
    parts = token.split(".")
    try:
        claims = json.loads(base64.urlsafe_b64decode(parts[1] + "=" * (-len(parts[1]) % 4)))
        begins, ends = claims.get("nbf"), claims.get("exp")
    except (IndexError, ValueError, AttributeError, RecursionError):
        return TokenTimes()
    return TokenTimes(*(float(at) if isinstance(at, int | float) else None for at in (begins, ends)))


def lifetime_remark(token: str, now: float) -> str:
    """Return how long a token is valid, for the end of a finding: `; valid for 20 min`. Empty if not known."""
    ends = token_times(token).ends
    if ends is None:
        return ""
    left = ends - now
    return f"; valid for {rough_duration(left)}" if left > 0 else f"; expired {rough_duration(-left)} ago"


def rough_duration(seconds: float) -> str:
    """Return a duration as a text in days, h, min or s: in the largest unit of which the duration has at least two."""
    for unit, size in (("days", 86400.0), ("h", 3600.0), ("min", 60.0)):
        if seconds >= 2 * size:
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds:.0f} s"
