"""Runs a client of other people as a process, and reads what it prints."""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
from tests.interop.classic_server import find_program
from tests.interop.hub_server import ServerMissingError

HERE = Path(__file__).parent
# Less than a test's own limit, so that what the client printed before it hung can be shown.
LIMIT = 50.0  # seconds
PACKAGES = ("@microsoft/signalr", "@microsoft/signalr-protocol-msgpack")
CLASSIC_PACKAGES = ("signalr/jquery.signalR.js", "jquery", "jsdom", "eventsource", "ws")
CHECK = """
if (parseInt(process.versions.node) < 18) throw new Error(`Node.js ${process.versions.node} is too old`);
for (const name of process.argv.slice(1)) require.resolve(name);
"""


def value(expected: Any) -> dict[str, Any]:
    """Return what a client prints of a call that succeeds."""
    return {"value": expected}


def error(text: str) -> dict[str, Any]:
    """Return what a client prints of a call that fails."""
    return {"error": text}


def find_node(*packages: str) -> str:
    """Return the Node.js that has Microsoft's client, or skip the test.

    Args:
        packages: what the client needs; by default the client for ASP.NET Core.
    """
    node = shutil.which("node")
    if node is None:
        pytest.skip("there is no Node.js (tests/strangers/README.md)")
    command = [node, "-e", CHECK, *(packages or PACKAGES)]
    done = subprocess.run(command, cwd=HERE, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        why = next((line for line in done.stderr.splitlines() if line.startswith("Error")), done.stderr)
        pytest.skip(f"Microsoft's JavaScript client is not installed (tests/strangers/README.md): {why}")
    return node


def find_classic_program() -> Path:
    """Return the program of Microsoft's classic server, which has Microsoft's .NET client too, or skip the test."""
    try:
        return find_program()
    except ServerMissingError as error:
        pytest.skip(str(error))


def run(*command: str | Path) -> dict[str, dict[str, Any]]:
    """Run a client to its end and return what it got of each check, by the check's name."""
    try:
        done = subprocess.run(command, cwd=HERE, capture_output=True, text=True, timeout=LIMIT, check=False)
    except subprocess.TimeoutExpired as late:
        pytest.fail(f"no end after {LIMIT:g} s: {late.stdout!r} {late.stderr!r}", pytrace=False)
    if done.returncode != 0:
        pytest.fail(f"status {done.returncode}\n{done.stdout}\n{done.stderr}", pytrace=False)
    return read(done.stdout)


def read(output: str) -> dict[str, dict[str, Any]]:
    """Return what was printed, by the name of the check."""
    lines = [json.loads(line) for line in output.splitlines()]
    return {line.pop("name"): line for line in lines}
