"""Run each file in examples/ as a process of its own, against the test server and ASP.NET Core, and ask for status 0.

An example takes the URL of a hub as its only argument, or what `arguments` says, reads its standard input to the end if
it reads it at all, and ends by itself.
"""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

ROOT = Path(__file__).parents[1]
LIMIT = 60.0  # seconds for one example
SECONDS = 5  # how long a token is good: ASP.NET Core tells whole seconds, and none under one
LOGIN = f"/token?user=ada&seconds={SECONDS}"
WITH_TOKENS = ("bot_with_tokens.py", "smart_home.py", "trading_bot.py")

sys.path.insert(0, str(ROOT))


def arguments(name: str, url: Callable[[str], str], login: str) -> list[str]:
    """Return what an example takes."""
    return [url("/hub-refresh"), login] if name in WITH_TOKENS else [url("/hub")]


def run(example: Path, url: Callable[[str], str], login: str) -> bool:
    """Return whether it ended well; say so, and show what it printed if not."""
    try:
        done = subprocess.run(
            [sys.executable, "-W", "error", example, *arguments(example.name, url, login)],
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


@contextmanager
def login_server(token: Callable[[], str]) -> Iterator[str]:
    """Answer GET with tokens for the test server, as ASP.NET Core does at `LOGIN`; give the URL."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = token().encode()
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}/"
        server.shutdown()
        thread.join()


def main() -> int:
    """Run them all."""
    from tests.interop.hub_server import HubServer, ServerMissingError
    from tests.python_server import PythonServer, make_token

    examples = sorted((ROOT / "examples").glob("*.py"))
    print("test server")
    with PythonServer.start() as twin, login_server(lambda: make_token("ada", SECONDS)) as login:
        done = [run(example, twin.url, login) for example in examples]
    try:
        server = HubServer.start()
    except ServerMissingError as error:
        print(error)
        done.append(os.environ.get("CI") != "true")
    else:
        print("ASP.NET Core")
        with server:
            done += [run(example, server.url, server.url(LOGIN)) for example in examples]
    return 0 if done and all(done) else 1


sys.exit(main())
