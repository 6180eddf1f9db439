"""Each row of the table of values: what Python's are in JSON and in MessagePack."""

from __future__ import annotations

import copy
import dataclasses
import enum
import json
from collections import OrderedDict, namedtuple
from datetime import UTC, date, datetime, time, timedelta, timezone
from decimal import Decimal
from typing import TYPE_CHECKING, Any
from uuid import UUID
from zoneinfo import ZoneInfo

import attrs
import msgpack
import pytest

from signalr_sdk.messages import Completion, Invocation, StreamItem
from signalr_sdk.options import DateTimeOffset
from signalr_sdk.protocols import JsonProtocol, MessagePackProtocol
from signalr_sdk.protocols.framing import BinaryFraming

if TYPE_CHECKING:
    from signalr_sdk.protocols.values import NamingChoice

GUID = UUID("01234567-89ab-cdef-0123-456789abcdef")
MOMENT = datetime(2026, 2, 3, 4, 5, 6, 789000, UTC)
LOCAL = datetime(2026, 2, 3, 4, 5, 6, tzinfo=timezone(timedelta(hours=2)))
# Berlin before 1893: 53 minutes and 28 seconds before Greenwich.
OLD = datetime(1850, 1, 1, 12, tzinfo=ZoneInfo("Europe/Berlin"))


class Color(enum.Enum):
    GREEN = 1


class Size(enum.IntEnum):
    LARGE = 3


class Mode(enum.StrEnum):
    FAST = "fast"


class Ratio(enum.Enum):
    HALF = 0.5
    PRICE = Decimal("1.5")


class Right(enum.Flag):
    READ = 1
    WRITE = 2


@attrs.define
class Address:
    street_name: str
    _secret: int = 7


@dataclasses.dataclass
class Person:
    first_name: str
    home: Address | None = None


Point = namedtuple("Point", "x y")  # noqa: PYI024  # its values have no types here


class Id(int):
    pass


class Share(float):
    pass


class Name(str):
    __slots__ = ()


class Blob(bytes):
    pass


class Moment(datetime):
    pass


def unpacked(data: bytes) -> Any:
    (frame,) = BinaryFraming(1 << 20).feed(data)
    return msgpack.unpackb(frame, timestamp=3, strict_map_key=False)


SAME = object()
# The value, its JSON text, and what is in MessagePack.
TABLE: dict[str, tuple[Any, str, Any]] = {
    "None": (None, "null", None),
    "bool": (True, "true", True),
    "int": (-42, "-42", SAME),
    "64 bits": (2**64 - 1, "18446744073709551615", SAME),
    "float": (1.5, "1.5", SAME),
    "str": ("é\x1e\U0001f680", '"é\\u001e\U0001f680"', SAME),
    "bytes": (b"\0\xff", '"AP8="', SAME),
    "bytearray": (bytearray(b"\0\xff"), '"AP8="', b"\0\xff"),
    "memoryview": (memoryview(b"\0\xff"), '"AP8="', b"\0\xff"),
    "list": ([1, [2]], "[1,[2]]", SAME),
    "tuple": ((1, (2,)), "[1,[2]]", [1, [2]]),
    "named tuple": (Point(1, 2), "[1,2]", [1, 2]),
    "dict": ({"a": {"b": None}}, '{"a":{"b":null}}', SAME),
    "empty": ([{}, [], ()], "[{},[],[]]", [{}, [], []]),
    "ordered dict": (OrderedDict(a=1), '{"a":1}', {"a": 1}),
    "UTC": (MOMENT, '"2026-02-03T04:05:06.789000Z"', SAME),
    "aware": (LOCAL, '"2026-02-03T04:05:06+02:00"', SAME),
    "before 1970": (datetime(1969, 12, 31, 23, 59, 59, 999000, UTC), '"1969-12-31T23:59:59.999000Z"', SAME),
    "offset with seconds": (OLD, '"1850-01-01T11:59:32+00:53"', OLD.astimezone(UTC)),
    "datetime of another class": (
        Moment(2026, 2, 3, tzinfo=UTC),
        '"2026-02-03T00:00:00Z"',
        datetime(2026, 2, 3, tzinfo=UTC),
    ),
    "offset": (DateTimeOffset(LOCAL), '"2026-02-03T04:05:06+02:00"', [LOCAL.replace(tzinfo=UTC), 120]),
    "offset of UTC": (DateTimeOffset(MOMENT), '"2026-02-03T04:05:06.789000Z"', [MOMENT, 0]),
    "date": (date(2026, 2, 3), '"2026-02-03"', date(2026, 2, 3).toordinal() - 1),
    "time": (time(4, 5, 6), '"04:05:06"', (4 * 3600 + 5 * 60 + 6) * 10**7),
    "duration": (timedelta(seconds=1, microseconds=5), '"00:00:01.0000050"', 10_000_050),
    "days": (timedelta(days=1, hours=2, minutes=3, seconds=4), '"1.02:03:04"', 937_840_000_000),
    "negative": (timedelta(hours=-26, microseconds=-1), '"-1.02:00:00.0000010"', -936_000_000_010),
    "UUID": (GUID, f'"{GUID}"', str(GUID)),
    "Decimal": (Decimal("12345.67890"), "12345.67890", "12345.67890"),
    "long Decimal": (Decimal("0.1234567890123456789012345678"), "0.1234567890123456789012345678", SAME),
    "small Decimal": (Decimal("1E-7"), "0.0000001", "0.0000001"),
    "large Decimal": (Decimal("1E+5"), "100000", "100000"),
    "huge Decimal": (Decimal("1E+500"), "1E+500", "1E+500"),
    "Enum": (Color.GREEN, "1", "1"),
    "IntEnum": (Size.LARGE, "3", "3"),
    "StrEnum": (Mode.FAST, '"fast"', "fast"),
    "Flag": (Right.READ | Right.WRITE, "3", "3"),
    "Enum of floats": (Ratio.HALF, "0.5", 0.5),
    "Enum of decimals": (Ratio.PRICE, "1.5", "1.5"),
    "classes": (
        Person("Ada", Address("Main")),
        '{"firstName":"Ada","home":{"streetName":"Main","secret":7}}',
        {"FirstName": "Ada", "Home": {"StreetName": "Main", "Secret": 7}},
    ),
    "subclasses": ([Id(1), Share(0.5), Name("n"), Blob(b"")], '[1,0.5,"n",""]', [1, 0.5, "n", b""]),
}


