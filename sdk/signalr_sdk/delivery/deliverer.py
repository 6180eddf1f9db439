"""`Deliverer`: calls the hub with the entries of an outbox, as long as this process has the right to deliver."""

from __future__ import annotations

import asyncio
import inspect
import logging
import math
import random
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final, Protocol

import attrs

from .._core.redaction import redact, redact_error
from .._guard.foreign import error_of
from .._guard.futures import resolve
from .._guard.tasks import run_side_by_side
from ..errors import (
    ConnectionClosedError,
    LeaseLostError,
    LocalProtocolError,
    NotConnectedError,
    StateError,
    StoreError,
)
from ..retry import RetryContext
from .counted_warnings import CountedWarning
from .entry import Entry, OutboxLimits, StoredEntry, moment
from .kept_values import decode_arguments
from .schedule import Call, End, Reading, Schedule

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from .._hub.hub_connection import HubConnection
    from ..interfaces import RetryPolicy
    from .hub_gate import HubGate
    from .stores import OutboxStore, Page

_log = logging.getLogger("signalr_sdk.delivery")

# What other processes put is taken up within this number of seconds.
_NEWS: Final = 0.4
# Before a call, what was read from the store is at most this old, in seconds: entries may have been dropped since.
_FRESH: Final = 0.02
# After an error of the store, the next attempt is made after this number of seconds.
_STORE_PAUSE: Final = 1.0
# The longest error text that is kept, in characters.
_ERROR_TEXT: Final = 500
_NO_CONNECTION_PAUSE: Final = 0.05
_SCAN_PAUSE: Final = 0.01
_ATTEMPTS: Final = 10
_LONGEST_DELAY: Final = 60.0


class DefaultRetry:
    """The default policy of an outbox: 10 attempts, with random delays that grow up to 60 s."""

    def next_delay(self, context: RetryContext) -> float | None:
        """See `RetryPolicy.next_delay`."""
        if context.attempt + 1 >= _ATTEMPTS:
            return None
        return random.uniform(0.0, min(_LONGEST_DELAY, 2.0**context.attempt))


@attrs.frozen
class DeliveryOptions:
    """The options of an `Outbox` that are about delivering."""

    retry: RetryPolicy
    timeout: float | None
    lanes: int
    batch: Mapping[str, int]
    limits: OutboxLimits


class EndHandlers(Protocol):
    """The user's handlers: what happens after a delivery, and after the death of an entry."""

    async def delivered(self, entry: Entry, result: Any) -> None:
        """Call the `on_delivered` handlers."""
        ...

    async def died(self, entry: Entry) -> None:
        """Call the `on_dead` handlers."""
        ...

    @property
    def any_delivered(self) -> bool:
        """Whether there are `on_delivered` handlers."""
        ...


