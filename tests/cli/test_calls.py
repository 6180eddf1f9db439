"""`invoke`, `send` and `stream` with the test server, and their uploads."""

from __future__ import annotations

import asyncio
import json
import signal
import subprocess
import sys
import threading
import time
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.cli.conftest import Signalr  # noqa: TC002 - as above
from tests.cli.running import environment, in_terminal, in_terminal_until, process, run

from signalr_sdk import HubError
from signalr_sdk.cli.hub_errors import explained
from signalr_sdk.cli.uploaded_lines import UploadedLines
from signalr_sdk.testing import Hub, HubException, HubServer
from signalr_sdk.testing.demo_hub import DemoHub

# Starting a process can take seconds on a busy machine.
pytestmark = pytest.mark.timeout(60)

TOKEN = "eyJhbGciOiJub25lIn0.eyJzdWIiOiJtZSJ9.secret-signature"
posix = pytest.mark.skipif(sys.platform == "win32", reason="sends SIGINT")


class Tape(DemoHub):
    """The demo hub with more methods, which records the values that it gets in `told`."""

    told: list[Any]

    async def note(self, value: Any) -> None:
        self.told.append(value)

    async def note_pair(self, one: Any, two: Any) -> None:
        self.told.append((one, two))

    async def note_all(self, values: AsyncIterator[Any]) -> int:
        count = 0
        async for value in values:
            self.told.append(value)
            count += 1
        return count

    async def double(self, values: AsyncIterator[int]) -> AsyncIterator[int]:
        async for value in values:
            yield 2 * value

    async def count_then_fail(self, count: int) -> AsyncIterator[int]:
        for number in range(count):
            yield number
        raise HubException("no more")

    async def forever(self) -> AsyncIterator[int]:
        number = 0
        while True:
            yield number
            number += 1
            await asyncio.sleep(0.01)

    async def one_and_silence(self) -> AsyncIterator[int]:
        yield 1
        try:
            await asyncio.Event().wait()
        finally:
            self.told.append("left")


@pytest.fixture
def told() -> list[Any]:
    """The values that the hub got."""
    return []


@pytest.fixture
def url(told: list[Any]) -> Iterator[str]:
    """The URL of a hub."""
    hub = type("TapeOfThisTest", (Tape,), {"told": told})
    with HubServer({"/tape": hub}, parallel_invocations=2) as server:
        yield server.url("/tape")


def wait_told(told: list[Any], count: int) -> None:
    """Wait until the hub has got `count` values: the hub may handle a message after the command has ended."""
    deadline = time.monotonic() + 30
    while len(told) < count:
        assert time.monotonic() < deadline, f"{len(told)} of {count} came"
        time.sleep(0.01)


def lines(text: str) -> list[Any]:
    return [json.loads(line) for line in text.splitlines()]


# stream


def test_items_are_lines_of_json(signalr: Signalr, url: str) -> None:
    done = signalr("stream", url, "Counter", "3")
    assert (done.status, done.out, done.err) == (0, "0\n1\n2\n", "")


def test_a_count_ends_the_stream(signalr: Signalr, url: str) -> None:
    done = signalr("stream", url, "Forever", "--count", "2")
    assert (done.status, done.out) == (0, "0\n1\n")


def test_items_before_an_error_are_printed(signalr: Signalr, url: str) -> None:
    done = signalr("stream", url, "CountThenFail", "2500")
    assert done.status == 1
    assert lines(done.out) == list(range(2500))
    assert "no more" in done.err


def test_items_before_a_timeout_are_printed(signalr: Signalr, url: str) -> None:
    done = signalr("stream", url, "OneAndSilence", "--timeout", "2")
    assert (done.status, done.out, done.err) == (
        3,
        "1\n",
        "signalr: no answer within 2 s; --timeout gives it more time\n",
    )


def test_a_reader_that_leaves_ends_it_quietly(url: str) -> None:
    with process("stream", url, "Forever") as command:
        assert command.stdout is not None
        assert command.stderr is not None
        assert command.stdout.readline() == b"0\n"
        command.stdout.close()
        assert command.wait(50) == 0
        assert command.stderr.read() == b""


@pytest.mark.skipif(sys.platform != "linux", reason="the system must tell that the reader has left")
def test_a_reader_that_leaves_is_noticed_while_nothing_comes(url: str, told: list[Any]) -> None:
    with process("stream", url, "OneAndSilence") as command:
        assert command.stdout is not None
        assert command.stdout.readline() == b"1\n"
        command.stdout.close()
        assert command.wait(50) == 0


