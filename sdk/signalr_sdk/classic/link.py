"""`ClassicLink`: one connection to a classic server, from negotiate to the end, over one transport after another."""

from __future__ import annotations

import asyncio
import logging
from contextlib import suppress
from typing import TYPE_CHECKING, Generic, Protocol, TypeVar

from .._core.redaction import redact, redact_error
from .._guard.foreign import cut_off, error_of
from .._guard.tasks import retrieve, spawn
from .._life.link import Phase
from .._life.loss_watch import LossWatch
from .._life.resuming import is_refusal, resume, time_asleep
from .._sending.outgoing import loss
from ..errors import (
    ConnectionClosedError,
    HandshakeError,
    RemoteProtocolError,
    ServerTimeoutError,
    SignalRError,
    TransportError,
)
from ..options import Transport
from .channels import PostChannel, SocketChannel
from .cursors import server_of
from .envelopes import excerpt
from .opening import open_connection
from .session import wrong_start
from .silence import Silence, SilenceWatch
from .transports import ClassicWebSocket

if TYPE_CHECKING:
    from collections.abc import Callable

    from .._connecting.options import ConnectionOptions
    from .._life.attempts import Attempts
    from .._life.link import NotResumed
    from .._receiving.dispatcher import Dispatcher
    from ..options import Timeouts
    from .channels import Channel
    from .json_codec import ClassicJson
    from .opening import OpenConnection
    from .session import ClassicSession, Deliveries

_wire = logging.getLogger("signalr_sdk.transport")

# After this number of seconds of work on received messages, other tasks get a turn of the event loop.
_SLICE = 0.004
# If the timer is late by this number of seconds, this process was busy or asleep: read what has arrived before the
# server counts as silent.
_LATE = 0.5
# Look at the clock this many times, at least, while the server would keep a lost connection; but not more often than
# after so many seconds.
_LOOKS, _OFTEN = 3, 0.1
# The shortest wait of the timer.
_SOON = 0.01
# `stop` waits for this number of seconds for the server to close its half of the WebSocket: the server has then read
# all calls, and `/abort` cannot overtake them.
_CLOSING = 1.0


class Outgoing(Protocol):
    """What is sent over a connection: the calls of hubs, or the data of a raw connection."""

    channel: Channel

    def end(self, error: Exception) -> None:
        """Fail all calls that wait for an answer."""


O = TypeVar("O", bound=Outgoing)  # noqa: E741 - as in `Outgoing`


async def open_link(
    options: ConnectionOptions,
    hubs: tuple[str, ...],
    session: ClassicSession,
    outgoing: Callable[[Channel], O],
    *,
    json: ClassicJson,
    ping: float | None,
    dispatcher: Dispatcher,
    attempts: Attempts,
) -> ClassicLink[O]:
    """Make one attempt to connect: token, negotiate, `/connect`, first envelope, `/start`.

    If `open_link` is cancelled or fails, nothing stays open.

    Args:
        options: the options of the connection.
        hubs: the names of the hubs that are wanted.
        session: reads the messages of this connection.
        outgoing: makes what is sent over this connection.
        json: decodes.
        ping: seconds between requests that keep a login alive; `None` for no such requests.
        dispatcher: runs the handlers.
        attempts: counts the attempts to connect.
    """
    connection = await open_connection(options, hubs, session, lambda: attempts.number)
    try:
        link = ClassicLink(connection, session, outgoing, options=options, dispatcher=dispatcher, ping=ping)
        await link.start_up(json)
    except BaseException as error:
        if isinstance(error, HandshakeError):
            connection.hide_secrets(error)
        try:
            await connection.drop_transport()
            if session.error is None:
                # `stop`, which has perhaps cancelled the start, takes no longer than `Timeouts.close`.
                with suppress(TimeoutError):
                    async with asyncio.timeout(_for_abort(options.timeouts)):
                        await connection.commands.abort()
        finally:
            await connection.drop()
        raise
    return link


def _for_abort(timeouts: Timeouts) -> float:
    """Return the seconds of `Timeouts.close` that are kept for the request to abort the connection."""
    return _CLOSING if timeouts.close is None else min(_CLOSING, timeouts.close / 3)


