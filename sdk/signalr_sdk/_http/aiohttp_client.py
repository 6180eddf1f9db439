"""The HTTP client that is used unless the user brings another: aiohttp, and with it WebSockets."""

from __future__ import annotations

import asyncio
import io
import os
import socket
import sys
import urllib.request
import weakref
from contextlib import asynccontextmanager, suppress
from functools import cached_property, partial
from typing import TYPE_CHECKING, Any

import aiohttp
from yarl import URL

from .._core import urls
from ..errors import RemoteProtocolError
from ..interfaces import HttpRequest, HttpResponse, WebSocketOptions
from .aiohttp_errors import Attempt, BrokenConnectionError, peer, translated
from .aiohttp_web_socket import AiohttpWebSocket, WebSocketResponse, takes_decode_text

if TYPE_CHECKING:
    import ssl as ssl_module
    from collections.abc import AsyncIterator, Awaitable, Callable, Mapping

    from aiohttp import AddrInfoType, ClientMiddlewareType

_LARGE = 512 * 1024
# macOS and Windows have other places for them than the environment.
_PROXIES_OF_SYSTEM = sys.platform in ("darwin", "win32")


class AiohttpClient:
    """Sends requests and opens WebSockets with aiohttp.

    Args:
        session: a session of the user's, which is never closed here. Without one it makes its own when it is first
            used; that one follows the proxies of the environment.
        proxy: URL of a proxy for everything, with user and password if it wants them.
        ssl: a context (own CA, client certificate), `True` to verify, `False` not to.

    Raises:
        ValueError: the proxy is no http(s) URL.
    """

    def __init__(
        self,
        session: aiohttp.ClientSession | None = None,
        *,
        proxy: str | None = None,
        ssl: ssl_module.SSLContext | bool = True,
    ) -> None:
        self._session = session
        self._own = session is None
        self._proxy = None if proxy is None else proxy_url(proxy)
        self._ssl = ssl
        self._closed = False
        self._environment_proxies: dict[tuple[str, str, int], URL | None] = {}
        self._answered: set[tuple[str, str, int]] = set()

    @cached_property
    def _sockets(self) -> weakref.WeakSet[socket.socket]:
        # Six objects, of which the garbage collector looks through each: only for a session of our own.
        return weakref.WeakSet()

    async def request(self, request: HttpRequest, /) -> HttpResponse:
        """See `HttpClient.request`."""
        session, proxy, attempt = await self._prepare(request)
        with translated(attempt):
            async with asyncio.timeout(request.timeout):
                response = await self._send(session, request, proxy)
                try:
                    body = await _read(response, request.max_bytes)
                finally:
                    # Read to its end it has left its connection already, for the next request.
                    response.close()
        return HttpResponse(response.status, tuple(response.headers.items()), body)

    @asynccontextmanager
    async def stream(self, request: HttpRequest, /) -> AsyncIterator[AiohttpStream]:
        """See `HttpClient.stream`."""
        session, proxy, attempt = await self._prepare(request)
        with translated(attempt):
            async with asyncio.timeout(request.timeout):
                response = await self._send(session, request, proxy)
        try:
            yield AiohttpStream(response, request)
        finally:
            response.close()

    async def connect_web_socket(self, request: HttpRequest, options: WebSocketOptions, /) -> AiohttpWebSocket:
        """See `WebSocketConnector`."""
        session, proxy, attempt = await self._prepare(request)
        extra: dict[str, Any] = {"decode_text": False} if takes_decode_text() else {}
        with translated(attempt):
            async with asyncio.timeout(request.timeout):
                web_socket = await self._connector(session)(
                    URL(request.url, encoded=True),
                    headers=request.headers,
                    proxy=proxy,
                    ssl=self._ssl,
                    compress=0,
                    # It refuses exactly this many in some versions, and one more than this in others.
                    max_msg_size=options.max_bytes + 1,
                    timeout=aiohttp.ClientWSTimeout(ws_close=options.close_timeout),
                    **extra,
                )
        self._answered.add(urls.origin(request.url))
        return AiohttpWebSocket(web_socket, session, peer(request.url), options)

    def _connector(self, session: aiohttp.ClientSession) -> Callable[..., Awaitable[aiohttp.ClientWebSocketResponse]]:
        """Return what opens WebSockets."""
        # `ws_connect` takes no options for its request but those of the session, and of a session that others made
        # there is no changed copy to be had. Should the method below go, redirects are followed there.
        connect = getattr(aiohttp.ClientSession, "_ws_connect", None)
        if self._own or connect is None:
            return session.ws_connect
        return partial(
            connect, _Upgrading(session, raise_for_status=False, middlewares=self._middlewares(session, "GET"))
        )

    async def close(self) -> None:
        """Close the session and all connections of it, if it is ours. From now on no request works."""
        self._closed = True
        session, self._session = self._session, None
        if not self._own or session is None:
            return
        # Closing would wait until a peer that has stopped reading takes what is still to be sent to it.
        for sock in self._sockets:
            with suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)
        await session.close()

    async def _send(
        self, session: aiohttp.ClientSession, request: HttpRequest, proxy: URL | None
    ) -> aiohttp.ClientResponse:
        response = await session.request(
            request.method,
            URL(request.url, encoded=True),
            data=_payload(request.body),
            headers=_with_identity(request.headers),
            skip_auto_headers=("Content-Type",),
            allow_redirects=False,
            raise_for_status=False,
            proxy=proxy,
            ssl=self._ssl,
            timeout=aiohttp.ClientTimeout(total=None, connect=request.connect_timeout),
            auto_decompress=False,
            middlewares=self._middlewares(session, request.method),
        )
        self._answered.add(urls.origin(request.url))
        return response

    async def _prepare(self, request: HttpRequest) -> tuple[aiohttp.ClientSession, URL | None, Attempt]:
        """Return the session to use, the proxy if there is one, and what errors need to know."""
        if self._session is not None:
            # The loop sees now that a kept-alive connection was closed meanwhile, and aiohttp then takes another.
            await asyncio.sleep(0)
        proxy = await self._proxy_for(request.url)
        session = self._usable_session()
        connections = session.connector.limit if session.connector is not None else 0
        return session, proxy, Attempt(request, connections, urls.origin(request.url) not in self._answered)

    def _usable_session(self) -> aiohttp.ClientSession:
        if self._closed:
            raise ConnectionError("this HTTP client is closed")
        if self._session is None:
            self._session = self._new_session()
        session = self._session
        if session.closed:
            raise ConnectionError("the aiohttp session given as http= is closed: keep it open as long as it is in use")
        # aiohttp has no other way to ask; on a wrong loop it would hang or fail somewhere inside.
        if getattr(session, "_loop", None) not in (None, asyncio.get_running_loop()):
            raise ConnectionError(
                "the aiohttp session given as http= belongs to another event loop: make it in the one that uses it"
            )
        return session

    def _new_session(self) -> aiohttp.ClientSession:
        return aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0, socket_factory=self._new_socket),
            cookie_jar=aiohttp.DummyCookieJar(),
            timeout=aiohttp.ClientTimeout(total=None),
            middlewares=(_exactly_once,),
            ws_response_class=WebSocketResponse,
            # Proxies of the environment are looked up here: aiohttp's way also sends the password that ~/.netrc has for
            # the host, fails where a token goes along, and asks a thread twice for each request.
            trust_env=False,
        )

    def _new_socket(self, address: AddrInfoType) -> socket.socket:
        new = socket.socket(*address[:3])
        self._sockets.add(new)
        return new

    def _middlewares(self, session: aiohttp.ClientSession, method: str) -> tuple[ClientMiddlewareType, ...] | None:
        """Return the middlewares of one request; `None` for those of the session."""
        if method == "POST":
            # aiohttp repeats none by itself.
            return () if self._own else None
        if self._own:
            return None
        # What is given with a request replaces those of the session, and aiohttp shows them nowhere else.
        return (*getattr(session, "_middlewares", ()), _exactly_once)

    async def _proxy_for(self, url: str) -> URL | None:
        if self._proxy is not None or not self._own:
            return self._proxy
        origin = urls.origin(url)
        if origin not in self._environment_proxies:
            self._environment_proxies[origin] = await environment_proxy(origin)
        return self._environment_proxies[origin]