@posix
def test_a_reader_that_has_stopped_does_not_hold_up_ctrl_c(url: str) -> None:
    with process("stream", url, "Counter", "1000000") as command:
        assert command.stdout is not None
        assert command.stderr is not None
        assert command.stdout.readline() == b"0\n"
        command.send_signal(signal.SIGINT)
        assert command.wait(50) == 130
        assert command.stderr.read() == b"signalr: interrupted\n"


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a device that takes nothing")
def test_a_full_disk_is_told(url: str) -> None:
    with Path("/dev/full").open("wb") as full, process("stream", url, "Counter", "3", stdout=full) as command:
        assert command.stderr is not None
        assert command.wait(50) == 2
        assert command.stderr.read() == b"signalr: cannot write to standard output: No space left on device\n"


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs a device that takes nothing")
@pytest.mark.parametrize(
    "command",
    [("azure", "negotiate", "chat"), ("negotiate",), ("doctor", "--keep-alive", "0"), ("--help",)],
    ids=lambda command: command[0],
)
def test_a_full_disk_is_told_by_commands_that_print_once(url: str, command: tuple[str, ...]) -> None:
    arguments = (*command, url) if command[0] in ("negotiate", "doctor") else command
    service = f"Endpoint=https://x.test;AccessKey={'key' * 20};Version=1.0;"
    environ = environment(AZURE_SIGNALR_CONNECTION_STRING=service)
    with Path("/dev/full").open("wb") as full, process(*arguments, stdout=full, env=environ) as running:
        assert running.stderr is not None
        assert running.wait(50) == 2
        # The doctor says on standard error what it waits for.
        said = running.stderr.read().splitlines()[1 if command == ("doctor",) else 0 :]
        assert said == [b"signalr: cannot write to standard output: No space left on device"]


# Uploads


def test_lines_of_standard_input_are_uploaded(url: str, told: list[Any]) -> None:
    text = '1\n{"a": 2}\nplain\n\n  "spaced" \r\nthe last has no end'
    done = run("invoke", url, "NoteAll", "--upload", "-", input=text)
    assert (done.returncode, done.stdout, done.stderr) == (0, "6\n", "")
    assert told == [1, {"a": 2}, "plain", "", "spaced", "the last has no end"]


def test_lines_of_a_file_are_uploaded(signalr: Signalr, url: str, tmp_path: Path) -> None:
    (tmp_path / "numbers").write_text("".join(f"{number}\n" for number in range(30_000)))
    done = signalr("invoke", url, "Sum", "--upload", str(tmp_path / "numbers"))
    assert (done.status, done.out) == (0, f"{sum(range(30_000))}\n")


def test_lines_go_out_as_they_come_in_and_the_answer_comes_meanwhile(url: str) -> None:
    with process("stream", url, "Double", "--upload", "-", stdin=subprocess.PIPE) as command:
        assert command.stdin is not None
        assert command.stdout is not None
        for number in range(3):
            command.stdin.write(f"{number}\n".encode())
            command.stdin.flush()
            assert command.stdout.readline() == f"{2 * number}\n".encode()
        command.stdin.close()
        assert command.stdout.read() == b""
        assert command.wait(50) == 0


def test_send_stays_until_all_is_uploaded(url: str, told: list[Any]) -> None:
    done = run("send", url, "NoteAll", "--upload", "-", input="".join(f"{number}\n" for number in range(5000)))
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    wait_told(told, 5000)
    assert told == list(range(5000))


def test_a_call_that_ends_does_not_wait_for_input(url: str) -> None:
    with process("invoke", url, "Add", "1", "2", "--timeout", "0.5", "--upload", "-", stdin=subprocess.PIPE) as command:
        assert command.wait(50) in (1, 3)


@posix
def test_ctrl_c_while_it_waits_for_input(url: str, told: list[Any]) -> None:
    with process("invoke", url, "NoteAll", "--upload", "-", "-v", stdin=subprocess.PIPE) as command:
        assert command.stderr is not None
        assert b"connected" in command.stderr.readline()
        command.send_signal(signal.SIGINT)
        assert command.wait(50) == 130
        assert b"Traceback" not in command.stderr.read()


@pytest.mark.parametrize("command", ["invoke", "send", "stream"])
def test_input_that_is_no_text_is_wrong_usage(signalr: Signalr, url: str, tmp_path: Path, command: str) -> None:
    (tmp_path / "bytes").write_bytes(b"good\n\xff\xfe\n")
    done = signalr(command, url, "Double" if command == "stream" else "Sum", "--upload", str(tmp_path / "bytes"))
    assert done.status == 2
    assert f"line 2 of {tmp_path / 'bytes'} is no UTF-8 text" in done.err


