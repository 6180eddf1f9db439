"""HubSession without any I/O: what goes in, what comes out, and when."""

from __future__ import annotations

import math
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule
from tests.core.arrivals import Recorder, messages_of, pairs_of

from signalr_sdk._core.replay import Replay
from signalr_sdk._core.session import HubSession, ServerSession, ending
from signalr_sdk.errors import ConnectionClosedError, HandshakeError, RemoteProtocolError, ServerTimeoutError
from signalr_sdk.messages import (
    CancelInvocation,
    Close,
    Completion,
    HubMessage,
    Invocation,
    StreamInvocation,
    StreamItem,
)
from signalr_sdk.protocols import JsonProtocol, MessagePackProtocol

if TYPE_CHECKING:
    from signalr_sdk._core.routing import Deliveries
    from signalr_sdk.interfaces import HubProtocol

LIMIT = 1 << 20
OK = b"{}\x1e"


# Nothing goes there: the tests look at what `receive` returned.
inbox = Recorder()


def client(
    protocol: HubProtocol | None = None,
    *,
    keep_alive: float | None = 15.0,
    timeout: float | None = 30.0,
    idle: float | None = None,
    limit: int = LIMIT,
    replay: Replay | None = None,
) -> HubSession:
    return HubSession(
        protocol or JsonProtocol(),
        inbox,
        message_bytes=limit,
        keep_alive=keep_alive,
        timeout=timeout,
        idle=idle,
        now=0.0,
        replay=replay,
    )


def ready_client(**options: Any) -> HubSession:
    session = client(**options)
    assert session.receive(OK, 0.0) == []
    assert session.ready
    return session


def server(now: float = 0.0) -> ServerSession:
    protocols: dict[str, HubProtocol] = {"json": JsonProtocol(), "messagepack": MessagePackProtocol()}
    return ServerSession(protocols, inbox, message_bytes=LIMIT, keep_alive=15.0, timeout=30.0, now=now)


def one(received: Deliveries) -> tuple[object, Any]:
    ((sink, message),) = pairs_of(received)
    return sink, message


# The handshake


def test_the_client_speaks_first() -> None:
    assert client().start() == b'{"protocol":"json","version":1}\x1e'
    assert client(MessagePackProtocol(), replay=Replay(1000)).start() == b'{"protocol":"messagepack","version":2}\x1e'


def test_a_handshake_answer_may_come_byte_by_byte() -> None:
    session = client()
    for byte in b"{}":
        assert session.receive(bytes([byte]), 0.0) == []
        assert not session.ready
    session.receive(b"\x1e", 0.0)
    assert session.ready


def test_messages_next_to_the_handshake_answer_are_not_lost() -> None:
    """aiosignalr and signalr-zero lose these messages."""
    session = client()
    sink, message = one(session.receive(OK + b'{"type":1,"target":"hi","arguments":[1]}\x1e', 0.0))
    assert sink is inbox
    assert (message.target, message.arguments) == ("hi", [1])


def test_a_refused_handshake_raises() -> None:
    with pytest.raises(HandshakeError, match="no such protocol"):
        client().receive(b'{"error":"no such protocol"}\x1e', 0.0)


def test_the_server_takes_the_protocol_that_the_client_names() -> None:
    session = server()
    session.receive(b'{"protocol":"messagepack","version":1}\x1e', 0.0)
    assert session.reply == OK
    assert session.protocol.name == "messagepack"
    assert session.ping() == b"\x02\x91\x06"


@pytest.mark.parametrize(
    "request_", [b'{"protocol":"xml","version":1}\x1e', b'{"protocol":"json","version":3}\x1e', b"hello\x1e"]
)
def test_the_server_refuses_other_protocols(request_: bytes) -> None:
    session = server()
    with pytest.raises(HandshakeError):
        session.receive(request_, 0.0)
    assert b'"error"' in session.reply


# Receiving


