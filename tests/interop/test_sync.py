"""What works with `await` works from threads: a run through all of it, on each combination."""

from __future__ import annotations

import asyncio
import threading
from queue import SimpleQueue
from typing import TYPE_CHECKING, Any

import pytest

from signalr_sdk import (
    ConnectionClosedError,
    ConnectionState,
    HubError,
    InvocationTimeoutError,
    Limits,
    LocalProtocolError,
    NegotiationError,
    NotConnectedError,
    ResultTypeError,
)
from signalr_sdk.sync import Connection, HubConnection, Upload

from .hubs import Person
from .test_calls import ERRORS
from .test_raw_connection import CASES
from .test_values import ADA, KNOWN_TO_DIFFER, ONLY_DOTNET, PLAIN, ROWS

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.python_server import AnyServer

    from signalr_sdk import Transport

    from .conftest import Combination
    from .hub_server import HubServer, ServerEvent


def hub_at(server: AnyServer, combination: Combination, path: str = "/hub", **options: Any) -> HubConnection:
    """Return a connection, not started, that ends when it is lost."""
    return HubConnection(server.url(path), **{"reconnect": False, **combination.options, **options})


@pytest.fixture
def hub(any_server: AnyServer, combination: Combination) -> Iterator[HubConnection]:
    """A connection that is up."""
    with hub_at(any_server, combination) as hub:
        yield hub


def wait_event(server: AnyServer, kind: str, hub: HubConnection, detail: str | None = None) -> ServerEvent:
    """Return the first such event that the server saw of this connection."""
    return asyncio.run(server.wait_event(kind, connection_id=hub.connection_id, detail=detail))


# Calls


def test_results(hub: HubConnection, combination: Combination) -> None:
    assert hub.transport is combination.transport
    assert hub.connection_id == hub.invoke("ConnectionId")
    assert hub.invoke("Add", 1, 2) == 3
    assert hub.invoke("Echo", {"a": [1, None, "x"]}) == {"a": [1, None, "x"]}
    assert hub.invoke("Nothing") is None
    assert hub.invoke("BigString", 1_000_000) == "x" * 1_000_000
    assert hub.invoke("Length", "é" * 1_000_000) == 1_000_000


def test_errors_have_the_servers_text(hub: HubConnection) -> None:
    method: str
    arguments: list[Any]
    for method, arguments, text in ERRORS.values():  # type: ignore[assignment]  # tuples of these
        with pytest.raises(HubError) as caught:
            hub.invoke(method, *arguments)
        assert (str(caught.value), caught.value.method) == (text, method)
    with pytest.raises(LocalProtocolError):
        hub.invoke("Echo", object())
    with pytest.raises(InvocationTimeoutError):
        hub.invoke("Delay", 60_000, timeout=0.1)
    assert hub.invoke("Add", 1, 2) == 3


def test_send(hub: HubConnection, any_server: AnyServer) -> None:
    for number in range(100):
        hub.send("Record", str(number))
    hub.flush()
    wait_event(any_server, "recorded", hub, "99")
    recorded = asyncio.run(any_server.events("recorded", connection_id=hub.connection_id))
    assert sorted(int(event.detail or "") for event in recorded) == list(range(100))


def test_what_was_sent_leaves_before_stop(any_server: AnyServer, combination: Combination) -> None:
    with hub_at(any_server, combination) as hub:
        connection_id = hub.connection_id
        hub.send("Record", "last words")
    asyncio.run(any_server.wait_event("recorded", connection_id=connection_id, detail="last words"))


def test_values(hub: HubConnection, combination: Combination) -> None:
    for name, row in ROWS.items():
        if (name, combination.protocol) not in KNOWN_TO_DIFFER | ONLY_DOTNET:
            assert hub.invoke(row.method, row.sent) == row.raw(combination.protocol), name
            typed = hub.invoke(row.method, row.sent, result_type=row.type)
            assert typed == (row.sent if row.typed is PLAIN else row.typed), name
    assert hub.invoke("EchoPerson", ADA, result_type=Person) == ADA
    with pytest.raises(ResultTypeError):
        hub.invoke("Echo", "text", result_type=int)