class Deliverer:
    """Delivers the entries of a store. The methods are called on one event loop.

    Args:
        store: the store, which is open.
        hub: the hub connection.
        gate: knows when the hub may be called.
        options: how to deliver.
        handlers: the user's handlers.
    """

    def __init__(
        self, store: OutboxStore, hub: HubConnection, gate: HubGate, options: DeliveryOptions, handlers: EndHandlers
    ) -> None:
        self._store = store
        self._hub = hub
        self._gate = gate
        self._options = options
        self._handlers = handlers
        self._is_ending = False
        self._idle: list[asyncio.Future[None]] = []
        self._lanes_over = asyncio.Event()
        self._begin()

    def _begin(self) -> None:
        self._schedule = Schedule(self._options.batch, self._options.limits.batch_bytes)
        self._reads = asyncio.Event()
        self._reads.set()
        self._timer: asyncio.TimerHandle | None = None
        # When the last answer of the store was asked for.
        self._looked = -math.inf
        self._opened = -math.inf
        # Calls that have their result, but could not be removed from the store yet.
        self._unrecorded: list[Call] = []
        # When the last failure of an entry was, by its position.
        self._failed: dict[int, float] = {}
        self._lost = CountedWarning("the connection was lost while %d entries were under way, which come again")
        self._expired = CountedWarning("%d entries were too old, and were dropped")
        self._died = CountedWarning("%d entries were given up")
        self._refused = CountedWarning("the hub refused %d calls, which stay in the outbox")

    # From outside

    async def run(self) -> None:
        """Deliver until cancelled. Waits for the right to deliver first, and again after each loss of the right."""
        while True:
            try:
                async with self._store.claim():
                    _log.info("this process delivers from %r now", self._store)
                    self._begin()
                    await self._deliver()
                    return
            except LeaseLostError as error:
                _log.warning("another process delivers from %r now: %s", self._store, error)
            except StoreError as error:
                _log.warning("nothing can be delivered: %s", error)
                await asyncio.sleep(_STORE_PAUSE)

    async def finish(self) -> None:
        """Begin no more calls, and return when those under way have ended."""
        self._is_ending = True
        self.wake()
        if self._schedule.under_way:
            await self._lanes_over.wait()
        with suppress(StoreError, LeaseLostError):
            await self._record_late()

    def note_open(self) -> None:
        """Let the lanes look for work: the hub can be called now."""
        self._opened = _now()
        self.wake()

    def wake(self) -> None:
        """Let the lanes look for work: entries have come, or the time of one has come."""
        idle, self._idle = self._idle, []
        for lane in idle:
            resolve(lane, None)

    def read_again(self) -> None:
        """Forget what was read: entries have come back or were dropped."""
        self._schedule.reset()
        self._reads.set()

    # The tasks

    async def _deliver(self) -> None:
        lanes = (self._lane() for _ in range(self._options.lanes))
        try:
            await run_side_by_side([self._watch(), self._read(), *lanes], "outbox")
        finally:
            if self._timer is not None:
                self._timer.cancel()
            for each in (self._lost, self._expired, self._died, self._refused):
                each.flush()

    async def _watch(self) -> None:
        while True:
            await self._store.changed(_NEWS)
            self._schedule.note_news()
            self._reads.set()
            if self._unrecorded:
                with suppress(StoreError):
                    await self._record_late()

    async def _read(self) -> None:
        while True:
            reading = self._schedule.next_reading()
            if reading is None:
                self._reads.clear()
                await self._reads.wait()
                continue
            try:
                page = await self._look(reading)
            except StoreError as error:
                _log.warning("no entries can be read now: %s", error)
                await asyncio.sleep(_STORE_PAUSE)
                continue
            if page.entries:
                self.wake()
            elif page.more:
                # A long way to entries of other keys: leave the store to the others for a while.
                await asyncio.sleep(_SCAN_PAUSE)

    async def _look(self, reading: Reading) -> Page:
        begun = _now()
        page = await self._store.read(
            reading.after, reading.limit, skip=reading.skip, key=reading.key, until=reading.until
        )
        self._looked = max(begun, self._looked)
        self._schedule.add(reading, page, _now(), time.time())
        self._reads.set()
        return page

    async def _lane(self) -> None:
        while not self._is_ending:
            call = await self._next_call()
            if call is None:
                await self._rest()
                continue
            await self._make(call)
            if not self._reads.is_set() and self._schedule.next_reading() is not None:
                self._reads.set()
        if not self._schedule.under_way:
            self._lanes_over.set()

    async def _next_call(self) -> Call | None:
        if not self._gate.is_open:
            return None
        if self._looked < max(_now() - _FRESH, self._opened) and self._schedule.may_take(_now()):
            with suppress(StoreError):
                await self._look(self._schedule.look())
            if self._is_ending or not self._gate.is_open:
                return None
        call, expired = self._schedule.take(_now(), time.time())
        if expired:
            await self._drop_expired(expired)
        return call

    async def _drop_expired(self, expired: list[StoredEntry]) -> None:
        self._expired.add(len(expired))
        try:
            await self._store.done(expired, "expired")
        except StoreError as error:
            _log.debug("expired entries could not be removed yet: %s", error)
            self.read_again()

    async def _rest(self) -> None:
        """Wait until there may be something to call."""
        due = self._schedule.next_due()
        if due is not None and self._gate.is_open:
            if self._timer is not None:
                self._timer.cancel()
            self._timer = asyncio.get_running_loop().call_later(max(due - _now(), 0.0), self.wake)
        waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._idle.append(waiter)
        await waiter

    # One call

    async def _make(self, call: Call) -> None:
        try:
            result = await self._invoke(call)
        except Exception as raised:  # noqa: BLE001 - protocols and converters of users may raise anything
            await self._fail(call, raised)
        else:
            await self._succeed(call, result)
        if self._idle:
            self.wake()

    async def _invoke(self, call: Call) -> Any:
        timeout = self._options.timeout
        if not call.is_batch:
            entry = call.entries[0]
            return await self._hub.invoke(call.method, *decode_arguments(entry.body, entry.id), timeout=timeout)
        lists = [decode_arguments(entry.body, entry.id) for entry in call.entries]
        items = [arguments[0] if len(arguments) == 1 else arguments for arguments in lists]
        return await self._hub.invoke(call.method, items, timeout=timeout)

    async def _succeed(self, call: Call, result: Any) -> None:
        recorded = True
        try:
            await self._store.done(call.entries, "delivered")
        except StoreError as error:
            recorded = False
            self._unrecorded.append(call)
            _log.warning("a delivery will be recorded later: %s", error)
        for entry in call.entries:
            self._failed.pop(entry.position, None)
        if self._handlers.any_delivered:
            for entry in call.entries:
                await self._handlers.delivered(public(entry), result)
        self._schedule.succeed(call, recorded=recorded)

    async def _record_late(self) -> None:
        while self._unrecorded:
            call = self._unrecorded[0]
            await self._store.done(call.entries, "delivered")
            del self._unrecorded[0]
            self._schedule.note_recorded(call)

    async def _fail(self, call: Call, raised: Exception) -> None:
        end = _end_of(raised)
        if end is End.LOST:
            self._lost.add(len(call.entries))
        elif end is End.UNSENT:
            if isinstance(raised, StateError) and self._gate.is_open:
                self._refused.add(1, str(raised))  # the hub belongs to another event loop
            await asyncio.sleep(_NO_CONNECTION_PAUSE)
        if self._schedule.fail(call, end):
            await self._ask(call, raised, refused=end is End.REFUSED)

    async def _ask(self, call: Call, raised: Exception, *, refused: bool) -> None:
        """Ask the retry policy about the one entry of a failed call, and store the answer."""
        entry, now = call.entries[0], _now()
        elapsed = entry.elapsed + now - self._failed.get(entry.position, now - entry.delay) if entry.attempts else 0.0
        delay = None if refused else self._delay(RetryContext(entry.attempts, elapsed, raised, was_connected=True))
        entry = attrs.evolve(
            entry,
            attempts=entry.attempts + 1,
            elapsed=elapsed,
            delay=delay or 0.0,
            due=time.time() + (delay or 0.0),
            error=redact(str(raised) or type(raised).__name__, _ERROR_TEXT),
            dead=delay is None,
        )
        try:
            await self._store.update(entry)
        except StoreError as error:
            _log.warning("a failed delivery could not be recorded: %s", error)
            delay = max(delay or 0.0, _STORE_PAUSE)
        self._failed[entry.position] = now
        if delay is not None:
            self._schedule.put_off(call, attrs.evolve(entry, dead=False), now + delay)
            return
        self._failed.pop(entry.position)
        # The error of a protocol shows parts of the arguments, which do not go into the log.
        why = type(raised).__name__ if refused else entry.error
        self._died.add(1, f"a call of '{entry.method}', after {entry.attempts} attempts: {why}")
        await self._handlers.died(public(entry))
        self._schedule.bury(call)

    def _delay(self, context: RetryContext) -> float | None:
        try:
            delay = self._options.retry.next_delay(context)
            return None if delay is None else max(float(delay), 0.0)
        except BaseException as raised:  # noqa: BLE001 - the user's policy may raise anything
            error = error_of(raised, "the retry policy")
            _log.error("the retry policy failed, and the entry is given up", exc_info=error)
            return None


