"""`signalr connect`: lines from a pipe and on a terminal, events between, and an outage."""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
import stat
import subprocess
import sys
from collections.abc import AsyncIterator
from typing import IO, TYPE_CHECKING, Any

import pytest
import typer
from prompt_toolkit.application import create_app_session
from prompt_toolkit.document import Document
from prompt_toolkit.input import create_pipe_input
from prompt_toolkit.output import DummyOutput
from tests.cli.running import free_port, in_terminal_until, process, run
from tests.raw_client import until as wait_until

from signalr_sdk import HubConnection, Timeouts
from signalr_sdk.cli.bot_options import BotOptions
from signalr_sdk.cli.connect import terminal
from signalr_sdk.cli.connect.lines import HELP, Line, Verb, parse_line
from signalr_sdk.cli.connect.session import Session
from signalr_sdk.cli.written_calls import WrittenCall, parse_call
from signalr_sdk.testing import HubServer
from signalr_sdk.testing.demo_hub import DemoHub

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

# Starting a process can take seconds on a busy machine.
pytestmark = pytest.mark.timeout(60)

posix = pytest.mark.skipif(sys.platform == "win32", reason="needs pseudo-terminals")


@pytest.fixture
def url() -> Iterator[str]:
    """The URL of the demo hub."""
    with HubServer({"/chat": DemoHub}, detailed_errors=True, parallel_invocations=2) as server:
        yield server.url("/chat")


# What is written


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("Add 1 2", Line(Verb.INVOKE, "Add", [1, 2])),
        ("invoke on 1", Line(Verb.INVOKE, "on", [1])),
        ("  stream Counter 5 ", Line(Verb.STREAM, "Counter", [5])),
        ("send Post {\"a\": [1, 2]} 'b c' =1", Line(Verb.SEND, "Post", [{"a": [1, 2]}, "b c", "1"])),
        ("on Trade", Line(Verb.ON, "Trade")),
        ("off", Line(Verb.OFF)),
        ('answer Ask={"ok": true}', Line(Verb.ANSWER, "Ask", [{"ok": True}])),
        ("help", Line(Verb.HELP)),
        ("?", Line(Verb.HELP)),
        ("quit", Line(Verb.EXIT)),
        ("", None),
        ("# a comment", None),
    ],
)
def test_a_line_means(text: str, line: Line | None) -> None:
    assert parse_line(text) == line


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("stream", "the method is missing; write stream METHOD [ARGS]..."),
        ("answer Ask", "write METHOD=VALUE"),
        ("Post {a", "begins like JSON, but is none"),
        ("Post 'a", "a single quote is missing"),
        ('Post {"a": 1}x', "a blank is missing before 'x'"),
        ('{"a": 1}', "the method's name comes first"),
    ],
)
def test_a_line_that_makes_no_sense(text: str, said: str) -> None:
    with pytest.raises(ValueError, match=re.escape(said)):
        parse_line(text)


def test_the_help_has_every_verb() -> None:
    assert all(re.search(rf"\b{verb}\b", HELP) for verb in Verb)


def test_a_call_needs_a_method() -> None:
    assert parse_call("Join") == WrittenCall("Join", [])
    with pytest.raises(ValueError, match="the method is missing"):
        parse_call("  ")


# In a pipe


def objects(text: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in text.splitlines()]


def test_lines_in_are_json_lines_out(url: str) -> None:
    lines = """\
Add 1 2
stream Counter 2
send JoinRoom blue
# a comment
answer YourName=Anna
Greet
off YourName
Greet
help
exit
Add 1 1
"""
    done = run("connect", url, input=lines)
    assert (done.returncode, done.stderr.splitlines()[0]) == (0, "signalr: connected over WebSockets")
    assert objects(done.stdout) == [
        {"call": "Add", "result": 3},
        {"call": "Counter", "item": 0},
        {"call": "Counter", "item": 1},
        {"call": "Counter", "items": 2},
        {"call": "JoinRoom", "sent": True},
        {"event": "YourName", "arguments": []},
        {"call": "Greet", "result": "Hello, Anna!"},
        {"call": "Greet", "result": "Hello, Anna!"},
    ]
    assert "stream Counter 5" in done.stderr


