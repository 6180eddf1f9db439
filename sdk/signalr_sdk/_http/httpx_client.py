"""An `HttpClient` over `httpx.AsyncClient`, for users of httpx's auth flows, mounts and proxies.

httpx has no WebSockets. This client has no WebSockets either: a WebSocket over another library would bypass the proxies
and the authentication that the user set up in httpx.
"""

from __future__ import annotations

import asyncio
import socket
import ssl
from contextlib import asynccontextmanager, contextmanager
from typing import TYPE_CHECKING

import httpx

from .._core import urls
from .._core.redaction import redact
from ..interfaces import HttpRequest, HttpResponse
from . import answers

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

# After this number of chunks of a response body, let other tasks of the event loop run: these tasks then wait at most
# 5 ms.
_CHUNKS_A_TURN = 500


class HttpxClient:
    """See `HttpClient`.

    Args:
        client: the user's httpx client; the user closes it.
    """

    def __init__(self, client: httpx.AsyncClient) -> None:
        self._client = client

    async def request(self, request: HttpRequest, /) -> HttpResponse:
        """See `HttpClient.request`."""
        with _translated(request.url):
            async with asyncio.timeout(request.timeout):
                response = await self._send(request)
                try:
                    return await answers.whole(_head(response), _chunks(response), request.max_bytes)
                finally:
                    await response.aclose()

    @asynccontextmanager
    async def stream(self, request: HttpRequest, /) -> AsyncIterator[_Stream]:
        """See `HttpClient.stream`."""
        with _translated(request.url):
            async with asyncio.timeout(request.timeout):
                response = await self._send(request)
        try:
            yield _Stream(response, request.url)
        finally:
            with _translated(request.url):
                await response.aclose()

    async def _send(self, request: HttpRequest) -> httpx.Response:
        if self._client.is_closed:
            raise ConnectionError("the httpx.AsyncClient given as http= is closed")
        headers = {**answers.NOT_COMPRESSED, **request.headers}
        cookies = headers.pop("Cookie", "")
        message = self._client.build_request(
            request.method,
            request.url,
            # Pass headers as bytes: httpx refuses text that is not ASCII.
            headers=[(name.encode(), value.encode()) for name, value in headers.items()],
            content=request.body,
            timeout=httpx.Timeout(None, connect=request.connect_timeout),
        )
        if cookies:
            # Add the connection's cookies after `build_request`: that method would leave out the cookies of the user's
            # httpx client if the request had a `Cookie` header already.
            message.headers.encoding = "utf-8"
            message.headers["Cookie"] = _joined(message.headers.get("Cookie", ""), cookies)
        return await self._client.send(message, stream=True, follow_redirects=False)


class _Stream:
    """See `HttpStream`."""

    def __init__(self, response: httpx.Response, url: str) -> None:
        self.response = _head(response)
        answers.check_encoding(self.response)
        self._chunks = _chunks(response)
        self._url = url

    async def read(self) -> bytes:
        """See `HttpStream.read`."""
        with _translated(self._url):
            async for chunk in self._chunks:
                if chunk:
                    return chunk
        return b""


def _joined(older: str, newer: str) -> str:
    """Join two `Cookie` headers: the cookies of the user's httpx client, and the newer cookies of the connection.

    Cookies of the httpx client are left out if the connection has newer ones of the same names, or if they are not
    ASCII: httpx may have decoded them wrongly.
    """
    names = {pair.partition("=")[0] for pair in newer.split("; ")}
    kept = [pair for pair in older.split("; ") if pair and pair.isascii() and pair.partition("=")[0] not in names]
    return "; ".join([*kept, newer])


def _head(response: httpx.Response) -> HttpResponse:
    """Return a response without body. In its headers, bytes that are no UTF-8 become surrogate characters."""
    fields = ((_text(name), _text(value)) for name, value in response.headers.raw)
    return HttpResponse(response.status_code, tuple(fields))


def _text(raw: bytes) -> str:
    return raw.decode("utf-8", "surrogateescape")


async def _chunks(response: httpx.Response) -> AsyncIterator[bytes]:
    # Do not use `aiter_bytes`: it decompresses a whole body before its size is known. If a hook of the user's httpx
    # client has read the body, the body is in memory already, and only `aiter_bytes` can return it.
    chunks = response.aiter_bytes() if response.is_stream_consumed else response.aiter_raw()
    taken = 0
    async for chunk in chunks:
        taken += 1
        # Let other tasks of the event loop run between the chunks: httpx does not wait while it splits data that
        # arrived together, which may be 10,000 chunks of one byte.
        if taken % _CHUNKS_A_TURN == 0:
            await asyncio.sleep(0)
        yield chunk


@contextmanager
def _translated(url: str) -> Iterator[None]:
    """Run a `with` block. An error of httpx, which carries the request with its token, becomes a plain `OSError`."""
    try:
        yield
    except (httpx.HTTPError, httpx.InvalidURL, httpx.StreamError, TimeoutError, UnicodeError) as error:
        failure = _plain(error, url)
        try:
            raise failure from None
        finally:
            # Remove httpx's error, the `__context__` of `failure`: `from None` only hides the `__context__` in
            # tracebacks, and code that walks the chain of errors would still find the request with its token.
            failure.__context__ = None


def _plain(error: Exception, url: str) -> OSError:
    _scheme, host, port = urls.origin(url)
    where, reason = f"{host}:{port}", redact(str(error)) or "the other side closed the connection"
    below = _below(error)
    if isinstance(error, TimeoutError | httpx.TimeoutException):
        return TimeoutError(f"{where} did not answer in time")
    if isinstance(below, ssl.SSLError):
        return ssl.SSLError(f"the TLS connection to {where} failed: {reason} (own CA: verify= of the httpx client)")
    if isinstance(below, socket.gaierror):
        return socket.gaierror(below.errno or socket.EAI_NONAME, f"cannot find the address of {where}")
    if isinstance(error, httpx.ProxyError):
        return ConnectionError(f"the proxy refused to connect to {where}: {reason}")
    if isinstance(error, httpx.ConnectError):
        return ConnectionError(f"cannot connect to {where}: {reason}")
    return ConnectionError(f"the connection to {where} broke off: {reason}")


def _below(error: BaseException) -> OSError | None:
    """Return the first error of the operating system among the causes of an error; `None` if there is none.

    The chain of causes may be endless: an error can be its own cause.
    """
    seen: set[int] = set()
    below: BaseException | None = error
    while below is not None and id(below) not in seen:
        if isinstance(below, OSError):
            return below
        seen.add(id(below))
        below = below.__cause__ or below.__context__
    return None
