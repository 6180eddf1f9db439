"""`HubServer.recorded`: records what clients do, and lets tests wait for what clients will do."""

from __future__ import annotations

import threading
from collections import deque
from concurrent.futures import Future
from typing import TYPE_CHECKING, Any, Generic, TypeAlias, TypeVar

import attrs

from .hub_methods import normalized
from .pending import Pending

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from ..messages import Invocation, StreamInvocation
    from .hubs import HubContext

T = TypeVar("T")

# The limits for the records of one kind, for example of all calls: above this number of records, or of bytes, the
# oldest are dropped, so that a long test does not fill the memory.
_RECORDS = 10_000
_BYTES = 16 * 1024 * 1024
# The values of these headers and query parameters are secrets, and must not appear in the output of a test run.
_SECRET = frozenset(
    {"access_token", "authorization", "connectionToken", "cookie", "groupsToken", "proxy-authorization"}
)
_HIDDEN = "(hidden)"


@attrs.frozen
class RecordedCall:
    """A call of a hub method by a client.

    Attributes:
        method: name of the method as the client has sent it.
        arguments: the decoded arguments of the call, without streams.
        connection_id: id of the connection.
        user: user of the connection.
        streams: how many streams the client sends with the call.
    """

    method: str
    arguments: tuple[Any, ...]
    connection_id: str
    user: str | None
    streams: int = 0


@attrs.frozen
class RecordedConnect:
    """A client that has connected, with a successful handshake.

    Attributes:
        path: path of the hub.
        connection_id: id of the connection.
        user: user of the connection, from `authorize`.
        transport: name of the transport.
    """

    path: str
    connection_id: str
    user: str | None
    transport: str


@attrs.frozen
class RecordedDisconnect:
    """A client that has disconnected, after a successful handshake.

    Attributes:
        path: path of the hub.
        connection_id: id of the connection.
        error: the error that `Hub.on_disconnected` gets; `None` if the connection was closed properly.
    """

    path: str
    connection_id: str
    error: Exception | None


@attrs.frozen
class RecordedNegotiation:
    """A negotiate request that the server has answered with a new connection.

    Attributes:
        path: path of the hub.
        headers: headers of the request, with names in lower case; secret values are hidden.
        query: query of the request; secret values are hidden.
        user: user of the connection, from `authorize`.
    """

    path: str
    headers: Mapping[str, str]
    query: Mapping[str, str]
    user: str | None


@attrs.frozen
class RecordedRefusal:
    """A request that the server has refused, with a status of 400 or more.

    Attributes:
        method: method of the request, for example `POST`.
        path: path of the request, without the query.
        status: status of the answer.
        has_token: whether the request had a bearer token.
    """

    method: str
    path: str
    status: int
    has_token: bool


Record: TypeAlias = RecordedCall | RecordedConnect | RecordedDisconnect | RecordedRefusal


@attrs.define(eq=False)
class _Waiter(Generic[T]):
    """A test that waits until enough records fulfil a condition, for example calls of one method.

    Attributes:
        matches: the condition: returns whether a record fulfils it.
        left: how many records must still fulfil the condition.
        future: the test waits for this future, which gets the record with which `left` becomes 0.
    """

    matches: Callable[[T], bool]
    left: int
    future: Future[T] = attrs.field(factory=Future)

    def offer(self, record: T) -> bool:
        """Count a record if it fulfils the condition. Return whether the test must wait for more records."""
        if self.future.cancelled():
            return False
        if self.matches(record):
            self.left -= 1
            if not self.left and self.future.set_running_or_notify_cancel():
                self.future.set_result(record)
        return self.left > 0


class _RecordLog(Generic[T]):
    """The records of one kind, and the tests that wait for further records. Usable from any thread."""

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
                self._waiters = [waiter for waiter in self._waiters if waiter.offer(record)]

    def all(self) -> list[T]:
        with self._lock:
            return [record for record, _size in self._records]

    def clear(self) -> None:
        with self._lock:
            self._records.clear()
            self._bytes = 0

    def wait(self, times: int, matches: Callable[[T], bool] = lambda _: True) -> Future[T]:
        waiter = _Waiter(matches, times)
        with self._lock:
            if all(waiter.offer(record) for record, _size in self._records):
                self._waiters.append(waiter)
        return waiter.future


