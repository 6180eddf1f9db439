"""All that comes by HTTP, and texts of users: negotiate, event streams, cookies, URLs, headers, upstream, Azure."""

from __future__ import annotations

import contextlib
import re
from typing import TYPE_CHECKING

import attrs
from yarl import URL

from signalr_sdk import AuthenticationRefreshError, HubError, NegotiationError, RemoteProtocolError
from signalr_sdk._core import token_refresh, urls
from signalr_sdk._core.cookies import CookieStore
from signalr_sdk._core.headers import parse_date, parse_retry_after
from signalr_sdk._core.negotiation import Endpoint, negotiate
from signalr_sdk._core.redaction import printable, redact, redact_error
from signalr_sdk._core.sse_parser import SseParser
from signalr_sdk.azure import ConnectionString, UpstreamEvent, verify_signature
from signalr_sdk.azure.rest_responses import members, refusal
from signalr_sdk.errors import AzureSignalRError
from signalr_sdk.interfaces import HttpRequest, HttpResponse

from .checks import check_error, outcome, pieces, random_of, require, same

if TYPE_CHECKING:
    from collections.abc import Iterator

NOW = 1_800_000_000.0
HUB = "https://hub.example/chat?room=1"
_HEADER_VALUE = re.compile(r"[^\x00-\x08\x0a-\x1f\x7f]*")


def text_of(data: bytes) -> str:
    """Return the bytes as text, with half surrogate pairs for what is no UTF-8, as in headers."""
    return data.decode("utf-8", "surrogateescape")


def fields_of(data: bytes) -> tuple[list[tuple[str, str]], bytes]:
    """Return HTTP fields and the body behind an empty line."""
    head, _, body = data.partition(b"\n\n")
    found = (line.partition(":") for line in text_of(head).split("\n"))
    return [(name.strip(), value.strip()) for name, _, value in found], body


# Negotiation


def check_negotiation(data: bytes) -> None:
    """Check answers to negotiate: the first line is the status, behind the empty line come the bodies."""
    fields, rest = fields_of(data)
    bodies = iter(rest.split(b"\n\n"))
    status = int(fields[0][1]) if fields[0][0] == "Status" and re.fullmatch("[1-5][0-9]{2}", fields[0][1]) else 200
    steps = negotiate(HUB, limit=3, stateful=True, now=NOW)
    try:
        request = next(steps)
        for _ in range(5):
            _check_sendable(request.url)
            if request.access_token is not None:
                require(request.access_token.isascii() and request.access_token.isprintable(), "it fits into a header")
            request = steps.send(HttpResponse(status, tuple(fields), next(bodies, b"")))
    except StopIteration as done:
        _check_endpoint(done.value)
    except NegotiationError as error:
        check_error(error)
        require(error.retry_after is None or error.retry_after >= 0, "nobody waits less than 0 s", error.retry_after)


def _check_endpoint(endpoint: Endpoint) -> None:
    _check_sendable(endpoint.url)
    _check_sendable(urls.connect_url(endpoint.url, endpoint.connection_token))
    require(urls.hub_url(endpoint.url) == endpoint.url, "a URL that was checked stays as it is", endpoint.url)
    require(endpoint.connection_id and endpoint.connection_token, "there are ids")
    require(endpoint.transports, "there are transports")
    lifetime = endpoint.token_lifetime
    require(lifetime is None or 0 <= lifetime <= 2.0**31, "the lifetime makes sense", lifetime)


def _check_sendable(url: str) -> None:
    require(url.isascii() and url.isprintable() and " " not in url, "a URL fits into a request", url)
    require(urls.origin(url)[0] in ("http", "https"), "it is http", url)


