"""`AzureSignalR`: what users hold to send to clients of Azure SignalR Service without an app server."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Self, Unpack

from .._http.client_choice import choose_client
from .._hub.hub_connection import HubConnection
from .._hub.options import HubOptions
from ..options import Timeouts
from . import names
from .client_tokens import ClientTokens, Credential, EntraClientTokens, EntraTokens, KeyTokens
from .connection_string import ConnectionString
from .operations import HubOperations
from .rest import RestClient

# The documents read the annotations of `connect`: all that are in it are there.
from .tokens import Claims, ClientClaims, SigningKey

if TYPE_CHECKING:
    from collections.abc import Callable

    import aiohttp
    import httpx

    from ..interfaces import HttpClient

API_VERSION = "2024-12-01"
"""Version of the REST API that is asked for."""


class AzureSignalR(HubOperations):
    """One hub of Azure SignalR Service, as one who sends to its clients and lets them in.

    For resources in serverless mode, and for programs beside the app server in default mode. Creating it does no I/O.
    Use it as an async context manager, in one event loop; many tasks may call it at the same time.

    Every request that fails raises `AzureSignalRError`. What may pass is tried again up to 3 times, but a send only
    where it surely did not reach anybody. A send returns when the service has accepted it, also when nobody is there
    to get it.

    Args:
        connection_string: of the resource, as the portal shows it.
        hub: the hub's name; the service makes no difference between upper and lower case.
        application: prefix that keeps the hubs of several applications on one resource apart.
        credential: for Entra ID, with an `AuthType` in the connection string: an object with `get_token(*scopes)`, sync
            or async, as those of azure-identity. It is not closed by us.
        http: an `aiohttp.ClientSession`, an `httpx.AsyncClient` or any `HttpClient`; never closed by us. Connections
            of `connect` use it too.
        timeouts: `connect` and `request` are for each request, `invoke` for `invoke_connection`.
        api_version: of the REST API.
        clock: tells the time in seconds since 1970, for tokens.

    Raises:
        ValueError: the connection string or a name is wrong, or it and `credential` do not fit.
        ModuleNotFoundError: PyJWT is missing (extra `azure`), which access keys need.

    Example:
        ```python
        async with AzureSignalR(connection_string, "chat") as chat:
            await chat.send_all("ReceiveMessage", "me", "hello")
        ```
    """

    def __init__(
        self,
        connection_string: str,
        hub: str,
        *,
        application: str | None = None,
        credential: Credential | None = None,
        http: aiohttp.ClientSession | httpx.AsyncClient | HttpClient | None = None,
        timeouts: Timeouts = Timeouts(),  # noqa: B008 - immutable
        api_version: str = API_VERSION,
        clock: Callable[[], float] = time.time,
    ) -> None:
        parsed = ConnectionString.parse(connection_string)
        name = names.hub_name(hub, application)
        tokens = _request_tokens(parsed, credential, clock)
        client, self._own_client = choose_client(http)
        rest = RestClient(
            client, parsed.server_endpoint, tokens, timeouts=timeouts, api_version=api_version, clock=clock
        )
        super().__init__(rest, name, timeouts)
        self._parsed = parsed
        self._http = http
        self._client_tokens: ClientTokens = (
            tokens if isinstance(tokens, KeyTokens) else EntraClientTokens(rest, name, clock)
        )

    def __repr__(self) -> str:
        return f"<AzureSignalR hub {self._hub!r} at {self._parsed.server_endpoint}>"

    async def close(self) -> None:
        """Close the HTTP client, if it is ours; no request works from then on. May be called again."""
        if self._own_client is not None:
            self._rest.close()
            await self._own_client.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_exception: object) -> None:
        await self.close()

    # Letting clients in

    async def negotiate(
        self,
        user_id: str | None = None,
        claims: Claims | None = None,
        lifetime: float = 3600.0,
        *,
        close_on_expiration: bool = False,
    ) -> dict[str, str]:
        """Return what your own negotiate endpoint answers a client with: `url` and `accessToken`.

        Args:
            user_id: who the client is; you have checked that before.
            claims: more that hubs and upstream get to see; values are text, numbers, truth values or lists of texts.
            lifetime: seconds in which the client may connect; a WebSocket lives on after them.
            close_on_expiration: the service closes the connection when they are over; the client may reconnect.

        Raises:
            ValueError: a claim is not allowed, or the token would be too long.
            AzureSignalRError: with Entra ID, the service gave no token or key.
        """
        client = ClientClaims(
            user_id=user_id, claims=claims, lifetime=lifetime, close_on_expiration=close_on_expiration
        )
        token = await self._client_tokens.client_token(self._client_url(self._parsed.endpoint), client)
        return {"url": self._client_url(self._parsed.client_endpoint), "accessToken": token}

    def connect(
        self,
        user_id: str | None = None,
        claims: Claims | None = None,
        lifetime: float = 3600.0,
        *,
        close_on_expiration: bool = False,
        **hub_options: Unpack[HubOptions],
    ) -> HubConnection:
        """Return a connection straight to the service, not started. Each attempt to connect gets a fresh token.

        Args:
            user_id: as for `negotiate`, and so are the next three.
            claims: see there.
            lifetime: see there.
            close_on_expiration: see there.
            hub_options: those of `HubConnection`, but for its URL and token.
        """
        for name in {"url", "access_token"} & hub_options.keys():
            raise TypeError(f"connect() makes {name} itself")
        client = ClientClaims(
            user_id=user_id, claims=claims, lifetime=lifetime, close_on_expiration=close_on_expiration
        )
        audience = self._client_url(self._parsed.endpoint)

        async def token() -> str:
            return await self._client_tokens.client_token(audience, client)

        defaults = HubOptions(http=self._http, timeouts=self._timeouts)
        options: HubOptions = {**defaults, **hub_options}
        return HubConnection(self._client_url(self._parsed.client_endpoint), access_token=token, **options)

    def _client_url(self, base: str) -> str:
        return f"{base}client/?hub={self._hub}"


def _request_tokens(
    parsed: ConnectionString, credential: Credential | None, clock: Callable[[], float]
) -> KeyTokens | EntraTokens:
    if parsed.access_key is not None:
        if credential is not None:
            raise ValueError("the connection string has an AccessKey and credential= is given: leave one of them out")
        return KeyTokens(SigningKey(parsed.access_key), clock)
    if credential is None:
        raise ValueError(
            f"the connection string says AuthType={parsed.auth_type}, so credential= is needed: for example "
            f"azure.identity.aio.{parsed.credential_name}(...) of the package azure-identity"
        )
    if not callable(getattr(credential, "get_token", None)):
        raise TypeError("credential must be an object with get_token(*scopes), as those of azure-identity are")
    return EntraTokens(credential, clock)
