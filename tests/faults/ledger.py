"""What a client was promised, and whether it is kept: books about states, events and uploads."""

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

PATIENCE = 60.0  # seconds after which what has not come is taken as never to come
POLL = 0.01
REASON = "told to"  # the only error in a Close message that a fault asks for
# ASP.NET Core ends a connection so when a resume that was given up reaches it late, together with the next one.
_CANCELLED = "Connection closed with an error. OperationCanceledException: The operation was canceled."

_ENDS = frozenset({Event.LOST_FOR_GOOD, Event.GIVEN_UP})


class BrokenError(AssertionError):
    """An invariant does not hold."""


async def until(holds: Callable[[], bool], why: Callable[[], str]) -> None:
    """Return when something holds.

    Raises:
        BrokenError: it does not come to hold; says why that is bad.
    """
    deadline = now() + PATIENCE
    while not holds():
        if now() > deadline:
            raise BrokenError(f"{why()}, after {PATIENCE:g} s")
        await asyncio.sleep(POLL)


def now() -> float:
    """Return the time of the event loop."""
    return asyncio.get_running_loop().time()


class Ledger:
    """All books of one client. What breaks an invariant is noted once, the first time.

    Args:
        may_end: whether something was done that ends a connection for good.

    Attributes:
        counts: how much there was of everything.
        failed: set when an invariant is broken.
    """

    def __init__(self, may_end: Callable[[], bool]) -> None:
        self.counts: Counter[str] = Counter()
        self.failed = asyncio.Event()
        self.lives = Lives(self, may_end)
        self.arrivals = Arrivals(self)
        self.shipments = Shipments(self)
        self._broken: str | None = None

    def fail(self, what: str) -> None:
        """Note that an invariant is broken."""
        if self._broken is None:
            self._broken = what
            self.failed.set()

    def check(self) -> None:
        """Fail if one is.

        Raises:
            BrokenError: says which.
        """
        if self._broken is not None:
            raise BrokenError(self._broken)

    async def watch(self) -> None:
        """Fail as soon as one is."""
        await self.failed.wait()
        self.check()


class Lives:
    """State changes are those of the table, and users hear of them in their order.

    Attributes:
        ends: how often it was disconnected, by itself or by `stop`.
    """

    def __init__(self, ledger: Ledger, may_end: Callable[[], bool]) -> None:
        self.ends = 0
        self._may_end = may_end
        self._ledger = ledger
        # What users are to hear next; a `stop` may keep from them what waits at its time.
        self._due: deque[str] = deque()
        self._optional = 0
        self._was_up = False

    def observe(self, hub: HubConnection) -> None:
        """Look at each change of its state, and at its lifecycle events."""
        lifecycle = hub._life.lifecycle
        fire = lifecycle.fire

        def watched(event: Event) -> State:
            before = lifecycle.state
            try:
                after = fire(event)
            except StateError as error:
                self._ledger.fail(f"the table of states: {error}")
                raise
            self._note(before, event)
            return after

        lifecycle.fire = watched  # type: ignore[method-assign]
        for name in ("connected", "reconnecting", "reconnected", "closed"):
            getattr(hub, f"on_{name}")(lambda _value, name=name: self._heard(name))
        hub.on_reconnecting(self._check_loss)

    def _check_loss(self, error: Exception) -> None:
        """Neither side has said what the other one could not accept."""
        link: BaseException | None = error
        while link is not None:
            reason = link.reason if isinstance(link, ConnectionClosedError) else None
            if isinstance(link, RemoteProtocolError) or reason not in (None, REASON, _CANCELLED):
                self._ledger.fail(f"the protocol was broken: {error}")
            link = link.__cause__

    def _note(self, before: State, event: Event) -> None:
        self._ledger.counts[event.value] += 1
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
                self._ledger.fail(f"the connection has ended by itself: {event.value}, when {before.value}")
        elif event is Event.CLOSED:
            self.ends += 1
            self._due += ["closed"] if self._was_up else []

    def _heard(self, name: str) -> None:
        while self._due:
            due, self._optional, was_optional = self._due.popleft(), max(0, self._optional - 1), self._optional > 0
            if due == name:
                return
            if not was_optional:
                self._ledger.fail(f"on_{name} was called where on_{due} was due")
                return
        self._ledger.fail(f"on_{name} was called, and nothing was due")

    @property
    def unheard(self) -> list[str]:
        """What users have still to hear."""
        return list(self._due)[self._optional :]


@attrs.define
class _Flood:
    connection: str | None
    next: int = 0


