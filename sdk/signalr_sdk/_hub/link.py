"""`HubLink`: one connection to a hub, from the handshake to the end.

A stateful reconnect keeps the `HubLink` object and replaces its transport. Any other reconnect makes a new `HubLink`.
"""

from __future__ import annotations

import asyncio
import logging
import math
from typing import TYPE_CHECKING

from .._connecting.opening import open_connection
from .._core.replay import Replay
from .._core.session import HubSession, ending
from .._guard.foreign import ends_program, error_of, heed_cancellation
from .._guard.tasks import warn_of_left
from .._life.link import Phase
from .._life.loss_watch import LossWatch
from .._life.resuming import resume
from .._sending.calls import Calls
from .._sending.outgoing import Outgoing, loss
from .._sending.stateful_outgoing import StatefulOutgoing
from ..errors import (
    AuthenticationRefreshError,
    ConnectionClosedError,
    HandshakeError,
    RemoteProtocolError,
    ServerTimeoutError,
    SignalRError,
)
from .read_pause import ReadPause
from .token_refresh_timer import TokenRefreshTimer

if TYPE_CHECKING:
    from collections.abc import Callable

    from .._connecting.opening import OpenConnection
    from .._connecting.options import ConnectionOptions
    from .._core.routing import Deliveries
    from .._life.attempts import Attempts
    from .._life.link import NotResumed
    from .._receiving.dispatcher import Dispatcher
    from ..interfaces import HubProtocol
    from ..options import AuthenticationRefresh, Limits, Transport

_wire = logging.getLogger("signalr_sdk.transport")

# Seconds for which ASP.NET Core keeps a connection after its transport was lost. After that, do not try to resume.
_WINDOW = 15.0
# After this number of seconds of work on one received payload with many messages, other tasks get a turn of the event
# loop.
_SLICE = 0.004
# An upload that is cancelled because `HubLink.close` takes too long has this number of seconds to end.
_LAST_CHANCE = 0.1


async def open_link(
    options: ConnectionOptions,
    protocol: HubProtocol,
    refresh: AuthenticationRefresh | None,
    dispatcher: Dispatcher,
    attempts: Attempts,
) -> HubLink:
    """Make one attempt to connect (token, negotiate, transport, handshake), and return the open connection.

    If `open_link` is cancelled or fails, nothing stays open.

    Args:
        options: the options of the connection.
        protocol: the hub protocol.
        refresh: when to refresh the token; `None` for no automatic refresh.
        dispatcher: runs the handlers.
        attempts: counts the attempts to connect.
    """
    connection = await open_connection(options, lambda: attempts.number)
    try:
        link = HubLink(connection, protocol, dispatcher, options=options, refresh=refresh)
        await link.shake_hands()
    except BaseException as error:
        if isinstance(error, HandshakeError):
            connection.complete(error)
        await connection.drop()
        raise
    return link


