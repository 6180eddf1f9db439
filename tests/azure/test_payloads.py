from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import attrs
import msgpack
import pytest

from signalr_sdk import LocalProtocolError
from signalr_sdk.azure.payloads import Payload
from signalr_sdk.messages import Invocation
from signalr_sdk.protocols import JsonProtocol, MessagePackProtocol
from signalr_sdk.protocols.framing import BinaryFraming


@pytest.mark.parametrize(
    "args", [(), (None, True, 1, 0.5, "ü"), ([], {}, [{"a": [None]}]), ((1, (2,)),), (2**63 - 1,), ('"type":1,\x1e',)]
)
def test_plain_arguments_need_json_only(args: tuple[Any, ...]) -> None:
    payload = Payload.make("Event", args)
    assert payload.both is None
    assert json.loads(payload.json) == {"target": "Event", "arguments": json.loads(json.dumps(args))}


def test_other_arguments_go_in_both_encodings() -> None:
    @attrs.frozen
    class Person:
        first_name: str

    moment = datetime(2026, 2, 3, tzinfo=UTC)
    args = (b"\x00\xff", [moment], {"deep": [Person("Anna")]}, "x" * 70_000)
    payload = Payload.make("Event", args)
    assert json.loads(payload.json)["arguments"][:2] == ["AP8=", ["2026-02-03T00:00:00Z"]]
    assert payload.both is not None
    both = msgpack.unpackb(payload.both)
    assert both.keys() == {"json", "messagepack"}
    assert both["json"] == JsonProtocol().encode(Invocation("Event", list(args)))
    (frame,) = BinaryFraming(10**6).feed(both["messagepack"])
    message = MessagePackProtocol().decode(frame)
    assert isinstance(message, Invocation)
    assert message.target == "Event"
    assert message.arguments == [b"\x00\xff", [moment], {"deep": [{"FirstName": "Anna"}]}, "x" * 70_000]


def test_keys_that_are_no_text_are_not_plain() -> None:
    assert Payload.make("Event", ({1: 2},)).both is not None


@pytest.mark.parametrize("value", [float("nan"), object(), "\ud800"])
def test_what_cannot_be_encoded_is_told(value: object) -> None:
    with pytest.raises(LocalProtocolError, match=r"arguments\[1\]"):
        Payload.make("Event", (1, value))


def test_an_event_has_a_name() -> None:
    with pytest.raises(ValueError, match="name of the event is empty"):
        Payload.make("", ())
    with pytest.raises(TypeError, match="a str, not int"):
        Payload.make(7, ())  # type: ignore[arg-type]
