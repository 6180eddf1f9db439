"""The invariants find what is wrong, and a seed always gives the same schedule."""

from __future__ import annotations

import itertools
import random
from typing import Any, TypeAlias

import pytest
from tests.interop.hub_server import ServerEvent

from signalr_sdk import ConnectionClosedError, HubConnection, RemoteProtocolError
from signalr_sdk._core.lifecycle import Event
from signalr_sdk.errors import StateError

from .invariants import REASON, BrokenError, Invariants
from .schedule import Schedule
from .set_ups import SetUps


@pytest.fixture
def invariants() -> Invariants:
    """The invariants of a client whose connection may not end."""
    return Invariants(lambda: False)


def recorded(*details: str) -> list[ServerEvent]:
    return [ServerEvent("recorded", "a", detail) for detail in details]


Step: TypeAlias = tuple[Any, ...]


def play(invariants: Invariants, steps: list[Step]) -> None:
    """Call a method for each step, by its name."""
    for name, *arguments in steps:
        if name == "check_whole":
            arguments.insert(0, invariants.sent.claims())
        group = invariants.received if hasattr(invariants.received, name) else invariants.sent
        getattr(group, name)(*arguments)


RIGHT: dict[str, list[Step]] = {
    "ticks": [("tick", 3), ("tick", 4), ("tick", 5)],
    "ticks of two connections": [("tick", 1), ("connected", "b"), ("tick", 5)],
    "a flood": [("flood", "f", (0, "")), ("flood", "f", (1, "")), ("flood", "g", (0, ""))],
    "an upload": [("uploaded", "u", 2, 0), ("add_records", recorded("u:0", "u:1", "sent 1")), ("check_whole", 0)],
    "an upload to a server that is gone": [("uploaded", "u", 2, 0), ("check_whole", 1)],
}
WRONG: dict[str, tuple[str, list[Step]]] = {
    "a tick twice": ("after tick 3", [("tick", 3), ("tick", 3)]),
    "ticks out of order": ("after tick 3", [("tick", 3), ("tick", 2)]),
    "a lost tick": (r"\[4\] were lost", [("tick", 3), ("tick", 5)]),
    "a tick twice on two connections": ("after tick 3", [("tick", 3), ("connected", "b"), ("tick", 3)]),
    "an event of a flood twice": ("due was 1", [("flood", "f", (0, "")), ("flood", "f", (0, ""))]),
    "a flood on two connections": (
        "the others came on a",
        [("connected", "a"), ("flood", "f", (0, "")), ("connected", "b"), ("flood", "f", (1, ""))],
    ),
    "a message twice": ("twice", [("add_records", recorded("sent 1", "sent 1"))]),
    "a message that was refused": ("told that", [("refused", "sent 1"), ("add_records", recorded("sent 1"))]),
    "a message that was refused later": ("told that", [("add_records", recorded("sent 1")), ("refused", "sent 1")]),
    "a gap in an upload": ("where 0 was due", [("add_records", recorded("u:1"))]),
    "an upload that is not whole": (
        "whole with 2",
        [("uploaded", "u", 2, 0), ("add_records", recorded("u:0")), ("check_whole", 0)],
    ),
}


@pytest.mark.parametrize("name", RIGHT)
def test_what_is_right(invariants: Invariants, name: str) -> None:
    play(invariants, RIGHT[name])
    invariants.check()


@pytest.mark.parametrize("name", WRONG)
def test_what_is_wrong(invariants: Invariants, name: str) -> None:
    text, steps = WRONG[name]
    play(invariants, steps)
    with pytest.raises(BrokenError, match=text):
        invariants.check()
    assert invariants.failed.is_set()


def test_what_may_not_have_been_sent_is_not_missed(invariants: Invariants) -> None:
    invariants.received.uncertain.add(2)
    play(invariants, [("tick", 1), ("tick", 3)])
    invariants.check()


