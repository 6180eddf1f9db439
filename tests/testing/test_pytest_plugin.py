"""The pytest plugin, in test runs of its own: the programs of the how-to page, and wrong usage."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

_PAGE = Path(__file__).parents[2] / "docs" / "how-to" / "test-your-bot.md"
_TEXT = _PAGE.read_text(encoding="utf-8")
_PROGRAM = "\n".join(re.findall(r"^```python\n(.+?)^```$", _TEXT, re.MULTILINE | re.DOTALL))
_ASYNC = re.findall(r"^```{code-block} python\n(.+?)^```$", _TEXT, re.MULTILINE | re.DOTALL)[0]

HUB = """
import sys
import pytest
from signalr_sdk.testing import Hub

class Chat(Hub):
    async def add(self, a: int, b: int) -> int:
        return a + b

    async def user(self) -> str | None:
        return self.context.user

    async def fail(self) -> None:
        raise ValueError("secret")
"""


# Options for a run without a plugin for asyncio, and for a run with pytest-asyncio.
PLAIN = ("-p", "no:asyncio", "-p", "no:anyio")
WITH_ASYNCIO = ("-o", "asyncio_default_fixture_loop_scope=function")


def run(folder: Path, program: str, *options: str) -> tuple[dict[str, int], str]:
    """Run a test module in a folder of its own; return the counts of the summary, and the output."""
    (folder / "test_it.py").write_text(program, encoding="utf-8")
    (folder / "pytest.ini").write_text(
        "[pytest]\naddopts = --strict-markers\nfilterwarnings = error\n", encoding="utf-8"
    )
    environment = {name: text for name, text in os.environ.items() if not name.lower().endswith("_proxy")}
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-p", "no:randomly", *options],
        cwd=folder,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    said = done.stdout + done.stderr
    counts = re.findall(r"(\d+) (passed|failed|errors?)", said.splitlines()[-1] if said else "")
    return {kind.removesuffix("s"): int(count) for count, kind in counts}, said


@pytest.mark.slow
@pytest.mark.timeout(60)
def test_the_page(tmp_path: Path) -> None:
    counts, said = run(tmp_path, _PROGRAM, *PLAIN)
    assert counts == {"passed": 2}, said


@pytest.mark.slow
@pytest.mark.timeout(60)
def test_the_page_with_await(tmp_path: Path) -> None:
    counts, said = run(tmp_path, _PROGRAM + _ASYNC, *WITH_ASYNCIO, "-k", "await")
    assert counts == {"passed": 1}, said


@pytest.mark.slow
@pytest.mark.timeout(60)
def test_markers_and_options(tmp_path: Path) -> None:
    program = """
pytestmark = pytest.mark.signalr({"/chat": Chat, "/other": Chat}, detailed_errors=True)

@pytest.fixture
def signalr_connection_options():
    return {"protocol": "messagepack", "reconnect": False}

def test_the_marker_of_the_module(signalr_server, signalr_connection):
    with pytest.raises(Exception, match="ValueError: secret"):
        signalr_connection.invoke("Fail")
    assert signalr_connection.url == signalr_server.url("/chat")
    assert signalr_server.recorded.connects[0].path == "/chat"

@pytest.mark.signalr({"/chat": Chat}, authorize=lambda token: "ada")
def test_the_marker_of_the_test(signalr_connection):
    assert signalr_connection.invoke("User") == "ada"
"""
    counts, said = run(tmp_path, HUB + program, *PLAIN)
    assert counts == {"passed": 2}, said


@pytest.mark.slow
@pytest.mark.timeout(60)
def test_an_async_test_that_fails_ends_its_connection(tmp_path: Path) -> None:
    program = """
pytestmark = pytest.mark.signalr({"/chat": Chat})
seen = []

@pytest.mark.asyncio
async def test_one(signalr_server, signalr_connection):
    seen.append((signalr_server, signalr_connection))
    assert await signalr_connection.invoke("Add", 1, 2) == 4

