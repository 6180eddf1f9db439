"""Negotiation: asks the server for a connection id and the offered transports, and follows redirects.

`negotiate` is a generator without I/O. It yields each request (a POST without a body), gets the response by `send`, and
returns the endpoint.

Source: TransportProtocols.md of dotnet/aspnetcore, `POST [endpoint-base]/negotiate`.
"""

from __future__ import annotations

import codecs
import json
import re
from collections.abc import Generator
from typing import Any, TypeAlias

import attrs

from ..errors import ClassicServerError, NegotiationError
from ..interfaces import HttpResponse
from . import urls
from .headers import parse_retry_after
from .redaction import redact

# A longer token lifetime, in seconds, is shortened to this value: a timer cannot wait for any number of seconds. The
# official clients have the same limit.
_LONGEST_LIFETIME = 2.0**31

# Refuse a redirect to a URL with more characters: servers accept URLs of 8 KiB, some servers of 16 KiB.
_LONGEST_URL = 16 * 1024

_UNSENDABLE = re.compile(r"[\x00-\x1f\x7f\ud800-\udfff]")

_CLASSIC = (
    "the server speaks classic ASP.NET SignalR, which is another protocol than ASP.NET Core SignalR: "
    "move the server to ASP.NET Core SignalR, or use a client for the classic one"
)

_ADVICE = {
    401: "the server wants authentication: pass access_token=, or check that the token is valid and not expired",
    403: "access is denied: this user may not use the hub, or a proxy refuses the request",
    404: "not found: this is not a SignalR endpoint, or a proxy is in the way; check the path of the URL",
    405: "the server takes no POST there: this is not a SignalR endpoint; check the path of the URL",
    407: "the proxy wants a user and password: put them into the URL given as proxy=",
    429: "the server gets too many requests",
    503: "the server is not available at the moment",
}


@attrs.frozen
class NegotiateRequest:
    """The next negotiate request to send.

    Attributes:
        url: complete URL for the POST.
        access_token: token of the last redirect that had a token, to send instead of the user's token. `None` if no
            redirect had a token.
    """

    url: str = attrs.field(repr=urls.without_query)
    access_token: str | None = attrs.field(default=None, repr=False)


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
        _check_status(asked, response, now)
        answer = _Answer(asked, response)
        answer.refuse_errors()
        token = answer.access_token() or token
        lifetime = answer.lifetime(lifetime)
        target = answer.redirect()
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


class _Answer:
    """The JSON of a negotiate response with a status of success. Each method checks the members that it reads."""

    def __init__(self, asked: str, response: HttpResponse) -> None:
        self._asked = asked
        self._status = response.status
        self._members = self._parse(response.body)

    def _parse(self, body: bytes) -> dict[str, Any]:
        try:
            members = json.loads(body.removeprefix(codecs.BOM_UTF8).decode())
        except (ValueError, RecursionError):
            raise self._error(_no_json(body)) from None
        if not isinstance(members, dict):
            raise self._error(f"the answer is not a JSON object: {_start(body)!r}")
        return members

    def refuse_errors(self) -> None:
        """Raise an error if the response is a refusal, or comes from classic ASP.NET SignalR."""
        if _is_classic(self._members):
            raise ClassicServerError(_CLASSIC, url=urls.without_query(self._asked), status=self._status)
        error = self._text("error")
        if error:
            raise self._error(f"the server refused: {redact(error)}")

    def redirect(self) -> str | None:
        """Return the URL to which the server redirects; `None` if this response is no redirect."""
        url = self._text("url")
        if not url:
            return None
        shown = redact(urls.without_query(url))
        if len(url) > _LONGEST_URL:
            raise self._error(f"the server redirects to a URL that is too long ({len(url)} characters): {shown!r}")
        try:
            target = urls.hub_url(url)
        except ValueError as error:
            raise self._error(f"the server redirects to {shown!r}, where no hub can be: {error}") from None
        if urls.origin(self._asked)[0] == "https" and urls.origin(target)[0] == "http":
            raise self._error(
                f"the server redirects from https to http, to {shown!r}: refused, since everybody on the way could "
                "read the token; behind a proxy, the server must know that its own address has https"
            )
        return target

    def access_token(self) -> str | None:
        """Return the access token with which the server replaces the user's token; `None` if it sends no token."""
        token = self._text("accessToken")
        if token and not (token.isascii() and token.isprintable()):
            raise self._error("the answer has an accessToken with characters that no HTTP header can carry")
        return token or None

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
        if _UNSENDABLE.search(token):
            raise self._error("the answer has a connection token with characters that no HTTP header can carry")
        return connection_id, token

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

    def _required(self, name: str) -> str:
        text = self._text(name)
        if not text or text.isspace():
            raise self._error(f"the answer has no {name}")
        return text

    def _text(self, name: str) -> str | None:
        value = self._members.get(name)
        if value is not None and not isinstance(value, str):
            raise self._wrong(name, "text")
        return value

    def _list(self, members: dict[str, Any], name: str) -> list[Any]:
        value = members.get(name)
        if value is not None and not isinstance(value, list):
            raise self._wrong(name, "a list")
        return value or []

    def _wrong(self, name: str, wanted: str) -> NegotiationError:
        return self._error(f"the answer's {name} is not {wanted}")

    def _error(self, message: str) -> NegotiationError:
        return NegotiationError(message, url=urls.without_query(self._asked), status=self._status)


