"""`signalr listen`: events as lines, also across reconnects, until a count, a timeout or Ctrl-C."""

from __future__ import annotations

import asyncio
import datetime
import json
import signal
import sys
from typing import TYPE_CHECKING, Any

import pytest
from tests.cli.running import environment, free_port, process, run

from signalr_sdk.testing import Hub, HubServer

if TYPE_CHECKING:
    import subprocess

    from .conftest import Signalr


# Starting a process can take seconds on a busy machine.
pytestmark = pytest.mark.timeout(60)


class Greeter(Hub):
    """Sends events to each client that connects."""

    async def on_connected(self) -> None:
        await self.clients.caller.send("Hello", 1, {"a": ["é"]})
        await self.clients.caller.send("Other", 2)
        await self.clients.caller.send("hello", 3)


class Whisperer(Hub):
    """Sends one event to each client that connects, and then nothing more."""

    async def on_connected(self) -> None:
        await self.clients.caller.send("Hello")


class Asker(Hub):
    """Calls a method of each client that connects."""

    answers: list[str] = []  # noqa: RUF012 - of this test process only

    async def on_connected(self) -> None:
        asyncio.get_running_loop().call_soon(self._ask)

    def _ask(self) -> None:
        self.task = asyncio.create_task(self._asking())

    async def _asking(self) -> None:
        try:
            self.answers.append(str(await self.clients.caller.invoke("Question", 1)))
        except Exception as error:  # noqa: BLE001 - whatever it is, the test looks at it
            self.answers.append(str(error))
        await self.clients.caller.send("Done")


class Ender(Asker):
    """Calls a method of each client that connects, then ends the connection."""

    answers: list[str] = []  # noqa: RUF012 - of this test process only

    async def _asking(self) -> None:
        await super()._asking()
        self.context.abort()


def events(text: str) -> list[Any]:
    return [json.loads(line) for line in text.splitlines()]


HELLO = {"event": "Hello", "arguments": [1, {"a": ["é"]}]}


def test_every_event_is_a_line(signalr: Signalr) -> None:
    with HubServer({"/greeter": Greeter}) as server:
        done = signalr("listen", server.url("/greeter"), "--count", "3")
    assert done.status == 0
    assert events(done.out) == [
        HELLO,
        {"event": "Other", "arguments": [2]},
        {"event": "hello", "arguments": [3]},
    ]
    assert done.err == "signalr: connected over WebSockets\n"


def test_names_choose_in_any_case(signalr: Signalr) -> None:
    with HubServer({"/greeter": Greeter}) as server:
        done = signalr("listen", server.url("/greeter"), "HELLO", "--count", "2", "--protocol", "messagepack")
    assert [event["arguments"][0] for event in events(done.out)] == [1, 3]


def test_a_second_call_without_its_option_is_told(signalr: Signalr) -> None:
    done = signalr("listen", "http://127.0.0.1:1/hub", "--call", "Join blue", "Join red")
    assert done.status == 2
    assert done.err.startswith("signalr: 'Join red' is no name of an event; write --call again")


def test_time_ends_it(signalr: Signalr) -> None:
    with HubServer({"/greeter": Greeter}) as server:
        done = signalr("listen", server.url("/greeter"), "--timeout", "2")
    assert (done.status, len(events(done.out))) == (0, 3)


def test_a_hub_that_falls_silent_is_left(signalr: Signalr) -> None:
    with HubServer({"/hub": Whisperer}) as server:
        done = signalr("listen", server.url("/hub"), "--count", "3", "--idle", "200ms")
    assert (done.status, len(events(done.out))) == (0, 3)
    assert done.err.count("signalr: connected over WebSockets\n") == 1
    assert done.err.count("signalr: connected again over WebSockets; what the hub sent meanwhile is lost\n") == 2


def test_too_few_in_time_is_status_3(signalr: Signalr) -> None:
    with HubServer({"/greeter": Greeter}) as server:
        done = signalr("listen", server.url("/greeter"), "Other", "--count", "2", "--timeout", "2")
    assert (done.status, len(events(done.out))) == (3, 1)
    assert "1 more events did not come within 2 s" in done.err


def test_no_connection_in_time_is_status_3(signalr: Signalr) -> None:
    done = signalr("listen", "http://127.0.0.1:1/hub", "--timeout", "1")
    assert (done.status, done.out) == (3, "")
    assert "no connection, trying again in" in done.err
    assert "127.0.0.1:1" in done.err
    assert done.err.endswith("signalr: no connection within 1 s\n")


def test_a_wrong_url_does_not_try_for_ever(signalr: Signalr) -> None:
    with HubServer({"/greeter": Greeter}) as server:
        done = signalr("listen", server.url("/wrong"))
    assert (done.status, done.out) == (3, "")
    assert "status 404" in done.err


def test_a_hub_that_ends_it_is_status_1(signalr: Signalr) -> None:
    with HubServer({"/ender": Ender}) as server:
        done = signalr("listen", server.url("/ender"))
    assert (done.status, done.out) == (1, '{"event": "Done", "arguments": []}\n')
    assert "the server closed the connection" in done.err


def test_questions_are_not_answered(signalr: Signalr) -> None:
    Asker.answers.clear()
    with HubServer({"/asker": Asker}) as server:
        done = signalr("listen", server.url("/asker"), "Done", "--count", "1")
    assert done.status == 0
    assert Asker.answers == ["Client didn't provide a result."]


def _line(command: subprocess.Popen[bytes], *, err: bool = False) -> str:
    stream = command.stderr if err else command.stdout
    assert stream is not None
    return stream.readline().decode()


