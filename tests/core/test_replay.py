"""Stateful reconnect without any I/O: numbers, Acks, and two sessions whose line is cut at any byte."""

from __future__ import annotations

import base64
import itertools
import math
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule
from tests.core.arrivals import Recorder, messages_of

from signalr_sdk._core.replay import Replay
from signalr_sdk._core.session import HubSession, ServerSession
from signalr_sdk.errors import RemoteProtocolError
from signalr_sdk.messages import (
    Ack,
    CancelInvocation,
    Close,
    Completion,
    HubMessage,
    Invocation,
    Ping,
    Sequence,
    StreamInvocation,
    StreamItem,
)
from signalr_sdk.protocols import JsonProtocol, MessagePackProtocol

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from signalr_sdk.interfaces import HubProtocol

JSON = JsonProtocol()
OK = b"{}\x1e"


# Nothing goes there: the tests look at what `receive` returned.
inbox = Recorder()


def numbered(limit: int = 1000, protocol: HubProtocol = JSON) -> tuple[HubSession, Replay]:
    """Return a client's session after its handshake, and its numbers."""
    replay = Replay(limit)
    session = HubSession(protocol, inbox, message_bytes=1 << 20, keep_alive=None, timeout=None, now=0.0, replay=replay)
    session.receive(OK, 0.0)
    return session, replay


def say(*messages: HubMessage) -> bytes:
    return b"".join(map(JSON.encode, messages))


def event(number: int) -> Invocation:
    return Invocation("event", [number])


def numbers_of(session: HubSession, *messages: HubMessage, now: float = 0.0) -> list[Any]:
    """Let the session receive this in one payload; return the first argument of each event that it hands on."""
    received = messages_of(session.receive(say(*messages), now))
    return [message.arguments[0] for message in received]  # type: ignore[union-attr]


# Sending


def test_what_is_sent_is_kept_until_it_is_acknowledged() -> None:
    replay = Replay(10)
    for data in (b"one", b"two", b"three"):
        replay.keep(data)
    assert (replay.kept, replay.next_number, replay.room, replay.full) == (3, 1, -1, True)
    replay.acknowledge(2)
    assert (replay.kept, replay.next_number, replay.room, replay.full) == (1, 3, 5, False)
    replay.acknowledge(1)
    replay.acknowledge(2)
    assert replay.next_number == 3
    replay.acknowledge(3)
    assert (replay.kept, replay.next_number, replay.room) == (0, 4, 10)


def test_an_ack_of_what_was_never_sent_is_an_error() -> None:
    session, replay = numbered()
    replay.keep(b"one")
    session.receive(say(Ack(2)), 0.0)
    assert isinstance(session.ended, RemoteProtocolError)
    assert "acknowledges message 2, but only 1 were sent" in str(session.ended)


def test_the_handshake_asks_for_version_2() -> None:
    session = HubSession(JSON, inbox, message_bytes=100, keep_alive=None, timeout=None, now=0.0, replay=Replay(100))
    assert session.start() == b'{"protocol":"json","version":2}\x1e'


# Receiving


def test_only_messages_with_numbers_count() -> None:
    session, replay = numbered()
    completion = Completion(session.invoke("Add", [], inbox)[0])
    session.receive(say(Ping(), event(1), Ack(0), completion, Completion("nobody's"), Ping()), 0.0)
    assert replay.received == 3
    session.receive(b'{"type":77}\x1e', 0.0)
    assert replay.received == 3
    session.receive(say(StreamItem("x", 1), StreamInvocation("x", [], "1"), CancelInvocation("1")), 0.0)
    assert replay.received == 6


def test_an_ack_leaves_a_second_after_the_first_message_that_it_covers() -> None:
    session, replay = numbered()
    assert session.next_deadline() == math.inf
    assert session.acknowledge(99.0) == b""
    session.receive(say(event(1)), 5.0)
    session.receive(say(event(2)), 5.9)
    assert session.next_deadline() == 6.0
    assert session.acknowledge(5.9) == b""
    assert session.on_time(6.0) == say(Ack(2))
    assert session.next_deadline() == math.inf
    session.receive(say(Ping()), 7.0)
    assert session.next_deadline() == math.inf
    assert replay.received == 2


