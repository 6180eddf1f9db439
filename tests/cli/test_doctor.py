"""`signalr doctor` with servers that work, that fail and that are silent, and its output."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import datetime
import json
import re
import signal
import socket
import ssl
import sys
import threading
import time
from typing import TYPE_CHECKING, Any

import pytest
import trustme
from tests.cli.running import environment, in_terminal, process, run
from tests.doubles import on_uvloop
from tests.servers import http_proxy, in_thread, raw_server

from signalr_sdk.testing import Hub, HubServer

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Iterator
    from pathlib import Path

    from tests.servers import RawConnection

    from .conftest import Done, Signalr

# Starting a process can take seconds on a busy machine.
pytestmark = pytest.mark.timeout(60)

posix = pytest.mark.skipif(sys.platform == "win32", reason="needs pseudo-terminals and SIGINT")
TOKEN = "token-secret"


@pytest.fixture(autouse=True)
def no_environment_proxies(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.upper(), raising=False)


@pytest.fixture
def hub() -> Iterator[HubServer]:
    """A hub that pings often."""
    with HubServer({"/hub": Hub}, keep_alive=0.2) as server:
        yield server


def examined(done: Done) -> dict[str, Any]:
    """Return what `--json` printed, with the checks by their names."""
    answer: dict[str, Any] = json.loads(done.out)
    answer["checks"] = {check["check"]: check for check in answer["checks"]}
    return answer


def only_problem(done: Done) -> dict[str, Any]:
    [problem] = examined(done)["problems"]
    return dict(problem)


# Servers that work


def test_all_is_well(signalr: Signalr, hub: HubServer) -> None:
    done = signalr("doctor", hub.url("/hub") + "?key=query-secret", "--keep-alive", "5", "--json")
    answer = examined(done)
    assert done.status == 0, done.out
    assert (answer["ok"], answer["connected"], answer["server"]) == (True, True, "ASP.NET Core SignalR")
    assert list(answer["checks"]) == ["proxy", "name", "TCP", "negotiate", "token", "keep-alive"]
    assert {check["mark"] for check in answer["checks"].values()} == {"ok"}
    assert "the server has sent a ping" in answer["checks"]["keep-alive"]["said"]
    assert len(answer["steps"]) == 15
    assert {step["ending"] for step in answer["steps"]} == {"worked"}
    assert answer["problems"] == []
    assert "query-secret" not in done.out


def test_as_a_table(signalr: Signalr, hub: HubServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    done = signalr("doctor", hub.url("/hub"), "--keep-alive", "0")
    assert done.status == 0
    assert "\x1b" not in done.out
    assert max(map(len, done.out.splitlines())) <= 80
    assert done.out.count("✓") == 5 + 15
    assert "- keep-alive not waited for" in done.out
    assert done.out.rstrip().endswith("All is well.")


@pytest.mark.parametrize("sign", ["✗", "X"])
def test_causes_stand_below_the_table(signalr: Signalr, monkeypatch: pytest.MonkeyPatch, sign: str) -> None:
    if sign == "X":
        monkeypatch.setattr("rich.console.Console.encoding", "ascii")
    done = signalr("doctor", "http://127.0.0.1:1/hub")
    assert done.status == 3
    assert re.search(f"{sign} +TCP", done.out)
    assert "why  the machine is there, but nothing listens on port 1\n" in re.sub(" +\n", "\n", done.out)
    assert "do   start the server" in done.out
    assert done.out.rstrip().endswith("No connection to the hub.")


def test_a_terminal_sees_it_grow(signalr: Signalr, hub: HubServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NO_COLOR")
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("FORCE_COLOR", "1")
    done = signalr("doctor", hub.url("/hub"), "--keep-alive", "0")
    assert done.status == 0
    assert "…" in done.out
    assert done.out.count("negotiate") > 10


def test_options_narrow_what_is_tried(signalr: Signalr, hub: HubServer) -> None:
    arguments = ("--transport", "LongPolling", "--protocol", "messagepack", "--json")
    answer = examined(signalr("doctor", hub.url("/hub"), *arguments))
    tried = {(step["transport"], step["protocol"]) for step in answer["steps"] if step["ending"] == "worked"}
    assert tried == {("LongPolling", "messagepack")}
    assert answer["checks"]["keep-alive"]["mark"] == "skipped"
    assert answer["ok"]


def test_the_report_is_complete_and_has_no_secrets(signalr: Signalr, hub: HubServer, tmp_path: Path) -> None:
    (tmp_path / "token").write_text(TOKEN)
    secret = ("--token-file", str(tmp_path / "token"), "-H", "X-Key: header-secret", "--protocol", "json")
    done = signalr("doctor", hub.url("/hub") + "?key=query-secret", "--keep-alive", "0", "--json", *secret)
    answer = json.loads(done.out)
    assert answer["options"] == {
        "token": True,
        "headers": ["X-Key"],
        "transports": None,
        "protocol": "json",
        "ca": False,
        "insecure": False,
        "proxy": False,
    }
    assert answer["limits"] == {"timeout": 10.0, "keepAlive": 0.0}
    assert answer["machine"]["packages"]["signalr-sdk"]
    assert answer["machine"]["packages"]["aiohttp"]
    assert "secret" not in done.out


def test_a_pipe_is_told_of_the_long_wait(signalr: Signalr, hub: HubServer) -> None:
    done = signalr("doctor", hub.url("/hub"), "--keep-alive", "20s", "--transport", "ws", "--protocol", "json")
    assert done.err == (
        "signalr: keep-alive: waits up to 20 s for a ping of the server; --keep-alive 0 leaves it out\n"
    )
    assert signalr("doctor", hub.url("/hub"), "--keep-alive", "1s", "--transport", "ws").err == ""


# Servers that fail


def test_a_name_that_nobody_knows(signalr: Signalr, monkeypatch: pytest.MonkeyPatch) -> None:
    def unknown(*_arguments: Any, **_options: Any) -> Any:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr("signalr_sdk.cli.doctor.network_checks.socket.getaddrinfo", unknown)
    done = signalr("doctor", "http://nobody.invalid/hub", "--json")
    assert done.status == 3
    assert only_problem(done)["where"] == "name"
    assert "knows nobody.invalid: it is misspelt" in only_problem(done)["cause"]


def test_a_look_up_that_hangs(signalr: Signalr, monkeypatch: pytest.MonkeyPatch) -> None:
    release = threading.Event()

    def hang(*_arguments: Any, **_options: Any) -> Any:
        release.wait()
        return []

    monkeypatch.setattr("signalr_sdk.cli.doctor.network_checks.socket.getaddrinfo", hang)
    try:
        done = signalr("doctor", "http://slow.invalid/hub", "--json", "--timeout", "0.1")
    finally:
        release.set()
    assert done.status == 3
    assert only_problem(done)["where"] == "name"
    assert "no answer within" in only_problem(done)["said"]


def test_nobody_listens(signalr: Signalr) -> None:
    done = signalr("doctor", "http://127.0.0.1:1/hub", "--json")
    assert done.status == 3
    assert only_problem(done)["where"] == "TCP"
    assert "nothing listens on port 1" in only_problem(done)["cause"]


def test_one_address_of_two(signalr: Signalr, hub: HubServer, monkeypatch: pytest.MonkeyPatch) -> None:
    if on_uvloop():
        pytest.skip("uvloop does not look names up with the `socket.getaddrinfo` that this test replaces")
    really = socket.getaddrinfo

    def two(host: str, port: int, *rest: Any, **more: Any) -> Any:
        if host != "two.invalid":
            return really(host, port, *rest, **more)
        return [
            (socket.AF_INET6, socket.SOCK_STREAM, 6, "", ("100::1", port, 0, 0)),
            (socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", port)),
        ]

    monkeypatch.setattr("socket.getaddrinfo", two)
    done = signalr("doctor", f"http://two.invalid:{hub.port}/hub", "--json", "--timeout", "2", "--keep-alive", "0")
    answer = examined(done)
    assert answer["connected"]
    assert "100::1, 127.0.0.1 (IPv4 and IPv6)" in answer["checks"]["name"]["said"]
    assert answer["checks"]["TCP"]["mark"] == "warning"
    assert "1 of 2 addresses" in answer["checks"]["TCP"]["said"]
    assert "not all addresses work" in answer["problems"][0]["cause"]


async def silent(connection: RawConnection) -> None:
    await connection.reader.read()


@pytest.mark.parametrize(("scheme", "where"), [("http", "negotiate"), ("https", "TLS")])
def test_a_server_that_is_silent(signalr: Signalr, scheme: str, where: str) -> None:
    with in_thread(raw_server(silent)) as server:
        done = signalr("doctor", f"{scheme}://127.0.0.1:{server.port}/hub", "--json", "--timeout", "0.3")
    assert done.status == 3
    assert only_problem(done)["where"] == where


async def plain(connection: RawConnection) -> None:
    # If bytes stayed unread, the system would close the connection with RST, which can overtake the answer.
    await connection.reader.read(64 * 1024)
    connection.answer(400)


def test_https_where_there_is_none(signalr: Signalr) -> None:
    with in_thread(raw_server(plain)) as server:
        done = signalr("doctor", f"https://127.0.0.1:{server.port}/hub", "--json")
    assert only_problem(done)["where"] == "TLS"
    assert "does not speak TLS" in only_problem(done)["cause"]


async def login(connection: RawConnection) -> None:
    while await connection.request() is not None:
        connection.answer(302, Location="https://example.com/Account/Login?secret=query-secret")


def test_a_login_page(signalr: Signalr) -> None:
    with in_thread(raw_server(login)) as server:
        done = signalr("doctor", f"{server.url}/hub", "--json")
    assert examined(done)["server"] == "a web server that redirects"
    assert "redirects to a login page" in only_problem(done)["cause"]
    assert "query-secret" not in done.out


def test_pings_that_do_not_come(signalr: Signalr) -> None:
    with HubServer({"/hub": Hub}, keep_alive=None) as server:
        done = signalr("doctor", server.url("/hub"), "--json", "--keep-alive", "0.3")
    answer = examined(done)
    assert (done.status, answer["checks"]["keep-alive"]["mark"]) == (0, "warning")
    assert "KeepAliveInterval" in only_problem(done)["cause"]


def test_a_connection_that_does_not_live_idle(signalr: Signalr) -> None:
    with HubServer({"/hub": Closing}, keep_alive=None) as server:
        done = signalr("doctor", server.url("/hub"), "--json", "--keep-alive", "5", "--transport", "WebSockets")
    answer = examined(done)
    assert (done.status, answer["checks"]["keep-alive"]["mark"]) == (1, "failed")
    assert "the idle connection was lost" in answer["checks"]["keep-alive"]["said"]


class Closing(Hub):
    """Ends each connection half a second after it has connected."""

    async def on_connected(self) -> None:
        asyncio.get_running_loop().call_later(0.5, self.context.abort)


# Tokens


@pytest.mark.parametrize(
    ("arguments", "cause"),
    [((), "none was given"), (("--token", "wrong-token"), "the token of --token is not accepted; it is no JWT")],
)
def test_a_token_that_is_missing_or_wrong(signalr: Signalr, arguments: tuple[str, ...], cause: str) -> None:
    with HubServer({"/hub": Hub}, authorize=lambda token: "me" if token == TOKEN else None) as server:
        done = signalr("doctor", server.url("/hub"), "--json", *arguments)
    assert done.status == 3
    assert cause in only_problem(done)["cause"]


def test_a_token_in_a_header(signalr: Signalr) -> None:
    with HubServer({"/hub": Hub}, authorize=lambda token: "me" if token == TOKEN else None) as server:
        header = f"authorization: Bearer {TOKEN}"
        done = signalr("doctor", server.url("/hub"), "--json", "--keep-alive", "0", "-H", header)
    assert examined(done)["checks"]["token"]["said"] == "in the header Authorization; accepted by negotiate"


def test_where_a_token_is_accepted(signalr: Signalr) -> None:
    with HubServer({"/hub": Hub}, authorize=lambda token: "me" if token == TOKEN else None) as server:
        done = signalr("doctor", server.url("/hub"), "--json", "--keep-alive", "0", "--token", TOKEN)
    said = examined(done)["checks"]["token"]["said"]
    assert "needed (negotiate: status 401); accepted by negotiate" in said
    assert "WebSockets: accepted in the Authorization header" in said
    assert "WebSockets: accepted in the query (access_token)" in said
    assert said.endswith("; it is no JWT, so that its lifetime is unknown")
    assert TOKEN not in done.out + done.err


def test_a_token_that_nobody_needs(signalr: Signalr, hub: HubServer) -> None:
    done = signalr("doctor", hub.url("/hub"), "--json", "--keep-alive", "0", "--token", TOKEN)
    assert "not needed" in examined(done)["checks"]["token"]["said"]


def test_a_redirect_to_another_host(signalr: Signalr) -> None:
    claims = base64.urlsafe_b64encode(json.dumps({"exp": time.time() + 7300}).encode()).decode().rstrip("=")
    token = f"e30.{claims}.token-secret"

    with HubServer({"/client": Hub}, authorize=lambda given: "me" if given == "service-secret" else None) as service:

        async def app(connection: RawConnection) -> None:
            while (request := await connection.request()) is not None:
                if request.headers.get("authorization") != f"Bearer {token}":
                    connection.answer(401)
                else:
                    to = {"url": service.url("/client") + "?hub=query-secret", "accessToken": "service-secret"}
                    connection.answer(200, json.dumps(to).encode())

        with in_thread(raw_server(app)) as server:
            url = f"{server.url}/hub"
            done = signalr("doctor", url, "--json", "--keep-alive", "0", "--token", token, "-vv")
    answer = examined(done)
    assert done.status == 0, done.out
    assert answer["server"] == "Azure SignalR Service, behind an application server"
    order = ["proxy", "name", "TCP", "negotiate", "proxy 2", "name 2", "TCP 2", "token", "keep-alive"]
    assert list(answer["checks"]) == order
    assert answer["checks"]["token"]["said"] == (
        "accepted by negotiate, which gives one of its own for the rest; valid for 2 h"
    )
    for secret in ("token-secret", "service-secret", "query-secret"):
        assert secret not in done.out + done.err


def test_a_redirect_to_where_nobody_is(signalr: Signalr) -> None:
    async def app(connection: RawConnection) -> None:
        while await connection.request() is not None:
            connection.answer(200, json.dumps({"url": "http://127.0.0.1:1/hub", "accessToken": "x"}).encode())

    with in_thread(raw_server(app)) as server:
        done = signalr("doctor", f"{server.url}/hub", "--json", "--timeout", "3")
    first, second = examined(done)["problems"]
    assert (done.status, first["where"], second["where"]) == (3, "negotiate", "TCP 2")
    assert "redirects to another server, and from that no answer comes" in first["cause"]
    assert "nothing listens on port 1" in second["cause"]


@pytest.mark.parametrize("token", [(), ("--token", TOKEN)])
def test_nothing_in_common(signalr: Signalr, token: tuple[str, ...]) -> None:
    with HubServer({"/hub": Hub}, transports=["LongPolling"]) as server:
        done = signalr("doctor", server.url("/hub"), "--json", "--transport", "websockets", *token)
    assert (done.status, only_problem(done)["where"]) == (3, "transports")
    assert only_problem(done)["said"].endswith("the server offers LongPolling (Binary, Text)")


# TLS

NOW = datetime.datetime.now(datetime.UTC)


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    """An authority that no machine trusts."""
    return trustme.CA(organization_name="Acme Tests")


@contextlib.contextmanager
def tls_hub(certificate: trustme.LeafCert) -> Iterator[str]:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    certificate.configure_cert(context)
    with HubServer({"/hub": Hub}, ssl=context) as server:
        yield server.url("/hub")


def test_an_authority_of_ones_own(signalr: Signalr, authority: trustme.CA, tmp_path: Path) -> None:
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    with tls_hub(authority.issue_cert("127.0.0.1")) as url:
        refused = signalr("doctor", url, "--json")
        trusted = signalr("doctor", url, "--json", "--keep-alive", "0", "--ca", str(tmp_path / "ca.pem"))
        careless = signalr("doctor", url, "--json", "--keep-alive", "0", "--insecure")
    assert refused.status == 3
    assert only_problem(refused)["where"] == "TLS"
    assert "an authority (Acme Tests" in only_problem(refused)["cause"]
    assert "--ca FILE" in only_problem(refused)["advice"]
    assert trusted.status == 0
    assert re.search(r"TLSv1\.\d, certificate for 127\.0\.0\.1 from Acme Tests", trusted.out)
    assert "days left" in trusted.out
    assert (careless.status, only_problem(careless)["mark"]) == (0, "warning")


def test_an_expired_certificate(signalr: Signalr, authority: trustme.CA, tmp_path: Path) -> None:
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    with tls_hub(authority.issue_cert("127.0.0.1", not_after=NOW - datetime.timedelta(days=3))) as url:
        done = signalr("doctor", url, "--json", "--ca", str(tmp_path / "ca.pem"))
    assert done.status == 3
    assert only_problem(done)["cause"] == "the certificate has expired 3 days ago"
    assert "expired 3 days ago" in only_problem(done)["said"]


def test_a_certificate_that_ends_soon(signalr: Signalr, authority: trustme.CA, tmp_path: Path) -> None:
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    certificate = authority.issue_cert("127.0.0.1", not_after=NOW + datetime.timedelta(days=3, hours=1))
    with tls_hub(certificate) as url:
        done = signalr("doctor", url, "--json", "--keep-alive", "0", "--ca", str(tmp_path / "ca.pem"))
    assert (done.status, only_problem(done)["mark"]) == (0, "warning")
    assert "expires in 3 days" in only_problem(done)["cause"]


def test_a_certificate_for_another_host(signalr: Signalr, authority: trustme.CA, tmp_path: Path) -> None:
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    with tls_hub(authority.issue_cert("other.example")) as url:
        done = signalr("doctor", url, "--json", "--ca", str(tmp_path / "ca.pem"))
    assert "not for 127.0.0.1: it is for other.example" in only_problem(done)["cause"]


# Proxies


def test_a_proxy_that_works(signalr: Signalr, authority: trustme.CA, tmp_path: Path, hub: HubServer) -> None:
    authority.cert_pem.write_to_path(tmp_path / "ca.pem")
    with tls_hub(authority.issue_cert("127.0.0.1")) as url, in_thread(http_proxy("me:pass/word")) as proxy:
        through = proxy.url.replace("://", "://me:pass%2Fword@")
        arguments = ("--json", "--keep-alive", "0", "--proxy", through)
        secure = signalr("doctor", url, *arguments, "--ca", str(tmp_path / "ca.pem"))
        insecure = signalr("doctor", hub.url("/hub"), *arguments)
        refused = signalr("doctor", url, "--json", "--proxy", proxy.url)
    assert (secure.status, insecure.status) == (0, 0), secure.out + insecure.out
    assert list(examined(secure)["checks"])[:5] == ["proxy", "name", "TCP", "tunnel", "TLS"]
    assert "pass%2Fword" not in secure.out + insecure.out
    assert refused.status == 3
    assert only_problem(refused)["where"] == "tunnel"
    assert "a user and password" in only_problem(refused)["cause"]


async def forbidding(connection: RawConnection) -> None:
    await connection.head()
    connection.answer(403)


async def no_proxy(connection: RawConnection) -> None:
    connection.write(b"SSH-2.0-x\r\n\r\n")


@pytest.mark.parametrize(
    ("serve", "cause"), [(forbidding, "does not let connections"), (no_proxy, "no HTTP proxy"), (silent, "it hangs")]
)
def test_a_proxy_that_refuses(
    signalr: Signalr, serve: Callable[[RawConnection], Coroutine[Any, Any, None]], cause: str
) -> None:
    with in_thread(raw_server(serve)) as proxy:
        arguments = ("--json", "--timeout", "0.5", "--proxy", proxy.url)
        done = signalr("doctor", "https://127.0.0.1:1/hub", *arguments)
    assert (done.status, only_problem(done)["where"]) == (3, "tunnel")
    assert cause in only_problem(done)["cause"]


def test_a_proxy_of_the_environment(signalr: Signalr, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("http_proxy", "http://me:proxy-secret@127.0.0.1:1")
    done = signalr("doctor", "http://example.invalid/hub", "--json")
    assert examined(done)["checks"]["proxy"]["said"] == "http://127.0.0.1:1, from the environment"
    assert "the proxy cannot be reached" in only_problem(done)["cause"]
    assert "proxy-secret" not in done.out


# Terminals and pipes


@posix
def test_in_a_terminal_it_grows(hub: HubServer) -> None:
    status, seen = in_terminal("doctor", hub.url("/hub"), "--keep-alive", "2")
    assert status == 0, seen
    assert "\x1b[" in seen
    assert seen.count("negotiate") > 5
    shown = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", seen)
    assert max(len(line) for line in re.split("[\r\n]+", shown)) <= 80
    assert "All is well." in shown


@posix
def test_ctrl_c_is_no_traceback() -> None:
    with (
        in_thread(raw_server(silent)) as server,
        process("doctor", f"{server.url}/hub", "--timeout", "60", "-v") as command,
    ):
        assert command.stderr is not None
        # The second connection is that of negotiate, after the one of the TCP check.
        while len(server.connections) < 2:
            assert command.poll() is None
            time.sleep(0.01)
        command.send_signal(signal.SIGINT)
        assert command.wait(50) == 130
        assert command.stderr.read() == b"signalr: interrupted\n"


def test_where_no_check_mark_can_be_written_there_are_words(hub: HubServer) -> None:
    ascii_only = environment(PYTHONUTF8="0", PYTHONIOENCODING="ascii")
    done = run("doctor", hub.url("/hub"), "--keep-alive", "0", env=ascii_only)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("ok ") == 5 + 15


def test_wrong_usage_is_status_2(signalr: Signalr) -> None:
    done = signalr("doctor", "ftp://example.com/")
    assert (done.status, done.out) == (2, "")
    assert "must start with http" in done.err