def test_answers_go_to_the_sink_of_their_call() -> None:
    session = ready_client()
    calls = [Recorder(), Recorder()]
    ids = [session.invoke("Add", [1, 2], sink)[0] for sink in calls]
    received = session.receive(
        f'{{"type":3,"invocationId":"{ids[1]}","result":3}}\x1e{{"type":3,"invocationId":"{ids[0]}"}}\x1e'.encode(), 0.0
    )
    assert [sink for sink, _message in pairs_of(received)] == [calls[1], calls[0]]
    assert [message.result for message in messages_of(received) if isinstance(message, Completion)] == [3, None]


def test_a_second_completion_of_a_call_is_dropped() -> None:
    session = ready_client()
    invocation_id, _data = session.invoke("Add", [], inbox)
    payload = f'{{"type":3,"invocationId":"{invocation_id}","result":3}}\x1e'.encode()
    assert len(messages_of(session.receive(payload + payload, 0.0))) == 1
    assert session.ended is None


def test_answers_to_nobody_are_dropped() -> None:
    session = ready_client()
    assert session.receive(b'{"type":3,"invocationId":"9"}\x1e{"type":2,"invocationId":"9","item":1}\x1e', 0.0) == []
    assert session.ended is None


def test_forgotten_calls_get_nothing_more() -> None:
    session = ready_client()
    invocation_id, _data = session.invoke("Count", [], inbox, stream=True)
    assert session.forget(invocation_id)
    assert not session.forget(invocation_id)
    assert session.receive(f'{{"type":2,"invocationId":"{invocation_id}","item":1}}\x1e'.encode(), 0.0) == []


def test_sizes_are_those_on_the_wire() -> None:
    session = ready_client()
    record = b'{"type":1,"target":"hi","arguments":[]}'
    _sink, message = one(session.receive(record + b"\x1e", 0.0))
    assert message.size == len(record)


def test_pings_acks_and_unknown_types_say_nothing() -> None:
    session = ready_client()
    assert session.receive(b'{"type":6}\x1e{"type":8,"sequenceId":1}\x1e{"type":99,"x":1}\x1e', 0.0) == []
    assert session.ended is None


def test_nothing_is_received_after_a_close() -> None:
    session = ready_client()
    event = b'{"type":1,"target":"hi","arguments":[]}\x1e'
    received = session.receive(event + b'{"type":7,"error":"bye"}\x1e' + event, 0.0)
    assert len(messages_of(received)) == 1
    assert isinstance(session.ended, Close)
    assert session.ended.error == "bye"
    assert session.receive(event, 0.0) == []


def test_what_came_before_an_undecodable_message_is_not_lost() -> None:
    """signalrcore silently drops the rest of the frame too."""
    session = ready_client()
    event = b'{"type":1,"target":"hi","arguments":[]}\x1e'
    assert len(messages_of(session.receive(event + event + b"oh no\x1e" + event, 0.0))) == 2
    assert isinstance(session.ended, RemoteProtocolError)


def test_a_message_over_the_limit_ends_the_session() -> None:
    session = ready_client(limit=100)
    event = b'{"type":1,"target":"hi","arguments":[]}\x1e'
    assert not session.overflowed
    assert len(messages_of(session.receive(event + b"x" * 200, 0.0))) == 1
    assert isinstance(session.ended, RemoteProtocolError)
    assert session.overflowed


@pytest.mark.parametrize("protocol", [JsonProtocol(), MessagePackProtocol()], ids=["json", "messagepack"])
def test_exact_answers_lose_no_digit(protocol: HubProtocol) -> None:
    session = ready_client(protocol=protocol)
    exact, _data = session.invoke("Price", [], inbox, stream=True, exact=True)
    plain, _data = session.invoke("Price", [], inbox)
    number = Decimal("0.1000000000000000000001")
    payload = protocol.encode(StreamItem(exact, number)) + protocol.encode(Completion(plain, 1.5, has_result=True))
    payload += protocol.encode(Completion(exact, number, has_result=True))
    items = messages_of(session.receive(payload, 0.0))
    assert isinstance(items[0], StreamItem)
    assert Decimal(items[0].item) == number
    assert isinstance(items[1], Completion)
    assert items[1].result == 1.5
    assert isinstance(items[2], Completion)
    assert Decimal(items[2].result) == number


