"""The bearer token of one connection attempt."""

from __future__ import annotations

import asyncio
import inspect
from typing import TYPE_CHECKING

from .._core.excerpts import clean
from ..errors import ConnectionFailedError

if TYPE_CHECKING:
    from ..interfaces import TokenProvider


class AccessToken:
    """Asks the user's provider when a token is first needed, and keeps what it said.

    Args:
        source: a token, what provides one, or `None`.
    """

    def __init__(self, source: str | TokenProvider | None) -> None:
        self._provider = source if callable(source) else None
        self._token = None if callable(source) else _checked(source)
        self._known = self._provider is None
        # Requests run side by side: one question at a time, and the others get its answer too.
        self._asking = asyncio.Lock()
        self.from_redirect = False

    def replace(self, token: str) -> None:
        """Use the token of a redirect, and the user's no more."""
        self._provider = None
        self._token, self._known = _checked(token), True
        self.from_redirect = True

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

    async def _ask(self) -> None:
        assert self._provider is not None
        try:
            answer = self._provider()
            token = await answer if inspect.isawaitable(answer) else answer
        except Exception as error:
            reason = clean(str(error)) or type(error).__name__
            raise ConnectionFailedError(f"the access token provider failed: {reason}") from error
        self._token, self._known = _checked(token), True


def _checked(token: str | None) -> str | None:
    if token is not None and not isinstance(token, str):
        raise ConnectionFailedError(f"the access token must be a str or None, not {type(token).__name__}")
    if token and not (token.isascii() and token.isprintable()):
        raise ConnectionFailedError(
            "the access token holds a character that no HTTP header can carry; is there a line break at its end?"
        )
    return token or None
