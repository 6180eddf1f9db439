"""One connection's hub protocol, for either side of it.

Theory of operation
-------------------
A session turns bytes into messages and calls into bytes. It does no I/O, keeps no clock and runs no code of the user.

- `receive(payload, now)` takes what the transport delivered, cut anywhere. It returns calls, `(function, arguments)`,
  that the shell makes in this order: of the `Sink` that it handed in for each call and stream that waits for an
  answer, and of the `Inbox` for everything that the other side starts. Neighbours that go the same way, as when much
  is received, share one call. What has no sink (an answer to a call that was let go of) is dropped, as the
  specification wants.
- After `receive` the shell looks at `ended`: it holds the other side's Close message, or the error that makes going on
  impossible. The messages before it were returned; nothing after it is.
- The methods that call or answer return bytes, which the shell must send in that order, after the handshake.
- Time comes in as an argument. The shell calls `on_time` when `next_deadline()` has come; `sent` when something went
  out; `pause` and `unpause` around times in which it does not read on purpose.
- With a `Replay` (stateful reconnect) the session outlives its transport: after a cut the shell calls `resume`, sends
  what that returns over the new transport before anything else, and is through when `synced`. The messages that the
  methods return are numbered by the shell (`Replay.keep`), when it is certain that they leave.

The handshake is the first record in each direction, always JSON, ended by 0x1E. What follows it in the same payload is
ordinary data: `HubSession` is the side that calls the hub, `ServerSession` differs in the handshake only.
Source: HubProtocol.md of dotnet/aspnetcore.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, TypeAlias

from ..errors import (
    ConnectionClosedError,
    HandshakeError,
    RemoteProtocolError,
    ServerTimeoutError,
    SignalRError,
)
from ..messages import Ack, Close, Completion, HubMessage, Invocation, Ping, Sequence, StreamInvocation, StreamItem
from ..messages import CancelInvocation as Cancel
from ..options import TransferFormat
from ..protocols.batches import Batch, shortcut
from ..protocols.framing import BinaryFraming, TextFraming
from . import handshake
from .routing import Deliveries, Inbox, Router, Sink, new_runs

if TYPE_CHECKING:
    from ..interfaces import HubProtocol
    from .replay import Replay

_CallEncoder: TypeAlias = Callable[[str, list[Any], str | None, list[str] | None], bytes]

# A timer that fires this much too late says that the process did not run, not that the other side was silent: what
# that sent meanwhile is still to be read, and gets so much time for it.
_LATE = 1.0
# The versions of the hub protocols: the newest is the one with stateful reconnect.
_PLAIN, _STATEFUL = 1, 2


class HubSession:
    """The client's side of one connection.

    Attributes:
        ended: the Close message or the error after which nothing more is received.
        replay: the numbers of a connection that can be resumed; `None` without stateful reconnect.
        received_single: whether the last payload was one message, as between calls made one after another.
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
        replay: Replay | None = None,
    ) -> None:
        self.ended: Close | RemoteProtocolError | None = None
        self.replay = replay
        self.received_single = False
        self._router = Router(inbox)
        self._message_bytes = message_bytes
        self._handshake: handshake.HandshakeReader | None = handshake.HandshakeReader()
        self._framing: TextFraming | BinaryFraming
        self._exact: set[str] = set()
        self._last_id = 0
        self._keep_alive = math.inf if keep_alive is None else keep_alive
        self._timeout = math.inf if timeout is None else timeout
        self._heard = self._spoke = now
        self._paused_at: float | None = None
        self._deadline = math.inf
        self._use(protocol)

    def _use(self, protocol: HubProtocol) -> None:
        binary = protocol.transfer_format is TransferFormat.BINARY
        self._protocol = protocol
        self._decode_all: Callable[[list[bytes], Batch], None] | None = shortcut(protocol, "decode", "decode_all")
        self._encode_call: _CallEncoder = shortcut(protocol, "encode", "encode_call") or self._encode_invocation
        self._framing = (BinaryFraming if binary else TextFraming)(self._message_bytes)

    @property
    def protocol(self) -> HubProtocol:
        """The hub protocol that is spoken."""
        return self._protocol

    # Receiving

    @property
    def ready(self) -> bool:
        """Whether the handshake is done."""
        return self._handshake is None

    @property
    def overflowed(self) -> bool:
        """Whether it has `ended` for a message over the limit."""
        return self._framing.error is not None

    @property
    def synced(self) -> bool:
        """Whether the other side has said which message it sends next, after `resume`; true without `replay`."""
        return self.replay is None or self.replay.synced

    @property
    def alive(self) -> bool:
        """Whether the other side has sent anything new since `resume`: a message or a ping; true without `replay`."""
        return self.replay is None or self.replay.alive

    def receive(self, payload: bytes, now: float) -> Deliveries:
        """Take what arrived; return the calls that hand on whole messages, then look at `ended`.

        Raises:
            HandshakeError: the other side's handshake is none, or a refusal. The session is of no more use.
        """
        self._heard = now
        if self.ended is not None:
            return []
        if self._handshake is not None:
            rest = self._handshake.feed(payload)
            if rest is None:
                return []
            self._shake_hands(self._handshake.record)
            self._handshake = None
            payload = rest
        frames = self._framing.feed(payload)
        deliveries: Deliveries = []
        try:
            if len(frames) == 1 and self.replay is None:
                # As between calls that are made one after another: a batch of one would cost half as much again.
                message = self._decode_one(frames[0])
                if not self._router.route_message(message, len(frames[0]), deliveries):
                    self._note(message)
            elif frames:
                self._receive_batch(frames, len(payload), deliveries)
        except RemoteProtocolError as error:
            self._fail(error)
        if self._framing.error is not None:
            self._fail(self._framing.error)
        self.received_single = len(frames) == len(deliveries) == 1
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
            # The messages before an undecodable one are not lost.
            sizes = list(map(len, frames))
            runs = [(0, len(batch.kinds))] if self.replay is None else new_runs(batch, self.replay, size, self._heard)
            for begin, end in runs:
                self._route(batch, sizes, begin, end, deliveries)
                if self.ended is not None:
                    break

    def _decode_one(self, frame: bytes) -> HubMessage | None:
        message = self._protocol.decode(frame)
        if self._exact and isinstance(message, StreamItem | Completion) and message.invocation_id in self._exact:
            message = self._protocol.decode(frame, exact=True)
            if isinstance(message, Completion):
                self._exact.discard(message.invocation_id)
        return message

    def _route(self, batch: Batch, sizes: list[int], begin: int, end: int, deliveries: Deliveries) -> None:
        while begin < end and self.ended is None:
            begin = self._router.route(batch, sizes, begin, end, deliveries)
            if begin < end:
                self._note(batch.values[begin])
                begin += 1

    def _note(self, message: HubMessage | None) -> None:
        """Take a message that is for the session itself; nothing happens for one whose type is unknown."""
        if isinstance(message, Close):
            self.ended = message
        elif isinstance(message, Ping):
            if self.replay is not None:
                self.replay.alive = True
            self._note_ping()
        elif isinstance(message, Ack) and self.replay is not None:
            self.replay.acknowledge(message.sequence_id)

    def _note_ping(self) -> None:
        """A ping says no more than anything else that is received."""

    def _shake_hands(self, record: bytes) -> None:
        handshake.check_response(record)

    # Calling

    def start(self) -> bytes:
        """Return the handshake request: the first thing that a client sends."""
        return handshake.request(self._protocol.name, _PLAIN if self.replay is None else _STATEFUL)

    def resume(self, now: float) -> list[bytes]:
        """Go on over a new transport; return what must be sent before anything else, which has its numbers already.

        Raises:
            ValueError: there is no `replay`.
        """
        if self.replay is None:
            raise ValueError("only a session with a Replay can be resumed")
        # A message that was cut off is sent again whole.
        self._use(self._protocol)
        self._heard = self._spoke = now
        self._paused_at = None
        return self.replay.again(self._sequence, self.filler())

    def resync_after_stream(self, stream_id: str) -> bytes:
        """Return what must follow the last message of a stream that we send, after `filler` or a completion of it."""
        return b"" if self.replay is None else self.replay.resync_after_stream(stream_id, self._sequence, self.filler())

    def filler(self) -> bytes:
        """Return a message that has a number and no meaning: it lets go of a call that there never was."""
        return self._protocol.encode(Cancel("0"))

    def _sequence(self, number: int) -> bytes:
        return self._protocol.encode(Sequence(number))

    def new_id(self) -> str:
        """Return an id for a call or stream that no other one on this connection has."""
        self._last_id += 1
        return f"{self._id_prefix}{self._last_id}"

    def send(self, target: str, arguments: list[Any], stream_ids: list[str] | None = None) -> bytes:
        """Return an invocation that asks for no answer."""
        return self._encode_call(target, arguments, None, stream_ids)

    def _encode_invocation(
        self, target: str, arguments: list[Any], invocation_id: str | None, stream_ids: list[str] | None
    ) -> bytes:
        return self._protocol.encode(Invocation(target, arguments, invocation_id, stream_ids))

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
        """Return a new call's id and bytes; its answers go to `sink` until the completion or `forget`.

        Args:
            target: the method.
            arguments: those that are not streamed.
            sink: gets the items and the completion.
            stream_ids: one for each streamed argument.
            stream: call a streaming method.
            exact: decode the answers without losing a digit.
        """
        invocation_id = self.new_id()
        if stream:
            data = self._protocol.encode(StreamInvocation(target, arguments, invocation_id, stream_ids))
        else:
            data = self._encode_call(target, arguments, invocation_id, stream_ids)
        self._router.sinks[invocation_id] = sink
        if exact:
            self._exact.add(invocation_id)
        return invocation_id, data

    def forget(self, invocation_id: str) -> bool:
        """Drop what still comes for this id; return whether it was waited for."""
        self._exact.discard(invocation_id)
        return self._router.sinks.pop(invocation_id, None) is not None

    def cancel(self, invocation_id: str) -> bytes:
        """Return the message that lets go of a call."""
        return self._protocol.encode(Cancel(invocation_id))

    def item(self, stream_id: str, item: Any) -> bytes:
        """Return one item of a stream that we send."""
        return self._protocol.encode(StreamItem(stream_id, item))

    def complete(self, invocation_id: str, error: str | None = None) -> bytes:
        """Return the end of a stream that we send, or of a call without a result."""
        return self._protocol.encode(Completion(invocation_id, error=error))

    def answer(self, invocation_id: str, result: Any) -> bytes:
        """Return the result of a call that the other side made."""
        return self._protocol.encode(Completion(invocation_id, result, has_result=True))

    def ping(self) -> bytes:
        """Return a ping."""
        return self._protocol.encode(Ping())

    def close(self, error: str | None = None, *, allow_reconnect: bool = False) -> bytes:
        """Return the message that says good-bye."""
        return self._protocol.encode(Close(error, allow_reconnect))

    # Time

    def sent(self, now: float) -> None:
        """Note that something went out."""
        self._spoke = now

    def pause(self, now: float) -> None:
        """Note that the shell stops reading: the clock of the server timeout stands still until `unpause`."""
        self._paused_at = now

    def unpause(self, now: float) -> None:
        """Note that the shell reads again."""
        if self._paused_at is not None:
            self._heard += now - self._paused_at
            self._paused_at = None

    def next_deadline(self) -> float:
        """Return when to call `on_time` next; infinity for never."""
        silence = math.inf if self._paused_at is not None else self._heard + self._timeout
        self._deadline = min(self._spoke + self._keep_alive, silence)
        if self.replay is not None:
            self._deadline = min(self._deadline, self.replay.ack_at)
        return self._deadline

    def acknowledge(self, now: float) -> bytes:
        """Return the Ack that is due; nothing if none is."""
        if self.replay is None or now < self.replay.ack_at:
            return b""
        return self._protocol.encode(Ack(self.replay.announce()))

    def on_time(self, now: float) -> bytes:
        """Return the ping and the Ack that are due, as far as they are; then ask for `next_deadline` again.

        Raises:
            ServerTimeoutError: the other side was silent for too long.
        """
        if now - self._deadline > _LATE:
            self._heard = max(self._heard, now - self._timeout + _LATE)
        if self._paused_at is None and now >= self._heard + self._timeout:
            raise ServerTimeoutError(
                f"the server was silent for {self._timeout:g} s, so the connection is taken as lost "
                f"(Timeouts.server; it should be at least twice the server's keep-alive interval)",
                allow_reconnect=True,
            )
        due = self.acknowledge(now)
        if now >= self._spoke + self._keep_alive:
            self._spoke = now
            due += self.ping()
        return due


