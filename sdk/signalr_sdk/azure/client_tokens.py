"""Who signs: the access key of the connection string, or Entra ID."""

from __future__ import annotations

import asyncio
import inspect
import logging
import time
from collections.abc import Awaitable
from typing import TYPE_CHECKING, Any, Protocol

import attrs

from .._core.redaction import redact
from ..errors import AzureSignalRError
from . import answers, names, tokens

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from .rest import RestClient
    from .tokens import ClientClaims, SigningKey

_logger = logging.getLogger("signalr_sdk.http")

SCOPE = "https://signalr.azure.com/.default"

# Seconds before its end at which an Entra token is replaced.
_MARGIN = 300.0
# A temporary key is valid for 90 minutes; it is replaced early, so that tokens signed with it live on. While that
# fails, it is not tried for each token again.
_KEY_RENEWED, _KEY_DEAD, _PAUSE = 55 * 60.0, 90 * 60.0, 5 * 60.0


class Credential(Protocol):
    """What gives Entra tokens, as the credentials of azure-identity do, sync or async."""

    def get_token(self, *scopes: str) -> Any:
        """Return an object with `token` and `expires_on` (seconds since 1970), or an awaitable of one."""


class ClientTokens(Protocol):
    """Makes the tokens of clients."""

    async def client_token(self, audience: str, client: ClientClaims) -> str:
        """Return a token for a client.

        Args:
            audience: the client URL, as the service knows it.
            client: who it is for.
        """


@attrs.frozen
class KeyTokens:
    """Signs with the access key of the connection string.

    Attributes:
        key: the key.
        clock: seconds since 1970.
    """

    key: SigningKey
    clock: Callable[[], float] = time.time

    async def request_tokens(self, url: str) -> Sequence[str]:
        """See `RequestTokens`."""
        now = self.clock()
        return [tokens.request_token(self.key, audience, now) for audience in names.audiences(url)]

    async def client_token(self, audience: str, client: ClientClaims) -> str:
        """See `ClientTokens`."""
        return tokens.client_token(self.key, audience, client, self.clock())


class EntraTokens:
    """The tokens of REST requests: those that the credential gives.

    Args:
        credential: the user's.
        clock: seconds since 1970.
    """

    def __init__(self, credential: Credential, clock: Callable[[], float]) -> None:
        self._credential = credential
        self._clock = clock
        self._token = ""
        self._ends = 0.0
        self._asking = asyncio.Lock()

    async def request_tokens(self, _url: str) -> Sequence[str]:
        """See `RequestTokens`."""
        async with self._asking:
            if self._clock() >= self._ends - _MARGIN:
                self._token, self._ends = await self._ask()
            return (self._token,)

    async def _ask(self) -> tuple[str, float]:
        answer: object = None
        failure = ""
        try:
            answer = await self._get_token()
        except Exception as error:  # noqa: BLE001 - credentials of users may raise anything
            failure = redact(str(error)) or type(error).__name__
        if failure:
            # Outside of `except`: what azure-identity raises holds the request, and with it secrets.
            raise AzureSignalRError(f"the credential gave no token for {SCOPE}: {failure}")
        token, ends = getattr(answer, "token", None), getattr(answer, "expires_on", None)
        if not isinstance(token, str) or not isinstance(ends, int | float):
            raise AzureSignalRError("the credential's get_token() must return an object with token and expires_on")
        if not (token and token.isascii() and token.isprintable()):
            raise AzureSignalRError("the credential's token is empty, or holds what no HTTP header can carry")
        return token, float(ends)

    async def _get_token(self) -> object:
        get_token = self._credential.get_token
        if inspect.iscoroutinefunction(get_token):
            return await get_token(SCOPE)
        # Those of azure-identity that are not async block.
        answer = await asyncio.to_thread(get_token, SCOPE)
        return await answer if isinstance(answer, Awaitable) else answer


class EntraClientTokens:
    """The tokens of clients, without an access key.

    The service makes them where it can (a user, whole minutes); anything else is signed with a temporary key.

    Args:
        rest: asks for both, with Entra tokens.
        hub: the hub's name, as the service knows it.
        clock: seconds since 1970.
    """

    def __init__(self, rest: RestClient, hub: str, clock: Callable[[], float]) -> None:
        self._rest = rest
        self._hub = hub
        self._clock = clock
        self._key: SigningKey | None = None
        self._since = 0.0
        self._due = 0.0
        self._asking = asyncio.Lock()

    async def client_token(self, audience: str, client: ClientClaims) -> str:
        """See `ClientTokens`."""
        if client.plain:
            return await self._generated(client)
        return tokens.client_token(await self._temporary_key(), audience, client, self._clock())

    async def _generated(self, client: ClientClaims) -> str:
        path = f"hubs/{names.segment('hub', self._hub)}/:generateToken"
        minutes = int(client.lifetime) // 60
        request = self._rest.request("POST", path, ("userId", client.user_id), ("minutesToExpire", minutes))
        response = await self._rest.ask(request)
        return answers.text(request, response, answers.members(request, response), "token")

    async def _temporary_key(self) -> SigningKey:
        async with self._asking:
            now = self._clock()
            is_dead = self._key is None or now - self._since >= _KEY_DEAD
            if is_dead or now >= self._due:
                try:
                    self._key, self._since, self._due = await self._ask_for_key(), now, now + _KEY_RENEWED
                except AzureSignalRError as error:
                    if is_dead:
                        raise
                    self._due = now + _PAUSE
                    _logger.warning("the temporary access key of Azure SignalR Service is not renewed yet: %s", error)
            assert self._key is not None
            return self._key

    async def _ask_for_key(self) -> SigningKey:
        request = self._rest.request("GET", "auth/accessKey")
        response = await self._rest.ask(request)
        found = answers.members(request, response)
        key, key_id = (answers.text(request, response, found, name) for name in ("AccessKey", "KeyId"))
        return tokens.SigningKey(key, key_id)
