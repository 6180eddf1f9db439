"""Negotiation of classic SignalR: asks for a connection token and the server's timeouts, and follows redirects.

`negotiate` is a generator without I/O. It yields each request (a GET), gets the response by `send`, and returns the
result.
Source: SignalR/SignalR, `NegotiationResponse.cs`, and `PersistentConnection.cs` of the server.
"""

from __future__ import annotations

import math
import re
from collections.abc import Generator
from typing import Any, Final, TypeAlias

import attrs

from .._core import urls
from .._core.negotiate_answer import NegotiateAnswer, check_status
from .._core.negotiation import NegotiateRequest
from ..errors import ClassicHubError, CoreServerError, NegotiationError
from ..interfaces import HttpResponse
from .request_urls import CLIENT_PROTOCOL, Address

# The versions of the protocol that this client can speak: since 1.4, a connection is started by `/start`.
_OLDEST, _NEWEST = (1, 4), (2, 1)
_VERSION = re.compile(r"(\d{1,4})\.(\d{1,4})(?:\.\d{1,9}){0,2}")

# What a server says about wrong names of hubs, in the first so many bytes of its answer, if it tells errors at all.
_WRONG_HUBS = re.compile(rb"'[\x20-\x7e]{1,200}' Hub could not be resolved|Duplicate Hub names found")
_SEARCHED = 64 * 1024
_CORE = (
    "the server speaks ASP.NET Core SignalR, which is another protocol than classic ASP.NET SignalR: "
    "use signalr_sdk.HubConnection for it"
)
# What a status may mean. `_advice` replaces the texts in braces.
_ADVICE: Final = {
    401: "the server or one of the hubs wants authentication{hubs}: pass access_token= or cookies=, or check that they "
    "are valid and not expired",
    403: "access is denied: this user may not use the server or one of the hubs{hubs}, or a proxy refuses the request",
    404: "not found: this is not an endpoint of classic SignalR, or a proxy is in the way; check the path of the URL"
    "{root}",
    405: "the server refuses GET there. A server of ASP.NET Core SignalR does that: use signalr_sdk.HubConnection for "
    "it. Otherwise check the path of the URL",
    500: "the server failed{unknown}",
}


@attrs.frozen(kw_only=True)
class Negotiated:
    """The result of a negotiation, and what a server answers. All times are in seconds.

    Attributes:
        connection_id: public name of the connection, which other clients may see.
        connection_token: secret name of the connection, which all later requests carry.
        keep_alive_timeout: the longest silence of a server that is well; `None` if the server sends no keep-alive.
        disconnect_timeout: for how long a server keeps a connection whose transport is lost.
        connection_timeout: the server ends a poll that has nothing to say after this time.
        connect_timeout: the longest time between the opening of a transport and the first envelope.
        long_poll_delay: the pause between two polls.
        web_sockets: whether the server can open WebSockets.
        version: the version of the protocol.
    """

    connection_id: str
    connection_token: str = attrs.field(repr=False)
    keep_alive_timeout: float | None = 20.0
    disconnect_timeout: float = 30.0
    connection_timeout: float = 110.0
    connect_timeout: float = 5.0
    long_poll_delay: float = 0.0
    web_sockets: bool = True
    version: str = "2.0"


@attrs.frozen
class Endpoint:
    """Where a connection goes after negotiation.

    Attributes:
        address: the URL for all later requests, with the connection token.
        negotiated: the server's answer.
        access_token: the token of the last redirect, which replaces the user's token; `None` for none.
    """

    address: Address
    negotiated: Negotiated
    access_token: str | None = attrs.field(default=None, repr=False)


Negotiation: TypeAlias = Generator[NegotiateRequest, HttpResponse, Endpoint]


def negotiate(address: Address, *, hubs: tuple[str, ...] = (), limit: int = 100, now: float = 0.0) -> Negotiation:
    """Negotiate with the server at a URL.

    Args:
        address: the URL, and the hubs that are wanted.
        hubs: the names of these hubs, for the texts of errors.
        limit: the most redirects to follow.
        now: seconds since 1970. Without this time, dates in `Retry-After` cannot be used.

    Yields:
        Each request. Pass the response to the generator's `send`, whatever the HTTP status is.

    Returns:
        The address and the settings of the connection.

    Raises:
        CoreServerError: the server speaks ASP.NET Core SignalR.
        NegotiationError: a response cannot be used for another reason.
    """
    token: str | None = None
    asked = ""
    for _ in range(limit + 1):
        asked = address.command("negotiate")
        response = yield NegotiateRequest(asked, token, method="GET")
        try:
            check_status(asked, response, now, _advice(address.url, hubs))
        except NegotiationError as error:
            if response.status == 500 and (text := _WRONG_HUBS.search(response.body[:_SEARCHED])) is not None:
                error.__cause__ = ClassicHubError(text[0].decode(), "negotiate")
            raise
        answer = _Answer(asked, response)
        answer.refuse_errors()
        token = answer.access_token("AccessToken") or token
        target = answer.redirect("RedirectUrl")
        if target is None:
            break
        # The query of the redirect replaces the query of the user: it names the application to Azure SignalR Service.
        address = attrs.evolve(address, url=target)
    else:
        raise NegotiationError(f"redirected more than {limit} times", url=urls.without_query(asked))
    negotiated = answer.negotiated()
    return Endpoint(attrs.evolve(address, token=negotiated.connection_token), negotiated, token)