class ServerSession(HubSession):
    """The side that serves hubs. Its ids cannot be mistaken for the stream ids that the client chose.

    Its timeout begins with the client's first ping, since there are clients that send none.

    Attributes:
        reply: the handshake's answer: to be sent when `receive` was `ready` for the first time, or refused.
    """

    _id_prefix = "s"

    def __init__(
        self,
        protocols: Mapping[str, HubProtocol],
        inbox: Inbox,
        *,
        message_bytes: int,
        keep_alive: float | None,
        timeout: float | None,
        now: float,
        replay: Replay | None = None,
    ) -> None:
        first = next(iter(protocols.values()))
        super().__init__(
            first, inbox, message_bytes=message_bytes, keep_alive=keep_alive, timeout=None, now=now, replay=replay
        )
        self._timeout_with_pings = math.inf if timeout is None else timeout
        self.reply = handshake.response()
        # A client's streams follow the invocation that names them, maybe in the same payload: they go the same way.
        self._router.takes_strays = True
        self._protocols = protocols

    def _note_ping(self) -> None:
        self._timeout = self._timeout_with_pings

    def _shake_hands(self, record: bytes) -> None:
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
    """Return the error that a session's end means; `None` for a Close in good order.

    Args:
        end: `HubSession.ended` when the transport is at its end.
    """
    if end is None:
        return ConnectionClosedError("the connection ended without a Close message", allow_reconnect=True)
    if isinstance(end, RemoteProtocolError):
        return end
    if end.error is not None:
        return ConnectionClosedError(
            f"the server closed the connection: {end.error}", end.error, allow_reconnect=end.allow_reconnect
        )
    if end.allow_reconnect:
        return ConnectionClosedError("the server closed the connection and allows a new one", allow_reconnect=True)
    return None
