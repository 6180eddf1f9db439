"""Microsoft's clients for classic ASP.NET SignalR get from our server what they get from Microsoft's own.

What they got from that one is in `classic-javascript.jsonl` and `classic-dotnet.jsonl`.
"""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any

import attrs
import pytest
from tests.classic_server import add_other_paths, control_port, make_server
from tests.strangers.running import CLASSIC_PACKAGES, HERE, find_classic_program, find_node

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

# Each client runs over all transports at the same time. The .NET client waits 8 s for an answer that never comes.
LIMIT = 300.0
pytestmark = [pytest.mark.slow, pytest.mark.timeout(320)]

TRANSPORTS = ("webSockets", "serverSentEvents", "longPolling")
EACH = pytest.mark.parametrize("transport", TRANSPORTS)
# Whether a client says that the connection is slow is a question of time.
SLOW = {"slow", "connectionSlow"}
# Over HTTP, a result may overtake the progress that was reported before it: they arrive over two connections. The .NET
# client ignores progress that comes too late. Other progress for which it has no handler makes the call fail.
OVERTAKEN = {"progress when the result came", "progress a little later", "Work [2]"}


@attrs.frozen
class Line:
    """What a client got of one call, or of several events."""

    what: str
    result: Any


@attrs.define
class OfficialClient:
    """A program with one of Microsoft's clients.

    Attributes:
        command: returns the command that runs the program, for the URL of a server, the URL of its control port, and a
            transport.
        said: what the program printed, by transport.
    """

    command: Callable[[str, str, str], list[str | Path]]
    said: dict[str, list[Line]] = attrs.field(factory=dict)

    def over(self, transport: str) -> list[Line]:
        """Return what the program printed over a transport; run it over all transports at the first call."""
        if not self.said:
            asyncio.run(self._run_all())
        return self.said[transport]

    async def _run_all(self) -> None:
        texts = await asyncio.gather(*(self._run(transport) for transport in TRANSPORTS))
        self.said.update(zip(TRANSPORTS, map(lines, texts), strict=True))

    async def _run(self, transport: str) -> str:
        async with make_server() as server, control_port(server) as control:
            add_other_paths(server)
            command = self.command(server.url(""), control, transport)
            pipe = asyncio.subprocess.PIPE
            process = await asyncio.create_subprocess_exec(*command, cwd=HERE, stdout=pipe, stderr=pipe)
            try:
                async with asyncio.timeout(LIMIT):
                    output, errors = await process.communicate()
            finally:
                if process.returncode is None:
                    process.kill()
                    await process.wait()
        assert process.returncode == 0, (output, errors)
        return output.decode()


@pytest.fixture(scope="module")
def javascript_client() -> OfficialClient:
    """npm `signalr`, in Node.js."""
    node = find_node(*CLASSIC_PACKAGES)
    return OfficialClient(lambda root, control, transport: [node, HERE / "classic.cjs", root, control, transport])


@pytest.fixture(scope="module")
def dotnet_client() -> OfficialClient:
    """Microsoft.AspNet.SignalR.Client, in the program of Microsoft's server."""
    program = find_classic_program()

    def command(root: str, control: str, transport: str) -> list[str | Path]:
        return [program, "client", "--url", f"{root}/signalr", "--control", control, "--transport", transport]

    return OfficialClient(command)


def lines(text: str) -> list[Line]:
    """Read what a program printed."""
    members = [json.loads(line) for line in text.splitlines()]
    return [Line(each["what"], comparable(each["result"])) for each in members]


def expected(name: str, transport: str) -> list[Line]:
    """Return what a program printed with Microsoft's server, over one transport."""
    text = (HERE / name).read_text(encoding="utf-8")
    return lines("\n".join(line for line in text.splitlines() if f'"transport":"{transport}"' in line[:40]))


def comparable(result: Any) -> Any:
    """Return a result without what differs from run to run.

    A server keeps the order of the events of one kind, not the order of several kinds.
    """
    if isinstance(result, dict):
        return {name: comparable(value) for name, value in result.items()}
    if isinstance(result, list):
        kept = [item for item in result if not (isinstance(item, str) and item in SLOW)]
        return sorted(kept, key=lambda item: item[0] if isinstance(item, list) and isinstance(item[0], str) else "")
    return result


@EACH
def test_the_javascript_client(javascript_client: OfficialClient, transport: str) -> None:
    assert javascript_client.over(transport) == expected("classic-javascript.jsonl", transport)


@EACH
def test_the_net_client(dotnet_client: OfficialClient, transport: str) -> None:
    got = {line.what: line.result for line in dotnet_client.over(transport)}
    wanted = {line.what: line.result for line in expected("classic-dotnet.jsonl", transport)}
    if transport != "webSockets":
        assert got["progress when the result came"]["result"] == "done"
        assert all(step in wanted["progress a little later"] for step in got["progress a little later"])
        assert got["Work [2]"] in ("done", wanted["Work [2]"])
        wanted.update({what: got[what] for what in OVERTAKEN})
    assert got == wanted