class _Answer(NegotiateAnswer):
    """The negotiate response of a classic server."""

    def refuse_errors(self) -> None:
        """Raise an error if the response is a refusal, or comes from ASP.NET Core."""
        if "availableTransports" in self._members or "negotiateVersion" in self._members:
            raise CoreServerError(_CORE, url=urls.without_query(self._asked), status=self._status)
        self.refuse_error("Error")

    def negotiated(self) -> Negotiated:
        """Return the settings of the connection."""
        self._check_version()
        keep_alive = self._seconds("KeepAliveTimeout", None)
        return Negotiated(
            connection_id=self._required("ConnectionId"),
            connection_token=self._sendable(self._required("ConnectionToken")),
            keep_alive_timeout=keep_alive or None,
            disconnect_timeout=self._seconds("DisconnectTimeout", 30.0),
            connection_timeout=self._seconds("ConnectionTimeout", 110.0),
            connect_timeout=self._seconds("TransportConnectTimeout", 5.0),
            long_poll_delay=self._seconds("LongPollDelay", 0.0),
            web_sockets=self._members.get("TryWebSockets") is not False,
            version=self._required("ProtocolVersion"),
        )

    def _check_version(self) -> None:
        version = self._required("ProtocolVersion")
        found = _VERSION.fullmatch(version)
        if found is None or not _OLDEST <= (int(found[1]), int(found[2])) <= _NEWEST:
            raise self._error(
                f"the server speaks version {version!r:.40} of the protocol, and this client {CLIENT_PROTOCOL} "
                f"(servers of {_OLDEST[0]}.{_OLDEST[1]} to {_NEWEST[0]}.{_NEWEST[1]} are supported)"
            )

    def _seconds(self, name: str, default: Any) -> Any:
        value = self._members.get(name)
        if value is None:
            return default
        if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < math.inf:
            raise self._wrong(name, "a number of seconds")
        return float(min(value, _LONGEST))


# A timer cannot wait for any number of seconds.
_LONGEST: Final = 2.0**31


def _advice(url: str, hubs: tuple[str, ...]) -> dict[int, str]:
    names = ", ".join(hubs)
    hints = {
        "hubs": f" ({names})" if hubs else "",
        "root": "" if urls.path_of(url).strip("/") else "; classic servers usually answer at /signalr",
        "unknown": f": perhaps it does not know one of the hubs ({names}), or one is named twice" if hubs else "",
    }
    return {status: text.format_map(hints) for status, text in _ADVICE.items()}


def negotiated_members(negotiated: Negotiated, url: str) -> dict[str, Any]:
    """Return the JSON members of a server's answer.

    Args:
        negotiated: the settings of the connection.
        url: the path of the endpoint, such as "/signalr".
    """
    return {
        "Url": url,
        "ConnectionToken": negotiated.connection_token,
        "ConnectionId": negotiated.connection_id,
        "KeepAliveTimeout": negotiated.keep_alive_timeout,
        "DisconnectTimeout": negotiated.disconnect_timeout,
        "ConnectionTimeout": negotiated.connection_timeout,
        "TryWebSockets": negotiated.web_sockets,
        "ProtocolVersion": negotiated.version,
        "TransportConnectTimeout": negotiated.connect_timeout,
        "LongPollDelay": negotiated.long_poll_delay,
    }


def agreed_version(asked: str | None) -> str:
    """Return the version of the protocol with which a server answers a client.

    Args:
        asked: the client's parameter `clientProtocol`; `None` if there is none.

    Example:
        >>> [agreed_version(version) for version in ("1.0", "1.5", "2.1", "x", None)]
        ['1.2', '1.5', '2.0', '1.2', '1.2']
    """
    found = _VERSION.fullmatch(asked or "")
    version = max((1, 2), min((2, 0), (int(found[1]), int(found[2])))) if found else (1, 2)
    return f"{version[0]}.{version[1]}"
