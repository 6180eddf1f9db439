"""`Outgoing`: the buffer of messages that wait to be sent, and the task that writes them to the transport."""

from __future__ import annotations

import asyncio
import logging
from typing import TYPE_CHECKING, Protocol

from .._core.redaction import redact_error
from .._guard.foreign import cut_off, ends_program
from .._guard.futures import fail, resolve
from .._guard.tasks import spawn
from ..errors import ConnectionClosedError, SignalRError

if TYPE_CHECKING:
    from collections.abc import Callable

    from .._core.logs import Log

_logger = logging.getLogger("signalr_sdk.transport")
# The cancelled writer task gets this number of seconds to end. If the HTTP client in the task ignores its cancellation
# for longer, the task is left running.
_PATIENCE = 0.5


class Sender(Protocol):
    """The methods of an open transport that `Outgoing` uses for sending."""

    async def send(self, data: bytes, /) -> None:
        """See `ActiveTransport.send`."""

    def send_now(self, data: bytes, /) -> bool:
        """Send the data if this is possible without waiting; return whether the data was sent."""

    async def flush(self) -> None:
        """See `ActiveTransport.flush`."""


class Outgoing:
    """Keeps encoded messages in order until the transport takes them.

    A writer task runs while messages are in the buffer. The writer joins all messages that are in the buffer, and sends
    the joined messages in one write. If `eager` is set, one message may be sent without the writer.

    Args:
        transport: takes the bytes.
        limit: `put` waits while this number of bytes or more is not yet written to the transport.
        writing: called each time bytes are written to the transport.
        failed: called once, with the error, when writing to the transport has failed.
        log: the log of the connection.

    Attributes:
        eager: whether the next message is offered to the transport at once, without the writer. Set to true when a
            received payload held only one message: a program that makes one call after another is then faster
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
        self.eager: bool = False
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
        # The callers of `put` and `room` that wait for room in the buffer, oldest first. The keys are the futures that
        # wake the callers, the values are the numbers of bytes that the callers will add.
        self._waiters: dict[asyncio.Future[None], int] = {}
        self._flushers: list[tuple[int, asyncio.Future[None]]] = []
        self._error: Exception | None = None
        self._over = False

    def _use(self, transport: Sender) -> None:
        self._transport = transport
        self._try_to_send = transport.send_now

    @property
    def full(self) -> bool:
        """Whether `put` would wait or raise: the buffer is full, other callers wait, or the connection has ended."""
        return self._bytes >= self._limit or bool(self._waiters) or self._error is not None

    @property
    def _room(self) -> int:
        return self._limit - self._bytes

    @property
    def is_ending(self) -> bool:
        """Whether the connection is ending: `refuse` was called, and `put` adds no more messages."""
        return self._error is not None

    @property
    def unsent(self) -> int:
        """The number of messages in the buffer, including the messages that are being written."""
        return self._queued - self._done

    def put_now(self, data: bytes, stream_id: str | None = None) -> None:
        """Add a message, even if the buffer is full. After the connection has ended, `put_now` does nothing.

        Args:
            data: the message.
            stream_id: the id of the upload's stream if the message is an item of an upload; else `None`. Only
                `StatefulOutgoing` uses the id.
        """
        if self._over:
            return
        # Do not bypass the writer task while callers of `put` wait for room: only the writer task wakes these callers.
        if self.eager and self._writer is None and not self._waiters and self._send_now(data):
            return
        # Call `len` before any change: if a user's hub protocol returned None instead of bytes, `len` raises, and
        # `_bytes` and `_queued` stay correct.
        self._bytes += len(data)
        self._queued += 1
        self._messages.append(data)
        if self._writer is None:
            self._start_writer()

    def put_unnumbered(self, data: bytes) -> None:
        """Add a ping, an Ack or a Close message: stateful reconnect does not number or repeat these messages."""
        self.put_now(data)

    def _send_now(self, data: bytes) -> bool:
        # Let only one message bypass the writer task. The writer task joins the messages that follow into one write,
        # which is faster than one write for each message.
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
        """Wait until the buffer has room, and add a message. If `put` is cancelled, the message was not added.

        Raises:
            ConnectionClosedError: the connection ended before or during this call.
        """
        if self.full:
            await self.room(len(data))
        self.put_now(data, stream_id)

    async def room(self, size: int = 0) -> None:
        """Wait until the buffer has room for a message.

        Args:
            size: the number of bytes that the caller will add. Room for these bytes is not given to later callers.

        Raises:
            ConnectionClosedError: the connection ended before or during this call.
        """
        if self._error is not None:
            raise _not_sent(self._error)
        if not self.full:
            return
        waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiters[waiter] = size
        try:
            await waiter
        except BaseException:
            del self._waiters[waiter]
            # This caller was cancelled: wake the next caller, which may use the room that was kept for this caller.
            self._admit()
            raise
        del self._waiters[waiter]
        if self._error is not None:
            raise _not_sent(self._error)

    async def flush(self) -> None:
        """Wait until all messages added so far were handed to the operating system.

        Raises:
            ConnectionClosedError: the connection ended before the messages were handed over.
        """
        if self._over and self._error is not None:
            raise _not_sent(self._error)
        if self.unsent:
            flushed: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._flushers.append((self._queued, flushed))
            await flushed
        await self._transport.flush()

    def refuse(self, error: Exception) -> None:
        """Make every call of `put` raise, also calls that wait for room. Messages in the buffer are still sent."""
        if self._error is not None:
            return
        self._error = error
        for waiter in self._waiters:
            fail(waiter, _not_sent(error))

    def end(self, error: Exception) -> int:
        """Discard the messages in the buffer. Every waiting call of `put` and `flush` raises a ConnectionClosedError.

        Returns:
            The number of messages that were not sent.
        """
        if self._over:
            return 0
        self._over = True
        self.refuse(error)
        self._messages.clear()
        for _goal, flushed in self._flushers:
            fail(flushed, _not_sent(error))
        self._flushers.clear()
        return self.unsent

    async def close(self) -> None:
        """Cancel the writer task. Close the transport before this call, because `close` may cut a running POST."""
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
                self._failed(raised if isinstance(raised, SignalRError) else loss("sending failed", raised))
            if ends_program(raised) or isinstance(raised, asyncio.CancelledError):
                raise
        else:
            self._writer = None

    def _writer_ended(self, writer: asyncio.Task[None]) -> None:
        if self._writer is writer:
            # The program has cancelled the writer task before its first step, so that the task ran no code. Report this
            # as a failed write: otherwise the connection would stay open but never send a message.
            self._writer = None
            self._failed(loss("sending failed", asyncio.CancelledError()))
        elif not writer.cancelled():
            writer.exception()  # retrieve KeyboardInterrupt or SystemExit, or asyncio logs it

    def _log_sending(self, chunk: bytes) -> None:
        self._log.debug("sending %d bytes: %.100r", len(chunk), chunk[:100])

    def _release(self) -> None:
        """After a write: wake callers of `put` if there is room, and callers of `flush` whose messages were written."""
        self._admit()
        waiting = []
        for goal, flushed in self._flushers:
            if goal > self._done:
                waiting.append((goal, flushed))
            else:
                resolve(flushed, None)
        self._flushers = waiting

    def _admit(self) -> None:
        """Wake waiting callers of `put`, oldest first, while there is room.

        A woken caller stays in `_waiters` until it adds its own message. Until then, later callers of `put` must wait,
        so that their messages cannot overtake this message.
        """
        room = self._room
        for waiter, size in self._waiters.items():
            if room <= 0:
                break
            room -= size
            resolve(waiter, None)


def _not_sent(error: Exception) -> ConnectionClosedError:
    return loss("not sent, since the connection has ended", error)


def loss(what: str, cause: BaseException) -> ConnectionClosedError:
    """Return the error for a lost connection, after which a reconnect is allowed.

    Args:
        what: what has failed, for the error text, for example "sending failed".
        cause: the exception that says why. Its text, without secrets, follows `what`.
    """
    lost = ConnectionClosedError(f"{what}: {redact_error(cause)}", allow_reconnect=True)
    lost.__cause__ = cause
    return lost