@pytest.mark.parametrize(
    ("line", "status", "error"),
    [
        ("Fail no", 1, "An unexpected error occurred invoking 'Fail' on the server. HubException: no"),
        ("Add x 1", 1, 'the arguments went out as text "x", number 1'),
        ("stream Add 1 2", 1, "call it with invoke"),
        ("Greet", 1, "signalr connect shows which, and answers it with the line answer METHOD=VALUE or --answer"),
        ("Add {", 2, "'{' begins like JSON, but is none"),
    ],
)
def test_what_fails_is_told_and_is_the_status(url: str, line: str, status: int, error: str) -> None:
    done = run("connect", url, input=f"{line}\nAdd 1 2\n")
    failed, added = objects(done.stdout)
    assert (done.returncode, added) == (status, {"call": "Add", "result": 3})
    assert error in failed["error"]


def test_calls_on_each_connection_and_answers_are_options_too(url: str) -> None:
    done = run("connect", url, "--call", "JoinRoom blue", "--answer", "YourName=Eve", input="Greet\n")
    assert objects(done.stdout)[-1] == {"call": "Greet", "result": "Hello, Eve!"}
    refused = run("connect", url, "--call", "Join blue", input="Greet\n")
    assert (refused.returncode, refused.stdout) == (1, "")
    assert "--call: Failed to invoke 'Join'" in refused.stderr


def test_a_call_of_this_client_that_nobody_answers_is_told(url: str) -> None:
    done = run("connect", url, input="Greet\nanswer yourname=Anna\nGreet\n")
    assert objects(done.stdout)[-1] == {"call": "Greet", "result": "Hello, Anna!"}
    told = [line for line in done.stderr.splitlines() if "gets no answer" in line]
    assert told == [
        "signalr: the hub calls YourName() and gets no answer; to answer, write answer YourName=VALUE",
    ]


def test_a_wrong_address_is_status_3() -> None:
    with HubServer({"/chat": DemoHub}) as server:
        done = run("connect", server.url("/chta"), input="Add 1 2\n")
    assert (done.returncode, done.stdout) == (3, "")
    assert "status 404" in done.stderr


class Ender(DemoHub):
    """Ends each connection for good."""

    async def leave(self) -> None:
        self.context.abort()


def test_a_hub_that_ends_the_connection_is_status_1() -> None:
    with (
        HubServer({"/chat": Ender}) as server,
        process("connect", server.url("/chat"), stdin=subprocess.PIPE) as command,
    ):
        assert command.stdin is not None
        assert command.stderr is not None
        command.stdin.write(b"send Leave\n")
        command.stdin.flush()
        # Standard input stays open: the end of the connection ends the command.
        assert command.wait(50) == 1
        assert b"signalr: the server closed the connection" in command.stderr.read()


async def test_names_for_the_completion_are_bounded(url: str) -> None:
    session = Session(HubConnection(url), Recorded(), BotOptions([], {}))
    for number in range(2000):
        await session._event(f"Event{number}", ())
    assert len(session.events) == 1000


def test_lines_wait_while_there_is_no_connection() -> None:
    port = free_port()
    with process("connect", f"localhost:{port}/chat", stdin=subprocess.PIPE) as command:
        assert command.stdin is not None
        assert command.stdout is not None
        assert command.stderr is not None
        command.stdin.write(b"Add 1 2\n")
        command.stdin.flush()
        until(command.stderr, "no connection, trying again")
        with HubServer({"/chat": DemoHub}, port=port):
            assert json.loads(command.stdout.readline()) == {"call": "Add", "result": 3}
        until(command.stderr, "no connection, trying again")
        command.stdin.write(b"Add 3 4\n")
        command.stdin.close()
        with HubServer({"/chat": DemoHub}, port=port):
            assert json.loads(command.stdout.readline()) == {"call": "Add", "result": 7}
            until(command.stderr, "connected again")
            assert command.wait(50) == 0


