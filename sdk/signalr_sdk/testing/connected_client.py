"""One client of a hub as the test server sees the client: handshake, messages, keep-alive and end.

`ConnectedClient` passes the bytes from `ConnectionBuffers` to a `ServerSession`, and knows no transport. It sends the
same error texts as ASP.NET Core.
"""

from __future__ import annotations

import asyncio
import logging
import math
from typing import TYPE_CHECKING, Any

from .._core.replay import Replay
from .._core.session import ServerSession
from ..errors import ConnectionClosedError, RemoteProtocolError, ServerTimeoutError
from ..messages import CancelInvocation, Completion, HubMessage, Invocation, StreamInvocation, StreamItem
from .client_results import ClientResults
from .error_texts import ChannelClosedException, InvalidDataException, OperationCanceledException, exception_text
from .hub_methods import exact_methods
from .running_invocations import RunningInvocations
from .server_handshake import is_binary, shake_hands

if TYPE_CHECKING:
    from .._core.routing import Deliveries
    from .connection_buffers import ConnectionBuffers
    from .hubs import Hub
    from .served_hub import ServedHub

_logger = logging.getLogger("signalr_sdk.testing")


class ConnectedClient:
    """One client of a hub, from the handshake to the end of the connection.

    Args:
        hub: the hub instance that serves the client.
        buffers: the bytes from and to the client.
        served: the hub's class, settings and other clients.
        stateful: whether the client may use stateful reconnect.

    Attributes:
        hub: the hub instance that serves the client.
        results: the calls that the hub has made to the client.
        invocations: the calls that the client has made to the hub.
    """

    def __init__(self, hub: Hub, buffers: ConnectionBuffers, *, served: ServedHub, stateful: bool) -> None:
        self.hub = hub
        self._buffers = buffers
        self._served = served
        settings = self._settings = served.settings
        self._loop = asyncio.get_running_loop()
        needs_pings = not buffers.inherent_keep_alive
        self._session = ServerSession(
            served.protocols,
            self,
            exact=exact_methods(served.hub),
            message_bytes=settings.message_bytes,
            keep_alive=settings.keep_alive if needs_pings else None,
            timeout=settings.client_timeout if needs_pings else None,
            now=self._loop.time(),
            replay=Replay(settings.stateful_buffer) if stateful else None,
        )
        self.results: ClientResults = ClientResults(self._session, self.write)
        self.invocations: RunningInvocations = RunningInvocations(
            hub, self._session, settings=settings, write=self.write, overrun=self._overrun
        )
        self._timer: asyncio.TimerHandle | None = None
        # The time of `_timer`. A timer of uvloop that is due at once does not tell its time.
        self._due = math.inf
        self._error: Exception | None = None
        self._is_stopping = False

    @property
    def binary(self) -> bool:
        """Whether frames to the client are binary (MessagePack). Otherwise they are text (JSON, and handshakes)."""
        return is_binary(self._session)

    @property
    def resumable(self) -> bool:
        """Whether the client can resume the connection over another transport (stateful reconnect)."""
        return self._session.ready and self._session.replay is not None and not self._buffers.closed.done()

    def resume(self) -> None:
        """Continue over a new WebSocket: send again the messages that the client has not acknowledged."""
        self._buffers.attach_transport()
        for data in self._session.resume(self._loop.time()):
            self._buffers.write_now(data)
        self._set_timer()

    async def serve(self) -> None:
        """Serve the client; return when the client has disconnected and all its invocations have ended."""
        try:
            deliveries = await shake_hands(self._session, self._buffers, self._settings)
            if deliveries is not None:
                self._served.connected(self)
                await self._serve(deliveries)
        finally:
            self._buffers.end()
            await self.invocations.finish(at_once=self._is_stopping)

    async def _serve(self, deliveries: Deliveries) -> None:
        error: Exception | None = None
        try:
            await self.hub.on_connected()
            self._set_timer()
            await self._receive(deliveries)
        except Exception as failure:  # noqa: BLE001 - `on_connected` of a user may raise anything
            error = failure
            await self._send_close(failure)
        finally:
            self._served.disconnected(self, error)
            self._end()
        try:
            await self.hub.on_disconnected(error)
        except Exception:
            _logger.exception("on_disconnected failed")

    async def _receive(self, deliveries: Deliveries) -> None:
        session = self._session
        while True:
            for deliver, arguments in deliveries:
                deliver(*arguments)
            if session.replay is not None:
                # The data may hold an Ack, after which fewer messages are kept for a stateful reconnect: wake the hub
                # methods that wait in `write` because too many messages are kept.
                self._buffers.recheck()
            if isinstance(session.ended, RemoteProtocolError):
                raise InvalidDataException(self._protocol_fault(session.ended))
            if session.ended is not None:
                await self._buffers.write(session.close())
                return
            self._set_timer()
            await self._wait_while_congested()
            if session.unread:
                await asyncio.sleep(0)
                payload: bytes | None = b""
            else:
                payload = await self._buffers.read()
            if self._error is not None:
                raise self._error
            if payload is None:
                if self._is_stopping:
                    await self._buffers.write(session.close(allow_reconnect=True))
                return
            deliveries = session.receive(payload, self._loop.time())

    def _protocol_fault(self, error: RemoteProtocolError) -> str:
        if self._session.overflowed:
            return (
                f"The maximum message size of {self._settings.message_bytes}B was exceeded. The message size can be "
                f"configured in AddHubOptions."
            )
        return str(error)

    async def _wait_while_congested(self) -> None:
        """Wait while the client has too many unfinished invocations or stream items.

        The client timeout stands still meanwhile, because the server does not read the client's pings.
        """
        while (congestion := self.invocations.congestion()) and not self._buffers.closed.done():
            self._session.pause(self._loop.time())
            await asyncio.wait([*congestion, self._buffers.closed], return_when=asyncio.FIRST_COMPLETED)
            self._session.unpause(self._loop.time())

    async def _send_close(self, error: Exception) -> None:
        """Send the client a Close message with the error that ends the connection, unless the client is gone."""
        if isinstance(error, ConnectionClosedError):
            return  # the client is gone, and cannot get a Close message
        _logger.info("closing a connection: %r", error)
        text = "Connection closed with an error." + exception_text(error, detailed=self._settings.detailed_errors)
        allowed = InvalidDataException | OperationCanceledException | ChannelClosedException
        allow_reconnect = isinstance(error, allowed)
        await self._buffers.write(self._session.close(text, allow_reconnect=allow_reconnect))

    def _end(self) -> None:
        self._buffers.end()
        if self._timer is not None:
            self._timer.cancel()
        self.results.end()
        self.invocations.end()

    def abort(self, error: str | None = None, *, allow_reconnect: bool = False) -> None:
        """End the connection, as `Context.Abort()` does. If the handshake is done, send a Close message first."""
        if self._session.ready:
            self._buffers.write_now(self._session.close(error, allow_reconnect=allow_reconnect))
        self._buffers.end()

    def shut_down(self, error: ConnectionClosedError | None = None) -> None:
        """End the connection because the server stops.

        Args:
            error: `None` to send a Close message that allows the client to reconnect. Otherwise no Close message is
                sent, and the hub's `on_disconnected` gets this error.
        """
        self._is_stopping = True
        if error is None:
            self._buffers.stop_reading()
        else:
            self._buffers.end(error)
        self.invocations.cancel_all()

    def _set_timer(self) -> None:
        """Set the timer that calls `_on_time`.

        The timer ends when a ping or Ack to the client is due, or when the client timeout ends, whichever is first.
        """
        deadline = self._session.next_deadline()
        if deadline >= self._due:
            return
        if self._timer is not None:
            self._timer.cancel()
        self._due = deadline
        self._timer = self._loop.call_at(deadline, self._on_time)

    def _on_time(self) -> None:
        self._due = math.inf
        now = self._loop.time()
        due = self._session.acknowledge(now)
        try:
            ping = self._session.on_time(now)
        except ServerTimeoutError:
            text = "Client hasn't sent a message/ping within the configured ClientTimeoutInterval."
            self._fail(OperationCanceledException(text))
            return
        if ping and self._served.may_ping(self):
            due += ping
        if due:
            self._buffers.write_now(due)
        self._set_timer()

    def _overrun(self) -> None:
        self._fail(ChannelClosedException("The channel has been closed."))

    def _fail(self, error: Exception) -> None:
        """Raise this error in the task that reads from the client. The task sends a Close message and ends."""
        self._error = error
        self._buffers.stop_reading()

    async def send(self, event: str, *args: Any) -> None:
        """Send an event to the client; wait while the client's send buffer is full."""
        await self.write(self._session.send(event, list(args)))

    async def write(self, data: bytes) -> None:
        """Send an encoded message to the client.

        Waits while the client's send buffer is full, or while too many bytes are kept for a stateful reconnect.
        """
        replay = self._session.replay
        await self._buffers.writable(lambda: replay is None or not replay.full)
        # Do not await between `keep` and `write_now`: if the client resumed over a new WebSocket in between, `resume`
        # would send the kept message, and `write_now` would send it a second time.
        if replay is not None and not self._buffers.closed.done():
            replay.keep(data)
        self._session.sent(self._loop.time())
        self._buffers.write_now(data)

    # `ServerSession` calls the methods below when it has decoded messages of the client.

    def events(self, targets: list[str], arguments: list[Any], sizes: list[int]) -> None:
        """Start invocations to which the server sends no completion.

        Each of the three lists has one element for each invocation.
        """
        for target, values, size in zip(targets, arguments, sizes, strict=True):
            self._start(Invocation(target, values, size=size))

    def message(self, message: HubMessage) -> None:
        """Handle one message of the client: an invocation, a stream item, a completion or a cancellation."""
        if isinstance(message, StreamItem | Completion):
            self.invocations.receive(message)
        elif isinstance(message, Invocation | StreamInvocation):
            self._start(message)
        elif isinstance(message, CancelInvocation):
            self.invocations.cancel(message.invocation_id)

    def _start(self, message: Invocation | StreamInvocation) -> None:
        self._served.recorded.note_call(message, self.hub.context)
        self.invocations.start(message)
