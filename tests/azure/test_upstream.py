from __future__ import annotations

import hashlib
import hmac
import json
from typing import Any

import msgpack
import pytest
from hypothesis import given
from hypothesis import strategies as st

from signalr_sdk import LocalProtocolError, RemoteProtocolError
from signalr_sdk.azure import UpstreamEvent, completion, verify_signature
from signalr_sdk.messages import Completion
from signalr_sdk.protocols import JsonProtocol, MessagePackProtocol
from signalr_sdk.protocols.framing import BinaryFraming

PRIMARY, SECONDARY = "primary-key=", "secondary-key="


def signature(key: str, connection_id: str = "id-1") -> str:
    return "sha256=" + hmac.new(key.encode(), connection_id.encode(), hashlib.sha256).hexdigest()


def headers(category: str = "messages", event: str = "Add", **more: str) -> dict[str, str]:
    found = {
        "X-ASRS-Connection-Id": "id-1",
        "X-ASRS-Hub": "chat",
        "X-ASRS-Category": category,
        "X-ASRS-Event": event,
        "X-ASRS-User-Id": "anna",
        "X-ASRS-Client-Query": "?hub=chat&access_token=secret",
        "Content-Type": "application/json",
    }
    return {**found, **{name.replace("_", "-"): value for name, value in more.items()}}


# Signatures


@pytest.mark.parametrize(
    ("value", "keys", "right"),
    [
        (signature(PRIMARY), PRIMARY, True),
        (signature(PRIMARY), [SECONDARY, PRIMARY], True),
        (f"{signature(PRIMARY)},{signature(SECONDARY)}", [SECONDARY], True),
        (f"{signature(PRIMARY)}, {signature(SECONDARY).upper()}", SECONDARY, True),
        ("sha256=" + signature(PRIMARY)[7:].upper(), PRIMARY, True),
        (signature(PRIMARY), SECONDARY, False),
        (signature(PRIMARY, "id-2"), PRIMARY, False),
        (signature(PRIMARY)[7:], PRIMARY, False),
        (signature(PRIMARY)[:-1], PRIMARY, False),
        ("sha256=", PRIMARY, False),
        ("sha256=ü\udcff", PRIMARY, False),
        ("", PRIMARY, False),
    ],
)
def test_signatures(value: str, keys: str | list[str], *, right: bool) -> None:
    assert verify_signature(headers(X_ASRS_Signature=value), keys) is right
    assert verify_signature({"x-asrs-connection-id": "id-1", "X-Asrs-Signature": value}, keys) is right


def test_no_signature_or_no_connection() -> None:
    assert not verify_signature(headers(), PRIMARY)
    assert not verify_signature({"X-ASRS-Signature": signature(PRIMARY, "")}, PRIMARY)


@pytest.mark.parametrize("keys", ["", [], [PRIMARY, ""]])
def test_a_key_is_needed(keys: str | list[str]) -> None:
    with pytest.raises(ValueError, match="one access key or more"):
        verify_signature(headers(), keys)


def test_signatures_are_compared_in_constant_time_and_all_of_them(monkeypatch: pytest.MonkeyPatch) -> None:
    compared = []
    compare = hmac.compare_digest

    def noted(a: bytes, b: bytes) -> bool:
        compared.append((a, b))
        return compare(a, b)

    monkeypatch.setattr(hmac, "compare_digest", noted)
    value = f"{signature(PRIMARY)},{signature(SECONDARY)}"
    assert verify_signature(headers(X_ASRS_Signature=value), [PRIMARY, SECONDARY])
    assert len(compared) == 4


# Events


def test_connected() -> None:
    event = UpstreamEvent.parse(headers("connections", "connected"), b'{"type":10}')
    assert (event.kind, event.hub, event.connection_id, event.user_id) == ("connected", "chat", "id-1", "anna")
    assert event.query == "?hub=chat&access_token=secret"
    assert event.method is None
    assert "secret" not in repr(event)


def test_connected_without_a_user_and_a_type() -> None:
    given = headers("connections", "connected", X_ASRS_User_Id="")
    del given["Content-Type"], given["X-ASRS-Client-Query"]
    given = {name.lower(): value for name, value in given.items()}
    event = UpstreamEvent.parse(given, b"")
    assert (event.user_id, event.query, event.claims) == (None, "", {})


@pytest.mark.parametrize(
    ("body", "content_type", "error"),
    [
        (b'{"Type":11,"Error":"it broke"}', "application/json", "it broke"),
        (b'{"type":11,"error":"it broke"}\x1e', "application/json; charset=utf-8", "it broke"),
        (b'{"type":11}', "application/json", None),
        (b'{"type":11,"error":7}', "application/json", None),
        (b'{"type":11,"error":""}', "application/json", None),
        (b"[]", "application/json", None),
        (b"\xff", "application/json", None),
        (b"[" * 100_000, "application/json", None),
        (b"", "application/json", None),
        (msgpack.packb([11, "it broke"]), "application/x-msgpack", "it broke"),
        (msgpack.packb([11, {}, "it broke"]), "Application/X-MsgPack", "it broke"),
        (msgpack.packb([11, None]), "application/x-msgpack", None),
        (msgpack.packb({}), "application/x-msgpack", None),
        (b"\xc1", "application/x-msgpack", None),
    ],
)
def test_disconnected(body: bytes, content_type: str, error: str | None) -> None:
    event = UpstreamEvent.parse(headers("connections", "disconnected", Content_Type=content_type), body)
    assert (event.kind, event.error) == ("disconnected", error)