def test_a_server_decodes_the_arguments_and_uploads_of_some_methods_exactly() -> None:
    session = ServerSession(
        {"json": JsonProtocol()},
        inbox,
        exact=lambda target: target == "Price",
        message_bytes=LIMIT,
        keep_alive=None,
        timeout=None,
        now=0.0,
    )
    session.receive(b'{"protocol":"json","version":1}\x1e', 0.0)

    def received(text: str) -> list[Any]:
        return [message for _sink, message in pairs_of(session.receive(text.encode(), 0.0))]

    number = "0.1234567890123456789012345"
    (exact,) = received(f'{{"type":1,"target":"Price","arguments":[{number}],"streamIds":["u"]}}\x1e')
    (plain,) = received(f'{{"type":1,"target":"Other","arguments":[{number}],"streamIds":["v"]}}\x1e')
    assert (exact.arguments, plain.arguments) == ([Decimal(number)], [float(number)])
    (exact,) = received(f'{{"type":2,"invocationId":"u","item":{number}}}\x1e')
    (plain,) = received(f'{{"type":2,"invocationId":"v","item":{number}}}\x1e')
    assert (exact.item, plain.item) == (Decimal(number), float(number))


def test_forgetting_an_exact_call_leaves_nothing() -> None:
    session = ready_client()
    invocation_id, _data = session.invoke("Price", [], inbox, exact=True)
    session.forget(invocation_id)
    assert not session._exact


def test_the_server_hears_calls_streams_and_cancellations() -> None:
    session, caller = server(), client()
    session.receive(caller.start(), 0.0)
    stream_id = caller.new_id()
    _id, invocation = caller.invoke("Add", [1], inbox, [stream_id])
    stream, streaming = caller.invoke("Count", [2], inbox, stream=True)
    payload = invocation + streaming + caller.item(stream_id, 5) + caller.complete(stream_id, "enough")
    messages = messages_of(session.receive(payload + caller.cancel(stream), 0.0))
    assert [type(message) for message in messages] == [
        Invocation,
        StreamInvocation,
        StreamItem,
        Completion,
        CancelInvocation,
    ]
    assert session.invoke("ask", [], inbox)[0] == "s1"


def test_the_server_can_say_good_bye_and_answer() -> None:
    session, caller = server(), ready_client()
    session.receive(caller.start(), 0.0)
    invocation_id, _data = caller.invoke("Add", [], inbox)
    caller.receive(session.answer(invocation_id, None) + session.send("hi", [1]), 0.0)
    caller.receive(session.close("over", allow_reconnect=True), 0.0)
    assert isinstance(caller.ended, Close)
    assert (caller.ended.error, caller.ended.allow_reconnect) == ("over", True)


# Time


def test_a_ping_is_due_when_nothing_was_sent() -> None:
    session = ready_client()
    assert session.next_deadline() == 15.0
    assert session.on_time(14.9) == b""
    session.sent(10.0)
    assert session.on_time(15.0) == b""
    assert session.next_deadline() == 25.0
    assert session.on_time(25.0) == b'{"type":6}\x1e'
    assert session.next_deadline() == 30.0


def test_silence_ends_the_connection() -> None:
    session = ready_client(keep_alive=None)
    session.receive(b'{"type":6}\x1e', 5.0)
    assert session.next_deadline() == 35.0
    assert session.on_time(34.9) == b""
    with pytest.raises(ServerTimeoutError, match="30 s") as caught:
        session.on_time(35.0)
    assert caught.value.allow_reconnect


def test_a_timer_that_fires_late_proves_no_silence() -> None:
    session = ready_client(keep_alive=None)
    assert session.next_deadline() == 30.0
    assert session.on_time(40.0) == b""
    assert session.next_deadline() == 41.0
    with pytest.raises(ServerTimeoutError):
        session.on_time(41.0)


def test_the_clock_stands_still_while_we_do_not_read() -> None:
    session = ready_client(keep_alive=None)
    session.pause(10.0)
    assert session.next_deadline() == math.inf
    assert session.on_time(100.0) == b""
    session.unpause(100.0)
    session.unpause(200.0)
    assert session.next_deadline() == 120.0


