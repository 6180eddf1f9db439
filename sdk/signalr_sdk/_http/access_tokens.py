"""The bearer token of one connection attempt."""

from __future__ import annotations

import asyncio
import inspect
from functools import cached_property
from typing import TYPE_CHECKING

from .._core.redaction import redact
from ..errors import ConnectionFailedError

if TYPE_CHECKING:
    from ..interfaces import TokenProvider


class AccessToken:
    """Asks the user's provider when a token is first needed, and keeps what it said.

    Args:
        source: a token, what provides one, or `None`.
    """

    def __init__(self, source: str | TokenProvider | None) -> None:
        # The user's, whatever is used at the moment.
        self._users = source
        self._provider = source if callable(source) else None
        self._token = None if callable(source) else _checked(source)
        self._known = self._provider is None
        self.from_redirect = False

    # Requests run side by side: one question at a time, and the others get its answer too.
    @cached_property
    def _asking(self) -> asyncio.Lock:
        return asyncio.Lock()

    def replace(self, token: str) -> None:
        """Use the token of a redirect, and the user's no more."""
        self._provider = None
        self._token, self._known = _checked(token), True
        self.from_redirect = True

    def forget(self) -> None:
        """Ask the provider again when a token is next needed; that of a redirect stays."""
        self._known = self._provider is None

    def adopt(self, token: str | None) -> None:
        """Use a token that was just got."""
        self._token, self._known = _checked(token), True

    async def get(self) -> str | None:
        """Return the token.

        Raises:
            ConnectionFailedError: the provider failed.
        """
        if not self._known:
            async with self._asking:
                if not self._known:
                    await self._ask()
        return self._token

    async def renew(self, refused: str | None) -> bool:
        """Get another token, and say whether there is one to try.

        Args:
            refused: the token that the server did not accept.

        Raises:
            ConnectionFailedError: the provider failed.
        """
        if self._provider is None:
            return False
        async with self._asking:
            # Another request may have been refused with the same one, and be here before.
            if self._token == refused:
                await self._ask()
        return True

    async def users_own(self) -> str | None:
        """Return a token of the user's, asked for now, also where that of a redirect is in use.

        Raises:
            ConnectionFailedError: the provider failed.
        """
        return _checked(await _answer(self._users)) if callable(self._users) else _checked(self._users)

    async def _ask(self) -> None:
        assert self._provider is not None
        self.adopt(await _answer(self._provider))


async def _answer(provider: TokenProvider) -> str | None:
    try:
        answer = provider()
        return await answer if inspect.isawaitable(answer) else answer
    except Exception as error:
        reason = redact(str(error)) or type(error).__name__
        raise ConnectionFailedError(f"the access token provider failed: {reason}") from error


def _checked(token: str | None) -> str | None:
    if token is not None and not isinstance(token, str):
        raise ConnectionFailedError(f"the access token must be a str or None, not {type(token).__name__}")
    if token and not (token.isascii() and token.isprintable()):
        raise ConnectionFailedError(
            "the access token holds a character that no HTTP header can carry; is there a line break at its end?"
        )
    return token or None
