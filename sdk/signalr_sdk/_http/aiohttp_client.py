"""The HTTP client that is used unless the user brings another: aiohttp, for requests and for WebSockets."""

from __future__ import annotations

import asyncio
import concurrent.futures.thread  # noqa: F401 - else the first look-up of a host name waits for this import
import io
from contextlib import AbstractAsyncContextManager, asynccontextmanager, nullcontext
from functools import partial
from typing import TYPE_CHECKING, Any

import aiohttp
from yarl import URL

from .._core import urls
from ..interfaces import HttpRequest, HttpResponse, WebSocketOptions
from . import answers
from .aiohttp_errors import BrokenConnectionError, RequestContext, peer, translated
from .aiohttp_exchange import Exchanges, OpenResponse, connect_limit
from .aiohttp_web_socket import AiohttpWebSocket, takes_decode_text
from .proxies import environment_proxy, proxy_url
from .tcp_sockets import TcpSockets

if TYPE_CHECKING:
    import ssl as ssl_module
    from collections.abc import AsyncIterator, Awaitable, Callable, Mapping

    from aiohttp import ClientMiddlewareType

_LARGE = 512 * 1024
# aiohttp would add a content type to a body that has none.
_NO_CONTENT_TYPE = ("Content-Type",)
# The largest limit of a WebSocket message: aiohttp adds one to the limit, and keeps the sum in 32 bits.
_LARGEST_LIMIT = 2**32 - 2
_NO_LIMIT = nullcontext()


