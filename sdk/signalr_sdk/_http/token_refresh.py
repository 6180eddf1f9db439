"""Authentication refresh: sends the server a new access token for a connection that stays up."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from .._core import token_refresh as refreshing
from .._core import urls
from .._core.redaction import redact_error
from .._guard.foreign import error_of, forget_locals
from ..errors import AuthenticationRefreshError

if TYPE_CHECKING:
    from collections.abc import Callable

    from .request_sender import RequestSender

# The largest response to a refresh. Real responses have a few hundred bytes, and a wrong server must not fill the
# memory.
_MAX_ANSWER = 1024 * 1024


class Refresher:
    """Refreshes the token of one connection, when a timer, the user, or the response to a long poll asks for this.

    Args:
        sender: sends the requests of the connection.
        url: the URL of the hub, as the user gave it.
        connection_token: tells the server which connection the token is for.

    Attributes:
        made_at: when the server negotiated the connection, in the event loop's time: the lifetime of the first token
            begins then.
        refreshed: called after each refresh, with the seconds for which the new token is valid, or `None` if the server
            did not tell this.
    """

    def __init__(self, sender: RequestSender, url: str, *, connection_token: str) -> None:
        self.refreshed: Callable[[float | None], None] = lambda _lifetime: None
        self._sender = sender
        self._url = urls.refresh_url(url)
        self._connection_token = connection_token
        self._one_at_a_time = asyncio.Lock()
        self.made_at: float = asyncio.get_running_loop().time()

    async def refresh(self) -> float | None:
        """Refresh the token now. Return the seconds for which it is valid, or `None` if the server did not tell this.

        Raises:
            AuthenticationRefreshError: the refresh failed, and the old token stays in use.
        """
        async with self._one_at_a_time:
            try:
                answer = await self._refresh()
            except AuthenticationRefreshError as error:
                self._sender.secrets.hide_in(error)
                # Clear the local variables in the traceback of the error, which users see: some of these variables hold
                # the token.
                forget_locals(error)
                raise
            if answer.access_token is not None:
                self._sender.token.use(answer.access_token)
        self._sender.logs.http.info("the token is refreshed (%s)", urls.without_query(self._url))
        self.refreshed(answer.lifetime)
        return answer.lifetime

    async def _refresh(self) -> refreshing.RefreshAnswer:
        try:
            limit = self._sender.timeouts.request
            response = await self._sender.refresh(
                self._url, self._connection_token, timeout=limit, max_bytes=_MAX_ANSWER
            )
            return refreshing.read_answer(response.status, response.body)
        except AuthenticationRefreshError:
            raise
        except BaseException as raised:  # noqa: BLE001 - HTTP clients of users may raise anything
            error = error_of(raised, "the HTTP client")
            raise AuthenticationRefreshError(f"the token could not be refreshed: {redact_error(error)}") from error
