"""The messages of classic SignalR without a network: envelopes, calls, answers, events, cursors, URLs."""

from __future__ import annotations

import json
from decimal import Decimal
from enum import Enum
from typing import Any

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from signalr_sdk import LocalProtocolError, RemoteProtocolError, Transport
from signalr_sdk.classic.cursors import read_cursor, server_of, write_cursor
from signalr_sdk.classic.envelopes import Envelope, envelope_members, read_envelope
from signalr_sdk.classic.hub_messages import (
    Answer,
    Call,
    Event,
    Progress,
    answer_members,
    call_members,
    event_members,
    progress_members,
    read_answer,
    read_call,
    read_event,
    read_progress,
)
from signalr_sdk.classic.json_codec import ClassicJson
from signalr_sdk.classic.request_urls import Address, connection_data, form

JSON = ClassicJson()


def text(members: dict[str, Any]) -> str:
    return JSON.encode(members).decode()


# Texts of a real server, with what they mean
ENVELOPES = [
    ('{"C":"d-A-B,0|C,0","S":1,"M":[]}', Envelope("d-A-B,0|C,0", [], is_init=True)),
    ('{"C":"d-A-B,0","G":"Ded637yf","M":[]}', Envelope("d-A-B,0", [], groups_token="Ded637yf")),
    ('{"C":"d-A-B,0","T":1,"L":250,"M":[1]}', Envelope("d-A-B,0", [1], asks_reconnect=True, delay=0.25)),
    ('{"E":"over"}', Envelope(error="over")),
    ("{}", Envelope()),
]
ANSWERS = [
    ('{"R":3,"I":"2"}', Answer("2", 3)),
    ('{"I":"3"}', Answer("3")),
    ('{"S":{"counter":1},"R":"c=0","I":"12"}', Answer("12", "c=0", state={"counter": 1})),
    ('{"I":"5","E":"There was an error."}', Answer("5", error="There was an error.")),
    (
        '{"I":"6","H":true,"E":"visible","T":"at Chat","D":{"code":7}}',
        Answer("6", error="visible", is_hub_exception=True, trace="at Chat", data={"code": 7}),
    ),
    ('{"R":"noid","I":null}', Answer(None, "noid")),
]
CALLS = [
    ('{"H":"chat","M":"Add","A":[1,2],"I":"0"}', Call("chat", "Add", [1, 2], "0")),
    ('{"H":"chat","M":"Add","A":[]}', Call("chat", "Add", [])),
    ('{"H":"chat","M":"Add","A":[],"I":"abc","S":{"x":1}}', Call("chat", "Add", [], "abc", {"x": 1})),
]
EVENTS = [
    ('{"H":"testHub","M":"number","A":[1]}', Event("testHub", "number", [1])),
    (
        '{"H":"testHub","M":"stateful","A":["x"],"S":{"colour":"green"}}',
        Event("testHub", "stateful", ["x"], {"colour": "green"}),
    ),
]


@pytest.mark.parametrize(("written", "meant"), ENVELOPES)
def test_envelopes(written: str, meant: Envelope) -> None:
    assert read_envelope(json.loads(written)) == meant
    assert text(envelope_members(meant)) == written
    assert "Ded637yf" not in repr(meant)


@pytest.mark.parametrize(("written", "meant"), ANSWERS)
def test_answers(written: str, meant: Answer) -> None:
    assert read_answer(json.loads(written)) == meant
    assert text(answer_members(meant)) == written


@pytest.mark.parametrize(("written", "meant"), CALLS)
def test_calls(written: str, meant: Call) -> None:
    assert read_call(json.loads(written)) == meant
    assert text(call_members(meant)) == written


@pytest.mark.parametrize(("written", "meant"), EVENTS)
def test_events(written: str, meant: Event) -> None:
    assert read_event(json.loads(written)) == meant
    assert text(event_members(meant)) == written


def test_progress() -> None:
    written, meant = '{"I":"P|13","P":{"I":"13","D":{"step":1}}}', Progress("13", {"step": 1})
    assert read_progress(json.loads(written)) == meant
    assert text(progress_members(meant)) == written


def test_ids_may_be_numbers_and_arguments_may_be_missing() -> None:
    assert read_call({"H": "a", "M": "b", "I": 7}) == Call("a", "b", [], "7")
    assert read_event({"H": "a", "M": "b"}) == Event("a", "b", [])
    assert read_answer({"I": 7}) == Answer("7")


@pytest.mark.parametrize(
    ("read", "members"),
    [
        (read_envelope, {"C": 1}),
        (read_envelope, {"M": {}}),
        (read_envelope, {"G": 1}),
        (read_envelope, {"L": "1"}),
        (read_envelope, {"L": True}),
        (read_envelope, {"L": -1}),
        (read_envelope, {"L": float("inf")}),
        (read_envelope, {"E": {}}),
        (read_answer, {"I": 1.5}),
        (read_answer, {"I": "1", "E": 2}),
        (read_answer, {"I": "1", "S": []}),
        (read_answer, {"I": "1", "T": []}),
        (read_call, {"M": "x"}),
        (read_call, {"H": "x"}),
        (read_call, {"H": 1, "M": "x"}),
        (read_call, {"H": "x", "M": "x", "A": {}}),
        (read_event, {"M": "x"}),
        (read_event, {"H": "x", "M": ""}),
        (read_progress, {"P": 1}),
        (read_progress, {"P": {"D": 1}}),
    ],
)
def test_members_of_a_wrong_type(read: Any, members: dict[str, Any]) -> None:
    with pytest.raises(RemoteProtocolError, match="wrong member"):
        read(members)