def _is_classic(members: dict[str, Any]) -> bool:
    if "availableTransports" in members or "negotiateVersion" in members:
        return False
    lower = {name.lower(): value for name, value in members.items()}
    # Only classic ASP.NET sends a path as `Url`. ASP.NET Core sends `url` in redirects, as an absolute URL.
    has_path = "connectiontoken" in lower and str(lower.get("url")).startswith("/")
    return "protocolversion" in lower or has_path


def _check_status(asked: str, response: HttpResponse, now: float) -> None:
    status = response.status
    if 200 <= status < 300:
        return
    retry_after = parse_retry_after(response.header("Retry-After"), now)
    message = _redirected(response) if 300 <= status < 400 else _refused(asked, response, retry_after)
    raise NegotiationError(message, url=urls.without_query(asked), status=status, retry_after=retry_after)


def _redirected(response: HttpResponse) -> str:
    location = redact(urls.without_query(response.header("Location") or "")) or "an address that it does not name"
    return (
        f"the server answered with an HTTP redirect to {location}, which is not followed: use the hub's final URL; "
        "if that is a login page, the hub wants authentication"
    )


def _refused(asked: str, response: HttpResponse, retry_after: float | None) -> str:
    status = response.status
    message = _ADVICE.get(status, "the server failed" if status >= 500 else "the server refused")
    if status in (404, 405) and urls.without_query(asked).endswith("/negotiate/negotiate"):
        message += "; it ends in /negotiate already: give the hub's URL without that"
    if retry_after is not None:
        message += f"; it asks to wait {retry_after:g} s"
    said = _said(response)
    return f"{message}; it says: {said}" if said else message


def _said(response: HttpResponse) -> str:
    """Return the beginning of the response's body, if the body is JSON or plain text; otherwise an empty text.

    HTML is left out, because an error page may quote the request with its token.
    """
    kind = (response.header("Content-Type") or "").lower()
    if "json" in kind:
        return _start(response.body)
    if kind and not kind.startswith("text/plain"):
        return ""
    first = response.body.lstrip().partition(b"\n")[0]
    return "" if first.startswith(b"<") else _start(first)


def _no_json(body: bytes) -> str:
    if not body.strip():
        return "the answer is empty, not JSON"
    if body.lstrip(b"\xef\xbb\xbf \t\r\n").startswith(b"<"):
        return "the answer is HTML, not JSON: does a proxy or login page stand before the hub?"
    return f"the answer is not JSON: {_start(body)!r}"


def _start(body: bytes) -> str:
    return redact(body[:1000].decode("utf-8", "replace"))
