"""The keyword arguments of hub connections, as types for functions that only hand them on."""

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
    """The keyword arguments that both kinds of `HubConnection`, for tasks and for threads, take alike.

    `access_token` is not among them: functions that hand on options make the token themselves.
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
    timeouts: Timeouts
    limits: Limits


class HubOptions(CommonHubOptions, total=False):
    """The keyword arguments of `HubConnection`, but for `access_token`."""

    http: aiohttp.ClientSession | httpx.AsyncClient | HttpClient | None
