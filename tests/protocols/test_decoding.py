"""What arrives: the shapes that are allowed, those that are refused, and anything at all."""

from __future__ import annotations

import base64
import importlib.util
import json
import math
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import attrs
import msgpack
import pytest
from hypothesis import given
from hypothesis import strategies as st

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
from signalr_sdk.protocols import JsonProtocol, MessagePackProtocol, json_values
from signalr_sdk.protocols.framing import BinaryFraming, TextFraming
from signalr_sdk.protocols.json_values import StandardBackend, choose_backend

if TYPE_CHECKING:
    from signalr_sdk.interfaces import HubProtocol

VECTORS = Path(__file__).parents[1] / "interop" / "vectors"


def contents(message: HubMessage | None) -> Any:
    return None if message is None else (type(message), attrs.asdict(message))


GOOD_JSON: dict[str, HubMessage | None] = {
    # In any order, with more members than we know.
    '{"arguments":[1],"new":{},"target":"M","type":1}': Invocation("M", [1]),
    '{"type":1,"target":"","arguments":[]}': Invocation("", []),
    '{"type":1,"target":"M","arguments":[],"invocationId":null,"streamIds":null,"headers":null}': Invocation("M", []),
    '{"type":1,"target":"M","arguments":[],"streamIds":[],"headers":{}}': Invocation("M", []),
    '{"item":null,"invocationId":"1","type":2,"new":1}': StreamItem("1", None),
    '{"type":3,"invocationId":"1","error":null}': Completion("1"),
    '{"type":3,"invocationId":"1","error":null,"result":0}': Completion("1", 0, None, True),
    '{"type":3,"invocationId":"1","error":""}': Completion("1"),
    # A member that may be left out may as well be null or empty.
    '{"type":1,"target":"M","arguments":[],"invocationId":""}': Invocation("M", []),
    '{"type":1,"target":"M","arguments":null}': Invocation("M", []),
    '{"type":1,"target":"M"}': Invocation("M", []),
    '{"type":1,"target":"M","arguments":[],"streamIds":"","headers":[]}': Invocation("M", []),
    '{"type":2,"invocationId":"1","item":"","headers":null}': StreamItem("1", ""),
    '{"type":3,"invocationId":"1","result":null,"error":"x"}': Completion("1", None, "x"),
    '{"type":3,"invocationId":"1","result":5,"error":""}': Completion("1", 5, None, True),
    '{"type":3,"invocationId":"1","result":"","error":null,"headers":""}': Completion("1", "", None, True),
    '{"type":4,"invocationId":"1","target":"M"}': StreamInvocation("M", [], "1"),
    '{"type":7,"error":"","allowReconnect":""}': Close(),
    '{"type":4,"invocationId":"1","target":"M","arguments":[]}': StreamInvocation("M", [], "1"),
    '{"type":5,"invocationId":"1","new":1}': CancelInvocation("1"),
    '{"type":6,"new":1}': Ping(),
    '{"type":7,"error":null,"allowReconnect":null}': Close(),
    '{"type":8,"sequenceId":0}': Ack(0),
    '{"type":9,"sequenceId":1}': Sequence(1),
    # Types of the future.
    '{"type":0}': None,
    '{"type":10,"target":1}': None,
    '{"type":-1}': None,
    # A lone surrogate, which orjson refuses.
    '{"type":2,"invocationId":"1","item":"\\ud800"}': StreamItem("1", "\ud800"),
}
BAD_JSON = [
    "",
    " ",
    "null",
    "[]",
    "1",
    '"text"',
    "{}",
    "{",
    "{} {}",
    '{"type":"1","target":"M","arguments":[]}',
    '{"type":1.0,"target":"M","arguments":[]}',
    '{"type":true,"target":"M","arguments":[]}',
    '{"type":null}',
    '{"type":1}',
    '{"type":1,"arguments":[]}',
    '{"type":1,"target":5,"arguments":[]}',
    '{"type":1,"target":"M","arguments":{}}',
    '{"type":1,"target":"M","arguments":[],"invocationId":5}',
    '{"type":1,"target":"M","arguments":[],"streamIds":"1"}',
    '{"type":1,"target":"M","arguments":[],"streamIds":[1]}',
    '{"type":1,"target":"M","arguments":[],"headers":{"a":1}}',
    '{"type":2,"invocationId":"1"}',
    '{"type":2,"item":1}',
    '{"type":2,"invocationId":"","item":1}',
    '{"type":2,"invocationId":1,"item":1}',
    '{"type":2,"invocationId":"1","item":1,"headers":1}',
    '{"type":3}',
    '{"type":3,"invocationId":""}',
    '{"type":3,"invocationId":5,"result":1}',
    '{"type":3,"invocationId":"1","result":1,"error":"x"}',
    '{"type":3,"invocationId":"1","error":5}',
    '{"type":3,"invocationId":"1","result":1,"headers":1}',
    '{"type":4,"target":"M","arguments":[]}',
    '{"type":4,"invocationId":"1","arguments":[]}',
    '{"type":5}',
    '{"type":5,"invocationId":""}',
    '{"type":7,"error":5}',
    '{"type":8}',
    '{"type":8,"sequenceId":"1"}',
    '{"type":8,"sequenceId":true}',
    '{"type":9,"sequenceId":1.5}',
    '{"type":9,"sequenceId":null}',
    '{"type":2,"invocationId":"1","item":NaN}',
    '{"type":2,"invocationId":"1","item":-Infinity}',
    '{"type":2,"invocationId":"1","item":01}',
    '{"type":2,"invocationId":"1","item":' + "[" * 100_000 + "]" * 100_000 + "}",
]


