"""Refreshes the token of one connection, while that lives on."""

from __future__ import annotations

import asyncio
from functools import cached_property
from typing import TYPE_CHECKING

from .._core import token_refresh as refreshing
from .._core import urls
from ..errors import AuthenticationRefreshError, ConnectionFailedError, RemoteProtocolError

if TYPE_CHECKING:
    from collections.abc import Callable

    from .request_sender import RequestSender

# No answer is anywhere near this.
_MAX_ANSWER = 1024 * 1024


class Refresher:
    """Shows the server a new token of the user's, whoever asks for that: a schedule, the user, or the server itself.

    Args:
        sender: sends the requests of the connection.
        url: the hub's, as the user gave it.
        connection_token: names the connection.
        timeout: seconds for each request.

    Attributes:
        refreshed: called after each refresh, with the seconds that the new token lives, if the server said so.
    """

    def __init__(self, sender: RequestSender, url: str, connection_token: str, *, timeout: float | None) -> None:
        self.refreshed: Callable[[float | None], None] = _nothing
        self._sender = sender
        self._url = urls.refresh_url(url)
        self._connection_token = connection_token
        self._timeout = timeout

    @cached_property
    def _one_at_a_time(self) -> asyncio.Lock:
        return asyncio.Lock()

    async def refresh(self) -> float | None:
        """Refresh now; return the seconds that the new token lives, if the server said so.

        Raises:
            AuthenticationRefreshError: it did not work; nothing has changed.
        """
        async with self._one_at_a_time:
            try:
                response = await self._sender.refresh(
                    self._url, self._connection_token, timeout=self._timeout, max_bytes=_MAX_ANSWER
                )
            except (OSError, RemoteProtocolError, ConnectionFailedError) as error:
                raise AuthenticationRefreshError(f"the token could not be refreshed: {error}") from error
            answer = refreshing.read_answer(response.status, response.body)
            if answer.access_token is not None:
                self._sender.use_refreshed_token(answer.access_token)
        self._sender.logs.http.info("the token is refreshed (%s)", urls.without_query(self._url))
        self.refreshed(answer.lifetime)
        return answer.lifetime


def _nothing(_lifetime: float | None) -> None:
    return None
