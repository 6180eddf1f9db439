"""The outgoing buffer of a connection with stateful reconnect, which outlives its transports."""

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
    """An outgoing buffer over one transport after another: messages without an Ack of the server are sent again.

    Args:
        transport: the first transport.
        limit: as for `Outgoing`.
        replay: numbers the messages and keeps them until the server acknowledges them. `put` waits while it is full.
        writing: as for `Outgoing`.
        failed: as for `Outgoing`.
        log: as for `Outgoing`.

    Attributes:
        suspended: whether there is no transport at the moment.
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
        """Whether `put` would wait or raise."""
        return self._replay.full or super().full

    @property
    def _room(self) -> int:
        return min(super()._room, self._replay.room)

    def put_now(self, data: bytes, stream_id: str | None = None) -> None:
        """Add a message, even to a full buffer. While there is no transport, the message waits for the next one."""
        if self._over:
            return
        self._replay.keep(data, stream_id)
        if self.suspended:
            self._queued += 1
        else:
            super().put_now(data)

    def put_unnumbered(self, data: bytes) -> None:
        """Add a ping, an Ack or a Close message; while there is no transport it is dropped."""
        if data and not self.suspended:
            super().put_now(data)

    def admit(self) -> None:
        """Wake callers of `put` for whom an Ack made room."""
        if self._waiters:
            self._admit()

    def suspend(self) -> None:
        """Write nothing until `resume`, since the transport is lost. End the writer by `close` before `resume`."""
        self.suspended = True
        self._messages.clear()
        self._bytes = 0
        self.admit()

    def resume(self, transport: Sender, first: list[bytes]) -> None:
        """Write to another transport from now on.

        Args:
            transport: the transport, open.
            first: the messages that must leave first: a Sequence, then all that the server has not acknowledged.
        """
        self._use(transport)
        self.suspended = False
        self._messages = first
        self._bytes = sum(map(len, first))
        self._queued += 1
        self._done = self._queued - len(first)
        self._start_writer()

    async def flush(self) -> None:
        """Return when all messages that were added so far are with the operating system, over any transport."""
        while True:
            try:
                await super().flush()
            except ConnectionClosedError:
                if self.is_ending:
                    raise
                # The transport is lost. Its messages leave again behind the Sequence of the next transport.
                resumed: asyncio.Future[None] = asyncio.get_running_loop().create_future()
                self._flushers.append((self._queued + 1, resumed))
                await resumed
            else:
                return

    def end(self, error: SignalRError) -> int:
        """See `Outgoing.end`. Messages that the server has not acknowledged are lost while there is no transport."""
        kept = 0 if self._over else self._replay.kept
        unsent = super().end(error)
        return kept if self.suspended else unsent
