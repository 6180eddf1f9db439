"""`Exchanges`: requests over the connections of an aiohttp session, one level below the session.

aiohttp opens the connections (addresses, TLS, keep-alive) and parses the responses. What its session does around each
request is left out, which takes half of the processor time of a POST (tests/bench/classic.py): objects for the request
and its response, redirects, cookies, traces, and a task that writes the body.
"""

from __future__ import annotations

import re
from functools import cache, lru_cache
from inspect import signature
from types import FunctionType
from typing import TYPE_CHECKING, Any, Final, NoReturn

import aiohttp
from yarl import URL

from .._core import urls
from ..interfaces import HttpResponse
from . import answers
from .tcp_sockets import read_less_at_once

if TYPE_CHECKING:
    import ssl as ssl_module

    from aiohttp.connector import Connection

    from ..interfaces import HttpRequest

# A request without a body has a `Content-Length` only if its method may have a body.
_BODILESS = ("GET", "HEAD")
_BREAK = re.compile(r"[\r\n\0]")
# Requests with one of these headers go over aiohttp's session, for which they are more than text.
_NOT_ONLY_TEXT = frozenset({"connection", "content-length", "expect", "host", "transfer-encoding", "upgrade"})
# All requests of a session go through this method.
_METHOD = "_request"
_REQUEST: Final[Any] = vars(aiohttp.ClientSession).get(_METHOD)


class OpenResponse:
    """A response whose head has come.

    Args:
        head: the response, without its body.
        content: the body.
        source: what brings the body.

    Attributes:
        head: the response, without its body.
        content: the body.
    """

    def __init__(
        self, head: HttpResponse, content: aiohttp.StreamReader, source: Connection | aiohttp.ClientResponse
    ) -> None:
        self.head = head
        self.content = content
        self._source = source

    def close(self) -> None:
        """Give the connection back to aiohttp if the body was received to its end; otherwise close the connection."""
        if self.content.is_eof():
            self._source.release()
        else:
            self._source.close()


class Exchanges:
    """Sends requests over the connections of one aiohttp session. A request is sent once, and no redirect is followed.

    Args:
        session: the session. It has no proxy, and its cookies, headers and middlewares are not used.
        ssl: see aiohttp's parameter `ssl`.
    """

    def __init__(self, session: aiohttp.ClientSession, ssl: ssl_module.SSLContext | bool) -> None:
        self._session = session
        self._ssl = ssl
        self._patterns: dict[tuple[str, str, int], aiohttp.ClientRequest | None] = {}

    @staticmethod
    @cache
    def possible() -> bool:
        """Return whether this version of aiohttp has what this class uses. Only some of that is documented."""
        try:
            # Import here: another version of aiohttp may not have this class.
            from aiohttp.client_proto import ResponseHandler

            connect = signature(aiohttp.BaseConnector.connect).parameters
            options = signature(ResponseHandler.set_response_params).parameters
        except (ImportError, AttributeError):
            return False
        wanted = {"read_until_eof", "auto_decompress", "skip_payload"}
        is_aiohttps = type(_REQUEST) is FunctionType and _REQUEST.__globals__ is vars(aiohttp.client)
        return is_aiohttps and list(connect) == ["self", "req", "traces", "timeout"] and wanted <= options.keys()

    def _is_watched(self) -> bool:
        """Return whether something sees or replaces the requests of all aiohttp sessions: a tracer or a user's test."""
        return vars(aiohttp.ClientSession).get(_METHOD) is not _REQUEST or bool(self._session.trace_configs)

    async def send(self, request: HttpRequest) -> OpenResponse | None:
        """Send a request, and return when the head of the response has come; `None` if nothing was sent.

        Raises:
            aiohttp.ClientError: the network failed.
            HttpProcessingError: the response is not valid HTTP.
            ValueError: a header cannot be sent.
        """
        connector = self._session.connector
        if connector is None or self._is_watched() or not _NOT_ONLY_TEXT.isdisjoint(map(str.lower, request.headers)):
            return None
        pattern = await self._pattern(request.url)
        if pattern is None:
            return None
        data = _head(request, pattern.headers["Host"]) + request.body
        connection = await _connect(connector, pattern, request.connect_timeout)
        try:
            return await _exchange(connection, data, has_body=request.method != "HEAD")
        except BaseException:
            connection.close()
            raise

    async def _pattern(self, url: str) -> aiohttp.ClientRequest | None:
        """Return a request that tells aiohttp's connector which server to connect to. It is never sent.

        Return `None` if aiohttp makes no such request, because the URL is wrong.
        """
        origin = urls.origin(url)
        if origin not in self._patterns:
            pattern = None
            try:
                await self._session.get(URL(url, encoded=True).origin(), ssl=self._ssl, middlewares=(_catch,))
            except _Caught as caught:
                pattern = caught.request
            except (aiohttp.ClientError, ValueError):
                pass  # the session raises this error again when the request goes over it
            self._patterns[origin] = pattern
        return self._patterns[origin]


class _Caught(Exception):  # noqa: N818  # a signal, no error
    def __init__(self, request: aiohttp.ClientRequest) -> None:
        super().__init__()
        self.request = request


async def _catch(request: aiohttp.ClientRequest, _handler: aiohttp.ClientHandlerType) -> NoReturn:
    raise _Caught(request)


@lru_cache(maxsize=16)
def connect_limit(seconds: float | None) -> aiohttp.ClientTimeout:
    """Return the limit of a request that may take so many seconds to connect; `None` for no limit."""
    return aiohttp.ClientTimeout(total=None, connect=seconds)


async def _connect(
    connector: aiohttp.BaseConnector, pattern: aiohttp.ClientRequest, seconds: float | None
) -> Connection:
    while True:
        try:
            connection = await connector.connect(pattern, [], connect_limit(seconds))
        except TimeoutError as error:
            raise aiohttp.ConnectionTimeoutError from error
        # A server may have sent something over an idle connection, such as the status 408 before it closes it. That is
        # no response to the next request: take another connection.
        if connection.closed or not (connection.protocol and connection.protocol.should_close):
            return connection
        connection.close()


def _head(request: HttpRequest, host: str) -> bytes:
    path = URL(request.url, encoded=True).raw_path_qs
    headers = {"Host": host, **answers.NOT_COMPRESSED, **request.headers}
    lines = [f"{request.method} {path} HTTP/1.1", *(f"{name}: {value}" for name, value in headers.items())]
    if request.body or request.method not in _BODILESS:
        lines.append(f"Content-Length: {len(request.body)}")
    if _BREAK.search("".join(lines)):
        raise ValueError("a header or the URL holds a line break")
    return "\r\n".join((*lines, "", "")).encode()


async def _exchange(connection: Connection, data: bytes, *, has_body: bool) -> OpenResponse:
    protocol, transport = connection.protocol, connection.transport
    if protocol is None or transport is None:
        raise aiohttp.ServerDisconnectedError
    read_less_at_once(transport)
    protocol.set_response_params(skip_payload=not has_body, read_until_eof=True, auto_decompress=False)
    transport.write(data)
    while True:
        message, content = await protocol.read()
        # A server may send responses with a status of 1xx before the real one.
        if not 100 <= message.code < 200 or message.code == 101:
            return OpenResponse(HttpResponse(message.code, tuple(message.headers.items())), content, connection)
