"""One connection's hub protocol, for either side of it.

Theory of operation
-------------------
A session turns bytes into messages and calls into bytes. It does no I/O, keeps no clock and runs no code of the user.

- `receive(payload, now)` takes what the transport delivered, cut anywhere. It returns `(sink, message)` pairs in the
  order received. A *sink* is an opaque callable that the shell handed in: one for each call and stream that waits for
  an answer, and the inbox for everything that the other side starts. The session looks each message's sink up once;
  the shell calls it. What has no sink (an answer to a call that was let go of) is dropped, as the specification wants.
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
from collections.abc import Callable, Iterator, Mapping
from operator import length_hint
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
from ..protocols.framing import BinaryFraming, TextFraming
from . import handshake

if TYPE_CHECKING:
    from ..interfaces import HubProtocol
    from .replay import Replay

Sink: TypeAlias = Callable[[Any], None]
Received: TypeAlias = list[tuple[Sink, HubMessage]]

# A timer that fires this much too late says that the process did not run, not that the other side was silent: what
# that sent meanwhile is still to be read, and gets so much time for it.
_LATE = 1.0
# The versions of the hub protocols: the newest is the one with stateful reconnect.
_PLAIN, _STATEFUL = 1, 2
_NUMBERED = frozenset({Invocation, StreamInvocation, StreamItem, Completion, Cancel})


class HubSession:
    """The client's side of one connection.

    Attributes:
        ended: the Close message or the error after which nothing more is received.
        replay: the numbers of a connection that can be resumed; `None` without stateful reconnect.
        synced: whether the other side has said where it goes on, after `resume`.
        alive: whether it has said anything new since then: a message or a ping.
    """

    _id_prefix = ""

    def __init__(
        self,
        protocol: HubProtocol,
        inbox: Sink,
        *,
        message_bytes: int,
        keep_alive: float | None,
        timeout: float | None,
        now: float,
        replay: Replay | None = None,
    ) -> None:
        self.ended: Close | RemoteProtocolError | None = None
        self.replay = replay
        self.synced = self.alive = True
        # Of the frames that were decoded last: how many have no number, and the Sequence that they ended with.
        self._unnumbered = 0
        self._goes_on_at: int | None = None
        self._inbox = inbox
        self._message_bytes = message_bytes
        self._handshake: handshake.HandshakeReader | None = handshake.HandshakeReader()
        self._framing: TextFraming | BinaryFraming
        self._sinks: dict[str, Sink] = {}
        self._stray: Sink | None = None
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

    def receive(self, payload: bytes, now: float) -> Received:
        """Take what arrived; return whole messages with their sinks, then look at `ended`.

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
        frames = iter(self._framing.feed(payload))
        if self.replay is None:
            received = self._decode(frames)
        else:
            received = self._decode_numbered(frames, self.replay, len(payload))
        if self.ended is None:
            self.ended = self._framing.error
        return received

    def _decode_numbered(self, frames: Iterator[bytes], replay: Replay, size: int) -> Received:
        received: Received = []
        while self.ended is None and (left := length_hint(frames)):
            if replay.duplicates or not self.synced:
                received += self._skip_duplicate(next(frames), replay)
                continue
            self._unnumbered, self._goes_on_at = 0, None
            received += self._decode(frames)
            if self.ended is not None:
                break
            if count := left - length_hint(frames) - self._unnumbered:
                self.alive = True
                replay.take(count, size, self._heard)
                size = 0
            if self._goes_on_at is not None:
                self._go_on_at(self._goes_on_at, replay)
        return received

    def _skip_duplicate(self, frame: bytes, replay: Replay) -> Received:
        """Drop a message that has come before, or comes again after the Sequence; take one that has no number."""
        try:
            message = self._protocol.decode(frame)
        except RemoteProtocolError as error:
            self.ended = error
            return []
        if type(message) is Sequence:
            self._go_on_at(message.sequence_id, replay)
        elif type(message) not in _NUMBERED:
            return self._decode(iter((frame,)))
        elif self.synced:
            replay.duplicates -= 1
        return []

    def _go_on_at(self, number: int, replay: Replay) -> None:
        try:
            replay.expect(number, self._heard)
        except RemoteProtocolError as error:
            self.ended = error
        else:
            self.synced = True

    # The loop over the frames of one payload pays every message's fixed price, so it is one function with the
    # frequent kinds first.
    def _decode(self, frames: Iterator[bytes]) -> Received:  # noqa: C901 - as said
        received: Received = []
        decode, sinks, inbox, exact = self._protocol.decode, self._sinks, self._inbox, self._exact
        stray, unnumbered = self._stray, 0
        try:
            for frame in frames:
                message = decode(frame)
                kind = message.__class__
                if kind is Invocation:
                    message.size = len(frame)  # type: ignore[union-attr]  # kind says that it is one
                    received.append((inbox, message))  # type: ignore[arg-type]
                elif kind is StreamItem or kind is Completion:
                    name: str = message.invocation_id  # type: ignore[union-attr, assignment]
                    sink = sinks.get(name, stray) if kind is StreamItem else sinks.pop(name, stray)
                    if sink is None:
                        continue
                    if exact and name in exact:
                        message = decode(frame, exact=True)
                        if kind is Completion:
                            exact.discard(name)
                    message.size = len(frame)  # type: ignore[union-attr]
                    received.append((sink, message))  # type: ignore[arg-type]
                elif kind is Close:
                    self.ended = message  # type: ignore[assignment]
                    return received
                elif kind is StreamInvocation or kind is Cancel:
                    message.size = len(frame)  # type: ignore[union-attr]
                    received.append((inbox, message))  # type: ignore[arg-type]
                elif kind is Sequence and self.replay is not None:
                    # How many came before it must be known before it is taken.
                    unnumbered += 1
                    self._goes_on_at = message.sequence_id  # type: ignore[union-attr]
                    break
                else:
                    unnumbered += 1
                    self._note_unnumbered(message)
        except RemoteProtocolError as error:
            self.ended = error
        self._unnumbered = unnumbered
        return received

    def _note_unnumbered(self, message: HubMessage | None) -> None:
        if isinstance(message, Ping):
            self.alive = True
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
        self.synced = self.alive = False
        self.replay.duplicates = 0
        self._heard = self._spoke = now
        self._paused_at = None
        return self.replay.again(self._sequence, self.filler())

    def settle(self, stream_id: str) -> bytes:
        """Return what must follow the last message of a stream that we send, after `filler` or a completion of it."""
        return b"" if self.replay is None else self.replay.settle(stream_id, self._sequence, self.filler())

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
        return self._protocol.encode(Invocation(target, arguments, None, stream_ids))

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
            sink: gets `StreamItem`s and the `Completion`.
            stream_ids: one for each streamed argument.
            stream: call a streaming method.
            exact: decode the answers without losing a digit.
        """
        invocation_id = self.new_id()
        if stream:
            data = self._protocol.encode(StreamInvocation(target, arguments, invocation_id, stream_ids))
        else:
            data = self._protocol.encode(Invocation(target, arguments, invocation_id, stream_ids))
        self.listen(invocation_id, sink, exact=exact)
        return invocation_id, data

    def listen(self, invocation_id: str, sink: Sink, *, exact: bool = False) -> None:
        """Have the items and the completion of this id go to `sink`."""
        self._sinks[invocation_id] = sink
        if exact:
            self._exact.add(invocation_id)

    def forget(self, invocation_id: str) -> bool:
        """Drop what still comes for this id; return whether it was waited for."""
        self._exact.discard(invocation_id)
        return self._sinks.pop(invocation_id, None) is not None

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
        inbox: Sink,
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
        self._stray = inbox
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
        return ConnectionClosedError(f"the server closed the connection: {end.error}", end.error, end.allow_reconnect)
    if end.allow_reconnect:
        return ConnectionClosedError("the server closed the connection and allows a new one", None, True)
    return None
