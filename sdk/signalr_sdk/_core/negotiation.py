"""Negotiation: asks the server for a connection id and the offered transports, and follows redirects.

`negotiate` is a generator without I/O. It yields each request (a POST without a body), gets the response by `send`, and
returns the endpoint.

Source: TransportProtocols.md of dotnet/aspnetcore, `POST [endpoint-base]/negotiate`.
"""

from __future__ import annotations

from collections.abc import Generator
from typing import Any, TypeAlias

import attrs

from ..errors import ClassicServerError, NegotiationError
from ..interfaces import HttpResponse
from . import urls
from .negotiate_answer import NegotiateAnswer, check_status

# A longer token lifetime, in seconds, is shortened to this value: a timer cannot wait for any number of seconds. The
# official clients have the same limit.
_LONGEST_LIFETIME = 2.0**31

_CLASSIC = (
    "the server speaks classic ASP.NET SignalR, which is another protocol than ASP.NET Core SignalR: "
    "use signalr_sdk.classic.HubConnection for it"
)
_ADVICE = {
    400: "the server refused the request; for a classic ASP.NET SignalR server, use signalr_sdk.classic.HubConnection",
    405: "the server takes no POST there: this is not a SignalR endpoint, or one of classic ASP.NET SignalR, for which "
    "there is signalr_sdk.classic.HubConnection; check the path of the URL",
}


@attrs.frozen
class NegotiateRequest:
    """The next negotiate request to send, without a body.

    Attributes:
        url: complete URL.
        access_token: token of the last redirect that had a token, to send instead of the user's token. `None` if no
            redirect had a token.
        method: `POST`, or `GET` for classic SignalR.
    """

    url: str = attrs.field(repr=urls.without_query)
    access_token: str | None = attrs.field(default=None, repr=False)
    method: str = attrs.field(default="POST", kw_only=True)


@attrs.frozen
class OfferedTransport:
    """A transport that the server offers. Its name and formats may be unknown to this package."""

    name: str
    formats: frozenset[str]


@attrs.frozen
class Endpoint:
    """The result of a negotiation.

    Attributes:
        url: URL for transports, without the connection's `id`.
        connection_id: public name of the connection, which other clients may see.
        connection_token: secret name of the connection: the `id` with which transports connect.
        transports: the transports that the server offers.
        access_token: token of the last response that had a token, for all later requests of this connection.
        stateful: whether stateful reconnect was asked for and granted.
        token_lifetime: whole seconds for which the token is valid, rounded down. `None` if the server does not tell
            this.
    """

    url: str = attrs.field(repr=urls.without_query)
    connection_id: str | None
    connection_token: str | None = attrs.field(repr=False)
    transports: tuple[OfferedTransport, ...]
    access_token: str | None = attrs.field(default=None, repr=False)
    stateful: bool = False
    token_lifetime: float | None = None


Negotiation: TypeAlias = Generator[NegotiateRequest, HttpResponse, Endpoint]


def negotiate(url: str, *, limit: int = 100, stateful: bool = False, now: float = 0.0) -> Negotiation:
    """Negotiate for the hub at a URL.

    Args:
        url: as `urls.hub_url` returned it.
        limit: the most redirects to follow.
        stateful: whether to ask for stateful reconnect.
        now: seconds since 1970. Without this time, dates in `Retry-After` cannot be used.

    Yields:
        Each request as a `NegotiateRequest`. Pass the response to the generator's `send`, whatever the HTTP status is.

    Returns:
        The endpoint to connect to.

    Raises:
        ClassicServerError: the server speaks classic ASP.NET SignalR.
        NegotiationError: a response cannot be used for another reason.
    """
    token: str | None = None
    lifetime: float | None = None
    asked = ""
    for _ in range(limit + 1):
        asked = urls.negotiate_url(url, stateful=stateful)
        response = yield NegotiateRequest(asked, token)
        check_status(asked, response, now, _ADVICE)
        answer = _Answer(asked, response)
        answer.refuse_errors()
        token = answer.access_token("accessToken") or token
        lifetime = answer.lifetime(lifetime)
        target = answer.redirect("url")
        if target is None:
            break
        url = target
    else:
        raise NegotiationError(f"redirected more than {limit} times", url=urls.without_query(asked))
    return Endpoint(
        url,
        *answer.connection(),
        transports=answer.transports(),
        access_token=token,
        stateful=stateful and answer.flag("useStatefulReconnect"),
        token_lifetime=lifetime,
    )


class _Answer(NegotiateAnswer):
    """The negotiate response of an ASP.NET Core server."""

    def refuse_errors(self) -> None:
        """Raise an error if the response is a refusal, or comes from classic ASP.NET SignalR."""
        if _is_classic(self._members):
            raise ClassicServerError(_CLASSIC, url=urls.without_query(self._asked), status=self._status)
        self.refuse_error("error")

    def lifetime(self, before: float | None) -> float | None:
        """Return the token's lifetime in seconds; `None` if it is negative. If this response has none, return `before`.

        Args:
            before: the lifetime in an earlier redirect of this negotiation; `None` if there was none.
        """
        value = self._members.get("tokenLifetimeSeconds")
        if value is None:
            return before
        if isinstance(value, bool) or not isinstance(value, int | float):
            raise self._wrong("tokenLifetimeSeconds", "a number")
        return float(min(value, _LONGEST_LIFETIME)) if value >= 0 else None

    def connection(self) -> tuple[str, str]:
        """Return the connection id, which is public, and the connection token, which is secret."""
        version = self._members.get("negotiateVersion") or 0
        if isinstance(version, bool) or not isinstance(version, int):
            raise self._wrong("negotiateVersion", "an integer")
        connection_id = self._required("connectionId")
        # In version 0 of negotiation, transports connect with the connection id, even if the response has a connection
        # token.
        token = self._required("connectionToken") if version > 0 else connection_id
        return connection_id, self._sendable(token)

    def transports(self) -> tuple[OfferedTransport, ...]:
        """Return the transports that the server offers, at least one."""
        offered = self._list(self._members, "availableTransports")
        if not offered:
            raise self._error("the server offers no transports (availableTransports)")
        return tuple(map(self._transport, offered))

    def _transport(self, offer: object) -> OfferedTransport:
        if not isinstance(offer, dict) or not isinstance(offer.get("transport"), str):
            raise self._wrong("availableTransports", "a list of objects that name a transport")
        formats = self._list(offer, "transferFormats")
        if not all(isinstance(name, str) for name in formats):
            raise self._wrong("transferFormats", "a list of texts")
        return OfferedTransport(offer["transport"], frozenset(formats))

    def flag(self, name: str) -> bool:
        """Return the boolean member `name` of the negotiate response; false if the member is missing."""
        value = self._members.get(name)
        if value is not None and not isinstance(value, bool):
            raise self._wrong(name, "true or false")
        return bool(value)

    def _list(self, members: dict[str, Any], name: str) -> list[Any]:
        value = members.get(name)
        if value is not None and not isinstance(value, list):
            raise self._wrong(name, "a list")
        return value or []


def _is_classic(members: dict[str, Any]) -> bool:
    if "availableTransports" in members or "negotiateVersion" in members:
        return False
    lower = {name.lower(): value for name, value in members.items()}
    # Only classic ASP.NET sends a path as `Url`. ASP.NET Core sends `url` in redirects, as an absolute URL.
    has_path = "connectiontoken" in lower and str(lower.get("url")).startswith("/")
    return "protocolversion" in lower or has_path
