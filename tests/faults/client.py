"""A client that uses all that a hub has, all the time, and compares what it gets with what it was promised."""

from __future__ import annotations

import asyncio
import itertools
import random
from contextlib import suppress
from typing import TYPE_CHECKING, Any, TypeVar

from signalr_sdk import (
    ConnectionClosedError,
    ConnectionFailedError,
    ConnectionState,
    HubConnection,
    HubError,
    InvocationTimeoutError,
    NotConnectedError,
    Retry,
    RetryContext,
    SignalRError,
    Timeouts,
    is_transient,
)

from .ledger import PATIENCE, POLL, BrokenError, Ledger, now, until

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    from tests.interop.conftest import Combination

    from .worlds import World

T = TypeVar("T")

# So short that the faults are longer than most of them: each has its turn.
TIMEOUTS = Timeouts(connect=3, request=3, handshake=3, keep_alive=1, server=3, close=2, ready=5)
_LONGEST_DELAY = 0.3


class Client:
    """A `HubConnection` in a world.

    Args:
        world: where it lives.
        combination: how it travels.
        stateful: with stateful reconnect.
        seed: of its traffic. How that meets the faults is up to the machine.

    Attributes:
        hub: the connection.
        ledger: what it was promised.
    """

    def __init__(self, world: World, combination: Combination, *, stateful: bool, seed: int) -> None:
        self._chance = random.Random(seed)
        policy = Retry(wait=lambda _state: self._chance.uniform(0.0, _LONGEST_DELAY))
        self.hub = HubConnection(
            world.url,
            **combination.options,
            access_token=world.tokens,
            reconnect=policy,
            retry_start=policy,
            stateful_reconnect=stateful,
            timeouts=TIMEOUTS,
        )
        self.ledger = Ledger(lambda: world.may_end)
        self._world = world
        self._names = map(str, itertools.count())
        self._pending: dict[object, str] = {}
        self._over = False
        self.ledger.lives.observe(self.hub)
        self.hub.on_connected(self.ledger.arrivals.connected)
        self.hub.on("tick", self.ledger.arrivals.tick)
        self.hub.on("Ask", lambda question: f"{question}!")
        self.hub.on_any(self.ledger.arrivals.flood)
        self.hub.on_error(lambda error: self.ledger.fail(f"on_error was given {error!r}"))

    # Its life

    async def live(self) -> None:
        """Be started, and started again whenever it has ended, which a fault or `stop` may do."""
        while True:
            try:
                await self.hub.start()
            except ConnectionFailedError as error:
                if is_transient(RetryContext(0, 0.0, error, was_connected=False)):
                    self.ledger.fail(f"start() gave up for {error!r}")
                self.ledger.counts["refused starts"] += 1
            except ConnectionClosedError:
                # By `stop`, which has more to do.
                await until(
                    lambda: self.hub.state is not ConnectionState.DISCONNECTING,
                    lambda: "stop() does not come to its end",
                )
            else:
                # What ended it is no news.
                with suppress(ConnectionClosedError):
                    await self.hub.wait_closed()
            if self.hub.state is not ConnectionState.DISCONNECTED:
                self.ledger.fail(f"it has ended, and is {self.hub.state}")
            await asyncio.sleep(POLL)

    async def stop(self) -> None:
        """Stop the connection, whatever it is doing. Nothing of it is left but `on_closed` handlers."""
        async with asyncio.timeout(PATIENCE):
            self.ledger.arrivals.discard()
            await self.hub.stop()
        left = [repr(each) for each in (*filter(_is_ours, asyncio.all_tasks()), *filter(_is_of_a_link, timers()))]
        if left and self.hub.state is ConnectionState.DISCONNECTED:
            self.ledger.fail(f"after stop() there are still {left}")

    async def works(self) -> None:
        """Return when a call that is made from now on has its result, those made before have ended, and all has come.

        Raises:
            BrokenError: that does not happen, or an invariant is broken.
        """
        deadline, missing, before = now() + PATIENCE, ["a call that works"], [*self._pending]
        while await self._echo() is None or (missing := await self._missing(before)):
            if now() > deadline:
                raise BrokenError(f"after {PATIENCE:g} s the client is {self.hub.state}, without {missing}")
            await asyncio.sleep(POLL)
        self._world.may_end = False

    async def _missing(self, calls: list[object]) -> list[str]:
        """Return what is due and not there yet: ends of calls, events, and what was sent without a question."""
        books, claims = self.ledger, self.ledger.shipments.claims()
        books.shipments.take(await self._world.harvest())
        books.shipments.check_whole(claims, self._world.generation)
        books.check()
        pending = [f"the end of '{self._pending[call]}'" for call in calls if call in self._pending]
        return [*pending, *books.arrivals.missing, *books.shipments.missing(self.hub.connection_id)]

    # Calls

    async def _call(
        self, name: str, call: Callable[[], Awaitable[T]], *, may: type[Exception] | None = None
    ) -> T | Exception | None:
        """Make a call; return its result, the exception that it may end with, or `None` if the connection ended it."""
        self.ledger.counts["calls"] += 1
        pending = object()
        self._pending[pending] = name
        try:
            return await self._judged(name, call, may)
        finally:
            del self._pending[pending]

    async def _judged(
        self, name: str, call: Callable[[], Awaitable[T]], may: type[Exception] | None
    ) -> T | Exception | None:
        before, ends, began = self.hub.connection_id, self.ledger.lives.ends, now()
        scope = asyncio.timeout(PATIENCE)
        try:
            async with scope:
                return await call()
        except NotConnectedError as error:
            self._check_not_connected(name, error, ends, began)
        except ConnectionClosedError as error:
            await self._check_lost(name, error, before)
        except Exception as error:  # noqa: BLE001 - whatever it is, it must be one of those that are promised
            if scope.expired():
                self.ledger.fail(f"{name} did not end within {PATIENCE:g} s")
            elif may is not None and type(error) is may:
                return error
            else:
                self.ledger.fail(f"{name} ended with {error!r}")
        self.ledger.counts["lost calls"] += 1
        return None

    def _check_not_connected(self, name: str, error: Exception, ends: int, began: float) -> None:
        assert TIMEOUTS.ready is not None
        down = self.hub.state in (ConnectionState.DISCONNECTED, ConnectionState.DISCONNECTING)
        if not down and ends == self.ledger.lives.ends and now() - began < TIMEOUTS.ready:
            self.ledger.fail(f"{name} did not wait for the connection: {error}")

    async def _check_lost(self, name: str, error: Exception, before: str | None) -> None:
        """A call may hear of the loss first, but then the connection is lost."""
        await until(
            lambda: before is None or self.hub.connection_id != before,
            lambda: f"{name} ended with {error!r}, but the connection goes on",
        )

    def _right(self, name: str, result: object, wanted: object) -> None:
        if result is not None and result != wanted:
            self.ledger.fail(f"{name} returned {result!r}, not {wanted!r}")

    # Traffic

    def be_quiet(self) -> None:
        """Make no more calls: `traffic` returns when those that go on have ended."""
        self._over = True

    async def traffic(self) -> None:
        """Use the hub."""
        kinds = (
            self._echo, self._echo, self._send, self._flood, self._download, self._upload, self._sum, self._both_ways,
            self._ask, self._fail, self._time_out, self._cancel, self._leave_stream,
        )  # fmt: skip
        async with asyncio.TaskGroup() as group:
            for kind in kinds:
                group.create_task(self._repeat(kind), name=f"traffic {kind.__name__}")

    async def _repeat(self, kind: Callable[[], Awaitable[object]]) -> None:
        while not self._over:
            await kind()
            await asyncio.sleep(self._chance.uniform(0.005, 0.05))

    async def _echo(self) -> object:
        text = f"echo {next(self._names)}"
        result = await self._call(text, lambda: self.hub.invoke("Echo", text))
        self._right(text, result, text)
        return result

    async def _send(self) -> None:
        text = f"sent {next(self._names)}"
        before = self.hub.connection_id

        async def send() -> bool:
            try:
                await self.hub.send("Record", text)
            except SignalRError:
                self.ledger.shipments.refused(text)
                raise
            return True

        if await self._call(text, send):
            self.ledger.shipments.sent(text, before if before == self.hub.connection_id else None)

    async def _flood(self) -> None:
        name, count = f"flood {next(self._names)}", self._chance.randrange(40)

        async def flood() -> bool:
            # Where the connection was not stopped meanwhile.
            ends = self.ledger.lives.ends
            await self.hub.invoke("Flood", name, count, self._chance.randrange(100))
            if count and ends == self.ledger.lives.ends and self.hub.state is ConnectionState.CONNECTED:
                self.ledger.arrivals.flooded(name, count)
            return True

        await self._call(name, flood)

    async def _download(self) -> None:
        name, count = f"stream {next(self._names)}", self._chance.randrange(40)

        async def read() -> list[int]:
            got: list[int] = []
            async with self.hub.stream("Counter", count, self._chance.randrange(5)) as items:
                async for item in items:
                    self._right(name, item, len(got))
                    got.append(item)
                    self.ledger.counts["items down"] += 1
            return got

        self._right(name, await self._call(name, read), list(range(count)))

    async def _upload(self) -> None:
        name, count = f"upload {next(self._names)}", self._chance.randrange(30)
        words = [f"{name}:{number}" for number in range(count)]
        generation = self._world.generation

        async def upload() -> bool:
            await self.hub.invoke("RecordAll", self._items(words))
            self.ledger.shipments.uploaded(name, count, generation)
            return True

        await self._call(name, upload)

    async def _items(self, values: list[T]) -> AsyncIterator[T]:
        for value in values:
            if self._chance.random() < 0.3:
                await asyncio.sleep(self._chance.uniform(0.0, 0.02))
            self.ledger.counts["items up"] += 1
            yield value

    async def _sum(self) -> None:
        numbers = [self._chance.randrange(1000) for _ in range(self._chance.randrange(20))]
        result = await self._call("Sum", lambda: self.hub.invoke("Sum", self._items(numbers)))
        self._right("Sum", result, sum(numbers))

    async def _both_ways(self) -> None:
        name = f"both ways {next(self._names)}"
        words = [f"w{number}" for number in range(self._chance.randrange(20))]

        async def read() -> list[str]:
            got: list[str] = []
            async for word in self.hub.stream("Uppercase", self._items(words)):
                got.append(word)
                self._right(name, got, [each.upper() for each in words[: len(got)]])
                self.ledger.counts["items down"] += 1
            return got

        self._right(name, await self._call(name, read), [word.upper() for word in words])

    async def _ask(self) -> None:
        text = f"why {next(self._names)}"
        self._right(text, await self._call(text, lambda: self.hub.invoke("AskCaller", "Ask", text)), f"{text}!")

    async def _fail(self) -> None:
        text = f"boom {next(self._names)}"
        outcome = await self._call(text, lambda: self.hub.invoke("ThrowHubException", text), may=HubError)
        if outcome is not None and not (isinstance(outcome, HubError) and text in str(outcome)):
            self.ledger.fail(f"{text} ended with {outcome!r}")

    async def _time_out(self) -> None:
        timeout = self._chance.uniform(0.01, 0.2)
        outcome = await self._call(
            "Delay with a timeout", lambda: self.hub.invoke("Delay", 100, timeout=timeout), may=InvocationTimeoutError
        )
        if not isinstance(outcome, InvocationTimeoutError):
            self._right("Delay", outcome, 100)

    async def _cancel(self) -> None:
        async def cancelled() -> Any:
            scope = asyncio.timeout(self._chance.uniform(0.0, 0.15))
            try:
                async with scope:
                    return await self.hub.invoke("Delay", 100)
            except TimeoutError:
                if scope.expired():
                    return None
                raise

        self._right("Delay that is cancelled", await self._call("Delay that is cancelled", cancelled), 100)

    async def _leave_stream(self) -> None:
        name, leave = f"left stream {next(self._names)}", self._chance.randrange(10)

        async def read() -> None:
            async with self.hub.stream("Forever", 1) as items:
                for number in range(leave):
                    self._right(name, await items.next(), number)

        await self._call(name, read)


def timers() -> list[asyncio.TimerHandle]:
    """Return what the event loop has to do later, as far as it tells."""
    return [timer for timer in getattr(asyncio.get_running_loop(), "_scheduled", ()) if not timer.cancelled()]


def _is_of_a_link(timer: asyncio.TimerHandle) -> bool:
    return str(getattr(timer._callback, "__module__", "")).startswith("signalr_sdk")  # type: ignore[attr-defined]


def _is_ours(task: asyncio.Task[Any]) -> bool:
    name = task.get_name()
    return not task.done() and name.startswith("signalr_sdk") and name != "signalr_sdk on_closed"
