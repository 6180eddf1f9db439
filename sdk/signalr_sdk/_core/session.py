"""The hub protocol on one connection, for either side: received bytes become deliveries, calls become bytes.

Theory of operation
-------------------
A session does no I/O, reads no clock and runs no user code. The shell is the code that owns the session and its
transport, and does these things for the session.

- Receiving: `receive(payload, now)` takes the bytes that the transport delivered, cut anywhere. It returns the
  *deliveries*: a list of calls, each as `(function, arguments)`, which the shell must make in this order. The functions
  belong to the `Sink` that the shell gave for each call or stream that waits for an answer, and to the `Inbox`, which
  gets the calls and cancellations of the other side. Neighbouring messages with the same destination share one call,
  which saves time under load. An answer whose sink is gone, since the call was cancelled, is dropped, as the
  specification demands.
- The end: after `receive` the shell looks at `ended`, which holds the Close message of the other side, or the error
  after which the session cannot go on. All messages before it are in the deliveries; later messages are ignored.
- Sending: the methods that call or answer return bytes. The shell sends them in the order of these calls, and only
  after the handshake.
- Time: each method that needs the time takes it as an argument. The shell calls `on_time` when `next_deadline()` has
  come, `sent` after each write, and `pause` and `unpause` when the shell stops and starts reading on purpose.
- Stateful reconnect: with a `Replay` the session outlives its transport. When the transport is lost, the shell opens
  another transport, calls `resume`, sends the returned bytes first, and goes on as before once `synced` is true. The
  shell calls `Replay.keep`, which numbers a message, when the message enters the outgoing buffer: a message that is
  cancelled earlier must get no number.

The handshake is the first record in each direction. It is always JSON and ends with 0x1E; the bytes after it in the
same payload are ordinary messages. `HubSession` is the side that calls the hub, and `ServerSession` the side that
serves it; they differ in the handshake, in the ids that they give to calls and uploads, and in the start of the server
timeout.
Source: HubProtocol.md of dotnet/aspnetcore.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any, NotRequired, TypeAlias, TypedDict, Unpack

from ..errors import ConnectionClosedError, HandshakeError, RemoteProtocolError, ServerTimeoutError, SignalRError
from ..messages import Ack, Close, Completion, HubMessage, Invocation, Ping, Sequence, StreamInvocation, StreamItem
from ..messages import CancelInvocation as Cancel
from ..options import TransferFormat
from ..protocols.batches import Batch, shortcut
from ..protocols.framing import BinaryFraming, TextFraming
from . import handshake
from .redaction import redact
from .routing import Deliveries, Inbox, Router, Sink, new_runs

if TYPE_CHECKING:
    from ..interfaces import HubProtocol
    from .replay import Replay

_CallEncoder: TypeAlias = Callable[[str, list[Any], str | None, list[str] | None], bytes]

# If a timer fires more than this many seconds late, this process was suspended: the other side need not have been
# silent. Messages that arrived meanwhile are still unread, so the other side gets this many seconds more.
_LATE = 1.0
# The versions that a handshake can ask for: version 2 of a hub protocol adds stateful reconnect.
_PLAIN, _STATEFUL = 1, 2


class SessionOptions(TypedDict):
    """The keyword arguments that `HubSession` and `ServerSession` have in common. See `HubSession`."""

    message_bytes: int
    keep_alive: float | None
    timeout: float | None
    now: float
    idle: NotRequired[float | None]
    replay: NotRequired[Replay | None]


class HubSession:
    """The client's side of the hub protocol on one connection, without I/O.

    Args:
        protocol: the hub protocol; it is named in the handshake.
        inbox: gets the calls and cancellations of the other side.
        message_bytes: the largest message that is accepted, in bytes.
        keep_alive: after so many seconds without sending, a ping is due; `None` for no pings.
        timeout: after so many seconds of silence, the other side counts as lost; `None` for no limit.
        idle: after so many seconds without a call, a cancellation, an item or a completion, the other side counts as
            lost; `None` for no limit. The time begins with `watch_idle`.
        now: the time in seconds, of the same clock as for the methods.
        replay: the message numbers for stateful reconnect; `None` for a connection that cannot be resumed.

    Attributes:
        ended: the Close message or the error that has ended the session; `None` before.
        replay: the message numbers; `None` without stateful reconnect.
        idled: whether `on_time` has raised because of `idle`. The connection must not be resumed then.
        protocol: the hub protocol in use. A server uses the first protocol on offer until the client has chosen.
        received_single: whether the last payload was exactly one message that is delivered (no ping, Close or Ack). The
            shell then sends its next message at once, and does not wait for more messages to send with it.
    """

    _id_prefix = ""

    def __init__(
        self,
        protocol: HubProtocol,
        inbox: Inbox,
        *,
        message_bytes: int,
        keep_alive: float | None,
        timeout: float | None,
        now: float,
        idle: float | None = None,
        replay: Replay | None = None,
    ) -> None:
        self.ended: Close | RemoteProtocolError | None = None
        self.replay: Replay | None = replay
        self.received_single: bool = False
        self.idled: bool = False
        self._router = Router(inbox)
        self._message_bytes = message_bytes
        self._handshake: handshake.HandshakeReader | None = handshake.HandshakeReader()
        self._exact: set[str] = set()
        self._last_id = 0
        self._keep_alive = math.inf if keep_alive is None else keep_alive
        self._timeout = math.inf if timeout is None else timeout
        self._idle = math.inf if idle is None else idle
        self._last_received = self._last_sent = now
        # When the last call, cancellation, item or completion came; infinity before `watch_idle`.
        self._last_message = math.inf
        self._paused_at: float | None = None
        self._deadline = math.inf
        self._use(protocol)

    def _use(self, protocol: HubProtocol) -> None:
        binary = protocol.transfer_format is TransferFormat.BINARY
        self.protocol: HubProtocol = protocol
        self._decode_all: Callable[[list[bytes], Batch], None] | None = shortcut(protocol, "decode", "decode_all")
        self._encode_call: _CallEncoder = shortcut(protocol, "encode", "encode_call") or self._encode_invocation
        self._framing: TextFraming | BinaryFraming = (BinaryFraming if binary else TextFraming)(self._message_bytes)

    # Receiving: bytes from the transport become deliveries

    @property
    def ready(self) -> bool:
        """Whether the handshake has succeeded."""
        return self._handshake is None

    @property
    def overflowed(self) -> bool:
        """Whether the session has `ended` because a message was too large, or had an impossible length."""
        return self._framing.error is not None

    @property
    def synced(self) -> bool:
        """False from `resume` until the other side has sent a Sequence, which tells the number of its next message."""
        return self.replay is None or self.replay.synced

    @property
    def alive(self) -> bool:
        """False from `resume` until the other side has sent a ping or a message that it had not sent before."""
        return self.replay is None or self.replay.alive

    @property
    def unread(self) -> bool:
        """Whether a part of a large payload is not handled yet. Call `receive(b"", now)` to handle the next part."""
        return bool(self._framing.unread) and self.ended is None

    def receive(self, payload: bytes, now: float) -> Deliveries:
        """Take the next received bytes; return the calls that deliver the messages that are now complete.

        Make the calls, pairs of `(function, arguments)`, in this order. Look at `ended` afterwards. Of a large
        payload, only the first messages are delivered: see `unread`.

        Raises:
            HandshakeError: the other side refused the handshake, or sent no handshake. Drop the session then.
        """
        self._last_received = now
        if self.ended is not None:
            return []
        if self._handshake is not None:
            rest = self._handshake.feed(payload)
            if rest is None:
                return []
            self._check_handshake(self._handshake.record)
            self._handshake = None
            payload = rest
        frames = self._framing.feed(payload)
        deliveries: Deliveries = []
        try:
            if len(frames) == 1 and self.replay is None:
                # Do not make a `Batch` for a single message, the usual payload when a user makes one call after
                # another: with a `Batch`, a single message would take 1.5 times as long (tests/bench/pieces.py,
                # "receive 1").
                message = self._decode_one(frames[0])
                if not self._router.route_message(message, len(frames[0]), deliveries):
                    self._handle(message)
            elif frames:
                self._receive_batch(frames, len(payload), deliveries)
        except RemoteProtocolError as error:
            self._fail(error)
        if self._framing.error is not None:
            self._fail(self._framing.error)
        self.received_single = len(frames) == len(deliveries) == 1 and not self._framing.unread
        if self._last_message < math.inf and (deliveries or self._router.dropped):
            self._last_message, self._router.dropped = now, False
        return deliveries

    def _fail(self, error: RemoteProtocolError) -> None:
        if self.ended is None:
            self.ended = error

    def _receive_batch(self, frames: list[bytes], size: int, deliveries: Deliveries) -> None:
        batch = Batch()
        try:
            if self._decode_all is not None and not self._exact:
                self._decode_all(frames, batch)
            else:
                for frame in frames:
                    batch.add(self._decode_one(frame))
        finally:
            # If a message cannot be decoded, still deliver the messages before it.
            sizes = list(map(len, frames))
            runs: Iterable[tuple[int, int]] = [(0, len(batch.kinds))]
            if self.replay is not None:
                runs = new_runs(batch, self.replay, size, self._last_received)
            for begin, end in runs:
                self._route(batch, sizes, begin, end, deliveries)
                if self.ended is not None:
                    break

    def _decode_one(self, frame: bytes) -> HubMessage | None:
        message = self.protocol.decode(frame)
        if self._exact and isinstance(message, StreamItem | Completion) and message.invocation_id in self._exact:
            message = self.protocol.decode(frame, exact=True)
            if isinstance(message, Completion):
                self._exact.discard(message.invocation_id)
        return message

    def _route(self, batch: Batch, sizes: list[int], begin: int, end: int, deliveries: Deliveries) -> None:
        while begin < end and self.ended is None:
            begin = self._router.route(batch, sizes, begin, end, deliveries)
            if begin < end:
                self._handle(batch.values[begin])
                begin += 1

    def _handle(self, message: HubMessage | None) -> None:
        """Act on a Close, a ping or an Ack. Messages of unknown types (`None`) are ignored."""
        if isinstance(message, Close):
            self.ended = message
        elif isinstance(message, Ping):
            if self.replay is not None:
                self.replay.alive = True
            self._on_ping()
        elif isinstance(message, Ack) and self.replay is not None:
            self.replay.acknowledge(message.sequence_id)

    def _on_ping(self) -> None:
        """Do nothing: `receive` has noted the time already, and a ping has no other meaning for a client."""

    def _check_handshake(self, record: bytes) -> None:
        handshake.check_response(record)

    # Sending: each method returns the bytes of a message, and the shell sends the bytes

    def start(self) -> bytes:
        """Return the handshake request, which a client sends before anything else."""
        return handshake.request(self.protocol.name, _PLAIN if self.replay is None else _STATEFUL)

    def resume(self, now: float) -> list[bytes]:
        """Continue over a new transport. Return the encoded messages to send first, in this order.

        These messages have been counted already: do not pass them to `Replay.keep`.

        Raises:
            ValueError: the session has no `replay`.
        """
        if self.replay is None:
            raise ValueError("only a session with a Replay can be resumed")
        # Drop a message of which the old transport delivered only the first part: the other side sends the whole
        # message again.
        self._use(self.protocol)
        self._last_received = self._last_sent = now
        if self._last_message < math.inf:
            self._last_message = now
        self._paused_at = None
        return self.replay.repeat(self._sequence, self.filler())

    def resync_after_stream(self, stream_id: str) -> bytes:
        """Return the bytes to send after a stream of this side has ended: see `Replay.resync_after_stream`.

        Send the completion of the stream or a `filler` before these bytes. No bytes without stateful reconnect.
        """
        return b"" if self.replay is None else self.replay.resync_after_stream(stream_id, self._sequence, self.filler())

    def filler(self) -> bytes:
        """Return a message for stateful reconnect that has a number and no effect: it cancels no existing call."""
        return self.protocol.encode(Cancel("0"))

    def _sequence(self, number: int) -> bytes:
        return self.protocol.encode(Sequence(number))

    def new_id(self) -> str:
        """Return an id for a call or upload that no other call or upload of this side has."""
        self._last_id += 1
        return f"{self._id_prefix}{self._last_id}"

    def send(self, target: str, arguments: list[Any], stream_ids: list[str] | None = None) -> bytes:
        """Return an invocation without an id, which the other side does not answer."""
        return self._encode_call(target, arguments, None, stream_ids)

    def _encode_invocation(
        self, target: str, arguments: list[Any], invocation_id: str | None, stream_ids: list[str] | None
    ) -> bytes:
        return self.protocol.encode(Invocation(target, arguments, invocation_id, stream_ids))

    def invoke(
        self,
        target: str,
        arguments: list[Any],
        sink: Sink,
        stream_ids: list[str] | None = None,
        *,
        stream: bool = False,
        exact: bool = False,
    ) -> tuple[str, bytes]:
        """Return the id and the encoded message of a new call.

        The answers go to `sink` until the completion has come or `forget` is called.

        Args:
            target: name of the method.
            arguments: the arguments that are not streamed.
            sink: gets the items and the completion.
            stream_ids: one id for each streamed argument.
            stream: whether the method is a streaming method.
            exact: whether to decode numbers with a fraction as `Decimal`, with all digits.
        """
        invocation_id = self.new_id()
        if stream:
            data = self.protocol.encode(StreamInvocation(target, arguments, invocation_id, stream_ids))
        else:
            data = self._encode_call(target, arguments, invocation_id, stream_ids)
        self._router.sinks[invocation_id] = sink
        if exact:
            self._exact.add(invocation_id)
        return invocation_id, data

    def forget(self, invocation_id: str) -> bool:
        """Drop all further answers to the call with this id. Return whether its sink was still waiting."""
        self._exact.discard(invocation_id)
        return self._router.sinks.pop(invocation_id, None) is not None

    def cancel(self, invocation_id: str) -> bytes:
        """Return a CancelInvocation, which asks the other side to stop a call that this side has made."""
        return self.protocol.encode(Cancel(invocation_id))

    def item(self, stream_id: str, item: Any) -> bytes:
        """Return the encoded message for one item of a stream that this side sends."""
        return self.protocol.encode(StreamItem(stream_id, item))

    def complete(self, invocation_id: str, error: str | None = None) -> bytes:
        """Return a completion without a result: it ends a stream of this side, or answers a call of the other side."""
        return self.protocol.encode(Completion(invocation_id, error=error))

    def answer(self, invocation_id: str, result: Any) -> bytes:
        """Return the completion that answers a call of the other side with a result."""
        return self.protocol.encode(Completion(invocation_id, result, has_result=True))

    def ping(self) -> bytes:
        """Return a ping. `on_time` returns pings too, when they are due."""
        return self.protocol.encode(Ping())

    def close(self, error: str | None = None, *, allow_reconnect: bool = False) -> bytes:
        """Return the Close message. This side must send nothing after it."""
        return self.protocol.encode(Close(error, allow_reconnect))

    # Time: keep-alive pings, Acks and the server timeout

    def sent(self, now: float) -> None:
        """Note that the shell has written at this time: the next ping is due `keep_alive` seconds later."""
        self._last_sent = now

    def pause(self, now: float) -> None:
        """Note that the shell stops reading: the server timeout stands still until `unpause`."""
        self._paused_at = now

    def unpause(self, now: float) -> None:
        """Note that the shell reads again: the server timeout goes on. Does nothing without a `pause` before."""
        if self._paused_at is not None:
            self._last_received += now - self._paused_at
            self._last_message += now - self._paused_at
            self._paused_at = None

    def watch_idle(self, now: float) -> None:
        """Begin to count the time without messages, for the limit `idle`. Does nothing without that limit."""
        if self._idle < math.inf:
            self._last_message = now

    def next_deadline(self) -> float:
        """Return the time at which to call `on_time`; infinity for never."""
        silence = math.inf
        if self._paused_at is None:
            silence = min(self._last_received + self._timeout, self._last_message + self._idle)
        self._deadline = min(self._last_sent + self._keep_alive, silence)
        if self.replay is not None:
            self._deadline = min(self._deadline, self.replay.ack_at)
        return self._deadline

    def acknowledge(self, now: float) -> bytes:
        """Return an Ack for the received messages, or no bytes if no Ack is due at this time."""
        if self.replay is None or now < self.replay.ack_at:
            return b""
        return self.protocol.encode(Ack(self.replay.next_ack()))

    def on_time(self, now: float) -> bytes:
        """Return the Ack and the ping that are due, or no bytes. Call `next_deadline` afterwards.

        Raises:
            ServerTimeoutError: the other side was silent for longer than `timeout`, or sent no message for `idle`.
        """
        if now - self._deadline > _LATE:
            self._last_received = max(self._last_received, now - self._timeout + _LATE)
            self._last_message = max(self._last_message, now - self._idle + _LATE)
        self._check_silence(now)
        due = self.acknowledge(now)
        if now >= self._last_sent + self._keep_alive:
            self._last_sent = now
            due += self.ping()
        return due

    def _check_silence(self, now: float) -> None:
        if self._paused_at is None and now >= self._last_received + self._timeout:
            raise ServerTimeoutError(
                f"the server was silent for {self._timeout:g} s, so the connection counts as lost "
                f"(Timeouts.server; it should be at least twice the server's keep-alive interval)",
                allow_reconnect=True,
            )
        if self._paused_at is None and now >= self._last_message + self._idle:
            self.idled = True
            raise ServerTimeoutError(
                f"the hub sent no message for {self._idle:g} s, so the connection counts as lost (Timeouts.idle)",
                allow_reconnect=True,
            )


class ServerSession(HubSession):
    """The server's side of the hub protocol on one connection, without I/O, for the test server.

    The server's ids begin with a letter, so that they differ from the stream ids that the client chooses. The timeout
    begins with the client's first ping, since some clients send no pings.

    Args:
        protocols: the hub protocols on offer, a dict by their names in lower case.
        inbox: see `HubSession`.
        exact: a function that gets the name of a hub method and returns whether numbers in its calls and uploads are
            decoded with all digits, as `Decimal`. `None` for no method.
        options: see `HubSession`.

    Attributes:
        reply: the handshake response. Send it when `ready` is true, and when `receive` has raised an error.
    """

    replay: Replay | None  # declared again for pyright, since this class assigns the attribute too
    _id_prefix = "s"

    def __init__(
        self,
        protocols: Mapping[str, HubProtocol],
        inbox: Inbox,
        exact: Callable[[str], bool] | None = None,
        **options: Unpack[SessionOptions],
    ) -> None:
        self._is_exact = exact
        super().__init__(next(iter(protocols.values())), inbox, **options)
        self._timeout, self._timeout_with_pings = math.inf, self._timeout
        self.reply: bytes = handshake.response()
        # The inbox gets the items of a client's upload, since no sink gets them. The call that names the upload may be
        # in the same payload, and the inbox must get this call before the items.
        self._router.forwards_unclaimed = True
        self._protocols = protocols

    def _use(self, protocol: HubProtocol) -> None:
        super()._use(protocol)
        if self._is_exact is not None:
            self._decode_all = None

    def _decode_one(self, frame: bytes) -> HubMessage | None:
        message = super()._decode_one(frame)
        if (
            self._is_exact is not None
            and isinstance(message, Invocation | StreamInvocation)
            and self._is_exact(message.target)
        ):
            self._exact.update(message.stream_ids or ())
            return self.protocol.decode(frame, exact=True)
        return message

    def _on_ping(self) -> None:
        self._timeout = self._timeout_with_pings

    def _check_handshake(self, record: bytes) -> None:
        try:
            protocol, version = self._choose(record)
        except HandshakeError as error:
            self.reply = handshake.response(error.message)
            raise
        self._use(protocol)
        if version < _STATEFUL:
            self.replay = None

    def _choose(self, record: bytes) -> tuple[HubProtocol, int]:
        name, version = handshake.parse_request(record)
        protocol = self._protocols.get(name.lower())
        if protocol is None:
            raise HandshakeError(f"The protocol '{name}' is not supported.")
        if version > _STATEFUL:
            raise HandshakeError(f"The server does not support version {version} of the '{name}' protocol.")
        return protocol, version


def ending(end: Close | RemoteProtocolError | None) -> SignalRError | None:
    """Return the error that says why a session ended. `None` for a Close without error that forbids reconnecting.

    Args:
        end: the value of `HubSession.ended` when the transport has ended.
    """
    if end is None:
        return ConnectionClosedError("the connection ended without a Close message", allow_reconnect=True)
    if isinstance(end, RemoteProtocolError):
        return end
    if end.error is not None:
        return ConnectionClosedError(
            f"the server closed the connection: {redact(end.error)}", end.error, allow_reconnect=end.allow_reconnect
        )
    if end.allow_reconnect:
        return ConnectionClosedError("the server closed the connection and allows a new one", allow_reconnect=True)
    return None
