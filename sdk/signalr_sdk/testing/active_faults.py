"""The faults in force, and the points at which the server asks for them.

A `Fault` names points, and maybe one transport or one connection; what happens there is its `act`. The transports ask
`ActiveFaults.at` when something comes to a point: the faults that fit act in the order in which they were made.
"""

from __future__ import annotations

import asyncio
from enum import StrEnum
from typing import TYPE_CHECKING, Self, TypeAlias

import attrs
from aiohttp import web

from ..options import Transport
from .connection_buffers import Cut
from .tcp_listener import cut

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable
    from types import TracebackType


Act: TypeAlias = "Callable[[Fault, FaultSite], Awaitable[None]]"
_WHOLE = Cut()


def _nothing() -> None:
    """Do nothing when a fault ends."""


class Point(StrEnum):
    """Where a fault can happen."""

    NEGOTIATE = "negotiate"
    CONNECT = "connect"
    RESUME = "resume"
    POLL = "poll"
    POST = "post"
    DELETE = "delete"
    REFRESH = "refresh"
    HANDSHAKE = "handshake"
    FRAME_IN = "frame in"
    FRAME_OUT = "frame out"
    # Those below are not for users to name: each has a method of its own.
    PING = "ping"
    CUT = "cut"


REQUESTS = frozenset(
    {Point.NEGOTIATE, Point.CONNECT, Point.RESUME, Point.POLL, Point.POST, Point.DELETE, Point.REFRESH}
)
# Where a live connection can be held so that nothing comes through.
LIVE = frozenset({Point.POLL, Point.POST, Point.FRAME_IN, Point.FRAME_OUT})


@attrs.frozen
class FaultSite:
    """What has come to a point.

    Attributes:
        point: where.
        transport: name of the transport, if it is known.
        connection_id: of the connection, if there is one.
        wire: the TCP connection.
    """

    point: Point
    transport: str = ""
    connection_id: str | None = None
    wire: asyncio.BaseTransport | None = attrs.field(default=None, repr=False)


@attrs.frozen
class Place:
    """What a fault is for.

    Attributes:
        points: where it happens.
        transport: of which transport; of each one if it is `None`.
        connection_id: of which connection; of each one if it is `None`.
    """

    points: frozenset[Point]
    transport: Transport | None = attrs.field(default=None, converter=attrs.converters.optional(Transport))
    connection_id: str | None = None

    def fits(self, passage: FaultSite) -> bool:
        """Return whether this has come to it."""
        return (
            passage.point in self.points
            and self.transport in (None, passage.transport)
            and self.connection_id in (None, passage.connection_id)
        )


@attrs.define(eq=False)
class Fault:
    """A fault in force: until it has happened as often as was asked, its `with` block is left, or it is ended.

    Attributes:
        happened: how often it has.
    """

    _place: Place
    _act: Act | None
    _left: int | None
    _end: Callable[[Fault], None]
    _cut: Cut = _WHOLE
    _released: Callable[[], None] = attrs.field(default=_nothing, kw_only=True)
    _is_over: bool = False
    _waiters: list[asyncio.Future[None]] = attrs.field(factory=list)
    happened: int = 0

    def end(self) -> None:
        """End it: what it holds goes on. From any thread; without effect if it has ended."""
        self._end(self)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.end()

    async def held(self) -> None:
        """Return when it is over."""
        if not self._is_over:
            waiter = asyncio.get_running_loop().create_future()
            self._waiters.append(waiter)
            await waiter

    def fits(self, passage: FaultSite) -> bool:
        """Return whether it is to happen to this."""
        return self._left != 0 and self._place.fits(passage)

    @property
    def cut(self) -> Cut:
        """How it cuts what goes out into frames."""
        return self._cut

    async def act(self, passage: FaultSite) -> None:
        """Happen to this."""
        if self._act is not None:
            await self._act(self, passage)

    @property
    def spent(self) -> bool:
        """Whether nothing more can come of it."""
        return self._left == 0 and all(waiter.done() for waiter in self._waiters)

    def happen(self) -> None:
        """Count it."""
        self.happened += 1
        if self._left is not None:
            self._left -= 1

    def release(self) -> None:
        """Let go of what it holds."""
        self._is_over = True
        self._released()
        waiters, self._waiters = self._waiters, []
        for waiter in waiters:
            if not waiter.done():
                waiter.set_result(None)