class Recorded:
    """Records of what clients did, the oldest record first. May be read from any thread.

    Only the last 10 000 records of each kind are kept, and at most 16 MiB of calls.

    Attributes:
        watcher: called on the server's event loop with each record of a call, a connect, a disconnect or a refusal, as
            it comes; `None` for nobody.
    """

    def __init__(self) -> None:
        self.watcher: Callable[[Record], None] | None = None
        self._calls: _RecordLog[RecordedCall] = _RecordLog()
        self._connects: _RecordLog[RecordedConnect] = _RecordLog()
        self._reconnects: _RecordLog[RecordedConnect] = _RecordLog()
        self._disconnects: _RecordLog[RecordedDisconnect] = _RecordLog()
        self._negotiations: _RecordLog[RecordedNegotiation] = _RecordLog()
        self._refusals: _RecordLog[RecordedRefusal] = _RecordLog()

    @property
    def calls(self) -> list[RecordedCall]:
        """The calls of hub methods by clients, including calls of methods that the hub does not have."""
        return self._calls.all()

    @property
    def connects(self) -> list[RecordedConnect]:
        """The clients that have connected: one record for each successful handshake."""
        return self._connects.all()

    @property
    def reconnects(self) -> list[RecordedConnect]:
        """The clients that have taken their connection up again after a loss. Only on `ClassicHubServer`."""
        return self._reconnects.all()

    @property
    def disconnects(self) -> list[RecordedDisconnect]:
        """The clients that have disconnected: one record for each connection that had a successful handshake."""
        return self._disconnects.all()

    @property
    def negotiations(self) -> list[RecordedNegotiation]:
        """The negotiate requests that were answered, without secret values."""
        return self._negotiations.all()

    @property
    def refusals(self) -> list[RecordedRefusal]:
        """The requests that were refused, for example because of a wrong token or path, without tokens and queries."""
        return self._refusals.all()

    def calls_of(self, method: str) -> list[RecordedCall]:
        """Return the calls of one hub method. The case of the name does not matter."""
        return [call for call in self.calls if normalized(call.method) == normalized(method)]

    def clear(self) -> None:
        """Remove the records of everything that clients have done so far."""
        logs = (self._calls, self._connects, self._reconnects, self._disconnects, self._negotiations, self._refusals)
        for log in logs:
            log.clear()

    # Tests call the methods below, to wait for records.

    def wait_called(self, method: str, *, times: int = 1, timeout: float | None = 5.0) -> Pending[RecordedCall]:
        """See `HubServer.wait_called`."""

        def missing() -> str:
            seen = ", ".join(sorted({call.method for call in self.calls})) or "nothing"
            count = len(self.calls_of(method))
            return f"'{method}' was called {count} and not {times} times in {timeout} s; called were: {seen}"

        name = normalized(method)
        return Pending(lambda: self._calls.wait(times, lambda call: normalized(call.method) == name), timeout, missing)

    def wait_connected(self, *, times: int = 1, timeout: float | None = 5.0) -> Pending[RecordedConnect]:
        """See `HubServer.wait_connected`."""
        return _pending(self._connects, "connected", times, timeout)

    def wait_reconnected(self, *, times: int = 1, timeout: float | None = 5.0) -> Pending[RecordedConnect]:
        """See `ClassicHubServer.wait_reconnected`."""
        return _pending(self._reconnects, "reconnected", times, timeout)

    def wait_disconnected(self, *, times: int = 1, timeout: float | None = 5.0) -> Pending[RecordedDisconnect]:
        """See `HubServer.wait_disconnected`."""
        return _pending(self._disconnects, "gone", times, timeout)

    # The server calls the methods below, on its event loop, to add records.

    def note_call(self, message: Invocation | StreamInvocation, context: HubContext) -> None:
        """Record a call of a hub method by a client, and wake the tests that wait for it in `wait_called`."""
        arguments, streams = tuple(message.arguments), len(message.stream_ids or ())
        call = RecordedCall(message.target, arguments, context.connection_id, context.user, streams)
        self._calls.add(call, message.size)
        if self.watcher is not None:
            self.watcher(call)

    def note_connect(self, path: str, context: HubContext) -> None:
        """Record that a client has connected, and wake the tests that wait for it in `wait_connected`."""
        connect = RecordedConnect(path, context.connection_id, context.user, context.transport)
        self._connects.add(connect)
        if self.watcher is not None:
            self.watcher(connect)

    def note_reconnect(self, path: str, context: HubContext) -> None:
        """Record that a client has reconnected, and wake the tests that wait for it in `wait_reconnected`."""
        reconnect = RecordedConnect(path, context.connection_id, context.user, context.transport)
        self._reconnects.add(reconnect)
        if self.watcher is not None:
            self.watcher(reconnect)

    def note_disconnect(self, path: str, connection_id: str, error: Exception | None) -> None:
        """Record that a client has disconnected, and wake the tests that wait for it in `wait_disconnected`."""
        disconnect = RecordedDisconnect(path, connection_id, error)
        self._disconnects.add(disconnect)
        if self.watcher is not None:
            self.watcher(disconnect)

    def note_negotiation(
        self, path: str, headers: Mapping[str, str], query: Mapping[str, str], user: str | None
    ) -> None:
        """Record an answered negotiate request. Hides the values of secret headers and query parameters."""
        shown = {name.lower(): _shown(name.lower(), value) for name, value in headers.items()}
        asked = {name: _shown(name, value) for name, value in query.items()}
        self._negotiations.add(RecordedNegotiation(path, shown, asked, user))

    def note_refusal(self, refusal: RecordedRefusal) -> None:
        """Record a refused request."""
        self._refusals.add(refusal)
        if self.watcher is not None:
            self.watcher(refusal)


def _pending(log: _RecordLog[T], what: str, times: int, timeout: float | None) -> Pending[T]:
    def missing() -> str:
        return f"{len(log.all())} and not {times} clients have {what} in {timeout} s"

    return Pending(lambda: log.wait(times), timeout, missing)


def _shown(name: str, value: str) -> str:
    return _HIDDEN if name in _SECRET else value
