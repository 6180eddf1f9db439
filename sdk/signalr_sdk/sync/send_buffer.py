"""What `send` hands to the loop's thread: messages that are encoded where `send` is called, and cross in batches."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from contextlib import suppress
from typing import TYPE_CHECKING

from ..errors import SignalRError
from .doorbell import WaitingThreads

if TYPE_CHECKING:
    from .async_hub import AsyncHub
    from .loop_use import LoopUse

_logger = logging.getLogger("signalr_sdk.hub")

# While messages keep coming, the loop's thread looks for them by itself after so many seconds: a switch between the
# threads for each message would cost more than all else.
_PATIENCE = 0.001


class SendBuffer:
    """The way from any thread into the outgoing buffer, in the order of the calls.

    Args:
        hub: takes the messages.
        loop_use: the connection's.
        limit: bytes that may be on the way, or in a full outgoing buffer, before `put` waits. Threads that put at the
            same time may go a message each over it.
    """

    def __init__(self, hub: AsyncHub, loop_use: LoopUse, *, limit: int) -> None:
        self._hub = hub
        self._loop_use = loop_use
        self._limit = limit
        self._messages: deque[bytes] = deque()
        # Bytes since there was room the last time; set right by `_make_room` when threads have counted over each other.
        self._held = 0
        self._room = WaitingThreads()
        # The loop that has set the timer; it belongs to the loop's thread, as the two below do.
        self._looking: asyncio.AbstractEventLoop | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._emptying: asyncio.Task[None] | None = None

    def put(self, data: bytes) -> bool:
        """Add a message; wait while there is no room. Return whether it was taken: if not, the connection is down.

        Raises:
            StateError: this is the loop's thread, or a child process that has inherited the connection.
        """
        portal = self._loop_use.running()
        if portal is None:
            return False
        if self._held >= self._limit:
            self._room.wait_until(
                lambda: self._held < self._limit or not self._hub.up or portal.ended,
                lambda: portal.doorbell.ring(self._look),
            )
        if not self._hub.up:
            return False
        before, half = self._held, self._limit // 2
        self._messages.append(data)
        self._held = after = before + len(data)
        if self._looking is not portal.loop or before < half <= after:
            portal.doorbell.ring(self._look)
        if portal.ended:
            with suppress(ValueError):  # the loop's thread has taken it
                self._messages.remove(data)
                return False
        return True

    # On the loop's thread

    def post(self) -> None:
        """Post what has come: what is called next comes after it."""
        if self._messages:
            self._look()

    def _look(self) -> None:
        """Post what has come, and look again soon if that was something; make room."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        # Before the messages are taken: a thread adds its message before it looks at this.
        self._looking = None
        full = self._emptying is not None
        if messages := [self._messages.popleft() for _ in range(len(self._messages))]:
            self._looking = loop = asyncio.get_running_loop()
            self._timer = loop.call_later(_PATIENCE, self._look)
            full = self._hub.post(messages)
        if not full:
            self._make_room()
        elif self._emptying is None:
            self._emptying = asyncio.create_task(self._empty(), name="signalr_sdk send buffer")
            self._emptying.add_done_callback(self._emptied)

    async def _empty(self) -> None:
        try:
            await self._hub.posted()
        except SignalRError as ended:
            # Threads that wait for room learn that the connection is down when they look again.
            _logger.debug("what was posted has not left: %s", ended)

    def _emptied(self, _task: object) -> None:
        self._emptying = None
        self._make_room()

    def _make_room(self) -> None:
        self._held = sum(map(len, self._messages.copy()))
        self._room.wake()
