"""A server with the hubs and paths of the ASP.NET Core server of the interop tests, on `signalr_sdk.testing`."""

# ruff: noqa: TC001, TC003  # the server evaluates the annotations of hub methods

from __future__ import annotations

import asyncio
import base64
import threading
import time
from collections.abc import AsyncIterator, Coroutine
from concurrent.futures import Future
from contextlib import AsyncExitStack
from datetime import UTC, date, datetime, timedelta
from datetime import time as clock_time
from decimal import Decimal
from http.cookies import SimpleCookie
from typing import TYPE_CHECKING, Any, Protocol, Self, TypeVar
from uuid import UUID

from tests.interop.hub_server import ServerEvent
from tests.interop.hubs import Color, Person

from signalr_sdk import DateTimeOffset
from signalr_sdk.testing import Hub, HubException, HubServer, Identity

if TYPE_CHECKING:
    from types import TracebackType

    from signalr_sdk.testing import ClientProxy

T = TypeVar("T")
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class AnyServer(Protocol):
    """The methods that the ASP.NET Core server and `PythonServer` have in common."""

    def url(self, path: str = "/hub") -> str:
        """Return the URL of a path."""

    async def events(
        self, kind: str | None = None, *, connection_id: str | None = None, detail: str | None = None
    ) -> list[ServerEvent]:
        """Return the events that the server has recorded, oldest first."""

    async def wait_event(
        self, kind: str, *, connection_id: str | None = None, detail: str | None = None, timeout: float = 5.0
    ) -> ServerEvent:
        """Return the first event that matches; wait if there is none yet."""

    async def clear_events(self) -> None:
        """Forget all events."""

    async def connections(self) -> list[str]:
        """Return the ids of the open hub connections."""

    async def abort(self, connection_id: str) -> bool:
        """End a connection; return whether there was one."""

    async def send(
        self,
        target: str,
        *arguments: object,
        connection_id: str | None = None,
        group: str | None = None,
        user: str | None = None,
    ) -> None:
        """Send an event to clients of `/hub`."""

    async def token(self, user: str, seconds: float | None = None) -> str:
        """Return a bearer token."""


class HubRecord:
    """The recorded events and the open connections of all hubs. Written on the server's loop, read from any thread."""

    def __init__(self) -> None:
        self.seen: list[ServerEvent] = []
        self.connected: dict[str, TwinHub] = {}

    def add(self, kind: str, connection_id: str, detail: str | None = None) -> None:
        self.seen.append(ServerEvent(kind, connection_id, detail))


class InvalidOperationException(Exception):  # noqa: N818 - its name on the server
    """The exception that `throw_exception` raises."""


