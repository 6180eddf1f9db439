"""What every test must leave as it found it: tasks, transports, sockets and threads; and no ERROR in the log.

And the fixtures that several rooms use. With `CI=true` a skipped test is a failure, but with `--may-skip`.
"""

from __future__ import annotations

import asyncio
import inspect
import logging
import os
import signal
import sys
import threading
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

import pytest
from hypothesis import HealthCheck, settings
from tests.scripted import ScriptedServer
from tests.servers import Authority

from signalr_sdk._http.aiohttp_client import AiohttpClient
from signalr_sdk._http.aiohttp_exchange import Exchanges

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Generator, Iterator

IN_CI = os.environ.get("CI") == "true"

# A slow machine is no slow code. In CI the examples are the same each time.
settings.register_profile("tests", deadline=None, suppress_health_check=[HealthCheck.too_slow], derandomize=IN_CI)
settings.load_profile("tests")

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    # So it is where the run was started in the background, and so it would be for all that tests start.
    signal.signal(signal.SIGINT, signal.default_int_handler)

# Closing takes a moment: TLS says goodbye, threads unwind. What is left after this is a leak.
DEADLINE = 2.0  # seconds
PAUSE = 0.005
# An ERROR means that something went wrong and no caller was told. asyncio's are tasks and callbacks that failed unseen.
LOGGERS = ("signalr_sdk", "asyncio")
# asyncio's debug mode has an ERROR for each client that breaks off the handshake of TLS. That is the client's affair.
OF_DEBUG_MODE = "Error on transport creation for incoming connection"
FILES = Path("/proc/self/fd")

Report = TypeVar("Report", pytest.TestReport, pytest.CollectReport)


# A time limit is repeated after so many seconds.
LIMIT_AGAIN = 10.0

# A test that Hypothesis repeats with many examples takes longer than others on a slow machine.
MANY_EXAMPLES_LIMIT = 60  # seconds

# The time limit of each test is multiplied by this number. `.ci/run` runs many tests side by side. In asyncio's debug
# mode, each callback notes where it was made, which takes ten times as long as to run it.
PATIENCE = float(os.environ.get("TEST_PATIENCE", "1")) * (10 if os.environ.get("PYTHONASYNCIODEBUG") else 1)


def pytest_configure(config: pytest.Config) -> None:
    if config.getoption("dist", "no") == "no":
        # In a process that runs tests: coverage does not measure the processes that tests start, which it would slow.
        os.environ.pop("COVERAGE_PROCESS_CONFIG", None)


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    for item in items:
        repeated = getattr(getattr(item, "obj", None), "is_hypothesis_test", False)
        if repeated and item.get_closest_marker("timeout") is None:
            item.add_marker(pytest.mark.timeout(MANY_EXAMPLES_LIMIT))
        if PATIENCE != 1:
            marker = item.get_closest_marker("timeout")
            limit = float(config.getini("timeout")) if marker is None else marker.args[0]
            item.add_marker(pytest.mark.timeout(PATIENCE * limit), append=False)


# Skipped tests


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--may-skip", action="store_true", help="with CI=true too, skipped tests are no failures")


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_makereport(item: pytest.Item) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    with _without_limit():
        report = yield
    return _not_skipped(item.config, report)


@pytest.hookimpl(wrapper=True)
def pytest_make_collect_report(
    collector: pytest.Collector,
) -> Generator[None, pytest.CollectReport, pytest.CollectReport]:
    report = yield
    return _not_skipped(collector.config, report)


@contextmanager
def _without_limit() -> Iterator[None]:
    """Stop the test's time limit: a limit that ends while a report is made would end the whole run."""
    if sys.platform == "win32":
        yield
        return
    left, interval = signal.setitimer(signal.ITIMER_REAL, 0)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, left, interval)


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_call() -> None:
    """Repeat the test's time limit: asyncio may catch the exception of the first one, and the test would go on."""
    if sys.platform != "win32":
        left, _interval = signal.getitimer(signal.ITIMER_REAL)
        signal.setitimer(signal.ITIMER_REAL, left, LIMIT_AGAIN)


def _not_skipped(config: pytest.Config, report: Report) -> Report:
    """Make a failure of what was skipped, where nothing is to be skipped."""
    if IN_CI and report.skipped and not hasattr(report, "wasxfail") and not config.option.may_skip:
        report.outcome = "failed"
        report.longrepr = f"skipped, which CI does not allow: {report.longrepr}"
    return report


# What is left behind


class _Records(logging.Handler):
    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self.records: list[logging.LogRecord] = []

    def emit(self, record: logging.LogRecord) -> None:
        if not record.getMessage().startswith(OF_DEBUG_MODE):
            self.records.append(record)