class AiohttpStream:
    """See `HttpStream`."""

    def __init__(self, response: aiohttp.ClientResponse, request: HttpRequest) -> None:
        self.response = HttpResponse(response.status, tuple(response.headers.items()))
        self._content = response.content
        self._attempt = Attempt(request)

    async def read(self) -> bytes:
        """See `HttpStream.read`."""
        with translated(self._attempt):
            return await self._content.readany()


async def _exactly_once(request: aiohttp.ClientRequest, handler: aiohttp.ClientHandlerType) -> aiohttp.ClientResponse:
    """Keep aiohttp from sending anything a second time by itself.

    It repeats a GET whose connection breaks: its answer, lost on the way, may have held messages. And it follows
    redirects of an upgrade to wherever they lead, with all headers, and has no option against it.
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
    """A session of the user's, as its own `ws_connect` sees it: with our options for the one request that it makes."""

    _ws_response_class = WebSocketResponse

    def __init__(self, session: aiohttp.ClientSession, **options: Any) -> None:
        self._session = session
        self._options = options

    def __getattr__(self, name: str) -> Any:
        return getattr(self._session, name)

    def request(self, method: str, url: URL, **options: Any) -> Any:
        return self._session.request(method, url, **options, **self._options)


async def _read(response: aiohttp.ClientResponse, limit: int | None) -> bytes:
    size = response.content_length or 0
    chunks = []
    if limit is None or size <= limit:
        size = 0
        while (limit is None or size <= limit) and (chunk := await response.content.readany()):
            chunks.append(chunk)
            size += len(chunk)
    if limit is not None and size > limit:
        raise RemoteProtocolError(f"an HTTP answer has {size} bytes or more, over the limit of {limit}")
    return b"".join(chunks)


