"""What cannot be sent: the error names where it is, and nothing was changed."""

from __future__ import annotations

import math
import sys
from collections.abc import Callable
from datetime import UTC, date, datetime, time
from decimal import Decimal
from enum import Enum
from typing import Any, ClassVar

import attrs
import pytest

from signalr_sdk.errors import LocalProtocolError
from signalr_sdk.messages import (
    CancelInvocation,
    Close,
    Completion,
    HubMessage,
    Invocation,
    StreamInvocation,
    StreamItem,
)
from signalr_sdk.protocols import JsonProtocol, MessagePackProtocol


class Odd(Enum):
    NAN = math.nan


@attrs.define
class Holder:
    inner_value: Any


@attrs.define
class Unfinished:
    later: int = attrs.field(init=False)


def cycle() -> list[Any]:
    value: list[Any] = []
    value.append(value)
    return value


def cycle_of_dicts() -> dict[str, Any]:
    value: dict[str, Any] = {}
    value["me"] = [value]
    return value


def cycle_of_objects() -> Holder:
    value = Holder(None)
    value.inner_value = value
    return value


def deep() -> list[Any]:
    value: list[Any] = []
    for _ in range(100_000):
        value = [value]
    return value


NAIVE = datetime(2026, 2, 3)  # noqa: DTZ001  # it is about naive ones
Case = tuple[Callable[[], Any], str]
BOTH: dict[str, Case] = {
    "lone surrogate": (lambda: "\ud800", "lone surrogate"),
    "key with a lone surrogate": (lambda: {"\ud800": 1}, "lone surrogate"),
    "object": (object, "a value of type object cannot be sent (make it a plain value, or pass converter=)"),
    "set": (lambda: {1}, "a value of type set cannot be sent"),
    "class": (lambda: Holder, "a value of type type cannot be sent"),
    "Decimal NaN": (lambda: Decimal("NaN"), "NaN is no number"),
    "Decimal infinity": (lambda: Decimal("-Infinity"), "-Infinity is no number"),
    "time with a zone": (lambda: time(1, tzinfo=UTC), "time zone"),
    "cycle": (cycle, "contains itself"),
    "cycle of dicts": (cycle_of_dicts, "contains itself"),
    "cycle of objects": (cycle_of_objects, "contains itself"),
    "an attribute that was never set": (Unfinished, "later"),
}
ONLY_JSON: dict[str, Case] = {
    "NaN": (lambda: math.nan, "nan cannot be written in JSON"),
    "infinity": (lambda: -math.inf, "-inf cannot be written in JSON"),
    "NaN in an Enum": (lambda: Odd.NAN, "nan cannot be written in JSON"),
    "NaN beside None": (lambda: [None, {"a": None}, Holder(math.nan)], "nan cannot be written in JSON"),
    "NaN as a key": (lambda: {math.nan: 1}, "nan cannot be written in JSON"),
    "tuple as a key": (lambda: {(1, 2): 1}, "a key of type tuple cannot be written in JSON"),
}
ONLY_MESSAGEPACK: dict[str, Case] = {
    "65 bits": (lambda: 2**64, "over 64 bits"),
    "65 bits, negative": (lambda: -(2**63) - 1, "over 64 bits"),
    "naive datetime": (lambda: NAIVE, "make it aware"),
    "naive datetime as a key": (lambda: {NAIVE: 1}, "make it aware"),
    "stepped memoryview": (lambda: memoryview(b"abcd")[::2], "contiguous"),
}


def cases(*tables: dict[str, Case]) -> list[Any]:
    return [pytest.param(case, id=name) for table in tables for name, case in table.items()]


