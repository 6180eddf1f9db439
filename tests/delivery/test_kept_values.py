"""What an outbox keeps is what was put, whatever protocol delivers it later."""

from __future__ import annotations

import dataclasses
import enum
import math
from datetime import UTC, date, datetime, time, timedelta, timezone
from decimal import Decimal
from typing import TYPE_CHECKING, Any
from uuid import UUID

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from signalr_sdk import DateTimeOffset, JsonProtocol, LocalProtocolError, MessagePackProtocol
from signalr_sdk.delivery import ID, new_id
from signalr_sdk.delivery.kept_values import decode_arguments, encode_arguments

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
from signalr_sdk.messages import Invocation

CEST = timezone(timedelta(hours=2))


class Color(enum.Enum):
    RED = 1
    BLUE = "blue"


class Level(enum.IntEnum):
    HIGH = 3


@attrs.frozen
class Reading:
    meter_id: str
    value: Decimal
    _hidden: int = 0


@dataclasses.dataclass
class Room:
    room_name: str
    readings: list[Reading]


@attrs.frozen
class Lines:
    """An upload stream for a hub."""

    file: str

    async def __aiter__(self) -> AsyncIterator[str]:
        yield self.file


class Text(str):
    __slots__ = ()


VALUES = [
    None,
    True,
    0,
    -1,
    2**63,
    1.5,
    "Zähler",
    b"\0\xff",
    [1, [2, "x"]],
    {"a": {"b": [None]}},
    {1: "one"},
    date(2026, 2, 3),
    time(4, 5, 6, 7),
    timedelta(days=-1, seconds=5, microseconds=7),
    datetime(2026, 2, 3, 4, 5, 6, 7, tzinfo=CEST),
    datetime(2026, 2, 3, tzinfo=UTC),
    UUID(int=5),
    Decimal("20.50"),
    Color.RED,
    Color.BLUE,
    Level.HIGH,
    DateTimeOffset(datetime(2026, 2, 3, tzinfo=CEST)),
    Reading("kitchen", Decimal("0.1")),
    Room("hall", [Reading("a", Decimal(1)), Reading("b", Decimal(2))]),
    Text("plain"),
    bytearray(b"x"),
    [(1, 2), Color.RED, {"color": Level.HIGH}],
]


def kept(*args: Any) -> list[Any]:
    return decode_arguments(encode_arguments(args), "the-id")


@pytest.mark.parametrize("value", VALUES, ids=repr)
@pytest.mark.parametrize(
    "protocol",
    [JsonProtocol(), MessagePackProtocol(), JsonProtocol(naming=None)],
    ids=["json", "messagepack", "json with own names"],
)
def test_the_protocol_sends_a_kept_value_as_the_value_itself(protocol: Any, value: object) -> None:
    original = protocol.encode(Invocation("Store", [value]))
    assert protocol.encode(Invocation("Store", kept(value))) == original


@pytest.mark.parametrize("value", [2**64, -(2**200), datetime(2026, 2, 3)], ids=repr)  # noqa: DTZ001 - naive
def test_what_only_json_can_send_is_kept(value: object) -> None:
    json = JsonProtocol()
    assert json.encode(Invocation("Store", kept(value))) == json.encode(Invocation("Store", [value]))


def test_what_only_messagepack_can_send_is_kept() -> None:
    value = {(1, 2): [3]}
    messagepack = MessagePackProtocol()
    assert messagepack.encode(Invocation("Store", kept(value))) == messagepack.encode(Invocation("Store", [value]))


def test_nan_and_infinity_are_kept() -> None:
    nan, infinity = kept(math.nan, math.inf)
    assert math.isnan(nan)
    assert infinity == math.inf


def test_the_id_takes_its_place_at_any_depth() -> None:
    assert kept(ID, [ID, {"id": ID}], Room("x", [ID]))[:2] == ["the-id", ["the-id", {"id": "the-id"}]]  # type: ignore[list-item]
    assert kept(Room("x", [ID]))[0].readings == ["the-id"]  # type: ignore[list-item]


def test_what_is_changed_after_encoding_changes_nothing() -> None:
    values = [1, 2]
    body = encode_arguments((values,))
    values.append(3)
    assert decode_arguments(body, "") == [[1, 2]]


def test_kept_enum_members_equal_those_with_the_same_value() -> None:
    member = kept(Color.RED)[0]
    assert member == Color.RED
    assert hash(member) == hash(kept(Color.RED)[0])
    assert member != Color.BLUE


def cycle() -> Any:
    values: list[Any] = [1]
    values.append({"again": values})
    return values


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (object(), r"arguments\[0\]: a value of type object cannot be kept"),
        ([1, {"x": object()}], r"arguments\[0\]\[1\]\['x'\]: a value of type object"),
        (Room("x", [object()]), r"arguments\[0\]\.readings\[0\]: a value of type object"),  # type: ignore[list-item]
        ("\ud800", r"arguments\[0\]: a string with a lone surrogate"),
        (cycle(), "contains itself"),
        (time(1, tzinfo=UTC), "time zone"),
        (iter([]), "cannot be kept"),
        (Lines("x"), "cannot be kept"),
    ],
)
def test_what_cannot_be_kept_is_named(value: object, text: str) -> None:
    with pytest.raises(LocalProtocolError, match=text):
        kept(value)


def test_bytes_of_a_newer_version_are_refused() -> None:
    with pytest.raises(ValueError, match="kind 99"):
        decode_arguments(b"\x91\xd4\x63\x00", "")
    with pytest.raises(ValueError, match="no list"):
        decode_arguments(b"\x01", "")


plain = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text() | st.binary() | st.decimals(
        allow_nan=False, allow_infinity=False
    ) | st.dates() | st.timedeltas() | st.uuids() | st.datetimes(timezones=st.just(UTC)),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)  # fmt: skip


@given(st.lists(plain, max_size=4))
def test_any_value_comes_back(values: list[Any]) -> None:
    assert kept(*values) == values


def test_ids_rise_and_are_uuids_of_version_7() -> None:
    ids = [new_id() for _ in range(5000)]
    assert ids == sorted(set(ids))
    assert {UUID(each).version for each in ids} == {7}
    assert {UUID(each).variant for each in ids} == {"specified in RFC 4122"}