def _now() -> float:
    return asyncio.get_running_loop().time()


def _end_of(raised: Exception) -> End:
    match raised:
        case ConnectionClosedError():
            return End.LOST
        case NotConnectedError() | StateError():
            return End.UNSENT
        case LocalProtocolError() | ValueError() | TypeError():
            return End.REFUSED
        case _:
            return End.FAILED


def public(entry: StoredEntry) -> Entry:
    """Return an entry as users see it."""
    try:
        args = tuple(decode_arguments(entry.body, entry.id))
    except Exception as error:  # noqa: BLE001 - a newer version has kept values that this one does not know
        args = (f"cannot be read: {redact_error(error)}",)
    return Entry(
        id=entry.id,
        method=entry.method,
        args=args,
        key=entry.key,
        put_at=moment(entry.put_at),
        attempts=entry.attempts,
        error=entry.error,
        dead=entry.dead,
        position=entry.position,
    )


async def call_handlers(handlers: tuple[Callable[..., object], ...], whose: str, *args: object) -> None:
    """Call users' handlers, sync or async. An exception of a handler is logged, and the others run."""
    for handler in handlers:
        try:
            answer = handler(*args)
            if inspect.isawaitable(answer):
                await _awaited(answer)
        except BaseException as raised:  # noqa: BLE001 - users' code may raise anything
            _log.error("%s failed", whose, exc_info=error_of(raised, whose))


async def _awaited(answer: Awaitable[object]) -> None:
    await answer
