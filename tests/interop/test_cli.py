"""The commands against ASP.NET Core."""

from __future__ import annotations

import asyncio
import datetime
import json
import re
import signal
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest
from tests.cli.conftest import signalr
from tests.cli.running import in_terminal, process, run
from tests.servers import http_proxy, in_thread

if TYPE_CHECKING:
    from pathlib import Path

    from tests.cli.conftest import Done, Signalr

    from .conftest import Certificates, Combination, StartServer
    from .hub_server import HubServer

# Processes take a while to start on a machine that has much to do.
pytestmark = [pytest.mark.slow, pytest.mark.timeout(60)]

__all__ = ["signalr"]


@pytest.fixture(autouse=True)
def no_environment_proxies(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)


def test_invoke_prints_the_result(hub_server: HubServer, signalr: Signalr, combination: Combination) -> None:
    options = ("--protocol", combination.protocol, "--transport", combination.transport)
    done = signalr("invoke", hub_server.url("/hub"), "Add", "-1", "3", *options)
    assert (done.status, done.out, done.err) == (0, "2\n", "")
    assert signalr("invoke", hub_server.url("/hub"), "Transport", *options).out == f'"{combination.transport}"\n'


def test_after_two_dashes_all_is_arguments(hub_server: HubServer, signalr: Signalr) -> None:
    assert signalr("invoke", hub_server.url("/hub"), "EchoString", "--", "--token").out == '"--token"\n'


def test_stream_prints_the_items(hub_server: HubServer, signalr: Signalr, combination: Combination) -> None:
    options = ("--protocol", combination.protocol, "--transport", combination.transport)
    done = signalr("stream", hub_server.url("/hub"), "Counter", "3", "0", *options)
    assert (done.status, done.out, done.err) == (0, "0\n1\n2\n", "")


def test_stream_that_fails_is_status_1(hub_server: HubServer, signalr: Signalr) -> None:
    done = signalr("stream", hub_server.url("/hub"), "CounterThenThrow", "2", "no more")
    assert (done.status, done.out) == (1, "0\n1\n")
    assert "no more" in done.err


def test_a_count_cancels_the_stream(hub_server: HubServer, signalr: Signalr) -> None:
    asyncio.run(hub_server.clear_events())
    assert signalr("stream", hub_server.url("/hub"), "Forever", "1", "--count", "2").out == "0\n1\n"
    assert asyncio.run(hub_server.wait_event("stream-ended")).detail == "cancelled"


def test_lines_are_uploaded(hub_server: HubServer, signalr: Signalr, combination: Combination, tmp_path: Path) -> None:
    options = ("--protocol", combination.protocol, "--transport", combination.transport)
    (tmp_path / "numbers").write_text("".join(f"{number}\n" for number in range(1000)))
    done = signalr("invoke", hub_server.url("/hub"), "Sum", "--upload", str(tmp_path / "numbers"), *options)
    assert (done.status, done.out) == (0, f"{sum(range(1000))}\n")


def test_send_reaches_the_hub(hub_server: HubServer, signalr: Signalr, combination: Combination) -> None:
    detail = f"sent over {combination}"
    options = ("--protocol", combination.protocol, "--transport", combination.transport)
    # On a very busy machine, a server that has just started has sometimes not recorded the call, only with MessagePack.
    # Why is not known: perhaps it was still compiling its code for MessagePack when the connection ended.
    assert signalr("invoke", hub_server.url("/hub"), "Echo", "1", *options).out == "1\n"
    done = signalr("send", hub_server.url("/hub"), "Record", detail, *options)
    assert (done.status, done.out, done.err) == (0, "", "")
    asyncio.run(hub_server.wait_event("recorded", detail=detail))


def test_listen_prints_events_over_an_outage(hub_server: HubServer) -> None:
    url = hub_server.url("/hub-not-stateful")
    with process("listen", url, "News", "--count", "2") as command:
        assert command.stderr is not None
        assert command.stdout is not None
        for number in range(2):
            line = command.stderr.readline()
            while (b"connected over", b"connected again over")[number] not in line:
                assert line
                line = command.stderr.readline()
            asyncio.run(hub_server.send("Other", 0))
            asyncio.run(hub_server.send("News", number, {"a": "é"}))
            assert json.loads(command.stdout.readline()) == {"event": "News", "arguments": [number, {"a": "é"}]}
            asyncio.run(hub_server.drop_transports("/hub-not-stateful"))
        assert command.wait(50) == 0


