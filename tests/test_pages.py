"""The programs of the documentation run, and print what the pages say."""

from __future__ import annotations

import json
import logging
import re
import shlex
import subprocess
import sys
from importlib import metadata
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

import pytest
import trustme
from tests.cli.running import environment, run
from tests.page_programs import DOCS, SOURCE, Block, blocks, modules, pages, programs_of

from signalr_sdk.testing import FaultProxy, HubServer
from signalr_sdk.testing.demo_hub import DemoHub

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

# Whole programs of their own, and tests: run as such by these.
ELSEWHERE = {
    "tutorial.md": "tests/test_documents.py",
    "how-to/test-your-bot.md": "tests/testing/test_pytest_plugin.py",
    "how-to/simulated-outages.md": "tests/testing/test_simulated_outages.py",
    "how-to/logging.md": "test_the_page_on_logging",
    "how-to/django.md": "tests/test_operations.py",
    "how-to/classic-servers.md": "tests/interop/test_classic_calls.py",
    "how-to/azure.md": "tests/interop/test_azure_how_to.py",
    "how-to/azure-entra-id.md": "tests/interop/test_azure_how_to.py",
    "how-to/azure-functions.md": "tests/interop/test_azure_how_to.py",
    "how-to/azure-serverless.md": "tests/interop/test_azure_how_to.py",
}
HERE = [
    page
    for page in pages()
    if page not in ELSEWHERE and any(block.kind == "python" and block.not_run is None for block in blocks(page))
]


