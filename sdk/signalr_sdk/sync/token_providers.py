"""Calls the token providers and credentials of users on a thread, because they may block."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .daemon_threads import run_on_thread
from .plain_functions import plain, result_of

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from ..azure.token_sources import Credential


def token_provider(
    access_token: str | Callable[[], str | None] | None,
) -> str | Callable[[], Awaitable[str | None]] | None:
    """Return an async provider that calls the user's provider on a thread. Return a string unchanged."""
    if access_token is None or isinstance(access_token, str):
        return access_token
    provider = plain(access_token, "an access token provider")

    async def provide() -> str | None:
        return await run_on_thread(provider, "access token")

    return provide


def credential_on_thread(credential: Credential | None) -> Credential | None:
    """Return an async credential that calls the user's credential on a thread.

    An object without `get_token` is returned unchanged: the asyncio client raises the error for it.
    """
    get_token = getattr(credential, "get_token", None)
    return _CredentialOnThread(plain(get_token, "get_token of a credential")) if callable(get_token) else credential


class _CredentialOnThread:
    def __init__(self, get_token: Callable[..., Any]) -> None:
        self._get_token = get_token

    async def get_token(self, *scopes: str) -> Any:
        """See `Credential`."""
        return result_of(await run_on_thread(lambda: self._get_token(*scopes), "credential"))
