"""`ClassicSession` without a network: what arrives for whom, and where a connection goes on after a loss."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Any

import pytest

from signalr_sdk import RemoteProtocolError
from signalr_sdk.classic.hub_messages import Answer
from signalr_sdk.classic.json_codec import ClassicJson
from signalr_sdk.classic.session import ClassicSession, HubMessages, RawMessages, read_result, wrong_start

JSON = ClassicJson()


class Inbox:
    def __init__(self) -> None:
        self.got: list[tuple[str, list[Any], int]] = []

    def events(self, targets: list[str], arguments: list[Any], sizes: list[int]) -> None:
        self.got += zip(targets, arguments, sizes, strict=True)


class Sink:
    def __init__(self) -> None:
        self.got: list[Any] = []

    def progressed(self, value: Any, size: int) -> None:
        assert size > 0
        self.got.append(value)

    def answered(self, answer: Answer) -> None:
        self.got.append(answer)


class World:
    """A session of hubs, with what it delivered."""

    def __init__(self) -> None:
        self.inbox = Inbox()
        self.states: dict[str, dict[str, Any]] = {"chat": {}}
        self.messages = HubMessages(self.inbox, self.states)
        self.session = ClassicSession(self.messages, JSON)

    def receive(self, message: object) -> None:
        payload = message if isinstance(message, bytes) else json.dumps(message).encode()
        for function, arguments in self.session.receive(payload):
            function(*arguments)


@pytest.fixture
def world() -> World:
    return World()


def event(name: str, *arguments: Any, hub: str = "Chat", **more: Any) -> dict[str, Any]:
    return {"H": hub, "M": name, "A": list(arguments), **more}


def test_events_keep_their_order(world: World) -> None:
    world.receive({"C": "d-A-B,1", "M": [event("a", 1), event("b", 2, S={"x": 1}), event("a", 3, hub="News")]})
    assert [(target, arguments) for target, arguments, _size in world.inbox.got] == [
        ("Chat\na", [1]),
        ("Chat\nb", [2]),
        ("News\na", [3]),
    ]
    assert world.session.cursor == "d-A-B,1"
    assert world.states == {"chat": {"x": 1}}


def test_the_state_of_a_hub_that_was_not_asked_for_is_ignored(world: World) -> None:
    world.receive({"C": "d-A-B,1", "M": [event("b", hub="other", S={"x": 1})]})
    assert world.states == {"chat": {}}


def test_an_answer_goes_to_its_call_once(world: World) -> None:
    first, second = Sink(), Sink()
    assert [world.messages.new_id(first), world.messages.new_id(second)] == ["0", "1"]
    world.receive({"I": "1", "R": "two"})
    world.receive({"I": "1", "R": "again"})
    world.receive({"C": "d-A-B,1", "M": [{"I": "0"}]})
    world.receive({"I": None, "R": 1})
    assert (first.got, second.got) == ([Answer("0")], [Answer("1", "two")])
    assert world.session.cursor == "d-A-B,1"


def test_progress_goes_to_its_call_until_it_is_answered(world: World) -> None:
    sink = Sink()
    world.messages.new_id(sink)
    for value in (0, {"step": 1}):
        world.receive({"C": "d-A-B,1", "M": [{"I": "P|0", "P": {"I": "0", "D": value}}]})
    world.receive({"I": "0", "R": "done"})
    world.receive({"C": "d-A-B,1", "M": [{"I": "P|0", "P": {"I": "0", "D": 2}}]})
    assert sink.got == [0, {"step": 1}, Answer("0", "done")]


def test_a_forgotten_call_gets_nothing(world: World) -> None:
    sink = Sink()
    world.messages.forget(world.messages.new_id(sink, exact=True))
    world.receive({"I": "0", "R": 1.5})
    assert sink.got == []


def test_only_a_call_that_wants_all_digits_gets_them(world: World) -> None:
    plain, exact = Sink(), Sink()
    world.messages.new_id(plain)
    world.messages.new_id(exact, exact=True)
    world.receive(b'{"I":"0","R":1.10}')
    world.receive(b'{"I":1,"R":1.10}')
    world.receive(b"{}")
    assert type(plain.got[0].result) is float
    assert type(exact.got[0].result) is Decimal
    assert not world.messages.exact


def test_what_a_connection_must_present_after_a_loss(world: World) -> None:
    session = world.session
    assert (session.cursor, session.groups_token, session.initialized) == (None, None, False)
    world.receive({"C": "d-A-B,1", "S": 1, "M": []})
    assert (session.cursor, session.groups_token, session.initialized) == ("d-A-B,1", None, True)
    world.receive({"C": "d-A-B,2", "G": "token", "M": []})
    world.receive({"C": "d-A-B,3", "M": [event("a")], "L": 500})
    world.receive(b"{}")
    world.receive({"M": [], "L": 500})
    assert (session.cursor, session.groups_token, session.poll_delay) == ("d-A-B,3", "token", 0.5)


def test_a_server_that_shuts_down_asks_to_reconnect(world: World) -> None:
    world.receive({"C": "d-A-B,1", "T": 1, "M": [event("a", 1)]})
    assert world.session.asks_reconnect
    assert len(world.inbox.got) == 1
    world.session.begin_transport()
    assert not world.session.asks_reconnect


def test_an_error_ends_the_connection(world: World) -> None:
    world.receive({"E": "go away", "C": "d-A-B,1", "M": [event("a", 1)]})
    assert world.session.error == "go away"
    assert world.inbox.got == []


@pytest.mark.parametrize(
    "message",
    [
        b"x",
        b"[]",
        {"C": 1},
        {"C": "d-A-B,9", "M": [1]},
        {"C": "d-A-B,9", "M": [{"A": []}]},
        {"C": "d-A-B,9", "M": [event("a"), {"P": 1}]},
        {"I": "0", "E": 1},
    ],
)
def test_what_must_not_be_read_moves_nothing(world: World, message: object) -> None:
    world.receive({"C": "d-A-B,1", "S": 1, "M": []})
    with pytest.raises(RemoteProtocolError):
        world.receive(message)
    assert world.session.cursor == "d-A-B,1"
    assert world.inbox.got == []


def test_a_raw_connection_carries_any_value() -> None:
    inbox = Inbox()
    session = ClassicSession(RawMessages(inbox), JSON)
    values = [1, None, {"I": "0", "R": 1}, {"P": 1}, {"H": "a", "M": "b", "A": []}]
    for function, arguments in session.receive(json.dumps({"C": "d-A-B,1", "M": values}).encode()):
        function(*arguments)
    assert [(target, arguments) for target, arguments, _size in inbox.got] == [("received", [each]) for each in values]
    assert session.receive(b'{"I":"1","C":"d-A-B,2"}') == []
    assert session.cursor == "d-A-B,2"


def test_the_answer_to_a_post() -> None:
    assert read_result(b'{"R":1.10,"I":"0"}', JSON, "0", exact=True).result == Decimal("1.10")
    assert read_result(b' {"I":0}', JSON, "0", exact=False) == Answer("0")
    with pytest.raises(RemoteProtocolError, match="cannot encode the result"):
        read_result(b" ", JSON, "0", exact=False)
    with pytest.raises(RemoteProtocolError, match="the answer to another call"):
        read_result(b'{"I":"0"}', JSON, "1", exact=False)
    for body in (b"[]", b"{}", b"<html>"):
        with pytest.raises(RemoteProtocolError):
            read_result(body, JSON, "0", exact=False)


def test_the_answer_to_start() -> None:
    assert wrong_start(b'{ "Response": "started" }', JSON) is None
    for body in (b"", b"{}", b"[]", b'{"Response": 1}', b'{"Response": "x"}'):
        assert wrong_start(body, JSON)
