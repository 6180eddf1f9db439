"""Doubles: an HTTP client with prepared answers, a clock that tests move, and an event loop that never waits."""

from __future__ import annotations

import asyncio
import inspect
import selectors
from collections import deque
from contextlib import asynccontextmanager
from functools import cache
from typing import TYPE_CHECKING, Any

from signalr_sdk.interfaces import HttpRequest, HttpResponse

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Coroutine, Iterable


class _LeapingSelector(selectors.DefaultSelector):
    """Moves the clock forward in place of waiting for a timeout."""

    now = 0.0

    def select(self, timeout: float | None = None) -> Any:
        ready = super().select(0 if timeout is not None else None)
        if not ready and timeout is not None:
            self.now += max(timeout, 0)
        return ready


class LeapingLoop(asyncio.SelectorEventLoop):
    """An event loop that never waits: when no task is ready, its clock leaps to the next timer.

    For code without I/O. Hours pass in milliseconds, and times are exact on the slowest machine.
    """

    def __init__(self) -> None:
        self._leaping = _LeapingSelector()
        super().__init__(self._leaping)

    def time(self) -> float:
        return self._leaping.now


def without_waiting(test: Callable[..., Coroutine[Any, Any, None]]) -> Callable[..., None]:
    """Run an async test on a `LeapingLoop`; fail if a task or a timer is left at its end."""

    def run(**fixtures: Any) -> None:
        async def whole() -> None:
            await test(**fixtures)
            for _ in range(20):
                await asyncio.sleep(0)
            assert asyncio.all_tasks() == {asyncio.current_task()}
            assert timers(asyncio.get_running_loop()) == []

        with asyncio.Runner(loop_factory=LeapingLoop) as runner:
            runner.run(whole())

    run.__name__, run.__doc__ = test.__name__, test.__doc__
    run.__signature__ = inspect.signature(test)  # type: ignore[attr-defined]  # for pytest's fixtures
    return run


def timers(loop: asyncio.AbstractEventLoop) -> list[asyncio.TimerHandle]:
    """Return the timers that have not fired and were not cancelled."""
    scheduled: list[asyncio.TimerHandle] = getattr(loop, "_scheduled", [])
    return [timer for timer in scheduled if not timer.cancelled()]


@cache
def on_uvloop() -> bool:
    """Return whether asyncio makes event loops of uvloop."""
    loop = asyncio.new_event_loop()
    loop.close()
    return type(loop).__module__.startswith("uvloop")


class ManualClock:
    """A clock that moves only when the test advances it."""

    def __init__(self, now: float = 0.0) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now

    def advance(self, seconds: float) -> float:
        """Move the clock forward; return the new time."""
        self.now += seconds
        return self.now


class ScriptedStream:
    """An `HttpStream` with these chunks, and an error or a proper end after them."""

    def __init__(self, response: HttpResponse, chunks: Iterable[bytes] = (), error: OSError | None = None) -> None:
        self.response = response
        self.closed = False
        self._chunks = deque(chunks)
        self._error = error

    async def read(self) -> bytes:
        """See `HttpStream`."""
        if self._chunks:
            return self._chunks.popleft()
        if self._error is not None:
            raise self._error
        return b""


class ScriptedHttp:
    """An `HttpClient` that gives prepared answers, one after another, and records the requests.

    Attributes:
        requests: the requests so far.
        answers: the answers to the next requests.
    """

    def __init__(self, *answers: HttpResponse | ScriptedStream | Exception) -> None:
        self.answers = deque(answers)
        self.requests: list[HttpRequest] = []

    async def request(self, request: HttpRequest, /) -> HttpResponse:
        """See `HttpClient`."""
        answer = self._next(request)
        assert isinstance(answer, HttpResponse)
        return answer

    @asynccontextmanager
    async def stream(self, request: HttpRequest, /) -> AsyncIterator[ScriptedStream]:
        """See `HttpClient`."""
        answer = self._next(request)
        stream = ScriptedStream(answer, [answer.body]) if isinstance(answer, HttpResponse) else answer
        try:
            yield stream
        finally:
            stream.closed = True

    def _next(self, request: HttpRequest) -> HttpResponse | ScriptedStream:
        self.requests.append(request)
        assert self.answers, f"nobody expected {request.method} {request.url}"
        answer = self.answers.popleft()
        if isinstance(answer, Exception):
            raise answer
        return answer