def shown(value: Any, expected: Any) -> Any:
    if expected is not SAME:
        return expected
    return str(value) if isinstance(value, Decimal) else value


@pytest.mark.parametrize("row", [pytest.param(row, id=name) for name, row in TABLE.items()])
@pytest.mark.parametrize("place", ["bare", "nested"])
def test_json(json_protocol: JsonProtocol, row: tuple[Any, str, Any], place: str) -> None:
    value, text, _ = row
    sent, written = (value, text) if place == "bare" else ({"deep": (value,)}, f'{{"deep":[{text}]}}')
    item = f'{{"type":2,"invocationId":"1","item":{written}}}\x1e'
    assert json_protocol.encode(StreamItem("1", sent)).decode() == item
    call = f'{{"type":1,"target":"M","arguments":[0,{written}]}}\x1e'
    assert json_protocol.encode(Invocation("M", [0, sent])).decode() == call
    result = f'{{"type":3,"invocationId":"1","result":{written}}}\x1e'
    assert json_protocol.encode(Completion("1", sent, None, True)).decode() == result


@pytest.mark.parametrize("row", [pytest.param(row, id=name) for name, row in TABLE.items()])
def test_messagepack(row: tuple[Any, str, Any]) -> None:
    value, _, expected = row
    protocol, expected = MessagePackProtocol(), shown(value, expected)
    assert unpacked(protocol.encode(StreamItem("1", value))) == [2, {}, "1", expected]
    assert unpacked(protocol.encode(StreamItem("1", {"deep": (value,)}))) == [2, {}, "1", {"deep": [expected]}]
    assert unpacked(protocol.encode(Invocation("M", [value]))) == [1, {}, None, "M", [expected], []]
    assert unpacked(protocol.encode(Completion("1", value, None, True))) == [3, {}, "1", 3, expected]


def test_a_naive_datetime_has_no_offset_in_json(json_protocol: JsonProtocol) -> None:
    naive = datetime(2026, 2, 3, 4, 5, 6)  # noqa: DTZ001  # it is about naive ones
    assert b'"2026-02-03T04:05:06"}' in json_protocol.encode(StreamItem("1", naive))


def test_json_integers_of_any_size_are_exact(json_protocol: JsonProtocol) -> None:
    number = 10**40 + 1
    assert str(number).encode() in json_protocol.encode(StreamItem("1", [number, Decimal("1.10")]))
    message = json_protocol.decode(b'{"type":2,"invocationId":"1","item":%d}' % number, exact=True)
    assert isinstance(message, StreamItem)
    assert message.item == number


def test_numbers_with_more_digits_than_python_takes(json_protocol: JsonProtocol) -> None:
    digits = b"7" * 5000
    for exact in (False, True):
        message = json_protocol.decode(b'{"type":2,"invocationId":"1","item":%b}' % digits, exact=exact)
        assert isinstance(message, StreamItem)
        assert message.item == Decimal(digits.decode())