def check_refresh(data: bytes) -> None:
    """Check answers to a refresh of the token, and to polls that ask for one."""
    random = random_of(data)
    token_refresh.is_required(409, data)
    answer = outcome(
        lambda: token_refresh.read_answer(random.choice((200, 204, 401)), data), AuthenticationRefreshError
    )
    if isinstance(answer, token_refresh.RefreshAnswer):
        token, lifetime = answer.access_token, answer.lifetime
        require(token is None or (token.isascii() and token.isprintable()), "the token fits into a header", token)
        require(lifetime is None or 0 <= lifetime <= 2.0**31, "the lifetime makes sense", lifetime)
        if lifetime is not None:
            require(0.5 <= token_refresh.delay(lifetime, 300.0) < 2.0**32, "it is refreshed in time", lifetime)


def check_azure_answer(data: bytes) -> None:
    """Check answers of the REST API."""
    fields, body = fields_of(data)
    request = HttpRequest(method="POST", url="https://x.service.signalr.net/api?access_token=secret", headers={})
    response = HttpResponse(400, tuple(fields), body)
    check_error(refusal(request, response, NOW))
    outcome(lambda: members(request, response), AzureSignalRError)


# Event streams


def check_events(data: bytes) -> None:
    """Check event streams, whole and split, against the plainest parser."""
    random = random_of(data)
    limit = random.choice((3, 50, 1_000_000))
    whole, split = (_events(parts, limit) for parts in ([data], pieces(data, random)))
    require(
        same(whole, split) or RemoteProtocolError in (whole[1], split[1]), "whole and split are alike", whole, split
    )
    if limit > len(data):
        require(same(whole[0], list(_plain_events(data))), "it is what the plain way gives", whole, data)


def _events(parts: list[bytes], limit: int) -> tuple[list[bytes], object]:
    parser, events = SseParser(limit), list[bytes]()
    for part in parts:
        try:
            found = parser.feed(part)
        except RemoteProtocolError as error:
            check_error(error)
            return events, RemoteProtocolError
        require(all(len(event) <= limit for event in found), "no event is over the limit")
        held = len(parser._line) + len(parser._data or b"")
        require(held <= limit + 9, "what is kept is bounded", held, limit)
        events += found
    return events, None


def _plain_events(data: bytes) -> Iterator[bytes]:
    """Do what the HTML standard says, word for word."""
    lines = data.removeprefix(b"\xef\xbb\xbf").replace(b"\r\n", b"\n").replace(b"\r", b"\n").split(b"\n")
    buffer = b""
    for line in lines[:-1]:
        if not line:
            if buffer.removesuffix(b"\n"):
                yield buffer.removesuffix(b"\n")
            buffer = b""
            continue
        name, _, value = line.partition(b":")
        if name == b"data":
            buffer += value.removeprefix(b" ") + b"\n"


# Cookies and headers


def check_cookies(data: bytes) -> None:
    """Check cookies: each line is a `Set-Cookie` header of an answer to the URL in the first line."""
    address, *values = text_of(data).split("\n")
    url = outcome(lambda: urls.hub_url(address), ValueError)
    url = url if isinstance(url, str) else HUB
    store = CookieStore()
    for value in values:
        store.store(url, [value], NOW)
    for asked in (url, HUB, url + "/below", urls.negotiate_url(url)):
        header = store.header(asked)
        if header is not None:
            require(_HEADER_VALUE.fullmatch(header), "the cookies fit into a header", header)
            require(header.encode(), "the cookies can be encoded")
            require(urls.same_origin(asked, url), "cookies stay with their origin", asked, url)
            require(len(header) <= 50 * 4100, "cookies are bounded", len(header))
    require(sum(map(len, store._cookies.values())) <= 50, "their number is bounded")


def check_headers(data: bytes) -> None:
    """Check dates and `Retry-After`."""
    text = text_of(data)
    date = parse_date(text)
    require(date is None or -7e10 < date < 3e11, "a date is one", date)
    for now in (0.0, NOW):
        seconds = parse_retry_after(text, now)
        require(seconds is None or 0 <= seconds < 3e11, "nobody waits less than 0 s", seconds)


