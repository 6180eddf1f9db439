"""The invariants that must hold whatever fails: of state changes, received events, sent messages and uploads."""

from __future__ import annotations

import asyncio
from collections import Counter, deque
from typing import TYPE_CHECKING

import attrs

from signalr_sdk._core.lifecycle import Event, State
from signalr_sdk.errors import ConnectionClosedError, RemoteProtocolError, StateError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from tests.interop.hub_server import ServerEvent

    from signalr_sdk import HubConnection

    from .set_ups import SetUps

PATIENCE = 60.0  # seconds after which something is taken as never to happen
POLL = 0.01
REASON = "told to"  # the error text in the Close messages that faults ask for
# ASP.NET Core closes a connection with this error when an abandoned resume reaches the server late, together with the
# next one.
_CANCELLED = "Connection closed with an error. OperationCanceledException: The operation was canceled."
# The errors in Close messages that faults may cause. All other errors mean that one side broke the protocol.
REASONS = frozenset({REASON, _CANCELLED})

_ENDS = frozenset({Event.LOST_FOR_GOOD, Event.GIVEN_UP})


class BrokenError(AssertionError):
    """An invariant does not hold."""


async def until(holds: Callable[[], bool], why: Callable[[], str], patience: float = PATIENCE) -> None:
    """Return when `holds` returns true.

    Raises:
        BrokenError: it does not in time; `why` returns the text.
    """
    deadline = now() + patience
    while not holds():
        if now() > deadline:
            raise BrokenError(f"{why()}, after {patience:g} s")
        await asyncio.sleep(POLL)


def now() -> float:
    """Return the time of the event loop."""
    return asyncio.get_running_loop().time()


class Invariants:
    """All invariants of one client. The first one that breaks is noted.

    Args:
        may_end: returns whether a fault has ended the connection for good.
        patience: seconds after which something is taken as never to happen.
        reasons: the errors in Close messages that faults may cause.

    Attributes:
        patience: see above.
        reasons: see above.
        counts: how often each thing has happened.
        failed: set when an invariant is broken.
    """

    def __init__(
        self, may_end: Callable[[], bool], patience: float = PATIENCE, reasons: frozenset[str] = REASONS
    ) -> None:
        self.patience = patience
        self.reasons = reasons
        self.counts: Counter[str] = Counter()
        self.failed = asyncio.Event()
        self.changes = StateChanges(self, may_end)
        self.received = ReceivedEvents(self)
        self.sent = SentMessages(self)
        self._broken: str | None = None

    def fail(self, what: str) -> None:
        """Note that an invariant is broken."""
        if self._broken is None:
            self._broken = what
            self.failed.set()

    def check(self) -> None:
        """Raise if an invariant is broken.

        Raises:
            BrokenError: says which invariant.
        """
        if self._broken is not None:
            raise BrokenError(self._broken)

    async def watch(self) -> None:
        """Raise as soon as an invariant is broken."""
        await self.failed.wait()
        self.check()


class StateChanges:
    """Every state change is in the lifecycle table, and lifecycle handlers are called for each one, in order.

    Attributes:
        ends: how often the connection has ended, by itself or by `stop`.
    """

    def __init__(self, invariants: Invariants, may_end: Callable[[], bool]) -> None:
        self.ends = 0
        self._may_end = may_end
        self._invariants = invariants
        # Lifecycle events whose handlers are to be called next. `stop` may drop those that wait when it is called: the
        # first `_optional` ones.
        self._due: deque[str] = deque()
        self._optional = 0
        self._was_up = False

    def observe(self, hub: HubConnection) -> None:
        """Watch the state changes and the lifecycle handlers of a connection."""
        lifecycle = hub._life.lifecycle
        fire = lifecycle.fire

        def watched(event: Event) -> State:
            before = lifecycle.state
            try:
                after = fire(event)
            except StateError as error:
                self._invariants.fail(f"the table of states: {error}")
                raise
            self._note(before, event)
            return after

        lifecycle.fire = watched  # type: ignore[method-assign]
        for name in ("connected", "reconnecting", "reconnected", "closed"):
            getattr(hub, f"on_{name}")(lambda _value, name=name: self._heard(name))
        hub.on_reconnecting(self._check_loss)

    def _check_loss(self, error: Exception) -> None:
        """Fail if the loss was caused by a message that one of the sides could not accept."""
        link: BaseException | None = error
        while link is not None:
            reason = link.reason if isinstance(link, ConnectionClosedError) else None
            if isinstance(link, RemoteProtocolError) or (reason is not None and reason not in self._invariants.reasons):
                self._invariants.fail(f"the protocol was broken: {error}")
            link = link.__cause__

    def _note(self, before: State, event: Event) -> None:
        self._invariants.counts[event.value] += 1
        if event is Event.START:
            self._was_up = False
        elif event is Event.CONNECT_OK:
            self._was_up = True
            self._due += ["connected", "reconnected"] if before is State.RECONNECTING else ["connected"]
        elif event in (Event.LOST, Event.RESUME_REFUSED):
            self._due.append("reconnecting")
        elif event is Event.STOP:
            self._optional = len(self._due)
        elif event in _ENDS:
            self.ends += 1
            self._due.append("closed")
            if not self._may_end():
                self._invariants.fail(f"the connection has ended by itself: {event.value}, when {before.value}")
        elif event is Event.CLOSED:
            self.ends += 1
            self._due += ["closed"] if self._was_up else []

    def _heard(self, name: str) -> None:
        while self._due:
            due, self._optional, was_optional = self._due.popleft(), max(0, self._optional - 1), self._optional > 0
            if due == name:
                return
            if not was_optional:
                self._invariants.fail(f"on_{name} was called where on_{due} was due")
                return
        self._invariants.fail(f"on_{name} was called, and nothing was due")

    @property
    def unheard(self) -> list[str]:
        """The lifecycle events whose handlers are still to be called."""
        return list(self._due)[self._optional :]