class HubLink:
    """Does the I/O and the timers for one `HubSession` over one open connection. Implements `Link`.

    Attributes:
        connection: the open transport with its HTTP client, URL and token.
        timeouts: the timeouts of the connection.
        outgoing: the buffer of messages that wait to be sent.
        calls: the calls that are sent over this link.
        stuck: a callback that the `Supervisor` sets. `stuck(error)` is called if `run` does not end after the
            connection was lost, because users' code in `run` ignores its cancellation.
    """

    stuck: Callable[[SignalRError], None]

    def __init__(
        self,
        connection: OpenConnection,
        protocol: HubProtocol,
        dispatcher: Dispatcher,
        *,
        options: ConnectionOptions,
        refresh: AuthenticationRefresh | None,
    ) -> None:
        self.connection = connection
        self._logger = connection.logs.hub
        self._transport = connection.transport
        self._dispatcher = dispatcher
        self.timeouts = options.timeouts
        self._loop = asyncio.get_running_loop()
        self._phase = Phase.OPENING
        self._session = self._new_session(protocol, options.limits)
        # `LossWatch.lost` is `None` while the transport works, and also if the connection ends because the server broke
        # the protocol: stateful reconnect must not resume the connection then.
        self._loss = LossWatch(connection, self.timeouts.server, self._note_stuck)
        self.outgoing, self._stateful = self._new_outgoing(options.limits.outgoing_bytes)
        self.calls = Calls(
            self._session, self.outgoing, push_error=dispatcher.push_error, waiting=self._wake_reader, log=self._logger
        )
        self._pause = ReadPause(
            self._session, dispatcher.backlog, self.calls, limit=self.timeouts.pause, resumed=self._set_timer
        )
        self._refresh_timer = self._new_refresh_timer(refresh)
        self._first: Deliveries = []
        self._timer: asyncio.TimerHandle | None = None
        # The time of `_timer`. A timer of uvloop that is due at once does not tell its time.
        self._due = math.inf
        # Until this time, an attempt to resume that was given up may still reach the server.
        self._overtaken_until = -math.inf

    def _new_session(self, protocol: HubProtocol, limits: Limits) -> HubSession:
        timeouts, inherent = self.timeouts, self._transport.inherent_keep_alive
        return HubSession(
            protocol,
            self._dispatcher,
            message_bytes=limits.message_bytes,
            keep_alive=None if inherent else timeouts.keep_alive,
            timeout=None if inherent else timeouts.server,
            idle=timeouts.idle,
            now=self._loop.time(),
            replay=Replay(limits.stateful_buffer) if self.connection.stateful else None,
        )

    def _new_outgoing(self, limit: int) -> tuple[Outgoing, StatefulOutgoing | None]:
        """Make the outgoing buffer. Return `(buffer, buffer)`; without stateful reconnect, `(buffer, None)`."""
        writing, failed, log = self._note_writing, self._note_write_failed, self.connection.logs.transport
        replay = self._session.replay
        if replay is None:
            return Outgoing(self._transport, limit, writing=writing, failed=failed, log=log), None
        stateful = StatefulOutgoing(self._transport, limit, replay=replay, writing=writing, failed=failed, log=log)
        return stateful, stateful

    def _new_refresh_timer(self, refresh: AuthenticationRefresh | None) -> TokenRefreshTimer | None:
        if self.connection.refresher is None:
            return None
        dispatcher = self._dispatcher
        return TokenRefreshTimer(
            self.connection.refresher,
            refresh.before if refresh is not None else None,
            refreshed=lambda lifetime: dispatcher.push_lifecycle("authentication_refreshed", lifetime),
            failed=dispatcher.push_error,
        )

    @property
    def connection_id(self) -> str | None:
        """See `Link.connection_id`."""
        return self.connection.connection_id

    @property
    def transport_kind(self) -> Transport:
        """See `Link.transport_kind`."""
        return self.connection.transport.kind

    # The life of the link: handshake, receiving, closing

    async def shake_hands(self) -> None:
        """Do the handshake. Hub messages that the server sends together with its answer are kept until `begin`.

        Raises:
            HandshakeError: the server refused the handshake, did not answer within `Timeouts.handshake`, or is not a
                SignalR hub.
        """
        try:
            async with asyncio.timeout(self.timeouts.handshake):
                await self._shake_hands()
        except TimeoutError as error:
            raise HandshakeError(
                f"the server did not answer the handshake within {self.timeouts.handshake:g} s (Timeouts.handshake): "
                f"the URL may not be a hub's"
            ) from error
        except ConnectionClosedError as error:
            raise HandshakeError(f"the connection was lost during the handshake: {error}") from error
        except RemoteProtocolError as error:
            raise HandshakeError(f"the handshake failed: {error}") from error

    async def _shake_hands(self) -> None:
        session = self._session
        # Send the handshake without the outgoing buffer: stateful reconnect numbers the messages in the buffer, and the
        # handshake must have no number.
        handshake = session.start()
        self._log_payload("sending", handshake)
        await self._transport.send(handshake)
        while not session.ready:
            payload = await self._transport.receive()
            if payload is None:
                raise HandshakeError("the server closed the connection before it answered the handshake")
            self._log_payload("received", payload)
            self._first = session.receive(payload, self._loop.time())
        if session.ended is not None:
            error = ending(session.ended)
            raise HandshakeError(
                f"the connection ended with the handshake: {error or 'the server closed it'}"
            ) from error

    def begin(self) -> None:
        """See `Link.begin`."""
        self._phase = Phase.LIVE
        self._dispatcher.respond = self.calls.respond
        if not self._transport.inherent_keep_alive:
            # Send the first ping alone, before all messages of the user. If the network loses large packets, a ping
            # behind a large message would never arrive, and a server that has received no ping keeps a dead connection.
            self._put_encoded(self._session.ping)
        self._hand_on(self._first)
        self._first = []
        if self._refresh_timer is not None and self.connection.endpoint is not None:
            self._refresh_timer.begin(self.connection.endpoint.token_lifetime)
        self._set_timer()

    def _put_encoded(self, encode: Callable[[], bytes]) -> None:
        """Encode and send a ping or a Close message. If a user's hub protocol fails to encode, end the connection."""
        try:
            if data := encode():
                self.outgoing.put_unnumbered(data)
        except ServerTimeoutError as error:
            self.lose(error)
        except BaseException as raised:
            self.lose(loss("the hub protocol failed", raised))
            if ends_program(raised):
                raise

    def go_live(self) -> None:
        """See `Link.go_live`."""
        self._session.watch_idle(self._loop.time())
        self._pause.allow()
        if self.timeouts.idle is not None:
            self._set_timer()

    async def run(self) -> SignalRError | None:
        """See `Link.run`."""
        self._dispatcher.backlog.relieved = self._pause.note_relieved
        error = await self._loss.run(self._receive)
        self.connection.hide_secrets(error)
        return error

    async def _receive(self) -> SignalRError | None:
        try:
            await self._receive_all()
        except ConnectionClosedError as error:
            self._loss.lost = error
            return error
        except RemoteProtocolError as error:
            return error
        except BaseException as raised:  # noqa: BLE001 - users' HTTP clients and protocols may raise anything
            return loss("receiving failed", error_of(raised, "the HTTP client or the hub protocol"))
        end = ending(self._session.ended)
        if self._session.ended is None and self._loop.time() < self._overtaken_until:
            self._loss.lost = end
        return end

    async def _receive_all(self) -> None:
        session, transport, time = self._session, self._transport, self._loop.time
        backlog, pause, stateful = self._dispatcher.backlog, self._pause, self._stateful
        turn = time()
        while session.ended is None:
            if backlog.above and not pause.exhausted:
                await pause.hold()
            if session.unread:
                if time() > turn + _SLICE:
                    await asyncio.sleep(0)
                    turn = time()
                received = session.receive(b"", time())
            else:
                payload = await transport.receive()
                if payload is None:
                    break
                if _wire.isEnabledFor(logging.DEBUG):
                    self._log_payload("received", payload)
                turn = time()
                received = session.receive(payload, turn)
            if self._phase is not Phase.CLOSING:
                self.outgoing.eager = session.received_single
                self._hand_on(received)
            if stateful is not None:
                self._note_numbers(stateful)

    @staticmethod
    def _hand_on(received: Deliveries) -> None:
        for hand_on, arguments in received:
            hand_on(*arguments)

    def _log_payload(self, what: str, payload: bytes) -> None:
        self.connection.logs.transport.debug("%s %d bytes: %.100r", what, len(payload), payload[:100])

    def lose(self, error: SignalRError) -> None:
        """See `Link.lose`."""
        self._loss.lose(error)

    def _note_stuck(self, error: SignalRError) -> None:
        # Read `stuck` only now: the callback is replaced when a set-up has succeeded.
        self.stuck(error)

    async def flush(self) -> None:
        """See `Link.flush`."""
        await self.outgoing.flush()

    async def drop(self) -> None:
        """See `Link.drop`."""
        await self.connection.drop()

    async def close(self, error: Exception, *, goodbye: bool, answer: bool = True) -> None:
        """See `Link.close`."""
        if self._phase is Phase.CLOSING:
            return
        self._phase = Phase.CLOSING
        self._stop_timers()
        self.outgoing.refuse(error)
        self.calls.end(error)
        self._pause.end()
        tasks = {*self.calls.uploads, *(self._refresh_timer.stop() if self._refresh_timer is not None else ())}
        suspended = self._stateful is not None and self._stateful.suspended
        try:
            await self._close_connection(error, goodbye=goodbye and not suspended, answer=answer)
            if tasks:
                await asyncio.wait(tasks)
        finally:
            # If `close` takes too long, its caller cancels `close`. Cancel the unfinished tasks of uploads and of a
            # token refresh too, or `stop()` would wait for ever for the source of an upload that does not close.
            for task in tasks:
                task.cancel()
            if any(not task.done() for task in tasks):
                _ended, tasks = await asyncio.wait(tasks, timeout=_LAST_CHANCE)
                warn_of_left(tasks, self._logger)

    async def _close_connection(self, error: Exception, *, goodbye: bool, answer: bool) -> None:
        try:
            if goodbye:
                await self._say_goodbye()
            self._end_outgoing(error)
            if answer and (goodbye or self._session.ended is not None):
                # Wait for the transport's closing handshake only after the client or the server has sent a Close
                # message: a server that is gone would not answer.
                await self.connection.close()
        finally:
            self._end_outgoing(error)
            try:
                await self.connection.drop()
            finally:
                # Cancel the writer task in `finally`, since `drop` may be cancelled: otherwise a writer task that waits
                # for a stalled HTTP client would never end.
                await self.outgoing.close()
                # The dispatcher and the backlog live longer than this `HubLink`. Without `forget_link`, they would keep
                # the closed `HubLink` in memory.
                self._dispatcher.forget_link(self.calls.respond)

    async def _say_goodbye(self) -> None:
        self._put_encoded(self._session.close)
        try:
            await self.outgoing.flush()
        except ConnectionClosedError as error:
            self._logger.debug("the Close message was not sent: %s", error)

    def _end_outgoing(self, error: Exception) -> None:
        if unsent := self.outgoing.end(error):
            self._logger.warning("%d messages were not sent before the connection ended", unsent)

    # Stateful reconnect: going on over a new transport

    @property
    def is_resumable(self) -> bool:
        """See `Link.is_resumable`.

        A connection cannot be resumed after a Close message from the server. A connection also cannot be resumed if the
        server accepted a transport but then sent nothing until the server timeout: an ASP.NET Core server that hangs in
        this way would send nothing over the next transport either. The same is true for a hub that was silent for
        `Timeouts.idle`.
        """
        if self._stateful is None or self._loss.lost is None or self._phase is Phase.CLOSING:
            return False
        stuck = isinstance(self._loss.lost, ServerTimeoutError) and not self._session.alive
        return self._session.ended is None and not stuck and not self._session.idled

    async def resume(self, lost: SignalRError, attempts: Attempts) -> NotResumed | None:
        """See `Link.resume`.

        The server closes a WebSocket in good order when another one takes its place. After a resume with more than one
        attempt, such a close counts as one more loss: the request of an attempt that was given up may have come late.
        """
        before = attempts.count
        not_resumed = await resume(self, lost, attempts, window=_WINDOW, limit=_WINDOW, log=self._logger)
        repeated = not_resumed is None and attempts.count > before + 1
        self._overtaken_until = self._loop.time() + _WINDOW if repeated else -math.inf
        return not_resumed

    async def suspend(self) -> None:
        """Drop the lost transport, but keep the pending calls and the unacknowledged messages for `reopen`."""
        self._phase = Phase.SUSPENDED
        self._stop_timers()
        if self._stateful is not None:
            self._stateful.suspend()
        await self.outgoing.close()
        await self.connection.drop_transport()

    async def reopen(self) -> None:
        """Resume the connection over a new transport. Return when the server has sent its Sequence message.

        If `reopen` is cancelled or raises, the new transport may be open: call `suspend` or `close` to drop it.

        Raises:
            ConnectionFailedError: the new transport could not be opened.
            ConnectionClosedError: the new transport was lost too.
            RemoteProtocolError: the server sent bytes that are not hub messages.
            TimeoutError: the server sent no Sequence message within `Timeouts.handshake`.
        """
        assert self._stateful is not None
        await self.connection.reopen()
        self._transport = self.connection.transport
        self._loss.lost = None
        self._loss.begin_transport()
        self._stateful.resume(self._transport, self._session.resume(self._loop.time()))
        try:
            async with asyncio.timeout(self.timeouts.handshake):
                await self._synchronize()
        except TimeoutError:
            raise TimeoutError(
                f"the server did not say where it goes on within {self.timeouts.handshake:g} s (Timeouts.handshake)"
            ) from None
        self._phase = Phase.LIVE
        self._set_timer()

    async def _synchronize(self) -> None:
        session = self._session
        while not session.synced and session.ended is None:
            payload = b"" if session.unread else await self._transport.receive()
            heed_cancellation()
            if payload is None:
                raise ConnectionClosedError(
                    "the server closed the connection instead of resuming it", allow_reconnect=True
                )
            self._log_payload("received", payload)
            self._hand_on(session.receive(payload, self._loop.time()))

    def _note_numbers(self, outgoing: StatefulOutgoing) -> None:
        """Handle the Acks of stateful reconnect, after each received payload.

        An Ack from the server makes room in the outgoing buffer: wake the callers that wait for room. Send an Ack to
        the server if an Ack is due.
        """
        outgoing.admit()
        if ack := self._session.acknowledge(self._loop.time()):
            outgoing.put_unnumbered(ack)
        elif self._session.next_deadline() < self._due:
            self._set_timer()

    # Refreshing the access token of the live connection

    async def refresh_authentication(self) -> float | None:
        """See `HubConnection.refresh_authentication`."""
        if self.connection.refresher is None:
            raise AuthenticationRefreshError(
                "the token of this connection cannot be refreshed: without negotiation it has no connection token"
            )
        return await self.connection.refresher.refresh()

    # The timer: keep-alive ping, server timeout

    def _set_timer(self) -> None:
        """Set the timer to the next of: keep-alive ping, server timeout, acknowledgement."""
        if self._phase is Phase.CLOSING:
            return
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._due = self._session.next_deadline()
        if self._due < math.inf:
            self._timer = self._loop.call_at(self._due, self._on_time)

    def _stop_timers(self) -> None:
        self._loss.stop()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._due = math.inf

    def _on_time(self) -> None:
        self._put_encoded(lambda: self._session.on_time(self._loop.time()))
        if self._loss.lost is None:
            self._set_timer()

    def _note_writing(self) -> None:
        now = self._loop.time()
        self._session.sent(now)
        self._loss.note_sent(now)

    def _note_write_failed(self, error: SignalRError) -> None:
        closing = self._phase is Phase.CLOSING
        if self._stateful is None or closing:
            self._end_outgoing(error)
        elif not self._stateful.suspended:
            self._stateful.suspend()
        else:
            # The loss of this transport is known already. Do not set the timer that calls `lose`: `lose` would end the
            # stateful reconnect, which may be using a new transport.
            return
        if not closing:
            self._loss.note_write_failed(error)

    def _wake_reader(self) -> None:
        """End a pause in reading: a new invocation waits for its completion, which must be read."""
        self._pause.look_again()
