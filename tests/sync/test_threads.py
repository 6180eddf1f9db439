"""Which thread does what, and many at once."""

from __future__ import annotations

import asyncio
import gc
import os
import signal
import sys
import threading
from queue import SimpleQueue
from typing import TYPE_CHECKING, Any

import pytest

from signalr_sdk import ConnectionClosedError, ConnectionState, Limits, SlowConsumerError, StateError, Timeouts
from signalr_sdk.sync import HubConnection, daemon_threads, doorbell, portal
from signalr_sdk.sync.dispatcher import ThreadDispatcher
from signalr_sdk.sync.loop_use import LoopUse, _Call
from signalr_sdk.sync.plain_functions import as_error

from .conftest import until

if TYPE_CHECKING:
    import logging
    from collections.abc import Callable

    from signalr_sdk import RetryContext

    from .conftest import Served


def loop_threads() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == "signalr_sdk loop"]


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


def test_threads_send_and_invoke_in_their_own_order(hub: HubConnection) -> None:
    """Each thread's messages leave in the order of its calls, whatever the others do."""
    got: dict[int, list[int]] = {number: [] for number in range(8)}
    hub.on("Event", lambda number, i: got[number].append(i))

    def talk(number: int) -> None:
        for i in range(200):
            if i % 10 == 9:
                hub.invoke("CallMe", "Event", [number, i])
            else:
                hub.send("CallMe", "Event", [number, i])

    threads = [threading.Thread(target=talk, args=(number,)) for number in got]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    until(lambda: all(len(numbers) == 200 for numbers in got.values()))
    # The server runs the calls of one client beside each other, but begins them in the order received.
    assert all(sorted(numbers) == list(range(200)) for numbers in got.values())


def test_handlers_run_in_order_on_one_thread(served: Served) -> None:
    with served.client(limits=Limits(buffered_bytes=1 << 28, handlers=8)) as hub:
        got: list[int] = []
        threads: set[threading.Thread] = set()
        done = threading.Event()

        @hub.on("Flood")
        def take(number: int, _text: str) -> None:
            threads.add(threading.current_thread())
            got.append(number)
            if number == 19_999:
                done.set()

        hub.send("Flood", "Flood", 20_000, 10)
        assert done.wait(9)
        assert got == list(range(20_000))
        assert [(thread.name, thread.daemon) for thread in threads] == [("signalr_sdk events", True)]


def test_a_slow_handler_makes_reading_pause(served: Served) -> None:
    """What waits for it is bounded by the mark, and what the worker thread has in its hands."""
    with served.client(limits=Limits(messages=50), timeouts=Timeouts(pause=None)) as hub:
        dispatcher, go, got = hub._hub._dispatcher, threading.Event(), list[int]()
        assert isinstance(dispatcher, ThreadDispatcher)

        @hub.on("Flood")
        def take(number: int, _text: str) -> None:
            go.wait(5)
            got.append(number)

        hub.send("Flood", "Flood", 1000, 20_000)
        until(lambda: dispatcher._queue.above)
        # One that is being handled, and those that crossed with it: no further one when they have 256 KiB.
        assert len(dispatcher._batch) * 20_000 <= 256 * 1024
        go.set()
        until(lambda: len(got) == 1000)
        assert got == list(range(1000))


def test_client_results_run_beside_each_other(served: Served) -> None:
    with served.client(limits=Limits(client_results=3)) as hub, served.client() as other:
        barrier, answers = threading.Barrier(3, timeout=5), SimpleQueue[Any]()
        names: set[str] = set()

        @hub.on("Ask")
        def answer(question: str) -> str:
            names.add(threading.current_thread().name)
            barrier.wait()
            return question + "!"

        def ask(number: int) -> None:
            answers.put(other.invoke("AskClient", hub.connection_id, "Ask", str(number)))

        threads = [threading.Thread(target=ask, args=(number,)) for number in range(6)]
        for thread in threads:
            thread.start()
        assert sorted(answers.get(timeout=5) for _ in threads) == [f"{number}!" for number in range(6)]
        for thread in threads:
            thread.join()
        assert names == {"signalr_sdk client result"}


def test_handlers_may_call_the_hub_and_wait_for_events(hub: HubConnection) -> None:
    seen: SimpleQueue[Any] = SimpleQueue()
    hub.on("Event", lambda number: seen.put(hub.invoke("Add", number, 0)))
    hub.on_error(seen.put)
    for number in range(50):
        hub.send("CallMe", "Event", [number])
    assert [seen.get(timeout=5) for _ in range(50)] == list(range(50))


