"""The handshake, in both directions, cut anywhere."""

from __future__ import annotations

import base64
import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from signalr_sdk._core import handshake
from signalr_sdk._core.handshake import HandshakeReader
from signalr_sdk.errors import HandshakeError

VECTORS = Path(__file__).parents[1] / "interop" / "vectors" / "handshake.jsonl"


def test_requests_and_responses_are_what_the_official_clients_and_servers_write() -> None:
    assert handshake.request("json", 1) == b'{"protocol":"json","version":1}\x1e'
    assert handshake.request("messagepack", 2) == b'{"protocol":"messagepack","version":2}\x1e'
    assert handshake.response() == b"{}\x1e"
    assert handshake.response("not supported") == b'{"error":"not supported"}\x1e'


def test_the_vectors_of_aspnet_core() -> None:
    for line in VECTORS.read_text().splitlines():
        vector = json.loads(line)
        message, data = vector["message"], base64.b64decode(vector["base64"])
        if "protocol" in message:
            assert handshake.request(message["protocol"], message["version"]) == data
            assert handshake.parse_request(data[:-1]) == (message["protocol"], message["version"])
        else:
            assert handshake.response(message.get("error")) == data


@pytest.mark.parametrize("rest", [b"", b'{"type":6}\x1e', b"\x02\x91\x06", b"\x1e\x1e"])
def test_what_follows_the_handshake_is_handed_on(rest: bytes) -> None:
    reader = HandshakeReader()
    assert reader.feed(b"{}\x1e" + rest) == rest
    assert reader.record == b"{}"


def test_a_handshake_that_comes_byte_by_byte() -> None:
    """The Java client needs the whole answer in one piece."""
    reader = HandshakeReader()
    data = b'{"minorVersion":1}\x1e'
    assert [reader.feed(data[at : at + 1]) for at in range(len(data) - 1)] == [None] * (len(data) - 1)
    assert reader.feed(b"") is None
    assert reader.feed(b"\x1erest") == b"rest"
    assert reader.record == b'{"minorVersion":1}'


@settings(deadline=None)
@given(st.binary().map(lambda data: data.replace(b"\x1e", b"")), st.binary(), st.lists(st.integers(0, 40)))
def test_cuts_do_not_matter(record: bytes, rest: bytes, cuts: list[int]) -> None:
    data = record + b"\x1e" + rest
    reader, left, followed = HandshakeReader(), data, None
    for cut in [*cuts, len(data)]:
        piece, left = left[:cut], left[cut:]
        followed = reader.feed(piece) if followed is None else followed + piece
    assert reader.record == record
    assert followed == rest


def test_the_handshake_is_bounded_but_not_what_follows_it() -> None:
    limit = 64 * 1024
    assert HandshakeReader().feed(b"x" * limit + b"\x1e" + b"y" * limit) == b"y" * limit
    with pytest.raises(HandshakeError, match="does not look like a hub"):
        HandshakeReader().feed(b"x" * (limit + 1) + b"\x1e")
    reader = HandshakeReader()
    assert reader.feed(b"x" * limit) is None
    with pytest.raises(HandshakeError, match="more than 65536 bytes"):
        reader.feed(b"x")


@pytest.mark.parametrize(
    "record",
    [
        b"{}",
        b' {"minorVersion":7}',
        b'{"error":null}',
        b'{"error":""}',
        b'{"new":[1]}',
        b'{"type":"x"}',
        b'{"type":true}',
    ],
)
def test_a_handshake_is_accepted(record: bytes) -> None:
    handshake.check_response(record)


@pytest.mark.parametrize(
    ("record", "text"),
    [
        (b'{"error":"The protocol is unknown."}', "^server returned handshake error: The protocol is unknown.$"),
        (b'{"error":"two\\r\\nlines"}', "error: two lines$"),
        (b'{"error":{"code":5}}', "error: {'code': 5}$"),
        (b'{"type":6}', "expected a handshake response, but a hub message of type 6 came"),
        (b'{"type":1,"target":"x","error":"y"}', "expected a handshake response"),
        (b'{"type":7}', "hub message of type 7"),
        (b'{"type":7,"error":"too many"}', "closed the connection instead of answering the handshake: too many$"),
        (b"", "not JSON: ''$"),
        (b"<html>login</html>", "not JSON: '<html>login</html>'$"),
        (b"\xff\xfe", "not JSON"),
        (b"[" * 60_000, "not JSON"),
        (b"x" * 1000, "not JSON: '" + "x" * 100 + "…'$"),
        (b"[]", r"not a JSON object: '\[\]'$"),
        (b"null", "not a JSON object"),
    ],
)
def test_anything_else_is_an_error_that_says_what_came(record: bytes, text: str) -> None:
    with pytest.raises(HandshakeError, match=text):
        handshake.check_response(record)


@settings(deadline=None)
@given(st.binary())
def test_random_bytes_are_accepted_or_a_handshake_error(record: bytes) -> None:
    for read in (handshake.check_response, handshake.parse_request):
        text = ""
        try:
            read(record)
        except HandshakeError as error:
            text = str(error)
        assert text.isprintable()


def test_a_request_is_read() -> None:
    assert handshake.parse_request(b'{"version":2,"protocol":"json","more":0}') == ("json", 2)


@pytest.mark.parametrize(
    "record",
    [b"{}", b'{"protocol":"json"}', b'{"protocol":1,"version":1}', b'{"protocol":"json","version":true}', b"no", b"[]"],
)
def test_a_bad_request_is_an_error(record: bytes) -> None:
    with pytest.raises(HandshakeError, match="the handshake request"):
        handshake.parse_request(record)
