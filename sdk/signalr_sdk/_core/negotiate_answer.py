"""Reads the answer to a negotiate request: its status and its JSON, for ASP.NET Core and classic ASP.NET."""

from __future__ import annotations

import codecs
import json
import re
from typing import TYPE_CHECKING, Any

from ..errors import NegotiationError
from . import urls
from .headers import parse_retry_after
from .redaction import redact

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ..interfaces import HttpResponse

# Refuse a redirect to a URL with more characters: servers accept URLs of 8 KiB, some servers of 16 KiB.
_LONGEST_URL = 16 * 1024

_UNSENDABLE = re.compile(r"[\x00-\x1f\x7f\ud800-\udfff]")

_ADVICE = {
    401: "the server wants authentication: pass access_token=, or check that the token is valid and not expired",
    403: "access is denied: this user may not use the hub, or a proxy refuses the request",
    404: "not found: this is not a SignalR endpoint, or a proxy is in the way; check the path of the URL",
    407: "the proxy wants a user and password: put them into the URL given as proxy=",
    429: "the server gets too many requests",
    503: "the server is not available at the moment",
}


class NegotiateAnswer:
    """The JSON of a negotiate response with a status of success. Each method checks the members that it reads.

    Args:
        asked: the URL of the request.
        response: the response.

    Raises:
        NegotiationError: the body is no JSON object.
    """

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

    def refuse_error(self, name: str) -> None:
        """Raise an error if the member `name` holds the text of an error."""
        error = self._text(name)
        if error:
            raise self._error(f"the server refused: {redact(error)}")

    def redirect(self, name: str) -> str | None:
        """Return the URL in the member `name`, to which the server redirects; `None` if there is no redirect."""
        url = self._text(name)
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

    def access_token(self, name: str) -> str | None:
        """Return the access token in the member `name`, which replaces the user's token; `None` for no token."""
        token = self._text(name)
        if token and not (token.isascii() and token.isprintable()):
            raise self._error(f"the answer has an {name} with characters that no HTTP header can carry")
        return token or None

    def _required(self, name: str) -> str:
        text = self._text(name)
        if not text or text.isspace():
            raise self._error(f"the answer has no {name}")
        return text

    def _sendable(self, token: str) -> str:
        """Return a connection token. Raise an error if no request can carry it."""
        if _UNSENDABLE.search(token):
            raise self._error("the answer has a connection token with characters that no HTTP header can carry")
        return token

    def _text(self, name: str) -> str | None:
        value = self._members.get(name)
        if value is not None and not isinstance(value, str):
            raise self._wrong(name, "text")
        return value

    def _wrong(self, name: str, wanted: str) -> NegotiationError:
        return self._error(f"the answer's {name} is not {wanted}")

    def _error(self, message: str) -> NegotiationError:
        return NegotiationError(message, url=urls.without_query(self._asked), status=self._status)


def check_status(asked: str, response: HttpResponse, now: float, advice: Mapping[int, str]) -> None:
    """Raise an error if the status of a negotiate response is no success.

    Args:
        asked: the URL of the request.
        response: the response.
        now: seconds since 1970, for dates in `Retry-After`.
        advice: a dict from a status to its meaning for this kind of server, in addition to the usual meanings.

    Raises:
        NegotiationError: the status is not 2xx.
    """
    status = response.status
    if 200 <= status < 300:
        return
    retry_after = parse_retry_after(response.header("Retry-After"), now)
    message = _redirected(response) if 300 <= status < 400 else _refused(asked, response, retry_after, advice)
    raise NegotiationError(message, url=urls.without_query(asked), status=status, retry_after=retry_after)


def _redirected(response: HttpResponse) -> str:
    location = redact(urls.without_query(response.header("Location") or "")) or "an address that it does not name"
    return (
        f"the server answered with an HTTP redirect to {location}, which is not followed: use the hub's final URL; "
        "if that is a login page, the hub wants authentication"
    )


def _refused(asked: str, response: HttpResponse, retry_after: float | None, advice: Mapping[int, str]) -> str:
    status = response.status
    message = advice.get(status) or _ADVICE.get(status, "the server failed" if status >= 500 else "the server refused")
    if status in (404, 405) and urls.without_query(asked).endswith("/negotiate/negotiate"):
        message += "; it ends in /negotiate already: give the hub's URL without that"
    elif status in (404, 405) and urls.path_of(asked) == "/negotiate" and "/signalr" not in message:
        message += "; it has none: a hub has a path, such as /chat"
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
