"""The commands against ASP.NET Core."""

from __future__ import annotations

import asyncio
import json
import signal
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest
from tests.cli.conftest import signalr

if TYPE_CHECKING:
    from tests.cli.conftest import Signalr

    from .conftest import Certificates, Combination
    from .hub_server import HubServer

__all__ = ["signalr"]


def test_invoke_prints_the_result(hub_server: HubServer, signalr: Signalr, combination: Combination) -> None:
    options = ("--protocol", combination.protocol, "--transport", combination.transport)
    done = signalr("invoke", hub_server.url("/hub"), "Add", "-1", "3", *options)
    assert (done.status, done.out, done.err) == (0, "2\n", "")
    assert signalr("invoke", hub_server.url("/hub"), "Transport", *options).out == f'"{combination.transport}"\n'


def test_after_two_dashes_all_is_arguments(hub_server: HubServer, signalr: Signalr) -> None:
    assert signalr("invoke", hub_server.url("/hub"), "EchoString", "--", "--token").out == '"--token"\n'


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


def test_a_refusal_is_status_3(hub_server: HubServer, signalr: Signalr) -> None:
    done = signalr("invoke", hub_server.url("/hub-auth"), "User")
    assert (done.status, done.out) == (3, "")
    assert "status 401" in done.err


def test_no_answer_in_time_is_status_3(hub_server: HubServer, signalr: Signalr) -> None:
    done = signalr("invoke", hub_server.url("/hub"), "Delay", "60000", "--timeout", "0.5")
    assert (done.status, done.out, done.err) == (3, "", "signalr: no answer within 0.5 s\n")


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
        out, err = process.communicate(timeout=9)
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
