"""The commands on classic servers: `--classic`, `signalr hubs`, and those that find out which kind a server is."""

from __future__ import annotations

import json
import subprocess
from typing import TYPE_CHECKING, Any

import pytest
from tests.cli.running import process, run

from signalr_sdk.testing import ClassicHubServer, HubServer
from signalr_sdk.testing.classic.demo_hub import ClassicDemoHub
from signalr_sdk.testing.demo_hub import DemoHub

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.cli.conftest import Done, Signalr

# Starting a process can take seconds on a busy machine.
pytestmark = pytest.mark.timeout(60)


class UsersHub(ClassicDemoHub):
    """A hub for users only."""

    requires_user = True


@pytest.fixture
def server() -> Iterator[ClassicHubServer]:
    with ClassicHubServer({"Chat": ClassicDemoHub, "News": ClassicDemoHub}, keep_alive=0.5) as server:
        yield server


@pytest.fixture
def url(server: ClassicHubServer) -> str:
    return server.url()


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


# Over WebSockets the error may come after the end of the command.
@pytest.mark.parametrize("transport", ["sse", "lp"])
def test_an_error_after_a_send_is_told(signalr: Signalr, url: str, transport: str) -> None:
    done = signalr("send", "--classic", url, "Chat.Nope", "--transport", transport)
    assert "Nope" in done.err


def test_why_a_server_does_not_list_its_hubs(signalr: Signalr, server: ClassicHubServer, url: str) -> None:
    for status, said in ((401, "wants authentication: pass --token"), (403, "denies access"), (302, "login page")):
        with server.faults.answer("hubs", status):
            assert said in signalr("hubs", url).err


def test_hubs(signalr: Signalr, url: str) -> None:
    assert "Chat.Add(a, b)\n" in signalr("hubs", url).out
    assert json.loads(signalr("hubs", url, "--json").out)["Chat"]["Add"] == ["a", "b"]


def test_negotiate(signalr: Signalr, url: str) -> None:
    answer = json.loads(signalr("negotiate", "--classic", url, "--json").out)
    assert (answer["protocolVersion"], answer["webSockets"], answer["keepAliveTimeout"]) == ("2.0", True, 1.0)
    assert "keep-alive timeout" in signalr("negotiate", "--classic", url).out


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("invoke", "--classic", "URL", "Add"), "write HUB.METHOD"),
        (("invoke", "--classic", "URL", "Chat.Add", "--protocol", "msgpack"), "JSON only; leave out --protocol"),
        (("send", "--classic", "URL", "Chat.Add", "--upload", "-"), "--upload and --classic"),
        (("listen", "--classic", "URL"), "name the events"),
        (("listen", "--classic", "URL", "addMessage"), "write HUB.METHOD or HUB.EVENT"),
        (("invoke", "--classic", "URL", "Chat."), "'Chat.' lacks the hub or the name"),
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


# connect


def objects(text: str) -> list[dict[str, Any]]:
    return [json.loads(line) for line in text.splitlines()]


def test_connect_finds_a_classic_server_out(url: str) -> None:
    done = run("connect", url, input="Chat.Add 1 2\nchat.work 2\nsend Chat.JoinRoom blue\n")
    assert done.returncode == 0, done.stderr
    assert objects(done.stdout) == [
        {"call": "Chat.Add", "result": 3},
        {"call": "chat.work", "result": "done"},
        {"call": "Chat.JoinRoom", "sent": True},
    ]
    assert "this is a classic ASP.NET SignalR server: write HUB.METHOD; its hubs are: Chat, News" in done.stderr
    assert "connected over WebSockets" in done.stderr


def test_connect_shows_the_events_of_classic_hubs_that_are_wanted(url: str) -> None:
    with process("connect", url, stdin=subprocess.PIPE) as command:
        assert command.stdin is not None
        assert command.stdout is not None
        command.stdin.write(b"on chat.*\nsend Chat.SendMessage me hi\n")
        command.stdin.flush()
        shown = [json.loads(command.stdout.readline()) for _ in range(2)]
        assert {"event": "Chat.ReceiveMessage", "arguments": ["me", "hi"]} in shown
        command.stdin.close()
        assert command.wait(50) == 0