class TwinHub(Hub):
    """`TestHub` of Hubs.cs: one method for each thing that a hub can do."""

    seen_by_hubs: HubRecord

    async def on_connected(self) -> None:
        self.seen_by_hubs.connected[self.context.connection_id] = self
        self._note("connected", self.context.transport)

    async def on_authentication_refreshed(self) -> None:
        self._note("refreshed", self.context.user)

    async def on_disconnected(self, error: Exception | None) -> None:
        self.seen_by_hubs.connected.pop(self.context.connection_id, None)
        self._note("disconnected", str(error) if error is not None else None)

    def _note(self, kind: str, detail: str | None) -> None:
        self.seen_by_hubs.add(kind, self.context.connection_id, detail)

    # Invocations

    async def echo(self, value: Any) -> Any:
        return value

    async def add(self, a: int, b: int) -> int:
        return a + b

    async def nothing(self) -> None:
        pass

    async def return_null(self) -> None:
        return None

    async def delay(self, milliseconds: int) -> int:
        await asyncio.sleep(milliseconds / 1000)
        return milliseconds

    async def big_string(self, length: int) -> str:
        return "x" * length

    async def length(self, text: str) -> int:
        return len(text)

    async def throw_hub_exception(self, message: str) -> None:
        raise HubException(message)

    async def throw_exception(self, message: str) -> None:
        raise InvalidOperationException(message)

    async def record(self, detail: str) -> None:
        self._note("recorded", detail)

    # Values of each type

    async def echo_string(self, value: str | None) -> str | None:
        return value

    async def echo_bool(self, value: bool) -> bool:
        return value

    async def echo_bytes(self, value: bytes) -> bytes:
        return value

    async def echo_long(self, value: int) -> int:
        return value

    async def echo_unsigned_long(self, value: int) -> int:
        return value

    async def echo_float(self, value: float) -> float:
        return value

    async def echo_double(self, value: float) -> float:
        return value

    async def echo_decimal(self, value: Decimal) -> Decimal:
        return value

    async def echo_date_time(self, value: datetime) -> datetime:
        return value

    async def echo_date_time_offset(self, value: DateTimeOffset) -> DateTimeOffset:
        return value

    async def echo_date_only(self, value: date) -> date:
        return value

    async def echo_time_only(self, value: clock_time) -> clock_time:
        return value

    async def echo_time_span(self, value: timedelta) -> timedelta:
        return value

    async def echo_guid(self, value: UUID) -> UUID:
        return value

    async def echo_color(self, value: Color) -> Color:
        return value

    async def echo_person(self, value: Person) -> Person:
        return value

    async def echo_ints(self, value: list[int]) -> list[int]:
        return value

    async def echo_map(self, value: dict[str, int]) -> dict[str, int]:
        return value

    async def echo_nullable(self, value: int | None) -> int | None:
        return value

    # Streams from the server

    async def counter(self, count: int, delay: int) -> AsyncIterator[int]:
        for number in range(count):
            if delay > 0:
                await asyncio.sleep(delay / 1000)
            yield number

    def counter_channel(self, count: int) -> AsyncIterator[int]:
        return self.counter(count, 0)

    async def counter_then_throw(self, count: int, message: str) -> AsyncIterator[int]:
        for number in range(count):
            yield number
        raise HubException(message)

    async def forever(self, delay: int) -> AsyncIterator[int]:
        number = 0
        how = "other"
        try:
            while True:
                yield number
                number += 1
                await asyncio.sleep(delay / 1000)
        except (asyncio.CancelledError, GeneratorExit):
            how = "cancelled"
            raise
        finally:
            self._note("stream-ended", how)

    async def blobs(self, count: int, size: int) -> AsyncIterator[bytes]:
        for _ in range(count):
            yield bytes(size)

    async def people(self, count: int) -> AsyncIterator[Person]:
        for i in range(count):
            yield Person(f"Person {i}", i, 1.5, i % 2 == 0, EPOCH + timedelta(days=i), ["a", "b"], None)

    # Streams from the client

    async def sum(self, numbers: AsyncIterator[int]) -> int:
        return sum([number async for number in numbers])

    async def sum_from(self, start: int, numbers: AsyncIterator[int]) -> int:
        return start + await self.sum(numbers)

    async def concat(self, words: AsyncIterator[str]) -> str:
        return "".join([word async for word in words])

    async def zip(self, left: AsyncIterator[str], right: AsyncIterator[str]) -> list[str]:
        lefts = [item async for item in left]
        rights = [item async for item in right]
        return [a + b for a, b in zip(lefts, rights, strict=False)]

    async def count_bytes(self, blobs: AsyncIterator[bytes]) -> int:
        return sum([len(blob) async for blob in blobs])

    async def record_all(self, words: AsyncIterator[str]) -> None:
        try:
            async for word in words:
                self._note("recorded", word)
        except Exception as error:
            self._note("upload-ended", str(error))
            raise
        self._note("upload-ended", "completed")

    async def take_then_throw(self, numbers: AsyncIterator[int], count: int) -> int:
        async for _ in numbers:
            count -= 1
            if count <= 0:
                raise HubException("enough")
        return count

    # Both at once

    async def uppercase(self, words: AsyncIterator[str]) -> AsyncIterator[str]:
        async for word in words:
            yield word.upper()

    # The server asks the client

    async def ask_caller(self, method: str, question: str) -> str | None:
        answer: str | None = await self.clients.caller.invoke(method, question, result_type=str | None)
        return answer

    async def ask_caller_for_number(self, method: str, a: int, b: int) -> int:
        answer: int = await self.clients.caller.invoke(method, a, b, result_type=int)
        return answer

    async def ask_client(self, connection_id: str, method: str, question: str) -> str | None:
        answer: str | None = await self.clients.client(connection_id).invoke(method, question, result_type=str | None)
        return answer

    # Messages to clients

    async def call_me(self, target: str, arguments: list[Any]) -> None:
        await self.clients.caller.send(target, *arguments)

    async def send_to_all(self, target: str, value: Any) -> None:
        await self.clients.all.send(target, value)

    async def send_to_others(self, target: str, value: Any) -> None:
        await self.clients.others.send(target, value)

    async def send_to_user(self, user: str, target: str, value: Any) -> None:
        await self.clients.user(user).send(target, value)

    async def send_to_group(self, group: str, target: str, value: Any) -> None:
        await self.clients.group(group).send(target, value)

    async def join_group(self, group: str) -> None:
        await self.groups.add(self.context.connection_id, group)

    async def leave_group(self, group: str) -> None:
        await self.groups.remove(self.context.connection_id, group)

    async def flood(self, target: str, count: int, size: int) -> None:
        text = "x" * size
        for number in range(count):
            await self.clients.caller.send(target, number, text)

    # The connection itself

    async def connection_id(self) -> str:
        return self.context.connection_id

    async def user(self) -> str | None:
        return self.context.user

    async def transport(self) -> str:
        return self.context.transport

    async def header(self, name: str) -> str:
        return self.context.headers.get(name.lower(), "")

    async def query(self, name: str) -> str:
        return self.context.query.get(name, "")

    async def cookie(self, name: str) -> str | None:
        morsel = SimpleCookie(self.context.headers.get("cookie", "")).get(name)
        return morsel.value if morsel is not None else None

    async def abort_me(self) -> None:
        self.context.abort()