def test_two():
    ((server, connection),) = seen
    assert connection.state == "disconnected"
    assert [gone.error for gone in server.recorded.disconnects] == [None]
"""
    counts, said = run(tmp_path, HUB + program, *WITH_ASYNCIO)
    assert counts == {"failed": 1, "passed": 1}, said
    assert "assert 3 == 4" in said


@pytest.mark.slow
@pytest.mark.timeout(60)
def test_without_hubs(tmp_path: Path) -> None:
    counts, said = run(tmp_path, "def test_it(signalr_server): pass\n", *PLAIN)
    assert counts == {"error": 1}, said
    assert "signalr_server needs hubs: mark the test with @pytest.mark.signalr({'/chat': Chat})" in said


@pytest.mark.slow
@pytest.mark.timeout(60)
def test_a_classic_server(tmp_path: Path) -> None:
    program = """
from signalr_sdk.testing import ClassicHub, ClassicHubServer

class Old(ClassicHub):
    async def add(self, a: int, b: int) -> int:
        return a + b

@pytest.mark.signalr_classic({"Old": Old}, path="/old")
def test_the_marker(signalr_classic_server):
    assert isinstance(signalr_classic_server, ClassicHubServer)
    assert signalr_classic_server.url().endswith("/old")
    signalr_classic_server.send("Old", "hello").result()

@pytest.mark.signalr_classic({"Old": Old})
def test_threads(signalr_classic_connection):
    assert signalr_classic_connection.hub("Old").invoke("Add", 1, 2) == 3

@pytest.mark.asyncio
@pytest.mark.signalr_classic({"Old": Old}, web_sockets=False)
async def test_await(signalr_classic_connection):
    assert await signalr_classic_connection.hub("old").invoke("Add", 1, 2) == 3

def test_without_hubs(signalr_classic_server):
    pass
"""
    counts, said = run(tmp_path, HUB + program, *WITH_ASYNCIO)
    assert counts == {"passed": 3, "error": 1}, said
    assert "signalr_classic_server needs hubs: mark the test with @pytest.mark.signalr_classic({'Chat': Chat})" in said


@pytest.mark.slow
@pytest.mark.timeout(60)
def test_nothing_is_imported_before_it_is_used(tmp_path: Path) -> None:
    program = """
import sys

def test_it():
    assert "signalr_sdk_pytest" in sys.modules
    assert not {"signalr_sdk", "aiohttp", "msgpack"} & sys.modules.keys()
"""
    counts, said = run(tmp_path, program, *PLAIN)
    assert counts == {"passed": 1}, said


@pytest.mark.slow
@pytest.mark.timeout(60)
def test_an_async_test_that_a_plugin_runs_again(tmp_path: Path) -> None:
    again = """
from _pytest.runner import runtestprotocol

def pytest_runtest_protocol(item, nextitem):
    for _time in range(2):
        item._initrequest()
        reports = runtestprotocol(item, nextitem=nextitem, log=False)
    for report in reports:
        item.ihook.pytest_runtest_logreport(report=report)
    return True
"""
    (tmp_path / "conftest.py").write_text(again, encoding="utf-8")
    program = """
from signalr_sdk.testing import ClassicHub

class Old(ClassicHub):
    async def add(self, a: int, b: int) -> int:
        return a + b

@pytest.mark.asyncio
@pytest.mark.signalr({"/chat": Chat})
async def test_core(signalr_connection):
    assert await signalr_connection.invoke("Add", 1, 2) == 3

@pytest.mark.asyncio
@pytest.mark.signalr_classic({"Old": Old})
async def test_classic(signalr_classic_connection):
    assert await signalr_classic_connection.hub("Old").invoke("Add", 1, 2) == 3
"""
    counts, said = run(tmp_path, HUB + program, *WITH_ASYNCIO)
    assert counts == {"passed": 2}, said
