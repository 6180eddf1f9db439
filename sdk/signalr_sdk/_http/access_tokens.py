"""The bearer token of one connection attempt, and the user's provider of tokens."""

from __future__ import annotations

import asyncio
import inspect
import re
from typing import TYPE_CHECKING

from .._core.redaction import redact
from .._guard.foreign import BoundExceeded, bounded, error_of, text_of
from ..errors import ConnectionFailedError

if TYPE_CHECKING:
    from .._core.logs import Log
    from ..interfaces import TokenProvider
    from ..options import Timeouts

_PROVIDER = "the access token provider"
# What users take for a part of the token: servers answer such a one with 401 and no reason.
_MORE_THAN_A_TOKEN = re.compile(r" |bearer(?: |:|$)|[\"']|.* $", re.IGNORECASE)


class AccessToken:
    """The token that the requests of one connection attempt carry.

    The user's provider is asked when a request first needs a token, and again when the server refused that token.

    Args:
        source: a token, a provider of tokens, or `None` for no token.
        timeouts: the provider has `request` seconds for each answer.
        log: gets a warning about a provider that does not end.

    Attributes:
        from_redirect: whether the token came with a redirect of negotiate; the user's provider cannot renew such a one.
    """

    def __init__(self, source: str | TokenProvider | None, timeouts: Timeouts, log: Log) -> None:
        self.from_redirect = False
        self._timeouts = timeouts
        self._log = log
        self._source = source
        # `None` when there is nobody to ask: the user gave a plain token or none, or a redirect gave the token.
        self._provider = source if callable(source) else None
        self._token = None if callable(source) else _checked(source)
        self._known = self._provider is None
        # Requests run side by side: one of them asks the provider, the others wait and use the same answer.
        self._asking = asyncio.Lock()

    def use(self, token: str | None) -> None:
        """Carry this token from now on."""
        self._token, self._known = _checked(token), True

    def use_from_redirect(self, token: str) -> None:
        """Carry the token of a redirect from now on, and do not ask the user's provider again."""
        self._provider = None
        self.from_redirect = True
        self.use(token)

    def forget(self) -> None:
        """Ask the provider again when a token is next needed; a token without a provider stays."""
        self._known = self._provider is None

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
        """Replace a token that the server refused. Return whether there is a provider that can replace it.

        Raises:
            ConnectionFailedError: the provider failed.
        """
        if self._provider is None:
            return False
        async with self._asking:
            # Another request whose token was refused too may have replaced it while this one waited for the lock.
            if self._token == refused:
                await self._ask()
        return True

    async def ask_user(self) -> str | None:
        """Return a new token of the user's, also while the token of a redirect is in use.

        Raises:
            ConnectionFailedError: the provider failed.
        """
        return _checked(await self._answer(self._source)) if callable(self._source) else _checked(self._source)

    async def _ask(self) -> None:
        assert self._provider is not None
        self.use(await self._answer(self._provider))

    async def _answer(self, provider: TokenProvider) -> str | None:
        limit, patience = self._timeouts.request, self._timeouts.close
        try:
            answer = provider()
            if not inspect.isawaitable(answer):
                return answer
            return await bounded(
                answer,
                limit,
                whose=_PROVIDER,
                # Less than what `stop` waits for the whole attempt, so that the warning names the provider.
                patience=None if patience is None else patience / 2,
                log=self._log,
            )
        except BoundExceeded:
            raise ConnectionFailedError(
                f"{_PROVIDER} did not answer within {limit:g} s (Timeouts.request; an interactive sign-in needs more)"
            ) from None
        except BaseException as raised:  # noqa: BLE001 - a provider may raise anything
            error = error_of(raised, _PROVIDER)
            raise ConnectionFailedError(f"{_PROVIDER} failed: {redact(text_of(error))}") from error


def _checked(token: str | None) -> str | None:
    if token is not None and not isinstance(token, str):
        raise ConnectionFailedError(f"the access token must be a str or None, not {type(token).__name__}")
    if token and not (token.isascii() and token.isprintable()):
        raise ConnectionFailedError(
            "the access token holds a character that no HTTP header can carry; is there a line break at its end?"
        )
    if token and _MORE_THAN_A_TOKEN.match(token):
        raise ConnectionFailedError(
            "the access token must be the token alone, without 'Bearer', quotation marks or spaces around it"
        )
    return token or None