class AiohttpClient:
    """Sends requests and opens WebSockets with aiohttp.

    Args:
        session: the user's session, which stays open. Without one, the client makes a session of its own for the first
            request, uses the proxies that the environment names, and closes the session in `close`.
        proxy: URL of a proxy for all requests, with user and password if the proxy wants them.
        ssl: a context (own CA, client certificate), `True` to verify the server's certificate, `False` to skip this.
        server_timeout: after so many seconds, the sockets of the client's own session notice that an idle peer is gone.

    Attributes:
        sockets: the sockets of the client's own session.

    Raises:
        ValueError: the proxy is no http(s) URL.
    """

    def __init__(
        self,
        session: aiohttp.ClientSession | None = None,
        *,
        proxy: str | None = None,
        ssl: ssl_module.SSLContext | bool = True,
        server_timeout: float | None = None,
    ) -> None:
        self.sockets: TcpSockets = TcpSockets(server_timeout)
        self._session = session
        self._own = session is None
        self._exchanges: Exchanges | None = None
        self._proxy = None if proxy is None else proxy_url(proxy)
        self._ssl = ssl
        self._closed = False
        self._environment_proxies: dict[tuple[str, str, int], URL | None] = {}
        self._answered: set[tuple[str, str, int]] = set()

    async def request(self, request: HttpRequest, /) -> HttpResponse:
        """See `HttpClient.request`."""
        session, proxy, context = await self._prepare(request)
        with translated(context):
            async with _time_limit(request.timeout):
                response = await self._send(session, context, proxy)
                head, content = response.head, response.content
                try:
                    if content.is_eof():
                        # The whole body came together with the head, as it does for most requests.
                        return answers.with_body(head, content.read_nowait(), request.max_bytes)
                    return await answers.whole(head, content.iter_any(), request.max_bytes)
                finally:
                    response.close()

    @asynccontextmanager
    async def stream(self, request: HttpRequest, /) -> AsyncIterator[AiohttpStream]:
        """See `HttpClient.stream`."""
        session, proxy, context = await self._prepare(request)
        with translated(context):
            async with asyncio.timeout(request.timeout):
                response = await self._send(session, context, proxy)
        try:
            yield AiohttpStream(response, request)
        finally:
            response.close()

    async def connect_web_socket(self, request: HttpRequest, options: WebSocketOptions, /) -> AiohttpWebSocket:
        """See `WebSocketConnector`."""
        session, proxy, context = await self._prepare(request)
        extra: dict[str, Any] = {"decode_text": False} if takes_decode_text() else {}
        with translated(context):
            async with asyncio.timeout(request.timeout):
                web_socket = await self._web_socket_opener(session)(
                    URL(request.url, encoded=True),
                    headers=_sendable(request.headers),
                    proxy=proxy,
                    ssl=self._ssl,
                    compress=0,
                    autoping=False,  # `AiohttpWebSocket` answers pings
                    # Pass one more than the limit: some versions of aiohttp already refuse a message of exactly the
                    # limit. `AiohttpWebSocket` checks the limit itself.
                    max_msg_size=min(options.max_bytes + 1, _LARGEST_LIMIT),
                    timeout=aiohttp.ClientWSTimeout(ws_close=options.close_timeout),
                    **extra,
                )
        self._note_answer(context)
        return AiohttpWebSocket(web_socket, session, where=peer(request.url), options=options)

    def _web_socket_opener(
        self, session: aiohttp.ClientSession
    ) -> Callable[..., Awaitable[aiohttp.ClientWebSocketResponse]]:
        """Return a function that opens a WebSocket over the session: like `ws_connect`, but it follows no redirect."""
        # The user's session lacks the middleware `_exactly_once`, which stops redirects, and `ws_connect` has no
        # parameter for middlewares. So call the private method behind `ws_connect`. If aiohttp does not have this
        # method, WebSockets over the user's session follow redirects.
        connect = getattr(aiohttp.ClientSession, "_ws_connect", None)
        if self._own or connect is None:
            return session.ws_connect
        return partial(connect, _Upgrading(session, raise_for_status=False, middlewares=self._middlewares(session)))

    async def close(self) -> None:
        """Close the client's own session with its connections; the user's session stays. All later requests fail."""
        self._closed = True
        session, self._session = self._session, None
        if not self._own or session is None:
            return
        # Shut the sockets down first: otherwise closing the session waits until a server that has stopped reading takes
        # all unsent data.
        self.sockets.shut_down()
        await session.close()

    async def _send(self, session: aiohttp.ClientSession, context: RequestContext, proxy: URL | None) -> OpenResponse:
        request = context.request
        response = None
        if self._exchanges is not None and proxy is None and len(request.body) <= _LARGE:
            response = await self._exchanges.send(request)
        if response is None:
            response = await self._send_over_session(session, request, proxy)
        self._note_answer(context)
        return response

    async def _send_over_session(
        self, session: aiohttp.ClientSession, request: HttpRequest, proxy: URL | None
    ) -> OpenResponse:
        response = await session.request(
            request.method,
            URL(request.url, encoded=True),
            data=_payload(request.body),
            headers={**answers.NOT_COMPRESSED, **_sendable(request.headers)},
            skip_auto_headers=_NO_CONTENT_TYPE if request.body and "Content-Type" not in request.headers else None,
            allow_redirects=False,
            raise_for_status=False,
            proxy=proxy,
            ssl=self._ssl,
            timeout=connect_limit(request.connect_timeout),
            auto_decompress=False,
            middlewares=self._middlewares(session),
        )
        return OpenResponse(HttpResponse(response.status, tuple(response.headers.items())), response.content, response)

    def _note_answer(self, context: RequestContext) -> None:
        if context.untried:
            self._answered.add(urls.origin(context.request.url))

    async def _prepare(self, request: HttpRequest) -> tuple[aiohttp.ClientSession, URL | None, RequestContext]:
        """Return a tuple: aiohttp's session, the proxy (or `None`), and the context for the text of an error."""
        if self._session is not None:
            # Let the event loop run once: asyncio then notices idle connections that the server has closed, and aiohttp
            # does not send this request over such a connection.
            await asyncio.sleep(0)
        origin = urls.origin(request.url)
        proxy = await self._proxy_for(origin)
        session = self._usable_session()
        connections = session.connector.limit if session.connector is not None else 0
        untried = origin not in self._answered
        return session, proxy, RequestContext(request, connections=connections, untried=untried)

    def _usable_session(self) -> aiohttp.ClientSession:
        if self._closed:
            raise ConnectionError("this HTTP client is closed")
        if self._session is None:
            self._session = self._new_session()
            self._exchanges = Exchanges(self._session, self._ssl) if Exchanges.possible() else None
        session = self._session
        if session.closed:
            raise ConnectionError("the aiohttp session given as http= is closed: keep it open as long as it is in use")
        # Read the private attribute `_loop`: aiohttp has no public name for the event loop of a session. On another
        # event loop a request would hang, or fail with an error that does not tell the reason.
        if getattr(session, "_loop", None) not in (None, asyncio.get_running_loop()):
            raise ConnectionError(
                "the aiohttp session given as http= belongs to another event loop: make it in the loop that uses it"
            )
        return session

    def _new_session(self) -> aiohttp.ClientSession:
        return aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0, socket_factory=self.sockets.make),
            cookie_jar=aiohttp.DummyCookieJar(),
            timeout=aiohttp.ClientTimeout(total=None),
            middlewares=(_exactly_once,),
            # Do not set `trust_env=True`: aiohttp would then also send the password that ~/.netrc holds for the host,
            # or fail if the request carries a token. `_proxy_for` reads the proxies of the environment instead.
            trust_env=False,
        )

    def _middlewares(self, session: aiohttp.ClientSession) -> tuple[ClientMiddlewareType, ...] | None:
        """Return aiohttp's argument `middlewares` for one request; `None` to use the session's middlewares."""
        if self._own:
            return None
        # Add the middlewares of the user's session, because the middlewares of a request replace them. aiohttp has no
        # public name for the session's middlewares.
        return (*getattr(session, "_middlewares", ()), _exactly_once)

    async def _proxy_for(self, origin: tuple[str, str, int]) -> URL | None:
        if self._proxy is not None or not self._own:
            return self._proxy
        if origin not in self._environment_proxies:
            self._environment_proxies[origin] = await environment_proxy(origin)
        return self._environment_proxies[origin]


