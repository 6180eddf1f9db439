"""Values: what ASP.NET Core reads from us, and what we read from it."""

from __future__ import annotations

import base64
import math
from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal
from typing import TYPE_CHECKING, Any
from uuid import UUID

import attrs
import pytest

from signalr_sdk import DateTimeOffset, LocalProtocolError, ResultTypeError, Transport

from .conftest import COMBINATIONS, Combination
from .hubs import Address, AddressData, Color, ColorName, Person, PersonData, hub_at

if TYPE_CHECKING:
    from tests.python_server import AnyServer

    from .hub_server import HubServer

# The protocol decides about values, not the transport.
PROTOCOLS = [chosen for chosen in COMBINATIONS if chosen.transport is Transport.WEBSOCKETS]
MOMENT = datetime(2026, 2, 3, 4, 5, 6, 789000, tzinfo=UTC)
LOCAL = datetime(2026, 2, 3, 4, 5, 6, tzinfo=timezone(timedelta(hours=2)))
GUID = UUID("01234567-89ab-cdef-0123-456789abcdef")
DATE = date(2026, 2, 3)
SPAN = timedelta(days=1, hours=2, minutes=3, seconds=4, milliseconds=500)
EXACT = Decimal("1234567890123456789.123456789")
BORN = datetime(1815, 12, 10, tzinfo=UTC)
BLOB = b"\x00\x01\x02\xff"
PLAIN = object()  # the same as what was sent


@attrs.frozen
class Row:
    """One value.

    Attributes:
        method: what echoes it.
        sent: the argument.
        type: what it is wanted as.
        json: how it arrives without a type in JSON.
        messagepack: likewise in MessagePack.
        typed: how it arrives as `type`.
    """

    method: str
    sent: Any
    type: Any
    json: Any = PLAIN
    messagepack: Any = PLAIN
    typed: Any = PLAIN

    def raw(self, protocol: str) -> Any:
        raw = self.json if protocol == "json" else self.messagepack
        return self.sent if raw is PLAIN else raw


ADA = Person("Ada", 36, 1.65, True, BORN, ["a"], Address("s", None))
ADA_DATA = PersonData("Ada", 36, 1.65, True, BORN, ["a"], AddressData("s", None))
ADA_JSON = {
    "name": "Ada",
    "age": 36,
    "height": 1.65,
    "active": True,
    "born": "1815-12-10T00:00:00Z",
    "tags": ["a"],
    "home": {"street": "s", "city": None},
}
ADA_MESSAGEPACK = {
    "Name": "Ada",
    "Age": 36,
    "Height": 1.65,
    "Active": True,
    "Born": BORN,
    "Tags": ["a"],
    "Home": {"Street": "s", "City": None},
}

