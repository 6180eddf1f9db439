"""conftest.py finds each of these leaks, and skipped tests in CI: shown in runs of pytest of their own."""

from __future__ import annotations

import logging
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]

LEAKS = """
import asyncio, logging, socket, threading, time

kept = []

async def test_task():
    kept.append(asyncio.create_task(asyncio.sleep(60), name="forgotten"))

async def test_server():
    kept.append(await asyncio.start_server(print, "127.0.0.1", 0))

async def test_transport():
    accepted = asyncio.get_running_loop().create_future()
    server = await asyncio.start_server(lambda *streams: accepted.set_result(streams[1]), "127.0.0.1", 0)
    kept.append(await asyncio.open_connection(*server.sockets[0].getsockname()))
    (await accepted).close()
    server.close()

def test_socket():
    kept.append(socket.socket())

def test_thread():
    threading.Thread(target=time.sleep, args=(60,), name="lost", daemon=True).start()

def test_error():
    logging.getLogger("signalr_sdk.hub").error("nobody was told")

async def test_unseen():
    task = asyncio.create_task(asyncio.sleep(0, 1 / 1))
    task.add_done_callback(lambda task: 1 / 0)
    await task
    await asyncio.sleep(0)

def test_no_error(expected_errors):
    pass

async def test_clean():
    server = await asyncio.start_server(print, "127.0.0.1", 0)
    server.close()
    await server.wait_closed()
    asyncio.create_task(asyncio.sleep(0))
"""
FOUND = {
    "task": "name='forgotten'",
    "server": "_accept_connection",
    "transport": "socket:[",
    "socket": "left behind: socket:",
    "thread": "<Thread(lost",
    "error": "signalr_sdk.hub: nobody was told",
    "unseen": "ZeroDivisionError",
    "no_error": "no ERROR was logged",
}


# Starting Python and its plugins takes a second or two on an idle machine.
pytestmark = pytest.mark.timeout(60)


def run(folder: Path, program: str, *options: str, **environment: str) -> str:
    """Run the tests in a program with our conftest.py; return what pytest prints."""
    detector = (ROOT / "tests" / "conftest.py").read_text(encoding="utf-8")
    detector = re.sub(r"^DEADLINE = .*", "DEADLINE = 0.05", detector, flags=re.MULTILINE)
    (folder / "conftest.py").write_text(detector, encoding="utf-8")
    (folder / "test_program.py").write_text(program, encoding="utf-8")
    command = [sys.executable, "-m", "pytest", "-c", str(ROOT / "pyproject.toml"), "--rootdir", str(folder)]
    command += ["-p", "no:cacheprovider", "-p", "no:randomly", *options, str(folder)]
    variables = {**os.environ, **environment}
    done = subprocess.run(command, cwd=folder, env=variables, capture_output=True, text=True, timeout=50, check=False)
    return done.stdout + done.stderr


@pytest.fixture(scope="module")
def report(tmp_path_factory: pytest.TempPathFactory) -> str:
    return run(tmp_path_factory.mktemp("leaks"), LEAKS)


@pytest.mark.parametrize("leak", FOUND)
def test_a_leak_fails_the_test(leak: str, report: str) -> None:
    section = re.search(rf"_+ ERROR at teardown of test_{leak} _+\n(.*?)\n(?:_{{5}}|={{5}})", report, re.DOTALL)
    assert section is not None, report
    assert FOUND[leak] in section[1]


def test_no_other_test_fails(report: str) -> None:
    assert f"{len(FOUND) + 1} passed, {len(FOUND)} errors" in report


def test_expected_errors_are_given_to_the_test(expected_errors: list[logging.LogRecord]) -> None:
    logging.getLogger("signalr_sdk.hub").error("as declared")
    assert [record.getMessage() for record in expected_errors] == ["as declared"]


SKIPS = """
import pytest

def test_of_a_server():
    pytest.skip("there is no server")
"""


@pytest.mark.parametrize(("options", "outcome"), [([], "1 failed"), (["--may-skip"], "1 skipped")])
def test_in_ci_a_skipped_test_is_a_failure(options: list[str], outcome: str, tmp_path: Path) -> None:
    printed = run(tmp_path, SKIPS, *options, CI="true")
    assert outcome in printed
    assert "there is no server" in printed
