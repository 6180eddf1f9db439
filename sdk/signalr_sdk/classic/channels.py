"""How calls and data go to a classic server: over the WebSocket, or each as a POST beside the transport."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Protocol

from .._core.redaction import redact_error
from .._guard.foreign import cut_off, error_of
from .._guard.tasks import retrieve, spawn
from .._sending.outgoing import Outgoing
from .._transports.transport_errors import lost
from ..errors import ConnectionClosedError, ConnectionFailedError, SignalRError

if TYPE_CHECKING:
    from collections.abc import Callable

    from .._core.logs import ConnectionLogs
    from .commands import Commands
    from .transports import ClassicWebSocket

# A cancelled POST gets this number of seconds to end.
_PATIENCE = 0.5

# The messages that a channel takes end with `MESSAGE_END`.


class Answered(Protocol):
    """Gets the answer to a POST, if the answer does not come over the transport."""

    def posted(self, body: bytes, /) -> None:
        """Take the body of the response."""

    def fail(self, error: Exception, /) -> None:
        """Take the error of the POST."""


class Channel(Protocol):
    """Sends the calls of one connection, over all its transports."""

    async def send(self, record: bytes, call: Answered, /) -> None:
        """Send a message whose sender does not wait for an answer.

        Returns when the message is in the outgoing buffer (WebSockets), or when the server has answered.

        Raises:
            ConnectionClosedError: the message was not sent, or it is not known whether it was.
        """

    async def post(self, record: bytes, call: Answered, /) -> None:
        """Send a call. Returns when the call is in the outgoing buffer (WebSockets), or at once."""

    def forget(self, call: Answered, /) -> None:
        """Give up a call, of which nobody wants to know the answer."""

    async def flush(self) -> None:
        """Wait until all messages sent so far were handed to the operating system."""

    def refuse(self, error: Exception, /) -> None:
        """Take no more messages, because the connection is ending."""

    def end(self, error: Exception, /) -> int:
        """Discard all messages that were not sent, and return their number."""

    async def close(self) -> None:
        """Wait until no task of the channel is running. Call `end` before."""


class SocketChannel:
    """See `Channel`. Sends over the WebSocket; the answers come over the WebSocket too.

    Args:
        transport: the open WebSocket.
        limit: `send` waits while this number of bytes or more is not yet written.
        writing: called each time bytes are written.
        failed: called with the error when writing has failed.
        logs: the loggers of the connection.
    """

    def __init__(
        self,
        transport: ClassicWebSocket,
        limit: int,
        *,
        writing: Callable[[], None],
        failed: Callable[[SignalRError], None],
        logs: ConnectionLogs,
    ) -> None:
        self.outgoing: Outgoing = Outgoing(transport, limit, writing=writing, failed=failed, log=logs.transport)

    async def send(self, record: bytes, _call: Answered, /) -> None:
        """See `Channel.send`."""
        await self.outgoing.put(record)

    async def post(self, record: bytes, _call: Answered, /) -> None:
        """See `Channel.post`."""
        await self.outgoing.put(record)

    def forget(self, _call: Answered, /) -> None:
        """See `Channel.forget`."""

    async def flush(self) -> None:
        """See `Channel.flush`."""
        await self.outgoing.flush()

    def refuse(self, error: Exception, /) -> None:
        """See `Channel.refuse`."""
        self.outgoing.refuse(error)

    def end(self, error: Exception, /) -> int:
        """See `Channel.end`."""
        return self.outgoing.end(error)

    async def close(self) -> None:
        """See `Channel.close`."""
        await self.outgoing.close()


class PostChannel:
    """See `Channel`. Each message is a POST, which may outlive the transport: that only brings messages.

    A `send` waits for the answer to the `send` before it. A call waits for the answers to the earlier `send`s, and then
    overlaps other calls.

    Args:
        commands: sends the POSTs.
        max_bytes: the largest answer.
        writing: called before each POST.
        heard: called after each answer.
    """

    def __init__(
        self, commands: Commands, max_bytes: int, *, writing: Callable[[], None], heard: Callable[[], None]
    ) -> None:
        self._commands = commands
        self._max_bytes = max_bytes
        self._writing = writing
        self._heard = heard
        self._order = asyncio.Lock()
        self._posts: set[asyncio.Task[None]] = set()
        self._calls: dict[Answered, asyncio.Task[None]] = {}
        # The tasks of `send`, and those of them that have not begun their POST.
        self._sends: set[asyncio.Task[None]] = set()
        self._unsent: set[asyncio.Task[None]] = set()
        self._error: Exception | None = None
        self._over = False

    async def send(self, record: bytes, call: Answered, /) -> None:
        """See `Channel.send`."""
        if self._error is not None:
            raise _not_sent(self._error)
        post = spawn(self._send_in_order(record, call), "send", self._sends)
        post.add_done_callback(retrieve)
        self._unsent.add(post)
        post.add_done_callback(self._unsent.discard)
        try:
            await asyncio.wait({post})
        except asyncio.CancelledError:
            post.cancel()
            raise
        if post.cancelled():
            raise _not_sent(self._error)
        post.result()

    async def _send_in_order(self, record: bytes, call: Answered) -> None:
        async with self._order:
            task = asyncio.current_task()
            assert task is not None
            self._unsent.discard(task)
            try:
                body = await self._post(record)
            except asyncio.CancelledError:
                if not self._over:
                    raise
                raise lost(f"it is not known what has arrived: {self._error}") from self._error
        call.posted(body)

    async def post(self, record: bytes, call: Answered, /) -> None:
        """See `Channel.post`."""
        if self._error is not None:
            raise _not_sent(self._error)
        self._calls[call] = spawn(self._post_call(record, call), "call", self._posts)

    async def _post_call(self, record: bytes, call: Answered) -> None:
        try:
            async with self._order:
                pass
            call.posted(await self._post(record))
        except BaseException as raised:  # noqa: BLE001 - users' HTTP clients may raise anything
            call.fail(error_of(raised, "the HTTP client"))
        finally:
            self._calls.pop(call, None)

    async def _post(self, record: bytes) -> bytes:
        self._writing()
        try:
            response = await self._commands.send(record[:-1], self._max_bytes)
        except ConnectionFailedError as error:
            raise self._safe(lost(f"this was not sent: {error}")) from error
        except OSError as error:
            text = f"sending failed, and it is not known what has arrived: {redact_error(error)}"
            raise self._safe(lost(text)) from error
        self._heard()
        if response.status != 200:
            raise lost(f"the server refused what was sent (status {response.status})")
        return response.body

    def _safe(self, error: ConnectionClosedError) -> ConnectionClosedError:
        self._commands.sender.secrets.hide_in(error)
        return error

    def forget(self, call: Answered, /) -> None:
        """See `Channel.forget`. Cut the POST of the call."""
        if (post := self._calls.pop(call, None)) is not None:
            post.cancel()

    async def flush(self) -> None:
        """See `Channel.flush`. Wait until all `send`s so far are answered."""
        if self._sends and not self._over:
            await asyncio.wait(set(self._sends))
        if self._over:
            raise _not_sent(self._error)

    def refuse(self, error: Exception, /) -> None:
        """See `Channel.refuse`."""
        self._error = self._error or error

    def end(self, error: Exception, /) -> int:
        """See `Channel.end`. Cut all POSTs that are running."""
        self.refuse(error)
        unsent = 0 if self._over else len(self._unsent)
        self._over = True
        for post in (*self._posts, *self._sends):
            post.cancel()
        return unsent

    async def close(self) -> None:
        """See `Channel.close`."""
        for post in (*self._posts, *self._sends):
            await cut_off(post, _PATIENCE, whose="the HTTP client", log=self._commands.sender.logs.transport)


def _not_sent(cause: Exception | None) -> ConnectionClosedError:
    error = ConnectionClosedError(f"this was not sent: {'the connection has ended' if cause is None else cause}")
    error.__cause__ = cause
    return error