@pytest.mark.parametrize(
    ("line", "status", "said"),
    [
        ("Add 1 2", 1, "'Add' lacks the hub or the name: for a classic server write HUB.METHOD"),
        ("Nope.Add 1 2", 1, "'Nope' is none of the hubs of this connection (Chat, News); name it with --hub Nope"),
        ("Chat.Fail no", 1, "no"),
        ("stream Chat.Counter 2", 1, "a classic server has no streams"),
        ("answer Ask=1", 2, "asks a client for no answers"),
        ("on ReceiveMessage", 2, "write HUB.METHOD or HUB.EVENT"),
        ("on Nope.*", 2, "'Nope' is none of the hubs of this connection (Chat, News)"),
    ],
)
def test_lines_that_a_classic_server_cannot_do(url: str, line: str, status: int, said: str) -> None:
    done = run("connect", url, input=f"{line}\nChat.Add 1 2\n")
    failed, added = objects(done.stdout)
    assert (done.returncode, added) == (status, {"call": "Chat.Add", "result": 3})
    assert said in failed["error"]


def test_connect_with_calls_on_each_connection_of_a_classic_server(url: str) -> None:
    done = run("connect", url, "--call", "Chat.JoinRoom blue", input="Chat.Add 1 2\n")
    assert objects(done.stdout) == [{"call": "Chat.Add", "result": 3}]
    done = run("connect", url, "--answer", "Ask=1", input="Chat.Add 1 2\n")
    assert (done.returncode, done.stdout) == (2, "")
    assert "asks a client for no answers" in done.stderr


def test_connect_names_the_hubs_of_a_classic_server_that_lists_none(server: ClassicHubServer) -> None:
    with server.faults.answer("hubs", 404, times=None):
        done = run("connect", server.url(), input="Chat.Add 1 2\n")
        assert done.returncode == 2
        assert "does not list its hubs: name them with --hub" in done.stderr
        done = run("connect", server.url(), "--hub", "Chat", input="Chat.Add 1 2\n")
    assert objects(done.stdout) == [{"call": "Chat.Add", "result": 3}]


def test_connect_and_a_classic_server_that_takes_no_post(server: ClassicHubServer) -> None:
    with server.faults.answer("negotiate", 405):
        done = run("connect", server.url(), input="Chat.Add 1 2\n")
    assert objects(done.stdout) == [{"call": "Chat.Add", "result": 3}]


def test_hubs_of_a_classic_server_are_wanted_of_another(core_url: str) -> None:
    done = run("connect", core_url, "--hub", "Chat", input="Chat.Add 1 2\n")
    assert (done.returncode, done.stdout) == (3, "")
    assert "for a server of ASP.NET Core SignalR leave out --hub" in done.stderr


# doctor


def examined(done: Done) -> dict[str, Any]:
    """Return what `--json` printed, with the checks by their names."""
    answer: dict[str, Any] = json.loads(done.out)
    answer["checks"] = {check["check"]: check for check in answer["checks"]}
    return answer


def test_doctor_of_a_classic_server(signalr: Signalr, url: str) -> None:
    done = signalr("doctor", url + "?key=query-secret", "--keep-alive", "5", "--json")
    answer = examined(done)
    assert done.status == 0, done.out
    assert (answer["ok"], answer["server"], answer["problems"]) == (True, "classic ASP.NET SignalR", [])
    checks = answer["checks"]
    assert list(checks) == ["proxy", "name", "TCP", "negotiate", "settings", "hubs", "keep-alive"]
    assert {check["mark"] for check in checks.values()} == {"ok"}
    assert "protocol 2.0; keep-alive timeout 1 s, disconnect timeout 30 s" in checks["settings"]["said"]
    assert checks["hubs"]["said"] == "Chat, News"
    assert "never silent" in checks["keep-alive"]["said"]
    worked = [(step["transport"], step["step"]) for step in answer["steps"] if step["ending"] == "worked"]
    steps = ["connect", "round trip", "reconnect", "stop"]
    assert worked == [(each, step) for each in ("WebSockets", "ServerSentEvents", "LongPolling") for step in steps]
    assert "query-secret" not in done.out


