"""Types for `**options`: functions that pass keyword arguments on to a `HubConnection` use them as annotations."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal, TypedDict

if TYPE_CHECKING:
    import ssl as ssl_module
    from collections.abc import Iterable, Mapping

    import aiohttp
    import httpx

    from ..interfaces import Converter, HttpClient, HubProtocol, RetryPolicy
    from ..options import AuthenticationRefresh, Limits, Timeouts


class CommonHubOptions(TypedDict, total=False):
    """The keyword arguments that `HubConnection` and `signalr_sdk.sync.HubConnection` share, except `access_token`.

    `access_token` is left out, because the functions that use this type provide the token themselves.
    """

    transports: str | Iterable[str] | None
    skip_negotiation: bool
    access_token_in: Literal["header", "query"]
    headers: Mapping[str, str] | None
    cookies: Mapping[str, str] | None
    forward_headers: Iterable[str]
    proxy: str | None
    ssl: ssl_module.SSLContext | bool
    protocol: Literal["json", "messagepack"] | HubProtocol
    converter: Converter | None
    reconnect: RetryPolicy | bool | None
    retry_start: RetryPolicy | bool | None
    stateful_reconnect: bool
    authentication_refresh: AuthenticationRefresh | bool
    handler_errors: Literal["report", "raise"]
    timeouts: Timeouts
    limits: Limits


class HubOptions(CommonHubOptions, total=False):
    """All keyword arguments of the asyncio `HubConnection`, except `access_token`."""

    http: aiohttp.ClientSession | httpx.AsyncClient | HttpClient | None
