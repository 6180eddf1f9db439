"""Typed results: each type from what each protocol makes of it, and nothing that only looks like it."""

from __future__ import annotations

import collections
import collections.abc
import dataclasses
import enum
import sys
from datetime import UTC, date, datetime, time, timedelta, timezone
from decimal import Decimal
from typing import TYPE_CHECKING, Annotated, Any, Generic, Literal, NamedTuple, NewType, Optional, TypedDict, TypeVar
from uuid import UUID

import attrs
import msgpack
import pytest

from signalr_sdk import DateTimeOffset, LocalProtocolError, ResultTypeError
from signalr_sdk._typed.structure import default_converter, needs_exact, structure
from signalr_sdk.protocols import JsonProtocol, MessagePackProtocol
from signalr_sdk.protocols.values import camel, pascal

if TYPE_CHECKING:
    from fractions import Fraction

pytest.importorskip("cattrs", reason="typed results are an extra")

NOON = datetime(2026, 2, 3, 12, tzinfo=UTC)
GUID = UUID("01234567-89ab-cdef-0123-456789abcdef")
UserId = NewType("UserId", int)
T = TypeVar("T")


class Color(enum.Enum):
    RED = 0
    DARK_GREEN = 1


class Level(enum.IntEnum):
    LOW = 1
    HIGH = 2


class Name(enum.StrEnum):
    FIRST = "first"
    LAST = "2"


class Access(enum.Flag):
    READ = 1
    WRITE = 2


class Switch(enum.Enum):
    ON = True
    OFF = False


class Shout(str):
    __slots__ = ()


@attrs.frozen
class Home:
    street: str
    house_number: int | None = None


@dataclasses.dataclass
class Person:
    first_name: str
    home: Home | None = None
    balance: Decimal = Decimal(0)
    _private: int = 0


@attrs.frozen
class Node:
    value: int
    children: list[Node] = attrs.Factory(list)


@attrs.frozen
class Clash:
    cl: int
    converter: int


@attrs.frozen
class Cat:
    lives: int


@attrs.frozen
class Page(Generic[T]):
    items: list[T]


@attrs.frozen
class Unknown:
    ratio: Fraction


class Point(NamedTuple):
    x: int
    y: int


class Place(NamedTuple):
    x: int
    y: int = 7
    name: str = "home"


class Rights(enum.IntFlag):
    READ = 1
    NONE_AT_ALL = 2


class Unset(enum.Flag):
    NONE = 0
    ALL = 1


class Count(int):
    __slots__ = ()


class Options(TypedDict):
    depth: int


