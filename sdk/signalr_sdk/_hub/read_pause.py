"""Reading pauses while consumers are behind, so that the transport holds the server back."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from .._core.session import HubSession
    from .._receiving.backlog import Backlog
    from .._sending.calls import Calls


class ReadPause:
    """Decides when the reader of one link waits instead of reading, and for how long.

    Args:
        session: its server timeout stands still during a pause.
        backlog: counts what waits for consumers.
        calls: a consumer that waits for an answer must get it, so reading goes on for a young invocation.
        limit: the longest pause in seconds (`Timeouts.pause`), and the age to which an invocation is young; `None` for
            no limit.
        resumed: called when reading goes on, since the deadline of the session has moved.

    Attributes:
        exhausted: whether a pause took all of its time; reading then goes on until consumers have caught up.
    """

    def __init__(
        self,
        session: HubSession,
        backlog: Backlog,
        calls: Calls,
        *,
        limit: float | None,
        resumed: Callable[[], None],
    ) -> None:
        self.exhausted = False
        self._session = session
        self._backlog = backlog
        self._calls = calls
        self._limit = limit
        self._resumed = resumed
        self._time = asyncio.get_running_loop().time
        self._wait: asyncio.Future[None] | None = None

    async def hold(self) -> None:
        """Return when consumers have caught up, when a young invocation waits, or when the pause took too long."""
        self._session.pause(self._time())
        try:
            async with asyncio.timeout(self._limit):
                while self._backlog.above and not self.exhausted and not self._call_waits():
                    self._wait = asyncio.get_running_loop().create_future()
                    await self._wait
        except TimeoutError:
            self.exhausted = bool(self._backlog.above)
        finally:
            self._wait = None
            self._session.unpause(self._time())
            self._resumed()

    def _call_waits(self) -> bool:
        youngest = self._calls.youngest
        if youngest is None:
            return False
        return self._limit is None or self._time() - youngest < self._limit

    def note_relieved(self) -> None:
        """Note that consumers have caught up."""
        self.exhausted = False
        self.look_again()

    def look_again(self) -> None:
        """Have a reader that waits look whether the pause is over."""
        if self._wait is not None and not self._wait.done():
            self._wait.set_result(None)

    def end(self) -> None:
        """End the pause: the link closes."""
        self.exhausted = True
        self.look_again()
