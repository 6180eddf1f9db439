"""What Microsoft's own hub protocols encoded, one message or value each."""

from __future__ import annotations

import base64
import enum
import json
import struct
import sys
from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import UUID

import attrs
import pytest

from signalr_sdk._typed.structure import default_converter, needs_exact, structure
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
from signalr_sdk.options import DateTimeOffset
from signalr_sdk.protocols import JsonProtocol, MessagePackProtocol
from signalr_sdk.protocols.framing import BinaryFraming, TextFraming

if TYPE_CHECKING:
    from signalr_sdk.interfaces import HubProtocol

FOLDER = Path(__file__).parents[1] / "interop" / "vectors"
LIMIT = 1 << 20
# Microsoft writes a float in 4 bytes, and an int that is boxed in 5: Python has one type for each.
OTHER_WIDTHS = {"value-26", "value-33", "value-35"}


def vectors(protocol: str) -> list[dict[str, Any]]:
    lines = (FOLDER / f"{protocol}.jsonl").read_text(encoding="utf-8").splitlines()
    return [json.loads(line) for line in lines]


def named(protocol: str, *, values: bool) -> list[Any]:
    found = [each for each in vectors(protocol) if each["name"].startswith("value-") == values]
    return [pytest.param(each, id=each["name"]) for each in found]


def frame_of(vector: dict[str, Any]) -> bytes:
    data = base64.b64decode(vector["base64"])
    framing = TextFraming(LIMIT) if vector["protocol"] == "json" else BinaryFraming(LIMIT)
    (frame,) = framing.feed(data)
    assert framing.pending == 0
    return frame


def decoded(protocol: HubProtocol, vector: dict[str, Any], *, exact: bool = False) -> HubMessage:
    message = protocol.decode(frame_of(vector), exact=exact)
    assert message is not None
    return message


def expected(described: dict[str, Any]) -> HubMessage:  # noqa: PLR0911  # one return for each type
    get = described.get
    headers = get("headers")
    match described["type"]:
        case 1:
            return Invocation(
                described["target"], described["arguments"], get("invocationId"), get("streamIds"), headers
            )
        case 2:
            return StreamItem(described["invocationId"], get("item"), headers)
        case 3:
            return Completion(described["invocationId"], get("result"), get("error"), described["hasResult"], headers)
        case 4:
            return StreamInvocation(
                described["target"], described["arguments"], described["invocationId"], get("streamIds"), headers
            )
        case 5:
            return CancelInvocation(described["invocationId"], headers)
        case 6:
            return Ping()
        case 7:
            return Close(get("error"), described["allowReconnect"])
        case 8:
            return Ack(described["sequenceId"])
        case _:
            return Sequence(described["sequenceId"])


def contents(message: HubMessage | None) -> tuple[type, dict[str, Any]]:
    assert message is not None
    return type(message), attrs.asdict(message)


def test_there_are_all_of_them() -> None:
    assert sum(len(vectors(name)) for name in ("json", "messagepack", "handshake")) == 154


@pytest.mark.parametrize("vector", named("json", values=False))
def test_json_messages(json_protocol: JsonProtocol, vector: dict[str, Any]) -> None:
    for exact in (False, True):
        message = decoded(json_protocol, vector, exact=exact)
        assert contents(message) == contents(expected(vector["message"]))
        assert json.loads(json_protocol.encode(message)[:-1]) == json.loads(frame_of(vector))


@pytest.mark.parametrize("vector", named("messagepack", values=False))
def test_messagepack_messages(vector: dict[str, Any]) -> None:
    protocol = MessagePackProtocol()
    message = decoded(protocol, vector)
    assert contents(message) == contents(expected(vector["message"]))
    assert protocol.encode(message) == base64.b64decode(vector["base64"])


@pytest.mark.parametrize("vector", named("json", values=True))
def test_json_values_go_back_as_they_came(json_protocol: JsonProtocol, vector: dict[str, Any]) -> None:
    for exact in (False, True):
        back = json_protocol.encode(decoded(json_protocol, vector, exact=exact))
        assert json.loads(back[:-1]) == json.loads(frame_of(vector))


