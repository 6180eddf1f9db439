"""What only a process of its own shows: Ctrl-C, exits without `stop()`, forks, and loops in the calling thread."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import textwrap
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]

# Processes take a while to start on a machine that has much to do.
pytestmark = [pytest.mark.slow, pytest.mark.timeout(60)]

PRELUDE = """
import asyncio, json, os, signal, sys, threading, time
from tests.python_server import HubRecord, TwinHub
from tests.sync.conftest import Background, until
from tests.small_hub import SmallHub
from signalr_sdk import *
from signalr_sdk import sync
from signalr_sdk.testing import HubServer

def serve():
    record = HubRecord()
    return record, HubServer({"/hub": type("TwinHub", (TwinHub,), {"seen_by_hubs": record})})

def interrupt_when(condition):
    '''Send this process a real SIGINT when it is true, from another thread.'''
    def watch():
        until(condition)
        time.sleep(0.02)  # the main thread is in its wait by now, or will be: both must do
        times.append(time.monotonic())
        os.kill(os.getpid(), signal.SIGINT)
    times = []
    threading.Thread(target=watch, daemon=True).start()
    return times
"""


def run(script: str, *, status: int = 0, warnings: str = "error") -> Any:
    """Run a script as a process; return what its last line of output says, as JSON."""
    environment = {name: text for name, text in os.environ.items() if not name.lower().endswith("_proxy")}
    environment.pop("PYTHONASYNCIODEBUG", None)  # on a busy machine, asyncio would say what is slow
    done = subprocess.run(
        [sys.executable, "-X", "faulthandler", "-W", warnings, "-c", PRELUDE + textwrap.dedent(script)],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        timeout=50,
        check=False,
    )
    assert (done.returncode, done.stderr) == (status, ""), done.stdout
    return json.loads(done.stdout.splitlines()[-1])


@pytest.mark.skipif(sys.platform == "win32", reason="no SIGINT can be sent to a process of its own on Windows")
@pytest.mark.parametrize(
    ("wait", "waiting"),
    [
        ("hub.invoke('Wait')", "small.calls.qsize()"),
        ("hub.invoke('Wait', timeout=60)", "small.calls.qsize()"),
        ("next(hub.stream('Wait'))", "small.calls.qsize()"),
        ("hub.stream('Wait').next(60)", "small.calls.qsize()"),
        ("hub.wait_closed()", "hub.state is ConnectionState.CONNECTED"),
        ("hub.wait_for('Event')", "hub._hub._dispatcher._subscribers"),
        ("next(hub.messages('Event'))", "hub._hub._dispatcher._subscribers"),
        ("[upload.send(1) for _ in range(65)]", "len(upload._queue._items) == 64"),
    ],
)
def test_ctrl_c_interrupts_a_wait(wait: str, waiting: str) -> None:
    took, calls = run(
        f"""
        background = Background()
        small = background.enter(SmallHub().running())
        upload = sync.Upload()
        with sync.HubConnection(small.url) as hub:
            times = interrupt_when(lambda: {waiting})
            try:
                {wait}
            except KeyboardInterrupt:
                took = time.monotonic() - times[0]
            # The connection is usable, and what was called is cancelled.
            assert hub.invoke("Echo", 1) == 1
            assert list(hub.stream("Count", 3)) == [0, 1, 2]
            calls = [type(small.calls.get_nowait()).__name__ for _ in range(small.calls.qsize())]
        background.close()
        print(json.dumps([took, calls]))
        """
    )
    assert took < 4
    called = {"i": ["Invocation", "CancelInvocation"], "s": ["StreamInvocation", "CancelInvocation"]}
    expected = called["i"] if "invoke" in wait else called["s"] if "stream" in wait else []
    assert calls == expected


@pytest.mark.skipif(sys.platform == "win32", reason="no SIGINT can be sent to a process of its own on Windows")
def test_ctrl_c_interrupts_a_start() -> None:
    took, state = run(
        """
        background = Background()
        small = SmallHub()
        small.answers_handshake = False
        background.enter(small.running())
        hub = sync.HubConnection(small.url)
        times = interrupt_when(lambda: small.count("websocket"))
        try:
            hub.start()
        except KeyboardInterrupt:
            took = time.monotonic() - times[0]
        state = hub.state
        small.answers_handshake = True
        with hub:
            assert hub.invoke("Echo", 1) == 1
        background.close()
        print(json.dumps([took, state]))
        """
    )
    assert took < 4
    assert state == "disconnected"


@pytest.mark.skipif(sys.platform == "win32", reason="no SIGINT can be sent to a process of its own on Windows")
def test_an_interrupted_stream_loses_no_item() -> None:
    assert run(
        """
        board, server = serve()
        with server, sync.HubConnection(server.url("/hub")) as hub:
            numbers, got = hub.stream("Counter", 500, 1), []
            for _ in range(3):
                interrupt_when(lambda goal=len(got) + 100: len(got) >= goal)
                try:
                    for number in numbers:
                        got.append(number)
                except KeyboardInterrupt:
                    pass
            got += numbers
        # One may be lost between the iterator and the list, by the interpreter itself.
        missing = set(range(500)) - set(got)
        print(json.dumps([sorted(got) == got, len(missing)]))
        """
    ) in ([True, 0], [True, 1], [True, 2], [True, 3])


FORGETFUL = """
import sys
from signalr_sdk.sync import HubConnection
hub = HubConnection(sys.argv[1])
hub.on("Event", print)
hub.start()
for number in range(3):
    hub.send("Record", f"last words {number}")
