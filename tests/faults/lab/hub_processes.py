"""The servers of the lab: processes that can be killed, and started again on the same port."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Protocol

from tests.interop.hub_server import HubServer as AspNetCore
from tests.interop.hub_server import ServerEvent

if TYPE_CHECKING:
    from collections.abc import Callable


class HubProcess(Protocol):
    """A running server on 127.0.0.1. The methods block, and may be called from any thread in the server's namespace."""

    @property
    def port(self) -> int:
        """The port on which the server listens."""

    def tick(self, number: int) -> None:
        """Send the event `tick` to all clients.

        Raises:
            OSError: the event may not have been sent.
        """

    def records(self) -> list[ServerEvent]:
        """Return all that the hub has recorded since the process was started."""

    def kill(self) -> None:
        """End the process at once. May be called again."""


class AspNetCoreProcess:
    """ASP.NET Core."""

    def __init__(self, port: int = 0) -> None:
        self._server = AspNetCore.start(port=port)

    @property
    def port(self) -> int:
        return self._server.port

    def tick(self, number: int) -> None:
        self._server.ask("POST", "/control/send", {"target": "tick", "arguments": [number]})

    def records(self) -> list[ServerEvent]:
        events, _cookies = self._server.ask("GET", "/control/events")
        return [ServerEvent(event["kind"], event["connectionId"], event["detail"]) for event in events]

    def kill(self) -> None:
        if not self._server.has_ended:
            self._server.kill()
        self._server.close()


class PythonProcess:
    """The test server, `signalr_sdk.testing.HubServer`, in a process of its own. See `python_hub`."""

    def __init__(self, port: int = 0) -> None:
        command = [sys.executable, "-m", "tests.faults.lab.python_hub", str(port)]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self._asking = threading.Lock()
        self._records: list[ServerEvent] = []
        self.port = int(self._answer())

    def _ask(self, question: str) -> Any:
        with self._asking:
            stdin = self._process.stdin
            if stdin is None or stdin.closed:
                raise ConnectionResetError("the process was ended")
            stdin.write(f"{question}\n")
            stdin.flush()
            return self._answer()

    def _answer(self) -> Any:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise ConnectionResetError("the process has ended")
        return json.loads(line)

    def tick(self, number: int) -> None:
        self._ask(f"tick {number}")

    def records(self) -> list[ServerEvent]:
        new = [ServerEvent(*event) for event in self._ask("records")]
        with self._asking:
            self._records += new
            return list(self._records)

    def kill(self) -> None:
        self._process.kill()
        self._process.wait()
        with self._asking:
            for pipe in (self._process.stdin, self._process.stdout):
                assert pipe is not None
                with suppress(BrokenPipeError):  # a question is still in the buffer
                    pipe.close()


PROCESSES: dict[str, Callable[[int], HubProcess]] = {"python": PythonProcess, "aspnetcore": AspNetCoreProcess}
