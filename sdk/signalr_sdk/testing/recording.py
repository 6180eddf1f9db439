"""What a test server has seen: `HubServer.recorded`."""

from __future__ import annotations

import threading
from collections import deque
from concurrent.futures import Future
from typing import TYPE_CHECKING, Any, Generic, TypeVar

import attrs

from .hubs import matching
from .loop_thread import Pending

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from ..messages import Invocation, StreamInvocation
    from .hubs import HubContext

T = TypeVar("T")

# So much is kept; the oldest goes first.
_RECORDS = 10_000
_BYTES = 16 * 1024 * 1024
# Headers and query members whose values nobody needs in a test's output.
_SECRET = frozenset({"access_token", "authorization", "cookie", "proxy-authorization"})
_HIDDEN = "(hidden)"


@attrs.frozen
class RecordedCall:
    """A call of a client.

    Attributes:
        method: its name as the client wrote it.
        arguments: those that are not streamed, as they were decoded.
        connection_id: whose call it is.
        user: whose connection that is.
        streams: how many streams the client feeds it with.
    """

    method: str
    arguments: tuple[Any, ...]
    connection_id: str
    user: str | None
    streams: int = 0


@attrs.frozen
class RecordedConnect:
    """A client that has shaken hands.

    Attributes:
        path: of the hub.
        connection_id: its id.
        user: what `authorize` said.
        transport: name of its transport.
    """

    path: str
    connection_id: str
    user: str | None
    transport: str


@attrs.frozen
class RecordedDisconnect:
    """A client that has gone.

    Attributes:
        path: of the hub.
        connection_id: its id.
        error: why, as `Hub.on_disconnected` is told; `None` if it was in good order.
    """

    path: str
    connection_id: str
    error: Exception | None


@attrs.frozen
class RecordedNegotiation:
    """A negotiate request that was let in.

    Attributes:
        path: of the hub.
        headers: names in lower case; values that are secret are hidden.
        query: the same of the query.
        user: what `authorize` said.
    """

    path: str
    headers: Mapping[str, str]
    query: Mapping[str, str]
    user: str | None


@attrs.define(eq=False)
class _Waiter(Generic[T]):
    """Somebody who waits for the n-th record that fits.

    Attributes:
        fits: what fits.
        left: how many more.
        future: gets the record.
    """

    fits: Callable[[T], bool]
    left: int
    future: Future[T] = attrs.field(factory=Future)

    def wants(self, record: T) -> bool:
        """Give it a record; return whether it waits on."""
        if self.future.cancelled():
            return False
        if self.fits(record):
            self.left -= 1
            if not self.left and self.future.set_running_or_notify_cancel():
                self.future.set_result(record)
        return self.left > 0


class _Log(Generic[T]):
    """Records of one kind, and who waits for one."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._records: deque[tuple[T, int]] = deque()
        self._bytes = 0
        self._waiters: list[_Waiter[T]] = []

    def add(self, record: T, size: int = 0) -> None:
        with self._lock:
            self._records.append((record, size))
            self._bytes += size
            while len(self._records) > _RECORDS or (self._bytes > _BYTES and len(self._records) > 1):
                self._bytes -= self._records.popleft()[1]
            if self._waiters:
                self._waiters = [waiter for waiter in self._waiters if waiter.wants(record)]

    def all(self) -> list[T]:
        with self._lock:
            return [record for record, _size in self._records]

    def clear(self) -> None:
        with self._lock:
            self._records.clear()
            self._bytes = 0

    def wait(self, fits: Callable[[T], bool], times: int) -> Future[T]:
        waiter = _Waiter(fits, times)
        with self._lock:
            if all(waiter.wants(record) for record, _size in self._records):
                self._waiters.append(waiter)
        return waiter.future


class Recorded:
    """What clients did, oldest first; may be read from any thread.

    The last 10 000 of each kind are kept, and of calls no more than 16 MiB.
    """

    def __init__(self) -> None:
        self._calls: _Log[RecordedCall] = _Log()
        self._connects: _Log[RecordedConnect] = _Log()
        self._disconnects: _Log[RecordedDisconnect] = _Log()
        self._negotiations: _Log[RecordedNegotiation] = _Log()

    @property
    def calls(self) -> list[RecordedCall]:
        """What clients called: also methods that the hub does not have."""
        return self._calls.all()

    @property
    def connects(self) -> list[RecordedConnect]:
        """Clients that have shaken hands."""
        return self._connects.all()

    @property
    def disconnects(self) -> list[RecordedDisconnect]:
        """Clients that had shaken hands and have gone."""
        return self._disconnects.all()

    @property
    def negotiations(self) -> list[RecordedNegotiation]:
        """Negotiate requests that were answered, without the values of what is secret."""
        return self._negotiations.all()

    def calls_of(self, method: str) -> list[RecordedCall]:
        """Return the calls of one method, whatever the case in which clients write it."""
        return [call for call in self.calls if matching(call.method) == matching(method)]

    def clear(self) -> None:
        """Forget all."""
        for log in (self._calls, self._connects, self._disconnects, self._negotiations):
            log.clear()

    # Waiting

    def wait_called(self, method: str, *, times: int = 1, timeout: float | None = 5.0) -> Pending[RecordedCall]:
        """See `HubServer.wait_called`."""

        def missing() -> str:
            seen = ", ".join(sorted({call.method for call in self.calls})) or "nothing"
            count = len(self.calls_of(method))
            return f"'{method}' was called {count} and not {times} times in {timeout} s; called were: {seen}"

        return Pending(
            lambda: self._calls.wait(lambda call: matching(call.method) == matching(method), times), timeout, missing
        )

    def wait_connected(self, *, times: int = 1, timeout: float | None = 5.0) -> Pending[RecordedConnect]:
        """See `HubServer.wait_connected`."""
        return Pending(
            lambda: self._connects.wait(lambda _: True, times),
            timeout,
            lambda: f"{len(self.connects)} and not {times} clients have connected in {timeout} s",
        )

    def wait_disconnected(self, *, times: int = 1, timeout: float | None = 5.0) -> Pending[RecordedDisconnect]:
        """See `HubServer.wait_disconnected`."""
        return Pending(
            lambda: self._disconnects.wait(lambda _: True, times),
            timeout,
            lambda: f"{len(self.disconnects)} and not {times} clients have gone in {timeout} s",
        )

    # Recording

    def note_call(self, message: Invocation | StreamInvocation, context: HubContext) -> None:
        """Record a call."""
        arguments, streams = tuple(message.arguments), len(message.stream_ids or ())
        call = RecordedCall(message.target, arguments, context.connection_id, context.user, streams)
        self._calls.add(call, message.size)

    def note_connect(self, path: str, context: HubContext) -> None:
        """Record a client that has come."""
        self._connects.add(RecordedConnect(path, context.connection_id, context.user, context.transport))

    def note_disconnect(self, path: str, connection_id: str, error: Exception | None) -> None:
        """Record one that has gone."""
        self._disconnects.add(RecordedDisconnect(path, connection_id, error))

    def note_negotiation(
        self, path: str, headers: Mapping[str, str], query: Mapping[str, str], user: str | None
    ) -> None:
        """Record a negotiation."""
        shown = {name.lower(): _shown(name.lower(), value) for name, value in headers.items()}
        asked = {name: _shown(name, value) for name, value in query.items()}
        self._negotiations.add(RecordedNegotiation(path, shown, asked, user))


def _shown(name: str, value: str) -> str:
    return _HIDDEN if name in _SECRET else value
