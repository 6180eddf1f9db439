"""What one connection attempt sends over HTTP: which headers, cookies and token go to which server."""

from __future__ import annotations

import logging
import re
import time
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Literal

from .._core import headers as http_headers
from .._core import urls
from .._core.cookies import CookieStore
from .._core.logs import ConnectionLogs
from ..errors import TransportError
from ..interfaces import HttpRequest, HttpResponse
from ..options import Transport
from .access_tokens import AccessToken
from .choice import has_web_sockets

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable, Mapping

    from ..interfaces import HttpClient, HttpStream, TokenProvider, WebSocket, WebSocketOptions
    from ..options import Timeouts

_HEADER_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_UNSENDABLE = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")


class RequestSender:
    """Sends the requests of one connection attempt, with all that belongs to them.

    The token, the cookies and the headers of the user go to the hub's own origin. To another, where a redirect of
    negotiate points, go the redirect's token and what `forward_headers` names; `Authorization` there stands for the
    user's token too, and `Cookie` for the user's cookies.

    Args:
        http: sends them.
        url: the hub's URL.
        access_token: as for `HubConnection`, and so are the others.
        logs: where to; those of the URL by default.

    Attributes:
        logs: the connection's loggers.
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
    ) -> None:
        self.logs = ConnectionLogs(urls.without_query(url)) if logs is None else logs
        self._http = http
        self._home = urls.origin(url)
        self._token = AccessToken(access_token)
        self._token_in_query = access_token_in == "query"
        self._headers = {name.lower(): (name, _checked(name, value)) for name, value in (headers or {}).items()}
        self._cookies = [(name, f"{name}={_checked('Cookie', value)}") for name, value in (cookies or {}).items()]
        self._forwarded = frozenset(name.lower() for name in forward_headers)
        self._stored_cookies = CookieStore()
        self._timeouts = timeouts

    def use_redirect_token(self, token: str) -> None:
        """Use this token in all that follows, instead of the user's."""
        self._token.replace(token)

    def use_fresh_token(self) -> None:
        """Ask the user's provider again with the next request; the token of a redirect stays."""
        self._token.forget()

    async def refresh(self, url: str, connection_token: str, *, timeout: float | None, max_bytes: int) -> HttpResponse:
        """Show the server another token of the user's, and use that from now on if it is accepted.

        Args:
            url: of the user's own hub.
            connection_token: whose token is to be refreshed.
            timeout: seconds.
            max_bytes: largest answer.

        Returns:
            The answer, whatever its status.

        Raises:
            OSError: the network failed.
            ConnectionFailedError: the token provider failed.
            RemoteProtocolError: the answer is over `max_bytes`.
        """
        token = await self._token.users_own()
        request = HttpRequest(
            method="POST",
            url=url,
            headers=self._headers_for(url, {"Accept": "*/*", _CONNECTION_TOKEN: connection_token}, token),
            connect_timeout=self._timeouts.connect,
            timeout=timeout,
            max_bytes=max_bytes,
        )
        response = await self._http.request(request)
        self._note(request, response)
        # A redirect's token is for another server, and so not the user's for that one.
        if 200 <= response.status < 300 and not self._token.from_redirect:
            self._token.adopt(token)
        return response

    def use_refreshed_token(self, token: str) -> None:
        """Use a token that the answer to a refresh gave."""
        self._token.adopt(token)

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
        """Send a request and return the answer, whatever its status. A 401 asks once for another token.

        Raises:
            OSError: the network failed.
            ConnectionFailedError: the token provider failed.
            RemoteProtocolError: the answer is over `max_bytes`.
        """
        own = {"Accept": accept}
        if content_type is not None:
            own["Content-Type"] = content_type
        again = False
        while True:
            token = await self._token_for(url)
            request = HttpRequest(
                method=method,
                url=url,
                headers=self._headers_for(url, own, token),
                body=body,
                connect_timeout=self._timeouts.connect,
                timeout=timeout,
                max_bytes=max_bytes,
            )
            response = await self._http.request(request)
            self._note(request, response)
            if again or response.status != 401 or not await self._renewed(url, token):
                return response
            again = True

    @asynccontextmanager
    async def stream(self, url: str) -> AsyncIterator[HttpStream]:
        """Open an event stream; leaving the context drops it. Status and errors as with `request`."""
        again = False
        while True:
            token = await self._token_for(url)
            request = self._get(url, token, {"Accept": "text/event-stream", "Cache-Control": "no-cache"})
            async with self._http.stream(request) as stream:
                self._note(request, stream.response)
                if again or stream.response.status != 401 or not await self._renewed(url, token):
                    yield stream
                    return
            again = True

    async def connect_web_socket(self, url: str, options: WebSocketOptions) -> WebSocket:
        """Open a WebSocket. A 401 asks once for another token.

        Raises:
            TransportError: the server refused it, or the HTTP client has no WebSockets.
            OSError: the network failed.
            ConnectionFailedError: the token provider failed.
        """
        http = self._http
        if not has_web_sockets(http):
            raise TransportError("the HTTP client given as http= has no WebSockets", transport=Transport.WEBSOCKETS)
        again = False
        while True:
            token = await self._token_for(url)
            request = self._get(url, token, {})
            try:
                web_socket = await http.connect_web_socket(request, options)
            except TransportError as error:
                self._note(request, HttpResponse(error.status or 0))
                if again or error.status != 401 or not await self._renewed(url, token):
                    raise
                again = True
            else:
                self._note(request, HttpResponse(101))
                return web_socket

    def _get(self, url: str, token: str | None, own: dict[str, str]) -> HttpRequest:
        """Return the request for an event stream or a WebSocket."""
        in_query = token is not None and self._token_in_query
        return HttpRequest(
            method="GET",
            url=urls.with_access_token(url, token) if token is not None and in_query else url,
            headers=self._headers_for(url, own, None if in_query else token, no_authorization=in_query),
            connect_timeout=self._timeouts.connect,
            timeout=self._timeouts.connect,
        )

    async def _token_for(self, url: str) -> str | None:
        return await self._token.get() if self._may_have_token(url) else None

    async def _renewed(self, url: str, refused: str | None) -> bool:
        return self._may_have_token(url) and await self._token.renew(refused)

    def _may_have_token(self, url: str) -> bool:
        return self._token.from_redirect or self._is_home(url) or "authorization" in self._forwarded

    def _is_home(self, url: str) -> bool:
        return urls.origin(url) == self._home

    def _headers_for(
        self, url: str, own: dict[str, str], token: str | None, *, no_authorization: bool = False
    ) -> dict[str, str]:
        """Return all headers of a request; the user's come before ours, but for those that make it what it is."""
        home = self._is_home(url)
        users = {key: pair for key, pair in self._headers.items() if home or key in self._forwarded}
        for replaced in ("cookie", *map(str.lower, own)):
            users.pop(replaced, None)
        if token is not None or no_authorization:
            users.pop("authorization", None)
        ours = {"user-agent": ("User-Agent", http_headers.user_agent()), "x-requested-with": _XML_HTTP_REQUEST}
        headers = {**dict((ours | users).values()), **own}
        if token is not None:
            headers["Authorization"] = f"Bearer {token}"
        if cookies := self._cookies_for(url, home=home):
            headers["Cookie"] = cookies
        return headers

    def _cookies_for(self, url: str, *, home: bool) -> str:
        stored = self._stored_cookies.header(url) or ""
        if not home and "cookie" not in self._forwarded:
            return stored
        # What the server has set meanwhile replaces what the user had.
        newer = {pair.partition("=")[0] for pair in stored.split("; ")}
        pairs = [pair for name, pair in self._cookies if name not in newer]
        _name, header = self._headers.get("cookie", ("", ""))
        return "; ".join(part for part in (header, *pairs, stored) if part)

    def _note(self, request: HttpRequest, response: HttpResponse) -> None:
        """Keep the cookies of an answer, and log it."""
        set_cookies = [value for name, value in response.headers if name.lower() == "set-cookie"]
        if set_cookies:
            self._stored_cookies.store(request.url, set_cookies, time.time())
        if self.logs.http.isEnabledFor(logging.DEBUG):
            self.logs.http.debug("%s %s: status %d", request.method, urls.without_query(request.url), response.status)


_CONNECTION_TOKEN = "X-SignalR-Connection-Token"
_XML_HTTP_REQUEST = ("X-Requested-With", "XMLHttpRequest")


def _checked(name: str, value: object) -> str:
    """Return the value of a header."""
    if not _HEADER_NAME.fullmatch(name):
        raise ValueError(f"{name!r} cannot be the name of a header")
    if not isinstance(value, str) or _UNSENDABLE.search(value):
        raise ValueError(f"the header {name!r} needs a str without line breaks and control characters")
    return value
