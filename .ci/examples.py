"""Run each file in examples/ as a process of its own, against the test server and ASP.NET Core, and ask for status 0.

An example takes the URL of a hub as its only argument, reads its standard input to the end if it reads it at all, and
ends by itself.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
LIMIT = 60.0  # seconds for one example

sys.path.insert(0, str(ROOT))


def run(example: Path, url: str) -> bool:
    """Return whether it ended well; say so, and show what it printed if not."""
    try:
        done = subprocess.run(
            [sys.executable, "-W", "error", example, url],
            input="hello\n",
            capture_output=True,
            text=True,
            timeout=LIMIT,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        print(f"{example.name}: no end after {LIMIT:g} s\n{error.stdout}\n{error.stderr}")
        return False
    print(f"{example.name}: status {done.returncode}")
    if done.returncode != 0:
        print(done.stdout, done.stderr, sep="\n")
    return done.returncode == 0


def main() -> int:
    """Run them all."""
    from tests.interop.hub_server import HubServer, ServerMissingError
    from tests.python_server import PythonServer

    examples = sorted((ROOT / "examples").glob("*.py"))
    print("test server")
    with PythonServer.start() as twin:
        done = [run(example, twin.url("/hub")) for example in examples]
    try:
        server = HubServer.start()
    except ServerMissingError as error:
        print(error)
        done.append(os.environ.get("CI") != "true")
    else:
        print("ASP.NET Core")
        with server:
            done += [run(example, server.url("/hub")) for example in examples]
    return 0 if done and all(done) else 1


sys.exit(main())
