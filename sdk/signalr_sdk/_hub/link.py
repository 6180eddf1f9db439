"""One live connection of a hub, from handshake to end, over as many transports as its server takes for it."""

from __future__ import annotations

import asyncio
import logging
import math
from typing import TYPE_CHECKING

from .._core.replay import Replay
from .._core.session import HubSession, ending
from .._sending.calls import Calls
from .._sending.outgoing import Outgoing, StatefulOutgoing
from ..errors import (
    AuthenticationRefreshError,
    ConnectionClosedError,
    HandshakeError,
    RemoteProtocolError,
    ServerTimeoutError,
    SignalRError,
)
from .token_refresh_timer import RefreshSchedule

if TYPE_CHECKING:
    from .._connecting.opening import OpenConnection
    from .._core.routing import Deliveries
    from .._receiving.backlog import Backlog
    from .._receiving.dispatcher import Dispatcher
    from ..interfaces import HubProtocol
    from ..options import AuthenticationRefresh, Limits, Timeouts

_wire = logging.getLogger("signalr_sdk.transport")

# When writing fails, the reader mostly learns a better reason (a Close message) at once: it gets so long for that.
_READER_GRACE = 1.0


class HubLink:
    """Drives one `HubSession` over one open connection.

    Order of use: `shake_hands`, `begin`, `run` in the task that owns it, and `close` in every case. When `run` has
    ended and the link `is_resumable`, `suspend`, `resume` (maybe several times) and `run` may follow.

    Attributes:
        connection: what it goes over.
        outgoing: what waits to be sent.
        calls: the calls that go over it.
    """

    def __init__(
        self,
        connection: OpenConnection,
        protocol: HubProtocol,
        dispatcher: Dispatcher,
        backlog: Backlog,
        *,
        timeouts: Timeouts,
        limits: Limits,
        refresh: AuthenticationRefresh | None = None,
    ) -> None:
        self.connection = connection
        self._logger = connection.logs.hub
        self._transport = connection.transport
        self._dispatcher = dispatcher
        self._backlog = backlog
        self._timeouts = timeouts
        self._loop = asyncio.get_running_loop()
        inherent = self._transport.inherent_keep_alive
        self._keep_alive = None if inherent else timeouts.keep_alive
        self._session = HubSession(
            protocol,
            dispatcher,
            message_bytes=limits.message_bytes,
            keep_alive=self._keep_alive,
            timeout=None if inherent else timeouts.server,
            now=self._loop.time(),
            replay=Replay(limits.stateful_buffer) if connection.stateful else None,
        )
        self._stateful = self._stateful_outgoing(limits) if connection.stateful else None
        self.outgoing = self._stateful or Outgoing(
            self._transport,
            limits.outgoing_bytes,
            written=self._note_written,
            failed=self._note_write_failed,
            log=connection.logs.transport,
        )
        self.calls = Calls(
            self._session,
            self.outgoing,
            push_error=dispatcher.push_error,
            waiting=self._note_call_waits,
            log=self._logger,
        )
        self._schedule = self._new_schedule(refresh)
        self._first: Deliveries = []
        self._timer: asyncio.TimerHandle | None = None
        self._grace: asyncio.TimerHandle | None = None
        self._scope: asyncio.Timeout | None = None
        self._lost: SignalRError | None = None
        self._relief: asyncio.Future[None] | None = None
        self._tired = False
        self._over = False
        self._cut = False

    def _stateful_outgoing(self, limits: Limits) -> StatefulOutgoing:
        assert self._session.replay is not None
        return StatefulOutgoing(
            self._transport,
            self._session.replay,
            limits.outgoing_bytes,
            written=self._note_written,
            failed=self._note_write_failed,
            log=self.connection.logs.transport,
        )

    def _new_schedule(self, refresh: AuthenticationRefresh | None) -> RefreshSchedule | None:
        if self.connection.refresher is None:
            return None
        dispatcher = self._dispatcher
        return RefreshSchedule(
            self.connection.refresher,
            refresh.before if refresh is not None else None,
            refreshed=lambda lifetime: dispatcher.push_lifecycle("authentication_refreshed", lifetime),
            failed=dispatcher.push_error,
        )

    # From the handshake to the end

    async def shake_hands(self) -> None:
        """Agree on the hub protocol. What arrives with the answer is kept for `begin`.

        Raises:
            HandshakeError: refused, not answered in time, or answered by something that is no hub.
        """
        try:
            async with asyncio.timeout(self._timeouts.handshake):
                await self._shake_hands()
        except TimeoutError as error:
            raise HandshakeError(
                f"the server did not answer the handshake within {self._timeouts.handshake:g} s (Timeouts.handshake): "
                f"the URL may not be a hub's"
            ) from error
        except ConnectionClosedError as error:
            raise HandshakeError(f"the connection was lost during the handshake: {error}") from error
        except RemoteProtocolError as error:
            raise HandshakeError(f"the handshake failed: {error}") from error

    async def _shake_hands(self) -> None:
        session = self._session
        # Not by way of the outgoing buffer: the handshake has no number.
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
        """Be connected: say so with a ping, hand on what came with the handshake, keep time."""
        self._dispatcher.respond = self.calls.respond
        if self._keep_alive is not None:
            # Servers begin to expect pings when they have seen one. A moment later: with what the user sends first.
            self._loop.call_later(0, self._greet)
        self._hand_on(self._first)
        self._first = []
        if self._schedule is not None and self.connection.endpoint is not None:
            self._schedule.begin(self.connection.endpoint.token_lifetime)
        self._arm()

    def _greet(self) -> None:
        if not self._over:
            self.outgoing.put_unnumbered(self._session.ping())

    async def run(self) -> SignalRError | None:
        """Receive until the end; return what it was, `None` for a Close in good order."""
        self._backlog.relieved = self._note_relieved
        try:
            async with asyncio.timeout(None) as self._scope:
                if self._lost is None:
                    return await self._receive()
        except TimeoutError:
            if self._lost is None:
                raise
        finally:
            self._scope = None
        return self._lost

    async def _receive(self) -> SignalRError | None:
        session, transport, time, backlog = self._session, self._transport, self._loop.time, self._backlog
        stateful = self._stateful
        try:
            while session.ended is None:
                if backlog.above and not self._tired:
                    await self._hold()
                payload = await transport.receive()
                if payload is None:
                    break
                if _wire.isEnabledFor(logging.DEBUG):
                    self._log_payload("received", payload)
                received = session.receive(payload, time())
                if not self._over:
                    self.outgoing.eager = session.received_single
                    self._hand_on(received)
                if stateful is not None:
                    self._note_numbers(stateful)
        except ConnectionClosedError as error:
            self._cut = True
            return error
        except RemoteProtocolError as error:
            return error
        except Exception as error:  # noqa: BLE001 - transports and protocols of users may raise anything
            lost = ConnectionClosedError(f"receiving failed: {error!r}", allow_reconnect=True)
            lost.__cause__ = error
            return lost
        return ending(session.ended)

    @staticmethod
    def _hand_on(received: Deliveries) -> None:
        for hand_on, arguments in received:
            hand_on(*arguments)

    def _log_payload(self, what: str, payload: bytes) -> None:
        self.connection.logs.transport.debug("%s %d bytes: %.100r", what, len(payload), payload[:100])

    def lose(self, error: SignalRError) -> None:
        """End `run` with this error."""
        if self._lost is None:
            self._lost = error
            self._cut = True
            if self._scope is not None:
                self._scope.reschedule(-math.inf)

    async def close(self, error: SignalRError, *, goodbye: bool) -> None:
        """End everything that this connection has: calls, streams, uploads, tasks, timers, sockets.

        Cancelling it drops the connection at once.

        Args:
            error: what calls that are pending are told as the cause.
            goodbye: send what waits, and a Close message, first.
        """
        if self._over:
            return
        self._over = True
        self._stop_timers()
        self.outgoing.refuse(error)
        self.calls.end(error)
        self._wake_reader()
        tasks = self.calls.uploads + (self._schedule.stop() if self._schedule is not None else [])
        try:
            await self._close_connection(error, goodbye=goodbye and not self.outgoing.suspended)
            if tasks:
                await asyncio.wait(tasks)
        finally:
            # Uploads that would not close their sources in time hold nobody up.
            for task in tasks:
                task.cancel()

    async def _close_connection(self, error: SignalRError, *, goodbye: bool) -> None:
        try:
            if goodbye:
                await self._say_goodbye()
            self._end_outgoing(error)
            if goodbye or self._session.ended is not None:
                # Else the other side is gone, and would not answer.
                await self.connection.close()
        finally:
            self._end_outgoing(error)
            await self.connection.drop()
            await self.outgoing.close()

    async def _say_goodbye(self) -> None:
        self.outgoing.put_unnumbered(self._session.close())
        try:
            await self.outgoing.flush()
        except ConnectionClosedError as error:
            self._logger.debug("could not say good-bye: %s", error)

    def _end_outgoing(self, error: SignalRError) -> None:
        if unsent := self.outgoing.end(error):
            self._logger.warning("%d messages were not sent before the connection ended", unsent)

    # Stateful reconnect

    @property
    def is_resumable(self) -> bool:
        """Whether the server may take another transport: the last one was cut, without a word of the server.

        A server that took one and was then silent for too long is stuck, as ASP.NET Core can be: it would go on so.
        """
        if isinstance(self._lost, ServerTimeoutError) and not self._session.alive:
            return False
        return self._stateful is not None and self._cut and self._session.ended is None and not self._over

    async def suspend(self) -> None:
        """Be without a transport: what is sent is kept, and calls go on waiting."""
        self._stop_timers()
        if self._stateful is not None:
            self._stateful.suspend()
        await self.outgoing.close()
        await self.connection.drop_transport()

    async def resume(self) -> None:
        """Go on over a new transport; return when the server has said where it goes on, or that it does not.

        Cancelling it leaves the link suspended, or as if it had been resumed: `close` or `suspend` it.

        Raises:
            ConnectionFailedError: no transport could be opened; a status says that the server refused.
            ConnectionClosedError: it was lost again.
            RemoteProtocolError: what came must not be read.
            TimeoutError: nothing came.
        """
        assert self._stateful is not None
        await self.connection.reopen()
        self._transport = self.connection.transport
        self._lost, self._cut = None, False
        self._stateful.resume(self._transport, self._session.resume(self._loop.time()))
        try:
            async with asyncio.timeout(self._timeouts.handshake):
                await self._synchronize()
        except TimeoutError:
            raise TimeoutError(
                f"the server did not say where it goes on within {self._timeouts.handshake:g} s (Timeouts.handshake)"
            ) from None
        self._arm()

    async def _synchronize(self) -> None:
        session = self._session
        while not session.synced and session.ended is None:
            payload = await self._transport.receive()
            if payload is None:
                raise ConnectionClosedError(
                    "the server closed the connection instead of resuming it", allow_reconnect=True
                )
            self._log_payload("received", payload)
            self._hand_on(session.receive(payload, self._loop.time()))

    def _note_numbers(self, outgoing: StatefulOutgoing) -> None:
        """Do what the numbers of the messages that came ask for."""
        outgoing.admit()
        if ack := self._session.acknowledge(self._loop.time()):
            outgoing.put_unnumbered(ack)
        elif self._timer is None or self._session.next_deadline() < self._timer.when():
            self._arm()

    # Authentication refresh

    async def refresh_authentication(self) -> float | None:
        """See `HubConnection.refresh_authentication`."""
        if self.connection.refresher is None:
            raise AuthenticationRefreshError(
                "the token of this connection cannot be refreshed: without negotiation it has no connection token"
            )
        return await self.connection.refresher.refresh()

    # Time

    def _arm(self) -> None:
        if self._over:
            return
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        deadline = self._session.next_deadline()
        if deadline < math.inf:
            self._timer = self._loop.call_at(deadline, self._on_time)

    def _stop_timers(self) -> None:
        for timer in (self._timer, self._grace):
            if timer is not None:
                timer.cancel()
        self._timer = self._grace = None

    def _on_time(self) -> None:
        try:
            due = self._session.on_time(self._loop.time())
        except ServerTimeoutError as error:
            self.lose(error)
            return
        if due:
            self.outgoing.put_unnumbered(due)
        self._arm()

    def _note_written(self) -> None:
        self._session.sent(self._loop.time())

    def _note_write_failed(self, error: SignalRError) -> None:
        if self._stateful is None or self._over:
            self._end_outgoing(error)
        elif not self._stateful.suspended:
            self._stateful.suspend()
        else:
            # It is known already, and there may be another transport soon.
            return
        if not self._over:
            self._grace = self._loop.call_later(_READER_GRACE, self.lose, error)

    # Back-pressure: not reading

    async def _hold(self) -> None:
        """Read nothing while consumers are behind: for `Timeouts.pause` at most, and not while a call waits."""
        self._session.pause(self._loop.time())
        try:
            async with asyncio.timeout(self._timeouts.pause):
                while self._backlog.above and not self._calls_wait() and not self._over:
                    self._relief = self._loop.create_future()
                    await self._relief
        except TimeoutError:
            # Not `lose`: its scope is the outer one, which looks for itself.
            self._tired = bool(self._backlog.above)
        finally:
            self._relief = None
            self._session.unpause(self._loop.time())
            self._arm()

    def _calls_wait(self) -> bool:
        youngest = self.calls.youngest
        if youngest is None:
            return False
        return self._timeouts.pause is None or self._loop.time() - youngest < self._timeouts.pause

    def _note_call_waits(self) -> None:
        if self._relief is not None:
            self._wake_reader()

    def _note_relieved(self) -> None:
        self._tired = False
        self._wake_reader()

    def _wake_reader(self) -> None:
        if self._relief is not None and not self._relief.done():
            self._relief.set_result(None)
