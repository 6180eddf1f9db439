"""A hub connection for threads: calls, streams, uploads, events and lifetime."""

from __future__ import annotations

import io
import threading
import time
from queue import SimpleQueue
from typing import TYPE_CHECKING, Any

import attrs
import pytest
from aiohttp import web
from tests.scripted import ScriptedServer, ScriptedSocket
from tests.small_hub import SmallHub

from signalr_sdk import (
    ConnectionClosedError,
    ConnectionFailedError,
    ConnectionState,
    HubError,
    HubEvent,
    InvocationTimeoutError,
    Limits,
    LocalProtocolError,
    NotConnectedError,
    ResultTypeError,
    Retry,
    StateError,
    Timeouts,
    TokenRequest,
    Transport,
)
from signalr_sdk.messages import Close
from signalr_sdk.sync import Connection, HubConnection, Messages
from signalr_sdk.sync.loop_use import LoopUse

from .conftest import until

if TYPE_CHECKING:
    import logging

    from .conftest import Background, Served


@attrs.define
class Point:
    x: int
    y: int


# Calls


def test_results_and_errors(hub: HubConnection) -> None:
    assert hub.state is ConnectionState.CONNECTED
    assert hub.transport is Transport.WEBSOCKETS
    assert hub.connection_id
    assert hub.invoke("Add", 1, 2) == 3
    assert hub.invoke("Echo", {"x": 1, "y": 2}, result_type=Point) == Point(1, 2)
    with pytest.raises(HubError, match="HubException: no"):
        hub.invoke("ThrowHubException", "no")
    with pytest.raises(ResultTypeError):
        hub.invoke("Echo", "text", result_type=int)
    with pytest.raises(InvocationTimeoutError):
        hub.invoke("Delay", 60_000, timeout=0.01)
    assert hub.invoke("Add", 1, 2) == 3


@pytest.mark.parametrize("call", ["invoke", "send"])
def test_what_cannot_be_encoded_is_told_the_caller(hub: HubConnection, call: str) -> None:
    with pytest.raises(LocalProtocolError, match=r"\[0\]"):
        getattr(hub, call)("Echo", object())
    with pytest.raises(TypeError, match="the name of a hub method is a str"):
        getattr(hub, call)(1)
    assert hub.invoke("Add", 1, 2) == 3


def test_lists_and_files_are_arguments(hub: HubConnection) -> None:
    assert hub.invoke("Echo", [1, 2]) == [1, 2]
    with pytest.raises(LocalProtocolError):
        hub.invoke("Echo", io.StringIO("a\nb\n"))


def test_messages_leave_in_the_order_of_the_calls(hub: HubConnection, served: Served) -> None:
    for number in range(500):
        hub.send("CallMe", "Event", [number])
        if number % 100 == 50:
            assert hub.invoke("Add", number, 1) == number + 1
    hub.send("Record", "last")
    hub.flush()
    until(lambda: served.saw("recorded", "last"))


def accept(server: ScriptedServer, hub: HubConnection) -> ScriptedSocket:
    """Start a connection to a scripted server; return the server's end of it."""
    starting = threading.Thread(target=hub.start)
    starting.start()

    socket = LoopUse().call(shake_hands, server)
    starting.join()
    return socket


async def shake_hands(server: ScriptedServer) -> ScriptedSocket:
    """Return the server's end of the next connection."""
    socket = await server.sockets.get()
    await socket.shake_hands()
    return socket


def test_a_sender_waits_for_room_and_loses_nothing() -> None:
    server, sent = ScriptedServer(), []
    hub = HubConnection("http://hub.test/chat", http=lambda: server, limits=Limits(outgoing_bytes=1000))
    socket = accept(server, hub)
    hub._loop_use.call(socket.stalled.clear)

    def send() -> None:
        for number in range(200):
            hub.send("Log", number, "x" * 20)
            sent.append(number)

    sender = threading.Thread(target=send)
    sender.start()
    until(lambda: len(sent) > 10)
    time.sleep(0.05)  # it must not go on
    assert len(sent) < 60
    hub._loop_use.call(socket.stalled.set)
    sender.join()
    log = [hub._loop_use.call(socket.next)["arguments"][0] for _ in range(200)]
    assert log == list(range(200))
    hub.stop()


