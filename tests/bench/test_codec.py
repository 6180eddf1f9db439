"""What the protocols cost beside the bare codecs, as ratios inside one process."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgpack
import orjson
import pytest
from tests.bench.measuring import SLOWED, ratio, settled

from signalr_sdk import JsonProtocol, MessagePackProtocol
from signalr_sdk.messages import Invocation, StreamItem

if TYPE_CHECKING:
    from collections.abc import Callable

    from signalr_sdk import HubProtocol

pytestmark = pytest.mark.timeout(60)

BATCH = 300
# An event with a kilobyte of what hubs send, and the smallest message that there is. (A kilobyte of text alone is
# copied in less time than any object is made in.)
RECORDS: list[Any] = [
    {"id": n, "name": f"sensor {n}", "value": n / 7, "tags": ["a", "b"], "on": True} for n in range(14)
]
LARGE: tuple[Invocation, Any, Any] = (
    Invocation("readings", [RECORDS]),
    {"type": 1, "target": "readings", "arguments": [RECORDS]},
    [1, {}, None, "readings", [RECORDS], []],
)
TINY: tuple[StreamItem, Any, Any] = (
    StreamItem("1", 7),
    {"type": 2, "invocationId": "1", "item": 7},
    [2, {}, "1", 7],
)


def many(work: Callable[[Any], object], argument: object) -> Callable[[], None]:
    def run() -> None:
        for _ in range(BATCH):
            work(argument)

    return run


# Nearly twice what was measured, which docs/performance.md has: beside other work, Python code slows down more than C.
# A second pass over the data is found, and not noise.
CASES = [
    pytest.param(JsonProtocol(), orjson.dumps, orjson.loads, LARGE, 3.0, 2.0, id="json-1000"),
    pytest.param(JsonProtocol(), orjson.dumps, orjson.loads, TINY, 7.0, 6.5, id="json-tiny"),
    pytest.param(MessagePackProtocol(), msgpack.packb, msgpack.unpackb, LARGE, 1.8, 2.0, id="messagepack-1000"),
    pytest.param(MessagePackProtocol(), msgpack.packb, msgpack.unpackb, TINY, 2.5, 8.0, id="messagepack-tiny"),
]


@pytest.mark.parametrize(("protocol", "dumps", "loads", "sample", "encoding", "decoding"), CASES)
def test_encoding(
    protocol: HubProtocol, dumps: Any, loads: Any, sample: tuple[Any, Any, Any], encoding: float, decoding: float
) -> None:
    message, for_json, for_messagepack = sample
    bare = for_json if protocol.name == "json" else for_messagepack
    found = settled(lambda: ratio(many(protocol.encode, message), many(dumps, bare)), encoding * SLOWED)
    assert found <= encoding * SLOWED


@pytest.mark.parametrize(("protocol", "dumps", "loads", "sample", "encoding", "decoding"), CASES)
def test_decoding(
    protocol: HubProtocol, dumps: Any, loads: Any, sample: tuple[Any, Any, Any], encoding: float, decoding: float
) -> None:
    _message, for_json, for_messagepack = sample
    frame = dumps(for_json if protocol.name == "json" else for_messagepack)
    found = settled(lambda: ratio(many(protocol.decode, frame), many(loads, frame)), decoding * SLOWED)
    assert found <= decoding * SLOWED