@pytest.mark.parametrize("text", GOOD_JSON)
def test_json(json_protocol: JsonProtocol, text: str) -> None:
    for exact in (False, True):
        assert contents(json_protocol.decode(text.encode(), exact=exact)) == contents(GOOD_JSON[text])


@pytest.mark.parametrize("text", BAD_JSON, ids=lambda text: text[:60])
def test_wrong_json(json_protocol: JsonProtocol, text: str) -> None:
    for exact in (False, True):
        with pytest.raises(RemoteProtocolError, match="this is no hub message") as caught:
            json_protocol.decode(text.encode(), exact=exact)
        assert len(str(caught.value)) < 600


@pytest.mark.parametrize("data", [b"\xff", b'{"type":2,"invocationId":"1","item":"\xff"}', b"\xef\xbb\xbf{}", b"\x00"])
def test_json_that_is_no_utf8(json_protocol: JsonProtocol, data: bytes) -> None:
    with pytest.raises(RemoteProtocolError):
        json_protocol.decode(data)


HEADERS = {"a": "b"}
GOOD_MESSAGEPACK: list[tuple[Any, HubMessage | None]] = [
    # As the JavaScript client writes it: without stream ids.
    ([1, {}, None, "M", [1]], Invocation("M", [1])),
    ([1, None, None, "M", [1]], Invocation("M", [1])),
    ([1, {}, None, "M", [1], None], Invocation("M", [1])),
    ([1, HEADERS, "1", "M", [], ["2"], "new"], Invocation("M", [], "1", ["2"], HEADERS)),
    ([1, {}, "1", "", [], []], Invocation("", [], "1")),
    ([2, {}, "1", None, "new"], StreamItem("1", None)),
    ([2, None, "1", 5], StreamItem("1", 5)),
    ([3, {}, "1", 1, "error", "new"], Completion("1", None, "error")),
    ([3, {}, "1", 2, "new"], Completion("1")),
    ([3, HEADERS, "1", 3, None, "new"], Completion("1", None, None, True, HEADERS)),
    ([4, {}, "1", "M", []], StreamInvocation("M", [], "1")),
    ([4, HEADERS, "1", "M", [], ["2"], "new"], StreamInvocation("M", [], "1", ["2"], HEADERS)),
    ([5, {}, "1", "new"], CancelInvocation("1")),
    ([6, "new"], Ping()),
    ([7, None], Close()),
    # A member that may be left out may as well be null or empty.
    ([1, {}, "", "M", []], Invocation("M", [])),
    ([1, {}, None, "M", None], Invocation("M", [])),
    ([1, [], "1", "M", [], ""], Invocation("M", [], "1")),
    ([3, None, "1", 1, ""], Completion("1")),
    ([7, "", None], Close()),
    ([7, "error", True, "new"], Close("error", True)),
    ([7, None, None], Close()),
    ([8, 5, "new"], Ack(5)),
    ([9, 5, "new"], Sequence(5)),
    ([0], None),
    ([10, {}], None),
    ([-1], None),
]
BAD_MESSAGEPACK: list[Any] = [
    None,
    1,
    {},
    "text",
    [],
    [None],
    ["1"],
    [True, {}, None, "M", []],
    [1.0, {}, None, "M", []],
    [1],
    [1, {}, None, "M"],
    [1, {}, 5, "M", []],
    [1, {}, None, 5, []],
    [1, {}, None, b"M", []],
    [1, {}, None, "M", {}],
    [1, {}, None, "M", [], "1"],
    [1, {}, None, "M", [], [1]],
    [1, [1], None, "M", [], []],
    [1, {"a": 1}, None, "M", [], []],
    [1, {1: "a"}, None, "M", [], []],
    [2, {}, "1"],
    [2, {}, "", 1],
    [2, {}, None, 1],
    [2, [1], "1", 1],
    [3, {}, "1"],
    [3, {}, "1", 1],
    [3, {}, "1", 3],
    [3, {}, "1", 1, 5],
    [3, {}, "1", 4, 5],
    [3, {}, "1", "3", 5],
    [3, {}, "1", True, "x"],
    [3, {}, "", 2],
    [3, {}, None, 2],
    [4, {}, None, "M", []],
    [4, {}, "", "M", []],
    [4, {}, "1", "M"],
    [5, {}],
    [5, {}, ""],
    [5, {}, None],
    [7, 5],
    [8],
    [8, "1"],
    [8, True],
    [9, None],
    [9, 1.5],
]


