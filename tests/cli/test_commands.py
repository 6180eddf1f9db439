"""The commands without a server: usage, values, standard output and standard error."""

from __future__ import annotations

import builtins
import datetime
import errno
import importlib.metadata
import json
import os
import signal
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest
import typer

from signalr_sdk.cli import exit_status
from signalr_sdk.cli.arguments import parse_argument
from signalr_sdk.cli.json_output import OutputError, as_json
from signalr_sdk.cli.main import main
from signalr_sdk_cli.commands import COMMANDS, Commands
from signalr_sdk_cli.plain_help import first_sentence

if TYPE_CHECKING:
    from pathlib import Path

    from .conftest import Signalr

# Starting a process can take seconds on a busy machine.
pytestmark = pytest.mark.timeout(60)

# Nothing listens on port 1.
NOBODY = "http://127.0.0.1:1/hub"


CONNECTING = ("bench", "demo", "doctor", "invoke", "listen", "negotiate", "send", "stream")
SHARED = ("token", "token-file", "header", "protocol", "transport", "ca", "insecure", "proxy", "verbose")


def test_help_tells_of_all_commands(signalr: Signalr) -> None:
    done = signalr("--help")
    assert done.status == 0
    for command in (*CONNECTING, "serve"):
        assert f" {command} " in done.out


@pytest.mark.parametrize("command", CONNECTING)
def test_each_command_has_help_and_the_options_that_all_share(signalr: Signalr, command: str) -> None:
    done = signalr(command, "--help")
    assert done.status == 0
    for name in SHARED:
        assert f"--{name}" in done.out
    assert "settings" not in done.out


def test_the_help_says_of_each_command_what_its_own_help_says() -> None:
    group = Commands(name="signalr")
    assert {name: sentence for name, (_, sentence) in COMMANDS.items()} == {
        name: first_sentence(group.get_command(None, name)) for name in COMMANDS
    }


@pytest.mark.parametrize("argument", ["--help", "--version", "nonsense"])
def test_the_start_imports_no_command_and_not_the_package(argument: str) -> None:
    program = """
import sys
from signalr_sdk_cli import main
main(sys.argv[1:])
sys.exit("signalr_sdk" in sys.modules)
"""
    done = subprocess.run([sys.executable, "-c", program, argument], check=False, capture_output=True, text=True)
    assert done.returncode == 0, done


@pytest.mark.parametrize("command", ["invoke", "send", "listen", "connect"])
def test_a_command_imports_nothing_for_classic_servers_until_it_meets_one(command: str) -> None:
    program = """
import sys
from signalr_sdk_cli import main
main(sys.argv[1:])
sys.exit("signalr_sdk.classic" in sys.modules or "signalr_sdk" not in sys.modules)
"""
    done = subprocess.run(
        [sys.executable, "-c", program, command, "--help"], check=False, capture_output=True, text=True
    )
    assert done.returncode == 0, done


@pytest.mark.parametrize("option", ["--version", "-V"])
def test_the_version(signalr: Signalr, option: str) -> None:
    assert signalr(option).out == f"signalr {importlib.metadata.version('signalr-sdk')}\n"


@pytest.mark.parametrize("arguments", [(), ("-h",), ("context",), ("context", "-h"), ("invoke", "-h")])
def test_help_is_short_to_ask_for(signalr: Signalr, arguments: tuple[str, ...]) -> None:
    done = signalr(*arguments)
    assert (done.status, done.err) == (0, "")
    assert done.out.startswith("Usage: signalr")
    assert "Examples:\n  signalr " in done.out


