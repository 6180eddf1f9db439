"""One client of a hub, seen from the server: handshake, invocations, streams, keep-alive.

It drives a `ServerSession` over a `Pipe`, whatever transport is at the other end of that. The texts of errors are those
of ASP.NET Core.
"""

from __future__ import annotations

import asyncio
import logging
import math
from typing import TYPE_CHECKING, Any

import attrs

from .._core import handshake
from .._core.replay import Replay
from .._core.session import ServerSession
from ..errors import ConnectionClosedError, HandshakeError, RemoteProtocolError, ServerTimeoutError
from ..messages import CancelInvocation, Completion, HubMessage, Invocation, StreamInvocation, StreamItem
from ..options import TransferFormat, Transport
from ..protocols.framing import SEPARATOR
from .client_streams import Upload
from .error_texts import handshake_fault
from .hub_invocation import Binder, Call, InvalidDataException, exception_text
from .hubs import Hub, HubException, methods_of

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from .._core.routing import Received
    from ..interfaces import HubProtocol
    from .connection_buffers import Pipe
    from .settings import ServerSettings

_logger = logging.getLogger("signalr_sdk.testing")

# Calls of one client that may run or wait before nothing more is read from it.
_CALLS = 1000
# So long calls may go on when their client has gone.
_GRACE = 1.0


class OperationCanceledException(Exception):  # noqa: N818 - its name on the server
    """The client was silent for too long."""


@attrs.frozen
class ClientHooks:
    """What the server wants to know of a client, and has a say in.

    Attributes:
        connected: called when it may get messages.
        disconnected: called when it may not any more, with the error if there was one.
        called: called for each call.
        pings: asked before a ping.
    """

    connected: Callable[[ConnectedClient], None]
    disconnected: Callable[[Exception | None], None]
    called: Callable[[Invocation | StreamInvocation], None]
    pings: Callable[[], bool]


