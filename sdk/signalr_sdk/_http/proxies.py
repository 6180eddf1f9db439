"""Finds the HTTP proxy of a connection: from the argument `proxy`, or from the environment."""

from __future__ import annotations

import asyncio
import os
import sys
import urllib.request

from yarl import URL

# On macOS and Windows, a proxy may be named in the system settings, and not only in the environment.
_SYSTEM_HAS_PROXIES = sys.platform in ("darwin", "win32")


def proxy_url(text: str) -> URL:
    """Parse the URL of an HTTP proxy. A text without `://`, such as `proxy:3128`, gets the scheme http.

    Raises:
        ValueError: the text is not the URL of an HTTP proxy. The error's text holds no password.
    """
    try:
        url = URL(text if "://" in text else f"http://{text}")
    except ValueError:
        # Hide yarl's error by `from None`: its text quotes a part of the proxy's URL, which may be the password.
        raise ValueError("proxy must be a URL as http://user:password@proxy:3128, with %2F for a / in it") from None
    if url.scheme not in ("http", "https") or not url.host:
        raise ValueError(
            "proxy must be the URL of an HTTP proxy, as http://user:password@proxy:3128 "
            f"(its scheme here is {url.scheme!r}); for SOCKS bring an HttpClient that can do it as http="
        )
    return url


async def environment_proxy(origin: tuple[str, str, int]) -> URL | None:
    """Return the proxy that the environment names for a server; `None` to connect to the server itself.

    Args:
        origin: scheme, host and port of the server.

    Raises:
        ConnectionError: the environment names a proxy that cannot be used.
    """
    scheme, host, port = origin
    if not _SYSTEM_HAS_PROXIES and f"{scheme}_proxy" not in os.environ and f"{scheme}_proxy".upper() not in os.environ:
        # Do not call `getproxies` without need: it reads the whole environment twice, which takes 6 % of the time to
        # connect (tests/bench/end_to_end.py, "connect and stop").
        return None
    proxy = urllib.request.getproxies().get(scheme)
    # Call `proxy_bypass` on a thread: on macOS and Windows it may read system settings and ask name servers, and would
    # block the event loop.
    if not proxy or await asyncio.to_thread(urllib.request.proxy_bypass, f"{host}:{port}"):
        return None
    try:
        return proxy_url(proxy)
    except ValueError as error:
        raise ConnectionError(f"the environment's proxy for {scheme} cannot be used: {error}") from None