def test_names_of_commands_complete(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    for name, value in {"_SIGNALR_COMPLETE": "complete_bash", "COMP_WORDS": "signalr inv", "COMP_CWORD": "1"}.items():
        monkeypatch.setenv(name, value)
    main([])
    assert capsys.readouterr().out.split() == ["invoke"]


def test_the_package_needs_neither_typer_nor_rich() -> None:
    program = "import sys, signalr_sdk, signalr_sdk.testing; sys.exit(bool({'typer', 'rich'} & sys.modules.keys()))"
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("invoke", NOBODY), "METHOD"),
        (("nonsense",), "nonsense"),
        (("negotiate", NOBODY, "--colour"), "--colour"),
        (("invoke", NOBODY, "Add", "--protocol", "xml"), "xml"),
        (("invoke", NOBODY, "Add", "--timeout", "0"), "timeout"),
        (("invoke", NOBODY, "Add", "--tokn", "x"), "there is no option --tokn"),
        (("invoke", NOBODY, "Add", "--header", "nonsense"), "--header: number 1 is no header; write 'NAME: VALUE'"),
        (("invoke", NOBODY, "Add", "--header", ": x"), "--header: number 1 is no header"),
        (("invoke", "nonsense", "Add"), "is no URL"),
        (("negotiate", "ftp://example.com/"), "must start with http"),
        (
            ("invoke", NOBODY, "Add", "--protocol", "messagepack", "--transport", "ServerSentEvents"),
            "with --protocol msgpack use --transport ws or lp",
        ),
    ],
)
def test_wrong_usage_is_status_2(signalr: Signalr, arguments: tuple[str, ...], said: str) -> None:
    done = signalr(*arguments)
    assert done.status == 2
    assert done.out == ""
    assert said in done.err


def test_insecure_and_an_authority_exclude_each_other(signalr: Signalr, tmp_path: Path) -> None:
    (tmp_path / "ca.pem").write_text("no certificate")
    done = signalr("negotiate", NOBODY, "--insecure", "--ca", str(tmp_path / "ca.pem"))
    assert (done.status, done.err) == (2, "signalr: --insecure and --ca exclude each other; leave out one of them\n")


def test_an_authority_that_is_none_is_wrong_usage(signalr: Signalr, tmp_path: Path) -> None:
    (tmp_path / "ca.pem").write_text("no certificate")
    done = signalr("negotiate", NOBODY, "--ca", str(tmp_path / "ca.pem"))
    assert done.status == 2
    assert "holds no certificate" in done.err


@pytest.mark.parametrize("command", [("invoke", NOBODY, "Add", "1", "2"), ("negotiate", NOBODY, "--insecure")])
def test_no_server_is_status_3_with_the_reason(signalr: Signalr, command: tuple[str, ...]) -> None:
    done = signalr(*command)
    assert done.status == 3
    assert done.out == ""
    assert done.err.startswith("signalr: ")
    assert "127.0.0.1:1" in done.err
    assert "Traceback" not in done.err


def test_ctrl_c_is_status_130() -> None:
    async def interrupted() -> None:
        raise KeyboardInterrupt

    with pytest.raises(typer.Exit) as done:
        exit_status.run(interrupted(), timeout=5)
    assert done.value.exit_code == 130