ROWS = {
    "str": Row("EchoString", 'é🚀\x00"\\\u2028', str),
    "empty str": Row("EchoString", "", str),
    "no str": Row("EchoString", None, str | None),
    "true": Row("EchoBool", True, bool),
    "false": Row("EchoBool", False, bool),
    "bytes": Row("EchoBytes", BLOB, bytes, json=base64.b64encode(BLOB).decode()),
    "no bytes": Row("EchoBytes", b"", bytes, json=""),
    "many bytes": Row("EchoBytes", BLOB * 20_000, bytes, json=base64.b64encode(BLOB * 20_000).decode()),
    "least long": Row("EchoLong", -(2**63), int),
    "greatest long": Row("EchoLong", 2**63 - 1, int),
    "greatest ulong": Row("EchoUnsignedLong", 2**64 - 1, int),
    "float": Row("EchoFloat", 1.5, float),
    "double": Row("EchoDouble", 0.1, float),
    "whole double": Row("EchoDouble", 2.0, float, json=2),
    "tiny double": Row("EchoDouble", 5e-324, float),
    "decimal": Row("EchoDecimal", EXACT, Decimal, json=float(EXACT), messagepack=str(EXACT)),
    "int as decimal": Row("EchoDecimal", Decimal(7), Decimal, json=7, messagepack="7"),
    "moment": Row("EchoDateTime", MOMENT, datetime, json="2026-02-03T04:05:06.789Z"),
    "early moment": Row("EchoDateTime", BORN, datetime, json="1815-12-10T00:00:00Z"),
    "offset": Row(
        "EchoDateTimeOffset",
        DateTimeOffset(LOCAL),
        DateTimeOffset,
        json="2026-02-03T04:05:06+02:00",
        messagepack=[LOCAL.replace(tzinfo=UTC), 120],
    ),
    "offset as datetime": Row(
        "EchoDateTimeOffset",
        DateTimeOffset(LOCAL),
        datetime,
        json="2026-02-03T04:05:06+02:00",
        messagepack=[LOCAL.replace(tzinfo=UTC), 120],
        typed=LOCAL,
    ),
    "date": Row("EchoDateOnly", DATE, date, json="2026-02-03", messagepack=DATE.toordinal() - 1),
    "first date": Row("EchoDateOnly", date.min, date, json="0001-01-01", messagepack=0),
    "timedelta": Row(
        "EchoTimeSpan", SPAN, timedelta, json="1.02:03:04.5000000", messagepack=SPAN // timedelta(microseconds=1) * 10
    ),
    "negative timedelta": Row(
        "EchoTimeSpan",
        -SPAN,
        timedelta,
        json="-1.02:03:04.5000000",
        messagepack=-SPAN // timedelta(microseconds=1) * 10,
    ),
    "no time": Row("EchoTimeSpan", timedelta(0), timedelta, json="00:00:00", messagepack=0),
    "uuid": Row("EchoGuid", GUID, UUID, json=str(GUID), messagepack=str(GUID)),
    "enum": Row("EchoColor", Color.BLUE, Color, json=2, messagepack="Blue"),
    "enum by another": Row("EchoColor", Color.BLUE, ColorName, json=2, messagepack="Blue", typed=ColorName.BLUE),
    "list": Row("EchoInts", [1, -2], list[int]),
    "tuple": Row("EchoInts", (1, -2), tuple[int, ...], json=[1, -2], messagepack=[1, -2]),
    "dict": Row("EchoMap", {"a": 1, "Bc": 2}, dict[str, int]),
    "nothing": Row("EchoNullable", None, int | None),
    "something": Row("EchoNullable", 5, int | None),
    "nested": Row("Echo", {"a": [1, None, "x", {"b": 2.5}], "c": True}, dict[str, Any]),
    "attrs class": Row("EchoPerson", ADA, Person, json=ADA_JSON, messagepack=ADA_MESSAGEPACK),
    "dataclass": Row("EchoPerson", ADA_DATA, PersonData, json=ADA_JSON, messagepack=ADA_MESSAGEPACK),
}
# What .NET writes otherwise than the test server, as the page on that lists.
ONLY_DOTNET = {
    ("whole double", "json"),
    ("decimal", "json"),
    ("moment", "json"),
    ("enum", "messagepack"),
    ("enum by another", "messagepack"),
}
KNOWN_TO_DIFFER = {("enum by another", "json")}  # a number is no member of an enum of names


def _cases(*, only_dotnet: bool) -> list[Any]:
    return [
        pytest.param(row, chosen, id=f"{name}-{chosen.protocol}")
        for name, row in ROWS.items()
        for chosen in PROTOCOLS
        if (name, chosen.protocol) not in KNOWN_TO_DIFFER and ((name, chosen.protocol) in ONLY_DOTNET) is only_dotnet
    ]


@pytest.mark.parametrize(("row", "chosen"), _cases(only_dotnet=False))
async def test_values_go_there_and_back(row: Row, chosen: Combination, any_server: AnyServer) -> None:
    await _there_and_back(row, chosen, any_server)


@pytest.mark.parametrize(("row", "chosen"), _cases(only_dotnet=True))
async def test_values_that_only_dotnet_writes_so(row: Row, chosen: Combination, hub_server: HubServer) -> None:
    await _there_and_back(row, chosen, hub_server)


async def _there_and_back(row: Row, chosen: Combination, server: AnyServer) -> None:
    async with hub_at(server, chosen) as hub:
        raw = await hub.invoke(row.method, row.sent)
        typed = await hub.invoke(row.method, row.sent, result_type=row.type)
    assert raw == row.raw(chosen.protocol)
    assert type(raw) is type(row.raw(chosen.protocol))
    assert typed == (row.sent if row.typed is PLAIN else row.typed)


