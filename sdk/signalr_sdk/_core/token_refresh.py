"""Authentication refresh: a new token for a live connection. When it is due, and how its answer is read.

Source: the clients of ASP.NET Core 11; there is no specification yet.
"""

from __future__ import annotations

import json
from typing import Any

import attrs

from ..errors import AuthenticationRefreshError

# The shortest wait in seconds: a server that names a tiny lifetime must not be asked without pause.
_SOONEST = 0.5
# The `error` in the 409 answer to a long poll by which a server asks for a refresh.
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
    """The server's answer to a refresh that it accepts.

    Attributes:
        lifetime: seconds that the new token lives; `None` if the server does not say.
        access_token: token to use from now on; `None` for the token that was sent with the refresh.
    """

    lifetime: float | None = None
    access_token: str | None = attrs.field(default=None, repr=False)


def delay(lifetime: float, before: float) -> float:
    """Return the seconds to wait before a token is refreshed.

    Args:
        lifetime: seconds that the token lives.
        before: seconds before the end of its life. A token that lives no more than twice as long is refreshed at half
            of its life.
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
    """Return the contents of an answer to a refresh.

    Raises:
        AuthenticationRefreshError: the server refused, or its answer cannot be used.
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
        raise ValueError("it is no JSON object")  # noqa: TRY004 - the caller catches one type of error
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