def test_what_a_lost_connection_takes_with_it_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    server = ScriptedServer()
    hub = HubConnection("http://hub.test/chat", http=lambda: server, reconnect=False)
    accept(server, hub)
    hub.stop()
    assert hub._loop_use.call(hub._hub.put_now, [b"two", b"three"]) is False
    until(lambda: "2 messages were not sent before the connection ended" in caplog.text)


def test_those_who_wait_for_room_learn_that_the_connection_ended() -> None:
    server, errors = ScriptedServer(), SimpleQueue[Exception]()
    hub = HubConnection(
        "http://hub.test/chat", http=lambda: server, limits=Limits(outgoing_bytes=100), timeouts=Timeouts(close=0.05)
    )
    socket = accept(server, hub)
    hub._loop_use.call(socket.stalled.clear)

    def send() -> None:
        try:
            while True:
                hub.send("Log", "x" * 50)
        except (NotConnectedError, ConnectionClosedError) as error:
            errors.put(error)

    threads = [threading.Thread(target=send) for _ in range(3)]
    for thread in threads:
        thread.start()
    until(lambda: hub._send_buffer._held > 100)
    hub.stop()
    for _ in threads:
        errors.get(timeout=5)
    for thread in threads:
        thread.join()


def test_a_call_without_a_connection(served: Served) -> None:
    hub = served.client()
    assert hub.state is ConnectionState.DISCONNECTED
    assert hub.connection_id is None
    assert hub.transport is None
    assert hub.url == served.url
    for call in (hub.invoke, hub.send):
        with pytest.raises(NotConnectedError):
            call("Add", 1, 2)
    with pytest.raises(NotConnectedError):
        hub.wait_connected()
    with pytest.raises(NotConnectedError):
        hub.flush()
    hub.stop()
    assert "disconnected" in repr(hub)


# Streams


def test_streams(hub: HubConnection, served: Served) -> None:
    assert list(hub.stream("Counter", 1000, 0)) == list(range(1000))
    texts = hub.stream("Counter", 2, 1, item_type=str)
    for _ in range(2):
        with pytest.raises(ResultTypeError):
            next(texts)
    for _ in range(2):
        with pytest.raises(StopIteration):
            next(texts)
    with hub.stream("Forever", 1) as numbers:
        assert [numbers.next(5), numbers.next()] == [0, 1]
    until(lambda: served.saw("stream-ended", "cancelled"))
    numbers.cancel()
    with pytest.raises(StopIteration):
        numbers.next()


def test_a_timeout_loses_no_item(hub: HubConnection) -> None:
    numbers = hub.stream("Counter", 3, 150)
    got = [numbers.next()]
    with pytest.raises(TimeoutError):
        numbers.next(timeout=0.01)
    got += numbers
    assert got == [0, 1, 2]


def test_a_break_cancels_the_stream(hub: HubConnection, served: Served) -> None:
    for number in hub.stream("Forever", 0):
        if number == 300:
            break
    until(lambda: served.saw("stream-ended", "cancelled"))


def test_items_come_before_the_error(hub: HubConnection) -> None:
    numbers = hub.stream("CounterThenThrow", 300, "oops")
    assert [next(numbers) for _ in range(300)] == list(range(300))
    with pytest.raises(HubError, match="oops"):
        next(numbers)


def test_many_threads_share_a_stream(hub: HubConnection) -> None:
    numbers = hub.stream("Counter", 5000, 0)
    got: list[list[int]] = [[] for _ in range(8)]
    threads = [threading.Thread(target=lambda into=into: into.extend(numbers)) for into in got]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(item for into in got for item in into) == list(range(5000))
    assert all(into == sorted(into) for into in got)


