"""Authentication refresh: another token for a connection that lives on.

Source: the clients of ASP.NET Core 11; there is no specification yet.
"""

from __future__ import annotations

import json
from typing import Any

import attrs

from ..errors import AuthenticationRefreshError

# A server that names a tiny lifetime must not be asked without pause.
_SOONEST = 0.5
# The member of a 409 to a long poll, and what it says.
_REQUIRED = "authentication_refresh_required"

_ADVICE = {
    400: "the server misses the connection's token in the request",
    401: "the server does not accept the token",
    403: "the token belongs to another user, or may not be used here",
    404: "the connection is not known there, or the server has no refresh; several servers need sticky sessions",
    405: "the server has no refresh",
}


@attrs.frozen
class RefreshAnswer:
    """What the server says to a refresh that it accepts.

    Attributes:
        lifetime: seconds until the next one is due; `None` if it does not say.
        access_token: what to use from now on; without it, the token that was shown.
    """

    lifetime: float | None = None
    access_token: str | None = attrs.field(default=None, repr=False)


def delay(lifetime: float, before: float) -> float:
    """Return in how many seconds to refresh a token.

    Args:
        lifetime: seconds that it lives.
        before: seconds before its end, if it lives more than twice as long; else at half of its life.
    """
    left = lifetime - before
    return max(left if left > before else lifetime / 2, _SOONEST)


def is_required(status: int, body: bytes) -> bool:
    """Return whether the answer to a long poll asks for a refresh."""
    if status != 409:
        return False
    try:
        return bool(_members(body).get("error") == _REQUIRED)
    except ValueError:
        return False


def read_answer(status: int, body: bytes) -> RefreshAnswer:
    """Return what the server says to a refresh.

    Raises:
        AuthenticationRefreshError: it refused, or the answer cannot be used.
    """
    if not 200 <= status < 300:
        advice = _ADVICE.get(status, "the server refused")
        raise AuthenticationRefreshError(f"the token could not be refreshed: {advice} (status {status})", status)
    try:
        members = _members(body) if body.strip() else {}
        return RefreshAnswer(_lifetime(members.get("tokenLifetimeSeconds")), _token(members.get("accessToken")))
    except ValueError as error:
        raise AuthenticationRefreshError(f"the answer to a refresh of the token is wrong: {error}", status) from None


def _members(body: bytes) -> dict[str, Any]:
    try:
        members = json.loads(body.decode("utf-8-sig"))
    except RecursionError:
        raise ValueError("it is nested too deeply") from None
    if not isinstance(members, dict):
        raise ValueError("it is no JSON object")  # noqa: TRY004 - one kind of error for all that is wrong
    return members


def _lifetime(value: object) -> float | None:
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ValueError("tokenLifetimeSeconds is no number")  # noqa: TRY004 - as above
    return float(min(value, 2.0**31)) if value > 0 else None


def _token(value: object) -> str | None:
    if value is None or value == "":
        return None
    if not isinstance(value, str) or not (value.isascii() and value.isprintable()):
        raise ValueError("accessToken is no text that an HTTP header can carry")
    return value
