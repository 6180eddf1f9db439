"""Framing: whole, byte by byte, with more behind, and over the limit."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from signalr_sdk.errors import RemoteProtocolError
from signalr_sdk.protocols.framing import BinaryFraming, TextFraming, frame_binary, frame_text

LIMIT = 1 << 20
SIZES = [1, 2, 127, 128, 129, 16383, 16384, 16385, 70_000]


def framings(limit: int = LIMIT) -> list[tuple[TextFraming | BinaryFraming, bool]]:
    return [(TextFraming(limit), True), (BinaryFraming(limit), False)]


def framed(messages: list[bytes], *, text: bool) -> bytes:
    return b"".join((frame_text if text else frame_binary)(message) for message in messages)


def feed(framing: TextFraming | BinaryFraming, data: bytes) -> list[bytes]:
    """Feed a payload to its end."""
    frames = framing.feed(data)
    while framing.unread:
        frames += framing.feed(b"")
    return frames


@pytest.mark.parametrize("piece", [1, 2, 7, 4095, 4096, 70_000, 1 << 20])
def test_messages_come_out_however_the_stream_is_cut(piece: int) -> None:
    messages = [b"m" * size for size in SIZES]
    for framing, text in framings():
        data = framed(messages, text=text)
        found = [frame for at in range(0, len(data), piece) for frame in feed(framing, data[at : at + piece])]
        assert found == messages
        assert (framing.pending, framing.error) == (0, None)


@given(st.lists(st.binary(min_size=1, max_size=300), max_size=6), st.lists(st.integers(1, 200), min_size=1))
def test_any_messages_and_any_cuts(messages: list[bytes], cuts: list[int]) -> None:
    messages = [message.replace(b"\x1e", b"-") for message in messages]
    for framing, text in framings():
        data, found, turn = framed(messages, text=text), [], 0
        while data:
            cut = cuts[turn % len(cuts)]
            found += framing.feed(data[:cut])
            data, turn = data[cut:], turn + 1
        assert found == messages
        assert framing.pending == 0


def test_what_follows_waits_for_its_end() -> None:
    for framing, text in framings():
        data = framed([b"one", b"two"], text=text)
        assert framing.feed(data[:-1]) == [b"one"]
        assert framing.pending > 0
        assert framing.feed(b"") == []
        assert framing.feed(data[-1:]) == [b"two"]
        assert framing.pending == 0


def test_an_empty_text_message_is_a_message() -> None:
    assert TextFraming(LIMIT).feed(b"\x1ea\x1e") == [b"", b"a"]


@pytest.mark.timeout(60)  # seconds of work under coverage
def test_a_large_message_in_single_bytes_is_no_quadratic_work() -> None:
    # 300 000 pieces: joined anew with each, they would be 45 GB of copying.
    message = b"x" * 300_000
    for framing, text in framings():
        data = framed([message], text=text)
        found: list[bytes] = []
        for byte in data:
            found += framing.feed(bytes((byte,)))
        assert found == [message]


@pytest.mark.parametrize("piece", [1, 64, 1 << 16])
def test_a_message_over_the_limit_ends_it_and_those_before_it_come(piece: int) -> None:
    for framing, text in framings(100):
        data = framed([b"a" * 100, b"b" * 101, b"c"], text=text)
        found = [frame for at in range(0, len(data), piece) for frame in feed(framing, data[at : at + piece])]
        assert found == [b"a" * 100]
        assert isinstance(framing.error, RemoteProtocolError)
        assert "over the limit of 100 bytes (Limits.message_bytes can raise it)" in str(framing.error)
        assert framing.pending == 0
        assert framing.feed(framed([b"d"], text=text)) == []


def test_a_text_message_fails_as_soon_as_it_is_too_long() -> None:
    framing = TextFraming(100)
    assert framing.feed(b"a" * 60) == []
    assert framing.error is None
    assert framing.feed(b"a" * 41) == []
    assert framing.error is not None


def test_a_text_message_that_ends_over_the_limit() -> None:
    framing = TextFraming(100)
    assert framing.feed(b"a" * 60) == []
    assert framing.feed(b"a" * 41 + b"\x1e") == []
    assert framing.error is not None


@pytest.mark.parametrize("text", [True, False])
def test_the_limit_is_for_each_message(text: bool) -> None:
    framing = TextFraming(100) if text else BinaryFraming(100)
    messages = [b"a" * 100] * 3
    assert framing.feed(framed(messages, text=text)) == messages
    assert framing.error is None


def test_a_binary_message_fails_by_its_length_alone() -> None:
    framing = BinaryFraming(100)
    assert framing.feed(b"\x01a\x65") == [b"a"]
    assert "101 bytes" in str(framing.error)


def test_a_length_of_five_bytes_at_most() -> None:
    framing = BinaryFraming(1 << 31)
    assert framing.feed(b"\xff\xff\xff\xff") == []
    assert framing.feed(b"\x07") == []
    assert framing.error is None  # 2 GB less one byte: allowed by the format
    framing = BinaryFraming(1 << 31)
    assert framing.feed(b"\x01a\xff\xff\xff\xff\x08") == [b"a"]
    assert "over 2 GB" in str(framing.error)


@pytest.mark.parametrize("length", [b"\x00", b"\x80\x00"])
def test_an_empty_binary_message_is_none(length: bytes) -> None:
    framing = BinaryFraming(100)
    assert framing.feed(length) == []
    assert "0 bytes" in str(framing.error)
