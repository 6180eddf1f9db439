"""Moves the messages of `HubConnection.send` in batches from the users' threads to the event loop's thread."""

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

# While users' threads keep sending, the event loop's thread looks for messages at intervals of this many seconds,
# without a wake-up. A wake-up for each message would cost more than all other work for the message.
_PATIENCE = 0.001


class SendBuffer:
    """A queue of encoded messages. Any thread adds messages; the event loop's thread moves them to the outgoing buffer.

    The messages are sent in the order in which they were added.

    Args:
        hub: the asyncio connection with the outgoing buffer.
        loop_use: runs the calls of the same connection on the event loop's thread.
        limit: while this many bytes wait to be sent, `put` waits. Threads that call `put` at the same time may exceed
            the limit by one message each.
    """

    def __init__(self, hub: AsyncHub, loop_use: LoopUse, *, limit: int) -> None:
        self._hub = hub
        self._loop_use = loop_use
        self._limit = limit
        self._messages: deque[bytes] = deque()
        # How many bytes wait in `_messages`. Several threads change this number in `put` without a lock, so it may be
        # wrong until `_make_room` counts all waiting bytes.
        self._held = 0
        self._room = WaitingThreads()
        # The event loop on which `_timer` is set; `None` without a timer. With a timer, `_look` will soon run without a
        # wake-up. Only the event loop's thread changes `_looking`, `_timer` and `_emptying`.
        self._looking: asyncio.AbstractEventLoop | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._emptying: asyncio.Task[None] | None = None

    def put(self, data: bytes) -> bool:
        """Add an encoded message; wait while `limit` or more bytes wait to be sent. May be called on any thread.

        Returns:
            `False` if the connection is down; the message is then not added.

        Raises:
            StateError: the current thread is the event loop's thread, or this process is a forked child and its parent
                has started the connection.
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
        """Wake the event loop's thread to run `_look`, unless a timer runs `_look` soon.

        Args:
            portal: the portal with the event loop.
            at_once: whether to wake the thread even if the timer is set.
        """
        if at_once or self._looking is not portal.loop:
            portal.doorbell.ring(self._look)

    # Methods that must be called on the event loop's thread

    def drain(self) -> None:
        """Move all messages of `send` into the outgoing buffer.

        Called before each other call of the user, so that the server gets all calls in the user's order.
        """
        if self._messages:
            self._look()

    def _look(self) -> None:
        """Move all messages into the outgoing buffer. If there were messages, set a timer to look again soon."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        # Clear `_looking` before taking the messages: `put` adds its message before it reads `_looking`. In the reverse
        # order, `put` could add a message just after the messages were taken, and yet not wake the event loop: the
        # message would not be sent until the next call.
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
            # Only log the error: `_emptied` wakes the threads that wait in `put`, and `put` then returns `False`
            # because the connection is down.
            _logger.debug("messages that wait for room have not left: %s", ended)

    def _emptied(self, _task: object) -> None:
        self._emptying = None
        self._make_room()

    def _make_room(self) -> None:
        self._held = sum(map(len, self._messages.copy()))
        self._room.wake()
