"""`discover`: asks a classic server for its hubs and their methods."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .._connecting.opening import new_sender
from .._core import urls
from .._core.redaction import redact_error
from .._http.client_choice import choose_client
from ..errors import ConnectionFailedError, RemoteProtocolError, TransportError
from ..options import Limits, Timeouts
from .connection import options_of
from .hubs_script import missing_hubs, read_script

if TYPE_CHECKING:
    import ssl as ssl_module
    from collections.abc import Mapping

    import aiohttp
    import httpx

    from ..interfaces import HttpClient, TokenProvider

_MAX_SCRIPT = 4 * 1024 * 1024


async def discover(
    url: str,
    *,
    headers: Mapping[str, str] | None = None,
    cookies: Mapping[str, str] | None = None,
    access_token: str | TokenProvider | None = None,
    proxy: str | None = None,
    ssl: ssl_module.SSLContext | bool = True,
    http: aiohttp.ClientSession | httpx.AsyncClient | HttpClient | None = None,
    timeouts: Timeouts = Timeouts(),  # noqa: B008 - the default value is immutable
) -> dict[str, dict[str, tuple[str, ...]]]:
    """Return the hubs of a server of classic ASP.NET SignalR, their methods, and the names of the parameters.

    The script that the server generates for browsers is read. It does not tell which events a server sends, and of
    several methods with one name it has only one.

    Args:
        url: the URL of all hubs, mostly `https://host/signalr`.
        headers: as for `HubConnection`.
        cookies: as for `HubConnection`.
        access_token: as for `HubConnection`.
        proxy: as for `HubConnection`.
        ssl: as for `HubConnection`.
        http: as for `HubConnection`.
        timeouts: time limits; `connect` and `request` count.

    Raises:
        TransportError: the server refused, did not answer, or has the script switched off.

    Example:
        ```python
        hubs = await discover("https://example.com/signalr")
        assert hubs["chat"]["Send"] == ("user", "text")
        ```
    """
    options = options_of({**_DEFAULTS, **locals()})
    client, own = choose_client(options.http, proxy=options.proxy, ssl=options.ssl)
    where = urls.below(options.url, "hubs")
    try:
        sender = new_sender(options, client, lambda: 0)
        response = await sender.request("GET", where, timeout=timeouts.request, max_bytes=_MAX_SCRIPT)
    except ConnectionFailedError:
        raise
    except (OSError, RemoteProtocolError) as error:
        raise TransportError(redact_error(error), url=urls.without_query(where)) from error
    finally:
        if own is not None:
            await own.close()
    script = response.body.decode("utf-8", "replace")
    why = (
        missing_hubs(script) if response.status == 200 else _REFUSED.get(response.status, "does not give out its hubs")
    )
    if why is not None:
        raise TransportError(f"the server {why}", url=urls.without_query(where), status=response.status)
    return read_script(script)


_REFUSED = {
    401: "wants authentication: pass access_token= or cookies=, or check that they are valid and not expired",
    403: "denies access: this user may not use the server, or a proxy refuses the request",
} | dict.fromkeys(
    (301, 302, 303, 307, 308),
    "redirects, which is not followed: use the final URL; if that is a login page, the server wants authentication",
)
_DEFAULTS: dict[str, Any] = {
    "transports": None,
    "access_token_in": "header",
    "forward_headers": (),
    "limits": Limits(),
}
