"""The commands of the how-to page print the output that the page shows."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from tests.cli.running import process, run

from signalr_sdk.testing import HubServer
from signalr_sdk.testing.demo_hub import DemoHub

if TYPE_CHECKING:
    from collections.abc import Iterator

# Starting a process can take seconds on a busy machine.
pytestmark = pytest.mark.timeout(60)

PAGE = (Path(__file__).parents[2] / "docs" / "how-to" / "command-line.md").read_text(encoding="utf-8")
SHOWN = "http://127.0.0.1:5000"
BLOCKS = re.findall(r"^```console\n(.+?)^```$", PAGE, re.MULTILINE | re.DOTALL)
COMMANDS = [tuple(part.split("\n", 1)) for block in BLOCKS for part in block.removeprefix("$ ").split("\n$ ")]


@pytest.fixture
def server() -> Iterator[HubServer]:
    """The chat of `signalr serve`, with pings that a test can wait for."""
    with HubServer({"/chat": DemoHub}, detailed_errors=True, parallel_invocations=2, keep_alive=0.2) as server:
        yield server


def plain(text: str) -> str:
    """Return the text without the parts that differ in each run: durations, ports, and the blanks around them."""
    text = re.sub(r"\d+(\.\d+)? m?s\b", "N", re.sub(r"127\.0\.0\.1:\d+", "HERE", text))
    return " ".join(text.split())


def split(line: str) -> list[str]:
    return [word.strip('"') for word in re.findall(r'"[^"]*"|\S+', line)]


def test_there_are_commands() -> None:
    assert len(COMMANDS) == 7
    assert {"signalr listen", "signalr doctor", "signalr invoke"} <= {" ".join(split(line)[:2]) for line, _ in COMMANDS}


@pytest.mark.parametrize(("line", "output"), COMMANDS, ids=[line for line, _ in COMMANDS])
def test_a_command_of_the_page(server: HubServer, line: str, output: str) -> None:
    before, _, command = line.rpartition("| ")
    arguments = split(command.replace(SHOWN, server.url("")))[1:]
    if "listen" in arguments:
        seen = _listen(server, arguments)
    else:
        text = "".join(f"{number}\n" for number in range(1, 1001)) if before else None
        done = run(*arguments, **({"input": text} if before else {}))
        seen = done.stderr + done.stdout
    assert plain(seen) == plain(output)


def _listen(server: HubServer, arguments: list[str]) -> str:
    with process(*arguments) as command:
        assert command.stderr is not None
        assert command.stdout is not None
        said = command.stderr.readline()
        run("send", server.url("/chat"), "SendMessage", "me", "hello")
        return (said + command.stdout.read()).decode()


def test_the_pages_options_are_those_of_the_commands() -> None:
    help_text = run("doctor", "--help").stdout
    for option in set(re.findall(r"--[a-z][a-z-]*", PAGE.partition("## Options of all")[2])):
        assert f"{option} " in help_text