class RefusingHub(Hub):
    """Accepts the handshake, then refuses every client."""

    async def on_connected(self) -> None:
        raise HubException("no entry")


def make_token(user: str, seconds: float | None = None) -> str:
    """Return a bearer token that expires after so many seconds."""
    expires = time.time() + (300 if seconds is None else seconds)
    return base64.urlsafe_b64encode(f"{user}|{expires}".encode()).decode()


def _whose(token: str) -> str | None:
    user = base64.urlsafe_b64decode(token).decode().partition("|")[0]
    return user if _end(token) > time.time() else None


def _end(token: str) -> float:
    return float(base64.urlsafe_b64decode(token).decode().partition("|")[2])


def _anybody(token: str | None) -> str | None:
    return _whose(token) if token else ""


def _somebody(token: str | None) -> str | None:
    return _whose(token) if token else None


def _for_a_while(token: str | None) -> Identity | None:
    user = _somebody(token)
    if token is None or user is None:
        return None
    return Identity(user, expires_in=_end(token) - time.time())


USUAL: dict[str, Any] = {"detailed_errors": True, "parallel_invocations": 16, "authorize": _anybody}
PATHS: dict[str, dict[str, Any]] = {
    "/hub": {},
    "/hub-plain-errors": {"detailed_errors": False},
    "/hub-ws": {"transports": "WebSockets"},
    "/hub-sse": {"transports": "ServerSentEvents"},
    "/hub-lp": {"transports": "LongPolling"},
    "/hub-lp-short": {"transports": "LongPolling", "poll_timeout": 0.3},
    "/hub-no-ws": {"transports": ("ServerSentEvents", "LongPolling")},
    "/hub-json-only": {"protocols": ("json",)},
    "/hub-messagepack-only": {"protocols": ("messagepack",)},
    "/hub-refusing": {},
    "/hub-auth": {"authorize": _somebody},
    "/hub-refresh": {"authorize": _for_a_while, "authentication_refresh": True},
    "/hub-refresh-closing": {
        "authorize": _for_a_while,
        "authentication_refresh": True,
        "close_on_expiration": True,
    },
    "/hub-refresh-refusing": {"authorize": _for_a_while, "authentication_refresh": lambda _identity: False},
    "/hub-impatient": {"keep_alive": 0.5, "client_timeout": 1.5},
    "/hub-quiet": {"keep_alive": 3600.0},
    "/hub-one-at-a-time": {"parallel_invocations": 1},
    "/hub-small-messages": {"message_bytes": 1024},
}


