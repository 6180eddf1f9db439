"""`Feed`: numbered events of a hub, each once and in order, over reconnects and restarts."""

from __future__ import annotations

import asyncio
import logging
import os
import random
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterable, Awaitable, Callable, Iterable
from contextlib import AbstractAsyncContextManager, AsyncExitStack, suppress
from typing import TYPE_CHECKING, Any, Final, Generic, Literal, Self, TypeAlias, TypeVar, cast

import attrs

from .._core.redaction import redact_error
from .._guard.copying import Uncopied
from .._guard.foreign import cut_off, error_of
from .._guard.loops import check_loop, loop_or_none, running_loop
from .._guard.tasks import spawn
from ..errors import FeedGapError, FeedResetError, StateError, StoreError
from .arguments import checked_count, checked_seconds
from .entry import Position
from .hub_gate import HubGate
from .sequence import Gap, Output, Passed, Reset, Sequence
from .sqlite_store import SqliteStore

if TYPE_CHECKING:
    from .._hub.hub_connection import HubConnection
    from .sequence import Epoch
    from .stores import CursorStore

T = TypeVar("T")
CatchUp: TypeAlias = Callable[[Position], AsyncIterable[T] | Awaitable[Iterable[T]]]

_log = logging.getLogger("signalr_sdk.delivery")

# Delays between attempts of `catch_up`, in seconds.
_FIRST_DELAY: Final = 0.5
_LONGEST_DELAY: Final = 30.0
_LAST_CHANCE: Final = 1.0