FITS: list[tuple[Any, Any, Any]] = [
    (Any, [1, {"a": b""}], [1, {"a": b""}]),
    (object, {"a": 1}, {"a": 1}),
    (None, None, None),
    (type(None), None, None),
    (bool, True, True),
    (int, 3, 3),
    (int, 2**70, 2**70),
    (float, 1.5, 1.5),
    (float, 3, 3.0),
    (float, Decimal("1.5"), 1.5),
    (str, "3", "3"),
    (Shout, "hey", Shout("hey")),
    (bytes, "AAEC/w==", b"\x00\x01\x02\xff"),
    (bytes, b"\xff", b"\xff"),
    (Decimal, Decimal("1.50"), Decimal("1.50")),
    (Decimal, "12345.6789", Decimal("12345.6789")),
    (Decimal, 7, Decimal(7)),
    (Decimal, 0.1, Decimal("0.1")),
    (UUID, str(GUID), GUID),
    (datetime, NOON, NOON),
    (datetime, "2026-02-03T12:00:00Z", NOON),
    (datetime, "2026-02-03T12:00:00.1234567Z", NOON.replace(microsecond=123456)),
    (datetime, "2026-02-03T14:00:00+02:00", NOON),
    (datetime, "0001-01-01T00:00:00", datetime.min),  # noqa: DTZ901
    (datetime, "9999-12-31T23:59:59.9999999", datetime.max),  # noqa: DTZ901
    (datetime, [NOON, 120], datetime(2026, 2, 3, 10, tzinfo=UTC)),
    (DateTimeOffset, [NOON, -90], DateTimeOffset(NOON.replace(tzinfo=timezone(timedelta(minutes=-90))))),
    (DateTimeOffset, "2026-02-03T12:00:00+00:00", DateTimeOffset(NOON)),
    (date, "2026-02-03", date(2026, 2, 3)),
    (date, "2026-02-03T12:00:00Z", date(2026, 2, 3)),
    (date, date(2026, 2, 3).toordinal() - 1, date(2026, 2, 3)),
    (date, NOON, date(2026, 2, 3)),
    (time, "04:05:06", time(4, 5, 6)),
    (time, "04:05:06.1234567", time(4, 5, 6, 123456)),
    (time, 147_060_000_000, time(4, 5, 6)),
    (time, 863_999_999_999, time.max),
    (timedelta, "01:02:03", timedelta(hours=1, minutes=2, seconds=3)),
    (timedelta, "-1.02:03:04.5", -timedelta(days=1, hours=2, minutes=3, seconds=4, milliseconds=500)),
    (timedelta, "10675199.02:48:05.4775807", timedelta(10675199, 10085, 477580)),
    (timedelta, 36_000_000_000, timedelta(hours=1)),
    (timedelta, -15, timedelta(microseconds=-1)),
    (Color, 1, Color.DARK_GREEN),
    (Color, "DarkGreen", Color.DARK_GREEN),
    (Color, "dark_green", Color.DARK_GREEN),
    (Color, "1", Color.DARK_GREEN),
    (Level, 2, Level.HIGH),
    (Level, "High", Level.HIGH),
    (Name, "first", Name.FIRST),
    (Name, "FIRST", Name.FIRST),
    (Name, "2", Name.LAST),
    (Access, 3, Access.READ | Access.WRITE),
    (Access, "Read, Write", Access.READ | Access.WRITE),
    (Access, "3", Access.READ | Access.WRITE),
    (Access, "None", Access(0)),
    (Rights, "none", Rights(0)),
    (Unset, "None", Unset.NONE),
    (Switch, True, Switch.ON),
    (Switch, False, Switch.OFF),
    (UserId, 5, 5),
    (Literal["a", "b"], "b", "b"),
    (Annotated[int, "metres"], 5, 5),
    (Optional[int], None, None),  # noqa: UP045  # both forms are in use
    (int | None, 5, 5),
    (Color | None, "Red", Color.RED),
    (datetime | None, [NOON, 0], NOON),
    (float | int, 3, 3),
    (float | str, 3, 3.0),
    (float | str | None, None, None),
    (datetime | str, "2026-02-03T12:00:00Z", NOON),
    (datetime | str, "noon", "noon"),
    (Cat | str, {"lives": 9}, Cat(9)),
    (Cat | Home, {"street": "s"}, Home("s")),
    (Cat | Home | None, None, None),
    (Cat | Home | int | None, {"lives": 9}, Cat(9)),
    (Cat | Home | int | None, 9, 9),
    (list, [1, "2"], [1, "2"]),
    (list[Any], [1, {}], [1, {}]),
    (list[int | None], [1, None], [1, None]),
    (list[Home], [{"street": "s", "houseNumber": 5}], [Home("s", 5)]),
    (tuple, [1, 2], (1, 2)),
    (tuple[int, str], [1, "2"], (1, "2")),
    (tuple[int, ...], [1, 2], (1, 2)),
    (tuple[()], [], ()),
    (set[int], [1, 2, 2], {1, 2}),
    (frozenset[str], ["a"], frozenset("a")),
    (collections.deque[int], [1], collections.deque([1])),
    (collections.abc.Sequence[int], [1], [1]),
    (collections.abc.Iterable[int], [1], [1]),
    (collections.abc.Set[int], [1], frozenset([1])),
    (dict, {1: 2}, {1: 2}),
    (dict[str, int], {"1": 2}, {"1": 2}),
    (dict[int, int], {"1": 2}, {1: 2}),
    (dict[int, int], {1: 2}, {1: 2}),
    (dict[UserId, int], {"-1": 2}, {-1: 2}),
    (dict[UUID, int], {str(GUID): 2}, {GUID: 2}),
    (dict[Color, int], {"DarkGreen": 2}, {Color.DARK_GREEN: 2}),
    (dict[Color, int], {"1": 2}, {Color.DARK_GREEN: 2}),
    (dict[float, int], {"1.5": 2, "-1E+16": 3, "4": 5}, {1.5: 2, -1e16: 3, 4.0: 5}),
    (dict[float, int], {1.5: 2, 3: 4}, {1.5: 2, 3.0: 4}),
    (dict[bool, int], {"True": 1, "false": 2}, {True: 1, False: 2}),
    (dict[bool, int], {True: 1}, {True: 1}),
    (dict[int | None, int], {"1": 2}, {1: 2}),
    (dict[int | None, int], {None: 2}, {None: 2}),
    (dict[int | str, int], {"1": 2}, {"1": 2}),
    (dict[int | float, int], {"1": 2, "1.5": 3}, {1: 2, 1.5: 3}),
    (dict[Literal[1, 2], int], {"1": 2}, {1: 2}),
    (dict[Literal["1", 1], int], {"1": 2}, {"1": 2}),
    (dict[Annotated[int, "metres"], int], {"1": 2}, {1: 2}),
    (dict[Count, int], {"1": 2}, {Count(1): 2}),
    (dict[Switch, int], {"True": 2}, {Switch.ON: 2}),
    (dict[Access, int], {"None": 2, "Read, Write": 3}, {Access(0): 2, Access.READ | Access.WRITE: 3}),
    (dict[timedelta, int], {"01:00:00": 2}, {timedelta(hours=1): 2}),
    (collections.OrderedDict[int, Color], {"1": 0}, collections.OrderedDict({1: Color.RED})),
    (collections.defaultdict[int, int], {"1": 2}, collections.defaultdict(int, {1: 2})),
    (collections.Counter[float], {"1.5": 2}, collections.Counter({1.5: 2})),
    (collections.abc.Mapping[str, Color], {"a": 0}, {"a": Color.RED}),
    (Point, [1, 2], Point(1, 2)),
    (Place, [1], Place(1)),
    (Place, [1, 2], Place(1, 2)),
    (Place, [1, 2, "s"], Place(1, 2, "s")),
    (Options, {"depth": 3}, {"depth": 3}),
    (Home, {"street": "s", "unknown": 1}, Home("s")),
    (Person, {"firstName": "Ada", "home": {"street": "s"}, "balance": 1.5}, Person("Ada", Home("s"), Decimal("1.5"))),
    (Person, {"firstName": "Ada", "home": None, "private": 7}, Person("Ada", _private=7)),
    (Node, {"value": 1, "children": [{"value": 2, "children": []}]}, Node(1, [Node(2)])),
    (Clash, {"cl": 1, "converter": 2}, Clash(1, 2)),
    (Page[Home], {"items": [{"street": "s"}]}, Page([Home("s")])),
]