def test_a_slow_consumer_holds_the_server_back(served: Served) -> None:
    """What crosses to the consumer's thread is bounded by the mark too."""
    with served.client(limits=Limits(stream_items=10), timeouts=Timeouts(pause=None)) as hub:
        stream = hub.stream("Blobs", 2000, 20_000)
        assert len(next(stream)) > 0
        backlog = hub._hub._backlog
        until(lambda: backlog.above)
        held = backlog.held
        time.sleep(0.05)  # it must not grow without a consumer
        assert backlog.held <= held + 100 * 30_000
        assert len(stream._fetched) < 10
        assert sum(1 for _ in stream) == 1999


# Events


def test_messages_and_wait_for(hub: HubConnection) -> None:
    with hub.messages("Event") as events:
        hub.send("CallMe", "event", [1, "a"])
        assert next(events) == (1, "a")
        with pytest.raises(TimeoutError):
            events.next(timeout=0.01)
        hub.send("Flood", "Event", 1000, 1)
        assert [events.next(5)[0] for _ in range(1000)] == list(range(1000))
    assert list(events) == []
    with pytest.raises(TimeoutError):
        hub.wait_for("Event", timeout=0.01)
    waiting: SimpleQueue[Any] = SimpleQueue()
    threading.Thread(target=lambda: waiting.put(hub.wait_for("Event", 5))).start()
    until(lambda: hub._hub._dispatcher._subscribers)
    hub.send("CallMe", "Event", ["x"])
    assert waiting.get(timeout=5) == ("x",)


def test_messages_are_subscribed_before_the_start_and_end_with_the_connection(served: Served) -> None:
    hub = served.client()
    events = hub.messages("Event")
    with hub:
        hub.invoke("CallMe", "Event", [1])
    assert list(events) == [(1,)]
    hub.start()
    ended: SimpleQueue[Any] = SimpleQueue()

    def wait() -> None:
        try:
            hub.wait_for("Event")
        except ConnectionClosedError as error:
            ended.put(error)

    threading.Thread(target=wait).start()
    until(lambda: hub._hub._dispatcher._subscribers)
    hub.stop()
    assert "before 'Event' came" in str(ended.get(timeout=5))


def test_several_events_in_one_iterator(hub: HubConnection, caplog: pytest.LogCaptureFixture) -> None:
    unheard: SimpleQueue[Any] = SimpleQueue()
    hub.on_any(lambda name, arguments: unheard.put((name, *arguments)))
    with hub.events("Price", "Trade") as events, hub.events() as all_:
        for number in range(300):
            hub.send("CallMe", "price", [number])
            hub.send("CallMe", "TRADE", [number])
        hub.send("CallMe", "Other", ["x"])
        expected = [HubEvent(name, (number,)) for number in range(300) for name in ("price", "TRADE")]
        assert [next(events) for _ in expected] == expected
        assert [all_.next(timeout=5) for _ in expected] == expected
        told = all_.next(timeout=5)
        assert (type(told), told) == (HubEvent, ("Other", ("x",)))
        with pytest.raises(TimeoutError):
            events.next(timeout=0.01)
        assert unheard.get(timeout=5) == ("Other", "x")
    assert list(events) == list(all_) == []
    assert unheard.empty()
    assert "no handler" not in caplog.text
    assert not hub._hub._dispatcher._subscribers
    with pytest.raises(TypeError, match="the name of an event is a str"):
        hub.events(["Price", "Trade"])  # type: ignore[arg-type]


def test_all_events_without_a_handler_and_the_end(served: Served, caplog: pytest.LogCaptureFixture) -> None:
    hub = served.client()
    hub.on("Asked", lambda question: f"{question} yes")
    events = hub.events()
    with hub:
        assert hub.invoke("AskCaller", "Asked", "well?") == "well? yes"
        hub.invoke("CallMe", "Event", [1])
        hub.invoke("CallMe", "Asked", ["again?"])
    assert list(events) == [("Event", (1,)), ("Asked", ("again?",))]
    assert "no handler" not in caplog.text


