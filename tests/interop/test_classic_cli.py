"""The commands that find out which kind a server is, against Microsoft's classic server and ours."""

from __future__ import annotations

import json
import subprocess
from typing import TYPE_CHECKING, Any

import pytest
from tests.cli.conftest import signalr
from tests.cli.running import process, run

if TYPE_CHECKING:
    from tests.classic_twin import ClassicTwin
    from tests.cli.conftest import Signalr

    from .classic_server import ClassicServer

# Processes take a while to start on a machine that has much to do.
pytestmark = pytest.mark.timeout(60)

__all__ = ["signalr"]

TRANSPORTS = ("WebSockets", "ServerSentEvents", "LongPolling")


@pytest.fixture(autouse=True)
def no_environment_proxies(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)


def objects(text: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in text.splitlines()]


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_connect(running_classic_server: ClassicServer | ClassicTwin, transport: str) -> None:
    lines = "testHub.Add 1 2\nother.Echo hello\nNope.Add 1 2\nsecret.Who\n"
    done = run("connect", running_classic_server.url(), "--token", "ann", "--transport", transport, input=lines)
    *called, unknown, who = [each for each in objects(done.stdout) if "call" in each]
    assert called == [{"call": "testHub.Add", "result": 3}, {"call": "other.Echo", "result": "other:hello"}]
    assert "'Nope' is none of the hubs of this connection" in unknown["error"]
    assert (who["call"], done.returncode) == ("secret.Who", 1)
    assert f"connected over {transport}" in done.stderr


def test_connect_and_a_hub_for_users_only(running_classic_server: ClassicServer | ClassicTwin) -> None:
    done = run("connect", running_classic_server.url(), input="secret.Who\ntestHub.Add 1 2\n")
    who, added = [each for each in objects(done.stdout) if "call" in each]
    assert "There was an error invoking Hub method 'secret.Who'" in who["error"]
    assert added == {"call": "testHub.Add", "result": 3}
    done = run("connect", running_classic_server.url(), "--hub", "secret", input="secret.Who\n")
    assert (done.returncode, done.stdout) == (3, "")
    assert "wants authentication (secret)" in done.stderr
    assert "signalr doctor" in done.stderr


def test_connect_shows_events(running_classic_server: ClassicServer | ClassicTwin) -> None:
    with process("connect", running_classic_server.url(), "--hub", "testHub", stdin=subprocess.PIPE) as command:
        assert command.stdin is not None
        assert command.stdout is not None
        assert json.loads(command.stdout.readline())["event"] == "testHub.welcome"
        command.stdin.close()
        assert command.wait(50) == 0


def test_doctor(running_classic_server: ClassicServer | ClassicTwin, signalr: Signalr) -> None:
    done = signalr("doctor", running_classic_server.url(), "--json", "--keep-alive", "20")
    answer = json.loads(done.out)
    checks = {check["check"]: check for check in answer["checks"]}
    assert (done.status, answer["server"]) == (0, "classic ASP.NET SignalR"), done.out
    settings = "protocol 2.0; keep-alive timeout 4 s, disconnect timeout 6 s; offers WebSockets"
    assert settings in checks["settings"]["said"]
    assert {"testHub", "other", "quiet", "secret (status 401)"} == set(checks["hubs"]["said"].split(", "))
    assert "never silent for 2.7 s" in checks["keep-alive"]["said"]
    steps = ("connect", "round trip", "reconnect", "stop")
    worked = [(step["transport"], step["step"]) for step in answer["steps"] if step["ending"] == "worked"]
    assert worked == [(transport, step) for transport in TRANSPORTS for step in steps]
    [problem] = answer["problems"]
    assert (problem["where"], problem["mark"]) == ("hubs", "warning")


@pytest.mark.parametrize(
    ("path", "status", "where", "said"),
    [
        ("/sticky/signalr", 0, "hubs", "cookies: AWSALB, AWSALBCORS"),
        ("/redirect", 0, None, "classic ASP.NET SignalR"),
        ("/ancient", 3, "settings", "older than ASP.NET SignalR 2"),
        ("/core", 3, None, ""),
    ],
)
def test_doctor_of_other_paths(
    running_classic_server: ClassicServer | ClassicTwin,
    signalr: Signalr,
    path: str,
    status: int,
    where: str | None,
    said: str,
) -> None:
    done = signalr("doctor", running_classic_server.url(path), "--json", "--keep-alive", "0")
    answer = json.loads(done.out)
    assert done.status == status, done.out
    assert said in done.out
    if where is not None:
        assert [problem["where"] for problem in answer["problems"]] == [where]


def test_each_kind_of_server_names_the_other(
    running_classic_server: ClassicServer | ClassicTwin, signalr: Signalr
) -> None:
    done = signalr("invoke", running_classic_server.url(), "Add", "1", "2")
    assert done.status == 3
    assert "this is a classic ASP.NET SignalR server: add --classic" in done.err
    done = signalr("invoke", running_classic_server.url("/core"), "testHub.Add", "1", "2", "--classic")
    assert done.status == 3
    assert "leave out --classic" in done.err