def test_ctrl_c_while_it_is_still_importing_is_too(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupted(_arguments: list[str]) -> int:
        raise KeyboardInterrupt

    monkeypatch.setattr("signalr_sdk_cli._run", interrupted)
    assert main([]) == 130
    assert capsys.readouterr().err == "signalr: interrupted\n"


@pytest.mark.parametrize(
    ("error", "status", "said"),
    [
        (BrokenPipeError(errno.EPIPE, "Broken pipe"), 0, ""),
        (OSError(errno.ENOSPC, "No space left"), 2, "signalr: cannot write to standard output: No space left\n"),
    ],
)
def test_output_that_nobody_takes(capsys: pytest.CaptureFixture[str], error: OSError, status: int, said: str) -> None:
    async def fail() -> None:
        raise OutputError(error)

    with pytest.raises(typer.Exit) as done:
        exit_status.run(fail(), timeout=None)
    assert (done.value.exit_code, capsys.readouterr().err) == (status, said)


@pytest.mark.parametrize("missing", ["typer", "rich"])
def test_without_the_extra_one_sentence_says_what_to_install(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], missing: str
) -> None:
    really = builtins.__import__

    def no_extra(name: str, *rest: Any, **more: Any) -> Any:
        if name == missing:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
        return really(name, *rest, **more)

    monkeypatch.setattr(builtins, "__import__", no_extra)
    assert main(["--help"]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err == "signalr: this command needs an extra: pip install 'signalr-sdk[cli]'\n"


@pytest.mark.parametrize(
    ("package", "arguments", "said"),
    [
        (
            "jwt",
            ("azure", "health"),
            "tokens for Azure SignalR Service need an extra: pip install 'signalr-sdk[azure]'",
        ),
        ("rich.table", ("negotiate", NOBODY), "the package rich.table is missing; pip install rich.table"),
        (
            "prompt_toolkit",
            ("connect", NOBODY),
            "the package prompt_toolkit is missing; pip install 'signalr-sdk[cli]'",
        ),
    ],
)
def test_a_command_without_its_extra_is_one_line(package: str, arguments: tuple[str, ...], said: str) -> None:
    program = f"""
import os, sys
sys.modules[{package!r}] = None
sys.stdin.isatty = sys.stdout.isatty = lambda: True
from signalr_sdk_cli import main
sys.exit(main(sys.argv[1:]))
"""
    service = f"Endpoint=https://x.test;AccessKey={'key' * 20};Version=1.0;"
    done = subprocess.run(
        [sys.executable, "-c", program, *arguments],
        check=False,
        capture_output=True,
        text=True,
        env={**os.environ, "AZURE_SIGNALR_CONNECTION_STRING": service},
    )
    assert (done.returncode, done.stdout, done.stderr.count("\n")) == (2, "", 1)
    assert done.stderr.startswith(f"signalr: {said}")


def test_the_arguments_of_the_process_are_the_default(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", ["signalr", "--help"])
    before = signal.getsignal(signal.SIGINT)
    try:
        assert main() == 0
        assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGINT, before)
    assert "negotiate" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1", 1),
        ("-1.5", -1.5),
        ("true", True),
        ("null", None),
        ('"1"', "1"),
        ('{"a": [1]}', {"a": [1]}),
        ("hello", "hello"),
        ("hello world", "hello world"),
        ("", ""),
        ("NaN", "NaN"),
        ("2026-01-01", "2026-01-01"),
        ("=1", "1"),
        ("=", ""),
        ("==x", "=x"),
        ('="x', '"x'),
    ],
)
def test_an_argument_is_json_or_else_text(text: str, value: object) -> None:
    assert parse_argument(text) == value
    assert type(parse_argument(text)) is type(value)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("{", "'{' begins like JSON, but is none (character 2: expecting property name"),
        ("{text: 1}", "begins like JSON, but is none"),
        ("[Infinity]", "JSON has no Infinity"),
        ('"half', "unterminated string"),
        ("[" * 100_000, f"'{'[' * 40}…' begins like JSON, but is none (too deep)"),
    ],
)
def test_half_json_is_an_error_and_no_text(text: str, said: str) -> None:
    with pytest.raises(ValueError, match="begins like JSON") as raised:
        parse_argument(text)
    assert said in str(raised.value)


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, "null"),
        ("é", '"é"'),
        (b"hi", '"aGk="'),
        (float("nan"), '"NaN"'),
        ([float("inf"), float("-inf")], '["Infinity", "-Infinity"]'),
        (datetime.datetime(2026, 2, 3, tzinfo=datetime.UTC), '"2026-02-03T00:00:00+00:00"'),
        ({1: (True, 2.5)}, '{"1": [true, 2.5]}'),
        (range(2), '"range(0, 2)"'),
    ],
)
def test_a_result_is_printed_as_json(value: object, text: str) -> None:
    assert as_json(value) == text
    json.loads(text)