def test_a_server_times_out_only_clients_that_have_pinged() -> None:
    session = server()
    session.receive(b'{"protocol":"json","version":1}\x1e', 0.0)
    session.sent(100.0)
    assert session.on_time(100.0) == b""
    session.receive(b'{"type":6}\x1e', 100.0)
    session.sent(129.0)
    assert session.next_deadline() == 130.0
    with pytest.raises(ServerTimeoutError):
        session.on_time(130.0)


def test_time_can_be_switched_off() -> None:
    session = ready_client(keep_alive=None, timeout=None)
    assert session.next_deadline() == math.inf
    assert session.on_time(1e9) == b""


# A hub that must speak


def test_a_hub_without_messages_ends_the_connection() -> None:
    """The time begins with `watch_idle`; pings, Acks and the server's Close do not count."""
    session = ready_client(keep_alive=None, idle=10.0)
    assert session.next_deadline() == 30.0
    session.watch_idle(5.0)
    assert session.next_deadline() == 15.0
    session.receive(b'{"type":6}\x1e{"type":8,"sequenceId":1}\x1e{"type":99}\x1e', 14.0)
    assert session.next_deadline() == 15.0
    assert session.on_time(14.9) == b""
    with pytest.raises(ServerTimeoutError, match=r"10 s.*Timeouts\.idle") as caught:
        session.on_time(15.0)
    assert caught.value.allow_reconnect
    assert session.idled


@pytest.mark.parametrize(
    "message",
    [
        b'{"type":1,"target":"e","arguments":[]}',
        b'{"type":1,"invocationId":"q","target":"e","arguments":[]}',
        b'{"type":2,"invocationId":"unknown","item":1}',
        b'{"type":3,"invocationId":"unknown","result":1}',
        b'{"type":3,"invocationId":"unknown"}',
    ],
)
@pytest.mark.parametrize("more", [b"", b'{"type":6}\x1e', b'{"type":2,"invocationId":"unknown","item":1}\x1e'])
def test_each_message_of_the_hub_counts(message: bytes, more: bytes) -> None:
    """Also an answer to a call that was cancelled, and messages that share a payload."""
    session = ready_client(keep_alive=None, timeout=None, idle=10.0)
    session.watch_idle(0.0)
    session.receive(message + b"\x1e" + more, 7.0)
    assert session.next_deadline() == 17.0
    session.receive(b'{"type":6}\x1e', 9.0)
    assert session.next_deadline() == 17.0


def test_the_idle_clock_stands_still_while_we_do_not_read() -> None:
    session = ready_client(keep_alive=None, timeout=None, idle=10.0)
    session.watch_idle(0.0)
    session.pause(4.0)
    assert session.next_deadline() == math.inf
    assert session.on_time(50.0) == b""
    session.unpause(50.0)
    assert session.next_deadline() == 56.0
    # A timer that fires late proves nothing: what the hub sent meanwhile is unread.
    assert session.on_time(80.0) == b""
    assert session.next_deadline() == 81.0


def test_without_a_limit_a_hub_may_be_silent() -> None:
    session = ready_client(keep_alive=None, timeout=None)
    session.watch_idle(0.0)
    session.receive(b'{"type":3,"invocationId":"unknown"}\x1e', 1.0)
    assert session.next_deadline() == math.inf


def test_the_idle_clock_begins_again_after_a_resume() -> None:
    session = ready_client(keep_alive=None, timeout=None, idle=10.0, replay=Replay(LIMIT))
    session.resume(3.0)
    assert session.next_deadline() == math.inf
    session.watch_idle(5.0)
    session.resume(12.0)
    assert session.next_deadline() == 22.0


# The end


