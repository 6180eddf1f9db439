"""A client that uses everything that a hub has, all the time, and checks the results."""

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
    StateError,
    Timeouts,
    is_transient,
)

from .invariants import PATIENCE, POLL, BrokenError, Invariants, now, until
from .set_ups import HurriedPolicy, SetUps

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    from tests.interop.conftest import Combination

    from .faulty_servers import FaultyServer

T = TypeVar("T")

# Shorter than many faults, so that each timeout strikes sometimes.
TIMEOUTS = Timeouts(connect=3, request=3, handshake=3, keep_alive=1, server=3, close=2, ready=5, setup=3)
_LONGEST_DELAY = 0.3
PAUSES = (0.005, 0.05)
# Event loops may call timers earlier, by the resolution of their clock.
_EARLY = 1e-6


class Client:
    """A `HubConnection` to a faulty server.

    Args:
        server: the server.
        combination: transport and hub protocol.
        stateful: whether to use stateful reconnect.
        seed: seed of the traffic. How the traffic and the faults meet depends on the speed of the machine.
        pauses: the shortest and the longest pause between two calls of a kind, in seconds.
        patience: seconds after which something is taken as never to happen.
        connection: makes the connection.
        set_up: the most seconds that the client takes to set up a connection; `None` for no set-up.
        hurried: whether the policy waits for ever, and `reconnect()` ends each wait.

    Attributes:
        hub: the connection.
        invariants: what must hold for the connection.
    """

    def __init__(
        self,
        server: FaultyServer,
        combination: Combination,
        *,
        stateful: bool,
        seed: int,
        pauses: tuple[float, float] = PAUSES,
        patience: float = PATIENCE,
        connection: Callable[..., Any] = HubConnection,
        set_up: float | None = None,
        hurried: bool = False,
    ) -> None:
        self._chance = random.Random(seed)
        self._pauses = pauses
        usual = Retry(wait=lambda _state: self._chance.uniform(0.0, _LONGEST_DELAY))
        policy = HurriedPolicy(self._chance) if hurried else usual
        self.hub: HubConnection = connection(
            server.url,
            **combination.options,
            access_token=server.tokens,
            reconnect=policy,
            retry_start=policy,
            stateful_reconnect=stateful,
            timeouts=TIMEOUTS,
            http=server.http,
        )
        self.invariants = Invariants(lambda: server.may_end, patience, server.reasons)
        self._server = server
        if isinstance(policy, HurriedPolicy):
            policy.hub = self.hub
        self._set_ups = None if set_up is None else SetUps(self.hub, self.invariants, self._chance, set_up)
        self.invariants.received.set_ups = self._set_ups
        self._names = map(str, itertools.count())
        self._pending: dict[object, str] = {}
        self._over = False
        self.invariants.changes.observe(self.hub)
        self.hub.on_connected(self.invariants.received.connected)
        self.hub.on("tick", self.invariants.received.tick)
        self.hub.on("Ask", lambda question: f"{question}!")
        self.hub.on_any(self.invariants.received.flood)
        self.hub.on_error(lambda error: self.invariants.fail(f"on_error was given {error!r}"))

    # Starting and stopping

    async def live(self) -> None:
        """Start the connection, and start it again whenever a fault or `stop` has ended it."""
        while True:
            try:
                await self.hub.start()
            except ConnectionFailedError as error:
                if is_transient(RetryContext(0, 0.0, error, was_connected=False)):
                    self.invariants.fail(f"start() gave up for {error!r}")
                self.invariants.counts["refused starts"] += 1
            except ConnectionClosedError:
                # `stop` has ended the start, and is still running.
                await until(
                    lambda: self.hub.state is not ConnectionState.DISCONNECTING,
                    lambda: "stop() does not come to its end",
                    self.invariants.patience,
                )
            else:
                # `invariants` has checked already why the connection has ended.
                with suppress(SignalRError):
                    await self.hub.wait_closed()
            if self.hub.state is not ConnectionState.DISCONNECTED:
                self.invariants.fail(f"it has ended, and is {self.hub.state}")
            await asyncio.sleep(POLL)

    async def stop(self) -> None:
        """Stop the connection in any state, and check that it has left nothing but `on_closed` handlers."""
        async with asyncio.timeout(self.invariants.patience):
            self.invariants.received.discard()
            await self.hub.stop()
        left = [repr(each) for each in (*filter(_is_our_task, asyncio.all_tasks()), *filter(_is_our_timer, timers()))]
        if left and self.hub.state is ConnectionState.DISCONNECTED:
            self.invariants.fail(f"after stop() there are still {left}")

    async def reconnect(self, callers: int, cancel_after: float | None) -> None:
        """Give the connection up, by several callers at once, one of which may be cancelled."""
        tasks = [asyncio.create_task(self._reconnect(), name="reconnect") for _ in range(callers)]
        if cancel_after is not None:
            await asyncio.sleep(cancel_after)
            tasks[0].cancel()
        await asyncio.wait(tasks)

    async def _reconnect(self) -> None:
        before, name = self.hub.connection_id, f"reconnect {next(self._names)}"

        async def reconnect() -> bool:
            # While the connection starts, what the server refuses is taken for a mistake in the arguments.
            was_connected = self.hub.state is not ConnectionState.CONNECTING
            try:
                await self.hub.reconnect()
            except StateError:
                return False
            except ConnectionFailedError as error:
                if is_transient(RetryContext(0, 0.0, error, was_connected=was_connected)):
                    raise
                return False
            if before is not None and self.hub.connection_id == before:
                self.invariants.fail(f"{name} has returned, and the old connection is still up")
            return True

        if await self._call(name, reconnect):
            self.invariants.counts["reconnects"] += 1

    async def works(self) -> None:
        """Return when a new call has its result, all earlier calls have ended, and no message is missing.

        Raises:
            BrokenError: this does not happen in time, or an invariant is broken.
        """
        deadline, missing, before = now() + self.invariants.patience, ["a call that works"], [*self._pending]
        while await self._echo() is None or (missing := await self._missing(before)):
            if now() > deadline:
                raise BrokenError(
                    f"after {self.invariants.patience:g} s the client is {self.hub.state}, without {missing}"
                )
            await asyncio.sleep(POLL)
        self._server.may_end = False

    async def _missing(self, calls: list[object]) -> list[str]:
        """Return what is still missing: ends of calls, events of calls, and messages that were sent."""
        invariants, claims = self.invariants, self.invariants.sent.claims()
        records = await self._server.new_records()
        invariants.sent.add_records(records)
        if self._set_ups is not None:
            self._set_ups.check_order(records)
        invariants.sent.check_whole(claims, self._server.generation)
        invariants.check()
        pending = [f"the end of '{self._pending[call]}'" for call in calls if call in self._pending]
        return [*pending, *invariants.received.missing, *invariants.sent.missing(self.hub.connection_id)]

    # Calls

    async def _call(
        self, name: str, call: Callable[[], Awaitable[T]], *, may: type[Exception] | None = None
    ) -> T | Exception | None:
        """Make a call; return its result, its exception if that is a `may`, or `None` if the connection was lost."""
        self.invariants.counts["calls"] += 1
        pending = object()
        self._pending[pending] = name
        try:
            return await self._judged(name, call, may)
        finally:
            del self._pending[pending]

    async def _judged(
        self, name: str, call: Callable[[], Awaitable[T]], may: type[Exception] | None
    ) -> T | Exception | None:
        before, ends, began = self.hub.connection_id, self.invariants.changes.ends, now()
        scope = asyncio.timeout(self.invariants.patience)
        try:
            async with scope:
                return await call()
        except NotConnectedError as error:
            self._check_not_connected(name, error, ends, began)
        except ConnectionClosedError as error:
            await self._check_lost(name, error, before)
        except Exception as error:  # noqa: BLE001 - any exception that is not documented for calls is a broken invariant
            if scope.expired():
                self.invariants.fail(f"{name} did not end within {self.invariants.patience:g} s")
            elif may is not None and type(error) is may:
                return error
            else:
                self.invariants.fail(f"{name} ended with {error!r}")
        self.invariants.counts["lost calls"] += 1
        return None

    def _check_not_connected(self, name: str, error: NotConnectedError, ends: int, began: float) -> None:
        assert TIMEOUTS.ready is not None
        down = error.state in (ConnectionState.DISCONNECTED, ConnectionState.DISCONNECTING)
        if not down and ends == self.invariants.changes.ends and now() - began < TIMEOUTS.ready - _EARLY:
            self.invariants.fail(f"{name} did not wait for the connection: {error}")

    async def _check_lost(self, name: str, error: Exception, before: str | None) -> None:
        """Fail if the connection was not lost. The call may get its error before the connection has its new state."""
        await until(
            lambda: before is None or self.hub.connection_id != before,
            lambda: f"{name} ended with {error!r}, but the connection goes on",
            self.invariants.patience,
        )

    def _right(self, name: str, result: object, wanted: object) -> None:
        if result is not None and result != wanted:
            self.invariants.fail(f"{name} returned {result!r}, not {wanted!r}")

    # Traffic

    def be_quiet(self) -> None:
        """Make no more calls; `traffic` returns when the running calls have ended."""
        self._over = True

    async def traffic(self) -> None:
        """Make calls of all kinds, until `be_quiet`."""
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
            await asyncio.sleep(self._chance.uniform(*self._pauses))

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
                self.invariants.sent.refused(text)
                raise
            return True

        if await self._call(text, send):
            self.invariants.sent.accepted(text, before if before == self.hub.connection_id else None)

    async def _flood(self) -> None:
        name, count = f"flood {next(self._names)}", self._chance.randrange(40)

        async def flood() -> bool:
            # After a `stop` during the call, events may be missing.
            ends = self.invariants.changes.ends
            await self.hub.invoke("Flood", name, count, self._chance.randrange(100))
            if count and ends == self.invariants.changes.ends and self.hub.state is ConnectionState.CONNECTED:
                self.invariants.received.flooded(name, count)
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
                    self.invariants.counts["items down"] += 1
            return got

        self._right(name, await self._call(name, read), list(range(count)))

    async def _upload(self) -> None:
        name, count = f"upload {next(self._names)}", self._chance.randrange(30)
        words = [f"{name}:{number}" for number in range(count)]
        generation = self._server.generation

        async def upload() -> bool:
            await self.hub.invoke("RecordAll", self._items(words))
            self.invariants.sent.uploaded(name, count, generation)
            return True

        await self._call(name, upload)

    async def _items(self, values: list[T]) -> AsyncIterator[T]:
        for value in values:
            if self._chance.random() < 0.3:
                await asyncio.sleep(self._chance.uniform(0.0, 0.02))
            self.invariants.counts["items up"] += 1
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
                self.invariants.counts["items down"] += 1
            return got

        self._right(name, await self._call(name, read), [word.upper() for word in words])

    async def _ask(self) -> None:
        text = f"why {next(self._names)}"
        self._right(text, await self._call(text, lambda: self.hub.invoke("AskCaller", "Ask", text)), f"{text}!")

    async def _fail(self) -> None:
        text = f"boom {next(self._names)}"
        outcome = await self._call(text, lambda: self.hub.invoke("ThrowHubException", text), may=HubError)
        if outcome is not None and not (isinstance(outcome, HubError) and text in str(outcome)):
            self.invariants.fail(f"{text} ended with {outcome!r}")

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
    """Return the timers of the event loop; an empty list for a loop that does not show them."""
    return [timer for timer in getattr(asyncio.get_running_loop(), "_scheduled", ()) if not timer.cancelled()]


def _is_clients(module: str) -> bool:
    # The test server may run on the same event loop.
    return module.startswith("signalr_sdk") and not module.startswith("signalr_sdk.testing")


def _is_our_timer(timer: asyncio.TimerHandle) -> bool:
    return _is_clients(str(getattr(timer._callback, "__module__", "")))  # type: ignore[attr-defined]


def _is_our_task(task: asyncio.Task[Any]) -> bool:
    name, frame = task.get_name(), getattr(task.get_coro(), "cr_frame", None)
    if task.done() or not name.startswith("signalr_sdk") or name == "signalr_sdk on_closed":
        return False
    return frame is None or _is_clients(frame.f_globals["__name__"])
