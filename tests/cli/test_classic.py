"""The commands with `--classic`, and `signalr hubs`, with the classic test server."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from signalr_sdk.testing import ClassicHubServer, HubServer
from signalr_sdk.testing.classic.demo_hub import ClassicDemoHub
from signalr_sdk.testing.demo_hub import DemoHub

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.cli.conftest import Signalr


@pytest.fixture
def url() -> Iterator[str]:
    with ClassicHubServer({"Chat": ClassicDemoHub, "News": ClassicDemoHub}) as server:
        yield server.url()


@pytest.fixture
def core_url() -> Iterator[str]:
    with HubServer({"/chat": DemoHub}) as server:
        yield server.url("/chat")


def test_invoke(signalr: Signalr, url: str) -> None:
    done = signalr("invoke", "--classic", url, "Chat.Add", "1", "2")
    assert (done.status, done.out, done.err) == (0, "3\n", "")


def test_progress_goes_to_standard_error(signalr: Signalr, url: str) -> None:
    done = signalr("invoke", "--classic", url, "Chat.Work", "3")
    assert (done.status, done.out, done.err) == (0, '"done"\n', "0\n1\n2\n")


def test_listen(signalr: Signalr, url: str) -> None:
    wanted = ("chat.number", "News.*")
    calls = ("--call", "Chat.Flood Number 1 2", "--call", "Chat.Flood Other 1 2", "--call", "News.Flood Tick 1 2")
    done = signalr("listen", "--classic", url, *wanted, *calls, "--count", "2", "--timeout", "8s")
    assert done.status == 0
    assert [json.loads(line) for line in done.out.splitlines()] == [
        {"event": "chat.Number", "arguments": [0, "xx"]},
        {"event": "News.Tick", "arguments": [0, "xx"]},
    ]


def test_an_error_of_the_hub_is_status_1(signalr: Signalr, url: str) -> None:
    done = signalr("invoke", "--classic", url, "chat.NoSuch")
    assert done.status == 1
    assert "NoSuch" in done.err


@pytest.mark.parametrize("transport", ["ws", "sse", "lp"])
def test_send(signalr: Signalr, url: str, transport: str) -> None:
    assert signalr("send", "--classic", url, "Chat.Add", "1", "2", "--transport", transport).status == 0


def test_hubs(signalr: Signalr, url: str) -> None:
    assert "Chat.Add(a, b)\n" in signalr("hubs", url).out
    assert json.loads(signalr("hubs", url, "--json").out)["Chat"]["Add"] == ["a", "b"]


def test_negotiate(signalr: Signalr, url: str) -> None:
    answer = json.loads(signalr("negotiate", "--classic", url, "--json").out)
    assert (answer["protocolVersion"], answer["webSockets"], answer["keepAliveTimeout"]) == ("2.0", True, 20.0)
    assert "keep-alive timeout" in signalr("negotiate", "--classic", url).out


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("invoke", "--classic", "URL", "Add"), "write HUB.METHOD"),
        (("invoke", "--classic", "URL", "Chat.Add", "--protocol", "msgpack"), "--protocol and --classic"),
        (("send", "--classic", "URL", "Chat.Add", "--upload", "-"), "--upload and --classic"),
        (("listen", "--classic", "URL"), "name the events"),
        (("listen", "--classic", "URL", "addMessage"), "names no hub"),
        (("listen", "--classic", "URL", "Chat.*", "--answer", "Ask=1"), "--answer and --classic"),
    ],
)
def test_wrong_uses(signalr: Signalr, arguments: tuple[str, ...], said: str) -> None:
    done = signalr(*(word.replace("URL", "http://localhost:1/signalr") for word in arguments))
    assert done.status == 2
    assert said in done.err


def test_each_kind_of_server_names_the_other(signalr: Signalr, url: str, core_url: str) -> None:
    done = signalr("invoke", url, "Add", "1", "2")
    assert done.status == 3
    assert "this is a classic ASP.NET SignalR server: add --classic" in done.err
    done = signalr("invoke", "--classic", core_url, "Chat.Add", "1", "2")
    assert done.status == 3
    assert "leave out --classic" in done.err


@pytest.mark.parametrize("command", ["invoke", "send", "listen", "negotiate"])
def test_commands_for_both_kinds_of_servers(signalr: Signalr, url: str, command: str) -> None:
    done = signalr(command, url, *(["Add", "1", "2"] if command in ("invoke", "send") else []))
    assert done.status == 3
    assert "this is a classic ASP.NET SignalR server: add --classic" in done.err


def test_commands_for_one_kind_of_server(signalr: Signalr, url: str, core_url: str) -> None:
    done = signalr("stream", url, "Counter", "3")
    assert done.status == 3
    assert "with a classic ASP.NET SignalR server this command cannot talk" in done.err
    assert "--classic" not in done.err
    done = signalr("hubs", core_url)
    assert done.status == 3
    assert "only a server of classic ASP.NET SignalR lists its hubs" in done.err
    assert "--classic" not in done.err