"""


def test_a_process_that_forgets_stop_ends_and_its_last_send_goes_out() -> None:
    status, stderr, seen = run(
        f"""
        import subprocess
        board, server = serve()
        with server:
            command = [sys.executable, "-W", "error", "-c", {FORGETFUL!r}, server.url("/hub")]
            child = subprocess.run(command, capture_output=True, text=True, timeout=40)
            until(lambda: [event for event in board.seen if event.kind == "disconnected"])
        seen = [(event.kind, event.detail) for event in board.seen]
        print(json.dumps([child.returncode, child.stderr, seen]))
        """
    )
    assert (status, stderr) == (0, "")
    # It says goodbye, too: the server has no error to note.
    said = [["recorded", f"last words {number}"] for number in range(3)]
    assert seen == [["connected", "WebSockets"], *said, ["disconnected", None]]


def test_a_forgotten_connection_that_cannot_leave_keeps_no_process_alive() -> None:
    assert (
        run(
            """
        background = Background()
        small = SmallHub()
        small.answers_handshake = False
        background.enter(small.running())
        hub = sync.HubConnection(small.url)
        threading.Thread(target=hub.start, daemon=True).start()
        until(lambda: small.count("websocket"))
        raw = sync.Connection(small.url)
        raw.start()
        handled = threading.Event()
        @hub.on_closed
        def block(error):
            time.sleep(60)
        print(json.dumps("ends"))
        """
        )
        == "ends"
    )


@pytest.mark.skipif(not hasattr(os, "fork"), reason="this system has no fork")
def test_a_fork_after_use() -> None:
    """The child gets a loop thread of its own; a connection that runs in the parent is refused there, with a reason."""
    parent, child = run(
        """
        board, server = serve()
        with server:
            url = server.url("/hub")
            hub, idle = sync.HubConnection(url), sync.HubConnection(url)
            hub.start()
            numbers = hub.stream("Counter", 3, 0)
            assert next(numbers) == 0
            reading, writing = os.pipe()
            pid = os.fork()
            if pid == 0:
                said = []
                for call in (hub.stop, lambda: hub.invoke("Add", 1, 2), lambda: hub.send("Record", "x"), hub.start):
                    try:
                        call()
                    except StateError as error:
                        said.append(str(error))
                with idle:
                    said.append(idle.invoke("Add", 1, 2))
                with sync.HubConnection(url) as new:
                    said.append(new.invoke("Add", 3, 4))
                os.write(writing, json.dumps(said).encode())
                os._exit(0)
            os.waitpid(pid, 0)
            child = json.loads(os.read(reading, 10_000))
            parent = [hub.invoke("Add", 5, 6), *numbers]
            hub.stop()
        print(json.dumps([parent, child]))
        """,
        warnings="ignore",  # Python 3.12 warns of forks in processes with threads, which this is about
    )
    assert parent == [11, 1, 2]
    assert [text for text in child[:-2] if "before the process was forked" in text] == child[:4]
    assert child[-2:] == [3, 7]


def test_a_loop_that_runs_in_the_calling_thread() -> None:
    """As in Jupyter: cells run inside an event loop. The debug mode of asyncio would say that they block this loop."""
    assert run(
        """
        board, server = serve()
        async def cell():
            with sync.HubConnection(server.url("/hub")) as hub:
                never = hub.stream("Counter", 3, 0)
                return [hub.invoke("Add", 1, 2), *hub.stream("Counter", 3, 0), hub.invoke("Sum", (n for n in [1, 2]))]
        with server:
            print(json.dumps(asyncio.run(cell(), debug=False)))
        """
    ) == [3, 0, 1, 2, 3]


AZURE = """
import select, socket
silent = socket.create_server(("127.0.0.1", 0))
string = f"Endpoint=http://127.0.0.1;Port={silent.getsockname()[1]};AccessKey={'k' * 44};Version=1.0;"
"""


@pytest.mark.skipif(sys.platform == "win32", reason="no SIGINT can be sent to a process of its own on Windows")
@pytest.mark.parametrize("call", ["user_exists('anna')", "send_users(['anna', 'bert'], 'Event')"])
def test_ctrl_c_interrupts_a_request_to_azure(call: str) -> None:
    took, threads = run(
        AZURE
        + f"""
with sync.AzureSignalR(string, "chat") as azure:
    times = interrupt_when(lambda: select.select([silent], [], [], 0)[0])
    try:
        azure.{call}
    except KeyboardInterrupt:
        took = time.monotonic() - times[0]
until(lambda: threading.active_count() == 1)
silent.close()
print(json.dumps([took, threading.active_count()]))
"""
    )
    assert took < 4
    assert threads == 1


def test_who_forgets_to_close_azure_ends_as_well() -> None:
    assert run(
        AZURE
        + """
azure = sync.AzureSignalR(string, "chat", timeouts=Timeouts(request=0.05))
try:
    azure.send_all("Event")
except SignalRError as error:
    said = str(error)
silent.close()
print(json.dumps("cannot ask Azure SignalR Service" in said))
"""
    )


def test_importing_it_does_not_import_azure() -> None:
    assert run(
        """
        before = [name for name in sys.modules if name.startswith("signalr_sdk.azure") or name == "jwt"]
        twin = sync.AzureSignalR
        try:
            sync.Missing
        except AttributeError as error:
            said = str(error)
        print(json.dumps([before, twin.__name__, "signalr_sdk.azure" in sys.modules, "jwt" in sys.modules, said]))
        """
    ) == [[], "AzureSignalR", True, False, "module 'signalr_sdk.sync' has no attribute 'Missing'"]