class ClassicLink(Generic[O]):
    """Does the I/O and the timers for one `ClassicSession`. Implements `Link`.

    Attributes:
        connection: the open transport.
        timeouts: the timeouts of the connection.
        outgoing: what is sent over this connection.
        stuck: a callback that the `Supervisor` sets, see `Link.stuck`.
    """

    stuck: Callable[[SignalRError], None]

    def __init__(
        self,
        connection: OpenConnection,
        session: ClassicSession,
        outgoing: Callable[[Channel], O],
        *,
        options: ConnectionOptions,
        dispatcher: Dispatcher,
        ping: float | None,
    ) -> None:
        self.connection = connection
        self.timeouts: Timeouts = options.timeouts
        self._logger = connection.logs.hub
        self._limits = options.limits
        self._dispatcher = dispatcher
        self._session = session
        self._loop = asyncio.get_running_loop()
        self._phase = Phase.OPENING
        self._loss = LossWatch(connection, self.timeouts.server, self._note_stuck)
        self._channel: Channel = self._new_channel()
        self.outgoing = outgoing(self._channel)
        self._watch = self._new_watch()
        self._first: list[Deliveries] = [connection.first]
        # A read of the transport that began before `run`.
        self._reading: asyncio.Task[list[bytes] | None] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._ping_interval = ping
        self._pinging: asyncio.Task[None] | None = None
        # The refusal of a ping.
        self._refused: TransportError | None = None
        self._is_resumable = True
        # The cursor with which the transport was opened, until another one came.
        self._old_cursor: str | None = None
        self._server = server_of(session.cursor)
        # When the last transport that the server had accepted was lost.
        self._lost_at: float | None = None
        # What `time_asleep` was when the timer was set.
        self._awake = time_asleep()
        # For how many seconds this process was away, and when it came back. Zero if bytes have come since.
        self._away = self._returned = 0.0

    @property
    def connection_id(self) -> str | None:
        """See `Link.connection_id`."""
        return self.connection.negotiated.connection_id

    @property
    def transport_kind(self) -> Transport:
        """See `Link.transport_kind`."""
        return self.connection.transport.kind

    def _new_channel(self) -> Channel:
        transport, logs = self.connection.transport, self.connection.logs
        if isinstance(transport, ClassicWebSocket):
            limit, failed = self._limits.outgoing_bytes, self._note_write_failed
            return SocketChannel(transport, limit, writing=self._note_writing, failed=failed, logs=logs)
        commands, limit = self.connection.commands, self._limits.message_bytes
        return PostChannel(commands, limit, writing=self._note_writing, heard=self._note_message)

    # The start

    async def start_up(self, json: ClassicJson) -> None:
        """Send `/start`, and receive meanwhile: some hubs wait in `OnConnected` for a poll of the client.

        Raises:
            HandshakeError: the server refused, did not answer, or the transport was lost.
        """
        kind, where = self.transport_kind, self.connection.commands.where
        starting = spawn(self.connection.commands.start(), "start")
        starting.add_done_callback(retrieve)
        try:
            await self._receive_until(starting)
            response = starting.result() if self._session.error is None else None
        except (ConnectionClosedError, RemoteProtocolError, OSError) as error:
            text = f"the connection could not be started: {redact_error(error)}"
            raise HandshakeError(text, url=where, transport=kind) from error
        finally:
            if not starting.done():
                await cut_off(starting, self.timeouts.close, whose="the HTTP client", log=self._logger)
        if response is None:
            text = f"the server refused the connection: {redact(self._session.error or '')}"
            raise HandshakeError(text, url=where, transport=kind)
        if response.status != 200:
            text = f"the server refused to start the connection (status {response.status})"
            raise HandshakeError(text, url=where, transport=kind)
        if (wrong := wrong_start(response.body, json)) is not None:
            text = f"the server answered wrongly to the start of the connection: {redact(wrong)}"
            raise HandshakeError(text, url=where, transport=kind)

    async def _receive_until(self, starting: asyncio.Task[object]) -> None:
        received = 0
        while not starting.done() and self._session.error is None:
            if received > self._limits.buffered_bytes:
                await asyncio.wait({starting})
                return
            if self._reading is None:
                self._reading = spawn(self.connection.transport.receive(), "receive")
            await asyncio.wait({starting, self._reading}, return_when=asyncio.FIRST_COMPLETED)
            if self._reading.done():
                payloads, self._reading = self._reading.result(), None
                if payloads is None:
                    raise ConnectionClosedError("the server closed the transport", allow_reconnect=True)
                for payload in payloads:
                    received += len(payload)
                    self._first.append(self._session.receive(payload))

    def begin(self) -> None:
        """See `Link.begin`."""
        self._phase = Phase.LIVE
        for deliveries in self._first:
            self._hand_on(deliveries)
        self._first = []
        self._set_timer()
        if self._ping_interval is not None:
            self._pinging = spawn(self._ping(self._ping_interval), "ping")

    def go_live(self) -> None:
        """See `Link.go_live`."""
        if self.timeouts.idle is not None:
            self._watch.begin_idle(self._loop.time())
            self._set_timer()

    # Receiving

    async def run(self) -> SignalRError | None:
        """See `Link.run`."""
        error = await self._loss.run(self._receive)
        self.connection.hide_secrets(error)
        return error

    async def _receive(self) -> SignalRError:
        self._loss.lost = lost = await self._receive_until_lost()
        return lost

    async def _receive_until_lost(self) -> SignalRError:
        try:
            await self._receive_all()
        except ConnectionClosedError as error:
            cause = error.__cause__
            if isinstance(cause, TransportError) and is_refusal(cause):  # of `/reconnect`, later than it was assumed
                self._is_resumable = False
            return error
        except RemoteProtocolError as error:
            # The server would send the same again over another transport if this has come directly after a resume.
            if self._old_cursor is not None and self._session.cursor == self._old_cursor:
                self._is_resumable = False
            return error
        except BaseException as raised:  # noqa: BLE001 - users' HTTP clients may raise anything
            return loss("receiving failed", error_of(raised, "the HTTP client"))
        if self._session.error is not None:
            self._is_resumable = False
            text = self._session.error
            return ConnectionClosedError(f"the server ended the connection: {redact(text)}", text)
        if self._session.asks_reconnect:
            return _lost("the server shuts down and asks the client to reconnect")
        return _lost("the server closed the transport")

    async def _receive_all(self) -> None:
        session, now = self._session, self._loop.time
        polls = self.transport_kind is Transport.LONG_POLLING
        turn = now()
        while session.error is None and not session.asks_reconnect:
            payloads = await self._read()
            if payloads is None:
                return
            for payload in payloads:
                if _wire.isEnabledFor(logging.DEBUG):
                    self._log_payload(payload)
                if now() > turn + _SLICE:
                    await asyncio.sleep(0)
                    turn = now()
                received = session.receive(payload)
                if received and self._phase is Phase.LIVE:
                    self._note_message()
                    if isinstance(self._channel, SocketChannel):
                        self._channel.outgoing.eager = len(payloads) == len(received) == 1
                    self._hand_on(received)
            if polls or self._old_cursor is not None:
                self._compare_servers()

    async def _read(self) -> list[bytes] | None:
        if self._reading is None:
            return await self.connection.transport.receive()
        reading = self._reading
        payloads = await asyncio.shield(reading)
        self._reading = None
        return payloads

    @staticmethod
    def _hand_on(received: Deliveries) -> None:
        for hand_on, arguments in received:
            hand_on(*arguments)

    def _note_message(self) -> None:
        self._watch.note_message(self._loop.time())

    def _log_payload(self, payload: bytes) -> None:
        self.connection.logs.transport.debug("received %d bytes: %.100r", len(payload), excerpt(payload))

    def _compare_servers(self) -> None:
        """Warn if another server process goes on with the connection: it does not have the older messages.

        A client that polls learns of a restart between two polls only in this way.
        """
        if self._session.cursor == self._old_cursor:
            return
        self._old_cursor = None
        before, self._server = self._server, server_of(self._session.cursor)
        if self._server != before:
            self._logger.warning(
                "another server process goes on with the connection, perhaps after a restart: messages may be missing"
            )

    def lose(self, error: SignalRError) -> None:
        """See `Link.lose`."""
        self._loss.lose(error)

    def _note_stuck(self, error: SignalRError) -> None:
        # Read `stuck` only now: the callback is replaced when a set-up has succeeded.
        self.stuck(error)

    def _note_writing(self) -> None:
        self._loss.note_sent(self._loop.time())

    def _note_write_failed(self, error: SignalRError) -> None:
        if self._phase is Phase.LIVE:
            self._loss.note_write_failed(error)

    # The silence of the server, and pings

    def _new_watch(self) -> SilenceWatch:
        server, promised = self.timeouts.server, self.connection.negotiated.keep_alive_timeout
        if server is None or promised is None or self.transport_kind is Transport.LONG_POLLING:
            return SilenceWatch(None, self.timeouts.idle)
        return SilenceWatch(min(server, promised), self.timeouts.idle)

    def _set_timer(self) -> None:
        if self._phase is not Phase.LIVE:
            return
        if self._timer is not None:
            self._timer.cancel()
        now = self._loop.time()
        due = self._watch.next_look(self.connection.transport.heard, now)
        due = min(due, now + max(self.connection.negotiated.disconnect_timeout / _LOOKS, _OFTEN))
        self._look_at(max(due, now + _SOON))

    def _look_at(self, due: float) -> None:
        self._awake = time_asleep()
        self._timer = self._loop.call_at(due, self._on_time, due)

    def _on_time(self, due: float) -> None:
        self._timer = None
        now = self._loop.time()
        late = now - due + time_asleep() - self._awake
        if late > _LATE:
            # The machine or this process was stopped, or users' code blocked the event loop. Read first what may have
            # arrived meanwhile.
            self._away, self._returned = late, now
            self._look_at(now + _LATE)
            return
        if self.connection.transport.heard > self._returned:
            self._away = 0.0
        silence = self._watch.look(self.connection.transport.heard, now)
        if silence is Silence.LOST:
            self._lose_silent(f"the server was silent for {self._watch.limit:g} s", "its keep-alive timeout")
            return
        if silence is Silence.IDLE:
            self._is_resumable = False
            self._lose_silent(f"the hubs sent no message for {self._watch.idle:g} s", "Timeouts.idle")
            return
        if silence is Silence.SLOW:
            self._dispatcher.push_lifecycle("connection_slow")
        self._set_timer()

    def _lose_silent(self, what: str, setting: str) -> None:
        text = f"{what}, so the connection counts as lost ({setting})"
        self.lose(ServerTimeoutError(text, allow_reconnect=True))

    async def _ping(self, interval: float) -> None:
        """Send a request at each interval, so that the server's login or session of the user does not expire."""
        while True:
            await asyncio.sleep(interval)
            try:
                response = await self.connection.commands.ping()
            except BaseException as raised:  # noqa: BLE001 - users' HTTP clients may raise anything
                self._report_ping(f"failed: {redact_error(error_of(raised, 'the HTTP client'))}")
                continue
            if response.status in (401, 403):
                text = f"the server refused a ping (status {response.status}): the login has expired"
                self._is_resumable = False
                self._refused = TransportError(text, status=response.status)
                self.lose(_lost(text))
                return
            if response.status != 200:
                self._report_ping(f"was refused (status {response.status})")

    def _report_ping(self, what: str) -> None:
        error = TransportError(f"the request that keeps the login alive {what}")
        self.connection.hide_secrets(error)
        self._dispatcher.push_error(error)

    # Another transport for the same connection

    @property
    def is_resumable(self) -> bool:
        """See `Link.is_resumable`."""
        is_lost = self._loss.lost is not None and self._phase is Phase.LIVE
        return is_lost and self._is_resumable and not self._was_asleep()

    def _was_asleep(self) -> bool:
        """Whether this process was away for so long that the server has forgotten the connection."""
        negotiated, away = self.connection.negotiated, self._away
        keep_alive = negotiated.keep_alive_timeout or 0.0
        if keep_alive and self.transport_kind is not Transport.LONG_POLLING:
            away = max(away, self._loop.time() - self.connection.transport.heard)
        return away + time_asleep() - self._awake > negotiated.disconnect_timeout + keep_alive

    async def resume(self, lost: SignalRError, attempts: Attempts) -> NotResumed | None:
        """See `Link.resume`."""
        self._loss.lost = None  # a ping that is refused meanwhile is a new loss
        self._end_transport(lost)
        if self._lost_at is None or self.connection.transport.is_accepted:
            self._lost_at = self._loop.time()
        window = self.connection.negotiated.disconnect_timeout - (self._loop.time() - self._lost_at)
        limit = self.timeouts.connect
        return await resume(self, lost, attempts, window=window, limit=limit, log=self._logger)

    def _end_transport(self, lost: SignalRError) -> None:
        """End the calls that were sent over a WebSocket: their answers are not sent again. POSTs go on."""
        if isinstance(self._channel, SocketChannel):
            self._end_channel(lost)
            self.outgoing.end(lost)

    async def suspend(self) -> None:
        """See `Resumable.suspend`."""
        self._phase = Phase.SUSPENDED
        self._stop_timers()
        if isinstance(self._channel, SocketChannel):
            await self._channel.close()
        await self.connection.drop_transport()
        await self._stop_reading()

    async def reopen(self) -> None:
        """See `Resumable.reopen`."""
        if self._refused is not None:
            raise self._refused
        self._old_cursor = self._session.cursor
        self._session.begin_transport()
        await self.connection.reopen()
        if isinstance(self._channel, SocketChannel):
            self._channel = self.outgoing.channel = self._new_channel()
        self._loss.begin_transport()
        self._watch.begin_transport(self._loop.time())
        self._away = 0.0
        self._phase = Phase.LIVE
        self._set_timer()

    # The end

    async def flush(self) -> None:
        """See `Link.flush`."""
        await self._channel.flush()

    async def drop(self) -> None:
        """See `Link.drop`."""
        self._stop_timers()
        await self.connection.drop_transport()
        await self._stop_reading()
        await self.connection.drop()

    async def close(self, error: Exception, *, goodbye: bool, answer: bool = True) -> None:
        """See `Link.close`. The goodbye is `/abort`: the server then runs `OnDisconnected` at once."""
        if self._phase is Phase.CLOSING:
            return
        suspended = self._phase is Phase.SUSPENDED
        self._phase = Phase.CLOSING
        self._stop_timers()
        self._channel.refuse(error)
        try:
            if goodbye:
                await self._say_goodbye(open_=not suspended, answer=answer)
        finally:
            self._end_channel(error)
            self.outgoing.end(error)
            if self._pinging is not None:
                self._pinging.cancel()  # `connection.close` cuts its request
            try:
                await self.connection.drop_transport()
                await self._stop_reading()
                await self.connection.close()
            finally:
                await self.connection.drop()
                await self._channel.close()

    async def _say_goodbye(self, *, open_: bool, answer: bool) -> None:
        if open_:
            close = self.timeouts.close
            with suppress(TimeoutError):
                async with asyncio.timeout(None if close is None else close - _for_abort(self.timeouts)):
                    await self._finish_sending(answer=answer)
        await self.connection.commands.abort()

    async def _finish_sending(self, *, answer: bool) -> None:
        try:
            await self._channel.flush()
        except ConnectionClosedError as error:
            self._logger.debug("not all messages were sent: %s", error)
        if answer and isinstance(self._channel, SocketChannel):
            with suppress(TimeoutError):
                async with asyncio.timeout(_CLOSING):
                    await self.connection.close_transport()

    def _end_channel(self, error: Exception) -> None:
        if unsent := self._channel.end(error):
            self._logger.warning("%d messages were not sent before the connection ended", unsent)

    async def _stop_reading(self) -> None:
        """End a read that began before `run`. Call this after the transport was dropped."""
        reading, self._reading = self._reading, None
        if reading is not None:
            reading.cancel()
            await asyncio.wait({reading})
            retrieve(reading)

    def _stop_timers(self) -> None:
        self._loss.stop()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None


def _lost(text: str) -> ConnectionClosedError:
    return ConnectionClosedError(text, allow_reconnect=True)
