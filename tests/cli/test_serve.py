"""`signalr serve`: a hub server that runs until Ctrl-C."""

from __future__ import annotations

import asyncio
import re
import signal
import socket
import subprocess
import sys
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Any

import aiohttp
import pytest
from tests.classic_wire import wire
from tests.cli.running import process

from signalr_sdk import HubConnection, Transport
from signalr_sdk.cli.served_hub_texts import CallLog, method_lines
from signalr_sdk.testing import ClassicHubServer, Hub, HubServer, RecordedCall, RecordedDisconnect
from signalr_sdk.testing.classic.demo_hub import ClassicDemoHub

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from .conftest import Signalr

# Starting a process can take seconds on a busy machine.
pytestmark = pytest.mark.timeout(60)

HUBS = """
from signalr_sdk.testing import ClassicHub, Hub

class Shop(Hub):
    async def price(self, item: str) -> int:
        return len(item)

class Loose(Hub):
    async def anything(self, *args: object) -> None: ...

class Old(ClassicHub):
    async def price(self, item: str) -> int:
        return len(item)

class Nothing: ...
"""

# SIGINT may be ignored in the process that has started the tests, and child processes inherit that.
COMMAND = """
import signal, sys
signal.signal(signal.SIGINT, signal.default_int_handler)
from signalr_sdk.cli.main import main
sys.exit(main(sys.argv[1:]))
"""


