"""Which HTTP client is used: the user's, or one of our own."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeGuard, cast

import aiohttp

from ..interfaces import HttpClient, WebSocketConnector
from .aiohttp_client import AiohttpClient

if TYPE_CHECKING:
    import ssl as ssl_module

    import httpx


def has_web_sockets(http: HttpClient) -> TypeGuard[WebSocketConnector]:
    """Whether a client is a `WebSocketConnector` too; `isinstance` takes twenty times as long to say so."""
    return hasattr(http, "connect_web_socket")


def choose_client(
    http: aiohttp.ClientSession | httpx.AsyncClient | HttpClient | None,
    *,
    proxy: str | None = None,
    ssl: ssl_module.SSLContext | bool = True,
) -> tuple[HttpClient, AiohttpClient | None]:
    """Return the HTTP client, and the same again if it is ours to close."""
    if callable(http) and not isinstance(http, HttpClient):
        # Made where it is used: what is shared between event loops is made by none of them.
        http = cast("aiohttp.ClientSession | httpx.AsyncClient | HttpClient", http())
    if http is None:
        own = AiohttpClient(None, proxy=proxy, ssl=ssl)
        return own, own
    if type(http).__module__.partition(".")[0] == "httpx":
        # Optional: the extra `httpx`. Its client has methods of the same names as an `HttpClient`, with other meanings.
        from .httpx_client import HttpxClient

        return HttpxClient(cast("httpx.AsyncClient", http)), None
    # To find that a session is no `HttpClient` takes a twentieth of the time to connect.
    if not isinstance(http, aiohttp.ClientSession) and isinstance(http, HttpClient):
        return http, None
    return AiohttpClient(cast("aiohttp.ClientSession", http), proxy=proxy, ssl=ssl), None
