"""Reads the begin and the end of the time in which a JSON web token (JWT) is valid. The current time is an argument."""

from __future__ import annotations

import base64
import json
from typing import Any

import attrs

_LATEST = 1e12  # seconds since 1970


@attrs.frozen
class GivenToken:
    """The bearer token of the user.

    Attributes:
        text: the token; `None` if it is in a header that the user has given.
        source: where the token comes from, for example `SIGNALR_TOKEN`.
    """

    text: str | None = attrs.field(repr=False)
    source: str


@attrs.frozen
class TokenTimes:
    """The begin and the end of the time in which a token is valid. A time that is not in the token is `None`.

    Attributes:
        begins: the claim `nbf` (not before), in seconds since 1970.
        ends: the claim `exp` (expiration time), in seconds since 1970.
    """

    begins: float | None = None
    ends: float | None = None


def token_times(token: str) -> TokenTimes | None:
    """Return the begin and the end of a JWT's lifetime; `None` if the token is no JWT. The signature is not verified.

    An encrypted JWT does not show its times.
    """
    header, *rest = map(_decoded, token.split("."))
    if not isinstance(header, dict) or len(rest) < 2:
        return None
    claims = rest[0] if isinstance(rest[0], dict) else {}
    return TokenTimes(_time(claims.get("nbf")), _time(claims.get("exp")))


def _time(value: object) -> float | None:
    """Return a time of a JWT; `None` if the value is no time, for example a number of hundreds of digits or `NaN`."""
    return float(value) if isinstance(value, int | float) and abs(value) < _LATEST else None


def _decoded(part: str) -> Any:
    """Return the value of a part of a JWT, which is JSON in base64; `None` if the part is something else."""
    try:
        return json.loads(base64.urlsafe_b64decode(part + "=" * (-len(part) % 4)))
    except (ValueError, RecursionError):
        return None


def lifetime_remark(token: str, now: float) -> str:
    """Return a text like `; valid for 20 min` or `; expired 2 h ago`, or that the token is no JWT.

    Empty if the token has no expiration time.
    """
    times = token_times(token)
    if times is None:
        return "; it is no JWT, so that its lifetime is unknown"
    if times.ends is None:
        return ""
    left = times.ends - now
    return f"; valid for {rough_duration(left)}" if left > 0 else f"; expired {rough_duration(-left)} ago"


def rough_duration(seconds: float) -> str:
    """Return a duration as a text, in the largest unit with a number of at least 2.

    For example, 119 minutes are `119 min`, and 120 minutes are `2 h`.
    """
    for unit, size in (("days", 86400.0), ("h", 3600.0), ("min", 60.0)):
        if seconds >= 2 * size:
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds:.0f} s"