def _payload(body: bytes) -> bytes | io.BytesIO | None:
    # aiohttp warns of large bytes, which it writes at once.
    return io.BytesIO(body) if len(body) > _LARGE else body or None


def _with_identity(headers: Mapping[str, str]) -> dict[str, str]:
    """Ask for no compression: it would hold events back, and a small answer could become a huge one."""
    return {"Accept-Encoding": "identity", **headers}


def proxy_url(text: str) -> URL:
    """Return the URL of a proxy.

    Raises:
        ValueError: it is none that can be used; the text holds no password.
    """
    try:
        url = URL(text if "://" in text else f"http://{text}")
    except ValueError:
        # What it quotes may be the password.
        raise ValueError("proxy must be a URL as http://user:password@proxy:3128, with %2F for a / in it") from None
    if url.scheme not in ("http", "https") or not url.host:
        raise ValueError(
            "proxy must be the URL of an HTTP proxy, as http://user:password@proxy:3128 "
            f"(its scheme here is {url.scheme!r}); for SOCKS bring an HttpClient that can do it as http="
        )
    return url


async def environment_proxy(origin: tuple[str, str, int]) -> URL | None:
    """Return the proxy that the environment has for a server.

    Raises:
        ConnectionError: that cannot be used.
    """
    scheme, host, port = origin
    if not _PROXIES_OF_SYSTEM and f"{scheme}_proxy" not in os.environ and f"{scheme}_proxy".upper() not in os.environ:
        # The standard library looks through the whole environment, twice: a twentieth of the time to connect.
        return None
    proxy = urllib.request.getproxies().get(scheme)
    # Outside Linux this may ask the system, and that the name servers.
    if not proxy or await asyncio.to_thread(urllib.request.proxy_bypass, f"{host}:{port}"):
        return None
    try:
        return proxy_url(proxy)
    except ValueError as error:
        raise ConnectionError(f"the environment's proxy for {scheme} cannot be used: {error}") from None
