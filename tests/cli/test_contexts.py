"""Where the hub's URL comes from: the command line, the environment, or a named context."""

from __future__ import annotations

import json
import stat
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import typer
from tests.cli.running import run

from signalr_sdk.cli.connection_options import checked_url
from signalr_sdk.testing import Hub, HubServer

if TYPE_CHECKING:
    from collections.abc import Iterator

    from .conftest import Signalr

TOKEN = "token-secret"


class Mirror(Hub):
    """Tells a client what the server knows of it."""

    async def add(self, a: int, b: int) -> int:
        return a + b

    async def me(self) -> str:
        return self.context.user or ""


@pytest.fixture(autouse=True)
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder for the settings of `signalr`."""
    monkeypatch.setattr(typer, "get_app_dir", lambda name: str(tmp_path / name))
    for name in ("SIGNALR_URL", "SIGNALR_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    return tmp_path


@pytest.fixture
def server() -> Iterator[HubServer]:
    """A hub that wants a token."""
    with HubServer({"/hub": Mirror}, authorize=lambda token: "me" if token == TOKEN else None) as server:
        yield server


@pytest.fixture
def token_file(tmp_path: Path) -> str:
    (tmp_path / "token").write_text(f"{TOKEN}\n")
    return str(tmp_path / "token")


def test_a_context_has_the_url_and_the_options(signalr: Signalr, server: HubServer, token_file: str) -> None:
    added = signalr("context", "add", "prod", server.url("/hub"), "--token-file", token_file, "--transport", "lp")
    assert added.status == 0
    assert signalr("invoke", "--context", "prod", "Add", "1", "2").out == "3\n"
    assert "connected over LongPolling" in signalr("listen", "--context", "prod", "--timeout", "1").err
    assert signalr("negotiate", "--context", "prod").status == 0


def test_the_environment_has_the_url(signalr: Signalr, server: HubServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SIGNALR_URL", server.url("/hub"))
    monkeypatch.setenv("SIGNALR_TOKEN", TOKEN)
    assert signalr("invoke", "Add", "1", "-2").out == "-1\n"
    assert signalr("invoke", "http://127.0.0.1:1/hub", "Add", "1", "2").status == 3
    assert signalr("invoke").err == "signalr: the method is missing; write signalr invoke URL METHOD [ARGS]...\n"


def test_a_wrong_url_in_the_environment_is_named(signalr: Signalr, monkeypatch: pytest.MonkeyPatch) -> None:
    for url, said in (
        ("example", "'example' is no URL such as"),
        ("ftp://example.com", "the hub's URL must start with"),
    ):
        monkeypatch.setenv("SIGNALR_URL", url)
        assert signalr("invoke", "Add").err.startswith(f"signalr: SIGNALR_URL: {said}")


def test_the_file_belongs_to_the_user_alone(signalr: Signalr, settings: Path) -> None:
    signalr("context", "add", "one", "localhost:5000/chat", "-H", "X-Key: header-secret")
    signalr("context", "add", "two", "https://example.com/chat?key=query-secret", "--insecure", "--protocol", "msgpack")
    path = settings / "signalr" / "contexts.json"
    if sys.platform != "win32":
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert list(json.loads(path.read_text())) == ["one", "two"]
    assert signalr("context", "ls").out == "one  http://localhost:5000/chat\ntwo  https://example.com/chat\n"
    assert json.loads(signalr("context", "ls", "--json").out)["one"] == "http://localhost:5000/chat"
    shown = signalr("context", "show", "one").out + signalr("context", "show", "two").out
    assert "secret" not in shown
    assert json.loads(shown.splitlines()[0])["headers"] == ["X-Key"]
    assert json.loads(shown.splitlines()[1])["protocol"] == "messagepack"
    assert signalr("context", "rm", "one").status == 0
    assert signalr("context", "ls").out == "two  https://example.com/chat\n"


def test_the_secrets_of_a_context_go_to_its_server_only(signalr: Signalr, server: HubServer, token_file: str) -> None:
    signalr("context", "add", "prod", "https://example.com/chat", "--token-file", token_file)
    done = signalr("invoke", "--context", "prod", server.url("/hub"), "Me")
    assert done.status == 2
    assert "--context prod is for another server than the URL" in done.err
    signalr("context", "add", "prod", server.url("/other"), "--token-file", token_file)
    assert signalr("invoke", "--context", "prod", server.url("/hub"), "Me").out == '"me"\n'


@pytest.mark.parametrize(
    ("source", "options"),
    [
        ("--token", ("--token", "wrong-secret")),
        ("--token-file wrong", ("--token-file", "wrong")),
        ("SIGNALR_TOKEN", ()),
        ("the header Authorization", ("-H", "Authorization: Bearer wrong-secret")),
        ("context prod (file {folder}/wrong)", ("--context", "prod")),
    ],
)
def test_a_token_that_is_refused_is_named(
    signalr: Signalr,
    server: HubServer,
    settings: Path,
    monkeypatch: pytest.MonkeyPatch,
    source: str,
    options: tuple[str, ...],
) -> None:
    monkeypatch.chdir(settings)
    Path("wrong").write_text("wrong-secret")
    signalr("context", "add", "prod", server.url("/hub"), "--token-file", "wrong")
    if not options:
        monkeypatch.setenv("SIGNALR_TOKEN", "wrong-secret")
    name = source.format(folder=settings)
    for command in (("invoke", server.url("/hub"), "Me"), ("listen", server.url("/hub"))):
        done = signalr(*command, *options)
        assert (done.status, done.out, done.err.count("\n")) == (3, "", 1)
        assert done.err.startswith(
            f"signalr: the server refuses the token of {name}: check that it is for this server, "
        )
        assert "secret" not in done.err
    examined = signalr("doctor", server.url("/hub"), "--keep-alive", "0", *options)
    assert f"the token of {name} is not accepted" in " ".join(examined.out.split())


def test_without_a_token_the_ways_to_give_one_are_named(signalr: Signalr, server: HubServer) -> None:
    done = signalr("invoke", server.url("/hub"), "Me")
    assert "wants authentication: pass --token or --token-file, or set SIGNALR_TOKEN" in done.err


@pytest.mark.parametrize(
    "content", ["no json", "[]", '{"prod": {}}', '{"prod": {"url": "x", "nonsense": 1}}', '{"a": 1}']
)
def test_a_file_that_is_broken(signalr: Signalr, settings: Path, content: str) -> None:
    (settings / "signalr").mkdir()
    (settings / "signalr" / "contexts.json").write_text(content)
    done = signalr("invoke", "--context", "prod", "Add")
    assert done.status == 2
    assert "mend or remove the file" in done.err
    assert content not in done.err


def test_options_are_checked_before_they_are_stored(signalr: Signalr, tmp_path: Path) -> None:
    (tmp_path / "empty").write_text("")
    done = signalr("context", "add", "prod", "https://example.com/chat", "--token-file", str(tmp_path / "empty"))
    assert (done.status, done.err.count("\n")) == (2, 1)
    assert signalr("context", "ls").out == ""


@pytest.mark.parametrize(
    ("text", "url"),
    [
        ("localhost:5000/chat", "http://localhost:5000/chat"),
        ("localhost/chat?a=b", "http://localhost/chat?a=b"),
        ("127.0.0.1:5000/chat", "http://127.0.0.1:5000/chat"),
        ("[::1]:5000/chat", "http://[::1]:5000/chat"),
        ("wss://example.com/chat", "https://example.com/chat"),
    ],
)
def test_a_server_on_this_machine_needs_no_scheme(text: str, url: str) -> None:
    assert checked_url(text) == url


def test_headers_from_a_file(signalr: Signalr, server: HubServer, tmp_path: Path) -> None:
    (tmp_path / "headers").write_text(f"Authorization: Bearer {TOKEN}\n\nX-Other: 1\n")
    assert signalr("invoke", server.url("/hub"), "Me", "-H", f"@{tmp_path / 'headers'}").out == '"me"\n'


# Starting a process can take seconds on a busy machine.
@pytest.mark.timeout(60)
def test_a_token_from_standard_input_is_its_first_line(server: HubServer) -> None:
    done = run("invoke", server.url("/hub"), "Me", "--token", "-", input=f"{TOKEN}\nmore\n")
    assert (done.returncode, done.stdout) == (0, '"me"\n')
    assert "is empty" in run("invoke", server.url("/hub"), "Me", "--token", "-", input="\n").stderr