class ActiveFaults:
    """All that is in force; only touched on the server's event loop."""

    def __init__(self) -> None:
        self._faults: list[Fault] = []
        self.changed: Callable[[], None] = lambda: None

    def add(self, fault: Fault) -> None:
        """Put a fault in force."""
        self._faults = [*(other for other in self._faults if not other.spent), fault]
        self.changed()

    def remove(self, fault: Fault) -> None:
        """Put it out of force."""
        if fault in self._faults:
            self._faults.remove(fault)
            fault.release()
            self.changed()

    def clear(self) -> None:
        """Put all out of force."""
        for fault in list(self._faults):
            self.remove(fault)

    async def at(self, passage: FaultSite) -> None:
        """Let happen what is to happen to this; return when it may go on.

        Raises:
            web.HTTPException: the request is refused.
        """
        for fault in list(self._faults):
            if fault.fits(passage):
                fault.happen()
                await fault.act(passage)

    def concern(self, passage: FaultSite) -> bool:
        """Return whether something is to happen to this."""
        return any(fault.fits(passage) for fault in self._faults)

    def happens(self, passage: FaultSite) -> bool:
        """Return whether a fault happens here; it counts."""
        for fault in self._faults:
            if fault.fits(passage):
                fault.happen()
                return True
        return False

    def cut(self, passage: FaultSite, *, text: bool) -> Cut:
        """Return how frames are to be cut.

        Args:
            passage: where.
            text: whether no character may be cut.
        """
        for fault in self._faults:
            if fault.fits(passage):
                return attrs.evolve(fault.cut, text=text, used=fault.happen)
        return _WHOLE


async def stall(fault: Fault, passage: FaultSite) -> None:
    """Say nothing until the fault is over."""
    await fault.held()


async def drop(fault: Fault, passage: FaultSite) -> None:
    """Cut the TCP connection instead of answering."""
    cut(passage.wire, reset=False)
    # The event loop cancels the request that has lost its connection.
    await asyncio.get_running_loop().create_future()


@attrs.frozen
class Delay:
    """Answers later, by so many seconds."""

    seconds: float = attrs.field(validator=attrs.validators.ge(0))

    async def __call__(self, fault: Fault, passage: FaultSite) -> None:
        """Wait."""
        await asyncio.sleep(self.seconds)


@attrs.frozen
class Refuse:
    """Answers with a status.

    Attributes:
        status: of HTTP.
        retry_after: seconds, for the header of that name.
    """

    status: int = attrs.field(validator=[attrs.validators.ge(400), attrs.validators.le(599)])
    retry_after: int | None = None

    async def __call__(self, fault: Fault, passage: FaultSite) -> None:
        """Refuse the request."""
        headers = {} if self.retry_after is None else {"Retry-After": str(self.retry_after)}
        kind = type("Refused", (web.HTTPException,), {"status_code": self.status})
        raise kind(headers=headers, text=f"refused by the test server: {self.status}")


def places(at: str | Iterable[str] | None, allowed: frozenset[Point]) -> frozenset[Point]:
    """Return points by their names; all of the allowed ones for `None`.

    Raises:
        ValueError: one cannot be named here.
    """
    if at is None:
        return allowed
    names = {at} if isinstance(at, str) else set(at)
    if unknown := names - allowed or (not names and {"nothing"}):
        raise ValueError(
            f"no such place for this fault: {', '.join(sorted(unknown))}; there are {', '.join(sorted(allowed))}"
        )
    return frozenset(Point(name) for name in names)
