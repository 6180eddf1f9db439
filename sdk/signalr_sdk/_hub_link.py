"""One live connection of a hub, from handshake to end: single-use, never reconnected."""

from __future__ import annotations

import asyncio
import functools
import logging
import math
from typing import TYPE_CHECKING, Any

from ._calls import Call, closed_under
from ._core.session import HubSession, Received, ending
from ._outgoing import Outgoing
from ._pump import Pump
from .errors import (
    ConnectionClosedError,
    HandshakeError,
    LocalProtocolError,
    RemoteProtocolError,
    ServerTimeoutError,
    SignalRError,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from ._backlog import Backlog
    from ._connection import OpenConnection
    from ._dispatch import Dispatcher
    from ._streams import StreamQueue
    from .interfaces import HubProtocol
    from .options import Limits, Timeouts

_wire = logging.getLogger("signalr_sdk.transport")

# When writing fails, the reader mostly learns a better reason (a Close message) at once: it gets so long for that.
_READER_GRACE = 1.0


class HubLink:
    """Drives one `HubSession` over one open connection.

    Order of use: `shake_hands`, `begin`, `run` in the task that owns it, and `close` in every case.
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
            dispatcher.push,
            message_bytes=limits.message_bytes,
            keep_alive=self._keep_alive,
            timeout=None if inherent else timeouts.server,
            now=self._loop.time(),
        )
        self.outgoing = Outgoing(
            self._transport,
            limits.outgoing_bytes,
            written=self._note_written,
            failed=self._note_write_failed,
            log=connection.logs.transport,
        )
        self._first: Received = []
        self._calls: dict[str, Call] = {}
        self._streams: dict[str, tuple[StreamQueue, str]] = {}
        self._pumps: set[Pump] = set()
        self._timer: asyncio.TimerHandle | None = None
        self._grace: asyncio.TimerHandle | None = None
        self._scope: asyncio.Timeout | None = None
        self._lost: SignalRError | None = None
        self._relief: asyncio.Future[None] | None = None
        self._tired = False
        self._over = False

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
        await self._transport.send(session.start())
        while not session.ready:
            payload = await self._transport.receive()
            if payload is None:
                raise HandshakeError("the server closed the connection before it answered the handshake")
            self._log_payload(payload)
            self._first = session.receive(payload, self._loop.time())
        if session.ended is not None:
            error = ending(session.ended)
            raise HandshakeError(
                f"the connection ended with the handshake: {error or 'the server closed it'}"
            ) from error

    def begin(self) -> None:
        """Be connected: say so with a ping, hand on what came with the handshake, keep time."""
        self._dispatcher.respond = self._respond
        if self._keep_alive is not None:
            # Servers begin to expect pings when they have seen one.
            self.outgoing.put_now(self._session.ping())
        self._hand_on(self._first)
        self._first = []
        self._arm()

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
        try:
            while session.ended is None:
                if backlog.above and not self._tired:
                    await self._hold()
                payload = await transport.receive()
                if payload is None:
                    break
                if _wire.isEnabledFor(logging.DEBUG):
                    self._log_payload(payload)
                received = session.receive(payload, time())
                if not self._over:
                    self._hand_on(received)
        except (ConnectionClosedError, RemoteProtocolError) as error:
            return error
        except Exception as error:  # noqa: BLE001 - transports and protocols of users may raise anything
            lost = ConnectionClosedError(f"receiving failed: {error!r}", None, allow_reconnect=True)
            lost.__cause__ = error
            return lost
        return ending(session.ended)

    @staticmethod
    def _hand_on(received: Received) -> None:
        for sink, message in received:
            sink(message)

    def _log_payload(self, payload: bytes) -> None:
        self.connection.logs.transport.debug("received %d bytes: %.100r", len(payload), payload[:100])

    def lose(self, error: SignalRError) -> None:
        """End `run` with this error."""
        if self._lost is None:
            self._lost = error
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
        for timer in (self._timer, self._grace):
            if timer is not None:
                timer.cancel()
        self.outgoing.refuse(error)
        self._end_calls(error)
        self._wake_reader()
        uploads = [pump.task for pump in self._pumps]
        try:
            await self._close_connection(error, goodbye=goodbye)
            if uploads:
                await asyncio.wait(uploads)
        finally:
            # Those that would not close their sources in time hold nobody up.
            for task in uploads:
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
        self.outgoing.put_now(self._session.close())
        try:
            await self.outgoing.flush()
        except ConnectionClosedError as error:
            self._logger.debug("could not say good-bye: %s", error)

    def _end_outgoing(self, error: SignalRError) -> None:
        if unsent := self.outgoing.end(error):
            self._logger.warning("%d messages were not sent before the connection ended", unsent)

    def _end_calls(self, error: SignalRError) -> None:
        for pump in list(self._pumps):
            pump.stop(tell=False)
        for call in list(self._calls.values()):
            call.fail(closed_under(call.method, error))
        for queue, method in list(self._streams.values()):
            queue.end(closed_under(method, error))
        self._streams.clear()

    # Time

    def _arm(self) -> None:
        if self._over:
            return
        if self._timer is not None:
            self._timer.cancel()
        deadline = self._session.next_deadline()
        if deadline < math.inf:
            self._timer = self._loop.call_at(deadline, self._on_time)

    def _on_time(self) -> None:
        try:
            ping = self._session.on_time(self._loop.time())
        except ServerTimeoutError as error:
            self.lose(error)
            return
        if ping is not None:
            self.outgoing.put_now(ping)
        self._arm()

    def _note_written(self) -> None:
        self._session.sent(self._loop.time())

    def _note_write_failed(self, error: SignalRError) -> None:
        self._end_outgoing(error)
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
            self._session.resume(self._loop.time())
            self._arm()

    def _calls_wait(self) -> bool:
        if not self._calls:
            return False
        youngest = next(reversed(self._calls.values()))
        return self._timeouts.pause is None or self._loop.time() - youngest.started < self._timeouts.pause

    def _note_relieved(self) -> None:
        self._tired = False
        self._wake_reader()

    def _wake_reader(self) -> None:
        if self._relief is not None and not self._relief.done():
            self._relief.set_result(None)

    # Calls

    async def send(self, method: str, arguments: list[Any], uploads: list[Any] | None) -> None:
        """Send an invocation that asks for no answer."""
        stream_ids = self._new_stream_ids(uploads)
        data = self._session.send(method, arguments, stream_ids)
        if self.outgoing.full:
            await self.outgoing.put(data)
        else:
            self.outgoing.put_now(data)
        if uploads:
            self._start_uploads(stream_ids, uploads, self._dispatcher.push_error)

    async def invoke(self, method: str, arguments: list[Any], uploads: list[Any] | None, *, exact: bool) -> Any:
        """Call a method and wait for its result. Cancelling it cancels the call on the server."""
        stream_ids = self._new_stream_ids(uploads)
        call = Call(method, self._calls, self._loop)
        invocation_id, data = self._session.invoke(method, arguments, call.receive, stream_ids, exact=exact)
        call.invocation_id = invocation_id
        self._calls[invocation_id] = call
        sent = False
        try:
            if self.outgoing.full:
                await self.outgoing.put(data)
            else:
                self.outgoing.put_now(data)
            sent = True
            if uploads:
                call.pumps = self._start_uploads(stream_ids, uploads, lambda error: self._give_up(call, error))
            if self._relief is not None:
                self._wake_reader()
            return await call.future
        except BaseException:
            call.abandon()
            if self._calls.pop(invocation_id, None) is not None:
                self._cancel(invocation_id, call.pumps or (), sent=sent)
            raise

    def _give_up(self, call: Call, error: LocalProtocolError) -> None:
        """End a call from our side, because what it uploads cannot be sent."""
        self._cancel(call.invocation_id, call.pumps or (), sent=True)
        call.fail(error)

    async def stream(
        self, queue: StreamQueue, method: str, arguments: list[Any], uploads: list[Any] | None, *, exact: bool
    ) -> Callable[[], None]:
        """Call a streaming method, whose items go to the queue; return what lets go of it.

        Cancelling it has sent nothing.
        """
        stream_ids = self._new_stream_ids(uploads)
        invocation_id, data = self._session.invoke(
            method, arguments, queue.receive, stream_ids, stream=True, exact=exact
        )
        pumps: list[Pump] = []
        over = False

        def finished() -> None:
            nonlocal over
            over = True
            self._streams.pop(invocation_id, None)
            for pump in pumps:
                pump.stop(tell=False)

        def let_go() -> None:
            if self._streams.pop(invocation_id, None) is not None:
                self._cancel(invocation_id, pumps, sent=True)

        def unsendable(error: LocalProtocolError) -> None:
            queue.end(error)
            let_go()

        queue.finished, queue.overflowed = finished, let_go
        try:
            await self.outgoing.put(data)
        except BaseException:
            self._session.forget(invocation_id)
            raise
        self._streams[invocation_id] = (queue, method)
        if uploads:
            pumps += self._start_uploads(stream_ids, uploads, unsendable)
        if over:
            # Answered before it was asked: a server that guesses the ids of calls must not confuse us.
            finished()
        return let_go

    def _cancel(self, invocation_id: str, pumps: list[Pump] | tuple[()], *, sent: bool) -> None:
        waited_for = self._session.forget(invocation_id)
        for pump in pumps:
            pump.stop(tell=True)
        if sent and waited_for:
            self.outgoing.put_now(self._session.cancel(invocation_id))

    def _new_stream_ids(self, uploads: list[Any] | None) -> list[str] | None:
        return [self._session.new_id() for _ in uploads] if uploads else None

    def _start_uploads(
        self, stream_ids: list[str] | None, uploads: list[Any], unsendable: Callable[[LocalProtocolError], None]
    ) -> list[Pump]:
        pumps = [
            Pump(
                stream_id,
                source,
                self._session,
                self.outgoing,
                unsendable=unsendable,
                unclosable=self._dispatcher.push_error,
            )
            for stream_id, source in zip(stream_ids or (), uploads, strict=True)
        ]
        # From here on the pumps close the sources, so the caller has none left to close.
        uploads.clear()
        for pump in pumps:
            self._pumps.add(pump)
            pump.task.add_done_callback(functools.partial(self._forget_pump, pump))
        return pumps

    def _forget_pump(self, pump: Pump, _task: asyncio.Task[None]) -> None:
        self._pumps.discard(pump)

    async def _respond(self, invocation_id: str, result: Any, error: str | None) -> None:
        """Answer a question of the server."""
        try:
            if error is None:
                data = self._session.answer(invocation_id, result)
            else:
                data = self._session.complete(invocation_id, error)
        except LocalProtocolError as unsendable:
            self._dispatcher.push_error(unsendable)
            data = self._session.complete(invocation_id, str(unsendable))
        try:
            await self.outgoing.put(data)
        except ConnectionClosedError as closed:
            self._logger.debug("an answer came too late: %s", closed)
