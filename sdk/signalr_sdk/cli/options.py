"""What the commands have in common: options, what they mean for a connection, and how errors end a command."""

from __future__ import annotations

import asyncio
import logging
import ssl
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn, TypeVar

import typer

from .. import HubError, LocalProtocolError, SignalRError, Transport

if TYPE_CHECKING:
    from collections.abc import Awaitable

T = TypeVar("T")

HUB_SAID_NO = 1
WRONG_USAGE = 2
NO_CONNECTION = 3
INTERRUPTED = 130

Url = Annotated[str, typer.Argument(metavar="URL", help="The hub's http(s) URL.", show_default=False)]
Token = Annotated[
    str | None,
    typer.Option("--token", metavar="TOKEN", envvar="SIGNALR_TOKEN", help="Bearer token.", show_default=False),
]
Header = Annotated[
    list[str] | None,
    typer.Option("--header", metavar="'NAME: VALUE'", help="Sent with every request. Repeatable.", show_default=False),
]
Transports = Annotated[
    list[Transport] | None,
    typer.Option("--transport", case_sensitive=False, help="Allowed transport. Repeatable.", show_default="all"),
]
Timeout = Annotated[float, typer.Option("--timeout", metavar="SECONDS", min=0.001, help="Limit for all of it.")]
Insecure = Annotated[bool, typer.Option("--insecure", help="Do not verify the server's certificate.")]
Authority = Annotated[
    Path | None,
    typer.Option("--ca", metavar="FILE", exists=True, dir_okay=False, help="PEM file of the authority to trust."),
]
Verbose = Annotated[int, typer.Option("--verbose", "-v", count=True, help="Say what happens; twice: the wire too.")]


def connection_options(
    *, token: str | None, header: list[str] | None, insecure: bool, ca: Path | None
) -> dict[str, Any]:
    """Return arguments for `HubConnection`, made of the options."""
    headers = {}
    for line in header or ():
        name, colon, value = line.partition(":")
        if not colon or not name.strip():
            stop(WRONG_USAGE, f"--header wants 'NAME: VALUE', not {line!r}")
        headers[name.strip()] = value.strip()
    return {"access_token": token, "headers": headers, "ssl": _verification(insecure=insecure, ca=ca)}


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


def run(work: Awaitable[T], *, timeout: float) -> T:
    """Return what `work` returns, or end the command as its error demands."""
    try:
        return asyncio.run(_within(work, timeout))
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


async def _within(work: Awaitable[T], timeout: float) -> T:
    async with asyncio.timeout(timeout):
        return await work


def stop(status: int, text: str) -> NoReturn:
    """End the command with a text on standard error."""
    typer.echo(f"signalr: {text}", err=True)
    raise typer.Exit(status)