class Feed(Uncopied, Generic[T]):
    """Numbered events of a hub as an async iterator: each number once, in order, without gaps.

    The feed asks the hub for missed events by `catch_up`: after each connection, when a number is missing, and when
    the buffer was full. Enter the feed before the hub is started, or after; with `start=None` before, or the first
    events may be missed. A feed that is not read never holds up the hub.

    An item is the argument of the event, or the list of its arguments if it has not exactly one.

    Args:
        hub: the hub connection, which the feed never starts or stops.
        event: the name of the event.
        number: returns the number of an item. Numbers rise by one.
        catch_up: returns the items behind a `Position`: an async iterable, such as `hub.stream(...)`, or an awaitable
            of an iterable, such as `hub.invoke(...)`. A failure is logged, and tried again with growing delays.
        epoch: returns which series of numbers an item belongs to. `catch_up` gets the epoch in its `Position`, and
            returns everything from the beginning if the hub has another epoch by now.
        store: keeps the position: a path, a `SqliteStore` (also the one of an outbox), or a `CursorStore`; `None`: this
            object, so that the position is not kept over a restart of the program.
        name: tells apart several feeds in one store; by default the name of the event.
        start: where to begin without a kept position: behind this number or `Position` (0: with all there is); `None`:
            with the first event that comes.
        buffer: the most items that wait to be read. Others are let go, and fetched again.
        gap_timeout: seconds before missing numbers are given up.
        check_every: how often to look for events that were lost in silence, in seconds; `None`: never.
        on_gap: what to do when numbers are given up: `"raise"` a `FeedGapError` in their place, or `"continue"` with a
            warning in the log.
        on_reset: the same for a new series of numbers, with a `FeedResetError`.
        auto_ack: asking for the next item acknowledges the one before. With `False`, call `ack()`.

    Raises:
        ValueError: an argument is invalid.

    Example:
        ```python
        async with Feed(hub, "Trade", number=lambda trade: trade["n"], start=0, store="trades.db",
                        catch_up=lambda at: hub.stream("TradesSince", at.number)) as trades:
            async for trade in trades:
                await process(trade)
        ```
    """

    def __init__(
        self,
        hub: HubConnection,
        event: str,
        *,
        number: Callable[[T], int],
        catch_up: CatchUp[T],
        epoch: Callable[[T], str | int] | None = None,
        store: str | os.PathLike[str] | CursorStore | None = None,
        name: str | None = None,
        start: int | Position | None = None,
        buffer: int = 1024,
        gap_timeout: float = 30.0,
        check_every: float | None = None,
        on_gap: Literal["raise", "continue"] = "raise",
        on_reset: Literal["raise", "continue"] = "raise",
        auto_ack: bool = True,
    ) -> None:
        self._hub, self._event = hub, event
        self._number, self._catch_up, self._epoch = number, catch_up, epoch
        self._store = SqliteStore(store) if isinstance(store, str | os.PathLike) else store
        self._name = event if name is None else name
        self._start = Position(start) if isinstance(start, int) else start
        self._buffer = checked_count("buffer", buffer)
        self._gap_timeout = checked_seconds("gap_timeout", gap_timeout)
        self._check_every = None if check_every is None else checked_seconds("check_every", check_every)
        for option, value in (("on_gap", on_gap), ("on_reset", on_reset)):
            if value not in ("raise", "continue"):
                raise ValueError(f"{option} must be 'raise' or 'continue', not {value!r}")
        self._raises: dict[type[Output], bool] = {Gap: on_gap == "raise", Reset: on_reset == "raise"}
        self._auto_ack = auto_ack
        self._loop: asyncio.AbstractEventLoop | None = None
        self._position: Position | None = None
        self._begin(None)

    def _begin(self, position: Position | None) -> None:
        self._position = self._acked = self._saved = position
        self._sequence = Sequence(position, self._buffer)
        self._waiting: deque[Output] = deque()
        self._arrived = asyncio.Event()
        self._wake = asyncio.Event()
        self._has_room = asyncio.Event()
        self._saves = asyncio.Event()
        self._wants = False
        # When the first missing number was missed, and when the next `catch_up` for it is due.
        self._gap: tuple[int, float] | None = None
        self._next_attempt = 0.0
        self._next_check = 0.0
        self._delay = _FIRST_DELAY
        self._shown = -1

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self._event!r} at {self._position}>"

    @property
    def position(self) -> Position | None:
        """The position of the item that was handed out last; `None` before the first one without `start`."""
        return self._position

    # Entering and leaving

    async def __aenter__(self) -> Self:
        if self._loop is not None and not self._loop.is_closed():
            raise StateError("this feed is entered already")
        self._loop = running_loop()
        try:
            async with AsyncExitStack() as opened:
                position = await self._load(opened)
                self._begin(position or self._start)
                opened.pop_all()
        except BaseException:
            self._loop = None
            raise
        self._hub.on(self._event, self._note_event)
        self._gate = HubGate(self._hub, self._note_connected)
        if self._gate.is_open:
            self._note_connected()
        self._tasks = [spawn(self._work(), "feed"), spawn(self._save_acked(), "feed")]
        return self

    async def _load(self, opened: AsyncExitStack) -> Position | None:
        if self._store is None:
            return self._acked
        if isinstance(self._store, SqliteStore):
            await self._store.open()
            opened.push_async_callback(self._store.close)
        return await self._store.load(self._name)

    async def __aexit__(self, *_exception: object) -> None:
        self._loop = None
        self._hub.off(self._event, self._note_event)
        self._gate.end()
        try:
            for task in self._tasks:
                await cut_off(task, _LAST_CHANCE, whose="catch_up", log=_log)
            await self._save()
        finally:
            self._arrived.set()
            if isinstance(self._store, SqliteStore):
                await self._store.close()

    # Reading

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> T:
        """Return the next item. With `auto_ack`, acknowledge the item before.

        Raises:
            FeedGapError: numbers were given up. The iteration can go on behind them.
            FeedResetError: the numbers begin anew. The iteration can go on with the new series.
            StateError: the feed is not entered.
        """
        if self._auto_ack:
            self._note_acked()
        while True:
            if self._loop is None:
                raise StateError("the feed is not entered: use `async with`")
            check_loop(self._loop)
            if self._waiting:
                output = self._waiting.popleft()
                if len(self._waiting) <= self._buffer // 2:
                    self._has_room.set()
                    if self._sequence.has_lost:
                        self._wake.set()
                self._position = output.position
                if isinstance(output, Passed):
                    return cast("T", output.item)
                raise _error_for(output)
            self._arrived.clear()
            await self._arrived.wait()

    async def ack(self) -> None:
        """Acknowledge all items that were handed out so far. Their position is on the disk when `ack` returns.

        Raises:
            StoreError: the position could not be saved.
            StateError: the feed is not entered.
        """
        if self._loop is None:
            raise StateError("the feed is not entered: use `async with`")
        check_loop(self._loop)
        self._acked = self._position
        await self._save()

    def _note_acked(self) -> None:
        self._acked = self._position
        if self._store is not None and self._acked != self._saved:
            self._saves.set()

    async def _save_acked(self) -> None:
        """Save what `__anext__` acknowledges; one save at a time, always the newest position."""
        while True:
            await self._saves.wait()
            self._saves.clear()
            try:
                await self._save()
            except StoreError as error:
                _log.warning("the position of the feed '%s' could not be saved: %s", self._name, error)

    async def _save(self) -> None:
        position = self._acked
        if self._store is not None and position is not None and position != self._saved:
            await self._store.save(self._name, position)
            self._saved = position

    # What comes from the hub

    def _note_event(self, *args: Any) -> None:
        # In `signalr_sdk.sync`, handlers run on a thread of their own.
        loop = self._loop
        if loop is None or loop_or_none() is loop:
            self._take_live(args)
        else:
            with suppress(RuntimeError):  # the loop was closed
                loop.call_soon_threadsafe(self._take_handed_over, args)

    def _take_handed_over(self, args: tuple[Any, ...]) -> None:
        # asyncio would log the event with the error.
        try:
            self._take_live(args)
        except BaseException as raised:  # noqa: BLE001 - users' code may raise anything
            error = error_of(raised, "number or epoch")
            _log.error("the feed '%s' cannot read an event: %s", self._name, redact_error(error), exc_info=error)

    def _take_live(self, args: tuple[Any, ...]) -> None:
        if self._loop is None:
            return
        item = args[0] if len(args) == 1 else list(args)
        number, epoch = self._read(item)
        self._put(self._sequence.live(item, number, epoch, self._room))
        if self._sequence.first_missing is not None or self._sequence.has_foreign or self._sequence.is_doubtful:
            self._wake.set()

    def _read(self, item: Any) -> tuple[int, Epoch]:
        return self._number(item), None if self._epoch is None else self._epoch(item)

    @property
    def _room(self) -> int:
        return self._buffer - len(self._waiting)

    def _put(self, outputs: list[Output]) -> None:
        for output in outputs:
            if isinstance(output, Passed) or self._raises[type(output)]:
                self._waiting.append(output)
            else:
                _log.warning("the feed '%s' goes on: %s", self._name, _error_for(output))
        if outputs:
            self._arrived.set()

    def _note_connected(self) -> None:
        self._sequence.note_connection()
        self._wants = self._sequence.position is not None
        self._attempt_at_once()
        self._wake.set()

    # Catching up

    async def _work(self) -> None:
        """Catch up whenever something is missing."""
        self._next_check = _now() + (self._check_every or 0.0)
        while True:
            due = self._due()
            with suppress(TimeoutError):
                async with asyncio.timeout_at(due):
                    await self._wake.wait()
            self._wake.clear()
            if not self._gate.is_open:
                continue
            if self._needs_catch_up():
                await self._attempt()
            self._look_at_gap()

    def _due(self) -> float | None:
        """Return when to look again without being woken; `None` for never."""
        if not self._gate.is_open:
            return None  # the next connection wakes
        if not self._is_incomplete():
            return None if self._check_every is None else self._next_check
        if self._gap is not None and self._shown == self._gap[0]:
            return min(self._next_attempt, self._gap[1] + self._gap_timeout)
        return self._next_attempt

    def _is_incomplete(self) -> bool:
        sequence = self._sequence
        lost = sequence.has_lost and len(self._waiting) <= self._buffer // 2
        return self._wants or lost or sequence.first_missing is not None or sequence.has_foreign or sequence.is_doubtful

    def _needs_catch_up(self) -> bool:
        if self._is_incomplete():
            return _now() >= self._next_attempt
        return self._check_every is not None and _now() >= self._next_check

    async def _attempt(self) -> None:
        """Call `catch_up` once."""
        sequence = self._sequence
        self._note_gap()
        self._next_check = _now() + (self._check_every or 0.0)
        self._wants = sequence.has_lost = False
        try:
            if sequence.is_doubtful:
                await self._prove()
            await self._fetch(sequence.position)
        except BaseException as raised:  # noqa: BLE001 - users' code may raise anything
            error = error_of(raised, "catch_up")
            self._wants = True
            _log.warning("catch_up of the feed '%s' failed: %s", self._name, redact_error(error))
            self._back_off()
            return
        self._put(sequence.begin_foreign(self._room))
        self._shown = sequence.first_missing or -1
        if sequence.first_missing is not None:
            self._back_off()
        else:
            self._attempt_at_once()

    def _attempt_at_once(self) -> None:
        self._delay, self._next_attempt = _FIRST_DELAY, 0.0

    def _back_off(self) -> None:
        self._next_attempt = _now() + self._delay * random.uniform(0.5, 1.0)
        self._delay = min(self._delay * 2, _LONGEST_DELAY)

    async def _fetch(self, at: Position | None) -> int | None:
        """Take what `catch_up` has behind a position; return the first number of it."""
        if at is None:
            return None
        first: int | None = None
        async with AsyncExitStack() as opened:
            async for item in await _opened(self._catch_up(at), opened):
                number, epoch = self._read(item)
                first = number if first is None else first
                while self._room <= 0:
                    self._has_room.clear()
                    await self._has_room.wait()
                self._put(self._sequence.fetched(item, number, epoch, self._room))
        return first

    async def _prove(self) -> None:
        """Find out whether numbers far back are a reset: whether the hub still knows the last number."""
        position = self._sequence.position
        assert position is not None
        async with AsyncExitStack() as opened:
            async for item in await _opened(self._catch_up(Position(position.number - 1)), opened):
                if self._read(item)[0] >= position.number:
                    self._sequence.trust()
                    return
        first: int | None = None
        async with AsyncExitStack() as opened:
            async for item in await _opened(self._catch_up(Position(0)), opened):
                first = self._read(item)[0]
                break
        self._put(self._sequence.begin_anew(first, self._room))

    def _note_gap(self) -> None:
        missing = self._sequence.first_missing
        known = None if self._gap is None else self._gap[0]
        if missing != known:
            self._gap = None if missing is None else (missing, _now())
            self._attempt_at_once()

    def _look_at_gap(self) -> None:
        self._note_gap()
        # Give nothing up before `catch_up` has shown that it does not have it.
        gap = self._gap
        if gap is not None and self._shown == gap[0] and _now() >= gap[1] + self._gap_timeout:
            self._put(self._sequence.give_up(self._room))
            self._note_gap()
            self._wake.set()


