"""The outgoing side of one connection: a bounded buffer, and one writer that joins what has gathered."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Protocol

from ..errors import ConnectionClosedError, SignalRError

if TYPE_CHECKING:
    from collections.abc import Callable

    from .._core.logs import Log
    from .._core.replay import Replay

_logger = logging.getLogger("signalr_sdk.transport")


class Sender(Protocol):
    """The part of a transport that is needed here."""

    async def send(self, data: bytes, /) -> None:
        """Send; wait while no more is taken."""

    async def flush(self) -> None:
        """Return when all is with the operating system."""


class Outgoing:
    """Messages on their way out, in the order of the calls.

    The writer is a task that lives while there is something to write. What gathers while it waits for its turn of the
    event loop, or for the transport, leaves in one transport write. One message may leave before it: see `eager`.

    Args:
        transport: where to.
        limit: bytes that may wait before `put` waits.
        written: called after each write.
        failed: called once when the transport takes no more.
        log: of the connection.

    Attributes:
        suspended: whether there is no transport at the moment; only with stateful reconnect.
        eager: send the next message at once if the transport takes it, and spare it the writer's turn of the event
            loop; set when a message was received alone, as between calls that are made one after another.
    """

    def __init__(
        self,
        transport: Sender,
        limit: int,
        *,
        written: Callable[[], None],
        failed: Callable[[SignalRError], None],
        log: Log | None = None,
    ) -> None:
        self.suspended = False
        self.eager = False
        self._log = _logger if log is None else log
        self._use(transport)
        self._limit = limit
        self._written = written
        self._failed = failed
        self._messages: list[bytes] = []
        self._bytes = 0
        self._queued = 0
        self._done = 0
        self._writer: asyncio.Task[None] | None = None
        # Those who wait for room, in their order, and the bytes that each has.
        self._waiters: dict[asyncio.Future[None], int] = {}
        self._flushers: list[tuple[int, asyncio.Future[None]]] = []
        self._error: SignalRError | None = None
        self._over = False

    def _use(self, transport: Sender) -> None:
        self._transport = transport
        # Only WebSockets have it, and not those of every client: sends if that needs no waiting, and says whether.
        self._try_to_send: Callable[[bytes], bool] | None = getattr(transport, "send_now", None)

    @property
    def full(self) -> bool:
        """Whether `put` would wait or raise: the buffer is full, others wait already, or the end has come."""
        return self._bytes >= self._limit or bool(self._waiters) or self._error is not None

    @property
    def _room(self) -> int:
        return self._limit - self._bytes

    @property
    def is_ending(self) -> bool:
        """Whether `refuse` was called."""
        return self._error is not None

    @property
    def unsent(self) -> int:
        """The number of messages that were taken and have not left."""
        return self._queued - self._done

    def put_now(self, data: bytes, stream_id: str | None = None) -> None:
        """Add a message, full or not. Nothing happens when the end has come.

        Args:
            data: the message.
            stream_id: for an item: of which stream. It matters with stateful reconnect only.
        """
        if self._over:
            return
        self._queued += 1
        # Not while others wait for room: it is the writer that lets them in.
        if self.eager and self._writer is None and not self._waiters and self._send_now(data):
            return
        self._messages.append(data)
        self._bytes += len(data)
        if self._writer is None:
            self._start_writer()

    def put_unnumbered(self, data: bytes) -> None:
        """Add a ping or the like, as `put_now`; it is of no use on another transport than this one."""
        self.put_now(data)

    def _send_now(self, data: bytes) -> bool:
        # Only one: what else is sent in this turn is joined.
        self.eager = False
        if self._try_to_send is None or not self._try_to_send(data):
            return False
        if _logger.isEnabledFor(logging.DEBUG):
            self._log_sending(data)
        self._written()
        self._done += 1
        return True

    def _start_writer(self) -> None:
        self._writer = asyncio.create_task(self._write(), name="signalr_sdk writer")

    async def put(self, data: bytes, stream_id: str | None = None) -> None:
        """Add a message, as `put_now`; wait for room first. Cancelled, it has added nothing.

        Raises:
            ConnectionClosedError: the connection ended meanwhile.
        """
        if self._error is not None:
            raise self._ended(self._error)
        if self.full:
            await self._wait_for_room(len(data))
        self.put_now(data, stream_id)

    async def room(self) -> None:
        """Return when `put` would not wait.

        Raises:
            ConnectionClosedError: the connection ended meanwhile.
        """
        if self._error is not None:
            raise self._ended(self._error)
        if self.full:
            await self._wait_for_room(0)

    async def _wait_for_room(self, size: int) -> None:
        waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiters[waiter] = size
        try:
            await waiter
        except BaseException:
            del self._waiters[waiter]
            # Its place is for those behind it.
            self._admit()
            raise
        del self._waiters[waiter]
        if self._error is not None:
            raise self._ended(self._error)

    async def flush(self) -> None:
        """Return when all that was taken so far is with the operating system.

        Raises:
            ConnectionClosedError: the connection ended first.
        """
        if self._over and self._error is not None:
            raise self._ended(self._error)
        if self.unsent:
            flushed: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._flushers.append((self._queued, flushed))
            await flushed
        await self._transport.flush()

    def refuse(self, error: SignalRError) -> None:
        """Have `put` raise from now on, also for those who wait for room. What was taken still leaves."""
        if self._error is not None:
            return
        self._error = error
        for waiter in self._waiters:
            if not waiter.done():
                waiter.set_exception(self._ended(error))

    def end(self, error: SignalRError) -> int:
        """Take no more, and tell all that wait.

        Returns:
            How many messages are lost by it.
        """
        if self._over:
            return 0
        self._over = True
        self.refuse(error)
        self._messages.clear()
        for _goal, flushed in self._flushers:
            if not flushed.done():
                flushed.set_exception(self._ended(error))
        self._flushers.clear()
        return self.unsent

    async def close(self) -> None:
        """End the writer. Only when the transport is closed: a POST on a live connection must not be cut."""
        if self._writer is not None:
            self._writer.cancel()
            await asyncio.wait({self._writer})

    async def _write(self) -> None:
        try:
            while self._messages:
                chunk, count = b"".join(self._messages), len(self._messages)
                self._messages.clear()
                if _logger.isEnabledFor(logging.DEBUG):
                    self._log_sending(chunk)
                await self._transport.send(chunk)
                self._written()
                self._done += count
                self._bytes -= len(chunk)
                if self._waiters or self._flushers:
                    self._release()
        except SignalRError as error:
            self._failed(error)
        except OSError as error:
            # Our own transports do not, but those of users may let such through.
            lost = ConnectionClosedError(f"sending failed: {error}", allow_reconnect=True)
            lost.__cause__ = error
            self._failed(lost)
        finally:
            self._writer = None

    def _log_sending(self, chunk: bytes) -> None:
        self._log.debug("sending %d bytes: %.100r", len(chunk), chunk[:100])

    def _release(self) -> None:
        """Wake those for whom there is room, and those whose messages are out."""
        self._admit()
        waiting = []
        for goal, flushed in self._flushers:
            if goal > self._done:
                waiting.append((goal, flushed))
            elif not flushed.done():
                flushed.set_result(None)
        self._flushers = waiting

    def _admit(self) -> None:
        """Wake those for whom there is room, first come first served.

        They add their messages themselves, and are counted as waiting until then: so nobody overtakes them, and one
        that is cancelled on the way has sent nothing.
        """
        room = self._room
        for waiter, size in self._waiters.items():
            if room <= 0:
                break
            room -= size
            if not waiter.done():
                waiter.set_result(None)

    @staticmethod
    def _ended(error: SignalRError) -> ConnectionClosedError:
        ended = ConnectionClosedError(f"not sent, since the connection has ended: {error}", allow_reconnect=True)
        ended.__cause__ = error
        return ended


class StatefulOutgoing(Outgoing):
    """The same over one transport after another: what the server has not acknowledged is sent again.

    Args:
        transport: the first one.
        replay: numbers and keeps the messages. While it is full `put` waits, and nothing else does.
        limit: as for `Outgoing`, and so are the others.
    """

    def __init__(
        self,
        transport: Sender,
        replay: Replay,
        limit: int,
        *,
        written: Callable[[], None],
        failed: Callable[[SignalRError], None],
        log: Log | None = None,
    ) -> None:
        super().__init__(transport, limit, written=written, failed=failed, log=log)
        self._replay = replay

    @property
    def full(self) -> bool:
        """Whether `put` would wait or raise."""
        return self._replay.full or super().full

    @property
    def _room(self) -> int:
        return min(super()._room, self._replay.room)

    def put_now(self, data: bytes, stream_id: str | None = None) -> None:
        """Add a message, full or not. Without a transport it is sent when there is one again."""
        if self._over:
            return
        self._replay.keep(data, stream_id)
        if self.suspended:
            self._queued += 1
        else:
            super().put_now(data)

    def put_unnumbered(self, data: bytes) -> None:
        """Add a ping or the like; without a transport it is dropped."""
        if data and not self.suspended:
            super().put_now(data)

    def admit(self) -> None:
        """Wake those for whom there is room now; called when something was acknowledged."""
        if self._waiters:
            self._admit()

    def suspend(self) -> None:
        """The transport is lost: write nothing until `resume`. End the writer (`close`) before the next transport."""
        self.suspended = True
        self._messages.clear()
        self._bytes = 0
        self.admit()

    def resume(self, transport: Sender, first: list[bytes]) -> None:
        """Write to this transport from now on.

        Args:
            transport: open.
            first: what goes out before anything else: a Sequence, then all that is not acknowledged.
        """
        self._use(transport)
        self.suspended = False
        self._messages = first
        self._bytes = sum(map(len, first))
        self._queued += 1
        self._done = self._queued - len(first)
        self._start_writer()

    async def flush(self) -> None:
        """Return when all that was taken so far is with the operating system, over whatever transport."""
        while True:
            try:
                await super().flush()
            except ConnectionClosedError:
                if self.is_ending:
                    raise
                # The transport is lost. What it had goes out again with the Sequence of the next one.
                resumed: asyncio.Future[None] = asyncio.get_running_loop().create_future()
                self._flushers.append((self._queued + 1, resumed))
                await resumed
            else:
                return

    def end(self, error: SignalRError) -> int:
        """Take no more, and tell all that wait."""
        kept = 0 if self._over else self._replay.kept
        unsent = super().end(error)
        return kept if self.suspended else unsent
