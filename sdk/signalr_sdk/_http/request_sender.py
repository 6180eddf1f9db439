"""Sends the requests of one connection attempt, and decides which headers, cookies and token go to which server."""

from __future__ import annotations

import asyncio
import logging
import re
import time
from contextlib import AsyncExitStack, asynccontextmanager
from typing import TYPE_CHECKING, Literal, TypeVar

import attrs

from .._core import headers as http_headers
from .._core import urls
from .._core.cookies import CookieStore
from .._core.known_secrets import KnownSecrets
from .._core.logs import ConnectionLogs
from ..errors import TransportError
from ..interfaces import HttpClient, HttpRequest, HttpResponse, HttpStream, TokenProvider, WebSocket, WebSocketOptions
from ..options import Timeouts, Transport
from .access_tokens import AccessToken
from .client_choice import has_web_sockets

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping

T = TypeVar("T")

# The HTTP client gets a time limit for each request. After this factor times the limit, this package itself ends the
# request or negotiation, since a user's HTTP client may ignore its limit. With the same limit for both, the package
# might end a request before the HTTP client can raise its error, which tells more.
GRACE = 1.05

_CONNECTION_TOKEN = "X-SignalR-Connection-Token"
_XML_HTTP_REQUEST = ("X-Requested-With", "XMLHttpRequest")
_HEADER_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_SECRET_HEADER = re.compile(r"auth|cookie|key|token|secret|password|session")
_UNSENDABLE = re.compile(r"[\x00-\x08\x0a-\x1f\x7f\ud800-\udfff]")
# Headers of the user that are never sent unchanged: `_cookies_for` joins the user's `Cookie` with the cookies that the
# server has set, and `Accept-Encoding` would let the server compress responses, which this package does not decompress.
_NOT_THE_USERS = {"cookie", "accept-encoding"}


@attrs.frozen(kw_only=True)
class StreamOpening:
    """How a stream is asked for. The default is an event stream (Server-Sent Events).

    Attributes:
        timeout: seconds until status and headers of the response have arrived; `None` for no limit.
        method: the method of the request.
        headers: the headers of the request, in addition to those of every request.
        body: the body of the request.
    """

    timeout: float | None
    method: str = "GET"
    headers: Mapping[str, str] = attrs.field(
        factory=lambda: {"Accept": "text/event-stream", "Cache-Control": "no-cache"}
    )
    body: bytes = attrs.field(default=b"", repr=False)