async def _opened(answer: Any, opened: AsyncExitStack) -> AsyncIterable[Any]:
    """Return what to iterate over; `opened` closes it."""
    if not isinstance(answer, AsyncIterable):
        return _each(await answer)
    if isinstance(answer, AbstractAsyncContextManager):
        await opened.enter_async_context(answer)
    elif isinstance(answer, AsyncGenerator):
        opened.push_async_callback(answer.aclose)
    return answer


async def _each(items: Iterable[Any]) -> AsyncGenerator[Any, None]:
    for item in items:
        yield item


def _error_for(output: Gap | Reset) -> Exception:
    if isinstance(output, Gap):
        text = f"the events {output.first} to {output.last} never came, and catch_up has not got them"
        return FeedGapError(text, output.first, last=output.last)
    text = f"the numbers begin anew: {output.before} was the last position, and {output.position} is where it goes on"
    return FeedResetError(text, output.before, after=output.position)


def _now() -> float:
    return asyncio.get_running_loop().time()


@attrs.frozen
class FeedParts:
    """What a relay needs of a feed beside its public methods.

    Attributes:
        feed: the feed.
        hub: its hub.
        event: the name of its event.
        name: its name.
        has_store: whether the user has given the feed a store.
        begin_behind: gives the feed a store, for the next time that the feed is entered.
    """

    feed: Feed[Any]
    hub: HubConnection
    event: str
    name: str
    has_store: bool
    begin_behind: Callable[[CursorStore], None]


def parts_of(feed: Feed[Any]) -> FeedParts:
    """Return what a relay needs of a feed, which from then on raises its gaps and resets."""

    def begin_behind(store: CursorStore) -> None:
        feed._store = store  # noqa: SLF001 - the feed's own module
        feed._raises = {Gap: True, Reset: True}  # noqa: SLF001

    has_store = feed._store is not None  # noqa: SLF001
    return FeedParts(feed, feed._hub, feed._event, feed._name, has_store, begin_behind)  # noqa: SLF001
