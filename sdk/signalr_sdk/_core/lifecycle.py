"""THE state machine of a hub connection.

Theory of operation
-------------------
A hub connection is in one state at a time. One table says which event leads from which state to which. A pair of state
and event that is not in the table is a bug in this package, and raises. Only the supervisor (`_life.supervisor`)
fires events, and only events change the state. No flag is needed beside the state.

- `CONNECTING` and `RECONNECTING` last until one attempt succeeds or the last attempt fails. A failed attempt fires no
  event while the retry policy wants another attempt; `CONNECT_FAILED` and `GIVEN_UP` mean that no attempt follows.
- `RESUMING`: the transport is lost, but the connection lives on. With stateful reconnect, users see the state as
  connected, because they lose nothing. With classic SignalR, they see it as reconnecting, because calls have to wait.
- `STOP` leads from every state but `DISCONNECTED` to `DISCONNECTING`, and only `CLOSED` leads from `DISCONNECTING` to
  another state. In `DISCONNECTING`, a transport that is lost and a handshake that ends fire no event.

The diagram in the documentation is generated from the table.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from typing import Final

from ..errors import StateError
from ..options import ConnectionState


class State(enum.Enum):
    """The states of a hub connection. Users see all states except `RESUMING`, and another state instead."""

    DISCONNECTED = "disconnected"
    CONNECTING = "connecting"
    CONNECTED = "connected"
    RESUMING = "resuming"
    RECONNECTING = "reconnecting"
    DISCONNECTING = "disconnecting"


class Event(enum.Enum):
    """The events that change the state of a hub connection. The values are the labels in the diagram."""

    START = "start"
    CONNECT_OK = "handshake ok"
    CONNECT_FAILED = "failed"
    LOST = "lost, retryable"
    LOST_FOR_GOOD = "lost for good"
    LOST_RESUMABLE = "lost, resumable"
    RESUMED = "resumed"
    RESUME_REFUSED = "resume refused"
    GIVEN_UP = "given up"
    STOP = "stop"
    CLOSED = "closed"


TABLE: Final[Mapping[tuple[State, Event], State]] = {
    (State.DISCONNECTED, Event.START): State.CONNECTING,
    (State.CONNECTING, Event.CONNECT_OK): State.CONNECTED,
    (State.CONNECTING, Event.CONNECT_FAILED): State.DISCONNECTED,
    (State.CONNECTING, Event.STOP): State.DISCONNECTING,
    (State.CONNECTED, Event.LOST): State.RECONNECTING,
    (State.CONNECTED, Event.LOST_RESUMABLE): State.RESUMING,
    (State.CONNECTED, Event.LOST_FOR_GOOD): State.DISCONNECTED,
    (State.CONNECTED, Event.STOP): State.DISCONNECTING,
    (State.RESUMING, Event.RESUMED): State.CONNECTED,
    (State.RESUMING, Event.RESUME_REFUSED): State.RECONNECTING,
    (State.RESUMING, Event.LOST_FOR_GOOD): State.DISCONNECTED,
    (State.RESUMING, Event.STOP): State.DISCONNECTING,
    (State.RECONNECTING, Event.CONNECT_OK): State.CONNECTED,
    (State.RECONNECTING, Event.GIVEN_UP): State.DISCONNECTED,
    (State.RECONNECTING, Event.STOP): State.DISCONNECTING,
    (State.DISCONNECTING, Event.STOP): State.DISCONNECTING,
    (State.DISCONNECTING, Event.CLOSED): State.DISCONNECTED,
}

_PUBLIC: Final[Mapping[State, ConnectionState]] = {
    state: ConnectionState[state.name] for state in State if state is not State.RESUMING
}


class Lifecycle:
    """Holds the state of one hub connection. Only `fire` changes the state.

    Args:
        resuming: the state that users see while the connection is `RESUMING`.
    """

    def __init__(self, resuming: ConnectionState = ConnectionState.CONNECTED) -> None:
        self._state = State.DISCONNECTED
        self._public = {**_PUBLIC, State.RESUMING: resuming}

    @property
    def state(self) -> State:
        """The state as this package sees it, which may be `RESUMING`."""
        return self._state

    @property
    def public(self) -> ConnectionState:
        """The state as users see it."""
        return self._public[self._state]

    def fire(self, event: Event) -> State:
        """Change the state as the table says, and return the new state.

        Raises:
            StateError: the table does not have this event in this state. The state is not changed.
        """
        following = TABLE.get((self._state, event))
        if following is None:
            raise StateError(f"a connection that is {self._state.name} cannot take the event {event.name}")
        self._state = following
        return following


def diagram() -> str:
    """Return the table of states and events as a Mermaid state diagram for the documentation."""
    lines = [f"    {state.name} --> {following.name}: {event.value}" for (state, event), following in TABLE.items()]
    return "\n".join(["stateDiagram-v2", f"    [*] --> {State.DISCONNECTED.name}", *lines]) + "\n"
