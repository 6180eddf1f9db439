"""The state machine, row by row."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import settings
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule
from hypothesis.strategies import sampled_from

from signalr_sdk._core.lifecycle import TABLE, Event, Lifecycle, State, diagram
from signalr_sdk.errors import StateError
from signalr_sdk.options import ConnectionState


def after(*events: Event) -> Lifecycle:
    lifecycle = Lifecycle()
    for event in events:
        lifecycle.fire(event)
    return lifecycle


@pytest.mark.parametrize(
    ("events", "state"),
    [
        ([], State.DISCONNECTED),
        ([Event.START], State.CONNECTING),
        ([Event.START, Event.CONNECT_FAILED], State.DISCONNECTED),
        ([Event.START, Event.CONNECT_OK], State.CONNECTED),
        ([Event.START, Event.CONNECT_OK, Event.LOST], State.RECONNECTING),
        ([Event.START, Event.CONNECT_OK, Event.LOST, Event.CONNECT_OK], State.CONNECTED),
        ([Event.START, Event.CONNECT_OK, Event.LOST, Event.GIVEN_UP], State.DISCONNECTED),
        ([Event.START, Event.CONNECT_OK, Event.LOST_FOR_GOOD], State.DISCONNECTED),
        ([Event.START, Event.CONNECT_OK, Event.LOST_RESUMABLE], State.RESUMING),
        ([Event.START, Event.CONNECT_OK, Event.LOST_RESUMABLE, Event.RESUMED], State.CONNECTED),
        ([Event.START, Event.CONNECT_OK, Event.LOST_RESUMABLE, Event.RESUME_REFUSED], State.RECONNECTING),
        ([Event.START, Event.CONNECT_OK, Event.LOST_RESUMABLE, Event.LOST_FOR_GOOD], State.DISCONNECTED),
    ],
)
def test_the_ways_through(events: list[Event], state: State) -> None:
    assert after(*events).state is state


def test_stop_is_taken_everywhere_but_where_there_is_nothing_to_stop() -> None:
    stoppable = {state for state, event in TABLE if event is Event.STOP}
    assert stoppable == set(State) - {State.DISCONNECTED}
    assert {TABLE[state, Event.STOP] for state in stoppable} == {State.DISCONNECTING}


def test_only_closed_leads_out_of_disconnecting() -> None:
    leading_out = {
        event for (state, event), following in TABLE.items() if state is State.DISCONNECTING is not following
    }
    assert leading_out == {Event.CLOSED}
    assert after(Event.START, Event.STOP, Event.CLOSED, Event.START).state is State.CONNECTING


def test_fire_returns_the_new_state() -> None:
    assert Lifecycle().fire(Event.START) is State.CONNECTING


@pytest.mark.parametrize("pair", [pair for pair in itertools.product(State, Event) if pair not in TABLE])
def test_a_pair_that_is_not_in_the_table_raises_and_changes_nothing(pair: tuple[State, Event]) -> None:
    state, event = pair
    lifecycle = Lifecycle()
    lifecycle._state = state
    with pytest.raises(StateError, match=f"{state.name}.*{event.name}"):
        lifecycle.fire(event)
    assert lifecycle.state is state


def test_users_see_a_resume_as_connected_and_all_else_as_it_is() -> None:
    lifecycle = Lifecycle()
    for state in State:
        lifecycle._state = state
        shown = "CONNECTED" if state is State.RESUMING else state.name
        assert lifecycle.public is ConnectionState[shown]


def test_every_state_and_event_is_used_and_leads_back_to_disconnected() -> None:
    assert {event for _, event in TABLE} == set(Event)
    back = {State.DISCONNECTED}
    for _ in State:
        back |= {state for (state, _), following in TABLE.items() if following in back}
    assert back == set(State)


def test_the_diagram_has_a_line_for_each_row() -> None:
    lines = diagram().splitlines()
    assert lines[:2] == ["stateDiagram-v2", "    [*] --> DISCONNECTED"]
    assert "    CONNECTED --> RECONNECTING: lost, retryable" in lines
    assert "    CONNECTING --> CONNECTED: handshake ok" in lines
    assert len(lines) == 2 + len(TABLE)
    assert diagram().endswith("\n")


class Walk(RuleBasedStateMachine):
    """Any events in any order."""

    def __init__(self) -> None:
        super().__init__()
        self.lifecycle = Lifecycle()

    @rule(event=sampled_from(Event))
    def fire(self, event: Event) -> None:
        expected = TABLE.get((self.lifecycle.state, event))
        if expected is None:
            with pytest.raises(StateError):
                self.lifecycle.fire(event)
        else:
            assert self.lifecycle.fire(event) is expected

    @invariant()
    def has_a_public_state(self) -> None:
        assert self.lifecycle.public in ConnectionState


Walk.TestCase.settings = settings(max_examples=30, stateful_step_count=20, deadline=None)
TestWalk = Walk.TestCase