class AiohttpStream:
    """See `HttpStream`."""

    def __init__(self, response: OpenResponse, request: HttpRequest) -> None:
        self.response = response.head
        answers.check_encoding(self.response)
        self._content = response.content
        self._context = RequestContext(request)

    async def read(self) -> bytes:
        """See `HttpStream.read`."""
        with translated(self._context):
            return await self._content.readany()


async def _exactly_once(request: aiohttp.ClientRequest, handler: aiohttp.ClientHandlerType) -> aiohttp.ClientResponse:
    """Keep aiohttp from sending a request a second time by itself. aiohttp has no option for this.

    aiohttp would repeat a GET whose connection broke, although the lost response may have held messages. aiohttp would
    also follow the redirect of a WebSocket upgrade to any server, with all headers.
    """
    try:
        response = await handler(request)
    except aiohttp.ClientConnectorError:
        raise
    except (aiohttp.ClientOSError, aiohttp.ServerDisconnectedError) as error:
        raise BrokenConnectionError(error) from None
    if 300 <= response.status < 400 and aiohttp.hdrs.UPGRADE in request.headers:
        response.close()
        raise aiohttp.WSServerHandshakeError(
            response.request_info, (), status=response.status, message="redirect", headers=response.headers
        )
    return response


class _Upgrading:
    """Replaces the user's aiohttp session in a call of aiohttp's `ClientSession._ws_connect`.

    `_ws_connect` calls `request` of its session to ask the server for a WebSocket. This class adds options to that
    request, such as middlewares, for which `ws_connect` has no parameters.
    """

    def __init__(self, session: aiohttp.ClientSession, **options: Any) -> None:
        self._session = session
        self._options = options

    def __getattr__(self, name: str) -> Any:
        return getattr(self._session, name)

    def request(self, method: str, url: URL, **options: Any) -> Any:
        return self._session.request(method, url, **options, **self._options)


def _sendable(headers: Mapping[str, str]) -> Mapping[str, str]:
    """Check the headers of a request, and return them unchanged.

    Raises:
        UnicodeEncodeError: a value holds half a surrogate pair. aiohttp would silently leave out this half.
    """
    for value in headers.values():
        value.encode()
    return headers


def _time_limit(seconds: float | None) -> AbstractAsyncContextManager[object]:
    # Without a limit, do not use `asyncio.timeout`, which would take a twentieth of the processor time of a POST.
    return _NO_LIMIT if seconds is None else asyncio.timeout(seconds)


def _payload(body: bytes) -> bytes | io.BytesIO | None:
    # Wrap a large request body in a file object, which aiohttp writes in pieces: aiohttp writes `bytes` in one piece,
    # and warns if they are large.
    return io.BytesIO(body) if len(body) > _LARGE else body or None
