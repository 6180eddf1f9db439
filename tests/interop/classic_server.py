"""Microsoft's own server of classic ASP.NET SignalR as a child process: start it, control it, ask it what it saw."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import urllib.parse
import urllib.request
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from .hub_server import ROOT, ServerFailedError, ServerMissingError

if TYPE_CHECKING:
    from types import TracebackType

VARIABLE = "SIGNALR_CLASSIC_SERVER"
STOP_LIMIT = 5.0  # seconds

# Tests talk to 127.0.0.1 only: a proxy of the environment must not come between.
_opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))


def find_program() -> Path:
    """Return the server program."""
    if named := os.environ.get(VARIABLE):
        if not Path(named).is_file():
            raise ServerFailedError(f"{VARIABLE} names {named}, which is not a file")
        return Path(named)
    shared = ROOT / ".." / "shared" / "classic" / "bin" / "classic-server"
    if shared.is_file():
        return shared.resolve()
    raise ServerMissingError(f"no classic ASP.NET SignalR server: set {VARIABLE} to the program")


class ClassicServer:
    """A running server. Its options and hubs are those of the program's README.

    Attributes:
        http: the URL of the server, without a path.
    """

    def __init__(self, process: subprocess.Popen[bytes], http: str, control: str) -> None:
        self.http = http
        self._process = process
        self._control = control

    @classmethod
    def start(cls, *options: str) -> Self:
        """Start a server; the server ends with this process."""
        command = [str(find_program()), "--watch-stdin", *options]
        process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        assert process.stdout is not None
        line = process.stdout.readline()
        if not line:
            raise ServerFailedError("the classic server did not start")
        said = json.loads(line)
        return cls(process, said["http"], said["control"])

    def url(self, path: str = "/signalr") -> str:
        """Return the URL of a path."""
        return self.http + path

    async def control(self, path: str, body: object = None, /, **query: object) -> Any:
        """Send a request to the control port, and return the answer."""
        return await asyncio.to_thread(self._ask, "POST", path, body, query)

    async def log(self, kind: str | None = None, **members: object) -> list[dict[str, Any]]:
        """Return what happened, oldest first."""
        happened = await asyncio.to_thread(self._ask, "GET", "/log", None, {})
        wanted = members if kind is None else {"kind": kind, **members}
        return [each for each in happened if wanted.items() <= each.items()]

    async def events(self, connection_id: str, hub: str = "TestHub") -> list[str]:
        """Return the lifecycle events of a connection in one hub, oldest first."""
        return [each["event"] for each in await self.log("event", id=connection_id, hub=hub)]

    async def wait_event(self, connection_id: str, event: str, hub: str = "TestHub") -> dict[str, Any]:
        """Return a lifecycle event of a connection; wait if it has not happened yet."""
        while True:
            if found := await self.log("event", id=connection_id, event=event, hub=hub):
                return found[0]
            await asyncio.sleep(0.02)

    async def clear(self) -> None:
        """Forget what happened, and all faults."""
        await self.control("/rules/clear")
        await self.control("/mute", what="none")
        await self.control("/tokens", valid="")
        await asyncio.to_thread(self._ask, "GET", "/log", None, {"clear": 1})

    async def broadcast(self, method: str, *arguments: object, **target: object) -> None:
        """Call the clients from outside of a hub: `group=`, `user=` or `connection=` names some of them."""
        await self.control("/broadcast", list(arguments), method=method, **target)

    def _ask(self, method: str, path: str, body: object, query: dict[str, object]) -> Any:
        url = f"{self._control}{path}?{urllib.parse.urlencode(query)}"
        data = None if method == "GET" else json.dumps(body).encode() if body is not None else b""
        with _opener.open(urllib.request.Request(url, data, method=method), timeout=10) as answer:
            return json.loads(answer.read())

    def close(self) -> None:
        """Stop the server."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        try:
            self._process.wait(STOP_LIMIT)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        assert self._process.stdout is not None
        self._process.stdout.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, _type: type[BaseException] | None, _error: BaseException | None, _traceback: TracebackType | None
    ) -> None:
        self.close()
