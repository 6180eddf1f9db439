"""The bearer token of one connection attempt, and the calls of the user's token provider (a function)."""

from __future__ import annotations

import asyncio
import inspect
import re
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from .._core.redaction import redact
from .._guard.foreign import BoundExceeded, bounded, error_of, text_of
from .._typed.annotations import signature_of
from ..errors import ConnectionFailedError
from ..interfaces import TokenRequest

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from .._core.logs import Log
    from ..interfaces import TokenProvider
    from ..options import Timeouts

_PROVIDER = "the access token provider"
# Text that users often put around the access token by mistake: `Bearer`, quotation marks, spaces. Servers answer 401 to
# such a token without saying why.
_MORE_THAN_A_TOKEN = re.compile(r" |bearer(?: |:|$)|[\"']|.* $", re.IGNORECASE)


class AccessToken:
    """The token that the requests of one connection attempt carry.

    The user may give a token provider: a function that returns a token. The provider is called when a request first
    needs a token, and again when the server has refused that token.

    Args:
        source: a token, a token provider, or `None` for no token.
        timeouts: the provider is cancelled if it has not answered after `timeouts.request` seconds.
        log: gets a warning about a provider that does not end although it was cancelled.
        attempt: returns the present number of the attempt to connect, for `TokenRequest.attempt`.

    Attributes:
        from_redirect: whether the server gave the token with a redirect of negotiate. The user's token provider cannot
            renew such a token.
    """

    def __init__(
        self, source: str | TokenProvider | None, *, timeouts: Timeouts, log: Log, attempt: Callable[[], int]
    ) -> None:
        self.from_redirect: bool = False
        self._attempt = attempt
        self._timeouts = timeouts
        self._log = log
        self._source = source
        # Whether a call of the user's token provider can give a new token. False if the user gave a plain token or no
        # token, or if a redirect gave the token.
        self._renewable = callable(source)
        self._token = None if callable(source) else _checked(source)
        self._known = not self._renewable
        # Lock around the call of the provider: several requests may need a token at the same time. One request calls
        # the provider, and the other requests wait and use the same token.
        self._asking = asyncio.Lock()

    def use(self, token: str | None) -> None:
        """Send this token with all requests from now on; `None` to send no token.

        Raises:
            ConnectionFailedError: no HTTP header can carry the token, or the text is more than a token (`Bearer abc`).
        """
        self._token, self._known = _checked(token), True

    def use_from_redirect(self, token: str) -> None:
        """Send the token that came with a redirect of negotiate with all requests from now on.

        The user's token provider is no longer called for requests, because it cannot renew this token.
        """
        self._renewable = False
        self.from_redirect = True
        self.use(token)

    def forget(self) -> None:
        """Let the next request call the user's token provider again. Without a provider, the token stays in use."""
        self._known = not self._renewable

    async def get(self) -> str | None:
        """Return the token for a request; `None` for a request without a token.

        Raises:
            ConnectionFailedError: the user's token provider failed.
        """
        if not self._known:
            async with self._asking:
                if not self._known:
                    self.use(await self._answer(TokenRequest("connect", attempt=self._attempt())))
        return self._token

    async def renew(self, refused: str | None) -> bool:
        """Replace a token that a server refused with status 401, by a call of the user's token provider.

        Return `False`, and keep the token, if the user gave no provider or if a redirect gave the token.

        Raises:
            ConnectionFailedError: the token provider failed.
        """
        if not self._renewable:
            return False
        async with self._asking:
            # While this request was waiting for the lock, another request may have replaced the refused token. Then do
            # not call the token provider a second time.
            if self._token == refused:
                self.use(await self._answer(TokenRequest("refused", refused=refused, attempt=self._attempt())))
        return True

    async def ask_user(self) -> str | None:
        """Return a new token for a token refresh: call the user's token provider.

        The provider is called even if requests carry the token of a redirect. Without a provider, return the plain
        token that the user gave.

        Raises:
            ConnectionFailedError: the token provider failed.
        """
        return _checked(await self._answer(TokenRequest("refresh")))

    async def _answer(self, request: TokenRequest) -> str | None:
        if not callable(self._source):
            return self._source
        limit, patience = self._timeouts.request, self._timeouts.close
        try:
            answer = ask(self._source, request)
            if not inspect.isawaitable(answer):
                return answer
            return await bounded(
                answer,
                limit,
                whose=_PROVIDER,
                # Wait for a cancelled provider only half as long as `stop` waits for the whole connection attempt. So
                # if the provider does not end, the warning names the provider, and not the whole attempt.
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


def ask(provider: TokenProvider, request: TokenRequest) -> Awaitable[str | None] | str | None:
    """Call the user's token provider. A provider with exactly one required positional parameter gets the request."""
    function: Callable[..., Any] = provider
    return function(request) if _takes_request(function) else function()  # type: ignore[no-any-return]


def _takes_request(function: Callable[..., Any]) -> bool:
    try:
        parameters = _parameters(function)
    except Exception:  # noqa: BLE001 - a user's `__signature__` may raise anything; some builtins have no signature
        return False
    positional = [each for each in parameters if each.kind in (each.POSITIONAL_ONLY, each.POSITIONAL_OR_KEYWORD)]
    return sum(each.default is each.empty for each in positional) == 1


def _parameters(function: Callable[..., Any]) -> list[inspect.Parameter]:
    # A wrapper with parameters of its own counts, and not the function that it decorates (`functools.wraps`): the
    # wrapper may give that function an argument that only the user's program has.
    with suppress(ValueError, TypeError):
        own = list(signature_of(function, follow_wrapped=False).parameters.values())
        if not any(each.kind is each.VAR_POSITIONAL for each in own):
            return own
    # The wrapper passes all arguments on, or has no signature of its own, as that of `functools.cache`.
    return list(signature_of(function, follow_wrapped=True).parameters.values())


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
