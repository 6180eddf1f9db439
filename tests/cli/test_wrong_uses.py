"""A table of wrong uses, and the one line that each gives: what is wrong, where, and what to do."""

from __future__ import annotations

from typing import TYPE_CHECKING

import attrs
import pytest

if TYPE_CHECKING:
    from pathlib import Path

    from .conftest import Signalr

URL = "http://127.0.0.1:1/hub"  # nothing listens on port 1


@attrs.frozen
class Wrong:
    """A wrong use: the arguments, the line that they give without `signalr: `, and the status."""

    arguments: tuple[str, ...]
    line: str
    status: int = 2


USES = [
    Wrong(("invok", URL, "Add"), "there is no command invok (did you mean invoke?); see signalr --help"),
    Wrong(("nonsense",), "there is no command nonsense; see signalr --help"),
    Wrong(("--colour",), "there is no option --colour; see signalr --help"),
    Wrong(("context", "ad"), "there is no command ad (did you mean add?); see signalr context --help"),
    Wrong(("invoke",), "the hub's URL and the method are missing; write signalr invoke URL METHOD [ARGS]..."),
    Wrong(("invoke", URL), "the method is missing; write signalr invoke URL METHOD [ARGS]..."),
    Wrong(
        ("invoke", "Add", "1", "2"),
        "'Add' is no URL such as https://example.com/chat or localhost:5000/chat;"
        " the hub's URL comes first, or set SIGNALR_URL, or use --context",
    ),
    Wrong(
        ("invoke", "/chat", "Add"),
        "'/chat' is no URL such as https://example.com/chat or localhost:5000/chat;"
        " the hub's URL comes first, or set SIGNALR_URL, or use --context",
    ),
    Wrong(
        ("context", "add", "prod", "example.com:99999/chat"),
        "'example.com:99999/chat' is no URL such as https://example.com/chat or localhost:5000/chat;"
        " write signalr context add NAME URL",
    ),
    Wrong(("demo", "--url", "example.com/chat"), "--url: 'example.com/chat' is no URL; write https://example.com/chat"),
    Wrong(("listen", ":5990/chat"), "':5990/chat' is no URL; write http://localhost:5990/chat"),
    Wrong(("invoke", "example.com/chat", "Add"), "'example.com/chat' is no URL; write https://example.com/chat"),
    Wrong(
        ("invoke", "ftp://example.com/chat", "Add"),
        "the hub's URL must start with http:// or https:// and name a host, not 'ftp://example.com/chat'",
    ),
    Wrong(
        ("invoke", "http://me:secret@example.com/chat", "Add"),
        "the hub's URL holds a user or password: use --header or --token instead",
    ),
    Wrong(
        ("invoke", "http://example.com:99999/chat", "Add"),
        "the hub's URL has no valid port: it must be a number from 1 to 65535",
    ),
    Wrong(("listen",), "the hub's URL is missing; name it, set SIGNALR_URL, or use --context"),
    Wrong(("doctor",), "the hub's URL is missing; name it, set SIGNALR_URL, or use --context"),
    Wrong(("negotiate", URL, URL), "http://127.0.0.1:1/hub is one word too many; see signalr negotiate --help"),
    Wrong(
        ("invoke", URL, "Add", '{"a": 1'),
        "'{\"a\": 1' begins like JSON, but is none (character 8: expecting ',' delimiter);"
        " for JSON check the quoting of your shell, for text write =TEXT",
    ),
    Wrong(
        ("invoke", URL, "Add", "{a: 1}"),
        "'{a: 1}' begins like JSON, but is none (character 2: expecting property name enclosed in "
        "double quotes); for JSON check the quoting of your shell, for text write =TEXT",
    ),
    Wrong(
        ("invoke", URL, "Add", "--tokn", "x"),
        "there is no option --tokn (did you mean --token?); for an argument of that text, put -- before it",
    ),
    Wrong(
        ("doctor", URL, "--tokn", "x"), "there is no option --tokn (did you mean --token?); see signalr doctor --help"
    ),
    Wrong(
        ("listen", "localhost", "--port", "5000"),
        "there is no option --port: it is a part of the URL, such as http://localhost:5000/chat;"
        " see signalr listen --help",
    ),
    Wrong(
        ("listen", URL, "--time"),
        "there is no option --time (did you mean --timeout or --timestamps?); see signalr listen --help",
    ),
    Wrong(("listen", URL, "--file", "x"), "there is no option --file; see signalr listen --help"),
    Wrong(("invoke", URL, "Add", "-x"), "there is no option -x; for an argument of that text, put -- before it"),
    Wrong(("invoke", URL, "Add", "--timeout"), "--timeout needs a value; see signalr invoke --help"),
    Wrong(
        ("invoke", URL, "Add", "--timeout", "0"),
        "--timeout: '0' is no duration; write for example 10s, 500ms, 2m or 1h",
    ),
    Wrong(
        ("invoke", URL, "Add", "--timeout", "soon"),
        "--timeout: 'soon' is no duration; write for example 10s, 500ms, 2m or 1h",
    ),
    Wrong(("stream", URL, "Counter", "--count", "0"), "--count: '0' is no count; write 1 or more"),
    Wrong(("listen", URL, "--count", "many"), "--count: 'many' is no count; write 1 or more"),
    Wrong(("invoke", URL, "Add", "--protocol", "xml"), "--protocol: 'xml' is no hub protocol; write json or msgpack"),
    Wrong(("invoke", URL, "Add", "--transport", "udp"), "--transport: 'udp' is no transport; write ws, sse or lp"),
    Wrong(
        ("invoke", URL, "Add", "--transport", "sse", "--protocol", "msgpack"),
        "Server-Sent Events carry text only: with --protocol msgpack use --transport ws or lp",
    ),
    Wrong(("invoke", URL, "Add", "--header", "X-Key"), "--header: number 1 is no header; write 'NAME: VALUE'"),
    Wrong(
        ("invoke", URL, "Add", "-H", "@missing.txt"),
        "--header: cannot read missing.txt: No such file or directory; name a file of lines NAME: VALUE",
    ),
    Wrong(
        ("invoke", URL, "Add", "--token", "a", "--token-file", "token.txt"),
        "--token and --token-file exclude each other; leave out one of them",
    ),
    Wrong(
        ("invoke", URL, "Add", "--token-file", "missing.txt"),
        "--token-file: there is no file missing.txt; check its path",
    ),
    Wrong(("invoke", URL, "Add", "--token-file", "."), "--token-file: . is a folder; name a file"),
    Wrong(("invoke", URL, "Add", "--token", ""), "--token is empty; give a token, or leave it out"),
    Wrong(("listen", URL, "--token", " "), "--token is empty; give a token, or leave it out"),
    Wrong(
        ("listen", URL, "--token", "'secret'"),
        "--token holds a blank or a quotation mark, which no token has; give the token alone",
    ),
    Wrong(("invoke", URL, "Add", "--ca", "missing.pem"), "--ca: there is no file missing.pem; check its path"),
    Wrong(
        ("invoke", URL, "Add", "--token", "secrét"),
        "--token holds a character that no HTTP header can carry; give the token alone",
    ),
    Wrong(("outbox", "ls", "missing.db"), "there is no file missing.db; signalr outbox put makes one"),
    Wrong(
        ("invoke", URL, "Add", "--ca", "token.txt"),
        "--ca: token.txt holds no certificate that can be read (no certificate or crl found); name a PEM file",
    ),
    Wrong(
        ("invoke", URL, "Add", "--ca", "token.txt", "--insecure"),
        "--insecure and --ca exclude each other; leave out one of them",
    ),
    Wrong(
        ("invoke", URL, "Add", "--proxy", "socks5://127.0.0.1:1080"),
        "--proxy: proxy must be the URL of an HTTP proxy, as http://user:password@proxy:3128 (its "
        "scheme here is 'socks5'); SOCKS proxies need a program",
    ),
    Wrong(
        ("invoke", URL, "Add", "--context", "prod"),
        "there is no context 'prod'; add one with signalr context add NAME URL",
    ),
    Wrong(("context", "add", "a/b", URL), "'a/b' is no name for a context; write letters, digits, . _ or -"),
    Wrong(("context", "rm", "prod"), "there is no context 'prod'; add one with signalr context add NAME URL"),
    Wrong(
        ("context", "add", "prod", URL, "--token", "x"),
        "there is no option --token (did you mean --token-file?); see signalr context add --help",
    ),
    Wrong(
        ("invoke", URL, "Sum", "--upload", "missing.txt"), "--upload: there is no file missing.txt; - is standard input"
    ),
    Wrong(("serve", "nonsense"), "'nonsense' names no hub; write MODULE:CLASS, for example my_module:ChatHub"),
    Wrong(
        ("serve", "no_such_module:Hub"),
        "cannot find no_such_module:Hub: No module named 'no_such_module'; run signalr in the folder of the module",
    ),
    Wrong(("serve", "--port", "70000"), "--port: '70000' is no port; write a number from 0 to 65535"),
    Wrong(("serve", "--path", "chat"), "--path: 'chat' does not begin with a slash; write /chat"),
    Wrong(
        ("azure", "health"),
        "the connection string is missing; set AZURE_SIGNALR_CONNECTION_STRING to that of the resource",
    ),
    Wrong(
        ("invoke", URL, "Add", "1", "2"),
        "cannot connect to 127.0.0.1:1; signalr doctor with the same URL and options finds out why",
        3,
    ),
]


@pytest.fixture(autouse=True)
def in_a_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Run the commands in a folder with a file, and without settings of the user."""
    (tmp_path / "token.txt").write_text("secret-token")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    for name in ("SIGNALR_URL", "SIGNALR_TOKEN", "AZURE_SIGNALR_CONNECTION_STRING"):
        monkeypatch.delenv(name, raising=False)


@pytest.mark.parametrize("wrong", USES, ids=lambda wrong: " ".join(wrong.arguments))
def test_a_wrong_use_gives_one_line(signalr: Signalr, wrong: Wrong) -> None:
    done = signalr(*wrong.arguments)
    assert (done.out, done.err, done.status) == ("", f"signalr: {wrong.line}\n", wrong.status)