@posix
def test_ctrl_c_names_the_call_that_is_cancelled() -> None:
    with (
        HubServer({"/chat": Slow}) as server,
        process("connect", server.url("/chat"), stdin=subprocess.PIPE) as command,
    ):
        assert command.stdin is not None
        assert command.stdout is not None
        assert command.stderr is not None
        command.stdin.write(b"stream Ticks\n")
        command.stdin.flush()
        assert json.loads(command.stdout.readline()) == {"call": "Ticks", "item": 1}
        command.send_signal(signal.SIGINT)
        assert command.wait(50) == 130
        said = command.stderr.read().decode().splitlines()
    assert said[-2:] == ["signalr: cancelled: stream Ticks", "signalr: interrupted"]


def until(stream: IO[bytes], text: str) -> None:
    """Read lines until one has this text."""
    while text not in (line := stream.readline().decode()):
        assert line, f"no {text!r} came"


# On a terminal


class Recorded:
    """A screen that keeps what it shows."""

    def __init__(self) -> None:
        self.shown: list[str] = []
        self.more = asyncio.Event()

    def note(self, text: str) -> None:
        self.shown.append(text)
        self.more.set()

    async def event(self, name: str, arguments: tuple[Any, ...]) -> None:
        self.note(f"event {name} {arguments}")

    async def result(self, method: str, value: Any) -> None:
        self.note(f"{method} is {value}")

    async def item(self, method: str, value: Any) -> None:
        self.note(f"{method} item {value}")

    async def ended(self, method: str, count: int) -> None:
        self.note(f"{method} ended after {count}")

    async def sent(self, method: str) -> None:
        self.note(f"{method} sent")

    async def failed(self, what: str, why: str) -> None:
        self.note(f"{what} failed: {why}")

    async def until(self, text: str) -> None:
        """Wait until this is shown."""
        while text not in self.shown:
            self.more.clear()
            await self.more.wait()


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder for the settings of `signalr`."""
    monkeypatch.setattr(typer, "get_app_dir", lambda name: str(tmp_path / name))
    return tmp_path / "signalr"


async def test_the_user_chooses_the_events(url: str) -> None:
    screen = Recorded()
    session = Session(HubConnection(url), screen, BotOptions([], {}))

    async def shown_after(line: str) -> list[str]:
        await session.run_line(line)
        screen.shown.clear()
        for name in ("One", "Two"):
            await session._event(name, ())
        return [text.split()[1] for text in screen.shown]

    assert await shown_after("# nothing chosen") == ["One", "Two"]
    assert await shown_after("off one") == ["Two"]
    assert await shown_after("on ONE") == ["One"]
    assert await shown_after("on two") == ["One", "Two"]
    assert await shown_after("off one") == ["Two"]
    assert await shown_after("off") == []
    assert await shown_after("on") == ["One", "Two"]
    await session.run_line("off one")
    assert screen.shown[-1] == "all events are shown but one"
    await session.run_line("on one")
    assert screen.shown[-1] == "events that are shown: one"


class Slow(DemoHub):
    """The demo hub with a stream that does not end."""

    async def ticks(self) -> AsyncIterator[int]:
        yield 1
        await asyncio.Event().wait()


async def test_lines_are_typed_while_calls_run(settings: Path) -> None:
    screen = Recorded()
    async with HubServer({"/chat": Slow}) as server:
        session = Session(HubConnection(server.url("/chat")), screen, BotOptions([], {}))
        await _typed(session, screen)
    history = settings / "history"
    assert os.name == "nt" or stat.S_IMODE(history.stat().st_mode) == 0o600
    assert "+Add 1 2" in history.read_text()


async def _typed(session: Session, screen: Recorded) -> None:
    with create_pipe_input() as keys, create_app_session(input=keys, output=DummyOutput()):

        async def user() -> None:
            keys.send_text("stream Ticks\n")
            await screen.until("Ticks item 1")
            keys.send_text("Add 1 2\n")
            await screen.until("Add is 3")
            keys.send_text("half a line\x03")  # Ctrl-C cancels the stream
            await screen.until("cancelled: stream Ticks")
            keys.send_text("Add 3 4\n")
            await screen.until("Add is 7")
            keys.send_text("Add 5 6\n")
            await screen.until("Add is 11")
            keys.send_text("\x04")  # Ctrl-D

        async with session.hub:
            typing = asyncio.create_task(user())
            await session.until_closed(terminal.run_terminal(session, "chat"))
            await typing


async def test_a_call_waits_for_a_connection_until_it_is_cancelled() -> None:
    screen = Recorded()
    async with HubServer({"/chat": DemoHub}) as server:
        hub = HubConnection(server.url("/chat"), timeouts=Timeouts(ready=0.01))
        session = Session(hub, screen, BotOptions([], {}))
        await hub.start()
    try:
        await wait_until(lambda: not session.is_connected)
        tasks = {session.start_line("Add 1 2"), session.start_line(f"Fail {'x' * 100}")}
        assert session.cancel_calls()
        assert screen.shown[-1] == f"cancelled: Add 1 2; Fail {'x' * 55}…"
        await asyncio.wait(tasks)
        assert not session.cancel_calls()
        later = session.start_line("Add 3 4")
        async with HubServer({"/chat": DemoHub}, port=server.port):
            await later
            assert screen.shown[-1] == "Add is 7"
    finally:
        await hub.stop()


@pytest.mark.parametrize("end", ["exit\n", " quit now\n", "\x04"])
@pytest.mark.usefixtures("settings")
async def test_ways_to_end_it(url: str, end: str) -> None:
    session = Session(HubConnection(url), Recorded(), BotOptions([], {}))
    with create_pipe_input() as keys, create_app_session(input=keys, output=DummyOutput()):
        async with session.hub:
            keys.send_text(end)
            await session.until_closed(terminal.run_terminal(session, "chat"))
    assert not session.is_connected


async def test_what_was_used_completes(url: str) -> None:
    screen = Recorded()
    session = Session(HubConnection(url), screen, BotOptions([], {}))
    words = terminal.UsedWords(session)
    async with session.hub:
        await session.run_line("SendMessage a b")
        await screen.until("event ReceiveMessage ('a', 'b')")

    def completed(text: str) -> list[str]:
        return [each.text for each in words.get_completions(Document(text), None)]

    assert completed("s") == ["SendMessage", "stream", "send"]
    assert completed("stream se") == ["SendMessage"]
    assert completed("on r") == ["ReceiveMessage"]
    assert completed("Add 1") == []
    assert completed("stream SendMessage a") == []


def test_the_history_is_bounded_and_not_needed(settings: Path) -> None:
    settings.mkdir()
    (settings / "history").write_text("\n# time\n+Add 1 2\n" * 100_000)
    terminal._history(settings / "history")
    assert 0 < (settings / "history").stat().st_size < 256 * 1024
    assert (settings / "history").read_text().startswith("\n# time\n+Add")
    assert "InMemory" in type(terminal._history(settings / "history" / "no folder")).__name__


def user_of(*steps: tuple[str, str]) -> Callable[[str], str | None]:
    """Return a user who types a text when a line and then the prompt are on the screen, step by step.

    While prompt_toolkit prints a line, the terminal reads Ctrl-D and Ctrl-C itself: the prompt shows that this is over.
    """
    left = list(steps)

    def user(shown: str) -> str | None:
        shown = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", shown)
        return left.pop(0)[1] if left and "chat>" in shown.partition(left[0][0])[2] else None

    return user


# Without PROMPT_TOOLKIT_NO_CPR, prompt_toolkit asks the terminal where the cursor is, and waits for the answer.


@posix
def test_on_a_terminal(url: str, tmp_path: Path) -> None:
    user = user_of(("help", "Add 20 22\r"), ("42\r", "answer YourName=Anna\rGreet\r"), ("Hello, Anna!", "\x04"))
    status, shown = in_terminal_until(user, "connect", url, XDG_CONFIG_HOME=str(tmp_path), PROMPT_TOOLKIT_NO_CPR="1")
    assert status == 0, shown
    assert "connected over WebSockets" in shown
    assert "Traceback" not in shown


@posix
def test_ctrl_c_on_an_empty_line_ends_it(url: str, tmp_path: Path) -> None:
    user = user_of(("help", "\x03"))
    status, shown = in_terminal_until(user, "connect", url, XDG_CONFIG_HOME=str(tmp_path), PROMPT_TOOLKIT_NO_CPR="1")
    assert status == 130, shown
    assert shown.rstrip().endswith("signalr: interrupted")
