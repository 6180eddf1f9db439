"""Doubles for the seams: an HTTP client with a script, a clock that is set by hand, an event loop without waiting."""

from __future__ import annotations

import asyncio
import inspect
import selectors
from collections import deque
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

from signalr_sdk.interfaces import HttpRequest, HttpResponse

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Coroutine, Iterable


class _LeapingSelector(selectors.DefaultSelector):
    """Does not wait for a timeout: moves the clock there."""

    now = 0.0

    def select(self, timeout: float | None = None) -> Any:
        ready = super().select(0 if timeout is not None else None)
        if not ready and timeout is not None:
            self.now += max(timeout, 0)
        return ready


class LeapingLoop(asyncio.SelectorEventLoop):
    """An event loop without waiting: when nothing is left to do, its clock leaps to the next timer.

    For code without real I/O: hours pass in milliseconds, and every moment is exact on the slowest machine.
    """

    def __init__(self) -> None:
        self._leaping = _LeapingSelector()
        super().__init__(self._leaping)

    def time(self) -> float:
        return self._leaping.now


def without_waiting(test: Callable[..., Coroutine[Any, Any, None]]) -> Callable[..., None]:
    """Run an async test on a `LeapingLoop`; no task and no timer may be left at its end."""

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
    """Return the timers that are still to fire."""
    scheduled: list[asyncio.TimerHandle] = getattr(loop, "_scheduled", [])
    return [timer for timer in scheduled if not timer.cancelled()]


class ManualClock:
    """A clock that stands still until it is told otherwise."""

    def __init__(self, now: float = 0.0) -> None:
        self.now = now

    def __call__(self) -> float:
        return self.now

    def advance(self, seconds: float) -> float:
        """Let time pass; return the new time."""
        self.now += seconds
        return self.now


class ScriptedStream:
    """An `HttpStream` with these chunks, then its end: an error, or in good order."""

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
    """An `HttpClient` that answers from a list, in this order, and records what it was asked.

    Attributes:
        requests: what was asked.
        answers: what is left of the list.
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