def test_a_break_unsubscribes(hub: HubConnection) -> None:
    def flood() -> Messages:
        events = hub.messages("Event")
        hub.send("Flood", "Event", 5, 1)
        return events

    for number, _text in flood():
        if number >= 0:
            break
    until(lambda: not hub._hub._dispatcher._subscribers)


def test_the_newest_events(hub: HubConnection) -> None:
    prices = hub.messages("Price", buffer=3, overflow="drop_oldest")
    hub.invoke("Flood", "Price", 1000, 1)
    until(lambda: prices._source._queue.messages[-1][0] == 999)
    assert [prices.next()[0] for _ in range(3)] == [997, 998, 999]


def test_registering(hub: HubConnection) -> None:
    got: SimpleQueue[Any] = SimpleQueue()

    @hub.on("Event")
    def first(number: int) -> None:
        got.put(("first", number))

    def anything(event: str, args: tuple[Any, ...]) -> None:
        got.put((event, *args))

    assert hub.on("Event", first) is first
    assert hub.on_any(anything) is anything
    hub.send("CallMe", "Event", [1])
    assert got.get(timeout=5) == ("first", 1)
    hub.off("Event", first)
    hub.send("CallMe", "Event", [2])
    assert got.get(timeout=5) == ("Event", 2)
    hub.off(handler=anything)
    with pytest.raises(TypeError, match="the name of an event"):
        hub.on(1)  # type: ignore[call-overload]


def test_async_functions_are_refused(served: Served) -> None:
    async def handler(*_args: object) -> None: ...

    class Callable:
        async def __call__(self) -> str:
            return "token"

    hub = served.client()
    for register in (hub.on("Event"), hub.on_any, hub.on_connected, hub.on_error, hub.on_closed):
        with pytest.raises(TypeError, match="plain function"):
            register(handler)
    for register in (hub.on_reconnecting, hub.on_reconnected):
        with pytest.raises(TypeError, match="plain function"):
            register(handler)
    with pytest.raises(TypeError, match="plain function"):
        hub.on("Event", handler)
    with pytest.raises(TypeError, match="an access token provider"):
        HubConnection(served.url, access_token=Callable())  # type: ignore[arg-type]  # as said
    with pytest.raises(TypeError, match=r"http of signalr_sdk\.sync is a callable"):
        HubConnection(served.url, http=object())  # type: ignore[arg-type]  # as said


def test_a_handler_that_fails(hub: HubConnection, expected_errors: list[logging.LogRecord]) -> None:
    errors: SimpleQueue[Exception] = SimpleQueue()
    hub.on_error(errors.put)
    hub.on("Event", lambda _one, _two: None)
    hub.on("Coroutine", lambda: _nothing())  # noqa: PLW0108 - as a function it would be refused
    hub.on("Exit", lambda: exec("raise SystemExit(3)"))
    hub.send("CallMe", "Event", ["only one"])
    hub.send("CallMe", "Coroutine", [])
    hub.send("CallMe", "Exit", [])
    assert isinstance(errors.get(timeout=5), TypeError)
    assert "returned a coroutine" in str(errors.get(timeout=5))
    assert "SystemExit(3)" in str(errors.get(timeout=5))
    hub.on_error(lambda error: 1 / 0)
    hub.on_connected(lambda _id: 1 / 0)
    hub.send("CallMe", "Event", ["only one"])
    assert isinstance(errors.get(timeout=5), TypeError)
    until(lambda: "an on_error handler failed" in [record.getMessage() for record in expected_errors])


async def _nothing() -> None: ...