def test_32_threads_invoke_at_once(hub: HubConnection) -> None:
    answers: dict[int, list[int]] = {}

    def ask(number: int) -> None:
        answers[number] = [hub.invoke("Add", number, i) for i in range(100)]

    threads = [threading.Thread(target=ask, args=(number,)) for number in range(32)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert answers == {number: [number + i for i in range(100)] for number in range(32)}


# Streams


def test_streams(hub: HubConnection, any_server: AnyServer) -> None:
    with hub.stream("Counter", 1000, 0) as numbers:
        assert list(numbers) == list(range(1000))
    assert list(hub.stream("CounterChannel", 100, item_type=int)) == list(range(100))
    failing = hub.stream("CounterThenThrow", 3, "oops")
    assert [failing.next(5) for _ in range(3)] == [0, 1, 2]
    with pytest.raises(HubError, match="HubException: oops"):
        failing.next(5)
    people = list(hub.stream("People", 3, item_type=Person))
    assert [person.name for person in people] == ["Person 0", "Person 1", "Person 2"]
    for number in hub.stream("Forever", 1):
        if number == 5:
            break
    assert wait_event(any_server, "stream-ended", hub).detail == "cancelled"


def test_uploads(hub: HubConnection, any_server: AnyServer) -> None:
    assert hub.invoke("Sum", (number for number in range(1000))) == 499_500
    assert hub.invoke("SumFrom", 10, Upload([1, 2])) == 13
    assert hub.invoke("Zip", (c for c in "abc"), Upload("123")) == ["a1", "b2", "c3"]
    assert hub.invoke("CountBytes", (bytes(100_000) for _ in range(10))) == 1_000_000
    assert list(hub.stream("Uppercase", (c for c in "aé"))) == ["A", "É"]
    upload: Upload[str] = Upload()
    hub.send("RecordAll", upload)
    for number in range(100):
        upload.send(str(number))
    upload.close()
    assert wait_event(any_server, "upload-ended", hub).detail == "completed"
    with pytest.raises(HubError, match="enough"):
        hub.invoke("TakeThenThrow", (number for number in range(1_000_000)), 2)


# Events and questions


def test_a_flood_arrives_complete_and_in_order(any_server: AnyServer, combination: Combination) -> None:
    with hub_at(any_server, combination, limits=Limits(buffered_bytes=1 << 28)) as hub:
        seen: list[int] = []
        done = threading.Event()

        @hub.on("Flood")
        def take(number: int, text: str) -> None:
            assert text == "xxxxxxxxxx"
            seen.append(number)
            if number == 19_999:
                done.set()

        hub.invoke("Flood", "Flood", 20_000, 10)
        assert done.wait(9)
        assert seen == list(range(20_000))


def test_events(hub: HubConnection, any_server: AnyServer) -> None:
    seen: SimpleQueue[Any] = SimpleQueue()
    hub.on("Event", lambda number: seen.put(hub.invoke("Add", number, 0)))
    with hub.messages("Event") as events:
        for number in range(3):
            hub.send("CallMe", "Event", [number])
        # The server begins to handle them in order, and may handle them side by side.
        assert sorted(events.next(5)[0] for _ in range(3)) == [0, 1, 2]
    assert sorted(seen.get(timeout=5) for _ in range(3)) == [0, 1, 2]
    waiting = threading.Thread(target=lambda: seen.put(hub.wait_for("Other", 5)))
    waiting.start()
    while waiting.is_alive():
        asyncio.run(any_server.send("Other", 1, "a", connection_id=hub.connection_id))
        waiting.join(0.05)
    assert seen.get(timeout=5) == (1, "a")


def test_questions(hub: HubConnection) -> None:
    hub.on("Ask", lambda question: question + "!")
    hub.on("Number", lambda a, b: hub.invoke("Add", a, b))
    hub.on("Fail", lambda _question: 1 / 0)
    assert hub.invoke("AskCaller", "Ask", "hi") == "hi!"
    assert hub.invoke("AskCallerForNumber", "Number", 2, 3) == 5
    with pytest.raises(HubError, match="division by zero"):
        hub.invoke("AskCaller", "Fail", "hi")
    with pytest.raises(HubError, match="Client didn't provide a result"):
        hub.invoke("AskCaller", "Nobody", "hi")


# Lifetime


def test_lifetime(any_server: AnyServer, combination: Combination) -> None:
    seen: SimpleQueue[Any] = SimpleQueue()
    tokens = [asyncio.run(any_server.token("ada"))]
    hub = hub_at(any_server, combination, access_token=lambda: tokens[0])
    hub.on_connected(seen.put)
    hub.on_closed(seen.put)
    for _ in range(2):
        with hub:
            assert hub.invoke("User") == "ada"
            assert seen.get(timeout=5) == hub.connection_id
        assert seen.get(timeout=5) is None
    with pytest.raises(NotConnectedError):
        hub.invoke("Nothing")


def test_a_handler_may_stop_the_connection(any_server: AnyServer, combination: Combination) -> None:
    hub = hub_at(any_server, combination)
    hub.on("Stop", lambda: hub.stop())  # noqa: PLW0108 - a bound method would do, but this is what users write
    hub.start()
    hub.send("CallMe", "Stop", [])
    with pytest.raises((ConnectionClosedError, NotConnectedError)):
        hub.invoke("Delay", 60_000)
    hub.wait_closed()
    assert hub.state is ConnectionState.DISCONNECTED


def test_a_refused_token(any_server: AnyServer, combination: Combination) -> None:
    with pytest.raises(NegotiationError) as caught:
        hub_at(any_server, combination, "/hub-auth").start()
    assert caught.value.status == 401


# Without the hub protocol


@pytest.mark.parametrize(("transport", "transfer_format", "messages"), CASES)
def test_a_raw_connection(
    transport: Transport, transfer_format: Any, messages: list[Any], hub_server: HubServer
) -> None:
    with Connection(hub_server.url("/echo"), transports=transport, transfer_format=transfer_format) as connection:
        for message in messages:
            sending = threading.Thread(target=connection.send, args=(message,))
            sending.start()
            back = type(message)()
            while len(back) < len(message):
                back += next(connection)
            assert back == message
            sending.join()
