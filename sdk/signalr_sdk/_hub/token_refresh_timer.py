"""`TokenRefreshTimer`: refreshes the access token of a live connection before the token expires."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import attrs

from .._core import token_refresh
from .._guard.tasks import spawn
from ..errors import AuthenticationRefreshError

if TYPE_CHECKING:
    from collections.abc import Callable

    from .._http.token_refresh import Refresher

# A failed refresh is tried again after half of the token's remaining lifetime. If that half is shorter than this number
# of seconds, there is no further try.
_PAUSE = 5.0


@attrs.define(eq=False)
class TokenRefreshTimer:
    """A timer for the next refresh of the access token.

    Each refresh restarts the timer, also a refresh that the user's program or a long poll has started.

    Args:
        refresher: sends the refresh request.
        before: seconds before the token expires, see `AuthenticationRefresh`; `None` for no automatic refresh.
        refreshed: called after each refresh with the token's lifetime in seconds (`None` if the server did not send
            the lifetime).
        failed: called with the error when a refresh that the timer started has failed.
    """

    _refresher: Refresher
    _before: float | None
    _refreshed: Callable[[float | None], None] = attrs.field(kw_only=True)
    _failed: Callable[[AuthenticationRefreshError], None] = attrs.field(kw_only=True)
    _loop: asyncio.AbstractEventLoop = attrs.field(factory=asyncio.get_running_loop, init=False)
    _end: float = attrs.field(default=0.0, init=False)
    _short_lived: int = attrs.field(default=0, init=False)
    _timer: asyncio.TimerHandle | None = attrs.field(default=None, init=False)
    _task: asyncio.Task[None] | None = attrs.field(default=None, init=False)

    def begin(self, lifetime: float | None) -> None:
        """Set the timer for the first token. `lifetime` is in seconds and counts from the negotiate request."""
        self._refresher.refreshed = self._note_refreshed
        self._set(lifetime, self._refresher.made_at)

    def stop(self) -> list[asyncio.Task[None]]:
        """Stop the timer, and cancel a running refresh. Return a list with the cancelled task, or an empty list."""
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
                # Another refresh, started by the user's program, may have set the timer meanwhile. Cancel that timer,
                # or two timers would run.
                self._cancel()
                self._timer = self._loop.call_later(pause, self._start)
            self._failed(error)


def _is_refused(error: AuthenticationRefreshError) -> bool:
    return error.status is not None and error.status < 500 and error.status not in (408, 429)