@attrs.define
class _Flood:
    connection: str | None
    next: int = 0


class ReceivedEvents:
    """On one connection no event is lost, doubled or out of order, and no event comes again on another connection.

    Attributes:
        uncertain: numbers of ticks that the server may not have sent.
        set_ups: the set-ups of the client, if it has any.
    """

    def __init__(self, invariants: Invariants) -> None:
        self.uncertain: set[int] = set()
        self.set_ups: SetUps | None = None
        self._invariants = invariants
        self._connection: str | None = None
        self._tick = -1
        self._is_first = True
        self._floods: dict[str, _Flood] = {}
        self._due: dict[str, int] = {}

    def connected(self, connection_id: str | None) -> None:
        """Note that the events from now on come on this connection."""
        self._connection, self._is_first = connection_id, True

    def tick(self, value: float) -> None:
        """Check an event that is sent to all clients. ASP.NET Core's control requests send only floats."""
        self._invariants.counts["events"] += 1
        number = int(value)
        last, self._tick = self._tick, number
        if number <= last:
            self._invariants.fail(f"tick {number} came after tick {last} on {self._connection}")
        seen = None if self.set_ups is None else self.set_ups.first_tick
        if self._is_first and seen is not None and number > seen:
            self._invariants.fail(f"tick {seen}, which the set-up has seen, was lost on {self._connection}")
        lost = set() if self._is_first else set(range(last + 1, number)) - self.uncertain
        self._is_first = False
        if lost:
            self._invariants.fail(f"ticks {sorted(lost)} were lost on {self._connection}, which went on with {number}")

    def flood(self, name: str, arguments: tuple[int, str]) -> None:
        """Check an event that a call has asked for; such events are numbered from 0 on."""
        number = arguments[0]
        self._invariants.counts["events"] += 1
        if name.startswith("snapshot"):
            self._invariants.fail(f"event {number} of {name} came to on_any too")
        flood = self._floods.setdefault(name, _Flood(self._connection))
        if (flood.connection, flood.next) != (self._connection, number):
            self._invariants.fail(
                f"event {number} of {name} came on {self._connection}; "
                f"due was {flood.next}, and the others came on {flood.connection}"
            )
        flood.next = number + 1

    def flooded(self, name: str, count: int) -> None:
        """Note that the call has returned, so that all of its events must have come."""
        self._due[name] = count

    def discard(self) -> None:
        """Expect no more events, since `stop` may drop events that are not handled yet."""
        self._due.clear()

    @property
    def missing(self) -> list[str]:
        """The calls that have returned, but whose events have not all come."""
        self._due = {
            name: count for name, count in self._due.items() if self._floods.get(name, _Flood(None)).next != count
        }
        return list(self._due)


class SentMessages:
    """The hub gets no message twice and none that was refused, and of each upload the items from the first one on."""

    def __init__(self, invariants: Invariants) -> None:
        self._invariants = invariants
        self._on: dict[str, str | None] = {}
        self._refused: set[str] = set()
        self._seen: set[str] = set()
        self._uploads: Counter[str] = Counter()
        self._whole: list[tuple[str, int, int]] = []

    def accepted(self, text: str, connection_id: str | None) -> None:
        """Note that `send` has returned; the id is `None` if the connection has changed meanwhile."""
        self._on[text] = connection_id

    def refused(self, text: str) -> None:
        """Note that `send` has raised, so that the message must not reach the hub."""
        self._refused.add(text)
        if text in self._seen:
            self._invariants.fail(f"'{text}' was sent to the hub, but the caller was told that it was not")

    def uploaded(self, upload: str, count: int, generation: int) -> None:
        """Note that the call has returned, so that this process (generation) of the server must have all items."""
        self._whole.append((upload, count, generation))

    def add_records(self, events: Iterable[ServerEvent]) -> None:
        """Check what the hub has recorded since the last call."""
        for event in events:
            if event.kind != "recorded" or event.detail is None:
                continue
            upload, colon, number = event.detail.partition(":")
            if colon:
                if int(number) != self._uploads[upload]:
                    self._invariants.fail(
                        f"the hub got item {number} of {upload} where {self._uploads[upload]} was due"
                    )
                self._uploads[upload] += 1
            elif event.detail in self._seen:
                self._invariants.fail(f"the hub got '{event.detail}' twice")
            elif event.detail in self._refused:
                self._invariants.fail(f"the hub got '{event.detail}', but the caller was told that it was not sent")
            else:
                self._seen.add(event.detail)

    def missing(self, connection_id: str | None) -> list[str]:
        """Return the messages that were sent on this connection, which is open, and that the hub does not have."""
        self._on = {
            text: on
            for text, on in self._on.items()
            if on is not None and on == connection_id and text not in self._seen
        }
        return list(self._on)

    def claims(self) -> list[tuple[str, int, int]]:
        """Return the uploads that have returned since the last call, for `check_whole`."""
        claims, self._whole = self._whole, []
        return claims

    def check_whole(self, claims: list[tuple[str, int, int]], generation: int) -> None:
        """Fail if a call returned before the hub had all items. The records of earlier server processes are gone."""
        for upload, count, its in claims:
            if its == generation and self._uploads[upload] != count:
                self._invariants.fail(
                    f"the hub has {self._uploads[upload]} items of {upload}, which is whole with {count}"
                )