def test_input_that_no_loop_takes_any_more(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The reading thread ends, although the loop was closed after it had accepted a callback, and before it ran it."""
    (tmp_path / "lines").write_bytes(b"1\n")
    loop = asyncio.new_event_loop()
    called = threading.Event()
    call = loop.call_soon_threadsafe

    def call_soon_threadsafe(*args: Any, **options: Any) -> Any:
        handle = call(*args, **options)
        called.set()
        return handle

    monkeypatch.setattr(loop, "call_soon_threadsafe", call_soon_threadsafe)
    reading = threading.Thread(target=UploadedLines(str(tmp_path / "lines"), str)._run, args=(loop,), daemon=True)
    reading.start()
    assert called.wait(5)
    loop.close()
    reading.join(5)
    assert not reading.is_alive()


def test_a_file_that_is_missing_or_a_folder(signalr: Signalr, url: str, tmp_path: Path) -> None:
    missing = signalr("invoke", url, "Sum", "--upload", str(tmp_path / "missing"))
    assert (missing.status, missing.err) == (
        2,
        f"signalr: --upload: there is no file {tmp_path / 'missing'}; - is standard input\n",
    )
    folder = signalr("invoke", url, "Sum", "--upload", str(tmp_path))
    assert folder.status == 2
    assert f"cannot read {tmp_path}" in folder.err


# send


def test_send_reaches_the_hub(signalr: Signalr, url: str, told: list[Any]) -> None:
    done = signalr("send", url, "Note", '{"a": [1]}')
    assert (done.status, done.out, done.err) == (0, "", "")
    wait_told(told, 1)
    assert told == [{"a": [1]}]


def test_each_line_of_a_file_is_a_call(signalr: Signalr, url: str, told: list[Any], tmp_path: Path) -> None:
    (tmp_path / "lines").write_text('[1]\n\n{"a": 2}\nplain text\n')
    done = signalr("send", url, "Note", "--from", str(tmp_path / "lines"))
    assert (done.status, done.out, done.err) == (0, "", "")
    wait_told(told, 3)
    assert told == [1, {"a": 2}, "plain text"]


def test_lines_add_to_the_arguments(url: str, told: list[Any]) -> None:
    done = run("send", url, "NotePair", "first", "--from", "-", "--text", input="[1\n")
    assert (done.returncode, done.stderr) == (0, "")
    wait_told(told, 1)
    assert told == [("first", "[1")]


@pytest.mark.parametrize(
    ("content", "more", "said"),
    [
        ("1\n[2\n", (), "line 2 of "),
        ("1\n", ("--upload", "x"), "--from and --upload exclude each other"),
        (None, (), "--from: there is no file"),
    ],
)
def test_lines_that_cannot_be_sent(
    signalr: Signalr, url: str, tmp_path: Path, content: str | None, more: tuple[str, ...], said: str
) -> None:
    if content is not None:
        (tmp_path / "lines").write_text(content)
    done = signalr("send", url, "Note", "--from", str(tmp_path / "lines"), *more)
    assert (done.status, done.err.count("\n")) == (2, 1)
    assert said in done.err


# What goes out

QUOTES = "put quotes around a text with blanks"


@pytest.mark.parametrize(
    ("method", "arguments", "said"),
    [
        ("Add", ("1", "=2"), 'the arguments went out as number 1, text "2"; write =TEXT for text, JSON for the rest'),
        ("Add", (), "the arguments went out as none at all"),
        ("Add", ("true", "null"), "boolean true, null;"),
        ("Add", ("[1]", '{"a": 1}'), 'array [1], object {"a": 1};'),
        ("Counter", ("1",), "call it with stream"),
        ("Addd", ("1",), "Method does not exist; check its name\n"),
        ("Add(1, 2)", (), "Method does not exist; write for example Add 1 2, without brackets\n"),
    ],
)
def test_a_hub_that_cannot_bind_is_told_how_the_arguments_went_out(
    signalr: Signalr, url: str, method: str, arguments: tuple[str, ...], said: str
) -> None:
    done = signalr("invoke", url, method, *arguments)
    assert (done.status, done.err.count("\n")) == (1, 1)
    assert said in done.err


@pytest.mark.parametrize(
    ("sent", "expected", "hint"),
    [([1], 2, ""), ([1, 2, 3], 2, ""), (["a", "b"], 3, ""), (["me", "hello", "world"], 2, QUOTES)],
)
def test_a_wrong_number_of_arguments_is_no_matter_of_how_they_are_written(
    sent: list[Any], expected: int, hint: str
) -> None:
    said = f"InvalidDataException: Invocation provides {len(sent)} argument(s) but target expects {expected}."
    whole = explained(HubError(said, "Add"), sent)
    assert whole.partition("; the arguments went out as ")[2].partition("; ")[2] == hint


def test_all_arguments_as_text(signalr: Signalr, url: str, told: list[Any]) -> None:
    assert signalr("invoke", url, "NotePair", "--text", "1", "[x").status == 0
    assert told == [("1", "[x")]


@posix
def test_colours_on_a_terminal(url: str) -> None:
    assert in_terminal("stream", url, "Counter", "1") == (0, "\x1b[36m0\x1b[0m\r\n")
    assert in_terminal_until(lambda _shown: None, "stream", url, "Counter", "1", NO_COLOR="1") == (0, "0\r\n")


# Tokens


class Private(Hub):
    """For clients with a token."""

    async def me(self) -> str:
        return self.context.user or ""


@pytest.fixture
def private() -> Iterator[str]:
    """The URL of a hub that wants a token."""
    with HubServer({"/private": Private}, authorize=lambda token: "me" if token == TOKEN else None) as server:
        yield server.url("/private") + "?key=query-secret"


def test_a_token_from_a_file(signalr: Signalr, private: str, tmp_path: Path) -> None:
    (tmp_path / "token").write_text(f"{TOKEN}\n")
    assert signalr("invoke", private, "Me", "--token-file", str(tmp_path / "token")).out == '"me"\n'


def test_a_file_is_before_the_environment(
    signalr: Signalr, private: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "token").write_text(TOKEN)
    monkeypatch.setenv("SIGNALR_TOKEN", "wrong")
    assert signalr("invoke", private, "Me").status == 3
    assert signalr("invoke", private, "Me", "--token-file", str(tmp_path / "token")).status == 0
    monkeypatch.setenv("SIGNALR_TOKEN", TOKEN)
    assert signalr("invoke", private, "Me").status == 0


@posix
def test_a_token_from_a_pipe_is_read_once(private: str) -> None:
    done = run("invoke", private, "Me", "--token-file", "/dev/stdin", input=TOKEN)
    assert (done.returncode, done.stdout) == (0, '"me"\n')


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "--token-file is empty"),
        (b"one\ntwo", "--token-file holds a character that no HTTP header can carry"),
        (b"\xff", "holds no text"),
    ],
)
def test_a_file_without_a_token(signalr: Signalr, private: str, tmp_path: Path, content: bytes, said: str) -> None:
    (tmp_path / "token").write_bytes(content)
    done = signalr("invoke", private, "Me", "--token-file", str(tmp_path / "token"))
    assert (done.status, done.out) == (2, "")
    assert said in done.err


def test_two_tokens_are_one_too_many(signalr: Signalr, private: str, tmp_path: Path) -> None:
    (tmp_path / "token").write_text(TOKEN)
    done = signalr("invoke", private, "Me", "--token", "x", "--token-file", str(tmp_path / "token"))
    assert (done.status, done.err) == (
        2,
        "signalr: --token and --token-file exclude each other; leave out one of them\n",
    )


@pytest.mark.parametrize(
    "command",
    [
        ("invoke", "Me"),
        ("send", "Me"),
        ("stream", "Me"),
        ("listen", "--timeout", "0.2"),
        ("negotiate",),
        ("negotiate", "--json"),
        ("doctor", "--keep-alive", "0"),
        ("doctor", "--keep-alive", "0", "--json"),
    ],
    ids=" ".join,
)
@pytest.mark.parametrize("token", [TOKEN, "wrong-but-secret-too"])
def test_neither_token_nor_query_is_ever_shown(
    signalr: Signalr, private: str, command: tuple[str, ...], token: str
) -> None:
    name, *rest = command
    done = signalr(name, private, *rest, "--token", token, "--header", "X-Key: header-secret", "-vv")
    for secret in (token, "query-secret", "header-secret"):
        assert secret not in done.out + done.err


@pytest.mark.parametrize(
    "arguments",
    [
        ("--token=bad\ntoken-secret",),
        ("--header", "Authorization token-secret"),
        ("--header", "Authorization: Bearer\ntoken-secret"),
        ("--tokn=token-secret",),
        ("--proxy", "http://me:token-secret/x@proxy:3128"),
        ("--proxy", "ftp://me:token-secret@proxy:3128"),
        ("--proxy", "http://me:token-secret@127.0.0.1:1"),
    ],
    ids=str,
)
def test_nor_what_is_written_wrongly(signalr: Signalr, url: str, arguments: tuple[str, ...]) -> None:
    done = signalr("invoke", url, "Add", "1", "2", *arguments, "-vv")
    assert done.status in (2, 3)
    assert done.err
    assert "token-secret" not in done.out + done.err
