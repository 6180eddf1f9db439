"""`ReadPause`: stops reading while handlers or iterators are slow, so that TCP slows the server down."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import attrs

if TYPE_CHECKING:
    from collections.abc import Callable

    from .._core.session import HubSession
    from .._receiving.backlog import Backlog
    from .._sending.calls import Calls


@attrs.define(eq=False)
class ReadPause:
    """Decides how long one link does not read from its transport, since handlers or iterators are slow.

    Args:
        session: the session, whose server timeout stands still during a pause.
        backlog: counts the messages that wait for consumers.
        calls: the pending invocations. An invocation younger than `limit` ends the pause, because the slow handler may
            itself wait for the completion, which must be read.
        limit: the longest pause in seconds (`Timeouts.pause`); `None` for no limit.
        resumed: called at the end of each pause, which has moved the deadline of the server timeout.

    Attributes:
        exhausted: whether a pause has reached `limit`. After that, reading goes on without pauses until the consumers
            are fast enough again.
    """

    _session: HubSession
    _backlog: Backlog
    _calls: Calls
    _limit: float | None = attrs.field(kw_only=True)
    _resumed: Callable[[], None] = attrs.field(kw_only=True)
    exhausted: bool = attrs.field(default=False, init=False)
    _loop: asyncio.AbstractEventLoop = attrs.field(factory=asyncio.get_running_loop, init=False)
    _wait: asyncio.Future[None] | None = attrs.field(default=None, init=False)

    async def hold(self) -> None:
        """Return when reading may go on: handlers keep up, an invocation waits, or `Timeouts.pause` is over."""
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
        self.exhausted = False
        self.look_again()

    def look_again(self) -> None:
        """Make `hold` check again whether the pause is over, for example because an invocation now waits."""
        if self._wait is not None and not self._wait.done():
            self._wait.set_result(None)

    def end(self) -> None:
        """End the pause and allow no further pause, because the link is closing."""
        self.exhausted = True
        self.look_again()