@pytest.mark.parametrize(("type_", "value", "result"), FITS)
def test_what_fits(type_: Any, value: Any, result: Any) -> None:
    found = structure(default_converter(camel), value, type_)
    assert found == result
    assert type(found) is type(result)


UNFIT: list[tuple[Any, Any]] = [
    (None, 0),
    (bool, 1),
    (bool, "true"),
    (int, True),
    (int, "3"),
    (int, 3.0),
    (int, None),
    (float, True),
    (float, "1.5"),
    (str, 5),
    (str, b"s"),
    (bytes, "no base64!"),
    (bytes, [1]),
    (Decimal, True),
    (Decimal, "ten"),
    (Decimal, None),
    (UUID, "none"),
    (UUID, 5),
    (datetime, "yesterday"),
    (datetime, 5),
    (datetime, [NOON]),
    (datetime, [NOON, "60"]),
    (datetime, [msgpack.Timestamp(2**40), 0]),
    (datetime, msgpack.Timestamp(2**40)),
    (DateTimeOffset, "2026-02-03T12:00:00"),
    (date, True),
    (date, "today"),
    (date, -2),
    (time, 864_000_000_000),
    (time, -1),
    (time, True),
    (time, None),
    (timedelta, "1 hour"),
    (timedelta, True),
    (timedelta, 1.5),
    (Color, 7),
    (Color, "7"),
    (Color, "Mauve"),
    (Color, True),
    (Color, None),
    (Access, "Read, Run"),
    (Literal["a"], "b"),
    (int | None, "3"),
    (int | str, 1.5),
    (Cat | Home, 5),
    (Cat | str, {"legs": 4}),
    (list[str], "abc"),
    (list[int], {"a": 1}),
    (list[int], ["a"]),
    (tuple[int, str], [1]),
    (tuple[int, str], "ab"),
    (tuple[int, str], ["a", 1]),
    (Point, [1]),
    (Point, [1, "2"]),
    (Point, [1, 2, 3]),
    (Place, []),
    (Place, [1, "2"]),
    (Place, [1, 2, "s", 4]),
    (set[int], 5),
    (dict, [["a", 1]]),
    (dict[float, int], {"one": 1}),
    (dict[float, int], {True: 1}),
    (dict[bool, int], {"1": 1}),
    (dict[bool, int], {1: 1}),
    (dict[int | None, int], {"one": 1}),
    (dict[Literal[1], int], {"2": 1}),
    (collections.OrderedDict[int, int], []),
    (dict[int, int], {"one": 1}),
    (dict[int, int], {True: 1}),
    (Home, []),
    (Home, {"Street": "s"}),
    (Person, {"firstName": 5}),
    (Unknown, {"ratio": 1}),
]