def test_client_results(hub: HubConnection) -> None:
    hub.on("Ask", lambda question: question + "!")
    assert hub.invoke("AskCaller", "Ask", "hi") == "hi!"
    hub.on("Number", lambda a, b: hub.invoke("Add", a, b))
    assert hub.invoke("AskCallerForNumber", "Number", 2, 3) == 5
    with pytest.raises(HubError, match="Client didn't provide a result"):
        hub.invoke("AskCaller", "Nobody", "hi")
    hub.on("Fail", lambda _question: 1 / 0)
    with pytest.raises(HubError, match="division by zero"):
        hub.invoke("AskCaller", "Fail", "hi")
    hub.on("Ask", lambda _question: "another")
    with pytest.raises(HubError, match="multiple results"):
        hub.invoke("AskCaller", "Ask", "hi")


# Lifetime


def test_lifecycle_events_come_in_order() -> None:
    server, seen = ScriptedServer(), SimpleQueue[Any]()
    hub = HubConnection("http://hub.test/chat", http=lambda: server, reconnect=Retry.delays(0))
    hub.on_connected(lambda connection_id: seen.put(("connected", connection_id)))
    hub.on_reconnecting(lambda error: seen.put(("reconnecting", type(error))))
    hub.on_reconnected(lambda connection_id: seen.put(("reconnected", connection_id)))
    hub.on_closed(lambda error: seen.put(("closed", error)))
    hub.on("Event", lambda number: seen.put(("event", number)))
    socket = accept(server, hub)
    hub._loop_use.call(socket.event, "Event", 1)
    hub._loop_use.call(socket.vanish)
    hub._loop_use.call(shake_hands, server)
    hub.wait_connected(timeout=5)
    assert [seen.get(timeout=5) for _ in range(5)] == [
        ("connected", "public-id"),
        ("event", 1),
        ("reconnecting", ConnectionClosedError),
        ("connected", "public-id"),
        ("reconnected", "public-id"),
    ]
    hub.stop()
    assert seen.get(timeout=5) == ("closed", None)


def test_it_can_be_started_again(served: Served) -> None:
    hub = served.client()
    for _ in range(3):
        with hub:
            assert hub.invoke("Add", 1, 2) == 3
            with pytest.raises(StateError):
                hub.start()
            assert hub.invoke("Add", 1, 2) == 3
        hub.stop()
        hub.wait_closed()
    assert hub.state is ConnectionState.DISCONNECTED


def test_on_closed_may_start_it_again(served: Served) -> None:
    hub = served.client()
    again = threading.Event()

    @hub.on_closed
    def start(error: Exception | None) -> None:
        assert error is None
        if not again.is_set():
            hub.start()
            again.set()

    hub.start()
    hub.send("AbortMe")
    assert again.wait(5)
    assert hub.invoke("Add", 1, 2) == 3
    hub.stop()


def test_run_ends_with_the_connection(served: Served) -> None:
    hub = served.client()
    hub.on_connected(lambda _id: hub.send("AbortMe"))
    hub.run()
    assert hub.state is ConnectionState.DISCONNECTED
    hub.wait_closed()


def test_wait_closed_raises_what_ended_the_connection() -> None:
    server = ScriptedServer()
    hub = HubConnection("http://hub.test/chat", http=lambda: server, reconnect=False)
    socket = accept(server, hub)
    hub._loop_use.call(socket.vanish, "it broke")
    for _ in range(2):
        with pytest.raises(ConnectionClosedError, match="it broke"):
            hub.wait_closed()


def test_a_start_that_fails() -> None:
    hub = HubConnection("http://127.0.0.1:9/hub", timeouts=Timeouts(connect=1))
    for _ in range(2):
        with pytest.raises(ConnectionFailedError):
            hub.start()
    assert hub.state is ConnectionState.DISCONNECTED


def test_pending_calls_end_with_the_connection(hub: HubConnection) -> None:
    errors: SimpleQueue[Exception] = SimpleQueue()

    def call() -> None:
        try:
            hub.invoke("Delay", 60_000)
        except ConnectionClosedError as error:
            errors.put(error)

    threads = [threading.Thread(target=call) for _ in range(3)]
    for thread in threads:
        thread.start()
    until(lambda: len(hub._hub._life.link.calls._pending) == 3 if hub._hub._life.link else False)
    hub.stop()
    assert len({id(errors.get(timeout=5)) for _ in threads}) == 3
    for thread in threads:
        thread.join()