# Cursors


@given(st.text("0123456789ABCDEF", max_size=8), st.dictionaries(st.text(), st.integers(0, 2**64 - 1)))
def test_a_cursor_that_is_written_is_read(server: str, positions: dict[str, int]) -> None:
    cursor = write_cursor(server, positions)
    assert read_cursor(cursor) == (server, positions)
    assert server_of(cursor) == server


@pytest.mark.parametrize("cursor", ["", "B,0", "d-A-B", "d-A-B,x", "d-A-B,0||C,0", "d-A-B,00000000000000000"])
def test_no_cursor(cursor: str) -> None:
    with pytest.raises(RemoteProtocolError, match="no cursor"):
        read_cursor(cursor)


@pytest.mark.parametrize("cursor", [None, "", "B,0", "12"])
def test_a_cursor_without_a_server(cursor: str | None) -> None:
    assert server_of(cursor) is None


# JSON


class Colour(Enum):
    RED = 1


@attrs.frozen
class Person:
    first_name: str


def test_classes_are_written_as_json_net_reads_them() -> None:
    members = {"A": [Person("Al"), Colour.RED, Decimal("1.50"), b"abc", None]}
    assert text(members) == '{"A":[{"FirstName":"Al"},1,1.50,"YWJj",null]}'
    assert ClassicJson(naming=None).encode({"A": [Person("Al")]}) == b'{"A":[{"first_name":"Al"}]}'
    assert JSON.encode_value([1]) == b"[1]"


class Converter:
    def structure(self, obj: Any, cl: Any, /) -> Any:
        raise NotImplementedError

    def unstructure(self, obj: Any, /) -> Any:
        return {"name": obj.first_name}


def test_a_converter_of_the_user() -> None:
    codec = ClassicJson(converter=Converter())
    assert codec.plain([Person("Al"), {"a": (Person("Bo"), 1)}]) == [{"name": "Al"}, {"a": [{"name": "Bo"}, 1]}]
    assert JSON.plain(Person("Al")) == Person("Al")


@pytest.mark.parametrize(
    ("members", "path"),
    [
        ({"H": "x", "A": [1, {"b": float("nan")}]}, r"^arguments\[1\]\['b'\]: "),
        ({"A": [], "S": {"x": object()}}, r"^state\['x'\]: "),
        ({"D": object()}, "^data: "),
        ({"H": object()}, "^H: "),
        ({"Ab": object()}, "^Ab: "),
    ],
)
def test_errors_name_the_value_in_the_words_of_users(members: dict[str, Any], path: str) -> None:
    with pytest.raises(LocalProtocolError, match=path):
        JSON.encode(members)


def test_numbers_can_be_read_exactly() -> None:
    assert JSON.decode(b' {"a":1.10}') == {"a": 1.1}
    assert str(JSON.decode(b'{"a":1.10}', exact=True)["a"]) == "1.10"
    assert JSON.decode(b'"\\ud800"') == "\ud800"


@pytest.mark.parametrize("data", [b"", b"x", b'{"a":', b"\xff", b"[" * 100_000, b"NaN"])
@pytest.mark.parametrize("exact", [False, True])
def test_no_json(data: bytes, exact: bool) -> None:
    with pytest.raises(RemoteProtocolError, match="no message of classic SignalR"):
        JSON.decode(data, exact=exact)


# Requests

ADDRESS = Address("https://example.com/signalr", connection_data(["chat", "a&b"]), "a+/=")
DATA = "connectionData=%5B%7B%22name%22%3A%22chat%22%7D%2C%7B%22name%22%3A%22a%26b%22%7D%5D&connectionToken=a%2B%2F%3D"


@pytest.mark.parametrize(
    ("url", "before"),
    [
        ("https://example.com/signalr", "https://example.com/signalr/start?"),
        ("https://example.com/signalr?", "https://example.com/signalr/start?"),
        ("https://example.com/signalr/?b=%2f&a", "https://example.com/signalr/start?b=%2f&a&"),
        ("https://example.com/?a=1&", "https://example.com/start?a=1&"),
    ],
)
def test_the_query_of_the_user_goes_on_every_request(url: str, before: str) -> None:
    address = attrs.evolve(ADDRESS, url=url)
    assert address.command("start", Transport.WEBSOCKETS) == f"{before}clientProtocol=2.1&transport=webSockets&{DATA}"
    assert "a+/=" not in repr(address)


def test_the_place_to_go_on_is_in_the_query() -> None:
    url = ADDRESS.command("reconnect", Transport.SERVER_SENT_EVENTS, cursor="d-A-B,0|C,1", groups_token="x/y=")
    assert url.endswith(f"transport=serverSentEvents&{DATA}&messageId=d-A-B%2C0%7CC%2C1&groupsToken=x%2Fy%3D")


def test_a_ping_has_the_query_of_the_user_alone() -> None:
    assert attrs.evolve(ADDRESS, url="https://a/signalr?room=1").ping() == "https://a/signalr/ping?room=1"


def test_without_hubs_there_is_no_connection_data() -> None:
    assert Address("https://a/raw").command("negotiate") == "https://a/raw/negotiate?clientProtocol=2.1"
    assert connection_data([]) == ""


def test_forms() -> None:
    assert form(data=b'{"a":"b c&\xe2\x98\x83"}') == b"data=%7B%22a%22%3A%22b+c%26%E2%98%83%22%7D"
    assert form(messageId="a,b", groupsToken=None) == b"messageId=a%2Cb"