@pytest.fixture(params=PROTOCOLS, ids=lambda chosen: chosen.protocol)
def chosen(request: pytest.FixtureRequest) -> Combination:
    combination: Combination = request.param
    return combination


async def test_decimals_keep_their_zeros(chosen: Combination, hub_server: HubServer) -> None:
    async with hub_at(hub_server, chosen) as hub:
        value = await hub.invoke("EchoDecimal", Decimal("1.500"), result_type=Decimal)
    assert str(value) == "1.500"


async def test_offsets_are_kept(chosen: Combination, any_server: AnyServer) -> None:
    async with hub_at(any_server, chosen) as hub:
        value = await hub.invoke("EchoDateTimeOffset", DateTimeOffset(LOCAL), result_type=datetime)
    assert value.utcoffset() == timedelta(hours=2)
    assert value.isoformat() == "2026-02-03T04:05:06+02:00"


async def test_enums_by_name(hub_server: HubServer) -> None:
    async with hub_at(hub_server, Combination(Transport.WEBSOCKETS, "messagepack")) as hub:
        assert await hub.invoke("EchoColor", ColorName.GREEN) == "Green"
        assert await hub.invoke("EchoColor", ColorName.GREEN, result_type=Color) is Color.GREEN
        assert await hub.invoke("EchoColor", ColorName.GREEN, result_type=ColorName) is ColorName.GREEN


async def test_moments_without_offset(hub_server: HubServer) -> None:
    naive = MOMENT.replace(tzinfo=None)
    json, messagepack = PROTOCOLS
    async with hub_at(hub_server, json) as hub:
        assert await hub.invoke("EchoDateTime", naive) == "2026-02-03T04:05:06.789"
        assert await hub.invoke("EchoDateTime", naive, result_type=datetime) == naive
    async with hub_at(hub_server, messagepack) as hub:
        with pytest.raises(LocalProtocolError, match="aware"):
            await hub.invoke("EchoDateTime", naive)
        assert await hub.invoke("Add", 1, 2) == 3


async def test_aware_datetimes_of_another_zone(chosen: Combination, any_server: AnyServer) -> None:
    async with hub_at(any_server, chosen) as hub:
        assert await hub.invoke("EchoDateTime", LOCAL, result_type=datetime) == LOCAL


async def test_json_takes_an_aware_datetime_for_an_offset(any_server: AnyServer) -> None:
    async with hub_at(any_server, PROTOCOLS[0]) as hub:
        assert await hub.invoke("EchoDateTimeOffset", LOCAL) == "2026-02-03T04:05:06+02:00"


async def test_a_value_that_does_not_fit(chosen: Combination, any_server: AnyServer) -> None:
    async with hub_at(any_server, chosen) as hub:
        with pytest.raises(ResultTypeError) as caught:
            await hub.invoke("EchoString", "seven", result_type=int)
        assert caught.value.value == "seven"
        assert caught.value.type is int
        assert await hub.invoke("Add", 1, 2) == 3


UNFIT = {
    "NaN": (float("nan"), {"json"}),
    "infinity": (float("inf"), {"json"}),
    "large int": (2**64, {"messagepack"}),
    "surrogate": ("\ud800", {"json", "messagepack"}),
    "object": (object(), {"json", "messagepack"}),
}


@pytest.mark.parametrize(("value", "protocols"), UNFIT.values(), ids=UNFIT)
async def test_what_cannot_be_encoded(value: Any, protocols: set[str], any_server: AnyServer) -> None:
    for chosen in PROTOCOLS:
        if chosen.protocol not in protocols:
            continue
        async with hub_at(any_server, chosen) as hub:
            with pytest.raises(LocalProtocolError):
                await hub.invoke("Echo", {"a": [value]})
            assert await hub.invoke("Add", 1, 2) == 3


async def test_not_a_number_in_messagepack(any_server: AnyServer) -> None:
    async with hub_at(any_server, PROTOCOLS[1]) as hub:
        value = await hub.invoke("EchoDouble", float("nan"))
        assert math.isnan(value)
        assert await hub.invoke("EchoDouble", float("-inf")) == float("-inf")
