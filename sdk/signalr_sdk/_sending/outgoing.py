"""The outgoing buffer of one connection, and the writer that joins the messages in it."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Protocol

from .._core.redaction import redact_error
from .._guard.foreign import cut_off, ends_program
from .._guard.tasks import spawn
from ..errors import ConnectionClosedError, SignalRError

if TYPE_CHECKING:
    from collections.abc import Callable

    from .._core.logs import Log

_logger = logging.getLogger("signalr_sdk.transport")
# A writer that is cancelled has so many seconds to end. Then the HTTP client's `send` is left behind.
_PATIENCE = 0.5


class Sender(Protocol):
    """The part of an `ActiveTransport` that sends."""

    async def send(self, data: bytes, /) -> None:
        """See `ActiveTransport.send`."""

    def send_now(self, data: bytes, /) -> bool:
        """Send if nothing has to be waited for; return whether it was sent."""

    async def flush(self) -> None:
        """See `ActiveTransport.flush`."""


class Outgoing:
    """Holds encoded messages until the transport takes them, in the order of the calls.

    The writer is a task that lives while messages wait. Messages that gather while the writer waits for its turn of the
    event loop, or for the transport, leave in one transport write. One message may leave earlier: see `eager`.

    Args:
        transport: takes the bytes.
        limit: the number of bytes from which on `put` waits.
        writing: called with each write, before a write that may have to wait.
        failed: called once, with the reason, when the transport takes no more.
        log: of the connection.

    Attributes:
        eager: the next message need not wait for the writer if the transport takes it at once. The link sets this when
            one message was received alone, as between calls that are made one after another
            (tests/bench/test_end_to_end.py, `invoke`).
    """

    def __init__(
        self,
        transport: Sender,
        limit: int,
        *,
        writing: Callable[[], None],
        failed: Callable[[SignalRError], None],
        log: Log | None = None,
    ) -> None:
        self.eager = False
        self._log = _logger if log is None else log
        self._use(transport)
        self._limit = limit
        self._writing = writing
        self._failed = failed
        self._messages: list[bytes] = []
        self._bytes = 0
        self._queued = 0
        self._done = 0
        self._writer: asyncio.Task[None] | None = None
        # Callers of `put` that wait for room, in their order, and the number of bytes that each will add.
        self._waiters: dict[asyncio.Future[None], int] = {}
        self._flushers: list[tuple[int, asyncio.Future[None]]] = []
        self._error: SignalRError | None = None
        self._over = False

    def _use(self, transport: Sender) -> None:
        self._transport = transport
        self._try_to_send = transport.send_now

    @property
    def full(self) -> bool:
        """Whether `put` would wait or raise: the buffer is full, others wait already, or the connection has ended."""
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
        """The number of messages that were added and have not left."""
        return self._queued - self._done

    def put_now(self, data: bytes, stream_id: str | None = None) -> None:
        """Add a message, even to a full buffer. After the end of the connection nothing happens.

        Args:
            data: the message.
            stream_id: the stream of an upload item, which stateful reconnect needs to know.
        """
        if self._over:
            return
        # While callers wait for room the writer must run: it lets them in.
        if self.eager and self._writer is None and not self._waiters and self._send_now(data):
            return
        # A hub protocol of the user's may return nonsense, which has no length: note nothing of that.
        self._bytes += len(data)
        self._queued += 1
        self._messages.append(data)
        if self._writer is None:
            self._start_writer()

    def put_unnumbered(self, data: bytes) -> None:
        """Add a ping, an Ack or a Close message, as `put_now`: messages that mean nothing on another transport."""
        self.put_now(data)

    def _send_now(self, data: bytes) -> bool:
        # Later messages of the same turn are joined by the writer.
        self.eager = False
        if not self._try_to_send(data):
            return False
        if _logger.isEnabledFor(logging.DEBUG):
            self._log_sending(data)
        self._writing()
        self._queued += 1
        self._done += 1
        return True

    def _start_writer(self) -> None:
        self._writer = spawn(self._write(), "writer")
        self._writer.add_done_callback(self._writer_ended)

    async def put(self, data: bytes, stream_id: str | None = None) -> None:
        """Add a message, as `put_now`, but wait for room first. A cancelled `put` has added nothing.

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
            # Give the room that this waiter was granted to the next one.
            self._admit()
            raise
        del self._waiters[waiter]
        if self._error is not None:
            raise self._ended(self._error)

    async def flush(self) -> None:
        """Return when all messages that were added so far are with the operating system.

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
        """Let `put` raise from now on, also where it waits for room. Messages that were added still leave."""
        if self._error is not None:
            return
        self._error = error
        for waiter in self._waiters:
            if not waiter.done():
                waiter.set_exception(self._ended(error))

    def end(self, error: SignalRError) -> int:
        """Discard the messages that wait, and raise the error wherever a caller waits.

        Returns:
            The number of messages that are lost.
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
        """End the writer. Close the transport first: a POST on a live connection must not be cut."""
        if self._writer is not None:
            writer, self._writer = self._writer, None
            await cut_off(writer, _PATIENCE, whose="the HTTP client", log=self._log)

    async def _write(self) -> None:
        try:
            while self._messages:
                chunk, count = b"".join(self._messages), len(self._messages)
                self._messages.clear()
                if _logger.isEnabledFor(logging.DEBUG):
                    self._log_sending(chunk)
                self._writing()
                await self._transport.send(chunk)
                self._done += count
                self._bytes -= len(chunk)
                if self._waiters or self._flushers:
                    self._release()
        except BaseException as raised:
            if self._writer is asyncio.current_task():
                self._writer = None
                self._failed(raised if isinstance(raised, SignalRError) else _loss(raised))
            if ends_program(raised) or isinstance(raised, asyncio.CancelledError):
                raise
        else:
            self._writer = None

    def _writer_ended(self, writer: asyncio.Task[None]) -> None:
        if self._writer is writer:
            # The program has cancelled the writer before its first step, so none of its code has run.
            self._writer = None
            self._failed(_loss(asyncio.CancelledError()))
        elif not writer.cancelled():
            writer.exception()  # KeyboardInterrupt and SystemExit have left the event loop already

    def _log_sending(self, chunk: bytes) -> None:
        self._log.debug("sending %d bytes: %.100r", len(chunk), chunk[:100])

    def _release(self) -> None:
        """Wake callers of `put` for whom there is room, and callers of `flush` whose messages have left."""
        self._admit()
        waiting = []
        for goal, flushed in self._flushers:
            if goal > self._done:
                waiting.append((goal, flushed))
            elif not flushed.done():
                flushed.set_result(None)
        self._flushers = waiting

    def _admit(self) -> None:
        """Wake callers of `put` for whom there is room, first come first served.

        A woken caller adds its message itself and counts as waiting until then. So no other message overtakes it, and
        a caller that is cancelled meanwhile has sent nothing.
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
        ended = ConnectionClosedError(
            f"not sent, since the connection has ended: {redact_error(error)}", allow_reconnect=True
        )
        ended.__cause__ = error
        return ended


def _loss(raised: BaseException) -> ConnectionClosedError:
    """Return the error for a writer that users' code has ended: a WebSocket or an HTTP client, or a cancellation."""
    lost = ConnectionClosedError(f"sending failed: {redact_error(raised)}", allow_reconnect=True)
    lost.__cause__ = raised
    return lost
