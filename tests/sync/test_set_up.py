"""`on_setup`, `reconnect()` and `handler_errors="raise"` with threads."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

import pytest
from tests.sync.conftest import Served, until

from signalr_sdk import (
    ConnectionClosedError,
    ConnectionState,
    HubError,
    NotConnectedError,
    Retry,
    ServerTimeoutError,
    SetupError,
    StateError,
    Timeouts,
)
from signalr_sdk.sync import HubConnection
from signalr_sdk.testing import Hub, HubServer

if TYPE_CHECKING:
    from collections.abc import Iterator

FOREVER = Retry.forever(wait=lambda _state: 0.0)


class Room(Hub):
    """A hub that speaks at once, and when it is asked to.

    Attributes:
        order: the calls of all clients, in order.
    """

    order: list[str]

    async def on_connected(self) -> None:
        await self.clients.caller.send("Tick", 0)

    async def log_in(self, name: str) -> str:
        self.order.append(f"log in {name}")
        await self.clients.caller.send("Tick", 1)
        if name == "wrong":
            raise ValueError("wrong name")
        return f"hello {name}"

    async def say(self, text: str) -> str:
        self.order.append(f"say {text}")
        return text

    async def cut(self) -> None:
        self.context.abort()


@pytest.fixture
def room() -> Iterator[Served]:
    """A server with this hub alone."""
    hub = type("Room", (Room,), {"order": []})
    with HubServer({"/hub": hub}, detailed_errors=True) as server:
        yield Served(server, hub)  # type: ignore[arg-type]


def test_a_set_up_on_a_thread_of_its_own(room: Served) -> None:
    hub = room.client()
    order: list[Any] = []

    @hub.on_setup
    def log_in(connection_id: str | None) -> None:
        order.append((hub.state, hub.connection_id, bool(connection_id), threading.current_thread().name))
        tick = hub.messages("Tick")
        order.append(hub.invoke("LogIn", "me"))
        order.append(tick.next(5))

    hub.on("Tick", order.append)
    hub.on_connected(lambda _connection_id: order.append("connected"))
    with hub:
        until(lambda: len(order) == 6)
    assert order == [
        (ConnectionState.CONNECTING, None, True, "signalr_sdk set-up"), "hello me", (1,), "connected", 0, 1
    ]  # fmt: skip


def test_others_wait_for_it(room: Served) -> None:
    hub = room.client(retry_start=Retry.delays(0))
    going, goes_on = threading.Event(), threading.Event()

    @hub.on_setup
    def log_in(_connection_id: str | None) -> None:
        going.set()
        goes_on.wait(5)
        hub.send("Say", "first")
        hub.invoke("LogIn", "me")

    start = threading.Thread(target=hub.start)
    start.start()
    going.wait(5)
    said: list[Any] = []
    others = [threading.Thread(target=lambda: said.append(hub.invoke("Say", "others"))) for _ in range(3)]
    for thread in others:
        thread.start()
    goes_on.set()
    for thread in (start, *others):
        thread.join(5)
    assert said == ["others"] * 3
    assert room.board.order[:2] == ["say first", "log in me"]  # type: ignore[attr-defined]
    hub.stop()


def test_one_that_fails(room: Served) -> None:
    hub = room.client()
    handler = hub.on_setup(lambda _connection_id: hub.invoke("LogIn", "wrong"))
    with pytest.raises(SetupError, match="wrong name") as caught:
        hub.start()
    assert isinstance(caught.value.__cause__, HubError)
    assert hub.state is ConnectionState.DISCONNECTED
    hub.off(handler=handler)
    with hub:
        assert hub.invoke("Say", "x") == "x"


def test_one_that_takes_too_long_is_abandoned(room: Served) -> None:
    hub = room.client(timeouts=Timeouts(setup=0.2))
    over = threading.Event()
    late: list[BaseException] = []

    @hub.on_setup
    def hang(_connection_id: str | None) -> None:
        over.wait()
        try:
            hub.invoke("Say", "late")
        except NotConnectedError as error:
            late.append(error)

    with pytest.raises(SetupError, match=r"Timeouts\.setup"):
        hub.start()
    over.set()
    until(lambda: late)


def test_an_abandoned_handler_does_not_call_on_the_next_connection(room: Served) -> None:
    """It would log in twice there, or with what belonged to the connection before."""
    hub = room.client(reconnect=FOREVER)
    lost, goes_on = threading.Event(), threading.Event()
    connections: list[str | None] = []
    late: list[BaseException] = []

    @hub.on_setup
    def log_in(connection_id: str | None) -> None:
        hub.invoke("LogIn", "me")
        connections.append(connection_id)
        if len(connections) != 2:
            return
        room.server.faults.cut()
        lost.set()
        goes_on.wait(5)
        for call in (hub.invoke, hub.send, hub.stream):
            try:
                call("Say", "late")
            except ConnectionClosedError as error:
                late.append(error)

    hub.start()
    room.server.faults.cut()
    lost.wait(5)
    until(lambda: len(connections) == 3 and hub.state is ConnectionState.CONNECTED)
    goes_on.set()
    until(lambda: len(late) == 3)
    assert hub.invoke("Say", "x") == "x"
    assert "say late" not in room.board.order  # type: ignore[attr-defined]
    hub.stop()


def test_no_handler_follows_one_that_took_too_long(room: Served) -> None:
    """The thread goes on when the connection is closed already."""
    hub = room.client(timeouts=Timeouts(setup=0.2))
    over = threading.Event()
    called: list[str | None] = []
    threads: list[threading.Thread] = []

    @hub.on_setup
    def hang(_connection_id: str | None) -> None:
        threads.append(threading.current_thread())
        over.wait(5)

    hub.on_setup(called.append)
    with pytest.raises(SetupError):
        hub.start()
    over.set()
    threads[0].join(5)
    assert called == []


def test_what_cannot_be_called_inside(room: Served) -> None:
    hub = room.client()
    refused: list[StateError] = []

    @hub.on_setup
    def wrong(_connection_id: str | None) -> None:
        for call in (hub.start, hub.reconnect, hub.wait_connected):
            with pytest.raises(StateError) as caught:
                call()
            refused.append(caught.value)

    with hub:
        assert len(refused) == 3


def test_stop_inside(room: Served) -> None:
    hub = room.client()
    ended = threading.Event()

    @hub.on_setup
    def give_up(_connection_id: str | None) -> None:
        hub.stop()
        ended.set()

    with pytest.raises(ConnectionClosedError, match="stop"):
        hub.start()
    assert hub.state is ConnectionState.DISCONNECTED
    assert ended.wait(5)


def test_stop_outside(room: Served) -> None:
    hub = room.client()
    going, goes_on = threading.Event(), threading.Event()

    @hub.on_setup
    def hang(_connection_id: str | None) -> None:
        going.set()
        goes_on.wait(5)

    failed: list[BaseException] = []

    def start() -> None:
        with pytest.raises(ConnectionClosedError) as caught:
            hub.start()
        failed.append(caught.value)

    thread = threading.Thread(target=start)
    thread.start()
    going.wait(5)
    hub.stop()
    thread.join(5)
    assert failed
    goes_on.set()


def test_no_deadlock_with_a_handler_that_waits_for_the_connection(room: Served) -> None:
    """An event handler waits on the worker thread for the connection, whose set-up must not need that thread."""
    hub = room.client(reconnect=FOREVER)
    hub.on_setup(lambda _connection_id: hub.invoke("LogIn", "me"))
    done: list[Any] = []

    @hub.on_reconnecting
    def wait(_error: Exception) -> None:
        hub.wait_connected(5)
        done.append(hub.invoke("Say", "again"))

    with hub:
        hub.send("Cut")
        until(lambda: done)
    assert done == ["again"]


def test_reconnect(room: Served) -> None:
    hub = room.client()
    with hub:
        first = hub.connection_id
        hub.reconnect()
        assert hub.connection_id != first
        assert hub.invoke("Say", "x") == "x"
    with pytest.raises(StateError):
        hub.reconnect()


def test_idle(room: Served) -> None:
    with (
        HubConnection(room.url, reconnect=False, timeouts=Timeouts(idle=0.2)) as hub,
        pytest.raises(ServerTimeoutError),
    ):
        hub.wait_closed()


class BrokenError(Exception):
    """What a handler raises."""


@pytest.mark.parametrize("kind", ["event", "lifecycle"])
def test_the_first_exception_of_a_handler_ends_the_connection(room: Served, kind: str) -> None:
    hub = HubConnection(room.url, reconnect=FOREVER, handler_errors="raise")
    order: list[Any] = []

    def fail(*_arguments: Any) -> None:
        order.append("failed")
        raise BrokenError("no")

    if kind == "event":
        hub.on("Tick", fail)
        hub.on("Tick", order.append)
    else:
        hub.on_connected(fail)
        hub.on_connected(order.append)
    hub.on_error(lambda error: order.append(("error", type(error))))
    hub.on_closed(lambda error: order.append(("closed", type(error))))
    with pytest.raises(BrokenError):
        hub.run()
    until(lambda: len(order) >= 3)
    assert order == ["failed", ("error", BrokenError), ("closed", BrokenError)]
    hub.off("Tick")
    hub.off(handler=fail)
    hub.start()
    hub.stop()