@pytest.mark.parametrize("row", GOOD_MESSAGEPACK, ids=str)
def test_messagepack(row: tuple[Any, HubMessage | None]) -> None:
    members, message = row
    for exact in (False, True):
        assert contents(MessagePackProtocol().decode(msgpack.packb(members), exact=exact)) == contents(message)


@pytest.mark.parametrize("members", BAD_MESSAGEPACK, ids=str)
def test_wrong_messagepack(members: Any) -> None:
    with pytest.raises(RemoteProtocolError, match="this is no hub message"):
        MessagePackProtocol().decode(msgpack.packb(members))


WRONG_BYTES = {
    "nothing": b"",
    "never used": b"\xc1",
    "cut": b"\x95\x01",
    "more behind": b"\x91\x06\x06",
    "larger than it is": b"\xdd\xff\xff\xff\xff",
    "too deep": b"\x94\x02\x80\xa11" + b"\x91" * 100_000 + b"\x01",
    "a long error": msgpack.packb([2, "x" * 1_000_000]),
}


@pytest.mark.parametrize("data", [pytest.param(data, id=name) for name, data in WRONG_BYTES.items()])
def test_bytes_that_are_no_messagepack(data: bytes) -> None:
    with pytest.raises(RemoteProtocolError) as caught:
        MessagePackProtocol().decode(data)
    assert len(str(caught.value)) < 600


def item(packed: bytes) -> Any:
    message = MessagePackProtocol().decode(b"\x94\x02\x80\xa11" + packed)
    assert isinstance(message, StreamItem)
    return message.item


def test_a_timestamp_outside_of_pythons_range_arrives_raw_and_others_do_not() -> None:
    year_10000, good = msgpack.Timestamp(253402300800, 5), msgpack.Timestamp(1, 5000)
    value = item(msgpack.packb([year_10000, {"a": good, good: year_10000}]))
    moment = datetime(1970, 1, 1, 0, 0, 1, 5, UTC)
    assert value == [year_10000, {"a": moment, moment: year_10000}]


def test_the_last_tick_of_dotnet() -> None:
    last = msgpack.packb(msgpack.Timestamp(253402300799, 999_999_900))
    assert item(last) == datetime(9999, 12, 31, 23, 59, 59, 999999, UTC)


def test_extensions_arrive_as_they_came() -> None:
    assert item(msgpack.packb(msgpack.ExtType(5, b"data"))) == msgpack.ExtType(5, b"data")
    reserved = item(b"\xc7\x04\xfedata")
    assert (type(reserved), reserved.code, reserved.data) == (msgpack.ExtType, -2, b"data")


def test_keys_of_any_type() -> None:
    assert item(b"\x83\x01\xa1a\xc2\xa1b\xc0\xa1c") == {1: "a", False: "b", None: "c"}
    moment = datetime(1970, 1, 1, 0, 0, 1, tzinfo=UTC)
    # A DateTimeOffset as a key is an array there; and a map.
    assert item(b"\x81\x92" + msgpack.packb(msgpack.Timestamp(1)) + b"\x78\xa1a") == {(moment, 120): "a"}
    assert item(b"\x81\x81\x91\x01\x91\x02\xa1a") == {(((1,), (2,)),): "a"}


def test_integers_of_any_width() -> None:
    for packed in (b"\x05", b"\xcc\x05", b"\xcd\0\x05", b"\xce\0\0\0\x05", b"\xcf" + b"\0" * 7 + b"\x05", b"\xd0\x05"):
        assert item(packed) == 5
    assert contents(MessagePackProtocol().decode(b"\x92\xd2\0\0\0\x08\xd1\0\x05")) == contents(Ack(5))


# Anything at all


def vector_frames(name: str) -> list[bytes]:
    lines = (VECTORS / f"{name}.jsonl").read_text(encoding="utf-8").splitlines()
    framing = TextFraming(1 << 20) if name == "json" else BinaryFraming(1 << 20)
    return [frame for line in lines for frame in framing.feed(base64.b64decode(json.loads(line)["base64"]))]