@pytest.fixture
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Have the files that the pages name in the current folder."""
    authority = trustme.CA()
    client = authority.issue_cert("client")
    authority.cert_pem.write_to_path(str(tmp_path / "authority.pem"))
    client.cert_chain_pems[0].write_to_path(str(tmp_path / "client.pem"))
    client.private_key_pem.write_to_path(str(tmp_path / "client.key"))
    monkeypatch.chdir(tmp_path)


@pytest.mark.usefixtures("files")
@pytest.mark.parametrize("page", HERE)
async def test_a_page(page: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    async with programs_of(page, monkeypatch) as programs:
        for block in blocks(page):
            if block.kind == "python" and block.not_run is None:
                await programs.run(block)
                said = capsys.readouterr()
                assert said.err == "", block.text
                assert not block.output or said.out == block.output, block.text
        for name, test in list(vars(programs.module).items()):
            if name.startswith("test_"):
                await test()


README = blocks("README.md", DOCS.parent)
# What `signalr serve` listens on, as README says.
SERVED = "http://127.0.0.1:5000/chat"
# What the programs of README print, in any order: an event and a result take different ways.
PRINTED = (
    ["0", "1", "2", "3", "6", "Ada: hello"],
    ["3", "does not wait for the hub"],
    ["3"],
)


@pytest.mark.timeout(60)
@pytest.mark.parametrize(
    ("program", "printed"), list(zip((block for block in README if block.kind == "python"), PRINTED, strict=True))
)
def test_a_program_of_the_readme(program: Block, printed: list[str]) -> None:
    """Each program is a process of its own, since it must need no name but its own."""
    assert SERVED in program.text
    with HubServer({"/chat": DemoHub}, parallel_invocations=2) as server:
        done = subprocess.run(
            [sys.executable, "-W", "error", "-"],
            input=program.text.replace(SERVED, server.url("/chat")),
            capture_output=True,
            text=True,
            timeout=50,
            check=False,
            env=environment(),
        )
    assert (sorted(done.stdout.splitlines()), done.stderr, done.returncode) == (printed, "", 0)


# What the programs of these need is not here; they are close to what these tests do.
NOT_HERE = {
    "classic/discovery.py": "tests/interop/test_classic_others.py",
    "classic/hub_connection.py": "tests/interop/test_classic_calls.py",
    "classic/hub_proxy.py": "tests/interop/test_classic_calls.py",
    "classic/persistent_connection.py": "tests/interop/test_classic_others.py",
    "delivery/feed.py": "tests/delivery/test_feed.py",
    "delivery/outbox.py": "tests/delivery/test_outbox.py",
    "delivery/sqlite_store.py": "tests/delivery/test_outbox.py",
    "fleet/lease.py": "tests/fleet/test_lease.py",
    "fleet/redis_store.py": "tests/fleet/test_redis_store.py",
    "fleet/relay.py": "tests/fleet/test_relay.py",
    "testing/ledger_hub.py": "tests/testing/test_ledger_hub.py",
    "testing/simulated_network.py": "tests/testing/test_simulated_network.py",
    "_connecting/raw_connection.py": "tests/interop/test_raw_connection.py",
    "sync/classic/discovery.py": "tests/interop/test_classic_sync.py",
    "sync/classic/hub_connection.py": "tests/interop/test_classic_sync.py",
    "sync/classic/hub_proxy.py": "tests/interop/test_classic_sync.py",
    "sync/classic/persistent_connection.py": "tests/interop/test_classic_sync.py",
    "sync/raw_connection.py": "tests/interop/test_sync.py",
    "azure/service.py": "tests/interop/test_azure_rest.py",
    "sync/feed.py": "tests/delivery/test_threads.py",
    "sync/outbox.py": "tests/delivery/test_threads.py",
    "sync/azure.py": "tests/interop/test_azure_sync.py",
}


def test_programs_that_are_not_run_here_are_known() -> None:
    assert set(modules()) > set(NOT_HERE)


@pytest.mark.parametrize("module", [module for module in modules() if module not in NOT_HERE])
async def test_docstrings(module: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for block in blocks(module, SOURCE):
        async with programs_of(module, monkeypatch) as programs:
            if module.startswith("sync/"):
                await programs.use_threads()
            else:
                await programs.connect()
            await programs.run(block)


def test_what_is_not_run_says_why() -> None:
    reasons = {page: [block.not_run for block in blocks(page) if block.not_run is not None] for page in pages()}
    assert {page: len(of_page) for page, of_page in reasons.items() if of_page} == {
        "how-to/httpx.md": 1,
    }
    assert {reason for of_page in reasons.values() for reason in of_page} == {"It needs a SOCKS proxy"}


def test_every_block_is_of_a_kind_that_is_looked_at() -> None:
    kinds = {block.kind for page in pages() for block in blocks(page) if block.not_run is None}
    run_or_parsed = {"python", "sh", "console"}
    # `shell`: what is said to the tools of others.
    shown = {"text", "json", "toml", "csharp", "ini", "shell", "yaml"}
    assert {kind for kind in kinds if not kind.startswith("{")} == run_or_parsed | shown


async def test_the_proxy_of_the_page_on_tests(monkeypatch: pytest.MonkeyPatch) -> None:
    (block,) = (block for block in blocks("how-to/test-your-bot.md") if "FaultProxy(" in block.text)
    async with programs_of("how-to/test-your-bot.md", monkeypatch) as programs:
        port = programs.module.URL.split(":")[2].split("/")[0]
        programs.module.FaultProxy = FaultProxy  # type: ignore[attr-defined]
        await programs.run(block._replace(text=block.text.replace('5000, "example.com"', port)))


COMMANDS = [
    command
    for block in [*README, *(block for page in pages() for block in blocks(page))]
    if block.kind == "sh" and block.not_run is None
    for line in block.text.splitlines()
    for command in line.split(" && ")
]
# Steps of .ci/run do these.
RUN_BY_CI = (
    "python3 -m venv .venv",
    ".venv/bin/pip wheel -q --no-deps -w dist .",
    ".venv/bin/python -m coverage run -m pytest -n 2 --dist loadfile",
)


@pytest.mark.parametrize("command", COMMANDS)
def test_a_command_for_the_shell(command: str) -> None:
    """What is installed exists, and so do commands and options; the page on the command line is run by tests/cli."""
    program, *words = shlex.split(command, comments=True)
    if PurePosixPath(program).name == "signalr":
        path = words[: 2 if words[0] in ("azure", "context", "outbox") else 1]
        done = run(*path, "--help")
        assert done.returncode == 0
        assert all(option in done.stdout for option in words if option.startswith("--"))
    elif words[:1] == ["install"]:
        ours = [word for word in words if word.startswith(("signalr-sdk", ".", "dist/signalr_sdk-"))]
        extras = {extra for word in ours for extra in re.findall(r"[\w-]+", word.partition("[")[2])}
        assert ours
        assert extras <= set(metadata.metadata("signalr-sdk").get_all("Provides-Extra", []))
    else:
        assert command in RUN_BY_CI


@pytest.fixture
def logging_as_it_was() -> Iterator[None]:
    """Take back what a page does to loggers and handlers."""
    loggers = [logging.getLogger(name) for name in ("", "signalr_sdk.transport", "signalr_sdk.hub")]
    before = [(logger, logger.level, list(logger.handlers)) for logger in loggers]
    levels = [(handler, handler.level) for logger in loggers for handler in logger.handlers]
    yield
    for logger, level, handlers in before:
        logger.setLevel(level)
        logger.handlers[:] = handlers
    for handler, level in levels:
        handler.setLevel(level)


@pytest.mark.usefixtures("logging_as_it_was")
async def test_the_page_on_logging(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    said = []
    async with programs_of("how-to/logging.md", monkeypatch) as programs:
        for block in blocks("how-to/logging.md"):
            if block.kind == "python":
                await programs.run(block)
                said.append(capsys.readouterr().out.splitlines())
    wire, lines, _nothing = said
    page = (DOCS / "how-to" / "logging.md").read_text(encoding="utf-8")
    promised = page.partition("from the second connection nothing:")[2].split("```")[1].splitlines()[1:]
    # The first ping of a connection comes when it likes.
    assert [line for line in wire if '"type":1' in line or '"type":3' in line] == promised
    connected, stopped = (json.loads(line) for line in lines if line.startswith("{"))
    assert connected["message"] == f"connected to {connected['hub']} over LongPolling ({connected['connection_id']})"
    assert (connected["logger"], connected["level"], connected["transport"]) == (
        "signalr_sdk.hub",
        "INFO",
        "LongPolling",
    )
    assert stopped["message"] == "stopped"
    example = json.loads(page.partition("```json")[2].partition("```")[0])
    assert example.keys() == connected.keys()