@pytest.fixture
def modules(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder with a module of hubs, in which the command is called."""
    (tmp_path / "hubs_of_a_user.py").write_text(HUBS)
    monkeypatch.setattr(sys, "path", [*sys.path])
    monkeypatch.chdir(tmp_path)
    yield tmp_path
    sys.modules.pop("hubs_of_a_user", None)


@pytest.fixture
def interrupted(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """Press Ctrl-C as soon as the command prints that it listens; keep its output."""
    said: list[str] = []

    def echo(text: str, **_how: Any) -> None:
        said.append(text)
        if "listens" in text:
            signal.raise_signal(signal.SIGINT)

    monkeypatch.setattr("signalr_sdk.cli.serve.typer.echo", echo)
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield said
    signal.signal(signal.SIGINT, before)


def test_ctrl_c_ends_it_with_status_0(signalr: Signalr, interrupted: list[str]) -> None:
    done = signalr("serve", "--port", "0")
    assert done.status == 0
    assert len(interrupted) == 3
    assert interrupted[0].startswith("DemoHub listens on http://127.0.0.1:")
    assert "/chat," in interrupted[0]
    assert interrupted[1].splitlines()[0] == "  Add(a: int, b: int)"
    assert interrupted[2] == "stopped"


def test_a_hub_of_ones_own(signalr: Signalr, interrupted: list[str], modules: Path) -> None:
    assert signalr("serve", "hubs_of_a_user:Shop", "--port", "0", "--path", "/shop").status == 0
    assert interrupted[0].startswith("Shop listens on http://127.0.0.1:")


def test_a_classic_server(signalr: Signalr, interrupted: list[str], modules: Path) -> None:
    assert signalr("serve", "--classic", "--port", "0").status == 0
    assert signalr("serve", "hubs_of_a_user:Old", "--classic", "--port", "0", "--path", "/old").status == 0
    demo, methods, _stopped, own, _methods, _stopped = interrupted
    assert "  Add(a: int, b: int)" in methods.splitlines()
    assert re.fullmatch(r"Chat listens on http://127\.0\.0\.1:\d+/signalr, until Ctrl-C", demo)
    assert re.fullmatch(r"Old listens on http://127\.0\.0\.1:\d+/old, until Ctrl-C", own)


async def test_the_hub_of_the_classic_demo() -> None:
    async with (
        ClassicHubServer({"Chat": ClassicDemoHub}) as server,
        wire(server, Transport.WEBSOCKETS, "chat") as client,
    ):
        await client.start()
        await client.call("JoinRoom", "kitchen")
        await client.call("SendToRoom", "kitchen", "ann", "hi")
        await client.call("LeaveRoom", "kitchen")
        await client.call("SendToRoom", "kitchen", "ann", "nobody hears")
        await client.call("SendMessage", "ann", "hello")
        await client.call("Flood", "Flood", 2, 3)
        assert await client.events(4) == [
            ("ReceiveMessage", "ann", "hi"),
            ("ReceiveMessage", "ann", "hello"),
            ("Flood", 0, "xxx"),
            ("Flood", 1, "xxx"),
        ]
        assert await client.call("Add", 1, 2) == {"R": 3, "I": "0"}
        assert await client.call("Count", state={"count": 1}) == {"R": 2, "S": {"count": 2}, "I": "0"}
        assert await client.call("Fail", "no") == {"I": "0", "H": True, "E": "no"}
        assert await client.call("Work", 2, call_id=1) == {"R": "done", "I": "1"}
        assert [item["P"]["D"] for item in await client.next(2)] == [0, 1]


@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM"])
@pytest.mark.skipif(sys.platform == "win32", reason="Windows has other signals")
def test_clients_are_served(modules: Path, name: str) -> None:
    command = [
        sys.executable,
        "-u",
        "-c",
        COMMAND,
        "serve",
        "hubs_of_a_user:Shop",
        "--port",
        "0",
        "--path",
        "/shop",
        "-q",
    ]
    with subprocess.Popen(command, cwd=modules, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        try:
            assert process.stdout is not None
            url = process.stdout.readline().split()[3].rstrip(",")
            assert asyncio.run(_price(url)) == 5
            process.send_signal(getattr(signal, name))
            out, err = process.communicate()
        finally:
            process.kill()
    assert (process.returncode, out, err) == (0, "stopped\n", "")


class Everything(Hub):
    """A hub with all kinds of parameters."""

    async def plain(self) -> None: ...

    async def two_words(self, a: int, b: str = "x", c: Any = None) -> None: ...

    async def numbers(self, items: AsyncIterator[int]) -> AsyncIterator[float]:
        async for item in items:
            yield float(item)


def test_methods_are_listed_as_clients_write_them() -> None:
    assert method_lines(Everything) == [
        "Numbers(items: stream of int) streams",
        "Plain()",
        "TwoWords(a: int, b: str = 'x', c: any = None)",
    ]


async def test_what_clients_do_is_shown_as_it_comes() -> None:
    shown: list[str] = []
    async with HubServer({"/hub": Everything}, authorize=lambda _token: "me") as server:
        server.recorded.watcher = CallLog(shown.append).show
        gone = server.wait_disconnected()
        async with HubConnection(server.url("/hub"), access_token="token") as hub:
            await hub.invoke("TwoWords", 1, "a\x1b[2J")
            async with hub.stream("Numbers", _numbers()) as items:
                assert [item async for item in items] == [1.0]
        await gone
    lines = [re.sub(r"^\d\d:\d\d:\d\d \S{6} ", "", line) for line in shown]
    assert lines == [
        "connected over WebSockets, user me",
        r'TwoWords(1, "a\u001b[2J")',
        "Numbers(stream)",
        "gone",
    ]
    assert len({line.split()[1] for line in shown}) == 1


async def _numbers() -> AsyncIterator[int]:
    yield 1


def test_a_flood_is_counted_and_not_shown() -> None:
    now = 0.0
    shown: list[str] = []
    log = CallLog(shown.append, lambda: now)
    for number in range(100):
        log.show(RecordedCall("Add", ("x" * 1000,), str(number), None))
    now = 1.0
    log.show(RecordedDisconnect("/hub", "id", ValueError("broken")))
    assert len(shown) == 22
    assert max(map(len, shown)) < 250
    assert shown[20] == "... and 80 more"
    assert shown[21].endswith("id gone: broken")


def test_a_server_that_wants_a_token(signalr: Signalr) -> None:
    with process("serve", "--port", "0", "--token", "token-secret", "-q") as server:
        assert server.stdout is not None
        url = server.stdout.readline().decode().split()[3].rstrip(",")
        assert signalr("invoke", url, "Add", "1", "2", "--token", "token-secret").out == "3\n"
        refused = signalr("invoke", url, "Add", "1", "2", "--token", "wrong-secret")
        examined = signalr("doctor", url, "--token", "wrong-secret", "--keep-alive", "0")
        server.terminate()
    assert (refused.status, examined.status) == (3, 3)
    assert "the server refuses the token of --token: check that it is for this server" in refused.err
    assert "the token of --token is not accepted; it is no JWT" in examined.out
    assert "secret" not in refused.err + examined.out


def _only_right(token: str | None) -> str | None:
    return "me" if token == "right-secret" else None


@pytest.mark.parametrize(
    ("server", "method", "path"),
    [
        (HubServer({"/hub": Everything}, authorize=_only_right), "POST", "/hub/negotiate"),
        (ClassicHubServer({}, authorize=_only_right), "GET", "/signalr/negotiate"),
    ],
    ids=["core", "classic"],
)
async def test_refused_clients_are_shown_without_secrets(
    server: HubServer | ClassicHubServer, method: str, path: str
) -> None:
    shown: list[str] = []
    async with server, aiohttp.ClientSession(server.url("/")) as session:
        server.recorded.watcher = CallLog(shown.append).show

        async def status(path: str, headers: dict[str, str] | None = None) -> int:
            async with session.request(method, path, headers=headers) as answer:
                return answer.status

        assert await status(path) == 401
        assert await status(path, {"Authorization": "Bearer header-secret"}) == 401
        assert await status(f"{path}?access_token=query-secret") == 401
        assert await status(f"/%1b{'b' * 300}?access_token=query-secret") == 404
    assert [re.sub(r"^\d\d:\d\d:\d\d ", "", line) for line in shown] == [
        f"refused: {method} {path}, status 401: no token",
        f"refused: {method} {path}, status 401: a wrong token",
        f"refused: {method} {path}, status 401: a wrong token",
        f"refused: {method} / {'b' * 198}…, status 404",
    ]
    assert [each.has_token for each in server.recorded.refusals] == [False, True, True, True]


async def _price(url: str) -> Any:
    async with HubConnection(url) as hub:
        return await hub.invoke("Price", "apple")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("nonsense",), "'nonsense' names no hub; write MODULE:CLASS"),
        (("hubs_of_a_user:",), "names no hub"),
        (("no_such_module:Hub",), "cannot find no_such_module:Hub: No module named"),
        (("hubs_of_a_user:Missing",), "cannot find hubs_of_a_user:Missing"),
        (
            ("hubs_of_a_user:Nothing",),
            "hubs_of_a_user:Nothing is no hub; derive the class from signalr_sdk.testing.Hub",
        ),
        (("hubs_of_a_user:Shop", "--classic"), "Shop is no hub; derive the class from signalr_sdk.testing.ClassicHub"),
        (("hubs_of_a_user:Old",), "Old is no hub; derive the class from signalr_sdk.testing.Hub"),
        (("hubs_of_a_user:HUBS",), "cannot find"),
        (("hubs_of_a_user:Loose",), "parameters go by position"),
        (("--path", "chat"), "--path: 'chat' does not begin with a slash"),
        (("--port", "99999"), "port"),
    ],
)
def test_wrong_usage_is_status_2(signalr: Signalr, modules: Path, arguments: tuple[str, ...], said: str) -> None:
    done = signalr("serve", *arguments)
    assert (done.status, done.out) == (2, "")
    assert said in done.err


def test_a_port_in_use_is_status_3(signalr: Signalr) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        done = signalr("serve", "--port", port)
    assert (done.status, done.out) == (3, "")
    advice = "choose another port with --port, or 0 for a free one"
    assert done.err == f"signalr: cannot listen on 127.0.0.1:{port}: address already in use; {advice}\n"