@pytest.mark.parametrize(("type_", "value"), UNFIT)
def test_what_does_not_fit(type_: Any, value: Any) -> None:
    with pytest.raises(ResultTypeError) as caught:
        structure(default_converter(camel), value, type_)
    assert caught.value.value is value
    assert caught.value.type is type_
    assert caught.value.__cause__ is not None


def test_the_error_says_what_was_wanted_and_what_is_missing() -> None:
    with pytest.raises(ResultTypeError, match=r"^the value {'x': 1} is no Home: there is no 'street'$"):
        structure(default_converter(camel), {"x": 1}, Home)
    with pytest.raises(ResultTypeError, match=r"^the value '3' is no int \| None: str where int is wanted$"):
        structure(default_converter(camel), "3", int | None)


def test_a_huge_value_makes_no_huge_error() -> None:
    value: list[Any] = []
    for _ in range(sys.getrecursionlimit()):
        value = [value]
    with pytest.raises(ResultTypeError) as caught:
        structure(default_converter(camel), [value, "x" * 10_000], int)
    assert len(str(caught.value)) < 300


def test_quoted_names_inside_of_types() -> None:
    @attrs.frozen
    class Plain:
        children: list[Any]

    @dataclasses.dataclass
    class Tree:
        children: list[Any]
        size: int = 0

    # What such a class looks like in a module without the future import.
    Tree.__annotations__ = {"children": list["Node"], "size": int}
    converter = default_converter(camel)
    found = structure(converter, {"children": [{"value": 1}], "size": 5}, Tree)
    assert found == Tree([Node(1)], 5)
    assert structure(converter, {"children": [5]}, Plain) == Plain([5])


def test_names_in_messagepack() -> None:
    converter = default_converter(MessagePackProtocol().naming)
    value = {"FirstName": "Ada", "Home": {"Street": "s", "HouseNumber": 5}}
    assert structure(converter, value, Person) == Person("Ada", Home("s", 5))
    assert structure(converter, {"Cl": 1, "Converter": 2}, Clash) == Clash(1, 2)
    assert structure(converter, {"Lives": 9}, Cat | Home) == Cat(9)


def test_names_of_ones_own() -> None:
    protocol = JsonProtocol(naming=str.upper)
    assert structure(default_converter(protocol.naming), {"STREET": "s"}, Home) == Home("s")
    protocol = JsonProtocol(naming=None)
    assert structure(default_converter(protocol.naming), {"street": "s", "house_number": 1}, Home) == Home("s", 1)


def test_a_converter_of_ones_own() -> None:
    class Doubling:
        def structure(self, obj: Any, cl: Any, /) -> Any:
            return cl(obj * 2)

        def unstructure(self, obj: Any, /) -> Any:
            return obj

    assert structure(Doubling(), 2, str) == "4"
    assert structure(Doubling(), 2, Any) == 2


def test_one_converter_for_each_naming() -> None:
    assert default_converter(camel) is default_converter(camel)
    assert default_converter(camel) is not default_converter(pascal)


def test_without_cattrs(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "cattrs", None)
    with pytest.raises(LocalProtocolError, match=r"^result_type needs cattrs: pip install 'signalr-sdk\[typed\]', or"):
        default_converter(str.lower)


class Money(TypedDict):
    amount: Decimal


class Pair(NamedTuple):
    left: int
    right: Decimal


@attrs.frozen
class Tree:
    left: Tree | None
    right: Tree | None


@attrs.frozen
class Priced:
    price: Decimal
    unknown: Fraction


if sys.version_info >= (3, 12):
    from typing import TypeAliasType

    Alias: Any = TypeAliasType("Alias", list[Decimal])
else:
    Alias = Decimal


@pytest.mark.parametrize(
    ("type_", "exact"),
    [
        (Decimal, True),
        (list[Decimal], True),
        (dict[str, Decimal | None], True),
        (Person, True),
        (list[Person] | None, True),
        (Page[Decimal], True),
        (Money, True),
        (Pair, True),
        (NewType("Amount", Decimal), True),
        (Annotated[Decimal, ["no hash"]], True),
        (Alias, True),
        # Names that cannot be looked up here: what they say is all there is.
        (list["Decimal"], True),
        (Optional["Decimal"], True),
        (Priced, True),
        (Unknown, False),
        (Any, False),
        (int, False),
        (float | None, False),
        (Home, False),
        (Page[int], False),
        (Tree, False),
        (Point, False),
        (Color, False),
        (Literal["Decimal"], False),
        (Annotated[int, ["no hash"]], False),
    ],
)
def test_who_needs_every_digit(type_: Any, exact: bool) -> None:
    assert needs_exact(type_) is exact
    assert needs_exact(type_) is exact