def test_exact_fractions(json_protocol: JsonProtocol) -> None:
    text = b'{"type":2,"invocationId":"1","item":[0.10,1e2,1e99999999999999999999,7]}'
    message = json_protocol.decode(text, exact=True)
    assert isinstance(message, StreamItem)
    assert [str(each) for each in message.item] == ["0.10", "1E+2", "inf", "7"]


def test_overflowing_numbers_are_infinite(json_protocol: JsonProtocol) -> None:
    message = json_protocol.decode(b'{"type":2,"invocationId":"1","item":1e999}')
    assert isinstance(message, StreamItem)
    assert message.item == float("inf")


KEYS: dict[str, tuple[Any, str, Any]] = {
    "int": (5, "5", SAME),
    "bool": (True, "true", SAME),
    "None": (None, "null", SAME),
    "float": (1.5, "1.5", SAME),
    "UUID": (GUID, str(GUID), str(GUID)),
    "Enum": (Color.GREEN, "1", "1"),
    "StrEnum": (Mode.FAST, "fast", "fast"),
    "Decimal": (Decimal("1.50"), "1.50", "1.50"),
    "date": (date(2026, 2, 3), "2026-02-03", 739649),
    "datetime": (MOMENT, "2026-02-03T04:05:06.789000Z", SAME),
    "time": (time(4), "04:00:00", 4 * 3600 * 10**7),
    "timedelta": (timedelta(1), "1.00:00:00", 24 * 3600 * 10**7),
}


@pytest.mark.parametrize("row", [pytest.param(row, id=name) for name, row in KEYS.items()])
def test_keys(json_protocol: JsonProtocol, row: tuple[Any, str, Any]) -> None:
    key, text, packed = row
    encoded = json_protocol.encode(StreamItem("1", {key: [Decimal("1.5")]}))
    assert encoded == f'{{"type":2,"invocationId":"1","item":{{"{text}":[1.5]}}}}\x1e'.encode()
    assert unpacked(MessagePackProtocol().encode(StreamItem("1", {key: 1})))[3] == {shown(key, packed): 1}


def test_the_slow_writer_agrees_with_the_codec(json_protocol: JsonProtocol) -> None:
    values = [value for value, _, _ in TABLE.values()]
    fast = json_protocol.encode(Invocation("M", values))
    # A key that is no text is beyond orjson; a Decimal beyond the standard library: both then write slowly.
    slow = json_protocol.encode(Invocation("M", [*values, {1: Decimal("1.5")}]))
    assert slow == fast.removesuffix(b"]}\x1e") + b',{"1":1.5}]}\x1e'


@pytest.mark.parametrize(
    ("naming", "names"),
    [
        ("camel", ["firstName", "home"]),
        ("pascal", ["FirstName", "Home"]),
        (None, ["first_name", "home"]),
        (str.upper, ["FIRST_NAME", "HOME"]),
    ],
)
def test_naming(naming: NamingChoice, names: list[str]) -> None:
    protocol = JsonProtocol(naming=naming)
    assert list(json.loads(protocol.encode(StreamItem("1", Person("Ada")))[:-1])["item"]) == names
    assert protocol.naming("first_name") == names[0]
    packed = MessagePackProtocol(naming=naming)
    assert list(unpacked(packed.encode(StreamItem("1", Person("Ada"))))[3]) == names
    assert packed.naming("first_name") == names[0]


def test_an_unknown_naming_is_refused() -> None:
    wrong: Any = "snake"
    for protocol in (JsonProtocol, MessagePackProtocol):
        with pytest.raises(ValueError, match="'camel', 'pascal', None or a function, not 'snake'"):
            protocol(naming=wrong)


def test_the_users_values_stay_as_they_are(json_protocol: JsonProtocol) -> None:
    arguments = [value for value, _, _ in TABLE.values() if not isinstance(value, memoryview)]
    arguments += [{1: {Mode.FAST: (Person("Ada", Address("Main")),)}}]
    before = copy.deepcopy(arguments)
    for protocol in (json_protocol, MessagePackProtocol()):
        message = Invocation("M", arguments, "1", ["2"], {"a": "b"})
        protocol.encode(message)
        assert message.arguments is arguments
        assert arguments == before


def test_large_messages_leave_no_large_buffer_behind() -> None:
    protocol = MessagePackProtocol()
    protocol.encode(StreamItem("1", "x" * 1_000_000))
    assert protocol._codec._packers == []
    protocol.encode(StreamItem("1", "x"))
    assert len(protocol._codec._packers) == 1


def test_a_value_that_encodes_while_it_is_encoded() -> None:
    protocol = MessagePackProtocol()

    class Nosy(date):
        def toordinal(self) -> int:
            return 1 + len(protocol.encode(StreamItem("2", [1, 2, 3])))

    inner = len(protocol.encode(StreamItem("2", [1, 2, 3])))
    assert unpacked(protocol.encode(StreamItem("1", [Nosy(2026, 2, 3)])))[3] == [inner]