class RequestSender:
    """Sends the requests of one connection attempt, each with its headers, cookies and token.

    The token, the cookies and the headers of the user go to the hub's own origin. A redirect of negotiate may point to
    another origin: only the redirect's token and the headers that `forward_headers` names go there. If
    `forward_headers` names `Authorization`, the user's token goes there too; if it names `Cookie`, the user's cookies.

    If a server answers 401 and the user's token provider returns another token, the request is sent once more.

    Args:
        http: the HTTP client that sends the requests.
        url: the hub's URL.
        access_token: see `HubConnection`.
        access_token_in: see `HubConnection`.
        headers: see `HubConnection`.
        cookies: see `HubConnection`.
        forward_headers: see `HubConnection`.
        timeouts: see `HubConnection`.
        logs: the connection's loggers; new ones for `url` by default.
        attempt: returns the present number of the attempt to connect, see `TokenRequest`.

    Attributes:
        logs: the connection's loggers.
        token: the token of the requests, which negotiation and token refreshes replace.
        timeouts: the time limits of the connection.
        secrets: the tokens, keys and cookies of the requests so far, to blank them out in the texts of errors.
    """

    def __init__(
        self,
        http: HttpClient,
        url: str,
        *,
        access_token: str | TokenProvider | None = None,
        access_token_in: Literal["header", "query"] = "header",
        headers: Mapping[str, str] | None = None,
        cookies: Mapping[str, str] | None = None,
        forward_headers: Iterable[str] = (),
        timeouts: Timeouts,
        logs: ConnectionLogs | None = None,
        attempt: Callable[[], int] = lambda: 0,
    ) -> None:
        self.logs: ConnectionLogs = ConnectionLogs(urls.without_query(url)) if logs is None else logs
        self._http = http
        self._home = urls.origin(url)
        self.token: AccessToken = AccessToken(access_token, timeouts=timeouts, log=self.logs.http, attempt=attempt)
        self._token_in_query = access_token_in == "query"
        self._headers = checked_headers(headers)
        self._cookies = checked_cookies(cookies)
        self._forwarded = frozenset(name.lower() for name in forward_headers)
        self._home_headers = self._usual_headers(home=True)
        self._foreign_headers = self._usual_headers(home=False)
        self._stored_cookies = CookieStore()
        self.timeouts = timeouts
        self.secrets: KnownSecrets = KnownSecrets()
        for key, (_name, value) in self._headers.items():
            if _SECRET_HEADER.search(key):
                self.secrets.add(value)
                self.secrets.add(value.rpartition(" ")[2])
        for value in (cookies or {}).values():
            self.secrets.add(value)

    async def refresh(self, url: str, connection_token: str, *, timeout: float | None, max_bytes: int) -> HttpResponse:
        """Get a new token from the user, and send this token to the server in a POST, to refresh a connection.

        If the server accepts the token, later requests carry this token too, unless a redirect of negotiate gave them
        a token for another server.

        Args:
            url: the URL of the token refresh, at the hub's own origin (not of a redirect).
            connection_token: from the negotiate response; tells the server which connection the token is for.
            timeout: seconds for the request.
            max_bytes: the largest response, in bytes.

        Returns:
            The answer, whatever its status.

        Raises:
            OSError: the network failed.
            ConnectionFailedError: the token provider failed.
            RemoteProtocolError: the answer is over `max_bytes`.
        """
        token = await self.token.ask_user()
        own = {"Accept": "*/*", _CONNECTION_TOKEN: connection_token}
        request = HttpRequest(method="POST", url=url, headers=own, timeout=timeout, max_bytes=max_bytes)
        response = await self._exchange(request, token)
        # After a redirect of negotiate, do not send the user's token with later requests: these go to the server of the
        # redirect, which needs the redirect's token. The user's token is for the hub's server.
        if 200 <= response.status < 300 and not self.token.from_redirect:
            self.token.use(token)
        return response

    async def request(
        self,
        method: str,
        url: str,
        *,
        body: bytes = b"",
        accept: str = "*/*",
        timeout: float | None,
        max_bytes: int | None = None,
        content_type: str | None = None,
    ) -> HttpResponse:
        """Send a request and return the answer, whatever its status. After a 401, try once more with another token.

        Raises:
            OSError: the network failed.
            ConnectionFailedError: the token provider failed.
            RemoteProtocolError: the answer is over `max_bytes`.
        """
        own = {"Accept": accept} if content_type is None else {"Accept": accept, "Content-Type": content_type}
        request = HttpRequest(method=method, url=url, headers=own, body=body, timeout=timeout, max_bytes=max_bytes)
        token = await self._token_for(url)
        response = await self._exchange(request, token)
        if response.status == 401 and await self._renewed(url, token):
            response = await self._exchange(request, await self._token_for(url))
        return response

    async def _exchange(self, request: HttpRequest, token: str | None) -> HttpResponse:
        request = self._addressed(request, token)
        response = await _in_time(self._http.request(request), request)
        self._note(request, response)
        return response

    @asynccontextmanager
    async def stream(self, url: str, opening: StreamOpening | None = None) -> AsyncIterator[HttpStream]:
        """Open a stream as an async context manager, whose end drops the stream.

        The stream is returned whatever the status of its response. After a 401, try once more with another token.

        Args:
            url: the URL of the request.
            opening: how the stream is asked for; by default as an event stream (Server-Sent Events).

        Raises:
            OSError: the network failed.
            ConnectionFailedError: the token provider failed.
            RemoteProtocolError: the stream is compressed.
        """
        opening = opening or StreamOpening(timeout=self.timeouts.connect)
        token = await self._token_for(url)
        async with self._stream(url, token, opening) as stream:
            if stream.response.status != 401 or not await self._renewed(url, token):
                yield stream
                return
        async with self._stream(url, await self._token_for(url), opening) as stream:
            yield stream

    @asynccontextmanager
    async def _stream(self, url: str, token: str | None, opening: StreamOpening) -> AsyncIterator[HttpStream]:
        headers, body = opening.headers, opening.body
        bare = HttpRequest(method=opening.method, url=url, headers=headers, body=body, timeout=opening.timeout)
        request = self._addressed(bare, token, opens=opening.method == "GET")
        async with AsyncExitStack() as stack:
            stream = await _in_time(stack.enter_async_context(self._http.stream(request)), request)
            self._note(request, stream.response)
            yield stream

    async def connect_web_socket(self, url: str, options: WebSocketOptions) -> WebSocket:
        """Open a WebSocket. After a 401, try once more with another token.

        Raises:
            TransportError: the server refused the WebSocket, or the HTTP client cannot open WebSockets.
            OSError: the network failed.
            ConnectionFailedError: the token provider failed.
        """
        token = await self._token_for(url)
        try:
            return await self._web_socket(url, token, options)
        except TransportError as error:
            if error.status != 401 or not await self._renewed(url, token):
                raise
        return await self._web_socket(url, await self._token_for(url), options)

    async def _web_socket(self, url: str, token: str | None, options: WebSocketOptions) -> WebSocket:
        if not has_web_sockets(self._http):
            raise TransportError("the HTTP client given as http= has no WebSockets", transport=Transport.WEBSOCKETS)
        bare = HttpRequest(method="GET", url=url, timeout=self.timeouts.connect)
        request = self._addressed(bare, token, opens=True)
        try:
            web_socket = await _in_time(self._http.connect_web_socket(request, options), request)
        except TransportError as error:
            self._note(request, HttpResponse(error.status or 0))
            raise
        self._note(request, HttpResponse(101))
        return web_socket

    async def _token_for(self, url: str) -> str | None:
        return await self.token.get() if self._may_have_token(url) else None

    async def _renewed(self, url: str, refused: str | None) -> bool:
        return self._may_have_token(url) and await self.token.renew(refused)

    def _may_have_token(self, url: str) -> bool:
        return self.token.from_redirect or self._is_home(url) or "authorization" in self._forwarded

    def _is_home(self, url: str) -> bool:
        return urls.origin(url) == self._home

    def _addressed(self, request: HttpRequest, token: str | None, *, opens: bool = False) -> HttpRequest:
        """Return a request with all its headers, and with the token in a header or in the URL.

        Args:
            request: the request; its headers replace the user's headers of the same names.
            token: the token, which goes into the header `Authorization` or into the query; `None` for no token.
            opens: whether the request opens an event stream or a WebSocket: with `access_token_in="query"`, the token
                of such a request goes into the query.
        """
        url, own = request.url, request.headers
        self.secrets.add(token)
        home = self._is_home(url)
        usual = self._home_headers if home else self._foreign_headers
        if token is not None and self._token_in_query and (opens or "authorization" in usual):
            url, token = urls.with_access_token(url, token), None
        replaced = {name.lower() for name in own}
        if token is not None:
            replaced.add("authorization")
        headers = {name: value for key, (name, value) in usual.items() if key not in replaced}
        headers.update(own)
        if token is not None:
            headers["Authorization"] = f"Bearer {token}"
        if cookies := self._cookies_for(url, home=home):
            headers["Cookie"] = cookies
        return attrs.evolve(request, url=url, headers=headers, connect_timeout=self.timeouts.connect)

    def _usual_headers(self, *, home: bool) -> dict[str, tuple[str, str]]:
        """Return the headers of every request, as a dict from the name in lower case to a tuple (name, value).

        Args:
            home: whether the request goes to the hub's own origin.
        """
        ours = {"user-agent": ("User-Agent", http_headers.USER_AGENT), "x-requested-with": _XML_HTTP_REQUEST}
        users = {key: pair for key, pair in self._headers.items() if home or key in self._forwarded}
        return {key: pair for key, pair in (ours | users).items() if key not in _NOT_THE_USERS}

    def _cookies_for(self, url: str, *, home: bool) -> str:
        stored = self._stored_cookies.header(url) or ""
        if not home and "cookie" not in self._forwarded:
            return stored
        _name, header = self._headers.get("cookie", ("", ""))
        if not header and not self._cookies:
            return stored
        # A cookie that the server has set replaces the user's cookie of the same name.
        newer = {pair.partition("=")[0] for pair in stored.split("; ")}
        pairs = [pair for name, pair in self._cookies if name not in newer]
        return "; ".join(part for part in (header, *pairs, stored) if part)

    def _note(self, request: HttpRequest, response: HttpResponse) -> None:
        """Log a request and the status of its response; keep the cookies that the response sets, for later requests."""
        set_cookies = [value for name, value in response.headers if name.lower() == "set-cookie"]
        if set_cookies:
            self._stored_cookies.store(request.url, set_cookies, time.time())
        if self.logs.http.isEnabledFor(logging.DEBUG):
            self.logs.http.debug("%s %s: status %d", request.method, urls.without_query(request.url), response.status)