@pytest.mark.parametrize("kind", ["event", "question", "connected"])
def test_a_handler_may_stop_the_connection(served: Served, kind: str) -> None:
    hub = served.client()
    seen: SimpleQueue[Any] = SimpleQueue()

    def stop(*_args: object) -> None:
        hub.stop()
        hub.wait_closed()
        seen.put(hub.state)

    hub.on_closed(lambda error: seen.put(("closed", error)))
    if kind == "connected":
        hub.on_connected(stop)
    else:
        hub.on("Stop", stop)
    hub.start()
    if kind == "event":
        hub.send("CallMe", "Stop", [])
        hub.send("CallMe", "Stop", [])
    elif kind == "question":
        hub.send("AskCaller", "Stop", "?")
    assert {seen.get(timeout=5), seen.get(timeout=5)} == {ConnectionState.DISCONNECTED, ("closed", None)}
    hub.wait_closed()


def test_stop_leaves_a_handler_that_blocks_behind(served: Served) -> None:
    hub = served.client()
    blocked, go, seen = threading.Event(), threading.Event(), SimpleQueue[Any]()

    @hub.on("Block")
    def block() -> None:
        blocked.set()
        go.wait(9)
        hub.stop()
        seen.put("gone on")

    hub.on("Event", lambda: seen.put("event"))
    hub.on_closed(lambda error: seen.put(("closed", error)))
    hub.start()
    hub.send("CallMe", "Block", [])
    assert blocked.wait(5)
    hub.invoke("CallMe", "Event", [])
    hub.stop()
    assert seen.get(timeout=5) == ("closed", None)
    with hub:
        # The events of this connection do not wait for the handler of the last one.
        hub.send("CallMe", "Event", [])
        assert seen.get(timeout=5) == "event"
        assert hub.state is ConnectionState.CONNECTED
    assert seen.get(timeout=5) == ("closed", None)
    go.set()
    assert seen.get(timeout=5) == "gone on"


def test_stop_runs_on_closed_that_was_batch(served: Served) -> None:
    """The connection ends by itself while a handler blocks: stop() does not lose on_closed."""
    hub = served.client()
    blocked, go, seen = threading.Event(), threading.Event(), SimpleQueue[Any]()

    @hub.on("Block")
    def block() -> None:
        blocked.set()
        go.wait(9)

    hub.on_closed(seen.put)
    hub.start()
    hub.send("CallMe", "Block", [])
    assert blocked.wait(5)
    hub.send("AbortMe")
    until(lambda: hub.state is ConnectionState.DISCONNECTED)
    hub.stop()
    assert seen.get(timeout=5) is None
    go.set()


@pytest.mark.parametrize("first", ["start", "stop"])
def test_start_and_stop_at_the_same_time(served: Served, first: str) -> None:
    """Both begin in one turn of the loop: neither may hang."""
    hub = served.client()
    loop_use = LoopUse()

    async def both() -> list[Any]:
        calls = {"start": hub._start, "stop": hub._stop}
        second = "stop" if first == "start" else "start"
        return [*await asyncio.gather(calls[first](), calls[second](), return_exceptions=True)]

    results = loop_use.call(both)
    assert [result for result in results if not isinstance(result, ConnectionClosedError)] in ([None], [None, None])
    hub.stop()
    assert hub.state is ConnectionState.DISCONNECTED


def test_the_loop_thread_ends_with_the_last_connection(served: Served) -> None:
    one, two = served.client(), served.client()
    with one:
        [thread] = loop_threads()
        assert thread.daemon
        with two:
            assert loop_threads() == [thread]
        assert one.invoke("Add", 1, 2) == 3
        assert loop_threads() == [thread]
    thread.join(5)
    assert not thread.is_alive()
    with one:
        [another] = loop_threads()
        assert another is not thread
        one.send("AbortMe")
        one.wait_closed()
        # It has ended by itself, which gives the thread back too.
        another.join(5)
        assert not another.is_alive()


class Meddler:
    """A retry policy, which is asked on the loop's thread, and calls the hub there."""

    def __init__(self, call: Callable[[], object]) -> None:
        self.call = call
        self.error: Exception | None = None

    def next_delay(self, _context: RetryContext) -> float | None:
        try:
            self.call()
        except StateError as error:
            self.error = error
        return None


@pytest.mark.parametrize("call", ["invoke", "send", "stop"])
def test_a_call_on_the_loops_thread_is_refused(call: str) -> None:
    meddler = Meddler(lambda: getattr(hub, call)(*([] if call == "stop" else ["Method"])))
    hub = HubConnection("http://127.0.0.1:9/hub", retry_start=meddler)
    with pytest.raises(ConnectionError):
        hub.start()
    assert "event loop" in str(meddler.error)