def _until(command: subprocess.Popen[bytes], text: str) -> None:
    while text not in (line := _line(command, err=True)):
        assert line, f"no {text!r} came"


def test_it_waits_for_a_server_and_comes_back_after_an_outage() -> None:
    port = free_port()
    with process("listen", f"http://127.0.0.1:{port}/greeter", "Hello", "--count", "3") as command:
        _until(command, "no connection, trying again in")
        with HubServer({"/greeter": Greeter}, port=port):
            assert json.loads(_line(command)) == HELLO
            assert json.loads(_line(command))["arguments"] == [3]
        _until(command, "no connection, trying again in")
        with HubServer({"/greeter": Greeter}, port=port):
            assert json.loads(_line(command)) == HELLO
            assert command.wait(50) == 0


@pytest.mark.skipif(sys.platform == "win32", reason="sends SIGINT")
def test_ctrl_c_is_status_130_without_a_traceback() -> None:
    with HubServer({"/greeter": Greeter}) as server, process("listen", server.url("/greeter")) as command:
        _until(command, "connected")
        command.send_signal(signal.SIGINT)
        out, err = command.communicate(timeout=50)
    assert command.returncode == 130
    assert b"Traceback" not in err
    assert all(json.loads(line) for line in out.splitlines())


@pytest.mark.skipif(sys.platform == "win32", reason="sends SIGINT")
def test_ctrl_c_while_it_waits_for_a_server() -> None:
    with process("listen", "http://127.0.0.1:1/hub") as command:
        _until(command, "trying again")
        command.send_signal(signal.SIGINT)
        _out, err = command.communicate(timeout=50)
    assert command.returncode == 130
    assert b"Traceback" not in err


@pytest.mark.skipif(sys.platform != "linux", reason="the system must tell that the reader has left")
def test_a_reader_that_leaves_ends_it_quietly() -> None:
    with HubServer({"/greeter": Greeter}) as server, process("listen", server.url("/greeter"), "Hello") as command:
        assert json.loads(_line(command)) == HELLO
        assert command.stdout is not None
        command.stdout.close()
        assert command.wait(50) == 0
        assert _line(command, err=True) == "signalr: connected over WebSockets; prints only Hello\n"
        assert _line(command, err=True) == ""


def test_in_a_pipe_of_ascii_all_is_ascii() -> None:
    with HubServer({"/greeter": Greeter}) as server:
        done = run(
            "listen", server.url("/greeter"), "--count", "1", env=environment(PYTHONUTF8="0", PYTHONIOENCODING="ascii")
        )
    assert json.loads(done.stdout) == HELLO
    assert "\\u00e9" in done.stdout


class Rooms(Hub):
    """Tells the members of a room that somebody has come in."""

    async def join(self, room: str, number: int) -> None:
        await self.groups.add(self.context.connection_id, room)
        await self.clients.group(room).send("Joined", room, number)


def test_calls_come_first_on_each_connection() -> None:
    port = free_port()
    with process("listen", f"localhost:{port}/rooms", "--call", "Join 'the blue room' 1", "--count", "2") as command:
        for _ in range(2):
            with HubServer({"/rooms": Rooms}, port=port):
                assert json.loads(_line(command)) == {"event": "Joined", "arguments": ["the blue room", 1]}
        assert command.wait(50) == 0


def test_a_call_that_the_hub_refuses_is_status_1(signalr: Signalr) -> None:
    with HubServer({"/rooms": Rooms}) as server:
        done = signalr("listen", server.url("/rooms"), "--call", "Jion blue")
    assert (done.status, done.out) == (1, "")
    assert "--call: Failed to invoke 'Jion'" in done.err


def test_questions_are_answered_and_shown(signalr: Signalr) -> None:
    Asker.answers.clear()
    with HubServer({"/asker": Asker}) as server:
        done = signalr("listen", server.url("/asker"), "--answer", 'Question={"ok": true}', "--count", "2")
    assert Asker.answers == ["{'ok': True}"]
    assert events(done.out) == [{"event": "Question", "arguments": [1]}, {"event": "Done", "arguments": []}]


def test_for_a_time_with_times_and_names_as_options(signalr: Signalr) -> None:
    with HubServer({"/greeter": Greeter}) as server:
        done = signalr("listen", server.url("/greeter"), "-e", "Hello", "--for", "2s", "-t", "--count", "5")
    assert done.status == 0
    assert [event["arguments"][0] for event in events(done.out)] == [1, 3]
    assert all(datetime.datetime.fromisoformat(event["time"]).tzinfo for event in events(done.out))
    time, said = done.err.removeprefix("signalr: ").split(maxsplit=1)
    assert datetime.datetime.fromisoformat(time).tzinfo
    assert said == "connected over WebSockets; prints only Hello\n"


def test_for_a_time_without_a_connection_is_status_3(signalr: Signalr) -> None:
    done = signalr("listen", "http://127.0.0.1:1/hub", "--for", "300ms")
    assert (done.status, done.out) == (3, "")
    assert done.err.endswith("signalr: no connection within 0.3 s\n")


def test_outages_have_times_too(signalr: Signalr) -> None:
    done = signalr("listen", "http://127.0.0.1:1/hub", "--timestamps", "--timeout", "1s")
    time, said = done.err.removeprefix("signalr: ").split(maxsplit=1)
    assert datetime.datetime.fromisoformat(time).tzinfo
    assert said.startswith("no connection, trying again in")


def test_a_reason_is_told_once(signalr: Signalr) -> None:
    done = signalr("listen", "http://127.0.0.1:1/hub", "--timeout", "4s")
    assert done.err.count("cannot connect to 127.0.0.1:1") == 1
    assert "signalr: still no connection, trying again in" in done.err