def test_an_ack_leaves_at_once_when_a_quarter_of_the_buffer_has_come() -> None:
    session, _replay = numbered(limit=4 * len(say(event(1), event(2))))
    session.receive(say(event(1)), 5.0)
    assert session.acknowledge(5.0) == b""
    session.receive(say(event(2)), 5.1)
    assert session.acknowledge(5.1) == say(Ack(2))
    session.receive(say(event(3)), 5.2)
    assert session.next_deadline() == 6.2


def test_an_ack_and_a_ping_leave_together() -> None:
    session = HubSession(JSON, inbox, message_bytes=1000, keep_alive=3.0, timeout=None, now=0.0, replay=Replay(1000))
    session.receive(OK + say(event(1)), 2.0)
    assert session.on_time(3.0) == say(Ack(1), Ping())


# Resuming


def test_a_session_without_numbers_cannot_be_resumed() -> None:
    session = HubSession(JSON, inbox, message_bytes=1000, keep_alive=None, timeout=None, now=0.0)
    session.receive(OK, 0.0)
    with pytest.raises(ValueError, match="Replay"):
        session.resume(0.0)
    session.receive(say(Ack(7), Sequence(7), event(1)), 0.0)
    assert session.ended is None


def test_it_says_where_it_goes_on_and_sends_again_what_is_not_acknowledged() -> None:
    session, replay = numbered()
    sent = [session.send("Method", [number]) for number in range(3)]
    for data in sent:
        replay.keep(data)
    session.receive(say(Ack(1)), 0.0)
    assert session.resume(1.0) == [say(Sequence(2)), *sent[1:]]
    session.receive(say(Sequence(1), Ack(3)), 1.0)
    replay.keep(session.send("Method", [4]))
    session.receive(say(Ack(4)), 1.0)
    assert session.resume(2.0) == [say(Sequence(5))]


def test_a_sequence_does_not_go_beyond_the_last_until_that_is_over() -> None:
    """ASP.NET Core would close the connection: it counts from the last Sequence, wherever it was before."""
    session, replay = numbered()
    sent = [session.send("Method", [number]) for number in range(3)]
    for data in sent:
        replay.keep(data)
    session.resume(1.0)
    session.receive(say(Sequence(1), Ack(2)), 1.0)
    filler = session.filler()
    assert session.resume(2.0) == [say(Sequence(1)), filler, filler, sent[2]]


def test_what_has_come_before_is_dropped() -> None:
    session, replay = numbered()
    assert numbers_of(session, event(1), event(2), event(3)) == [1, 2, 3]
    session.resume(1.0)
    assert not session.synced
    assert numbers_of(session, Sequence(2), Ping(), event(2), event(3), event(4), event(5)) == [4, 5]
    assert session.synced
    assert (replay.received, replay.duplicates) == (5, 0)
    assert numbers_of(session, event(6)) == [6]


@pytest.mark.parametrize("new", [(Ping(),), (Sequence(2), event(2))], ids=["ping", "message"])
def test_a_side_is_alive_again_when_it_says_anything_new(new: tuple[HubMessage, ...]) -> None:
    session, _replay = numbered()
    numbers_of(session, event(1))
    assert session.alive
    session.resume(1.0)
    numbers_of(session, Sequence(1), event(1))
    assert not session.alive
    numbers_of(session, *new)
    assert session.alive


def test_duplicates_may_come_in_several_payloads() -> None:
    session, replay = numbered()
    numbers_of(session, event(1), event(2), event(3))
    session.resume(1.0)
    assert numbers_of(session, Ping(), Sequence(1)) == []
    assert numbers_of(session, event(1)) == []
    assert numbers_of(session, event(2), Ping(), event(3)) == []
    assert numbers_of(session, event(4)) == [4]
    assert replay.received == 4


