"""The sources of tokens for REST requests and for clients: the access key of the connection string, or Entra ID."""

from __future__ import annotations

import asyncio
import inspect
import logging
from collections.abc import Awaitable
from typing import TYPE_CHECKING, Any, Protocol

import attrs

from .._core.redaction import redact
from ..errors import AzureSignalRError
from . import names, rest_responses, tokens

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from .rest_client import RestClient

_logger = logging.getLogger("signalr_sdk.http")

SCOPE = "https://signalr.azure.com/.default"

# A new Entra token is requested this many seconds before the old token expires.
_MARGIN = 300.0
# The service accepts tokens that were signed with a temporary key for 90 minutes after giving out this key. Ask for a
# new key after 55 minutes. If this fails, go on with the old key, and ask again after 5 minutes.
_KEY_RENEWAL, _KEY_LIFETIME, _RETRY_INTERVAL = 55 * 60.0, 90 * 60.0, 5 * 60.0


class Credential(Protocol):
    """A user's source of Entra tokens, for example a sync or async credential of azure-identity."""

    def get_token(self, *scopes: str) -> Any:
        """Return an object with `token` and `expires_on` (seconds since 1970), or an awaitable of such an object."""


class ClientTokens(Protocol):
    """A source of the tokens with which clients connect to the service: an access key or Entra ID."""

    async def client_token(self, audience: str, client: tokens.ClientClaims) -> str:
        """Return a token with which a client can connect to the service.

        Args:
            audience: the URL to which the client connects, without a port: the token is for this URL only.
            client: the contents of the token, for example the user.

        Raises:
            AzureSignalRError: with Entra ID, the service gave no token or key.
        """


@attrs.frozen
class KeyTokens:
    """Signs all tokens, for REST requests and for clients, with the access key of the connection string.

    Attributes:
        key: the access key.
        clock: returns the time in seconds since 1970.
    """

    key: tokens.SigningKey
    clock: Callable[[], float]

    async def request_tokens(self, url: str) -> Sequence[str]:
        """See `RequestTokens`."""
        now = self.clock()
        return [tokens.request_token(self.key, audience, now) for audience in names.audiences(url)]

    async def client_token(self, audience: str, client: tokens.ClientClaims) -> str:
        """See `ClientTokens`."""
        return tokens.client_token(self.key, audience, client, self.clock())


@attrs.define(eq=False)
class EntraTokens:
    """Gets tokens for REST requests from the user's credential. One token serves all requests until it expires.

    Args:
        credential: the user's credential.
        clock: returns the time in seconds since 1970.
    """

    _credential: Credential
    _clock: Callable[[], float]
    _token: str = attrs.field(default="", init=False, repr=False)
    _expires_at: float = attrs.field(default=0.0, init=False)
    _asking: asyncio.Lock = attrs.field(factory=asyncio.Lock, init=False)

    async def request_tokens(self, _url: str) -> Sequence[str]:
        """See `RequestTokens`."""
        async with self._asking:
            if self._clock() >= self._expires_at - _MARGIN:
                self._token, self._expires_at = await self._ask()
            return (self._token,)

    async def _ask(self) -> tuple[str, float]:
        answer: object = None
        failure = ""
        try:
            answer = await self._get_token()
        except Exception as error:  # noqa: BLE001 - the credential of a user may raise anything
            failure = redact(str(error)) or type(error).__name__
        if failure:
            # Raise the error outside of `except`, so that its `__context__` is not the exception of azure-identity:
            # this exception holds a request with secrets, and tools that report errors would show them.
            raise AzureSignalRError(f"the credential gave no token for {SCOPE}: {failure}")
        token, expires_at = getattr(answer, "token", None), getattr(answer, "expires_on", None)
        if not isinstance(token, str) or not isinstance(expires_at, int | float):
            raise AzureSignalRError("the credential's get_token() must return an object with token and expires_on")
        if not (token and token.isascii() and token.isprintable()):
            raise AzureSignalRError("the credential's token is empty, or holds what no HTTP header can carry")
        return token, float(expires_at)

    async def _get_token(self) -> object:
        get_token = self._credential.get_token
        if inspect.iscoroutinefunction(get_token):
            return await get_token(SCOPE)
        # Call a sync `get_token` on a thread: azure-identity's sync credentials would block the event loop.
        answer = await asyncio.to_thread(get_token, SCOPE)
        return await answer if isinstance(answer, Awaitable) else answer


@attrs.define(eq=False)
class EntraClientTokens:
    """Gets tokens for clients without an access key, with Entra ID.

    The service itself makes the tokens that hold only a user and a lifetime in whole minutes. This class signs all
    other tokens, with a temporary key that the service gives out.

    Args:
        rest: asks the service for tokens and temporary keys.
        hub: the hub's name as the service knows it: in lower case, with the application's name before it.
        clock: returns the time in seconds since 1970.
    """

    _rest: RestClient
    _hub: str
    _clock: Callable[[], float] = attrs.field(kw_only=True)
    _key: tokens.SigningKey | None = attrs.field(default=None, init=False)
    _key_from: float = attrs.field(default=0.0, init=False)
    _renew_at: float = attrs.field(default=0.0, init=False)
    _asking: asyncio.Lock = attrs.field(factory=asyncio.Lock, init=False)

    async def client_token(self, audience: str, client: tokens.ClientClaims) -> str:
        """See `ClientTokens`."""
        if client.plain:
            return await self._generated(client)
        return tokens.client_token(await self._temporary_key(), audience, client, self._clock())

    async def _generated(self, client: tokens.ClientClaims) -> str:
        path = f"hubs/{names.segment('hub', self._hub)}/:generateToken"
        minutes = int(client.lifetime) // 60
        request = self._rest.request("POST", path, ("userId", client.user_id), ("minutesToExpire", minutes))
        return rest_responses.text(request, await self._rest.ask(request), "token")

    async def _temporary_key(self) -> tokens.SigningKey:
        async with self._asking:
            now = self._clock()
            has_expired = self._key is None or now - self._key_from >= _KEY_LIFETIME
            if has_expired or now >= self._renew_at:
                try:
                    self._key, self._key_from, self._renew_at = await self._ask_for_key(), now, now + _KEY_RENEWAL
                except AzureSignalRError as error:
                    if has_expired:
                        raise
                    self._renew_at = now + _RETRY_INTERVAL
                    _logger.warning("the temporary access key of Azure SignalR Service is not renewed yet: %s", error)
            assert self._key is not None
            return self._key

    async def _ask_for_key(self) -> tokens.SigningKey:
        request = self._rest.request("GET", "auth/accessKey")
        response = await self._rest.ask(request)
        return tokens.SigningKey(*(rest_responses.text(request, response, name) for name in ("AccessKey", "KeyId")))