class Arrivals:
    """On one connection no event is lost, doubled, or out of order; and none comes twice on two of them.

    Attributes:
        uncertain: ticks that may never have been sent.
    """

    def __init__(self, ledger: Ledger) -> None:
        self.uncertain: set[int] = set()
        self._ledger = ledger
        self._connection: str | None = None
        self._tick = -1
        self._is_first = True
        self._floods: dict[str, _Flood] = {}
        self._due: dict[str, int] = {}

    def connected(self, connection_id: str | None) -> None:
        """What comes now is of this connection."""
        self._connection, self._is_first = connection_id, True

    def tick(self, value: float) -> None:
        """Take an event that all clients get. ASP.NET Core's control requests have doubles only."""
        self._ledger.counts["events"] += 1
        number = int(value)
        last, self._tick = self._tick, number
        if number <= last:
            self._ledger.fail(f"tick {number} came after tick {last} on {self._connection}")
        lost = set() if self._is_first else set(range(last + 1, number)) - self.uncertain
        self._is_first = False
        if lost:
            self._ledger.fail(f"ticks {sorted(lost)} were lost on {self._connection}, which went on with {number}")

    def flood(self, name: str, arguments: tuple[int, str]) -> None:
        """Take one of the events that a call of ours brings, with a number from 0 on."""
        number = arguments[0]
        self._ledger.counts["events"] += 1
        flood = self._floods.setdefault(name, _Flood(self._connection))
        if (flood.connection, flood.next) != (self._connection, number):
            self._ledger.fail(
                f"event {number} of {name} came on {self._connection}; "
                f"due was {flood.next}, and the others came on {flood.connection}"
            )
        flood.next = number + 1

    def flooded(self, name: str, count: int) -> None:
        """The call has returned, so all of its events have come."""
        self._due[name] = count

    def discard(self) -> None:
        """`stop` may throw away what is not handled yet."""
        self._due.clear()

    @property
    def missing(self) -> list[str]:
        """Calls that have returned and whose events are not there."""
        self._due = {
            name: count for name, count in self._due.items() if self._floods.get(name, _Flood(None)).next != count
        }
        return list(self._due)


class Shipments:
    """Nothing is done twice on the hub, nothing that was refused; uploads arrive from their beginning."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._on: dict[str, str | None] = {}
        self._refused: set[str] = set()
        self._seen: set[str] = set()
        self._uploads: Counter[str] = Counter()
        self._whole: list[tuple[str, int, int]] = []

    def sent(self, text: str, connection_id: str | None) -> None:
        """It was taken, by this connection if there was the same one before and after."""
        self._on[text] = connection_id

    def refused(self, text: str) -> None:
        """The call said that it was not sent."""
        self._refused.add(text)
        if text in self._seen:
            self._ledger.fail(f"'{text}' was sent to the hub, but the caller was told that it was not")

    def uploaded(self, upload: str, count: int, generation: int) -> None:
        """The call has returned, so the hub has so many items; it was made to this generation of the server."""
        self._whole.append((upload, count, generation))

    def take(self, events: Iterable[ServerEvent]) -> None:
        """See what the hub has recorded since the last time."""
        for event in events:
            if event.kind != "recorded" or event.detail is None:
                continue
            upload, colon, number = event.detail.partition(":")
            if colon:
                if int(number) != self._uploads[upload]:
                    self._ledger.fail(f"the hub got item {number} of {upload} where {self._uploads[upload]} was due")
                self._uploads[upload] += 1
            elif event.detail in self._seen:
                self._ledger.fail(f"the hub got '{event.detail}' twice")
            elif event.detail in self._refused:
                self._ledger.fail(f"the hub got '{event.detail}', but the caller was told that it was not sent")
            else:
                self._seen.add(event.detail)

    def missing(self, connection_id: str | None) -> list[str]:
        """What was sent on this connection, which still lives, and is not there."""
        self._on = {
            text: on
            for text, on in self._on.items()
            if on is not None and on == connection_id and text not in self._seen
        }
        return list(self._on)

    def claims(self) -> list[tuple[str, int, int]]:
        """Return what has returned since the last time, for `check_whole`."""
        claims, self._whole = self._whole, []
        return claims

    def check_whole(self, claims: list[tuple[str, int, int]], generation: int) -> None:
        """Fail if a call has returned before the hub had all that it uploads; what the hub of before had is gone."""
        for upload, count, its in claims:
            if its == generation and self._uploads[upload] != count:
                self._ledger.fail(f"the hub has {self._uploads[upload]} items of {upload}, which is whole with {count}")
