"""Classic ASP.NET SignalR without asyncio: calls, progress, events, losses, raw connections."""

from __future__ import annotations

import asyncio
import threading
from queue import Queue
from typing import TYPE_CHECKING, Any, Protocol

import pytest
from tenacity import wait_fixed

from signalr_sdk import ClassicHubError, InvocationTimeoutError, Retry, Transport
from signalr_sdk.sync.classic import HubConnection, PersistentConnection, discover

if TYPE_CHECKING:
    from tests.interop.classic_server import ClassicServer

ALL = pytest.mark.parametrize("transport", list(Transport))
SOON = Retry(wait=wait_fixed(0.05))


class Declared(Protocol):
    def add(self, a: int, b: int) -> int: ...


@ALL
def test_calls_and_events(classic_server: ClassicServer, transport: Transport) -> None:
    connection = HubConnection(classic_server.url(), transports=transport)
    hub = connection.hub("testHub")
    seen: Queue[tuple[Any, ...]] = Queue()
    hub.on_any(lambda name, arguments: seen.put((name, *arguments, threading.current_thread().name)))
    with connection:
        name, identity, thread = seen.get(timeout=5)
        assert (name, identity) == ("welcome", connection.connection_id)
        assert thread != threading.current_thread().name
        assert hub.invoke("Add", 1, 2) == hub.proxy(Declared).add(1, 2) == 3
        assert (hub.invoke("State"), hub.state) == ("c=1", {"counter": 1})
        with pytest.raises(ClassicHubError, match="visible"):
            hub.invoke("HubBoom")
        with pytest.raises(InvocationTimeoutError):
            hub.invoke("Never", timeout=0.1)
        with hub.messages("number") as numbers:
            hub.send("Sequence", 0, 3)
            assert [numbers.next(5) for _ in range(3)] == [(0,), (1,), (2,)]
    assert discover(classic_server.url())["quiet"] == {"One": (), "Notify": ("text",)}


def test_progress_comes_on_the_calling_thread(classic_server: ClassicServer) -> None:
    connection = HubConnection(classic_server.url(), transports="WebSockets")
    hub = connection.hub("testHub")
    hub.on("welcome", lambda _id: None)
    threads: list[threading.Thread] = []
    values: list[Any] = []

    def note(value: Any) -> None:
        values.append(value)
        threads.append(threading.current_thread())
        assert hub.invoke("Add", 1, 2) == 3

    def fail(_value: Any) -> None:
        raise RuntimeError("enough")

    with connection:
        assert hub.invoke("Work", 3, on_progress=note) == "done"
        assert values == [0, {"step": 1}, 2]
        assert set(threads) == {threading.current_thread()}
        with pytest.raises(RuntimeError, match="enough"):
            hub.invoke("Work", 3, on_progress=fail)
        with pytest.raises(ClassicHubError):
            hub.invoke("Boom", on_progress=note)


@ALL
def test_a_loss(classic_server: ClassicServer, transport: Transport) -> None:
    connection = HubConnection(classic_server.url(), transports=transport, reconnect=SOON)
    hub = connection.hub("testHub")
    for name in ("welcome", "welcomeBack"):
        hub.on(name, lambda _id: None)
    happened: Queue[str] = Queue()
    connection.on_reconnecting(lambda _error: happened.put("reconnecting"))
    connection.on_reconnected(lambda _id: happened.put("reconnected"))
    with connection:
        identity = connection.connection_id
        while not asyncio.run(classic_server.control("/drop", how="reset")):
            pass
        assert [happened.get(timeout=10) for _ in range(2)] == ["reconnecting", "reconnected"]
        assert connection.connection_id == hub.invoke("Id") == identity


def test_a_raw_connection(classic_server: ClassicServer) -> None:
    with PersistentConnection(classic_server.url("/raw")) as connection:
        assert connection.receive(5) == {"hello": connection.connection_id}
        connection.send("x")
        assert connection.receive(5) == {"echo": "x"}