# What is given to it


def test_a_token_provider_runs_on_a_thread(background: Background) -> None:
    small = background.enter(SmallHub().running())
    threads: list[str] = []

    def provide() -> str:
        threads.append(threading.current_thread().name)
        return "secret"

    with HubConnection(small.url, access_token=provide) as hub:
        assert hub.invoke("Echo", 1) == 1
    assert threads == ["signalr_sdk access token"]
    assert {asked.token for asked in small.asked} == {"Bearer secret"}

    def fail() -> str:
        raise StopIteration

    with pytest.raises(ConnectionFailedError, match="the access token provider failed"):
        HubConnection(small.url, access_token=fail).start()


def test_a_token_provider_with_a_parameter_gets_the_request(background: Background) -> None:
    async def refuse_once(request: web.Request) -> web.StreamResponse | None:
        return web.Response(status=401) if request.headers["Authorization"] == "Bearer old" else None

    small = background.enter(SmallHub().running())
    small.before = refuse_once
    asked: list[tuple[TokenRequest, str]] = []

    class Login:
        def __call__(self, request: TokenRequest, scope: str = "hub") -> str:
            asked.append((request, threading.current_thread().name))
            return scope if request.reason == "refused" else "old"

    with HubConnection(small.url, access_token=Login()) as hub:
        assert hub.invoke("Echo", 1) == 1
    assert [request for request, _thread in asked] == [TokenRequest("connect"), TokenRequest("refused", refused="old")]
    assert {thread for _request, thread in asked} == {"signalr_sdk access token"}
    asked.clear()
    with Connection(small.url, access_token=Login()):
        assert [request.reason for request, _thread in asked] == ["connect", "refused"]


def test_for_ever_ends_by_stop_alone(background: Background) -> None:
    small = background.enter(SmallHub().running())
    hub = HubConnection(small.url, reconnect=Retry.forever(wait=lambda _state: 0.0), retry_start=True)
    answers = [404, 401]

    async def refuse_twice(_request: web.Request) -> web.StreamResponse | None:
        return web.Response(status=answers.pop()) if answers else None

    async def close() -> None:
        small.say(Close())

    small.before = refuse_twice
    up: SimpleQueue[str | None] = SimpleQueue()
    hub.on_reconnected(up.put)
    with hub:
        for _ in range(3):
            background.run(close())
            up.get(timeout=5)
        assert hub.invoke("Echo", 1) == 1
    hub.wait_closed()


def test_the_http_client_is_made_on_the_loops_thread_and_closed(background: Background) -> None:
    import aiohttp

    small = background.enter(SmallHub().running())
    made: list[tuple[str, aiohttp.ClientSession]] = []

    def make() -> aiohttp.ClientSession:
        made.append((threading.current_thread().name, aiohttp.ClientSession(headers={"X-Mine": "1"})))
        return made[-1][1]

    hub = HubConnection(small.url, http=make)
    for count in (1, 2):
        with hub:
            assert hub.invoke("Echo", 1) == 1
        assert len(made) == count
    until(lambda: all(session.closed for _name, session in made))
    assert {name for name, _session in made} == {"signalr_sdk loop"}
    assert all(asked.headers["X-Mine"] == "1" for asked in small.asked)
    failing = HubConnection("http://127.0.0.1:9/hub", http=make)
    with pytest.raises(ConnectionFailedError):
        failing.start()
    assert made[-1][1].closed
    stopped = HubConnection(small.url, http=make)
    stopped.on_setup(lambda _connection_id: stopped.stop())
    with pytest.raises(ConnectionClosedError):
        stopped.start()
    assert made[-1][1].closed
