"""Both hub protocols, in sessions of both sides: whole against split, batches against single messages."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import attrs

from signalr_sdk import HandshakeError, JsonProtocol, LocalProtocolError, MessagePackProtocol, RemoteProtocolError
from signalr_sdk._core.replay import Replay
from signalr_sdk._core.session import HubSession, ServerSession
from signalr_sdk.messages import Close, Completion, Invocation, StreamItem
from signalr_sdk.protocols.batches import Batch
from signalr_sdk.protocols.framing import SEPARATOR, BinaryFraming, TextFraming
from signalr_sdk.protocols.json_values import OrjsonBackend, StandardBackend

from .checks import check_error, outcome, pieces, random_of, require, same

if TYPE_CHECKING:
    from collections.abc import Callable
    from random import Random

    from signalr_sdk._core.routing import Deliveries
    from signalr_sdk.interfaces import HubProtocol
    from signalr_sdk.messages import HubMessage

LIMIT = 1024 * 1024
# Python's integers and orjson's differ from here on, which is documented.
_LARGE_INTEGER = re.compile(rb"[0-9]{19}")
_Protocol = JsonProtocol | MessagePackProtocol
JSON, MESSAGEPACK = JsonProtocol(), MessagePackProtocol()
STANDARD_JSON = JsonProtocol(_backend=StandardBackend())
_HAS_ORJSON = isinstance(JSON._backend, OrjsonBackend)


def fields(message: HubMessage | None) -> tuple[Any, ...]:
    """Return what a message holds."""
    if message is None:
        return ("unknown",)
    return (type(message).__name__, *(getattr(message, each.name) for each in attrs.fields(type(message))))


class Recorder:
    """An inbox, and the sink of one call: both note each message by itself."""

    def __init__(self, got: list[Any], name: str = "") -> None:
        self._got = got
        self._name = name

    def events(self, targets: list[str], arguments: list[Any], sizes: list[int], /) -> None:
        """See `Inbox`."""
        self._got += [("event", *row) for row in zip(targets, arguments, sizes, strict=True)]

    def message(self, message: HubMessage, /) -> None:
        """See `Inbox`."""
        if isinstance(message, Invocation) and not (message.invocation_id or message.stream_ids or message.headers):
            self.events([message.target], [message.arguments], [message.size])
        else:
            self._got.append(fields(message))

    def items(self, items: list[Any], sizes: list[int], /) -> None:
        """See `Sink`."""
        self._got += [("item", self._name, *row) for row in zip(items, sizes, strict=True)]

    def completed(self, result: Any, error: str | None, /) -> None:
        """See `Sink`."""
        self._got.append(("completed", self._name, result, error))


@attrs.frozen
class Setting:
    """What a session is before the input comes.

    Attributes:
        serves: whether the session is that of a server.
        stateful: whether the connection may be resumed.
        resumes: whether it is just being resumed.
        exact: whether one of the calls wants all digits.
        limit: the largest message.
    """

    serves: bool
    stateful: bool
    resumes: bool
    exact: bool
    limit: int

    @classmethod
    def choose(cls, random: Random) -> Setting:
        """Choose one."""
        stateful = random.random() < 0.4
        limit = random.choice((LIMIT, LIMIT, LIMIT, 64))
        return cls(random.random() < 0.3, stateful, stateful and random.random() < 0.5, random.random() < 0.2, limit)

    def session(self, protocol: _Protocol, got: list[Any]) -> HubSession:
        """Return a session whose handshake is done, with calls that wait for answers."""
        options: dict[str, Any] = {"message_bytes": self.limit, "keep_alive": 15, "timeout": 30, "now": 0.0}
        options["replay"] = Replay(1000) if self.stateful else None
        inbox = Recorder(got)
        version = 2 if self.stateful else 1
        if self.serves:
            session: HubSession = ServerSession({protocol.name: protocol}, inbox, **options)
            session.receive(b'{"protocol":"%b","version":%d}\x1e' % (protocol.name.encode(), version), 0.0)
        else:
            session = HubSession(protocol, inbox, **options)
            session.receive(b"{}\x1e", 0.0)
        for number in range(1, 5):
            # As `invoke` does it, in less time.
            name = session.new_id()
            session._router.sinks[name] = Recorder(got, name)
            if self.exact and number == 4:
                session._exact.add(name)
            if session.replay is not None:
                session.replay.keep(b"call")
        if self.resumes:
            session.resume(0.0)
        return session


def feed(session: HubSession, data: bytes) -> None:
    """Let the session receive bytes, and make its deliveries, as a link does."""
    _make(session.receive(data, 1.0))
    while session.unread:
        before = session.unread
        _make(session.receive(b"", 1.0))
        require(before, "there is a next slice")


def _make(deliveries: Deliveries) -> None:
    for function, arguments in deliveries:
        function(*arguments)


def played(setting: Setting, protocol: _Protocol, parts: list[bytes]) -> tuple[list[Any], tuple[Any, ...]]:
    """Return all that a session delivers, and how it ends."""
    got: list[Any] = []
    session = setting.session(protocol, got)
    for part in parts:
        feed(session, part)
    framing = session._framing
    held = framing.pending + sum(map(len, framing._pieces)) + len(framing.unread)
    require(held <= 2 * (2 * setting.limit + 128 * 1024), "what is undecoded is bounded", held)
    ended = session.ended
    if isinstance(ended, RemoteProtocolError):
        check_error(ended)
        # Which length is known when a message is refused depends on the cut.
        return got, (RemoteProtocolError, re.sub("a message of [0-9]+", "a message of N", str(ended)))
    # An Ack and a ping may be due at any time.
    session.acknowledge(2.0)
    session.on_time(16.0)
    return got, (ended.error, ended.allow_reconnect) if isinstance(ended, Close) else (None,)


def _check_sessions(protocol: _Protocol, data: bytes, random: Random) -> None:
    setting = Setting.choose(random)
    whole = played(setting, protocol, [data])
    split = played(setting, protocol, pieces(data, random))
    require(same(whole, split), "whole and split are alike", setting, whole, split)


def _check_frames(protocol: _Protocol, frames: list[bytes]) -> None:
    def one_by_one(batch: Batch) -> None:
        for frame in frames:
            batch.add(protocol.decode(frame))

    fast, slow = _rows(lambda batch: protocol.decode_all(frames, batch)), _rows(one_by_one)
    require(same(fast, slow), "decode_all and decode are alike", fast, slow)
    for frame in frames[:4]:
        _check_message(protocol, frame)


def _rows(fill: Callable[[Batch], None]) -> tuple[Any, ...]:
    batch = Batch()
    error = outcome(lambda: fill(batch), RemoteProtocolError)
    values = [fields(value) if kind == 0 else value for kind, value in zip(batch.kinds, batch.values, strict=True)]
    return batch.kinds, batch.names, values, error


def _check_message(protocol: _Protocol, frame: bytes) -> None:
    """Check that a message survives being encoded, if it can be."""
    try:
        message = protocol.decode(frame)
        exact = protocol.decode(frame, exact=True)
    except RemoteProtocolError as error:
        check_error(error)
        return
    require(type(message) is type(exact), "digits change no type", message, exact)
    if not isinstance(message, Invocation | StreamItem | Completion) or _LARGE_INTEGER.search(frame):
        return
    try:
        encoded = protocol.encode(message)
    except LocalProtocolError as error:
        check_error(error)
        return
    framing = (TextFraming if protocol.name == "json" else BinaryFraming)(LIMIT)
    (again,) = framing.feed(encoded)
    require(
        same(fields(protocol.decode(again)), fields(message)), "encoded and decoded it is the same", message, encoded
    )


def check_json(data: bytes) -> None:
    """Check what the JSON protocol makes of a payload."""
    random = random_of(data)
    _check_sessions(JSON, data, random)
    frames = data.split(SEPARATOR)[:-1]
    _check_frames(JSON, frames)
    if _HAS_ORJSON and not _LARGE_INTEGER.search(data):
        for frame in frames:
            ours = outcome(lambda frame=frame: fields(JSON.decode(frame)), RemoteProtocolError)  # type: ignore[misc]
            standard = outcome(lambda frame=frame: fields(STANDARD_JSON.decode(frame)), RemoteProtocolError)  # type: ignore[misc]
            # How deep a value may be nested depends on the codec, and on the stack.
            require(same(ours, standard) or _is_deep(standard), "orjson and json are alike", ours, standard)


def _is_deep(result: tuple[Any, ...]) -> bool:
    return result[0] is RemoteProtocolError and "nested too deeply" in result[1]


def check_messagepack(data: bytes) -> None:
    """Check what the MessagePack protocol makes of a payload."""
    random = random_of(data)
    _check_sessions(MESSAGEPACK, data, random)
    framing = BinaryFraming(LIMIT)
    frames = framing.feed(data)
    while framing.unread:
        frames += framing.feed(b"")
    _check_frames(MESSAGEPACK, frames)


def check_handshake(data: bytes) -> None:
    """Check what both sides make of the first bytes."""
    random = random_of(data)
    serves = random.random() < 0.5

    def shake(parts: list[bytes]) -> tuple[Any, ...]:
        got: list[Any] = []
        options: dict[str, Any] = {"message_bytes": LIMIT, "keep_alive": 15, "timeout": 30, "now": 0.0, "replay": None}
        protocols: dict[str, HubProtocol] = {"json": JSON, "messagepack": MESSAGEPACK}
        inbox = Recorder(got)
        session = ServerSession(protocols, inbox, **options) if serves else HubSession(JSON, inbox, **options)
        try:
            for part in parts:
                feed(session, part)
        except HandshakeError as error:
            if serves:
                require(session.reply.endswith(SEPARATOR), "there is a reply", session.reply)  # type: ignore[attr-defined]
            else:
                check_error(error)
            return HandshakeError, str(error), got
        return session.ready, session.protocol.name, got, str(session.ended)

    whole, split = shake([data]), shake(pieces(data, random))
    require(same(whole, split), "whole and split are alike", whole, split)


def check_framing(data: bytes) -> None:
    """Check both framings, with small limits, against the plainest way to do it."""
    random = random_of(data)
    limit = random.choice((1, 5, 30, LIMIT))
    for kind, plain in ((TextFraming, _plain_text), (BinaryFraming, _plain_binary)):
        results = []
        for parts in ([data], pieces(data, random)):
            framing = kind(limit)
            frames: list[bytes] = []
            for part in parts:
                frames += framing.feed(part)
                while framing.unread:
                    frames += framing.feed(b"")
                require(framing.pending <= limit + 5, "what is kept is bounded", framing.pending, limit)
            results.append((frames, framing.error is not None))
        require(same(*results), "whole and split are alike", kind, results)
        expected = plain(data, limit)
        require(same(results[0], expected), "it is what the plain way gives", kind, results[0], expected)


def _plain_text(data: bytes, limit: int) -> tuple[list[bytes], bool]:
    *frames, rest = data.split(SEPARATOR)
    for index, frame in enumerate(frames):
        if len(frame) > limit:
            return frames[:index], True
    return frames, len(rest) > limit


def _plain_binary(data: bytes, limit: int) -> tuple[list[bytes], bool]:
    frames, position = list[bytes](), 0
    while position < len(data):
        length = shift = 0
        while True:
            if position == len(data):
                return frames, False
            byte = data[position]
            position += 1
            if shift == 28 and byte > 7:
                return frames, True
            length |= (byte & 0x7F) << shift
            shift += 7
            if byte < 0x80:
                break
        if not 0 < length <= limit:
            return frames, True
        if position + length > len(data):
            return frames, False
        frames.append(data[position : position + length])
        position += length
    return frames, False
