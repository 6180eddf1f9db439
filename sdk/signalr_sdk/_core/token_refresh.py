"""Authentication refresh: computes when a connection must send a new access token, and reads the server's answer.

Source: what ASP.NET Core 11.0 and its .NET client were seen to do; there is no specification yet.
"""

from __future__ import annotations

import codecs
import json
from typing import Any

import attrs

from ..errors import AuthenticationRefreshError

# The shortest wait before a refresh, in seconds. Otherwise a server that names a tiny token lifetime would get one
# refresh request after another.
_SOONEST = 0.5
# A token with a lifetime below one second is refreshed after `_SOONEST` seconds, because a server may close a
# connection whose token has expired. After `_MOST_IN_A_ROW` such tokens the wait is `_LONG_WAIT` seconds: the server's
# clock may be wrong, and then no refresh ever helps.
_MOST_IN_A_ROW = 120
_LONG_WAIT = 60.0
# A server asks for a refresh by answering a long poll with status 409 and a JSON body with this text as `error`.
_REQUIRED = "authentication_refresh_required"

# Advice for the user, by the text of `error` in the JSON body of a response that refuses a token refresh.
_REASONS = {
    "missing_connection_token": "the request came without the connection's token; does a proxy remove the header?",
    "user_changed": "the token belongs to another user",
    "permission_change_rejected": "the application refuses to take the token for this connection",
    "connection_not_found": "the connection is not known there; several servers need sticky sessions",
}
# Advice for the user, by the HTTP status of a response that refuses a token refresh, if `_REASONS` does not list its
# `error`.
_ADVICE = {
    400: "the server misses the connection's token in the request",
    401: "the server does not accept the token",
    403: "the token belongs to another user, or may not be used here",
    404: "the server has no refresh for this hub, or the connection is not known there",
    405: "the server has no refresh",
}


@attrs.frozen
class RefreshAnswer:
    """The answer of a server that has accepted a refresh.

    Attributes:
        lifetime: whole seconds for which the new token is valid, rounded down. `None` if the server does not tell this.
        access_token: token for all later requests; `None` if they use the token that was sent with the refresh.
    """

    lifetime: float | None = None
    access_token: str | None = attrs.field(default=None, repr=False)


def delay(lifetime: float, before: float, short_lived: int = 0) -> float:
    """Return the seconds to wait before a token is refreshed.

    Args:
        lifetime: seconds for which the token is valid, as the server says: rounded down.
        before: refresh the token this many seconds before the token expires. If the lifetime is at most twice `before`,
            the token is refreshed after half of its lifetime.
        short_lived: how many tokens in a row, including this token, have a lifetime below a second.
    """
    if short_lived > _MOST_IN_A_ROW:
        return _LONG_WAIT
    left = lifetime - before
    return max(left if left > before else lifetime / 2, _SOONEST)


def is_required(status: int, body: bytes) -> bool:
    """Return whether the server's response to a long poll asks the client to refresh its token."""
    return status == 409 and _reason(body) == _REQUIRED


def read_answer(status: int, body: bytes) -> RefreshAnswer:
    """Return the new token and its lifetime from the server's answer to a token refresh.

    Raises:
        AuthenticationRefreshError: the server refused, or its answer cannot be used.
    """
    if not 200 <= status < 300:
        reason = _reason(body)
        advice = _REASONS.get(reason) or _ADVICE.get(status, "the server refused")
        said = f"status {status}, {reason}" if reason in _REASONS else f"status {status}"
        raise AuthenticationRefreshError(f"the token could not be refreshed: {advice} ({said})", status)
    try:
        members = _members(body) if body.strip() else {}
        return RefreshAnswer(_lifetime(members.get("tokenLifetimeSeconds")), _token(members.get("accessToken")))
    except ValueError as error:
        raise AuthenticationRefreshError(f"the answer to a refresh of the token is wrong: {error}", status) from None


def _reason(body: bytes) -> str:
    """Return the member `error` with which the server refuses a token refresh; empty if the body has no `error`."""
    try:
        return str(_members(body).get("error", ""))
    except ValueError:
        return ""


def _members(body: bytes) -> dict[str, Any]:
    try:
        members = json.loads(body.removeprefix(codecs.BOM_UTF8).decode())
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
    return float(min(value, 2.0**31)) if value >= 0 else None


def _token(value: object) -> str | None:
    if value is None or value == "":
        return None
    if not isinstance(value, str) or not (value.isascii() and value.isprintable()):
        raise ValueError("accessToken is no text that an HTTP header can carry")
    return value