def test_duplicates_are_acknowledged_again() -> None:
    """The server has not seen the Ack, else it would not have sent them again."""
    session, _replay = numbered()
    numbers_of(session, event(1))
    assert session.acknowledge(1.0) == say(Ack(1))
    session.resume(2.0)
    assert numbers_of(session, Sequence(1), event(1), now=3.0) == []
    assert session.on_time(4.0) == say(Ack(1))


def test_what_comes_before_the_sequence_is_dropped_since_it_comes_again() -> None:
    session, replay = numbered()
    numbers_of(session, event(1))
    session.resume(1.0)
    assert numbers_of(session, event(2)) == []
    assert replay.received == 1
    assert numbers_of(session, Sequence(2), event(2)) == [2]


def test_the_rest_of_a_message_that_was_cut_is_forgotten() -> None:
    session, _replay = numbered()
    session.receive(say(event(1))[:-5], 0.0)
    session.resume(1.0)
    assert numbers_of(session, Sequence(1), event(1)) == [1]


@pytest.mark.parametrize("number", [-1, 0, 3, 2**40])
def test_a_sequence_that_leaves_a_gap_is_an_error(number: int) -> None:
    session, _replay = numbered()
    numbers_of(session, event(1))
    session.resume(1.0)
    assert numbers_of(session, Sequence(number), event(2)) == []
    assert isinstance(session.ended, RemoteProtocolError)
    assert f"goes on with message {number}, but 2 is the next" in str(session.ended)


def test_a_sequence_may_come_at_any_time() -> None:
    session, replay = numbered()
    assert numbers_of(session, event(1), event(2), Sequence(2), event(2), event(3), Sequence(3), event(3)) == [1, 2, 3]
    assert (replay.received, session.synced, session.ended) == (3, True, None)
    assert numbers_of(session, Sequence(4), Sequence(1), event(1), Sequence(4), event(4)) == [4]
    assert numbers_of(session, event(5), Sequence(7), event(6)) == [5]
    assert isinstance(session.ended, RemoteProtocolError)


@pytest.mark.parametrize("messages", [(Sequence(1),), (event(0), Sequence(1), event(0))], ids=["alone", "with events"])
def test_many_sequences_are_no_burden(messages: tuple[HubMessage, ...]) -> None:
    """Each frame is decoded twice at most, and never copied with all that follow."""
    frames = CountingProtocol()
    session, _replay = numbered(protocol=frames)
    count = 100_000 // len(messages)
    session.receive(say(*messages) * count, 0.0)
    assert session.ended is None
    assert frames.decoded <= 2 * count * len(messages)


class CountingProtocol(JsonProtocol):
    """Counts what it decodes."""

    decoded = 0

    def decode(self, frame: bytes, /, *, exact: bool = False) -> HubMessage | None:
        self.decoded += 1
        return super().decode(frame, exact=exact)


def test_a_close_before_the_sequence_is_the_end() -> None:
    session, _replay = numbered()
    session.resume(1.0)
    session.receive(say(Close("no more")), 1.0)
    assert isinstance(session.ended, Close)


def test_garbage_instead_of_a_sequence_is_an_error() -> None:
    session, _replay = numbered()
    session.resume(1.0)
    assert session.receive(b"garbage\x1e", 1.0) == []
    assert isinstance(session.ended, RemoteProtocolError)


def test_the_clocks_begin_anew() -> None:
    session = HubSession(JSON, inbox, message_bytes=1000, keep_alive=15.0, timeout=30.0, now=0.0, replay=Replay(1000))
    session.receive(OK, 0.0)
    session.pause(1.0)
    session.resume(100.0)
    assert session.next_deadline() == 115.0
    session.sent(129.0)
    assert session.next_deadline() == 130.0


@pytest.mark.parametrize(("version", "has_numbers"), [(1, False), (2, True)])
def test_a_server_has_numbers_if_the_client_asks_for_them(version: int, has_numbers: bool) -> None:
    session = ServerSession(
        {"json": JSON}, inbox, message_bytes=1000, keep_alive=None, timeout=None, now=0.0, replay=Replay(1000)
    )
    session.receive(f'{{"protocol":"json","version":{version}}}\x1e'.encode(), 0.0)
    assert (session.replay is not None) is has_numbers


