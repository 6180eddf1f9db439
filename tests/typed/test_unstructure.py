"""A user's converter takes apart what a protocol does not know, wherever a value goes out."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from typing import Any

import attrs
import pytest

from signalr_sdk import DateTimeOffset, JsonProtocol, LocalProtocolError, MessagePackProtocol
from signalr_sdk._typed.unstructure import ConvertingProtocol
from signalr_sdk.messages import Completion, Invocation, Ping, StreamInvocation, StreamItem


class Model:
    """Stands for a class of a library that we know nothing of."""

    def __init__(self, size: int) -> None:
        self.size = size


class Models:
    def structure(self, obj: Any, cl: Any, /) -> Any:
        return cl(**obj)

    def unstructure(self, obj: Any, /) -> Any:
        if not isinstance(obj, Model):
            raise TypeError("no model")
        return {"size": obj.size}


def test_arguments_items_and_results_are_taken_apart() -> None:
    plain, converting = JsonProtocol(), ConvertingProtocol(JsonProtocol(), Models())
    deep, taken = (
        [Model(1), {"a": (Model(2), None, 1.5, b"x", "t", True)}],
        [
            {"size": 1},
            {"a": [{"size": 2}, None, 1.5, b"x", "t", True]},
        ],
    )
    for ours, wanted in (
        (Invocation("M", deep), Invocation("M", taken)),
        (StreamInvocation("M", deep, "1"), StreamInvocation("M", taken, "1")),
        (StreamItem("1", deep), StreamItem("1", taken)),
        (Completion("1", deep, has_result=True), Completion("1", taken, has_result=True)),
        (Ping(), Ping()),
    ):
        assert converting.encode(ours) == plain.encode(wanted)
    assert isinstance(deep[0], Model)


def test_it_is_the_protocol_in_all_else() -> None:
    protocol = MessagePackProtocol()
    converting = ConvertingProtocol(protocol, Models())
    assert (converting.name, converting.transfer_format) == (protocol.name, protocol.transfer_format)
    assert converting.naming("a_b") == "AB"
    assert isinstance(converting.decode(b"\x91\x06"), Ping)


def test_what_the_converter_refuses_is_an_error_of_the_call() -> None:
    with pytest.raises(LocalProtocolError, match="object: no model"):
        ConvertingProtocol(JsonProtocol(), Models()).encode(Invocation("M", [object()]))


@attrs.frozen
class Meeting:
    when: DateTimeOffset
    also: list[DateTimeOffset]


def test_a_date_time_offset_reaches_the_protocol_through_a_converter_that_does_not_know_it() -> None:
    cattrs = pytest.importorskip("cattrs", reason="typed results are an extra")
    moment = DateTimeOffset(datetime(2026, 2, 3, 12, tzinfo=timezone(timedelta(hours=1))))
    for protocol in (JsonProtocol(), MessagePackProtocol()):
        converting = ConvertingProtocol(protocol, cattrs.Converter())
        assert converting.encode(StreamItem("1", moment)) == protocol.encode(StreamItem("1", moment))
        plain = {"when": moment, "also": [moment]}
        meeting = Meeting(moment, [moment])
        assert converting.encode(StreamItem("1", meeting)) == protocol.encode(StreamItem("1", plain))
