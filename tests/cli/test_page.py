"""The commands of the how-to page print the output that the page shows."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from tests.cli.running import process, run

from signalr_sdk.cli.connect.lines import Verb
from signalr_sdk.testing import HubServer
from signalr_sdk.testing.demo_hub import DemoHub
from signalr_sdk_cli.commands import COMMANDS as COMMANDS_OF_ALL

if TYPE_CHECKING:
    from collections.abc import Iterator

# Starting a process can take seconds on a busy machine.
pytestmark = [pytest.mark.slow, pytest.mark.timeout(60)]

PAGE = (Path(__file__).parents[2] / "docs" / "how-to" / "command-line.md").read_text(encoding="utf-8")
SHOWN = re.compile(r"(http://127\.0\.0\.1|localhost):5000")
BLOCKS = re.findall(r"^```console\n(.+?)^```$", PAGE, re.MULTILINE | re.DOTALL)
COMMANDS = [tuple(part.split("\n", 1)) for block in BLOCKS for part in block.removeprefix("$ ").split("\n$ ")]


@pytest.fixture
def server() -> Iterator[HubServer]:
    """The chat of `signalr serve`, with pings that a test can wait for."""
    with HubServer({"/chat": DemoHub}, detailed_errors=True, parallel_invocations=2, keep_alive=0.2) as server:
        yield server


def plain(text: str) -> str:
    """Return the text without the parts that differ in each run: durations, ports, and the blanks around them."""
    text = re.sub(r"(127\.0\.0\.1|localhost):\d+", "HERE", text)
    text = re.sub(r"\d+(\.\d+)? m?s\b", "N", text.replace("20 s", "the wait"))
    return " ".join(text.split())


def split(line: str) -> list[str]:
    return [word.strip('"') for word in re.findall(r'"[^"]*"|\S+', line)]


def test_there_are_commands() -> None:
    assert len(COMMANDS) == 9
    assert {"signalr listen", "signalr doctor", "signalr invoke"} <= {" ".join(split(line)[:2]) for line, _ in COMMANDS}


@pytest.mark.parametrize(("line", "output"), COMMANDS, ids=[line for line, _ in COMMANDS])
def test_a_command_of_the_page(server: HubServer, line: str, output: str) -> None:
    before, _, command = line.rpartition("| ")
    arguments = split(SHOWN.sub(server.url(""), command))[1:]
    if "listen" in arguments:
        seen = _listen(server, arguments)
    else:
        text = _piped(before)
        done = run(*arguments, **({"input": text} if before else {}))
        seen = done.stderr + done.stdout
    assert plain(seen) == plain(output)


def _piped(before: str) -> str:
    """Return what the command before the pipe prints: `seq` or `printf`."""
    if before.startswith("printf"):
        return before.split("'")[1].replace("\\n", "\n")
    return "".join(f"{number}\n" for number in range(1, 1001))


def _listen(server: HubServer, arguments: list[str]) -> str:
    with process(*arguments) as command:
        assert command.stderr is not None
        assert command.stdout is not None
        said = command.stderr.readline()
        run("send", server.url("/chat"), "SendMessage", "me", "hello")
        return (said + command.stdout.read()).decode()


def test_the_refused_token_of_the_page() -> None:
    line, said = re.findall(r"^\$ (signalr invoke .* --token wrong)\n(.+)$", PAGE, re.MULTILINE)[0]
    with HubServer({"/chat": DemoHub}, authorize=lambda _token: None) as server:
        done = run(*split(SHOWN.sub(server.url(""), line))[1:])
    assert plain(done.stderr) == plain(said)


def test_the_pages_options_are_those_of_the_commands() -> None:
    help_text = run("doctor", "--help").stdout
    options = PAGE.partition("## Options of all")[2].partition("\n\nDurations")[0]
    for option in set(re.findall(r"--[a-z][a-z-]*", options)):
        assert re.search(rf"{option}\b", help_text), option


def test_all_commands_are_on_the_page() -> None:
    table = PAGE.partition("## The commands")[2].partition("\n\nWhat is shown")[0]
    assert set(re.findall(r"^\| `signalr ([a-z]+)", table, re.MULTILINE)) == set(COMMANDS_OF_ALL)


def test_the_page_has_every_verb_of_connect() -> None:
    table = PAGE.partition("| line | does |")[2].partition("\n\n")[0]
    assert all(f"`{verb}" in table or f"(`{verb}" in table for verb in Verb)