def test_a_send_on_the_loops_thread_is_refused_when_connected(hub: HubConnection) -> None:
    with pytest.raises(StateError, match="thread of the event loop"):
        hub._loop_use.call(hub.send, "Nothing")


@pytest.mark.skipif(sys.platform == "win32", reason="os.kill ends a process on Windows")
@pytest.mark.parametrize("sliced", [False, True])
def test_waits_are_interrupted(sliced: bool, hub: HubConnection, monkeypatch: pytest.MonkeyPatch) -> None:
    """In slices as elsewhere than on Linux, where a wait on a lock may not be interrupted."""
    if sliced:
        monkeypatch.setattr(doorbell, "SLICE", 0.01)
    link = hub._hub._life.link
    assert link is not None
    calls = link.calls

    def interrupt() -> None:
        until(lambda: calls._pending)
        os.kill(os.getpid(), signal.SIGINT)

    interrupting = threading.Thread(target=interrupt)
    interrupting.start()
    with pytest.raises(KeyboardInterrupt):
        hub.invoke("Delay", 60_000)
    interrupting.join()
    assert not calls._pending
    assert hub.invoke("Sum", (number for number in range(200))) == 19_900


def test_an_interrupted_call_that_had_no_turn_yet_never_runs() -> None:
    ran: list[int] = []

    def interrupted() -> None:
        call = _Call(portal.current_portal(), lambda: ran.append(1), first=lambda: None)
        call._given_up = True
        call.begin()
        call.result()

    LoopUse().call(interrupted)
    assert ran == []


def test_a_call_that_is_interrupted_in_the_turn_it_begins_awaits_nothing() -> None:
    """Python would warn about the coroutine, which nobody awaits any more."""
    ran: list[int] = []
    calls: list[_Call] = []

    async def run() -> None:
        ran.append(1)

    def begin_and_cancel() -> None:
        calls.append(_Call(portal.current_portal(), run, first=lambda: None))
        calls[0].begin()
        calls[0]._given_up = True
        calls[0].cancel()

    LoopUse().call(begin_and_cancel)
    assert calls.pop()._done.acquire(timeout=9)
    gc.collect()
    assert ran == []


def test_what_a_call_in_the_making_raises() -> None:
    with pytest.raises(ZeroDivisionError):
        LoopUse().call(lambda: 1 / 0)

    async def cancelled() -> None:
        raise asyncio.CancelledError

    with pytest.raises(StateError, match="the loop thread has ended"):
        LoopUse().call(cancelled)


def test_forgotten_connections_are_stopped_at_the_exit(served: Served, request: pytest.FixtureRequest) -> None:
    request.addfinalizer(daemon_threads.exit_begun.clear)
    portal.process._exit()  # nothing to do
    daemon_threads.exit_begun.clear()  # it is not the end yet
    hubs = [served.client() for _ in range(3)]
    for hub in hubs:
        hub.on_closed(lambda _error: None)
        hub.start()
        hub.send("Record", "last words")
    [thread] = loop_threads()
    portal.process._exit()
    assert not thread.is_alive()
    assert {hub.state for hub in hubs} == {ConnectionState.DISCONNECTED}
    until(lambda: [event.kind for event in served.board.seen].count("recorded") == 3)


def test_a_handler_of_a_lifecycle_event_that_fails(served: Served, expected_errors: list[logging.LogRecord]) -> None:
    hub = served.client()
    errors: SimpleQueue[Exception] = SimpleQueue()
    hub.on_connected(lambda _id: 1 / 0)
    hub.on_error(errors.put)
    with hub:
        assert isinstance(errors.get(timeout=5), ZeroDivisionError)
    assert "on_connected" in expected_errors[0].getMessage()


def test_events_that_a_slow_handler_has_cost_are_reported(served: Served) -> None:
    errors: SimpleQueue[Exception] = SimpleQueue()
    with served.client(limits=Limits(buffered_bytes=100_000, messages=10), timeouts=Timeouts(pause=0.01)) as hub:
        go = threading.Event()
        hub.on("Flood", lambda _number, _text: go.wait(5))
        hub.on_error(errors.put)
        hub.invoke("Flood", "Flood", 1000, 1000)
        until(lambda: hub._hub._dispatcher._queue.dropped)
        go.set()
        error = errors.get(timeout=5)
    assert isinstance(error, SlowConsumerError)
    assert error.dropped > 0


def test_what_users_raise_is_an_error() -> None:
    error = ValueError()
    assert as_error(error) is error
    assert "StopIteration" in str(as_error(StopIteration()))
    assert isinstance(as_error(KeyboardInterrupt()), RuntimeError)
