"""Log records of the loop's thread: a log handler may call a hub, is told all in order, and holds nobody up."""

from __future__ import annotations

import logging
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest

from signalr_sdk import NotConnectedError, Timeouts
from signalr_sdk.sync.log_thread import LogThread

from .conftest import until
from .test_processes import run

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from signalr_sdk.sync import HubConnection

    from .conftest import Served


# Processes take a while to start on a machine that has much to do.
pytestmark = pytest.mark.timeout(60)


class Calling(logging.Handler):
    """A log handler that calls a function for each record."""

    def __init__(self, call: Callable[[logging.LogRecord], object]) -> None:
        super().__init__()
        self._call = call

    def emit(self, record: logging.LogRecord) -> None:
        self._call(record)


@contextmanager
def handling(call: Callable[[logging.LogRecord], object], level: int, *names: str) -> Iterator[None]:
    """Have a log handler of its own for these loggers."""
    handler = Calling(call)
    before = {name: logging.getLogger(name).level for name in names}
    for name in names:
        logging.getLogger(name).addHandler(handler)
        logging.getLogger(name).setLevel(level)
    try:
        yield
    finally:
        for name in names:
            logging.getLogger(name).removeHandler(handler)
            logging.getLogger(name).setLevel(before[name])


def on_loop(hub: HubConnection, function: Callable[[], object]) -> None:
    """Call a function on the loop's thread."""
    hub._loop_use.call(function)


def log_numbers(log: logging.Logger, count: int) -> None:
    for number in range(count):
        log.info("number %d", number)


def test_a_handler_may_call_the_hub_while_the_loop_logs(served: Served) -> None:
    """The thread that logs holds the handler's lock while the hub answers, and the loop's thread logs that."""
    answers: list[int] = []
    with served.client() as hub:

        def ask(record: logging.LogRecord) -> None:
            if record.name == "app":
                answers.append(hub.invoke("Add", len(answers), 1, timeout=5))

        with handling(ask, logging.DEBUG, "app", "signalr_sdk"):
            for _ in range(20):
                logging.getLogger("app").info("something happened")
    assert answers == list(range(1, 21))


def test_a_handler_may_call_the_hub_during_an_outage(served: Served) -> None:
    errors: list[Exception] = []

    def report(record: logging.LogRecord) -> None:
        if record.levelno >= logging.INFO and "lost" in record.getMessage():
            try:
                hub.invoke("Add", 1, 2)
            except NotConnectedError as error:
                errors.append(error)

    with (
        served.client(reconnect=True, timeouts=Timeouts(ready=0.1)) as hub,
        handling(report, logging.INFO, "signalr_sdk"),
        served.server.faults.refuse(503),
    ):
        served.server.faults.cut()
        until(lambda: errors)


def test_records_come_in_order_on_a_thread_of_their_own_and_say_where_they_were_made(served: Served) -> None:
    records: list[logging.LogRecord] = []
    threads: set[str] = set()

    def note(record: logging.LogRecord) -> None:
        records.append(record)
        threads.add(threading.current_thread().name)

    log = logging.getLogger("signalr_sdk.hub")
    with served.client() as hub, handling(note, logging.DEBUG, "signalr_sdk.hub"):
        log.info("from this thread")
        assert (records.pop().msg, threads.pop()) == ("from this thread", threading.current_thread().name)
        on_loop(hub, lambda: log_numbers(log, 1000))
        until(lambda: len(records) >= 1000)
    numbers = [record.args for record in records if record.msg == "number %d"]
    assert numbers == [(number,) for number in range(1000)]
    assert threads == {"signalr_sdk log"}
    assert {record.threadName for record in records} == {"signalr_sdk loop"}


class Failed(BaseException):
    """As `pytest.fail()` raises it."""


@pytest.mark.parametrize("error", [ValueError, Failed, SystemExit, KeyboardInterrupt])
def test_what_a_handler_raises_loses_that_record_only(served: Served, error: type[BaseException]) -> None:
    told: list[str] = []

    def fail(record: logging.LogRecord) -> None:
        told.append(record.getMessage())
        raise error

    with handling(fail, logging.INFO, "signalr_sdk.hub"), served.client() as hub:
        on_loop(hub, lambda: log_numbers(logging.getLogger("signalr_sdk.hub"), 3))
        until(lambda: "number 2" in told)
        assert hub.invoke("Add", 1, 2) == 3


def test_a_handler_that_hangs_holds_nobody_up_and_loses_records_beyond_the_limit(
    served: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("signalr_sdk.sync.log_thread._MOST_RECORDS", 5)
    goes_on, told = threading.Event(), list[str]()

    def hang(record: logging.LogRecord) -> None:
        goes_on.wait(5)
        told.append(record.getMessage())

    log = logging.getLogger("signalr_sdk.transport")
    with served.client() as hub, handling(hang, logging.INFO, "signalr_sdk.transport", "signalr_sdk.hub"):
        on_loop(hub, lambda: log_numbers(log, 20))
        assert hub.invoke("Add", 1, 2) == 3
        goes_on.set()
        until(lambda: any("records of the event loop's thread were lost" in text for text in told))
        on_loop(hub, lambda: log.info("again"))
        until(lambda: "again" in told)
    numbers = [int(text.removeprefix("number ")) for text in told if text.startswith("number ")]
    assert numbers == list(range(len(numbers)))
    assert 5 <= len(numbers) <= 6
    assert f"log handlers are too slow: {20 - len(numbers)} records" in "\n".join(told)


def test_the_log_thread_ends_with_the_last_connection(served: Served) -> None:
    with handling(lambda _record: None, logging.INFO, "signalr_sdk"), served.client():
        until(lambda: LogThread.running)
    until(lambda: not LogThread.running)


FORGETFUL = """
import logging, sys, time
from signalr_sdk.sync import HubConnection

class Slow(logging.Handler):
    def emit(self, record):
        time.sleep(0.01)
        print(record.getMessage(), flush=True)

log = logging.getLogger("signalr_sdk.hub")
log.addHandler(Slow())
log.setLevel(logging.INFO)
hub = HubConnection(sys.argv[1])
hub.start()
hub._loop_use.call(lambda: [log.info("number %d", number) for number in range(20)])
"""


def test_records_are_handled_before_the_process_ends() -> None:
    code, said = run(
        f"""
        import subprocess
        board, server = serve()
        with server:
            command = [sys.executable, "-W", "error", "-c", {FORGETFUL!r}, server.url("/hub")]
            child = subprocess.run(command, capture_output=True, text=True, timeout=40)
        print(json.dumps([child.returncode, child.stdout + child.stderr]))
        """
    )
    lines = said.splitlines()
    assert (code, lines[0].partition(" to ")[0], lines[-1]) == (0, "connected", "stopped")
    assert lines[1:-1] == [f"number {number}" for number in range(20)]


def test_a_handler_that_waits_for_the_hub_keeps_no_process_alive() -> None:
    assert run(
        f"""
        import subprocess
        board, server = serve()
        with server:
            program = {FORGETFUL.replace("time.sleep(0.01)", 'hub.invoke("Delay", 60_000)')!r}
            command = [sys.executable, "-W", "error", "-c", program, server.url("/hub")]
            child = subprocess.run(command, capture_output=True, text=True, timeout=40)
        print(json.dumps([child.returncode, child.stderr]))
        """
    ) == [0, ""]
