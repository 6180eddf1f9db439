"""Doubles for the seams: a transport without a network, an HTTP client with a script, a clock that is set by hand."""

from __future__ import annotations

import asyncio
from collections import deque
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Self

from signalr_sdk.errors import ConnectionClosedError
from signalr_sdk.interfaces import HttpRequest, HttpResponse
from signalr_sdk.options import Transport

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable


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


class MemoryTransport:
    """One end of a transport in memory: an `ActiveTransport`. What one end sends, its `peer` receives.

    Attributes:
        sent: each write of this end.
        closed: `close` was called.
        writable: cleared, it holds `send` back, as a peer does that does not read.
    """

    def __init__(self, kind: Transport = Transport.WEBSOCKETS) -> None:
        self.kind = kind
        self.inherent_keep_alive = kind is Transport.LONG_POLLING
        self.peer: MemoryTransport = self
        self.sent: list[bytes] = []
        self.closed = False
        self.writable = asyncio.Event()
        self.writable.set()
        self._arrived: asyncio.Queue[bytes | Exception | None] = asyncio.Queue()
        self._last: Exception | None = None
        self._ended = False

    @classmethod
    def pair(cls, kind: Transport = Transport.WEBSOCKETS) -> tuple[Self, Self]:
        """Return both ends."""
        one, other = cls(kind), cls(kind)
        one.peer, other.peer = other, one
        return one, other

    def feed(self, data: bytes) -> None:
        """Let this end receive something."""
        self._arrived.put_nowait(data)

    def end(self, error: Exception | None = None) -> None:
        """Let the connection end for this end, with an error or in good order."""
        self._arrived.put_nowait(error)

    async def receive(self) -> bytes | None:
        """See `ActiveTransport`."""
        if not self._ended:
            data = await self._arrived.get()
            if isinstance(data, bytes):
                return data
            self._ended, self._last = True, data
        if self._last is not None:
            raise self._last
        return None

    async def send(self, data: bytes, /) -> None:
        """See `ActiveTransport`."""
        await self.writable.wait()
        if self.closed or self._ended:
            raise ConnectionClosedError("the transport is closed")
        self.sent.append(data)
        self.peer.feed(data)

    async def flush(self) -> None:
        """See `ActiveTransport`."""
        await self.writable.wait()

    async def close(self) -> None:
        """See `ActiveTransport`."""
        if not self.closed:
            self.closed = True
            self.writable.set()
            self.end()
            self.peer.end()


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
