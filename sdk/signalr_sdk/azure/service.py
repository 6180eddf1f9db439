"""`AzureSignalR`: sends events to the clients of a hub of Azure SignalR Service, and makes tokens for clients."""

from __future__ import annotations

import functools
import time
from typing import TYPE_CHECKING, Self, Unpack

from .._guard.copying import Uncopied
from .._http.client_choice import choose_client
from .._hub.hub_connection import HubConnection
from .._hub.options import HubOptions
from ..options import Timeouts
from . import names
from .connection_string import ConnectionString
from .hub_operations import HubOperations
from .rest_client import RestClient
from .token_sources import ClientTokens, Credential, EntraClientTokens, EntraTokens, KeyTokens

# Import `Claims` outside of `TYPE_CHECKING`: Sphinx evaluates the annotations of `connect` at run time.
from .tokens import Claims, ClientClaims, SigningKey

if TYPE_CHECKING:
    from collections.abc import Callable

    import aiohttp
    import httpx

    from ..interfaces import HttpClient

API_VERSION = "2024-12-01"
"""The default version of the REST API."""


class AzureSignalR(Uncopied, HubOperations):
    """Sends events to the clients of one hub of Azure SignalR Service, and lets clients connect, without an app server.

    The resource may be in serverless mode, or in default mode beside an app server. The constructor does no I/O. Use
    the object as an async context manager, on one event loop. Many tasks may use the object at the same time.

    A request that fails raises `AzureSignalRError`. After a temporary error the request is repeated up to 3 times. A
    request that sends to clients is repeated only if the service has surely not handled it. The methods that send
    return when the service has accepted the event, whether or not a client is there to get the event.

    Args:
        connection_string: the connection string of the resource, as the Azure portal shows it.
        hub: the hub's name, in any case.
        application: prefix for the hub's name, to keep apart the hubs of several applications on one resource.
        credential: for Entra ID, with an `AuthType` in the connection string: an object with a sync or async method
            `get_token(*scopes)`, like the credentials of azure-identity. `AzureSignalR` never closes the credential.
        http: an `aiohttp.ClientSession`, an `httpx.AsyncClient` or any `HttpClient`, also for the connections that
            `connect` returns. `AzureSignalR` never closes this client.
        timeouts: `connect` and `request` limit each request, `invoke` limits `invoke_connection`.
        api_version: version of the REST API.
        clock: returns the time in seconds since 1970, for tokens.

    Raises:
        ValueError: the connection string or a name is wrong, or `credential` does not fit the connection string.
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
            client, parsed.server_endpoint, tokens=tokens, timeouts=timeouts, api_version=api_version, clock=clock
        )
        super().__init__(rest, name, timeouts=timeouts)
        self._parsed = parsed
        self._client_url = f"{parsed.client_endpoint}client/?hub={name}"
        self._audience = f"{parsed.endpoint}client/?hub={name}"
        self._http = http
        self._client_tokens: ClientTokens = (
            tokens if isinstance(tokens, KeyTokens) else EntraClientTokens(rest, name, clock=clock)
        )

    def __repr__(self) -> str:
        return f"<AzureSignalR hub {self._hub!r} at {self._parsed.server_endpoint}>"

    async def close(self) -> None:
        """Close the HTTP client, unless the user gave it as `http`. Further requests then raise `AzureSignalRError`.

        May be called again.
        """
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
        """Return a dict with `url` and `accessToken`: the JSON answer of your own negotiate endpoint to a client.

        Args:
            user_id: id of the user, whom you have authenticated before; `None` for a client without a user.
            claims: a dict of further claims, which hubs and upstream endpoints can read. The values are texts, numbers,
                truth values or lists of texts.
            lifetime: seconds in which the client may connect. An open WebSocket stays open after this time.
            close_on_expiration: whether the service closes the connection after `lifetime`; the client may reconnect.

        Raises:
            ValueError: a claim is not allowed, or the token would be too long.
            AzureSignalRError: with Entra ID, the service gave no token or key.
        """
        client = ClientClaims(
            user_id=user_id, claims=claims, lifetime=lifetime, close_on_expiration=close_on_expiration
        )
        token = await self._client_tokens.client_token(self._audience, client)
        return {"url": self._client_url, "accessToken": token}

    def connect(
        self,
        user_id: str | None = None,
        claims: Claims | None = None,
        lifetime: float = 3600.0,
        *,
        close_on_expiration: bool = False,
        **hub_options: Unpack[HubOptions],
    ) -> HubConnection:
        """Return a connection of a client to the service, not started. Each attempt to connect gets a new token.

        Args:
            user_id: as for `negotiate`.
            claims: as for `negotiate`.
            lifetime: as for `negotiate`.
            close_on_expiration: as for `negotiate`.
            hub_options: arguments of `HubConnection`, except `url` and `access_token`.
        """
        for name in {"url", "access_token"} & hub_options.keys():
            raise TypeError(f"connect() makes {name} itself")
        client = ClientClaims(
            user_id=user_id, claims=claims, lifetime=lifetime, close_on_expiration=close_on_expiration
        )
        token = functools.partial(self._client_tokens.client_token, self._audience, client)
        options: HubOptions = {**HubOptions(http=self._http, timeouts=self._timeouts), **hub_options}
        return HubConnection(self._client_url, access_token=token, **options)


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
