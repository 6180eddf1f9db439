"""`discover` for threads."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ...classic import discover as discover_async
from ...options import Timeouts
from ..http_client import ClientFactory, LazyClient
from ..loop_use import LoopUse
from ..token_providers import token_provider

if TYPE_CHECKING:
    import ssl as ssl_module
    from collections.abc import Callable, Mapping

    from ...interfaces import TokenRequest


def discover(
    url: str,
    *,
    headers: Mapping[str, str] | None = None,
    cookies: Mapping[str, str] | None = None,
    access_token: str | Callable[[], str | None] | Callable[[TokenRequest], str | None] | None = None,
    proxy: str | None = None,
    ssl: ssl_module.SSLContext | bool = True,
    http: ClientFactory | None = None,
    timeouts: Timeouts = Timeouts(),  # noqa: B008 - immutable
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
        hubs = discover("https://example.com/signalr")
        assert hubs["chat"]["Send"] == ("user", "text")
        ```
    """
    client = LazyClient(http)

    async def ask() -> dict[str, dict[str, tuple[str, ...]]]:
        try:
            return await discover_async(
                url,
                headers=headers,
                cookies=cookies,
                access_token=token_provider(access_token),
                proxy=proxy,
                ssl=ssl,
                http=client.source,
                timeouts=timeouts,
            )
        finally:
            await client.close()

    return LoopUse().call(ask)
