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
# Text that users often put around the access token by mistake: `Bearer`, quotation marks, spaces. Servers answer 401 to
# such a token without saying why.
_MORE_THAN_A_TOKEN = re.compile(r" |bearer(?: |:|$)|[\"']|.* $", re.IGNORECASE)


class AccessToken:
    """The token that the requests of one connection attempt carry.

    The user's provider is called when a request first needs a token, and again when the server has refused that token.

    Args:
        source: a token, a provider of tokens, or `None` for no token.
        timeouts: the provider has `request` seconds for each answer, and is cancelled after that.
        log: gets a warning about a provider that does not end.

    Attributes:
        from_redirect: whether the token came with a redirect of negotiate. The user's provider cannot renew it.
    """

    def __init__(self, source: str | TokenProvider | None, timeouts: Timeouts, log: Log) -> None:
        self.from_redirect = False
        self._timeouts = timeouts
        self._log = log
        self._source = source
        # False if there is no provider to call: the user gave a plain token or no token, or a redirect gave the token.
        self._renewable = callable(source)
        self._token = None if callable(source) else _checked(source)
        self._known = not self._renewable
        # Lock around the call of the provider: several requests may need a token at the same time. One request calls
        # the provider, and the other requests wait and use the same token.
        self._asking = asyncio.Lock()

    def use(self, token: str | None) -> None:
        """Send this token with all requests from now on; `None` to send no token.

        Raises:
            ConnectionFailedError: no HTTP header can carry the token, or the text holds more than the token.
        """
        self._token, self._known = _checked(token), True

    def use_from_redirect(self, token: str) -> None:
        """Send the token that came with a redirect of negotiate with all requests from now on.

        Requests do not call the user's provider any more: it cannot renew the redirect's token.
        """
        self._renewable = False
        self.from_redirect = True
        self.use(token)

    def forget(self) -> None:
        """Call the provider again when the next request needs a token. Without a provider, the token stays in use."""
        self._known = not self._renewable

    async def get(self) -> str | None:
        """Return the token for a request; `None` for a request without a token.

        Raises:
            ConnectionFailedError: the provider failed.
        """
        if not self._known:
            async with self._asking:
                if not self._known:
                    self.use(await self._answer())
        return self._token

    async def renew(self, refused: str | None) -> bool:
        """Replace a token that a server refused with status 401. Return `False` if there is no provider to call.

        Raises:
            ConnectionFailedError: the provider failed.
        """
        if not self._renewable:
            return False
        async with self._asking:
            # While this request was waiting for the lock, another request may have replaced the refused token. Then do
            # not call the provider a second time.
            if self._token == refused:
                self.use(await self._answer())
        return True

    async def ask_user(self) -> str | None:
        """Call the user's provider for a token refresh, also while the token of a redirect is in use. Return its token.

        Without a provider, return the plain token that the user gave.

        Raises:
            ConnectionFailedError: the provider failed.
        """
        return _checked(await self._answer())

    async def _answer(self) -> str | None:
        if not callable(self._source):
            return self._source
        limit, patience = self._timeouts.request, self._timeouts.close
        try:
            answer = self._source()
            if not inspect.isawaitable(answer):
                return answer
            return await bounded(
                answer,
                limit,
                whose=_PROVIDER,
                # Give a cancelled provider half of the seconds that `stop` gives the whole connection attempt: then the
                # warning about code that does not end names the provider and not the attempt.
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
