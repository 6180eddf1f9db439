"""`ReadPause`: stops reading while handlers or iterators are slow, so that TCP slows the server down."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import attrs

from .._guard.futures import resolve

if TYPE_CHECKING:
    from collections.abc import Callable

    from .._core.session import HubSession
    from .._receiving.backlog import Backlog
    from .._sending.calls import Calls


@attrs.define(eq=False)
class ReadPause:
    """Decides when one connection pauses reading from its transport, because handlers or iterators are slow.

    Args:
        session: counts the time of the server timeout, but not during a pause.
        backlog: counts the messages that wait for handlers and iterators.
        calls: the pending invocations. An invocation younger than `limit` ends the pause: the slow handler itself may
            be waiting for the completion of this invocation, which must be read.
        limit: the longest pause in seconds (`Timeouts.pause`); `None` for no limit.
        resumed: called at the end of each pause, to set the timer for the server timeout to a later time.

    Attributes:
        exhausted: whether no pause may begin now. True before `allow`, and after a pause has lasted `limit` seconds
            until handlers and iterators are fast enough again.
    """

    _session: HubSession
    _backlog: Backlog
    _calls: Calls
    _limit: float | None = attrs.field(kw_only=True)
    _resumed: Callable[[], None] = attrs.field(kw_only=True)
    exhausted: bool = attrs.field(default=True, init=False)
    _allowed: bool = attrs.field(default=False, init=False)
    _loop: asyncio.AbstractEventLoop = attrs.field(factory=asyncio.get_running_loop, init=False)
    _wait: asyncio.Future[None] | None = attrs.field(default=None, init=False)

    def allow(self) -> None:
        """Allow pauses from now on. Not called before the `on_setup` handlers have ended: these wait for answers."""
        self._allowed = True
        self.exhausted = False

    async def hold(self) -> None:
        """Wait while handlers or iterators are slow, for at most `Timeouts.pause`.

        Return early if an invocation waits for its completion, which must be read.
        """
        self._session.pause(self._loop.time())
        try:
            async with asyncio.timeout(self._limit):
                while self._backlog.above and not self.exhausted and not self._call_waits():
                    self._wait = self._loop.create_future()
                    await self._wait
        except TimeoutError:
            self.exhausted = bool(self._backlog.above)
        finally:
            self._wait = None
            self._session.unpause(self._loop.time())
            self._resumed()

    def _call_waits(self) -> bool:
        youngest = self._calls.youngest
        return youngest is not None and (self._limit is None or self._loop.time() - youngest < self._limit)

    def note_relieved(self) -> None:
        """End the pause, because handlers and iterators are fast enough again, and allow later pauses."""
        self.exhausted = not self._allowed
        self.look_again()

    def look_again(self) -> None:
        """Make `hold` check whether to end the pause, for example because an invocation waits for its completion."""
        if self._wait is not None:
            resolve(self._wait, None)

    def end(self) -> None:
        """End the pause and allow no further pause, because the connection is closing."""
        self._allowed = False
        self.exhausted = True
        self.look_again()
