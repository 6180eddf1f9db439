"""MessagePack that is made to cost much, and MessagePack with values that Python does not have."""

from __future__ import annotations

import itertools
import struct
import tracemalloc
from typing import Any

import msgpack
import pytest

from signalr_sdk import MessagePackProtocol
from signalr_sdk.errors import RemoteProtocolError
from signalr_sdk.messages import HubMessage, StreamItem
from signalr_sdk.protocols.batches import Batch
from signalr_sdk.protocols.messagepack_values import MessagePackCodec

PROTOCOL = MessagePackProtocol()


def item_frame(packed: bytes) -> bytes:
    """Return a stream item whose item is already packed."""
    return b"\x94\x02\x80\xa11" + packed


def item_of(packed: bytes) -> Any:
    message: HubMessage | None = PROTOCOL.decode(item_frame(packed))
    assert isinstance(message, StreamItem)
    batch = Batch()
    PROTOCOL.decode_all([item_frame(packed)], batch)
    assert repr(batch.values) == repr([message.item])
    return message.item


def colliding_keys(count: int) -> bytes:
    """Return a map whose keys are arrays of -1 and -2, which Python gives the same hash."""
    keys = itertools.islice(itertools.product((-1, -2), repeat=16), count)
    return b"\xdf" + struct.pack(">I", count) + b"".join(msgpack.packb(list(key)) + b"\xc0" for key in keys)


@pytest.mark.parametrize("count", [33, 16384])
def test_a_map_with_many_keys_of_the_same_hash_is_refused(count: int) -> None:
    with pytest.raises(RemoteProtocolError, match=f"a map has {count} keys with the same hash"):
        PROTOCOL.decode(item_frame(colliding_keys(count)))


def test_a_map_with_some_keys_of_the_same_hash_is_read() -> None:
    assert len(item_of(colliding_keys(32))) == 32


def test_a_map_with_many_arrays_as_keys_is_read() -> None:
    packed = b"\xdf" + struct.pack(">I", 5000) + b"".join(msgpack.packb([n]) + msgpack.packb(n) for n in range(5000))
    assert item_of(packed) == {(n,): n for n in range(5000)}


@pytest.mark.parametrize("header", [b"\xdd", b"\xdf"])
@pytest.mark.parametrize("size", [64 * 1024, 4 * 1024 * 1024])
def test_nested_headers_that_promise_the_rest_reserve_no_memory(header: bytes, size: int) -> None:
    headers = b"".join(header + struct.pack(">I", size - 5 * number - 64) for number in range(400))
    frame = item_frame(headers + b"\xc0" * (size - len(headers) - 5))
    tracemalloc.start()
    try:
        for _ in range(2):
            with pytest.raises(RemoteProtocolError):
                PROTOCOL.decode(frame)
        _now, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    # The frame itself is copied once to be looked through.
    assert peak < 4 * size


def test_large_messages_with_many_honest_headers_are_read() -> None:
    value = [[number] * 20 for number in range(2000)]
    assert item_of(msgpack.packb(value)) == value


def test_an_extension_with_the_code_of_timestamps_and_another_length_arrives_raw() -> None:
    odd = b"\xc7\x03\xff\x01\x02\x03"
    extension, stamp, other = item_of(b"\x93" + odd + b"\xd6\xff\x00\x00\x00\x01" + b"\xd4\x00\x05")
    assert (type(extension), tuple(extension)) == (msgpack.ExtType, (-1, b"\x01\x02\x03"))
    assert stamp.timestamp() == 1.0
    assert other == msgpack.ExtType(0, b"\x05")


@pytest.mark.parametrize("rest", [b"\xc7\x04", b"\xc9\x00", b"\xd4", b"\xdb\x00", b"\xc7\x03\xffabc"])
def test_bytes_behind_a_message_with_a_timestamp_are_refused(rest: bytes) -> None:
    stamp = b"\xd6\xff\x00\x00\x00\x01"
    assert item_of(stamp).timestamp() == 1.0
    with pytest.raises(RemoteProtocolError):
        PROTOCOL.decode(item_frame(stamp) + rest)


@pytest.mark.skipif(msgpack.version < (1, 1), reason="msgpack 1.0 takes too many nanoseconds as seconds")
def test_a_timestamp_with_too_many_nanoseconds_arrives_raw() -> None:
    data = struct.pack(">Iq", 2_000_000_000, 1)
    extension = item_of(b"\xc7\x0c\xff" + data)
    assert tuple(extension) == (-1, data)


def test_text_that_is_no_utf8_arrives_as_bytes() -> None:
    assert item_of(b"\x92\xa2\xff\x41\xa1a") == [b"\xff\x41", "a"]
    assert item_of(b"\x81\xa1\xfe\xa1b") == {b"\xfe": "b"}


@pytest.mark.parametrize("frame", [b"\x91", b"\x94\x02\x80\xa11\xc7\x09\xff\x01", b"\x94\x02\x80\xa11\xc1", b"\xa5"])
def test_bytes_that_are_cut_off_or_reserved_are_refused(frame: bytes) -> None:
    with pytest.raises(RemoteProtocolError):
        PROTOCOL.decode(frame)


WRONG_TIMESTAMP = b"\xc7\x03\xffabc"


@pytest.mark.parametrize(
    "beside",
    [
        pytest.param(msgpack.packb(bytes(1024 * 1024)), id="a large message"),
        pytest.param(
            b"\xdc\x00\x80" + b"".join(msgpack.packb(msgpack.ExtType(code, b"")) for code in range(128)),
            id="all extensions",
        ),
    ],
)
def test_a_wrong_timestamp_in_a_message_that_cannot_be_mended_is_refused(beside: bytes) -> None:
    item_of(b"\x91" + beside)
    wrong, data = item_of(b"\x92" + WRONG_TIMESTAMP + b"\xc4\x01x")
    assert (tuple(wrong), data) == ((-1, b"abc"), b"x")
    with pytest.raises(RemoteProtocolError):
        PROTOCOL.decode(item_frame(b"\x92" + WRONG_TIMESTAMP + beside))


def test_an_empty_message_reserves_no_memory() -> None:
    tracemalloc.start()
    try:
        with pytest.raises(ValueError, match="promises more"):
            MessagePackCodec(str).unpack_slowly(b"")
        assert tracemalloc.get_traced_memory()[1] < 256 * 1024
    finally:
        tracemalloc.stop()
