"""Many messages decoded at once: the same as one by one, in fewer steps."""

from __future__ import annotations

from json import dumps
from typing import TYPE_CHECKING, Any

import msgpack
import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.core.arrivals import Recorder, messages_of, pairs_of
from tests.core.test_session import inbox, ready_client, server

from signalr_sdk._typed.unstructure import ConvertingProtocol
from signalr_sdk.errors import RemoteProtocolError
from signalr_sdk.messages import CancelInvocation, Close, Completion, HubMessage, Invocation, Ping, StreamItem
from signalr_sdk.protocols import JsonProtocol, MessagePackProtocol
from signalr_sdk.protocols.batches import EVENT, ITEM, MESSAGE, RESULT, Batch, shortcut
from signalr_sdk.protocols.framing import BinaryFraming, TextFraming

if TYPE_CHECKING:
    from signalr_sdk.interfaces import HubProtocol

PROTOCOLS = [pytest.param(JsonProtocol(), id="json"), pytest.param(MessagePackProtocol(), id="messagepack")]
Row = tuple[int, str, Any]

_names = st.text(max_size=3)
_values = st.none() | st.booleans() | st.integers(-9, 300) | _names | st.lists(st.integers(0, 9), max_size=2)
_headers = st.none() | st.dictionaries(_names, _names, max_size=1)
_ids = st.sampled_from(["1", "2", "s1"])
_messages = st.one_of(
    st.builds(StreamItem, _ids, _values, _headers),
    st.builds(Invocation, _names, st.lists(_values, max_size=2), st.none() | _ids, st.none(), _headers),
    st.builds(Invocation, _names, st.lists(_values, max_size=2), st.none(), st.lists(_ids, max_size=1)),
    st.builds(Completion, _ids, _values, has_result=st.just(True)),
    st.builds(CancelInvocation, _ids),
    st.builds(Ping),
)


def frames_of(protocol: HubProtocol, payload: bytes) -> list[bytes]:
    return (TextFraming if protocol.name == "json" else BinaryFraming)(1 << 20).feed(payload)


def rows(batch: Batch) -> list[Row]:
    values = [repr(value) for value in batch.values]
    return list(zip(batch.kinds, batch.names, values, strict=True))


def one_by_one(protocol: HubProtocol, frames: list[bytes]) -> tuple[list[Row], str | None]:
    batch = Batch()
    try:
        for frame in frames:
            batch.add(protocol.decode(frame))
    except RemoteProtocolError as error:
        return rows(batch), str(error)
    return rows(batch), None


def at_once(protocol: HubProtocol, frames: list[bytes]) -> tuple[list[Row], str | None]:
    batch = Batch()
    try:
        shortcut(protocol, "decode", "decode_all")(frames, batch)
    except RemoteProtocolError as error:
        return rows(batch), str(error)
    return rows(batch), None


@pytest.mark.parametrize("protocol", PROTOCOLS)
@given(messages=st.lists(_messages, max_size=6), at=st.integers(0, 300), byte=st.integers(0, 255))
def test_the_same_as_one_by_one(protocol: HubProtocol, messages: list[HubMessage], at: int, byte: int) -> None:
    """Also with a byte that is wrong."""
    payload = bytearray(b"".join(map(protocol.encode, messages)))
    whole = frames_of(protocol, bytes(payload))
    assert at_once(protocol, whole) == one_by_one(protocol, whole)
    if at < len(payload):
        payload[at] = byte
        wrong = frames_of(protocol, bytes(payload))
        assert at_once(protocol, wrong) == one_by_one(protocol, wrong)