def test_header_and_token_reach_the_server(
    hub_server: HubServer, signalr: Signalr, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = hub_server.url("/hub-auth")
    token = asyncio.run(hub_server.token("anna"))
    assert signalr("invoke", url, "Header", "x-colour", "--header", "X-Colour: red", "--token", token).out == '"red"\n'
    monkeypatch.setenv("SIGNALR_TOKEN", token)
    assert signalr("invoke", url, "User").out == '"anna"\n'


def test_an_error_of_the_hub_is_status_1(hub_server: HubServer, signalr: Signalr) -> None:
    done = signalr("invoke", hub_server.url("/hub"), "ThrowHubException", "no apples")
    assert (done.status, done.out) == (1, "")
    assert "no apples" in done.err


@pytest.mark.parametrize("path", ["/hub", "/hub-plain-errors"])
def test_arguments_that_the_hub_cannot_bind(hub_server: HubServer, signalr: Signalr, path: str) -> None:
    """With and without detailed errors, the hint says how the arguments went out."""
    done = signalr("invoke", hub_server.url(path), "Add", "1", "two")
    assert (done.status, done.err.count("\n")) == (1, 1)
    assert 'the arguments went out as number 1, text "two"; write =TEXT for text, JSON for the rest' in done.err
    assert "went out" not in signalr("invoke", hub_server.url(path), "ThrowException", "no").err
    assert signalr("invoke", hub_server.url("/hub"), "EchoString", "=1").out == '"1"\n'


def test_the_wrong_kind_of_call_is_told(hub_server: HubServer, signalr: Signalr) -> None:
    assert "call it with stream" in signalr("invoke", hub_server.url("/hub"), "Counter", "3", "0").err
    assert "call it with invoke" in signalr("stream", hub_server.url("/hub"), "Add", "1", "2").err


def test_lines_of_connect(hub_server: HubServer, combination: Combination) -> None:
    options = ("--protocol", combination.protocol, "--transport", combination.transport)
    lines = """\
Add 1 2
stream Counter 2 0
answer Ask=therefore
CallMe News [1, "two"]
AskCaller Ask why
ThrowHubException no
"""
    done = run("connect", hub_server.url("/hub"), *options, "--answer", "Ask=because", input=lines)
    answered = [json.loads(line) for line in done.stdout.splitlines()]
    assert done.returncode == 1
    assert {"call": "Add", "result": 3} in answered
    assert [each["item"] for each in answered if "item" in each] == [0, 1]
    assert {"event": "News", "arguments": [1, "two"]} in answered
    assert {"event": "Ask", "arguments": ["why"]} in answered
    assert {"call": "AskCaller", "result": "therefore"} in answered
    assert "no" in answered[-1]["error"]


def test_listen_joins_a_group_again_after_an_outage(hub_server: HubServer) -> None:
    url = hub_server.url("/hub-not-stateful")
    with process("listen", url, "--call", "JoinGroup blue", "--count", "2") as command:
        assert command.stderr is not None
        assert command.stdout is not None
        for number in range(2):
            line = command.stderr.readline()
            while (b"connected over", b"connected again over")[number] not in line:
                assert line
                line = command.stderr.readline()
            sent = run("send", url, "SendToGroup", "blue", "News", str(number))
            assert sent.returncode == 0, sent.stderr
            assert json.loads(command.stdout.readline()) == {"event": "News", "arguments": [number]}
            asyncio.run(hub_server.drop_transports("/hub-not-stateful"))
        assert command.wait(50) == 0


def test_a_refusal_is_status_3(hub_server: HubServer, signalr: Signalr) -> None:
    done = signalr("invoke", hub_server.url("/hub-auth"), "User")
    assert (done.status, done.out) == (3, "")
    assert "status 401" in done.err


def test_no_answer_in_time_is_status_3(hub_server: HubServer, signalr: Signalr) -> None:
    done = signalr("invoke", hub_server.url("/hub"), "Delay", "60000", "--timeout", "0.5")
    assert (done.status, done.out, done.err) == (
        3,
        "",
        "signalr: no answer within 0.5 s; --timeout gives it more time\n",
    )


def test_what_cannot_be_encoded_is_wrong_usage(hub_server: HubServer, signalr: Signalr) -> None:
    done = signalr("invoke", hub_server.url("/hub"), "Echo", str(2**70), "--protocol", "messagepack")
    assert (done.status, done.out) == (2, "")
    assert "arguments[0]" in done.err


@pytest.mark.skipif(sys.platform == "win32", reason="sends SIGINT")
def test_ctrl_c_ends_it_without_a_traceback(hub_server: HubServer) -> None:
    command = [sys.executable, "-m", "signalr_sdk.cli.main", "invoke", hub_server.url("/hub"), "Delay", "60000", "-v"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        assert "connected" in process.stderr.readline()
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=50)
    assert (process.returncode, out) == (130, "")
    assert "Traceback" not in err


def test_v_tells_of_the_connection(hub_server: HubServer, signalr: Signalr) -> None:
    done = signalr("invoke", hub_server.url("/hub"), "Add", "1", "2", "-v")
    assert done.out == "3\n"
    assert "signalr_sdk.hub: connected" in done.err


def test_the_log_shows_neither_token_nor_query(hub_server: HubServer, signalr: Signalr) -> None:
    token = asyncio.run(hub_server.token("anna"))
    done = signalr("invoke", hub_server.url("/hub-auth?key=hidden"), "Query", "key", "--token", token, "-vv")
    assert done.out == '"hidden"\n'
    assert "signalr_sdk.http" in done.err
    assert token not in done.err
    assert "key=" not in done.err


def test_negotiate_as_a_table(hub_server: HubServer, signalr: Signalr) -> None:
    done = signalr("negotiate", hub_server.url("/redirect"))
    assert done.status == 0
    assert [" ".join(line.split()) for line in done.out.splitlines() if "connection id" not in line] == [
        f"asked {hub_server.url('/redirect/negotiate')}",
        hub_server.url("/hub-auth/negotiate"),
        f"connect to {hub_server.url('/hub-auth')}",
        "transports WebSockets (Binary, Text)",
        "ServerSentEvents (Text)",
        "LongPolling (Binary, Text)",
        "token of the redirect yes",
    ]


def test_negotiate_as_json(hub_server: HubServer, signalr: Signalr) -> None:
    done = signalr("negotiate", hub_server.url("/hub-sse"), "--json")
    answer = json.loads(done.out)
    assert answer.pop("connectionId")
    assert answer == {
        "asked": [hub_server.url("/hub-sse/negotiate")],
        "url": hub_server.url("/hub-sse"),
        "transports": {"ServerSentEvents": ["Text"]},
        "redirectToken": False,
        "tokenLifetimeSeconds": None,
    }


def test_negotiate_shows_a_token_lifetime(hub_server: HubServer, signalr: Signalr) -> None:
    token = asyncio.run(hub_server.token("anna", seconds=120))
    done = signalr("negotiate", hub_server.url("/hub-refresh"), "--token", token)
    assert "token lifetime" in done.out


@pytest.mark.parametrize(
    ("path", "said"), [("/negotiate-classic", "classic ASP.NET SignalR"), ("/negotiate-500", "status 500")]
)
def test_negotiate_that_fails_is_status_3(hub_server: HubServer, signalr: Signalr, path: str, said: str) -> None:
    done = signalr("negotiate", hub_server.url(path))
    assert (done.status, done.out) == (3, "")
    assert said in done.err


def test_certificates(https_server: HubServer, certificates: Certificates, signalr: Signalr) -> None:
    url = https_server.url("/hub", https=True)
    authority = certificates.server.with_name("ca.pem")
    certificates.authority.cert_pem.write_to_path(authority)
    assert signalr("negotiate", url).status == 3
    assert signalr("negotiate", url, "--insecure").status == 0
    assert signalr("invoke", url, "Add", "1", "2", "--ca", str(authority)).out == "3\n"


# doctor


def examined(done: Done) -> dict[str, Any]:
    """Return what `doctor --json` printed."""
    answer: dict[str, Any] = json.loads(done.out)
    return answer


@pytest.mark.parametrize(
    ("path", "status", "server", "where", "cause"),
    [
        ("/hub", 0, "ASP.NET Core SignalR", None, None),
        ("/hub-auth", 3, "not known: it refuses first", "negotiate", "the hub wants a token, and none was given"),
        ("/hub-ws-blocked", 1, "ASP.NET Core SignalR", "WebSockets, connect", "lets no WebSocket through"),
        (
            "/hub-all-blocked",
            3,
            "ASP.NET Core SignalR",
            "WebSockets, connect; ServerSentEvents, connect; LongPolling, connect",
            "negotiate is let through, but none of the requests that follow",
        ),
        ("/hub-json-only", 0, "ASP.NET Core SignalR", "MessagePack", "does not speak MessagePack"),
        ("/hub-messagepack-only", 0, "ASP.NET Core SignalR", "JSON", "does not speak JSON"),
        ("/hub-sse", 0, "ASP.NET Core SignalR", None, None),
        ("/negotiate-classic", 3, "classic ASP.NET SignalR", "settings", "there is no hub at this path"),
        ("/negotiate-html", 3, "a web page, no hub", "negotiate", "a web page comes instead of a hub's answer"),
        ("/negotiate-error", 3, "a web server, but no hub there", "negotiate", "refuses this client itself"),
        ("/negotiate-empty", 3, "a web server, but no hub there", "negotiate", "something else than a SignalR hub"),
        ("/negotiate-500", 3, "a web server, but no hub there", "negotiate", "the application on the server fails"),
        ("/negotiate-503", 3, "a web server, but no hub there", "negotiate", "not available at the moment"),
        ("/redirect-loop", 3, "a web server, but no hub there", "negotiate", "redirect in a circle"),
        ("/nothing-there", 3, "a web server, but no hub there", "negotiate", "there is no hub at this path"),
        ("/app", 0, "Azure SignalR Service, behind an application server", None, None),
    ],
)
def test_doctor_names_the_cause(
    hub_server: HubServer,
    signalr: Signalr,
    path: str,
    status: int,
    server: str,
    where: str | None,
    cause: str | None,
) -> None:
    done = signalr("doctor", hub_server.url(path), "--json", "--keep-alive", "0", "--timeout", "5")
    answer = examined(done)
    assert (done.status, answer["server"]) == (status, server), done.out
    if cause is None:
        assert answer["problems"] == []
    else:
        problem = answer["problems"][0]
        assert where in (None, problem["where"])
        assert cause in problem["cause"]


def test_doctor_and_a_hub_that_wants_nobody(hub_server: HubServer, signalr: Signalr) -> None:
    done = signalr("doctor", hub_server.url("/hub-refusing"), "--json", "--keep-alive", "0")
    # Its Close message comes with the answer to the handshake, or a moment later.
    assert done.status in (1, 3)
    assert {problem["cause"] for problem in examined(done)["problems"]} == {
        "the server ends the connection right after it was opened"
    }


def test_doctor_and_an_endpoint_that_is_no_hub(hub_server: HubServer, signalr: Signalr) -> None:
    # It never answers the handshake.
    done = signalr("doctor", hub_server.url("/scripted"), "--json", "--timeout", "2")
    [problem] = examined(done)["problems"]
    assert done.status == 3
    assert "no hub but another endpoint of SignalR" in problem["cause"]


def test_doctor_follows_to_azure(hub_server: HubServer, signalr: Signalr) -> None:
    token = asyncio.run(hub_server.token("anna"))
    done = signalr("doctor", hub_server.url("/app"), "--json", "--keep-alive", "0", "--token", token)
    checks = {check["check"]: check["said"] for check in examined(done)["checks"]}
    assert f"redirected to {hub_server.url('/client/negotiate')}" in checks["negotiate"]
    assert token not in done.out


def test_doctor_sees_the_pings(hub_server: HubServer, signalr: Signalr) -> None:
    done = signalr("doctor", hub_server.url("/hub-impatient"), "--json", "--keep-alive", "5")
    check = examined(done)["checks"][-1]
    assert (check["check"], check["mark"]) == ("keep-alive", "ok")
    assert "the server has sent a ping" in check["said"]


def test_doctor_misses_the_pings(hub_server: HubServer, signalr: Signalr) -> None:
    done = signalr("doctor", hub_server.url("/hub-quiet"), "--json", "--keep-alive", "0.5")
    [problem] = examined(done)["problems"]
    assert (done.status, problem["where"], problem["mark"]) == (0, "keep-alive", "warning")


def test_doctor_says_where_a_token_is_accepted(hub_server: HubServer, signalr: Signalr) -> None:
    token = asyncio.run(hub_server.token("anna", seconds=7200))
    done = signalr("doctor", hub_server.url("/hub-auth"), "--json", "--keep-alive", "0", "--token", token, "-vv")
    checks = {check["check"]: check["said"] for check in examined(done)["checks"]}
    assert done.status == 0
    assert "needed (negotiate: status 401); accepted by negotiate" in checks["token"]
    assert "accepted in the Authorization header; WebSockets: accepted in the query" in checks["token"]
    assert token not in done.out + done.err


def test_doctor_without_a_server(signalr: Signalr) -> None:
    done = signalr("doctor", "http://127.0.0.1:1/hub", "--json")
    [problem] = examined(done)["problems"]
    assert (done.status, problem["where"]) == (3, "TCP")
    assert "nothing listens" in problem["cause"]


def test_doctor_with_certificates(https_server: HubServer, certificates: Certificates, signalr: Signalr) -> None:
    url = https_server.url("/hub", https=True)
    authority = certificates.server.with_name("ca.pem")
    certificates.authority.cert_pem.write_to_path(authority)
    unknown = signalr("doctor", url, "--json")
    trusted = signalr("doctor", url, "--json", "--keep-alive", "0", "--ca", str(authority))
    [problem] = examined(unknown)["problems"]
    assert (unknown.status, problem["where"]) == (3, "TLS")
    assert "an authority" in problem["cause"]
    assert "--ca FILE" in problem["advice"]
    assert (trusted.status, examined(trusted)["problems"]) == (0, [])


def test_doctor_with_an_expired_certificate(
    tmp_path: Path, certificates: Certificates, start_server: StartServer, signalr: Signalr
) -> None:
    authority = certificates.authority
    ended = datetime.datetime.now(datetime.UTC) - datetime.timedelta(days=40)
    issued = authority.issue_cert("127.0.0.1", not_after=ended)
    certificate, key, trusted = tmp_path / "expired.pem", tmp_path / "key.pem", tmp_path / "ca.pem"
    issued.cert_chain_pems[0].write_to_path(certificate)
    issued.private_key_pem.write_to_path(key)
    authority.cert_pem.write_to_path(trusted)
    server = start_server(certificate=certificate, key=key)
    done = signalr("doctor", server.url("/hub", https=True), "--json", "--ca", str(trusted))
    [problem] = examined(done)["problems"]
    assert (done.status, problem["where"]) == (3, "TLS")
    assert problem["cause"] == "the certificate has expired 40 days ago"


def test_doctor_with_a_proxy_that_refuses(hub_server: HubServer, https_server: HubServer, signalr: Signalr) -> None:
    with in_thread(http_proxy("me:proxy-secret")) as proxy:
        wrong = proxy.url.replace("://", "://me:wrong-secret@")
        plain = signalr("doctor", hub_server.url("/hub"), "--json", "--proxy", wrong)
        tunnel = signalr("doctor", https_server.url("/hub", https=True), "--json", "--proxy", wrong)
    for done, where in ((plain, "negotiate"), (tunnel, "tunnel")):
        [problem] = examined(done)["problems"]
        assert (done.status, problem["where"]) == (3, where)
        assert "the proxy wants a user and password" in problem["cause"]
        assert "wrong-secret" not in done.out


# As processes, in pipes and in a terminal


@pytest.mark.skipif(sys.platform == "win32", reason="needs pseudo-terminals")
@pytest.mark.parametrize(
    ("arguments", "status", "said"),
    [
        (("invoke", "/hub", "Add", "1", "2"), 0, "3"),
        (("send", "/hub", "Record", "x"), 0, ""),
        (("stream", "/hub", "Counter", "3", "0"), 0, "2"),
        (("listen", "/hub", "Nothing", "--timeout", "3"), 0, "connected over WebSockets"),
        (("negotiate", "/hub"), 0, "ServerSentEvents (Text)"),
        (("demo", "--url", "/hub"), 0, "steps worked"),
        (("doctor", "/hub", "--keep-alive", "0"), 0, "All is well."),
        (("doctor", "/hub-ws-blocked", "--keep-alive", "0"), 1, "lets no WebSocket through"),
        (("doctor", "/negotiate-html"), 3, "a web page comes instead"),
    ],
    ids=str,
)
def test_in_a_terminal_and_in_a_pipe(hub_server: HubServer, arguments: tuple[str, ...], status: int, said: str) -> None:
    given = [hub_server.url(each) if each.startswith("/") else each for each in arguments]
    in_pipe = run(*given)
    assert (in_pipe.returncode, "\x1b" in in_pipe.stdout) == (status, False)
    assert said in " ".join((in_pipe.stdout + in_pipe.stderr).split())
    ended, seen = in_terminal(*given)
    shown = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", seen)
    assert ended == status
    assert said in " ".join(shown.split())
    assert max(map(len, re.split("[\r\n]+", shown))) <= 80
