"""Chooses the HTTP client of a connection: one that the package makes, or the client that the user gave as `http=`."""

from __future__ import annotations

from typing import TYPE_CHECKING, TypeGuard, cast

from ..interfaces import HttpClient, WebSocketConnector
from .aiohttp_client import AiohttpClient

if TYPE_CHECKING:
    import ssl as ssl_module

    import aiohttp
    import httpx


def has_web_sockets(http: HttpClient) -> TypeGuard[WebSocketConnector]:
    """Return whether an HTTP client can open WebSockets: whether it has the method `connect_web_socket`."""
    # Do not use `isinstance` with the Protocol class: since Python 3.12 it does not see a method that a user's wrapper
    # of a client provides by `__getattr__`.
    return hasattr(http, "connect_web_socket")


def choose_client(
    http: aiohttp.ClientSession | httpx.AsyncClient | HttpClient | None,
    *,
    proxy: str | None = None,
    ssl: ssl_module.SSLContext | bool = True,
    server_timeout: float | None = None,
) -> tuple[HttpClient, AiohttpClient | None]:
    """Return a tuple `(client, own)`: the HTTP client to use, and the HTTP client that the connection must close.

    If `http` is `None`, `own` is the new client. Otherwise `own` is `None`, because the user closes the client.

    Args:
        http: the user's client; `None` to make an `AiohttpClient`. `signalr_sdk.sync` passes a function without
            arguments that returns the user's client; this function is called on the thread of the event loop.
        proxy: the proxy of an aiohttp client.
        ssl: the TLS settings of an aiohttp client.
        server_timeout: the `server_timeout` of a new `AiohttpClient`.

    Raises:
        TypeError: `http` is no client for asyncio.
    """
    if callable(http) and not isinstance(http, HttpClient):
        http = cast("aiohttp.ClientSession | httpx.AsyncClient | HttpClient", http())
    if http is None:
        own = AiohttpClient(None, proxy=proxy, ssl=ssl, server_timeout=server_timeout)
        return own, own
    # Check for httpx before `HttpClient`: httpx's clients have methods of the same names, with other meanings.
    ancestors = {cls.__name__ for cls in type(http).__mro__ if cls.__module__.partition(".")[0] == "httpx"}
    if "Client" in ancestors:
        raise TypeError("http= takes an httpx.AsyncClient: an httpx.Client would block the event loop")
    if "AsyncClient" in ancestors:
        # Import `httpx_client` only here: it imports httpx, which belongs to the extra `httpx` and may be missing.
        from .httpx_client import HttpxClient

        return HttpxClient(cast("httpx.AsyncClient", http)), None
    if isinstance(http, HttpClient):
        return http, None
    return AiohttpClient(cast("aiohttp.ClientSession", http), proxy=proxy, ssl=ssl), None