def test_doctor_of_a_classic_server_as_a_table(signalr: Signalr, url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    done = signalr("doctor", url, "--keep-alive", "0")
    assert done.status == 0, done.out
    assert max(map(len, done.out.splitlines())) <= 80
    assert done.out.count("✓") == 6 + 3 * 4
    assert done.out.rstrip().endswith("All is well.")


_OLD = {
    "Url": "/signalr", "ConnectionToken": "t", "ConnectionId": "i", "KeepAliveTimeout": 20.0, "DisconnectTimeout": 30.0,
    "TryWebSockets": True, "ProtocolVersion": "1.3", "TransportConnectTimeout": 5.0,
}  # fmt: skip


@pytest.mark.parametrize(
    ("fault", "status", "where", "cause"),
    [
        (lambda faults: faults.answer("negotiate", 405), 0, None, None),
        (
            lambda faults: faults.answer("negotiate", 200, json.dumps(_OLD), times=None),
            3,
            "settings",
            "the server is older than ASP.NET SignalR 2",
        ),
        (lambda faults: faults.answer("hubs", 404, times=None), 0, "hubs", "makes no script that lists its hubs"),
        (
            lambda faults: faults.answer("connect", 400, times=None),
            3,
            "WebSockets, connect; ServerSentEvents, connect; LongPolling, connect",
            "the server does not know the connection token: several servers",
        ),
        (
            lambda faults: faults.answer("connect", 400, times=None, transport="webSockets"),
            1,
            "WebSockets, connect",
            "lets no WebSocket through",
        ),
        (
            lambda faults: faults.answer("start", 500, times=None),
            3,
            "WebSockets, connect; ServerSentEvents, connect; LongPolling, connect",
            "the server fails at /start",
        ),
        (
            lambda faults: faults.answer("reconnect", 400, times=None),
            1,
            "WebSockets, reconnect; ServerSentEvents, reconnect; LongPolling, reconnect",
            "the same connection cannot be taken up again",
        ),
    ],
)
def test_doctor_names_the_cause_of_what_fails_on_a_classic_server(
    signalr: Signalr,
    server: ClassicHubServer,
    fault: Callable[[Any], Any],
    status: int,
    where: str | None,
    cause: str | None,
) -> None:
    with fault(server.faults):
        done = signalr("doctor", server.url(), "--keep-alive", "0", "--json")
    answer = examined(done)
    assert (done.status, answer["server"]) == (status, "classic ASP.NET SignalR"), done.out
    assert [problem["where"] for problem in answer["problems"]][:1] == ([] if where is None else [where])
    if cause is not None:
        assert cause in answer["problems"][0]["cause"]


def test_doctor_and_keep_alives_that_are_held_back(signalr: Signalr, server: ClassicHubServer) -> None:
    with server.faults.silence(keep_alive_only=True):
        done = signalr("doctor", server.url(), "--keep-alive", "5", "--json")
    [problem] = examined(done)["problems"]
    assert done.status == 1
    assert (problem["where"], problem["said"]) == ("keep-alive", "WebSockets: silence for 0.7 s")
    assert "buffers what the server sends" in problem["cause"]


@pytest.mark.parametrize(
    ("hubs", "status", "mark", "said", "cause"),
    [
        ((), 0, "warning", "Chat, Users (status 401)", "the hub wants a user"),
        (("Chat",), 0, "ok", "Chat", None),
        (("Users",), 1, "failed", "Users (status 401)", "the hub wants a user"),
        (("Chat", "Nope"), 1, "failed", "Chat, Nope (status 500)", "the server knows no hub of this name"),
    ],
)
def test_doctor_and_hubs_that_refuse(
    signalr: Signalr, hubs: tuple[str, ...], status: int, mark: str, said: str, cause: str | None
) -> None:
    options = [word for hub in hubs for word in ("--hub", hub)]
    with ClassicHubServer({"Chat": ClassicDemoHub, "Users": UsersHub}, web_sockets=False) as server:
        done = signalr("doctor", server.url(), "--keep-alive", "0", "--json", *options)
    answer = examined(done)
    check = answer["checks"]["hubs"]
    assert (done.status, check["mark"], check["said"]) == (status, mark, said), done.out
    # WebSockets are off, which is a problem of its own.
    first, *others = answer["problems"]
    assert (first["where"], first["mark"]) == ("settings", "warning")
    assert "TryWebSockets is false" in first["cause"]
    assert [problem["cause"].startswith(cause or "") for problem in others] == ([] if cause is None else [True])


def test_doctor_at_the_root_of_a_classic_server(signalr: Signalr, server: ClassicHubServer) -> None:
    done = signalr("doctor", server.url("/"), "--json")
    [problem] = examined(done)["problems"]
    assert done.status == 3
    assert "or /signalr, which most classic servers have" in problem["advice"]