SHAPES: list[Any] = [
    {"type": 2, "invocationId": "1", "item": None},
    {"type": True, "target": "t", "arguments": []},
    {"type": 1.0, "target": "t", "arguments": []},
    {"type": 2.0, "invocationId": "1", "item": 1},
    {"type": 2, "invocationId": "", "item": 1},
    {"type": 2, "invocationId": 1, "item": 1},
    {"type": 2, "invocationId": "1", "other": 1},
    {"type": 2, "invocationId": "1", "item": 1, "headers": {"a": "b"}},
    {"type": 1, "target": "", "arguments": []},
    {"type": 1, "target": None, "arguments": []},
    {"type": 1, "target": "t", "arguments": {}},
    {"type": 1, "target": "t", "arguments": [], "invocationId": "7"},
    {"type": 5, "target": "t", "arguments": []},
    {"type": 99, "target": "t", "arguments": []},
    {"type": [1], "target": "t", "arguments": []},
    {"target": "t"},
    [1, 2, 3],
    "abc",
    7,
    None,
    [],
    [2, {}, "1", 7],
    [2, {}, "", 7],
    [2, {}, 1, 7],
    [2, {"a": "b"}, "1", 7],
    [2.0, {}, "1", 7],
    [True, {}, None, "t", [], []],
    [1, {}, None, "t", [], []],
    [1, {}, None, "t", [1]],
    [1, {}, "", "t", [], []],
    [1, {}, "7", "t", [], []],
    [1, {}, None, 7, [], []],
    [1, {}, None, "t", {}, []],
    [1, {}, None, "t", [], ["s"]],
    [1, {}, None, "t", [], 5],
    [1, 5, None, "t", [], []],
    [4, {}, "1", "t", [], []],
    [3, {}, "1", 2],
    [3, {}, "1", 9],
    [99, 1, 2, 3],
    ["2", {}, "1", 7],
]


@pytest.mark.parametrize("shape", SHAPES, ids=repr)
def test_odd_shapes(shape: Any) -> None:
    text = JsonProtocol()
    frame = dumps(shape).encode()
    assert at_once(text, [frame, frame]) == one_by_one(text, [frame, frame])
    binary = MessagePackProtocol()
    frame = msgpack.packb(shape)
    assert at_once(binary, [frame, frame]) == one_by_one(binary, [frame, frame])


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_what_the_codec_refuses_is_decoded_slowly(protocol: HubProtocol) -> None:
    if protocol.name == "json":
        frame = b'{"type":2,"invocationId":"1","item":"\\ud800"}'
    else:
        frame = msgpack.packb([2, {}, "1", {}])[:-1] + b"\x81\x90\x01"  # a map whose key is an array
    (row,), error = at_once(protocol, [frame])
    assert row[:2] == (ITEM, "1")
    assert error is None


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_plain_messages_make_no_object(protocol: HubProtocol) -> None:
    messages: list[HubMessage] = [
        Invocation("t", [1]),
        StreamItem("1", 5),
        Completion("1", 2, has_result=True),
        Completion("1"),
        Ping(),
    ]
    found, _error = at_once(protocol, frames_of(protocol, b"".join(map(protocol.encode, messages))))
    assert [row[0] for row in found] == [EVENT, ITEM, RESULT, MESSAGE, MESSAGE]


class Stamped(JsonProtocol):
    """A protocol of a user, who looks at each message."""

    def decode(self, frame: bytes, /, *, exact: bool = False) -> HubMessage | None:
        message = super().decode(frame, exact=exact)
        if isinstance(message, Invocation):
            message.target = "stamped"
        return message