@pytest.fixture
def expected_errors() -> list[logging.LogRecord]:
    """For tests that provoke ERROR log records: they gather here, and it is a failure if there is none."""
    return []


@pytest.fixture(autouse=True)
def error_records(request: pytest.FixtureRequest) -> Iterator[None]:
    """Fail a test that logs an ERROR, unless it declares that with the fixture `expected_errors`."""
    expected = "expected_errors" in request.fixturenames
    handler = _Records()
    if expected:
        handler.records = request.getfixturevalue("expected_errors")
    for name in LOGGERS:
        logging.getLogger(name).addHandler(handler)
    yield
    for name in LOGGERS:
        logging.getLogger(name).removeHandler(handler)
    if expected and not handler.records:
        pytest.fail("expected_errors: no ERROR was logged", pytrace=False)
    if not expected and handler.records:
        lines = [logging.Formatter("%(name)s: %(message)s").format(record) for record in handler.records]
        pytest.fail("unexpected ERROR log records:\n" + "\n".join(lines), pytrace=False)


@pytest.fixture(autouse=True)
def left_in_process(error_records: None) -> Iterator[None]:
    """Fail a test that leaves a thread or a socket behind; looks when the event loop of the test is closed."""
    threads = set(threading.enumerate())
    open_before = sockets()
    yield
    left = _poll(lambda: [*_new_threads(threads), *sorted(sockets() - open_before)])
    if left:
        pytest.fail(f"left behind: {', '.join(left)}", pytrace=False)


@pytest.fixture(autouse=True)
def left_in_loop(request: pytest.FixtureRequest, left_in_process: None) -> None:
    """Do the same for tasks and transports, in tests that have an event loop, before it is closed."""
    if inspect.iscoroutinefunction(inspect.unwrap(request.function)):
        request.getfixturevalue("_left_in_loop")


@pytest.fixture
async def _left_in_loop() -> AsyncIterator[None]:
    loop = asyncio.get_running_loop()
    ours = asyncio.current_task()
    tasks = asyncio.all_tasks()
    open_before = watched(loop)
    yield
    ours_now = asyncio.current_task()
    deadline = time.monotonic() + DEADLINE
    while True:
        left = [repr(task) for task in asyncio.all_tasks() - tasks - {ours, ours_now}]
        left += sorted(watched(loop) - open_before)
        if not left:
            return
        if time.monotonic() > deadline:
            pytest.fail("left behind in the event loop:\n" + "\n".join(left), pytrace=False)
        await asyncio.sleep(PAUSE)


def _poll(look: Callable[[], list[str]]) -> list[str]:
    """Return what is still there at the deadline."""
    deadline = time.monotonic() + DEADLINE
    while (left := look()) and time.monotonic() < deadline:
        time.sleep(PAUSE)
    return left


def _new_threads(before: set[threading.Thread]) -> list[str]:
    return [repr(thread) for thread in threading.enumerate() if thread not in before]


def sockets() -> set[str]:
    """Return the open sockets of this process; an empty set where the system does not show them."""
    if not sys.platform.startswith("linux"):
        return set()
    found = set()
    for entry in os.listdir(FILES):  # noqa: PTH208  # called for every test
        try:
            target = os.readlink(FILES / entry)  # noqa: PTH115  # the target is no path
        except OSError:  # the one that listdir itself had open
            continue
        if target.startswith("socket:"):
            found.add(target)
    return found


def watched(loop: asyncio.AbstractEventLoop) -> set[str]:
    """Return sockets, and what the loop waits for: transports, servers and its own pipe.

    Empty where the loop does not tell: uvloop makes sockets of its own when it first needs them.
    """
    selector = getattr(loop, "_selector", None)
    keys = selector.get_map() if selector is not None else None
    return {f"{key.fileobj!r}: {key.data!r}" for key in keys.values()} | sockets() if keys else set()


@pytest.fixture
async def server() -> ScriptedServer:
    """A scripted hub server."""
    return ScriptedServer()


@pytest.fixture(params=[True, False], ids=["direct", "over its session"])
async def client(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[AiohttpClient]:
    """An HTTP client with a session of its own, once with `Exchanges` and once without, as with another aiohttp."""
    if not request.param:
        monkeypatch.setattr(Exchanges, "possible", lambda: False)
    client = AiohttpClient()
    yield client
    await client.close()


@pytest.fixture(scope="module")
def authority() -> Authority:
    """A certificate authority that no machine trusts."""
    return Authority()


@pytest.fixture(autouse=True)
def no_environment_proxies(monkeypatch: pytest.MonkeyPatch) -> None:
    """A proxy of the machine must not come between the tests and their servers."""
    for name in ("http_proxy", "https_proxy", "no_proxy", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