INVOCATION = {"type": 1, "invocationId": "7", "target": "Add", "arguments": [1, {"a": None}]}


@pytest.mark.parametrize(
    ("body", "content_type"),
    [
        (json.dumps(INVOCATION).encode(), "application/json"),
        (json.dumps(INVOCATION).encode() + b"\x1e", "application/json; charset=utf-8"),
        (msgpack.packb([1, {}, "7", "Add", [1, {"a": None}]]), "application/x-msgpack"),
        (msgpack.packb([1, {}, "7", "Add", [1, {"a": None}], []]), "application/x-msgpack"),
    ],
)
def test_a_message(body: bytes, content_type: str) -> None:
    event = UpstreamEvent.parse(headers(Content_Type=content_type), body)
    assert (event.kind, event.method, event.invocation_id) == ("message", "Add", "7")
    assert event.arguments == (1, {"a": None})
    assert event.content_type == content_type.partition(";")[0]


def test_a_message_that_wants_no_answer() -> None:
    event = UpstreamEvent.parse(headers(), b'{"type":1,"target":"Add","arguments":[]}')
    assert event.invocation_id is None
    assert completion(event, 3) == b""


@pytest.mark.parametrize(
    ("text", "claims"),
    [
        ("", {}),
        ("nameid: anna", {"nameid": ("anna",)}),
        ("role: a, role: b, iss: x", {"role": ("a", "b"), "iss": ("x",)}),
        ("http://x/claims/name: A: B,C, exp: 1", {"http://x/claims/name": ("A: B,C",), "exp": ("1",)}),
        ("nonsense, a: b", {"a": ("b",)}),
    ],
)
def test_claims(text: str, claims: dict[str, tuple[str, ...]]) -> None:
    event = UpstreamEvent.parse(headers("connections", "connected", X_ASRS_User_Claims=text), b"")
    assert event.claims == claims


@pytest.mark.parametrize(
    ("given", "body", "why"),
    [
        ({"X_ASRS_Hub": ""}, b"{}", "no header X-ASRS-Hub"),
        ({"X_ASRS_Connection_Id": ""}, b"{}", "no header X-ASRS-Connection-Id"),
        ({"X_ASRS_Category": ""}, b"{}", "no header X-ASRS-Category"),
        ({"X_ASRS_Event": ""}, b"{}", "no header X-ASRS-Event"),
        ({"category": "connections", "event": "Bearer abc"}, b"{}", r"event 'Bearer \*\*\*' in category 'connections'"),
        ({"Content_Type": "text/html"}, b"{}", "'text/html', not JSON or MessagePack"),
        ({}, b'{"type":6}', "its body is no invocation"),
        ({}, b'{"type":10}', "its body is no invocation"),
        ({}, b"<html>", "it is not JSON"),
        ({"Content_Type": "application/x-msgpack"}, b"\xc1", "it is not MessagePack"),
    ],
)
def test_what_is_no_upstream_request(given: dict[str, Any], body: bytes, why: str) -> None:
    with pytest.raises(RemoteProtocolError, match=why):
        UpstreamEvent.parse(headers(**given), body)


@given(body=st.binary(max_size=200), content_type=st.sampled_from(["application/json", "application/x-msgpack"]))
def test_hostile_bodies_are_errors_at_most(body: bytes, content_type: str) -> None:
    for category, event in (("messages", "Add"), ("connections", "disconnected")):
        try:
            UpstreamEvent.parse(headers(category, event, Content_Type=content_type), body)
        except RemoteProtocolError:
            assert category == "messages"


# Answers


def answer(content_type: str, *args: Any, **kwargs: Any) -> Completion:
    event = UpstreamEvent(
        kind="message", hub="chat", connection_id="id-1", invocation_id="7", content_type=content_type
    )
    data = completion(event, *args, **kwargs)
    if content_type == "application/json":
        assert data.endswith(b"\x1e")
        message = JsonProtocol().decode(data[:-1])
    else:
        (frame,) = BinaryFraming(1000).feed(data)
        message = MessagePackProtocol().decode(frame)
    assert isinstance(message, Completion)
    assert message.invocation_id == "7"
    return message


@pytest.mark.parametrize("content_type", ["application/json", "application/x-msgpack"])
def test_answers(content_type: str) -> None:
    for value in (None, 0, "ü", [1, {"a": None}]):
        message = answer(content_type, value)
        assert (message.result, message.error, message.has_result) == (value, None, True)
    assert not answer(content_type).has_result
    assert answer(content_type, error="no such room").error == "no such room"


def test_answers_that_cannot_be() -> None:
    with pytest.raises(LocalProtocolError, match="not both"):
        answer("application/json", 1, error="x")
    with pytest.raises(LocalProtocolError):
        answer("application/json", object())