class ConnectedClient:
    """A client from its handshake to its end.

    Attributes:
        hub: the hub that serves it.
        pipe: its connection.
    """

    def __init__(
        self,
        hub: Hub,
        pipe: Pipe,
        protocols: Mapping[str, HubProtocol],
        settings: ServerSettings,
        watch: ClientHooks,
        *,
        stateful: bool = False,
    ) -> None:
        self.hub = hub
        self.pipe = pipe
        self._watch = watch
        self._settings = settings
        self._loop = asyncio.get_running_loop()
        inherent = pipe.inherent_keep_alive
        self._session = ServerSession(
            protocols,
            self,
            message_bytes=settings.message_bytes,
            keep_alive=None if inherent else settings.keep_alive,
            timeout=None if inherent else settings.client_timeout,
            now=self._loop.time(),
            replay=Replay(settings.stateful_buffer) if stateful else None,
        )
        self._slots = asyncio.Semaphore(settings.parallel_invocations)
        self._calls: set[asyncio.Task[None]] = set()
        self._streams: dict[str, asyncio.Task[None]] = {}
        self._questions: set[asyncio.Future[Any]] = set()
        self._uploads: dict[str, Upload] = {}
        self._first: Received = []
        self._timer: asyncio.TimerHandle | None = None
        self._error: Exception | None = None
        self._is_stopping = False
        self._has_ended = False

    @property
    def binary(self) -> bool:
        """Whether the client's protocol is binary; the answer to a handshake that is refused is text."""
        return self._session.ready and self._session.protocol.transfer_format is TransferFormat.BINARY

    @property
    def resumable(self) -> bool:
        """Whether it lives on without a transport, until another one comes."""
        return self._session.ready and self._session.replay is not None and not self.pipe.gone.done()

    def resume(self) -> None:
        """Go on over another transport."""
        self.pipe.renew()
        for data in self._session.resume(self._loop.time()):
            self.pipe.write_now(data)
        self._arm()

    # From the handshake to the end

    async def serve(self) -> None:
        """Serve the client until it has gone."""
        try:
            if await self._shake_hands():
                self._watch.connected(self)
                await self._serve()
        finally:
            self.pipe.end()
            await self._wait_for_calls()

    async def _shake_hands(self) -> bool:
        session, heard = self._session, b""
        try:
            async with asyncio.timeout(self._settings.handshake_timeout):
                while not session.ready:
                    payload = await self.pipe.read()
                    if payload is None:
                        return False
                    heard += payload
                    self._first = session.receive(payload, self._loop.time())
        except HandshakeError as error:
            return await self._refuse(self._handshake_fault(heard) or error.message)
        except TimeoutError:
            return await self._refuse("Handshake was canceled.")
        except ConnectionClosedError as error:
            _logger.info("no handshake: %s", error)
            return False
        if self.binary and self.pipe.transport == Transport.SERVER_SENT_EVENTS:
            return await self._refuse(
                f"Cannot use the '{session.protocol.name}' protocol on the current transport. The transport does not "
                f"support 'Binary' transfer format."
            )
        await self.pipe.write(session.reply)
        return True

    async def _refuse(self, why: str) -> bool:
        await self.pipe.write(handshake.response(why))
        return False

    def _handshake_fault(self, heard: bytes) -> str | None:
        fault = handshake_fault(heard.partition(SEPARATOR)[0])
        if fault is None:
            return None
        text = "An unexpected error occurred during connection handshake."
        return f"{text} {fault}" if self._settings.detailed_errors else text

    async def _serve(self) -> None:
        error: Exception | None = None
        try:
            await self.hub.on_connected()
            self._arm()
            await self._receive()
        except Exception as failure:  # noqa: BLE001 - a hub may raise anything; the client is told
            error = failure
            await self._close(failure)
        finally:
            self._watch.disconnected(error)
            self._end()
        try:
            await self.hub.on_disconnected(error)
        except Exception:
            _logger.exception("on_disconnected failed")

    async def _receive(self) -> None:
        session, received = self._session, self._first
        while True:
            for hand_on, arguments in received:
                hand_on(*arguments)
            if session.replay is not None:
                self.pipe.look_again()  # an Ack may have made room
            if isinstance(session.ended, RemoteProtocolError):
                raise InvalidDataException(self._fault(session.ended))
            if session.ended is not None:
                await self.pipe.write(session.close())
                return
            self._arm()
            await self._wait_for_room()
            payload = await self.pipe.read()
            if self._error is not None:
                raise self._error
            if payload is None:
                if self._is_stopping:
                    await self.pipe.write(session.close(allow_reconnect=True))
                return
            received = session.receive(payload, self._loop.time())

    def _fault(self, error: RemoteProtocolError) -> str:
        if self._session.overflowed:
            return (
                f"The maximum message size of {self._settings.message_bytes}B was exceeded. The message size can be "
                f"configured in AddHubOptions."
            )
        return str(error)

    async def _wait_for_room(self) -> None:
        """Read no more while the hub is behind; the client's silence does not count meanwhile."""
        while (behind := self._behind()) and not self.pipe.gone.done():
            self._session.pause(self._loop.time())
            await asyncio.wait([*behind, self.pipe.gone], return_when=asyncio.FIRST_COMPLETED)
            self._session.unpause(self._loop.time())

    def _behind(self) -> list[asyncio.Future[None]]:
        if len(self._calls) >= _CALLS:
            return list(self._calls)
        return [upload.room for upload in self._uploads.values() if not upload.room.done()]

    async def _close(self, error: Exception) -> None:
        """Tell the client why it is dropped."""
        if isinstance(error, ConnectionClosedError):
            return
        _logger.info("a client is dropped: %r", error)
        text = "Connection closed with an error." + exception_text(error, detailed=self._settings.detailed_errors)
        allow = isinstance(error, InvalidDataException | OperationCanceledException)
        await self.pipe.write(self._session.close(text, allow_reconnect=allow))

    def _end(self) -> None:
        """Nothing more reaches the client: streams end now, other calls come to their own end."""
        self._has_ended = True
        self.pipe.end()
        if self._timer is not None:
            self._timer.cancel()
        for upload in self._uploads.values():
            upload.end("The connection ended.")
        for question in self._questions:
            if not question.done():
                question.set_exception(HubException("The client has gone."))
        for stream in self._streams.values():
            stream.cancel()

    async def _wait_for_calls(self) -> None:
        if self._calls:
            await asyncio.wait(self._calls, timeout=0 if self._is_stopping else _GRACE)
        late = list(self._calls)
        for call in late:
            call.cancel()
        if late:
            await asyncio.wait(late)

    def abort(self, error: str | None = None, *, allow_reconnect: bool = False) -> None:
        """End the connection with a Close message, as `Context.Abort()` does; before the handshake without a word."""
        if self._session.ready:
            self.pipe.write_now(self._session.close(error, allow_reconnect=allow_reconnect))
        self.pipe.end()

    def shut_down(self, error: ConnectionClosedError | None = None) -> None:
        """End the connection with a Close message that allows a new one, as a server does that stops.

        Args:
            error: end it without a word, for this reason.
        """
        self._is_stopping = True
        if error is None:
            self.pipe.stop_reading()
        else:
            self.pipe.disconnect(error)
        if self._has_ended:
            for call in self._calls:
                call.cancel()

    def _arm(self) -> None:
        """Wake up when something is due; the client's first ping may have brought that forward."""
        deadline = self._session.next_deadline()
        if self._timer is not None and deadline >= self._timer.when():
            return
        if self._timer is not None:
            self._timer.cancel()
        if deadline < math.inf:
            self._timer = self._loop.call_at(deadline, self._on_time)

    def _on_time(self) -> None:
        self._timer = None
        now = self._loop.time()
        due = self._session.acknowledge(now)
        try:
            ping = self._session.on_time(now)
        except ServerTimeoutError:
            self._error = OperationCanceledException(
                "Client hasn't sent a message/ping within the configured ClientTimeoutInterval."
            )
            self.pipe.stop_reading()
            return
        if ping and self._watch.pings():
            due += ping
        if due:
            self.pipe.write_now(due)
        self._arm()

    # What the hub says

    async def send(self, event: str, *args: Any) -> None:
        """Send an event."""
        await self.write(self._session.send(event, list(args)))

    async def invoke(self, method: str, *args: Any, result_type: Any = Any) -> Any:
        """Ask the client, and return its answer."""
        answer: asyncio.Future[Any] = self._loop.create_future()
        name, data = self._session.invoke(method, list(args), _Answer(answer))
        self._questions.add(answer)
        try:
            await self.write(data)
            return Binder(self._session.protocol).answer(await answer, result_type)
        finally:
            self._questions.discard(answer)
            self._session.forget(name)

    async def write(self, data: bytes) -> None:
        """Send bytes of the session; wait while the client is behind."""
        replay = self._session.replay
        await self.pipe.writable(lambda: replay is None or not replay.full)
        # Numbered and sent in one step: a transport that comes meanwhile gets each message once.
        if replay is not None and not self.pipe.gone.done():
            replay.keep(data)
        self._session.sent(self._loop.time())
        self.pipe.write_now(data)

    # What the client says

    def events(self, targets: list[str], arguments: list[Any], sizes: list[int]) -> None:
        """Take calls that want no answer: see `Inbox`."""
        for target, values, size in zip(targets, arguments, sizes, strict=True):
            self._start(Invocation(target, values, size=size))

    def message(self, message: HubMessage) -> None:
        """Take anything else: see `Inbox`."""
        if isinstance(message, StreamItem | Completion):
            upload = self._uploads.get(message.invocation_id)
            if upload is not None:
                upload.receive(message)
        elif isinstance(message, Invocation | StreamInvocation):
            self._start(message)
        elif isinstance(message, CancelInvocation):
            # As ASP.NET Core 10: only streams can be cancelled.
            stream = self._streams.get(message.invocation_id)
            if stream is not None:
                # A task that is cancelled before its first step never answers; that step is scheduled already.
                self._loop.call_soon(stream.cancel)

    def _start(self, message: Invocation | StreamInvocation) -> None:
        self._watch.called(message)
        uploads = {name: Upload() for name in message.stream_ids or ()}
        call = Call(
            message,
            list(uploads.values()),
            methods_of(type(self.hub)),
            self.hub,
            self._session,
            self.write,
            detailed=self._settings.detailed_errors,
        )
        is_new = not (isinstance(message, StreamInvocation) and message.invocation_id in self._streams)
        if is_new:
            self._uploads.update(uploads)
        work = self._run(call, uploads) if is_new else call.refuse_id()
        task = asyncio.create_task(work, name=f"hub method {message.target:.40}")
        self._calls.add(task)
        task.add_done_callback(self._calls.discard)
        if isinstance(message, StreamInvocation) and is_new:
            self._streams[message.invocation_id] = task

    async def _run(self, call: Call, uploads: dict[str, Upload]) -> None:
        message = call.message
        try:
            await call.run(self._slots)
        except asyncio.CancelledError:
            if self._has_ended:
                raise
            await call.end_stream()
        finally:
            for name, upload in uploads.items():
                upload.end("The call has ended.")
                if self._uploads.get(name) is upload:
                    del self._uploads[name]
            if isinstance(message, StreamInvocation):
                self._streams.pop(message.invocation_id, None)


class _Answer:
    """Takes the client's answer to a question: the `Sink` that the session knows."""

    def __init__(self, future: asyncio.Future[Any]) -> None:
        self._future = future

    def items(self, _items: list[Any], _sizes: list[int]) -> None:
        """Clients have no streaming methods: what they send is no answer."""

    def completed(self, result: Any, error: str | None) -> None:
        """Take it."""
        if self._future.done():
            return
        if error is not None:
            self._future.set_exception(HubException(error))
        else:
            self._future.set_result(result)