# How ASP.NET Core counts


class MicrosoftsCount:
    """The server's side of the numbers as ASP.NET Core 8 to 10 has it: items of streams that are over do not count.

    Attributes:
        processed: what was handed on, but items.
    """

    def __init__(self) -> None:
        self.current, self.latest = 1, 0
        self.alive: set[str] = set()
        self.processed: list[str] = []

    def receive(self, data: bytes) -> None:
        for frame in data.split(b"\x1e")[:-1]:
            message = JSON.decode(frame)
            if isinstance(message, Sequence):
                assert message.sequence_id <= self.current, "the server closes the connection"
                self.current = message.sequence_id
            elif isinstance(message, StreamItem) and message.invocation_id not in self.alive:
                continue
            elif self.counts():
                self.process(message)

    def counts(self) -> bool:
        number, self.current = self.current, self.current + 1
        if number <= self.latest:
            return False
        self.latest = number
        return True

    def process(self, message: HubMessage | None) -> None:
        if isinstance(message, Invocation):
            self.alive.update(message.stream_ids or ())
            self.processed.append(message.target)
        elif isinstance(message, Completion):
            self.alive.discard(message.invocation_id)


class Counted(RuleBasedStateMachine):
    """Uploads, calls and cuts against that: each call runs once, in order, and the numbers agree in the end."""

    def __init__(self) -> None:
        super().__init__()
        self.session, self.replay = numbered(1 << 20)
        self.server = MicrosoftsCount()
        self.wire = bytearray()
        self.called: list[str] = []
        self.open: list[str] = []

    def send(self, data: bytes, stream_id: str | None = None) -> None:
        self.replay.keep(data, stream_id)
        self.wire += data

    @rule()
    def call(self) -> None:
        self.called.append(f"call {len(self.called)}")
        self.send(self.session.send(self.called[-1], []))

    @rule()
    def upload(self) -> None:
        stream_id = self.session.new_id()
        self.called.append(f"call {len(self.called)}")
        self.open.append(stream_id)
        self.send(self.session.send(self.called[-1], [], [stream_id]))

    @precondition(lambda self: self.open)
    @rule(which=st.integers(0, 5), count=st.integers(1, 4))
    def items(self, which: int, count: int) -> None:
        stream_id = self.open[which % len(self.open)]
        for number in range(count):
            self.send(self.session.item(stream_id, number), stream_id)

    @precondition(lambda self: self.open)
    @rule(which=st.integers(0, 5), tell=st.booleans())
    def end(self, which: int, tell: bool) -> None:
        stream_id = self.open.pop(which % len(self.open))
        self.send(self.session.complete(stream_id) if tell else self.session.filler())
        if not tell:
            # Only when the server has said that it is over.
            self.deliver(len(self.wire))
            self.server.alive.discard(stream_id)
        self.wire += self.session.resync_after_stream(stream_id)

    @rule(count=st.integers(1, 300))
    def deliver(self, count: int) -> None:
        end = self.wire.rfind(b"\x1e", 0, count) + 1
        self.server.receive(bytes(self.wire[:end]))
        del self.wire[:end]

    @rule()
    def acknowledge(self) -> None:
        self.session.receive(say(Ack(self.server.latest)), 0.0)

    @rule()
    def late_items(self) -> None:
        """A method that ends before its stream does: what is on its way is not counted, until the stream is settled."""
        stream_id = self.session.new_id()
        self.called.append(f"call {len(self.called)}")
        self.send(self.session.send(self.called[-1], [], [stream_id]))
        self.deliver(len(self.wire))
        self.server.alive.discard(stream_id)
        for number in range(3):
            self.send(self.session.item(stream_id, number), stream_id)
        self.send(self.session.complete(stream_id))
        self.wire += self.session.resync_after_stream(stream_id)
        self.deliver(len(self.wire))

    @rule(count=st.integers(0, 300))
    def cut(self, count: int) -> None:
        self.deliver(count)
        self.wire = bytearray(b"".join(self.session.resume(0.0)))
        self.session.receive(say(Sequence(1)), 0.0)

    @invariant()
    def calls_run_once_in_order(self) -> None:
        assert self.session.ended is None
        assert self.server.processed == self.called[: len(self.server.processed)]

    def teardown(self) -> None:
        while self.open:
            self.end(0, tell=True)
        self.call()
        self.deliver(len(self.wire))
        assert self.server.processed == self.called
        self.acknowledge()
        assert self.replay.kept == 0


