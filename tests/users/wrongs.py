"""The wrong things that code of the user's can do, chosen by a seed and noted for the schedule of a failure."""

from __future__ import annotations

import asyncio
import inspect
import itertools
import random
import threading
from collections import Counter
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from signalr_sdk import ConnectionClosedError, HubError, RemoteProtocolError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable


class NastyError(Exception):
    """An exception without a text: asking for the text raises too."""

    def __str__(self) -> str:
        raise RuntimeError("no text")

    __repr__ = __str__


def _cancelled_future() -> asyncio.Future[None]:
    future = asyncio.get_running_loop().create_future()
    future.cancel()
    return future


class Outcome(BaseException):
    """What `pytest.fail` raises is such a one."""


EXCEPTIONS: list[Callable[[], BaseException]] = [
    lambda: ValueError("wrong"),
    lambda: OSError(5, "wrong"),
    NastyError,
    lambda: ValueError("a lone surrogate \ud800 \x1b[31m"),
    asyncio.CancelledError,
    lambda: Outcome("failed"),
    GeneratorExit,
    StopAsyncIteration,
    StopIteration,
    TimeoutError,
    RecursionError,
    lambda: ConnectionClosedError("one of ours"),
    lambda: RemoteProtocolError("one of ours"),
    lambda: HubError("one of ours", "Method"),
]
# These end the program on the main thread. On another thread they are errors like any other.
ENDINGS: list[Callable[[], BaseException]] = [lambda: SystemExit(3), KeyboardInterrupt]
NONSENSE: list[Callable[[], Any]] = [
    lambda: None,
    lambda: 3,
    lambda: -1.5,
    lambda: float("nan"),
    lambda: "text",
    lambda: "\ud800",
    lambda: b"\xff\x00",
    list,
    object,
    _cancelled_future,
]
FINE: Any = object()


def close_unawaited(work: Awaitable[Any]) -> None:
    """Close a coroutine, whose task may have been cancelled before its first step."""
    if inspect.iscoroutine(work):
        work.close()


class Chance:
    """Decides what each seam does at each moment.

    Args:
        seed: of the round.
        seams: the names of those that may go wrong at all.

    Attributes:
        schedule: what was done, with the time.
        counts: how often each wrong thing was done.
        rate: how often something goes wrong, from 0 to 1.
        callbacks: what code that calls back may call; set by the world.
        pace: how fast time goes, 1 on a clock that leaps.
        numbers: the numbers of the connections.
        stubborn: the seams that hang at this moment and swallow their cancellation.
    """

    pace = 1.0

    def __init__(self, seed: int, seams: tuple[str, ...]) -> None:
        self.random = random.Random(seed)
        self.schedule: list[str] = []
        self.counts: Counter[str] = Counter()
        self.rate = self.random.choice([0.05, 0.2, 0.4, 0.6, 0.9])
        self.seams = set(self.random.sample(seams, self.random.randint(1, 6)))
        self.kinds = self.random.sample(
            ["raise", "raise", "raise", "hang", "stubborn", "slow", "nonsense", "call"], self.random.randint(1, 8)
        )
        self._released = asyncio.Event()
        self.callbacks: list[Callable[[], Awaitable[Any] | None]] = []
        self.background: set[asyncio.Task[Any]] = set()
        self.numbers = itertools.count()
        self.stubborn: Counter[str] = Counter()
        self._ends = threading.current_thread() is not threading.main_thread()

    @property
    def released(self) -> asyncio.Event:
        """Set when all that hangs is to end."""
        return self._released

    def note(self, text: str) -> None:
        """Add a line to the schedule."""
        self.schedule.append(f"{self.now():9.3f}  {text}")

    def now(self) -> float:
        """Return the time of the schedule."""
        return asyncio.get_running_loop().time()

    def quiet(self) -> None:
        """Let nothing go wrong from now on; what hangs goes on to hang."""
        self.rate = 0.0
        self.note("nothing goes wrong from here on")

    def release(self) -> None:
        """End all that hangs."""
        self.released.set()

    async def meddle(self, seam: str) -> Any:
        """Do something wrong, or return `FINE`. Other values are nonsense that the caller is to return."""
        wrong = self._choose(seam)
        match wrong:
            case "hang":
                await self.released.wait()
            case "stubborn":
                self.stubborn[seam] += 1
                try:
                    await self._swallow()
                finally:
                    self.stubborn[seam] -= 1
            case "slow":
                await asyncio.sleep(self.random.choice([0.0, 0.01, 1.0, 10.0]) * self.pace)
            case "call":
                called = self.random.choice(self.callbacks)()
                if called is not None:
                    # A handler that waits for the end of its connection would wait for itself.
                    async with asyncio.timeout(30):
                        await called
            case _:
                return self._at_once(wrong)
        return FINE

    def meddle_now(self, seam: str, *, ends: bool = True) -> Any:
        """As `meddle`, for code that does not await."""
        wrong = self._choose(seam)
        if wrong == "call":
            called = self.random.choice(self.callbacks)()
            if called is not None:
                self.leave(called)
            return FINE
        return self._at_once(wrong, ends=ends)

    def leave(self, called: Awaitable[Any]) -> None:
        """Let something run in a task that nobody waits for."""
        task = asyncio.ensure_future(self._quietly(called))
        self.background.add(task)
        task.add_done_callback(lambda _task: close_unawaited(called))
        task.add_done_callback(self._forget)

    @staticmethod
    async def _quietly(called: Awaitable[Any]) -> None:
        with suppress(BaseException):
            await called

    def _forget(self, task: asyncio.Task[Any]) -> None:
        self.background.discard(task)
        if not task.cancelled():
            task.exception()

    def _choose(self, seam: str) -> str:
        if seam not in self.seams or self.random.random() >= self.rate:
            return "fine"
        wrong = self.random.choice(self.kinds)
        self.counts[f"{seam} {wrong}"] += 1
        self.note(f"{seam}: {wrong}")
        return wrong

    def _at_once(self, wrong: str, *, ends: bool = True) -> Any:
        if wrong == "raise":
            error = self.random.choice(EXCEPTIONS + ENDINGS * (self._ends and ends))()
            self.note(f"  {type(error).__name__}")
            raise error
        if wrong == "nonsense":
            value = self.random.choice(NONSENSE)()
            self.note(f"  {value!r}")
            return value
        return FINE

    async def _swallow(self) -> None:
        while not self.released.is_set():
            try:
                await self.released.wait()
            except asyncio.CancelledError:
                self.note("  swallowed a cancellation")