def test_what_has_not_come_is_missing(invariants: Invariants) -> None:
    invariants.received.flooded("f", 2)
    invariants.sent.accepted("sent 1", "a")
    invariants.sent.accepted("sent 2", "b")
    assert invariants.received.missing == ["f"]
    assert invariants.sent.missing("a") == ["sent 1"]
    invariants.received.flood("f", (0, ""))
    invariants.received.flood("f", (1, ""))
    invariants.sent.add_records(recorded("sent 1"))
    assert invariants.received.missing == []
    assert invariants.sent.missing("a") == []


@pytest.mark.parametrize(
    ("events", "text"),
    [
        ([Event.START, Event.CONNECT_OK, Event.LOST_FOR_GOOD], "ended by itself"),
        ([Event.START, Event.RESUMED], "the table of states"),
    ],
)
def test_changes_of_state_are_seen(invariants: Invariants, events: list[Event], text: str) -> None:
    hub = HubConnection("http://localhost/hub")
    invariants.changes.observe(hub)
    try:
        for event in events:
            hub._life.lifecycle.fire(event)
    except StateError:
        pass
    with pytest.raises(BrokenError, match=text):
        invariants.check()


@pytest.mark.parametrize(
    ("told", "text"),
    [
        (["connected", "connected"], "on_connected was called where on_reconnecting"),
        (["connected", "reconnecting", "connected", "reconnected", "closed"], "nothing was due"),
    ],
)
def test_lifecycle_events_have_their_order(invariants: Invariants, told: list[str], text: str) -> None:
    hub = HubConnection("http://localhost/hub")
    invariants.changes.observe(hub)
    for event in (Event.START, Event.CONNECT_OK, Event.LOST, Event.CONNECT_OK):
        hub._life.lifecycle.fire(event)
    for name in told:
        hub._handlers.lifecycle[name][0](None)
    with pytest.raises(BrokenError, match=text):
        invariants.check()


def test_a_broken_protocol_is_seen(invariants: Invariants) -> None:
    hub = HubConnection("http://localhost/hub")
    invariants.changes.observe(hub)
    judge = hub._handlers.lifecycle["reconnecting"][1]
    judge(ConnectionClosedError("closed", REASON, allow_reconnect=True))
    invariants.check()
    wrong = ConnectionClosedError("not resumed", allow_reconnect=True)
    wrong.__cause__ = RemoteProtocolError("no SignalR")
    judge(wrong)
    with pytest.raises(BrokenError, match="the protocol was broken"):
        invariants.check()


def test_a_seed_is_a_schedule() -> None:
    kinds = ("cut", "stall", "kill")
    first, again, other = (list(itertools.islice(Schedule(seed, kinds), 30)) for seed in (1, 1, 2))
    assert first == again != other
    for begin in range(0, 30, len(kinds)):
        assert {fault.kind for fault in first[begin : begin + len(kinds)]} == set(kinds)


# Set-ups


SET_UP = recorded("joins a", "is set up a")


@pytest.mark.parametrize(
    ("events", "text"),
    [
        ([*SET_UP, *recorded("sent 1")], None),
        (recorded("joins a", "sent 1"), "before the set-up"),
        (recorded("joins b"), "called on a"),
    ],
)
async def test_the_order_of_a_set_up(invariants: Invariants, events: list[ServerEvent], text: str | None) -> None:
    hub = HubConnection("http://hub.test/chat")
    SetUps(hub, invariants, random.Random(1), 0.1).check_order(events)
    if text is None:
        invariants.check()
    else:
        with pytest.raises(BrokenError, match=text):
            invariants.check()


@pytest.mark.parametrize(("tick", "is_lost"), [(4, False), (5, False), (6, True)])
async def test_a_tick_that_came_during_a_set_up(invariants: Invariants, tick: int, *, is_lost: bool) -> None:
    received = invariants.received
    received.set_ups = SetUps(HubConnection("http://hub.test/chat"), invariants, random.Random(1), 0.1)
    received.set_ups.first_tick = 5
    received.connected("a")
    received.tick(tick)
    if is_lost:
        with pytest.raises(BrokenError, match="tick 5, which the set-up has seen"):
            invariants.check()
    else:
        invariants.check()
