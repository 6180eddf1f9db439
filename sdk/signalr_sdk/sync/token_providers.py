"""Calls users' access token providers and Azure credentials on a thread, because they would block the event loop."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any

from .._http.access_tokens import ask
from .daemon_threads import run_on_thread
from .plain_functions import plain, result_of

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from ..azure.token_sources import Credential
    from ..interfaces import TokenRequest


def token_provider(
    access_token: str | Callable[[], str | None] | Callable[[TokenRequest], str | None] | None,
) -> str | Callable[[TokenRequest], Awaitable[str | None]] | None:
    """Return an async provider of access tokens that calls the user's plain provider on a thread.

    If `access_token` is a token (a string) or `None`, return it unchanged.

    Raises:
        TypeError: the user's provider is async.
    """
    if access_token is None or isinstance(access_token, str):
        return access_token
    provider = plain(access_token, "an access token provider")

    async def on_thread(request: TokenRequest) -> Any:
        return await run_on_thread(functools.partial(ask, provider, request), "access token")

    return on_thread


def credential_on_thread(credential: Credential | None) -> Credential | None:
    """Return an async Azure credential that calls the user's plain credential on a thread.

    An object without `get_token` is returned unchanged: the asyncio `AzureSignalR` raises the error for this object.

    Raises:
        TypeError: `get_token` is async.
    """
    get_token = getattr(credential, "get_token", None)
    return _CredentialOnThread(plain(get_token, "get_token of a credential")) if callable(get_token) else credential


class _CredentialOnThread:
    def __init__(self, get_token: Callable[..., Any]) -> None:
        self._get_token = get_token

    async def get_token(self, *scopes: str) -> Any:
        """See `Credential`."""
        return result_of(await run_on_thread(lambda: self._get_token(*scopes), "credential"))