TestCounted = Counted.TestCase
TestCounted.settings = settings(max_examples=40, stateful_step_count=30, deadline=None)


# Microsoft's own exchange, message by message


@pytest.mark.parametrize("protocol", [JSON, MessagePackProtocol()], ids=["json", "messagepack"])
def test_the_exchange_of_the_official_client(protocol: HubProtocol) -> None:
    """What Microsoft's JavaScript client and ASP.NET Core said to each other around a cut, as recorded."""
    session, replay = numbered(100_000, protocol)
    incoming = {
        "json": [
            b'{"type":3,"invocationId":"1","result":3}\x1e',
            (
                b'{"type":1,"target":"m","arguments":[0,"xx"]}\x1e{"type":1,"target":"m","arguments":[1,"xx"]}\x1e'
                b'{"type":1,"target":"m","arguments":[2,"xx"]}\x1e{"type":3,"invocationId":"2","result":null}\x1e'
            ),
            b'{"type":8,"sequenceId":2}\x1e',
            b'{"type":9,"sequenceId":6}\x1e{"type":3,"invocationId":"3","result":7}\x1e',
        ],
        "messagepack": [
            bytes.fromhex("07950380a1310303"),
            bytes.fromhex("0c960180c0a16d9200a27878900c960180c0a16d9201a27878900c960180c0a16d9202a2787890")
            + bytes.fromhex("07950380a13203c0"),
            bytes.fromhex("03920802"),
            bytes.fromhex("03920906") + bytes.fromhex("07950380a1330307"),
        ],
    }[protocol.name]
    sink = Recorder()
    replay.keep(session.invoke("Add", [1, 2], sink)[1])
    replay.keep(session.invoke("Flood", ["m", 3, 2], sink)[1])
    for payload in incoming[:3]:
        session.receive(payload, 0.0)
    assert session.acknowledge(1.0) == protocol.encode(Ack(5))
    call = session.invoke("Add", [3, 4], sink)[1]
    replay.keep(call)
    assert session.resume(2.0) == [protocol.encode(Sequence(3)), call]
    (message,) = messages_of(session.receive(incoming[3], 2.0))
    assert isinstance(message, Completion)
    assert message.result == 7
    assert session.on_time(3.0) == protocol.encode(Ack(6))


# Two sessions, and a line that is cut


class Side:
    """One side: its session, and the bytes that are on their way from it."""

    def __init__(self, session: HubSession) -> None:
        assert session.replay is not None
        self.session, self.replay = session, session.replay
        self.wire = bytearray()
        self.is_up = True
        self.sent: list[object] = []
        self.got: list[object] = []

    def send(self, value: object) -> None:
        self.sent.append(value)
        data = self.session.send("event", [value])
        self.replay.keep(data)
        if self.is_up:
            self.wire += data

    def cut(self) -> None:
        self.wire.clear()
        self.is_up = False

    def resume(self, now: float) -> None:
        self.wire += b"".join(self.session.resume(now))
        self.is_up = True

    def receive(self, payload: bytes, now: float) -> None:
        for message in messages_of(self.session.receive(payload, now)):
            assert isinstance(message, Invocation)
            self.got.append(message.arguments[0])


def pair(protocol: HubProtocol) -> tuple[Side, Side]:
    """Return a client and a server that have shaken hands."""
    client, _replay = numbered(200, protocol)
    server = ServerSession(
        {protocol.name: protocol},
        inbox,
        message_bytes=1 << 20,
        keep_alive=None,
        timeout=None,
        now=0.0,
        replay=Replay(200),
    )
    server.receive(client.start(), 0.0)
    return Side(client), Side(server)