@pytest.mark.parametrize("vector", named("messagepack", values=True))
def test_messagepack_values_go_back_as_they_came(vector: dict[str, Any]) -> None:
    protocol = MessagePackProtocol()
    message = decoded(protocol, vector)
    back = protocol.encode(message)
    if vector["name"] in OTHER_WIDTHS:
        (frame,) = BinaryFraming(LIMIT).feed(back)
        assert contents(protocol.decode(frame)) == contents(message)
    else:
        assert back == base64.b64decode(vector["base64"])


class Color(enum.Enum):
    RED = 0
    GREEN = 1


@attrs.frozen
class Address:
    street: str
    city: str | None


@attrs.frozen
class Person:
    name: str
    age: int
    height: float
    active: bool
    born: datetime
    tags: list[str]
    home: Address


LOCAL = datetime(2026, 2, 3, 4, 5, 6, tzinfo=timezone(timedelta(hours=2)))
ADA = Person(
    "Ada", 36, 1.65, True, datetime(1815, 12, 10, tzinfo=UTC), ["maths", "poetry"], Address("St James's Square", None)
)
INTS = [0, 1, -1, 127, 128, 255, 256, -32, -33, -128, -129, 65535, 65536]
INTS += [2**31 - 1, -(2**31), 2**63 - 1, -(2**63), 2**64 - 1]
NESTED = {"name": "value", "nested": {"n": 1}}

# In the order of the vectors: the type asked for, and the value.
VALUES: list[tuple[Any, Any]] = [
    (type(None), None),
    (bool, True),
    (bool, False),
    *((int, number) for number in INTS),
    (float, 0.0),
    (float, -0.5),
    (float, 1.5),
    (float, sys.float_info.max),
    (float, 5e-324),
    (float, 3.4),
    (str, ""),
    (str, "text"),
    (str, "naïve — ünïcode \U0001f680"),
    (str, 'quote" \\ / \x1e \n \0 <&>'),
    (bytes, b"\0\1\2\xfe\xff"),
    (bytes, b""),
    (list[int | str | float | None], [1, "two", None, 3.5]),
    (list[str], []),
    (dict[str, Any], NESTED),
    (datetime, datetime(2026, 2, 3, 4, 5, 6, 789000, UTC)),
    (datetime, datetime(1970, 1, 1, tzinfo=UTC)),
    (datetime, datetime(1969, 12, 31, 23, 59, 59, 999000, UTC)),
    (datetime, datetime(2600, 1, 1, tzinfo=UTC)),
    (DateTimeOffset, DateTimeOffset(LOCAL)),
    (UUID, UUID("01234567-89ab-cdef-0123-456789abcdef")),
    (Decimal, Decimal("12345.6789")),
    (Color, Color.GREEN),
    (timedelta, timedelta(milliseconds=1234567)),
    (Person, ADA),
]


def typed(protocol: HubProtocol, vector: dict[str, Any], type_: Any) -> Any:
    message = decoded(protocol, vector, exact=needs_exact(type_))
    assert isinstance(message, Completion)
    return structure(default_converter(protocol.naming), message.result, type_)


@pytest.mark.parametrize("vector", named("json", values=True))
def test_typed_json_values(json_protocol: JsonProtocol, vector: dict[str, Any]) -> None:
    pytest.importorskip("cattrs", reason="typed results are an extra")
    type_, value = VALUES[int(vector["name"].partition("-")[2])]
    found = typed(json_protocol, vector, type_)
    assert (type(found), found) == (type(value), value)


@pytest.mark.parametrize("vector", named("messagepack", values=True))
def test_typed_messagepack_values(vector: dict[str, Any]) -> None:
    pytest.importorskip("cattrs", reason="typed results are an extra")
    type_, value = VALUES[int(vector["name"].partition("-")[2])]
    found = typed(MessagePackProtocol(), vector, type_)
    if vector["message"]["dotnetType"] == "Single":
        (value,) = struct.unpack("f", struct.pack("f", value))
    assert (type(found), found) == (type(value), value)


def test_a_date_time_offset_keeps_its_offset() -> None:
    pytest.importorskip("cattrs", reason="typed results are an extra")
    for name, protocol in (("json", JsonProtocol()), ("messagepack", MessagePackProtocol())):
        (vector,) = (each for each in vectors(name) if each["message"].get("dotnetType") == "DateTimeOffset")
        found = typed(protocol, vector, datetime)
        assert (found, found.utcoffset()) == (LOCAL, timedelta(hours=2))