def test_what_an_end_means() -> None:
    lost = ending(None)
    assert isinstance(lost, ConnectionClosedError)
    assert lost.allow_reconnect
    garbage = RemoteProtocolError("garbage")
    assert ending(garbage) is garbage
    assert ending(Close()) is None
    refused = ending(Close("no entry"))
    assert isinstance(refused, ConnectionClosedError)
    assert (refused.reason, refused.allow_reconnect) == ("no entry", False)
    assert "no entry" in str(refused)
    restart = ending(Close(allow_reconnect=True))
    assert isinstance(restart, ConnectionClosedError)
    assert (restart.reason, restart.allow_reconnect) == (None, True)


# Both sides together

_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3),
)


class Pair(RuleBasedStateMachine):
    """A client and a server session, with the bytes between them cut anywhere."""

    def __init__(self) -> None:
        super().__init__()
        self.client, self.server = client(keep_alive=None), server()
        self.to_server, self.to_client = bytearray(self.client.start()), bytearray()
        self.replied = False
        self.expected: dict[str, list[object]] = {}
        self.sinks: dict[str, Recorder] = {}
        self.asked: list[Invocation | StreamInvocation] = []
        self.events_sent: list[object] = []
        self.events_got: list[object] = []

    @rule(cut=st.integers(1, 50))
    def deliver_to_server(self, cut: int) -> None:
        payload = bytes(self.to_server[:cut])
        del self.to_server[:cut]
        for message in messages_of(self.server.receive(payload, 0.0)):
            if isinstance(message, Invocation | StreamInvocation):
                self.asked.append(message)
        if self.server.ready and not self.replied:
            self.replied = True
            self.to_client += self.server.reply

    @rule(cut=st.integers(1, 50))
    def deliver_to_client(self, cut: int) -> None:
        payload = bytes(self.to_client[:cut])
        del self.to_client[:cut]
        for sink, message in pairs_of(self.client.receive(payload, 0.0)):
            if sink is inbox:
                assert isinstance(message, Invocation)
                self.events_got.append(message.arguments)
            else:
                assert isinstance(sink, Recorder)
                sink.got.append(message)

    @precondition(lambda self: self.client.ready)
    @rule(arguments=st.lists(_values, max_size=3), stream=st.booleans())
    def call(self, arguments: list[Any], stream: bool) -> None:
        sink = Recorder()
        invocation_id, data = self.client.invoke("Method", arguments, sink, stream=stream)
        self.sinks[invocation_id] = sink
        self.expected[invocation_id] = []
        self.to_server += data

    @precondition(lambda self: self.asked)
    @rule(value=_values)
    def answer(self, value: object) -> None:
        asked = self.asked.pop(0)
        assert asked.invocation_id is not None
        expected = self.expected[asked.invocation_id]
        if isinstance(asked, StreamInvocation):
            self.to_client += self.server.item(asked.invocation_id, value)
            expected.append(value)
            self.to_client += self.server.complete(asked.invocation_id)
            expected.append(("end", None))
        else:
            self.to_client += self.server.answer(asked.invocation_id, value)
            expected.append(("end", value))

    @precondition(lambda self: self.replied)
    @rule(arguments=st.lists(_values, max_size=2))
    def event(self, arguments: list[Any]) -> None:
        self.to_client += self.server.send("Event", arguments)
        self.events_sent.append(arguments)

    def got(self) -> dict[str, list[object]]:
        return {name: list(map(_noted, sink.got)) for name, sink in self.sinks.items()}

    @invariant()
    def nothing_is_lost_or_doubled(self) -> None:
        assert self.client.ended is None
        assert self.server.ended is None
        assert self.events_got == self.events_sent[: len(self.events_got)]
        for invocation_id, got in self.got().items():
            assert got == self.expected[invocation_id][: len(got)]

    def teardown(self) -> None:
        self.deliver_to_server(len(self.to_server) + 1)
        self.deliver_to_client(len(self.to_client) + 1)
        assert self.got() == self.expected
        assert self.events_got == self.events_sent


def _noted(message: HubMessage) -> object:
    if isinstance(message, Completion):
        return "end", message.result
    assert isinstance(message, StreamItem)
    return message.item


TestPair = Pair.TestCase
TestPair.settings = settings(max_examples=40, stateful_step_count=30, deadline=None)
