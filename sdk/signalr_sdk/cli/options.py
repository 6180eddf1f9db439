"""What the commands have in common: options, what they mean for a connection, and how errors end a command."""

from __future__ import annotations

import asyncio
import functools
import inspect
import logging
import os
import ssl
import sys
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn, TypeVar

import attrs
import typer

from .. import HubConnection, HubError, LocalProtocolError, SignalRError, Transport
from .._http.proxies import proxy_url
from .output import OutputError, print_json

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

T = TypeVar("T")

HUB_SAID_NO = 1
WRONG_USAGE = 2
NO_CONNECTION = 3
INTERRUPTED = 130

_PANEL = "Connection"
_TOKEN_VARIABLE = "SIGNALR_TOKEN"


class ProtocolName(StrEnum):
    """The hub protocols."""

    JSON = "json"
    MESSAGEPACK = "messagepack"


Url = Annotated[str, typer.Argument(metavar="URL", help="The hub's http(s) URL.", show_default=False)]
Timeout = Annotated[float, typer.Option("--timeout", metavar="SECONDS", min=0.001, help="Limit for all of it.")]
Count = Annotated[
    int | None,
    typer.Option("--count", metavar="N", min=1, help="End after so many; no limit by default.", show_default=False),
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON, for programs.")]
Verbose = Annotated[int, typer.Option("--verbose", "-v", count=True, help="Say what happens; twice: the wire too.")]

_Token = Annotated[
    str | None,
    typer.Option(
        "--token",
        metavar="TOKEN",
        help=f"Bearer token; ${_TOKEN_VARIABLE} by default.",
        show_default=False,
        rich_help_panel=_PANEL,
    ),
]
_TokenFile = Annotated[
    Path | None,
    typer.Option(
        "--token-file",
        metavar="FILE",
        exists=True,
        dir_okay=False,
        help="File with the bearer token, read again for each attempt to connect.",
        show_default=False,
        rich_help_panel=_PANEL,
    ),
]
_Header = Annotated[
    list[str] | None,
    typer.Option(
        "--header",
        metavar="'NAME: VALUE'",
        help="Sent with every request. Repeatable.",
        show_default=False,
        rich_help_panel=_PANEL,
    ),
]
_Protocol = Annotated[
    ProtocolName | None,
    typer.Option("--protocol", help="The hub protocol; json by default.", show_default=False, rich_help_panel=_PANEL),
]
_Transports = Annotated[
    list[Transport] | None,
    typer.Option(
        "--transport",
        case_sensitive=False,
        help="Allowed transport. Repeatable; all by default.",
        show_default=False,
        rich_help_panel=_PANEL,
    ),
]
_Authority = Annotated[
    Path | None,
    typer.Option(
        "--ca",
        metavar="FILE",
        exists=True,
        dir_okay=False,
        help="PEM file of the authority to trust.",
        show_default=False,
        rich_help_panel=_PANEL,
    ),
]
_Insecure = Annotated[
    bool, typer.Option("--insecure", help="Do not verify the server's certificate.", rich_help_panel=_PANEL)
]
_Proxy = Annotated[
    str | None,
    typer.Option(
        "--proxy",
        metavar="URL",
        help="HTTP proxy; that of the environment by default.",
        show_default=False,
        rich_help_panel=_PANEL,
    ),
]


@attrs.frozen(kw_only=True)
class Settings:
    """What the options say about a connection.

    Attributes:
        arguments: for `HubConnection`; without the two below.
        transports: those that are allowed; `None` for all.
        protocol: the one that was asked for.
        verbose: how often `-v` was given.
    """

    arguments: dict[str, Any] = attrs.field(repr=False)
    transports: tuple[Transport, ...] | None = None
    protocol: ProtocolName | None = None
    verbose: int = 0

    def hub(self, url: str, **more: Any) -> HubConnection:
        """Return a connection."""
        protocol = (self.protocol or ProtocolName.JSON).value
        return HubConnection(url, **{"protocol": protocol, "transports": self.transports, **self.arguments, **more})


def _settings(
    *,
    token: _Token = None,
    token_file: _TokenFile = None,
    header: _Header = None,
    protocol: _Protocol = None,
    transport: _Transports = None,
    ca: _Authority = None,
    insecure: _Insecure = False,
    proxy: _Proxy = None,
    verbose: Verbose = 0,
) -> Settings:
    """Return what the options that all commands share say."""
    if proxy is not None:
        try:
            proxy_url(proxy)
        except ValueError as error:
            stop(WRONG_USAGE, f"--proxy: {error}")
    arguments = {
        "access_token": _access_token(token, token_file),
        "headers": _headers(header or ()),
        "ssl": _verification(insecure=insecure, ca=ca),
        "proxy": proxy,
    }
    return Settings(
        arguments=arguments,
        transports=tuple(transport) if transport else None,
        protocol=protocol,
        verbose=verbose,
    )


def connecting(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command the options that all share: it gets them as one argument, `settings`, and `-v` is seen to.

    Args:
        command: what typer is to run. Its parameter `settings` is replaced by the options.
    """
    own = inspect.signature(command, eval_str=True)
    shared = inspect.signature(_settings, eval_str=True).parameters
    parameters = [each for name, each in own.parameters.items() if name != "settings"]
    parameters = [each.replace(kind=inspect.Parameter.KEYWORD_ONLY) for each in (*parameters, *shared.values())]

    @functools.wraps(command)
    def run(**given: Any) -> None:
        show_log(given["verbose"])
        settings = _settings(**{name: given.pop(name) for name in shared})
        command(settings=settings, **given)

    # What typer reads.
    run.__signature__ = own.replace(parameters=parameters)  # type: ignore[attr-defined]
    run.__annotations__ = {each.name: each.annotation for each in parameters}
    return run


def _access_token(token: str | None, file: Path | None) -> str | Callable[[], Awaitable[str]] | None:
    if token is not None and file is not None:
        stop(WRONG_USAGE, "--token and --token-file exclude each other")
    if token is not None:
        return _checked_token(token, "--token")
    if file is None:
        token = os.environ.get(_TOKEN_VARIABLE)
        return _checked_token(token, f"${_TOKEN_VARIABLE}") if token else None
    try:
        first = _checked_token(_read_token(file), "--token-file")
    except ValueError as error:
        stop(WRONG_USAGE, f"--token-file: {error}")
    # A pipe can be read once.
    return functools.partial(asyncio.to_thread, _read_token, file) if file.is_file() else first


def _read_token(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8").strip()
    except OSError as error:
        raise ValueError(f"cannot read {file}: {error.strerror}") from None
    except UnicodeDecodeError:
        # It quotes the bytes.
        raise ValueError(f"{file} holds no text") from None


def _checked_token(token: str, source: str) -> str:
    if not token:
        stop(WRONG_USAGE, f"{source} is empty")
    if not (token.isascii() and token.isprintable()):
        stop(WRONG_USAGE, f"{source} holds a character that no HTTP header can carry")
    return token


def _headers(lines: Sequence[str]) -> dict[str, str]:
    headers = {}
    for number, line in enumerate(lines, 1):
        name, colon, value = line.partition(":")
        if not colon or not name.strip():
            # What stands there may be a secret.
            stop(WRONG_USAGE, f"--header wants 'NAME: VALUE', which number {number} is not")
        headers[name.strip()] = value.strip()
    return headers


def _verification(*, insecure: bool, ca: Path | None) -> ssl.SSLContext | bool:
    if insecure and ca is not None:
        stop(WRONG_USAGE, "--insecure and --ca exclude each other")
    if ca is None:
        return not insecure
    try:
        return ssl.create_default_context(cafile=str(ca))
    except (ssl.SSLError, OSError) as error:
        stop(WRONG_USAGE, f"--ca: {ca} holds no certificate that can be read: {error}")


def show_log(verbose: int) -> None:
    """Send the log to standard error: lifecycle, or with `-vv` the wire too; without either nothing."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(logging.Formatter("%(name)s: %(message)s"))
    logger = logging.getLogger("signalr_sdk")
    logger.addHandler(handler)
    logger.setLevel((logging.CRITICAL, logging.INFO, logging.DEBUG)[min(verbose, 2)])


def run(work: Awaitable[T], *, timeout: float | None) -> T:
    """Return what `work` returns, or end the command as its error demands."""
    try:
        return asyncio.run(_within(work, timeout))
    except OutputError as error:
        _end_output(error)
    except HubError as error:
        stop(HUB_SAID_NO, str(error))
    except TimeoutError as error:
        stop(NO_CONNECTION, str(error) or f"no answer within {timeout:g} s")
    except LocalProtocolError as error:
        stop(WRONG_USAGE, str(error))
    except (SignalRError, OSError) as error:
        # Before ValueError: a certificate that cannot be verified is both.
        stop(NO_CONNECTION, str(error))
    except ValueError as error:
        stop(WRONG_USAGE, str(error))
    except KeyboardInterrupt:
        raise typer.Exit(INTERRUPTED) from None


async def _within(work: Awaitable[T], timeout: float | None) -> T:
    async with asyncio.timeout(timeout):
        return await work


def show(result: object) -> None:
    """Print a result as JSON; without a reader, end the command quietly."""
    try:
        print_json(result)
    except OutputError as error:
        _end_output(error)


def _end_output(error: OutputError) -> NoReturn:
    if error.reader_gone:
        raise typer.Exit from None
    stop(WRONG_USAGE, str(error))


def say(text: str) -> None:
    """Tell the user something that is no result, on standard error."""
    typer.echo(f"signalr: {text}", err=True)


def stop(status: int, text: str) -> NoReturn:
    """End the command with a text on standard error."""
    say(text)
    raise typer.Exit(status)
