"""`StatefulOutgoing`: the outgoing buffer with stateful reconnect, used over several transports one after another."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from ..errors import ConnectionClosedError, SignalRError
from .outgoing import Outgoing, Sender

if TYPE_CHECKING:
    from collections.abc import Callable

    from .._core.logs import Log
    from .._core.replay import Replay


class StatefulOutgoing(Outgoing):
    """An outgoing buffer that keeps messages until the server acknowledges them, and repeats them on a new transport.

    Args:
        transport: the first transport.
        limit: `put` waits while this number of bytes or more is not yet written to the transport.
        replay: numbers the messages, and keeps each message until the server acknowledges it. `put` waits while
            `replay` is full.
        writing: called each time bytes are written to a transport.
        failed: called with the error when writing to a transport has failed.
        log: the log of the connection.

    Attributes:
        suspended: whether the old transport is lost and there is no new transport yet.
    """

    def __init__(
        self,
        transport: Sender,
        limit: int,
        *,
        replay: Replay,
        writing: Callable[[], None],
        failed: Callable[[SignalRError], None],
        log: Log | None = None,
    ) -> None:
        super().__init__(transport, limit, writing=writing, failed=failed, log=log)
        self._replay = replay
        self.suspended = False

    @property
    def full(self) -> bool:
        """Whether `put` would wait or raise.

        The buffer is full, too many messages are unacknowledged, other callers wait, or the connection has ended.
        """
        return self._replay.full or super().full

    @property
    def _room(self) -> int:
        return min(super()._room, self._replay.room)

    def put_now(self, data: bytes, stream_id: str | None = None) -> None:
        """Add a message, even if the buffer is full. Without a transport, the message waits for the next transport."""
        if self._over:
            return
        self._replay.keep(data, stream_id)
        if self.suspended:
            self._queued += 1
        else:
            super().put_now(data)

    def put_unnumbered(self, data: bytes) -> None:
        """Add a ping, an Ack or a Close message. Without a transport, such a message is dropped."""
        if data and not self.suspended:
            super().put_now(data)

    def admit(self) -> None:
        """Wake waiting callers of `put`, after an Ack from the server made room."""
        if self._waiters:
            self._admit()

    def suspend(self) -> None:
        """Stop writing, because the transport is lost. The caller must then call `close`, and later `resume`."""
        self.suspended = True
        self._messages.clear()
        self._bytes = 0
        self.admit()

    def resume(self, transport: Sender, first: list[bytes]) -> None:
        """Write to a new transport, after the old transport was lost.

        Args:
            transport: the new transport, already open.
            first: the messages to send first: a Sequence message, then all messages that the server has not
                acknowledged.
        """
        self._use(transport)
        self.suspended = False
        self._messages = first
        self._bytes = sum(map(len, first))
        self._queued += 1
        self._done = self._queued - len(first)
        self._start_writer()

    async def flush(self) -> None:
        """Wait until all messages added so far were handed to the operating system, on this or a later transport."""
        while True:
            try:
                await super().flush()
            except ConnectionClosedError:
                if self.is_ending:
                    raise
                # The transport is lost. Wait until the next transport has sent a Sequence message and has repeated all
                # messages that the server has not acknowledged.
                resumed: asyncio.Future[None] = asyncio.get_running_loop().create_future()
                self._flushers.append((self._queued + 1, resumed))
                await resumed
            else:
                return

    def end(self, error: Exception) -> int:
        """See `Outgoing.end`. If there is no transport now, return the number of messages without an Ack."""
        kept = 0 if self._over else self._replay.kept
        unsent = super().end(error)
        return kept if self.suspended else unsent
