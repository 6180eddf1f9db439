"""Server-Sent Events, cut anywhere."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from signalr_sdk._core.sse_parser import SseParser
from signalr_sdk.errors import RemoteProtocolError

STREAMS = [
    (b"data: one\r\n\r\n", [b"one"]),
    (b"data: one\n\n", [b"one"]),
    (b"data: one\r\r", [b"one"]),
    (b"data: one\r\n\ndata: two\n\r\n", [b"one", b"two"]),
    (b"data:one\n\n", [b"one"]),
    (b"data:  one \n\n", [b" one "]),
    (b"data: one\ndata: two\n\n", [b"one\ntwo"]),
    (b"data: one\r\ndata: two\r\ndata:\r\ndata: four\r\n\r\n", [b"one\ntwo\n\nfour"]),
    (b"data\ndata: x\ndata\n\n", [b"\nx\n"]),
    (b"data: a: b\n\n", [b"a: b"]),
    # 0x1E ends SignalR's records; to `str.splitlines` it, and others here, would end a line.
    (b"data: {}\x1e{}\x1e\r\n\r\n", [b"{}\x1e{}\x1e"]),
    (b"data: \x0b\x0c\x1c\x1d\xc2\x85\xe2\x80\xa8\n\n", [b"\x0b\x0c\x1c\x1d\xc2\x85\xe2\x80\xa8"]),
    (b"\xef\xbb\xbfdata: one\n\n", [b"one"]),
    (b"data: \xef\xbb\xbf\n\n\xef\xbb\xbfdata: x\n\n", [b"\xef\xbb\xbf"]),
    (b": comment\nevent: message\nid: 7\nretry: 5\ndata: x\nunknown\n:\n\n", [b"x"]),
    (b"database: x\ndatax\n data: y\n\n", []),
    (b"\n\r\n\revent: ping\n\n", []),
    (b"data\n\ndata:\n\ndata: \n\n", []),
    (b":\r\n\r\n", []),
    (b"", []),
]


@pytest.mark.parametrize(("stream", "events"), STREAMS)
def test_whole_streams(stream: bytes, events: list[bytes]) -> None:
    parser = SseParser(1000)
    assert parser.feed(stream) == events
    assert not parser.incomplete


@pytest.mark.parametrize(("stream", "events"), STREAMS)
def test_byte_by_byte(stream: bytes, events: list[bytes]) -> None:
    parser = SseParser(1000)
    assert [event for at in range(len(stream)) for event in parser.feed(stream[at : at + 1])] == events
    assert not parser.incomplete


@pytest.mark.parametrize(("stream", "events"), STREAMS)
def test_cut_once_at_each_place(stream: bytes, events: list[bytes]) -> None:
    for at in range(len(stream) + 1):
        parser = SseParser(1000)
        assert parser.feed(stream[:at]) + parser.feed(b"") + parser.feed(stream[at:]) == events


@settings(deadline=None)
@given(st.lists(st.tuples(st.sampled_from([b"\n", b"\r", b"\r\n"]), st.binary(min_size=1))), st.data())
def test_any_events_in_any_pieces(messages: list[tuple[bytes, bytes]], data: st.DataObject) -> None:
    events = [text.replace(b"\r", b"").replace(b"\n", b"") + b"." for _, text in messages]
    stream = b"".join(b"data: " + event + end * 2 for event, (end, _) in zip(events, messages, strict=True))
    parser, got = SseParser(10_000), []
    while stream:
        size = data.draw(st.integers(1, len(stream)))
        got += parser.feed(stream[:size])
        stream = stream[size:]
    assert got == events
    assert not parser.incomplete


def test_an_event_is_out_before_the_second_half_of_its_last_line_end() -> None:
    parser = SseParser(1000)
    assert parser.feed(b"data: x\r\n\r") == [b"x"]
    assert parser.feed(b"\ndata: y\r\n\r\n") == [b"y"]


@pytest.mark.parametrize("stream", [b"data: x\n", b"data: x", b"d", b"data: x\r\ndata: y", b"data\n"])
def test_a_stream_that_ends_inside_an_event_is_incomplete(stream: bytes) -> None:
    parser = SseParser(1000)
    assert parser.feed(b"data: whole\n\n" + stream) == [b"whole"]
    assert parser.incomplete


def test_an_event_of_exactly_the_limit_is_accepted() -> None:
    stream = b"\xef\xbb\xbfdata: " + b"x" * 100 + b"\n\n"
    assert SseParser(100).feed(stream) == [b"x" * 100]
    parser = SseParser(100)
    assert [event for at in range(len(stream)) for event in parser.feed(stream[at : at + 1])] == [b"x" * 100]
    assert SseParser(5).feed(b"data: 12\ndata: 45\n\n") == [b"12\n45"]


@pytest.mark.parametrize(
    "stream",
    [
        b"data: " + b"x" * 101 + b"\n\n",
        b"data: " + b"x" * 120,
        b": " + b"x" * 120,
        b"data: " + b"x" * 60 + b"\ndata: " + b"x" * 60,
        b"data: " + b"x" * 60 + b"\ndata: " + b"x" * 60 + b"\n\n",
        b"data\n" * 102,
    ],
)
def test_over_the_limit_is_an_error_also_while_a_line_grows(stream: bytes) -> None:
    with pytest.raises(RemoteProtocolError, match=r"over the limit of 100: Limits\.message_bytes"):
        SseParser(100).feed(stream)

    def byte_by_byte() -> None:
        parser = SseParser(100)
        for at in range(len(stream)):
            parser.feed(stream[at : at + 1])

    with pytest.raises(RemoteProtocolError):
        byte_by_byte()


def test_a_large_event_in_small_pieces() -> None:
    event = bytes(range(0x20, 0x7F)) * 10_000
    stream = b"data: " + event + b"\r\n\r\n"
    parser, got = SseParser(len(event)), []
    for at in range(0, len(stream), 100):
        got += parser.feed(stream[at : at + 100])
    assert got == [event]
