"""What `send` hands to the loop's thread: encoded where it is called, carried over many at once."""

from __future__ import annotations

import asyncio
import logging
import threading
from typing import TYPE_CHECKING, Protocol

from ..errors import SignalRError
from .portal import SLICE

if TYPE_CHECKING:
    from .portal import Lease

_logger = logging.getLogger("signalr_sdk.hub")

# While messages come thick and fast the loop's thread looks for them by itself, after so many seconds: a switch between
# the threads for each would cost more than all else.
_PATIENCE = 0.001


class Sink(Protocol):
    """The part of a hub connection that is needed here."""

    @property
    def up(self) -> bool:
        """Whether it takes messages now; on any thread."""

    def post(self, messages: list[bytes]) -> bool:
        """Put messages into the outgoing buffer; return whether it is full now."""

    async def posted(self) -> None:
        """Return when what was posted is with the operating system.

        Raises:
            SignalRError: the connection has ended first.
        """


class Outbox:
    """The way from any thread into the outgoing buffer, in the order of the calls.

    Args:
        sink: takes the messages.
        lease: the connection's.
        limit: bytes that may be on the way, or in a full buffer, before `put` waits.
    """

    def __init__(self, sink: Sink, lease: Lease, limit: int) -> None:
        self._sink = sink
        self._lease = lease
        self._limit = limit
        self._changed = threading.Condition()
        self._messages: list[bytes] = []
        self._held = 0
        # The loop that will look, soon or at once.
        self._expecting: asyncio.AbstractEventLoop | None = None
        self._hurried = False
        self._timer: asyncio.TimerHandle | None = None
        self._emptying: asyncio.Task[None] | None = None

    def put(self, data: bytes) -> bool:
        """Add a message; wait while there is no room. Return whether it was taken: if not, the connection is down.

        Raises:
            StateError: this is the loop's thread, or a child process that has inherited the connection.
        """
        self._lease.check()
        with self._changed:
            while self._held >= self._limit and self._sink.up:
                self._changed.wait(SLICE)
            if not self._sink.up or not self._call_the_loop(len(data)):
                return False
            self._messages.append(data)
            self._held += len(data)
        return True

    def _call_the_loop(self, size: int) -> bool:
        """Have the loop's thread look; return whether it will."""
        loop = self._lease.loop
        if loop is None:
            return False
        if self._expecting is loop and (self._hurried or self._held + size < self._limit // 2):
            return True
        try:
            loop.call_soon_threadsafe(self._drain)
        except RuntimeError:  # closed just now
            return False
        self._expecting, self._hurried = loop, True
        return True

    # On the loop's thread

    def hand_on(self) -> None:
        """Hand on what has come: what is called next comes after it."""
        if self._messages:
            self._drain()

    def _drain(self) -> None:
        loop = asyncio.get_running_loop()
        with self._changed:
            messages, self._messages = self._messages, []
            self._hurried = False
            self._expecting = loop if messages else None
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if not messages:
            return
        self._timer = loop.call_later(_PATIENCE, self._drain)
        if not self._sink.post(messages):
            self._make_room()
        elif self._emptying is None:
            self._emptying = loop.create_task(self._empty(), name="signalr_sdk outbox")

    async def _empty(self) -> None:
        try:
            await self._sink.posted()
        except SignalRError as ended:
            # Those who wait for room learn it when they look again.
            _logger.debug("what was posted has not left: %s", ended)
        finally:
            self._emptying = None
            self._make_room()

    def _make_room(self) -> None:
        with self._changed:
            self._held = sum(map(len, self._messages))
            self._changed.notify_all()