def check(protocol: JsonProtocol | MessagePackProtocol, case: Case) -> None:
    make, text = case
    value = make()
    with pytest.raises(LocalProtocolError) as caught:
        protocol.encode(Invocation("M", [0, {"a": [Holder(value)]}]))
    assert str(caught.value).startswith("arguments[1]['a'][0].inner_value")
    assert text in str(caught.value)
    for message, name in ((StreamItem("1", value), "item"), (Completion("1", value, None, True), "result")):
        with pytest.raises(LocalProtocolError) as caught:
            protocol.encode(message)
        assert str(caught.value).startswith(name)
    with pytest.raises(LocalProtocolError) as caught:
        protocol.encode(StreamInvocation("M", (None, value), "1"))  # type: ignore[arg-type]  # a tuple will do
    assert str(caught.value).startswith("arguments[1]")
    # The next message is as good as ever.
    assert protocol.encode(StreamItem("1", 1)) == type(protocol)().encode(StreamItem("1", 1))


@pytest.mark.parametrize("case", cases(BOTH, ONLY_JSON))
def test_json(json_protocol: JsonProtocol, case: Case) -> None:
    check(json_protocol, case)


@pytest.mark.parametrize("case", cases(BOTH, ONLY_MESSAGEPACK))
def test_messagepack(case: Case) -> None:
    check(MessagePackProtocol(), case)


def test_a_stepped_memoryview_is_copied_in_json(json_protocol: JsonProtocol) -> None:
    assert b'"item":"YWM="' in json_protocol.encode(StreamItem("1", memoryview(b"abcd")[::2]))


def test_a_null_is_no_nan(json_protocol: JsonProtocol) -> None:
    values = [None, "null", {"null": [None, 1.5, (None,)]}, Holder(None), b"", True]
    assert b"[null," in json_protocol.encode(Invocation("M", values))


def test_too_deep(json_protocol: JsonProtocol) -> None:
    value = deep()
    for protocol in (json_protocol, MessagePackProtocol()):
        with pytest.raises(LocalProtocolError, match=r"^arguments: the value is nested too deeply to be sent"):
            protocol.encode(Invocation("M", [value]))
    # Taken down level by level: 3.11 frees nested lists by recursion.
    while value:
        value = value.pop()


def test_deeper_than_orjson_goes(json_protocol: JsonProtocol) -> None:
    value: Any = 1
    for _ in range(260):
        value = [value]
    message = json_protocol.decode(json_protocol.encode(StreamItem("1", value))[:-1])
    assert isinstance(message, StreamItem)
    assert message.item == value


def test_deeper_than_msgpack_goes() -> None:
    value: Any = 1
    for _ in range(1500):
        value = [value]
    limit = sys.getrecursionlimit()
    # So that it is msgpack's limit that is reached, not Python's.
    sys.setrecursionlimit(10_000)
    try:
        with pytest.raises(LocalProtocolError, match="nested too deeply to be sent"):
            MessagePackProtocol().encode(StreamItem("1", value))
    finally:
        sys.setrecursionlimit(limit)


def test_faults_in_the_other_members(json_protocol: JsonProtocol) -> None:
    bad = "\ud800"
    messages: dict[str, HubMessage] = {
        "target": Invocation(bad, []),
        "invocationId": CancelInvocation(bad),
        "headers": Invocation("M", [], headers={"a": bad}),
        "error": Close(bad),
        "streamIds": Invocation("M", [], stream_ids=[bad]),
    }
    for protocol in (json_protocol, MessagePackProtocol()):
        for name, message in messages.items():
            with pytest.raises(LocalProtocolError, match=f"^{name}.*lone surrogate"):
                protocol.encode(message)


def test_what_is_no_message(json_protocol: JsonProtocol) -> None:
    protocols: list[Any] = [json_protocol, MessagePackProtocol()]
    for protocol in protocols:
        with pytest.raises(LocalProtocolError, match="is no hub message"):
            protocol.encode(object())


def test_a_fault_that_is_gone_when_it_is_looked_for() -> None:
    class Moody(date):
        faults: ClassVar[list[Exception]] = [ValueError("not now")]

        def toordinal(self) -> int:
            if self.faults:
                raise self.faults.pop()
            return super().toordinal()

    protocol, value = MessagePackProtocol(), Moody(2026, 2, 3)
    with pytest.raises(LocalProtocolError):
        protocol.encode(StreamItem("1", value))
    assert protocol.encode(StreamItem("1", value)) == protocol.encode(StreamItem("1", date(2026, 2, 3)))
