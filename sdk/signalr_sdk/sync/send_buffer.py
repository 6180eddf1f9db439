"""Moves the messages of `send` in batches from the calling threads, which encode them, to the loop's thread."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from contextlib import suppress
from typing import TYPE_CHECKING

from .._guard.tasks import spawn
from ..errors import SignalRError
from .doorbell import WaitingThreads

if TYPE_CHECKING:
    from .async_hub import AsyncHub
    from .loop_use import LoopUse
    from .portal import Portal

_logger = logging.getLogger("signalr_sdk.hub")

# While messages keep coming, the loop's thread looks for them after so many seconds without being woken. Waking it for
# each message would cost more than all other work for the message.
_PATIENCE = 0.001


class SendBuffer:
    """Takes messages from any thread, and puts them into the outgoing buffer on the loop's thread, in the same order.

    Args:
        hub: the connection with the outgoing buffer.
        loop_use: runs the calls of the same connection on the loop's thread.
        limit: with so many bytes here, or in a full outgoing buffer, `put` waits. Threads that call `put` at the same
            time may exceed the limit by one message each.
    """

    def __init__(self, hub: AsyncHub, loop_use: LoopUse, *, limit: int) -> None:
        self._hub = hub
        self._loop_use = loop_use
        self._limit = limit
        self._messages: deque[bytes] = deque()
        # About how many bytes were put since the last `_make_room`. Not exact: several threads change it without a
        # lock.
        self._held = 0
        self._room = WaitingThreads()
        # The event loop that has set `_timer` and needs no wake-up. Only the loop's thread changes this and the next
        # two attributes.
        self._looking: asyncio.AbstractEventLoop | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._emptying: asyncio.Task[None] | None = None

    def put(self, data: bytes) -> bool:
        """Add a message; wait while there is no room. Return `False`, and add nothing, if the connection is down.

        Raises:
            StateError: this is the loop's thread, or a child process that has inherited the connection.
        """
        portal = self._loop_use.running()
        if portal is None:
            return False
        if self._held >= self._limit:
            self._room.wait_until(
                lambda: self._held < self._limit or not self._hub.up or portal.ended, lambda: self._ring(portal)
            )
        if not self._hub.up:
            return False
        before, half = self._held, self._limit // 2
        self._messages.append(data)
        self._held = after = before + len(data)
        self._ring(portal, at_once=before < half <= after)
        if portal.ended:
            with suppress(ValueError):  # the loop's thread has taken the message before it ended
                self._messages.remove(data)
                return False
        return True

    def _ring(self, portal: Portal, *, at_once: bool = False) -> None:
        """Make the loop's thread look for messages, unless its timer is set."""
        if at_once or self._looking is not portal.loop:
            portal.doorbell.ring(self._look)

    # Methods for the loop's thread

    def drain(self) -> None:
        """Move the messages into the outgoing buffer. A thread does this before each other call, to keep the order."""
        if self._messages:
            self._look()

    def _look(self) -> None:
        """Move all messages into the outgoing buffer. Look again soon if there were messages, to save a wake-up."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        # Clear `_looking` before taking the messages: a thread adds its message before it checks `_looking`. In the
        # other order a message could stay here without a wake-up of the loop's thread.
        self._looking = None
        full = self._emptying is not None
        if messages := [self._messages.popleft() for _ in range(len(self._messages))]:
            self._looking = loop = asyncio.get_running_loop()
            self._timer = loop.call_later(_PATIENCE, self._look)
            full = self._hub.put_now(messages)
        if not full:
            self._make_room()
        elif self._emptying is None:
            self._emptying = spawn(self._empty(), "send buffer")
            self._emptying.add_done_callback(self._emptied)

    async def _empty(self) -> None:
        try:
            await self._hub.room()
        except SignalRError as ended:
            # Only log the error: threads that wait for room are woken in any case, and then see that the connection is
            # down.
            _logger.debug("messages that wait for room have not left: %s", ended)

    def _emptied(self, _task: object) -> None:
        self._emptying = None
        self._make_room()

    def _make_room(self) -> None:
        self._held = sum(map(len, self._messages.copy()))
        self._room.wake()