def decode_anything(protocol: HubProtocol, data: bytes) -> None:
    for exact in (False, True):
        try:
            protocol.decode(data, exact=exact)
        except RemoteProtocolError as error:
            assert str(error).startswith("this is no hub message")  # noqa: PT017  # it may raise or not


PROTOCOLS: list[HubProtocol] = [JsonProtocol(_backend=StandardBackend()), JsonProtocol(), MessagePackProtocol()]


@given(st.binary(max_size=200))
def test_any_bytes(data: bytes) -> None:
    for protocol in PROTOCOLS:
        decode_anything(protocol, data)


@given(st.binary(max_size=100), st.sampled_from([b"\x94\x02\x80\xa11", b"\x95\x03\x80\xa11\x03", b"\x96\x01\x80\xc0"]))
def test_any_bytes_as_a_value(data: bytes, head: bytes) -> None:
    decode_anything(PROTOCOLS[2], head + data)


@given(st.data())
def test_messages_with_a_few_bytes_changed(data: st.DataObject) -> None:
    for protocol in PROTOCOLS:
        frame = bytearray(data.draw(st.sampled_from(vector_frames(protocol.name))))
        for _ in range(data.draw(st.integers(1, 3))):
            at = data.draw(st.integers(0, len(frame)))
            frame[at : at + data.draw(st.integers(0, 2))] = data.draw(st.binary(max_size=2))
        decode_anything(protocol, bytes(frame))


SCALARS = (
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.floats(allow_nan=False, allow_infinity=False)
)
TEXTS = st.text(max_size=20)
VALUES = st.recursive(
    SCALARS | TEXTS,
    lambda parts: st.lists(parts, max_size=4) | st.dictionaries(TEXTS, parts, max_size=4),
    max_leaves=20,
)
IDS = st.text(min_size=1, max_size=5)
SOME_HEADERS = st.none() | st.dictionaries(TEXTS, TEXTS, min_size=1, max_size=2)
MESSAGES: st.SearchStrategy[HubMessage] = st.one_of(
    st.builds(
        Invocation,
        TEXTS,
        st.lists(VALUES, max_size=3),
        st.none() | IDS,
        st.none() | st.lists(IDS, min_size=1, max_size=2),
        SOME_HEADERS,
    ),
    st.builds(StreamItem, IDS, VALUES, SOME_HEADERS),
    st.builds(Completion, IDS, VALUES, st.none(), st.just(True), SOME_HEADERS),
    st.builds(Completion, IDS, st.none(), st.none() | IDS, st.just(False), SOME_HEADERS),
    st.builds(
        StreamInvocation,
        TEXTS,
        st.lists(VALUES, max_size=3),
        IDS,
        st.none() | st.lists(IDS, min_size=1, max_size=2),
        SOME_HEADERS,
    ),
    st.builds(CancelInvocation, IDS, SOME_HEADERS),
    st.just(Ping()),
    st.builds(Close, st.none() | IDS, st.booleans()),
    st.builds(Ack, st.integers(0, 2**63 - 1)),
    st.builds(Sequence, st.integers(0, 2**63 - 1)),
)


@given(MESSAGES)
def test_there_and_back(message: HubMessage) -> None:
    for protocol in PROTOCOLS:
        framing = BinaryFraming(1 << 20) if protocol.name == "messagepack" else TextFraming(1 << 20)
        (frame,) = framing.feed(protocol.encode(message))
        assert contents(protocol.decode(frame)) == contents(message)


@given(VALUES, st.sampled_from([math.nan, math.inf, -math.inf]))
def test_messagepack_carries_any_float(value: Any, odd: float) -> None:
    protocol = MessagePackProtocol()
    (frame,) = BinaryFraming(1 << 20).feed(protocol.encode(StreamItem("1", [value, odd])))
    message = protocol.decode(frame)
    assert isinstance(message, StreamItem)
    assert repr(message.item) == repr([value, odd])


def test_without_orjson_the_standard_library_does_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "orjson", None)  # so that its import is an ImportError
    name = json_values.__name__
    spec = importlib.util.spec_from_file_location(name, json_values.__file__)
    assert spec is not None
    assert spec.loader is not None
    without = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(without)
    assert without.orjson is None
    assert isinstance(without.choose_backend(), without.StandardBackend)
    monkeypatch.setattr(json_values, "orjson", None)
    assert isinstance(choose_backend(), StandardBackend)
    assert JsonProtocol().encode(StreamItem("1", 1)) == b'{"type":2,"invocationId":"1","item":1}\x1e'