# URLs


def check_urls(data: bytes) -> None:
    """Check URLs against yarl."""
    text = text_of(data)
    url = outcome(lambda: urls.hub_url(text), ValueError)
    _check_shown(urls.without_query(text), text)
    with contextlib.suppress(ValueError):
        urls.origin(text)
    if not isinstance(url, str):
        return
    _check_sendable(url)
    require(urls.hub_url(url) == url, "a URL that was checked stays as it is", url)
    _check_like_yarl(url)
    for longer in (urls.negotiate_url(url, stateful=True), urls.refresh_url(url)):
        _check_like_yarl(longer)
        require(urls.same_origin(longer, url), "the origin stays", longer)
    token = "a&b=c d#\u00e9\ud800"
    both = urls.with_access_token(urls.connect_url(url, token), token)
    _check_like_yarl(both)
    parsed = URL(both, encoded=True).query
    require(parsed.getall("id")[-1] == "a&b=c d#\u00e9?", "the id comes through", both)
    require(parsed.getall("access_token")[-1] == "a&b=c d#\u00e9?", "the token comes through", both)


def _check_shown(shown: str, text: str) -> None:
    require("?" not in shown and "#" not in shown, "no query is shown", shown)
    authority = re.match("[^/]*//([^/]*)", shown)
    require(not authority or "@" not in authority[1], "no password is shown", shown, text)


def _check_like_yarl(url: str) -> None:
    theirs = URL(url, encoded=True)
    ours = urls.origin(url)
    host = theirs.raw_host or ""
    require(ours[0] == theirs.scheme, "the scheme is that of yarl", url, theirs.scheme)
    require(ours[1].strip("[]") == host.lower(), "the host is that of yarl", ours, host)
    require(ours[2] == theirs.port, "the port is that of yarl", ours, theirs.port)
    tail = url.partition("://")[2]
    path = "/" + tail.partition("/")[2].partition("?")[0]
    require(path == theirs.raw_path, "the path is that of yarl", path, theirs.raw_path)
    require(url.partition("?")[2] == theirs.raw_query_string, "the query is that of yarl", url, theirs.raw_query_string)


# Texts


def check_redaction(data: bytes) -> None:
    """Check that what is shown is short, printable, and without secrets."""
    random = random_of(data)
    text = text_of(data)
    limit = random.choice((1, 20, 200, 1000))
    shown = redact(text, limit)
    require(shown.isprintable(), "it is printable", shown)
    require(len(shown) <= limit + 1, "it is short", shown)
    require(redact_error(HubError(text)).isprintable(), "errors are printable")
    require(len(printable(text, keep="\n")) == len(text), "no character is lost")
    secret = "Sekret0" + "x" * random.randint(1, 30)
    for quoted in (f"{text} Bearer {secret}", f"{text[:50]}?access_token={secret}&{text}"):
        require("Sekret0" not in redact(quoted, 1000), "secrets are masked", quoted)


# Azure


def check_upstream(data: bytes) -> None:
    """Check upstream requests: fields, an empty line, and the body."""
    fields, body = fields_of(data)
    headers = dict(fields)
    require(not verify_signature(headers, "key") or "key" in text_of(data), "nobody guesses the key")
    outcome(lambda: UpstreamEvent.parse(headers, body), RemoteProtocolError)


def check_connection_string(data: bytes) -> None:
    """Check connection strings."""
    text = text_of(data)
    parsed = outcome(lambda: ConnectionString.parse(text), ValueError)
    if isinstance(parsed, ConnectionString):
        for url in (parsed.endpoint, parsed.client_endpoint, parsed.server_endpoint):
            _check_sendable(url)
            require(url.endswith("/") and "?" not in url, "an endpoint is one", url)
        require(repr(attrs.evolve(parsed, access_key="another")) == repr(parsed), "the key is not shown", parsed)
