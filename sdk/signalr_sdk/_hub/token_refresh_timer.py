"""The timer that refreshes the token of a live connection, if the server says how long tokens live."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from .._core import token_refresh
from .._guard.tasks import spawn
from ..errors import AuthenticationRefreshError

if TYPE_CHECKING:
    from collections.abc import Callable

    from .._http.token_refresh import Refresher

# A refresh that failed is tried again when half of the rest of the token's life has passed. The last try is so many
# seconds before the end.
_PAUSE = 5.0


class TokenRefreshTimer:
    """One timer, which each refresh sets again: a refresh by the timer, by the user, or by a long poll.

    Args:
        refresher: refreshes the token.
        before: see `AuthenticationRefresh`; `None` for no timer.
        refreshed: called after each refresh with the lifetime in seconds, `None` if the server did not say it.
        failed: called with the error when a refresh by the timer fails.
    """

    def __init__(
        self,
        refresher: Refresher,
        before: float | None,
        *,
        refreshed: Callable[[float | None], None],
        failed: Callable[[AuthenticationRefreshError], None],
    ) -> None:
        self._refresher = refresher
        self._before = before
        self._refreshed = refreshed
        self._failed = failed
        self._loop = asyncio.get_running_loop()
        self._end = 0.0
        self._short_lived = 0
        self._timer: asyncio.TimerHandle | None = None
        self._task: asyncio.Task[None] | None = None

    def begin(self, lifetime: float | None) -> None:
        """Set the timer for the first token, which lives for `lifetime` seconds since negotiation."""
        self._refresher.refreshed = self._note_refreshed
        self._set(lifetime, self._refresher.made_at)

    def stop(self) -> list[asyncio.Task[None]]:
        """End the timer; return the task of a refresh that still runs, cancelled, in a list."""
        self._refresher.refreshed = self._refreshed
        self._cancel()
        if self._task is None or self._task.done():
            return []
        self._task.cancel()
        return [self._task]

    def _set(self, lifetime: float | None, since: float) -> None:
        self._cancel()
        if self._before is not None and lifetime is not None:
            self._end = since + lifetime
            self._short_lived = self._short_lived + 1 if lifetime < 1 else 0
            due = since + token_refresh.delay(lifetime, self._before, self._short_lived)
            self._timer = self._loop.call_at(due, self._start)

    def _cancel(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _note_refreshed(self, lifetime: float | None) -> None:
        self._set(lifetime, self._loop.time())
        self._refreshed(lifetime)

    def _start(self) -> None:
        self._timer = None
        self._task = spawn(self._refresh(), "token refresh")

    async def _refresh(self) -> None:
        try:
            await self._refresher.refresh()
        except AuthenticationRefreshError as error:
            pause = (self._end - self._loop.time()) / 2
            if pause >= _PAUSE and not _is_refused(error):
                self._timer = self._loop.call_later(pause, self._start)
            self._failed(error)


def _is_refused(error: AuthenticationRefreshError) -> bool:
    return error.status is not None and error.status < 500 and error.status not in (408, 429)