class Resuming(RuleBasedStateMachine):
    """Whatever is cut, and whenever: each message arrives once, in order."""

    protocol: HubProtocol = JSON

    def __init__(self) -> None:
        super().__init__()
        self.sides = pair(self.protocol)
        self.now = 0.0
        self.count = itertools.count()

    @rule(which=st.integers(0, 1))
    def send(self, which: int) -> None:
        self.sides[which].send(next(self.count))

    @rule(which=st.integers(0, 1), count=st.integers(1, 120))
    def deliver(self, which: int, count: int) -> None:
        sender, receiver = self.sides[which], self.sides[1 - which]
        if receiver.is_up:
            payload = bytes(sender.wire[:count])
            del sender.wire[:count]
            receiver.receive(payload, self.now)

    @rule(which=st.integers(0, 1), seconds=st.sampled_from([0.0, 0.6, 1.1]))
    def acknowledge(self, which: int, seconds: float) -> None:
        self.now += seconds
        side = self.sides[which]
        if side.is_up:
            side.wire += side.session.acknowledge(self.now)

    @rule(count=st.integers(0, 200), other=st.integers(0, 200))
    def cut(self, count: int, other: int) -> None:
        """Lose all but the first bytes in either direction; also in the middle of a resume."""
        self.deliver(0, count)
        self.deliver(1, other)
        for side in self.sides:
            side.cut()

    @precondition(lambda self: not self.sides[0].is_up)
    @rule(first=st.integers(0, 1))
    def resume(self, first: int) -> None:
        self.sides[first].resume(self.now)
        self.sides[1 - first].resume(self.now)

    @invariant()
    def nothing_is_lost_doubled_or_out_of_order(self) -> None:
        for side, other in (self.sides, self.sides[::-1]):
            assert side.session.ended is None
            assert side.got == other.sent[: len(side.got)]
            assert side.replay.received == len(side.got)

    def teardown(self) -> None:
        if not self.sides[0].is_up:
            self.resume(0)
        for which in (0, 1):
            self.deliver(which, len(self.sides[which].wire) + 1)
        for side, other in (self.sides, self.sides[::-1]):
            assert side.got == other.sent


class ResumingMessagePack(Resuming):
    """The same in MessagePack."""

    protocol = MessagePackProtocol()


TestResuming = Resuming.TestCase
TestResuming.settings = settings(max_examples=40, stateful_step_count=40, deadline=None)
TestResumingMessagePack = ResumingMessagePack.TestCase
TestResumingMessagePack.settings = TestResuming.settings


def exchange(protocol: HubProtocol) -> Iterator[tuple[Side, Side, Callable[[], None]]]:
    """Yield the state of a small conversation after each byte that the client or the server has got."""
    length = 0
    while True:
        client, server = pair(protocol)
        for number in range(3):
            client.send(number)
            server.send(-number)
        whole = [bytes(client.wire), bytes(server.wire)]
        if length > max(map(len, whole)):
            return
        server.receive(whole[0][:length], 0.0)
        client.receive(whole[1][:length], 0.0)
        length += 1

        def go_on(client: Side = client, server: Side = server) -> None:
            for side in (client, server):
                side.cut()
                side.send("while away")
            for side in (client, server):
                side.resume(1.0)
            server.receive(bytes(client.wire), 1.0)
            client.receive(bytes(server.wire), 1.0)

        yield client, server, go_on


@pytest.mark.parametrize("protocol", [JSON, MessagePackProtocol()], ids=["json", "messagepack"])
def test_a_cut_at_every_byte_loses_nothing(protocol: HubProtocol) -> None:
    states = 0
    for client, server, go_on in exchange(protocol):
        go_on()
        assert client.got == server.sent
        assert server.got == client.sent
        states += 1
    assert states > 40


def test_the_bytes_are_those_of_microsofts_codec() -> None:
    assert base64.b64encode(JSON.encode(Sequence(3))) == b"eyJ0eXBlIjo5LCJzZXF1ZW5jZUlkIjozfR4="