def test_nobody_is_passed_by() -> None:
    """Who overrides `decode` is asked for each message."""
    assert shortcut(Stamped(), "decode", "decode_all") is None
    assert shortcut(object(), "decode", "decode_all") is None
    patched = JsonProtocol()
    assert shortcut(patched, "decode", "decode_all") == patched.decode_all
    patched.decode = Stamped().decode  # type: ignore[method-assign]  # as users may
    assert shortcut(patched, "decode", "decode_all") is None
    assert shortcut(patched, "encode", "encode_call") == patched.encode_call
    session = ready_client(protocol=Stamped())
    (message,) = messages_of(session.receive(b'{"type":1,"target":"t","arguments":[]}\x1e', 0.0))
    assert isinstance(message, Invocation)
    assert message.target == "stamped"


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_neighbours_that_go_the_same_way_share_a_call(protocol: HubProtocol) -> None:
    session = ready_client(protocol=protocol)
    first, second = (
        session.invoke("Count", [], inbox, stream=True)[0],
        session.invoke("Count", [], inbox, stream=True)[0],
    )
    event, rare = Invocation("t", [1]), Invocation("t", [1], headers={"a": "b"})
    items = [StreamItem(first, 1), StreamItem(first, 2), StreamItem(second, 3), StreamItem(first, 4)]
    messages: list[HubMessage] = [
        event,
        Invocation("u", [2]),
        *items,
        Ping(),
        event,
        rare,
        StreamItem(first, 5, {"a": "b"}),
    ]
    received = session.receive(b"".join(map(protocol.encode, messages)), 0.0)
    assert len(received) == 7
    assert [getattr(each, "item", None) for _sink, each in pairs_of(received)] == [
        *(None, None, 1, 2, 3, 4, None, None, 5),
    ]
    (all_items,) = session.receive(b"".join(map(protocol.encode, items[:2])) * 40, 0.0)
    assert all_items[1][0] == [1, 2] * 40


def test_a_servers_inbox_gets_items_that_nobody_waits_for_with_their_names() -> None:
    session, caller = server(), ready_client()
    session.receive(caller.start(), 0.0)
    messages = messages_of(session.receive(caller.item("8", 1) + caller.item("8", 2) + caller.item("9", 3), 0.0))
    assert [(each.invocation_id, each.item) for each in messages if isinstance(each, StreamItem)] == [
        ("8", 1),
        ("8", 2),
        ("9", 3),
    ]


class Converting:
    def structure(self, value: Any, type_: Any) -> Any:
        raise NotImplementedError

    def unstructure(self, value: object) -> Any:
        raise NotImplementedError


def test_a_converter_of_the_user_is_not_in_the_way() -> None:
    """It takes apart what is sent; what is received is decoded as without it."""
    converting = ConvertingProtocol(JsonProtocol(), Converting())
    assert shortcut(converting, "encode", "encode_call") is None
    assert at_once(converting, [b'{"type":2,"invocationId":"1","item":5}']) == ([(ITEM, "1", "5")], None)
    assert shortcut(ConvertingProtocol(Stamped(), Converting()), "decode", "decode_all") is None


class Shouting(JsonProtocol):
    """A protocol of a user, who changes what is sent."""

    def encode(self, message: HubMessage, /) -> bytes:
        return super().encode(message).upper()


def test_who_overrides_encode_is_asked_for_each_call() -> None:
    session = ready_client(protocol=Shouting())
    assert session.send("add", []) == b'{"TYPE":1,"TARGET":"ADD","ARGUMENTS":[]}\x1e'
    assert b"ADD" in session.invoke("add", [], inbox)[1]


def test_garbage_after_a_close_is_not_looked_at() -> None:
    session = ready_client()
    event = b'{"type":1,"target":"t","arguments":[]}\x1e'
    assert len(messages_of(session.receive(event + b'{"type":7}\x1egarbage\x1e' + event, 0.0))) == 1
    assert isinstance(session.ended, Close)


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_results_of_calls_go_to_their_sinks_one_by_one(protocol: HubProtocol) -> None:
    session = ready_client(protocol=protocol)
    sinks = [Recorder(), Recorder()]
    names = [session.invoke("Add", [], sink)[0] for sink in sinks]
    answers = [Completion(name, number, has_result=True) for number, name in enumerate([*names, "nobody's"])]
    received = session.receive(b"".join(map(protocol.encode, answers)), 0.0)
    assert [(sink, message.result) for sink, message in pairs_of(received) if isinstance(message, Completion)] == [
        (sinks[0], 0),
        (sinks[1], 1),
    ]


def test_a_servers_inbox_gets_results_that_nobody_waits_for() -> None:
    session, caller = server(), ready_client()
    session.receive(caller.start(), 0.0)
    messages = messages_of(session.receive(caller.answer("s7", 1) + caller.answer("s8", 2), 0.0))
    assert [(each.invocation_id, each.result) for each in messages if isinstance(each, Completion)] == [
        ("s7", 1),
        ("s8", 2),
    ]