class PythonServer:
    """A server for each path, all on one event loop in a thread. The methods may be called on any other event loop."""

    def __init__(self) -> None:
        self._record = HubRecord()
        self._loop = asyncio.new_event_loop()
        self._wanted = asyncio.Event()
        self._ready: Future[None] = Future()
        self._thread = threading.Thread(target=self._main, name="python server", daemon=True)
        self._servers = {path: self._server(path, options) for path, options in PATHS.items()}

    def _server(self, path: str, options: dict[str, Any]) -> HubServer:
        base: type[Hub] = RefusingHub if path == "/hub-refusing" else TwinHub
        return HubServer({path: type(base.__name__, (base,), {"seen_by_hubs": self._record})}, **{**USUAL, **options})

    @classmethod
    def start(cls) -> Self:
        """Start the servers and wait until they listen."""
        server = cls()
        server._thread.start()
        server._ready.result()
        return server

    def _main(self) -> None:
        with asyncio.Runner(loop_factory=lambda: self._loop) as runner:
            runner.run(self._serve())

    async def _serve(self) -> None:
        async with AsyncExitStack() as stack:
            try:
                for server in self._servers.values():
                    await stack.enter_async_context(server)
            except BaseException as error:
                self._ready.set_exception(error)
                raise
            self._ready.set_result(None)
            await self._wanted.wait()

    def close(self) -> None:
        """End all connections and the thread."""
        self._loop.call_soon_threadsafe(self._wanted.set)
        self._thread.join()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    async def _on_loop(self, work: Coroutine[Any, Any, T]) -> T:
        return await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(work, self._loop))

    def url(self, path: str = "/hub") -> str:
        """Return the URL of a path, which may have a query."""
        return self._servers[path.partition("?")[0]].url(path)

    # Control

    async def events(
        self, kind: str | None = None, *, connection_id: str | None = None, detail: str | None = None
    ) -> list[ServerEvent]:
        """Return the events that match all arguments, oldest first."""
        return [
            event
            for event in list(self._record.seen)
            if kind in (None, event.kind)
            and connection_id in (None, event.connection_id)
            and detail in (None, event.detail)
        ]

    async def wait_event(
        self, kind: str, *, connection_id: str | None = None, detail: str | None = None, timeout: float = 5.0
    ) -> ServerEvent:
        """Return the first event that matches; wait if there is none yet."""
        deadline = time.monotonic() + timeout
        while True:
            if found := await self.events(kind, connection_id=connection_id, detail=detail):
                return found[0]
            if time.monotonic() > deadline:
                raise AssertionError(f"the server saw no {kind!r} in {timeout:g} s, but {await self.events()}")
            await asyncio.sleep(0.005)

    async def clear_events(self) -> None:
        """Forget all events."""
        self._record.seen.clear()

    async def connections(self) -> list[str]:
        """Return the ids of the open hub connections."""
        return list(self._record.connected)

    async def abort(self, connection_id: str) -> bool:
        """End a connection; return whether there was one."""

        async def abort() -> bool:
            hub = self._record.connected.get(connection_id)
            if hub is not None:
                hub.context.abort()
            return hub is not None

        return await self._on_loop(abort())

    async def send(
        self,
        target: str,
        *arguments: object,
        connection_id: str | None = None,
        group: str | None = None,
        user: str | None = None,
    ) -> None:
        """Send an event to clients of `/hub`: to one connection, a group, a user, or all."""
        clients = self._servers["/hub"].clients("/hub")
        whom: ClientProxy = clients.all
        if connection_id is not None:
            whom = clients.client(connection_id)
        elif group is not None:
            whom = clients.group(group)
        elif user is not None:
            whom = clients.user(user)
        await self._on_loop(whom.send(target, *arguments))

    def make_token(self, user: str) -> str:
        """Return a bearer token."""
        return make_token(user)

    async def token(self, user: str, seconds: float | None = None) -> str:
        """Return a bearer token."""
        return make_token(user, seconds)
