"""Signal handlers may call anything, wherever they interrupt the main thread: nothing waits for the frame below."""

from __future__ import annotations

import os
import sys
import threading
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from signalr_sdk import ConnectionState, Limits, NotConnectedError, StateError
from signalr_sdk import sync as sync_package
from signalr_sdk.sync import HubConnection, Upload
from signalr_sdk.sync.loop_use import LoopUse

from .test_processes import run

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import FrameType

    from .conftest import Served

ROOM = str(Path(sync_package.__file__).parent)


class Interruption:
    """Calls a handler before one step of the interpreter in our code, as it calls a signal handler.

    Args:
        handler: what is called.
        step: before which step, counted from 0.
    """

    def __init__(self, handler: Callable[[], object], step: int) -> None:
        self.came = False
        self._handler = handler
        self._left = step

    def run(self, work: Callable[[], object]) -> None:
        """Do some work, which is interrupted; nothing happens if it has fewer steps."""
        before = sys.gettrace()
        sys._getframe().f_trace_opcodes = True  # Python 3.12 looks for this in `settrace`
        sys.settrace(self._trace)
        try:
            work()
        finally:
            sys.settrace(before)

    def _trace(self, frame: FrameType, event: str, _argument: object) -> Any:
        if event == "call":
            if not frame.f_code.co_filename.startswith(ROOM):
                return None
            frame.f_trace_opcodes = True
            frame.f_trace_lines = False
        elif event == "opcode":
            if self._left == 0:
                self.came = True
                self._handler()  # which is not traced
            self._left -= 1
        return self._trace


def interrupt_everywhere(work: Callable[[], object], handler: Callable[[], object], *, every: int = 1) -> int:
    """Do the work again and again, interrupted before another step each time; return how often."""
    Interruption(handler, sys.maxsize).run(work)  # from Python 3.12 on, code that was not traced yet has no steps
    step = 0
    while True:
        interruption = Interruption(handler, step)
        interruption.run(work)
        if not interruption.came:
            return step // every
        step += every


@pytest.fixture
def narrow(served: Served) -> Any:
    """A connection whose `send` has to wait for room."""
    with served.client(limits=Limits(outgoing_bytes=100)) as hub:
        yield hub


def add(hub: HubConnection) -> None:
    assert hub.invoke("Add", 1, 2) == 3


@pytest.mark.parametrize("call", ["invoke", "send", "flush"])
def test_a_handler_that_interrupts_send(narrow: HubConnection, served: Served, call: str) -> None:
    handlers: dict[str, Callable[[], object]] = {
        "invoke": lambda: add(narrow),
        "send": lambda: narrow.send("Record", "x" * 150),
        "flush": narrow.flush,
    }
    sent: list[str] = []

    def send() -> None:
        for _ in range(3):
            sent.append(f"{len(sent)} {'x' * 50}")
            narrow.send("Record", sent[-1])

    assert interrupt_everywhere(send, handlers[call], every=3) > 50
    add(narrow)
    # Nothing is lost, and the order is that of the calls.
    assert [event.detail for event in served.board.seen if event.detail in sent] == sent


def test_a_handler_that_interrupts_invoke(hub: HubConnection) -> None:
    assert interrupt_everywhere(lambda: add(hub), lambda: add(hub)) > 100


def test_a_handler_that_interrupts_a_stream(hub: HubConnection) -> None:
    def read() -> None:
        assert list(hub.stream("Counter", 3, 0)) == [0, 1, 2]

    assert interrupt_everywhere(read, read, every=7) > 50


def test_a_handler_that_interrupts_an_upload(hub: HubConnection) -> None:
    """The main thread feeds what a call of another thread uploads, and so does the handler."""
    wrong: list[object] = []

    def upload() -> None:
        fed: Upload[int] = Upload()
        feed.append(fed)
        calling = threading.Thread(target=lambda: wrong.append(hub.invoke("Sum", fed)))
        calling.start()
        for _ in range(70):
            fed.send(1)
        fed.close()
        calling.join()

    def interrupt() -> None:
        add(hub)

    feed: list[Upload[int]] = []
    assert interrupt_everywhere(upload, interrupt, every=101) > 10
    assert set(wrong) == {70}


def test_a_handler_that_closes_the_upload(hub: HubConnection) -> None:
    """The handler waits for the end of the call, which is told only once that the upload is closed."""
    answers: list[int] = []
    calls: list[tuple[Upload[int], threading.Thread]] = []

    def upload() -> None:
        fed: Upload[int] = Upload()
        calls.append((fed, threading.Thread(target=lambda: answers.append(hub.invoke("Sum", fed)))))
        calls[-1][1].start()
        with suppress(StateError):  # closed by the handler
            fed.send(1)
        fed.close()
        calls[-1][1].join()

    def close() -> None:
        for fed, calling in calls[-1:]:
            fed.close()
            calling.join()

    assert interrupt_everywhere(upload, close) > 50
    assert set(answers) == {0, 1}


def test_a_handler_that_interrupts_the_making_of_the_loop_thread() -> None:
    def call() -> None:
        assert LoopUse().call(lambda: 1) == 1

    assert interrupt_everywhere(call, call) > 100


def test_a_handler_that_stops_the_connection(served: Served) -> None:
    """Then `send` is done, or says that there is no connection."""
    outcomes = set()
    step = 0
    while True:
        with served.client() as hub:
            interruption = Interruption(hub.stop, step)
            try:
                interruption.run(lambda: hub.send("Record", "x"))
            except NotConnectedError:
                outcomes.add("not connected")
            else:
                outcomes.add("sent")
            if not interruption.came:
                break
            assert hub.state is ConnectionState.DISCONNECTED
        step += 5
    assert outcomes == {"sent", "not connected"}


@pytest.mark.skipif(not hasattr(os, "kill") or sys.platform == "win32", reason="signals are POSIX's")
@pytest.mark.timeout(60)
def test_some_thousand_signals() -> None:
    """SIGALRM calls the hub in every way, SIGTERM stops it; the main thread is in the middle of anything."""
    signals, rounds, state = run(
        """
        board, server = serve()
        signals = rounds = 0
        handling = False

        def call(number):
            if number % 4 == 0:
                assert hub.invoke("Add", 1, 2) == 3
            elif number % 4 == 1:
                hub.send("Record", "x" * 100)
            elif number % 4 == 2:
                hub.flush()
            else:
                assert hub.invoke("Sum", (n for n in (1, 2))) == 3

        def on_alarm(*_):
            global signals, handling
            if not handling:
                handling = True
                signals += 1
                call(signals)
                handling = False

        def on_term(*_):
            signal.setitimer(signal.ITIMER_REAL, 0)
            hub.stop()

        signal.signal(signal.SIGALRM, on_alarm)
        signal.signal(signal.SIGTERM, on_term)
        with server:
            hub = sync.HubConnection(server.url("/hub"), limits=Limits(outgoing_bytes=2000))
            hub.start()
            signal.setitimer(signal.ITIMER_REAL, 0.0005, 0.0005)
            while signals < 2500:
                rounds += 1
                hub.send("Record", "y" * 100)
                call(rounds)
            threading.Timer(0.01, os.kill, (os.getpid(), signal.SIGTERM)).start()
            try:
                while True:
                    rounds += 1
                    hub.send("Record", "y" * 100)
                    call(rounds)
            except SignalRError:
                pass
        print(json.dumps([signals, rounds, hub.state]))
        """
    )
    assert signals >= 2500
    assert rounds > 100
    assert state == "disconnected"