async def _in_time(work: Awaitable[T], request: HttpRequest) -> T:
    """Await the response of an HTTP client, with a time limit: the HTTP client of a user may have no limit.

    Raises:
        TimeoutError: the request took longer than its limit.
    """
    limit = request.timeout
    if limit is None:
        return await work
    scope = asyncio.timeout(limit * GRACE)
    try:
        async with scope:
            return await work
    except TimeoutError:
        if not scope.expired():
            raise
    _scheme, host, port = urls.origin(request.url)
    raise TimeoutError(f"no answer from {host}:{port} within {limit:g} s")


def checked_headers(headers: Mapping[str, str] | None) -> dict[str, tuple[str, str]]:
    """Check the headers that the user gave; return a dict from the name in lower case to a tuple (name, value).

    Raises:
        ValueError: a name or a value cannot be sent.
    """
    return {name.lower(): (name, _checked(name, value)) for name, value in (headers or {}).items()}


def checked_cookies(cookies: Mapping[str, str] | None) -> list[tuple[str, str]]:
    """Check the cookies that the user gave; return a list of tuples (name, "name=value").

    Raises:
        ValueError: a name or a value cannot be sent, or would end the cookie and begin another one.
    """
    return [(name, _cookie(name, value)) for name, value in (cookies or {}).items()]


def _checked(name: str, value: object) -> str:
    """Check and return the value of a header that the user gave.

    Raises:
        ValueError: the name or the value cannot be sent.
    """
    if not _HEADER_NAME.fullmatch(name):
        raise ValueError(f"{name!r} cannot be the name of a header")
    if not isinstance(value, str) or _UNSENDABLE.search(value):
        raise ValueError(f"the header {name!r} needs a str without line breaks and control characters")
    return value


def _cookie(name: str, value: object) -> str:
    """Check a cookie that the user gave; return "name=value", as in the `Cookie` header.

    Raises:
        ValueError: the name or the value cannot be sent, or would end the cookie and begin another one.
    """
    text = _checked("Cookie", value)
    if not _HEADER_NAME.fullmatch(name):
        raise ValueError("the name of a cookie in cookies= holds a character that no such name may have")
    if ";" in text:
        raise ValueError(
            f"the value of the cookie {name!r} holds a semicolon, where the cookie would end: write it as %3B"
        )
    return f"{name}={text}"
