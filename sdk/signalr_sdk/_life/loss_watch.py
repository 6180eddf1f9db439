"""`LossWatch`: runs the receiving of one link, and ends it when the transport is lost."""

from __future__ import annotations

import asyncio
import math
from typing import TYPE_CHECKING, Any

from .._core.path_watch import PathWatch
from ..errors import ServerTimeoutError

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from .._connecting.opening import OpenTransport
    from ..errors import SignalRError

# After a failed write, go on reading for this number of seconds: the server may have sent a reason, which is a better
# error than the failed write.
_READER_GRACE = 1.0
# The receiving should end at once after `lose`. If it is still running after this number of seconds, users' code in it,
# for example an HTTP client, has ignored its cancellation: `stuck` is then called.
_LOSS_GRACE = 1.0


class LossWatch:
    """Runs the receiving of one link until the transport is lost.

    A transport is lost when the receiving ends, when `lose` is called, some time after a failed write, and when nothing
    that was sent is acknowledged (the network path is dead).

    Args:
        connection: the open connection.
        timeout: seconds without an acknowledgement after which a path is dead (`Timeouts.server`); `None` for never.
        stuck: called with the error if the receiving does not end after `lose`.

    Attributes:
        lost: why the transport was lost; `None` while it works. The link resets it when the connection is resumed.
    """

    def __init__(
        self, connection: OpenTransport[Any], timeout: float | None, stuck: Callable[[SignalRError], None]
    ) -> None:
        self._connection = connection
        self._timeout = timeout
        self._stuck = stuck
        self._loop = asyncio.get_running_loop()
        self._timer: asyncio.TimerHandle | None = None
        self._grace: asyncio.TimerHandle | None = None
        self._watchdog: asyncio.TimerHandle | None = None
        # The timeout around the receiving in `run`: `lose` lets this timeout expire at once, which ends `run`.
        self._scope: asyncio.Timeout | None = None
        self.lost: SignalRError | None = None
        self.begin_transport()

    def begin_transport(self) -> None:
        """Watch the path of another transport of the connection, which has just been opened."""
        self._path = PathWatch(self._timeout if self._connection.sees_paths else None)

    async def run(self, receive: Callable[[], Coroutine[Any, Any, SignalRError | None]]) -> SignalRError | None:
        """Receive until the transport is lost. Return what `receive` returns, or else the error given to `lose`."""
        try:
            async with asyncio.timeout(None) as self._scope:
                if self.lost is None:
                    return await receive()
        except TimeoutError:
            if self.lost is None:
                raise
        finally:
            self._scope = None
            if self._watchdog is not None:
                self._watchdog.cancel()
        return self.lost

    def lose(self, error: SignalRError) -> None:
        """End the receiving with an error. If the transport is lost already, do nothing."""
        if self.lost is None:
            self.lost = error
            if self._scope is not None:
                self._scope.reschedule(-math.inf)
                self._watchdog = self._loop.call_later(_LOSS_GRACE, self._stuck, error)

    def note_write_failed(self, error: SignalRError) -> None:
        """End the receiving soon: until then, the receiving may find out why writing has failed."""
        self._grace = self._loop.call_later(_READER_GRACE, self.lose, error)

    def note_sent(self, now: float) -> None:
        """Note that data is sent now, which the server must acknowledge."""
        if self._path.note_sent(now):
            self._timer = self._loop.call_at(self._path.deadline, self._look)

    def _look(self) -> None:
        if self._path.look(self._connection.path_samples(), self._loop.time()):
            text = f"nothing that was sent was acknowledged for {self._timeout:g} s: the path to the server is dead"
            self.lose(ServerTimeoutError(f"{text} (Timeouts.server)", allow_reconnect=True))
        elif self._path.deadline < math.inf:
            self._timer = self._loop.call_at(self._path.deadline, self._look)

    def stop(self) -> None:
        """Stop all timers, and look at the path no more until `begin_transport`."""
        self._path = PathWatch(None)
        for timer in (self._timer, self._grace, self._watchdog):
            if timer is not None:
                timer.cancel()
        self._timer = self._grace = self._watchdog = None
