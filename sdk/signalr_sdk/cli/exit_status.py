"""Ends a command with an exit status, and with an error text on standard error."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, NoReturn, TypeVar

import typer

from signalr_sdk_cli.usage_errors import missing_package

from .. import ClassicServerError, CoreServerError, HubError, LocalProtocolError, RemoteProtocolError, SignalRError
from .._core.redaction import printable
from .hub_errors import explained
from .json_output import OutputError, print_json
from .option_words import in_options

if TYPE_CHECKING:
    from collections.abc import Awaitable, Sequence

T = TypeVar("T")

HUB_SAID_NO = 1
WRONG_USAGE = 2
NO_CONNECTION = 3
INTERRUPTED = 130
DOCTOR = "; signalr doctor with the same URL and options finds out why"
ADD_CLASSIC = "; this is a classic ASP.NET SignalR server: add --classic"
CORE_ONLY = "; with a classic ASP.NET SignalR server this command cannot talk"
_LONGEST = 4000  # characters


def run(
    work: Awaitable[T],
    *,
    timeout: float | None,
    sent: Sequence[Any] | None = None,
    hint: str = DOCTOR,
    core: str = "",
    classic_hint: str = ADD_CLASSIC,
    token_source: str | None = None,
) -> T:
    """Run the work of a command on a new event loop, and return the result of the work.

    After an exception, end the command with an error text and the exit status that fits the exception.

    Args:
        work: the work of the command, for example a call of the hub.
        timeout: seconds for the work; `None` for no limit.
        hint: what to do if there is no connection; it stands at the end of the error text.
        core: the same if the classic client was used, and the server is one of ASP.NET Core SignalR.
        classic_hint: the same for a classic server, which a command for ASP.NET Core SignalR has met.
        sent: the arguments with which a method is called, for the hint if the hub cannot bind them.
        token_source: where the bearer token comes from, for the error if the server refuses it; `None` without a token.
    """
    try:
        return asyncio.run(_within(work, timeout))
    except OutputError as error:
        _end_without_output(error)
    except HubError as error:
        fail(HUB_SAID_NO, explained(error, sent))
    except TimeoutError as error:
        fail(NO_CONNECTION, str(error) or f"no answer within {timeout:g} s; --timeout gives it more time")
    except LocalProtocolError as error:
        fail(WRONG_USAGE, in_options(str(error)))
    except (SignalRError, OSError) as error:
        # Catch OSError before ValueError: `ssl.SSLCertVerificationError` derives from both, and must end the command
        # with "no connection", not with "wrong usage".
        said = in_options(str(error), token_source)
        if isinstance(error, ClassicServerError):
            fail(NO_CONNECTION, said + classic_hint)
        fail(NO_CONNECTION, said + (core if core and _is_of_core(error) else _hint(error, hint)))
    except ValueError as error:
        fail(WRONG_USAGE, in_options(str(error)))
    except ModuleNotFoundError as error:
        fail(WRONG_USAGE, missing_package(error))
    except KeyboardInterrupt:
        raise typer.Exit(INTERRUPTED) from None


def _hint(error: Exception, hint: str) -> str:
    """Return the hint, unless the server has answered a call wrongly, which `signalr doctor` cannot explain."""
    return "" if isinstance(error, RemoteProtocolError) else hint


def _is_of_core(error: Exception) -> bool:
    """Return whether ASP.NET Core SignalR probably gave this answer to the classic client."""
    return isinstance(error, CoreServerError) or getattr(error, "status", None) in (404, 405)


async def _within(work: Awaitable[T], timeout: float | None) -> T:
    async with asyncio.timeout(timeout):
        return await work


def show(result: object) -> None:
    """Print a result as JSON; end the command if standard output cannot be written to."""
    try:
        print_json(result)
    except OutputError as error:
        _end_without_output(error)


def _end_without_output(error: OutputError) -> NoReturn:
    if error.reader_gone:
        raise typer.Exit from None
    fail(WRONG_USAGE, str(error))


def say(text: str) -> None:
    """Print a text on standard error, after the command's name. Standard output is only for results."""
    typer.echo(f"signalr: {for_terminal(text)}", err=True)


def for_terminal(text: str) -> str:
    """Return a text without characters that control a terminal, except line ends. A long text is cut off."""
    shown = printable(text[:_LONGEST], keep="\n")
    return shown if len(text) <= _LONGEST else f"{shown}…"


def fail(status: int, text: str) -> NoReturn:
    """End the command with this exit status and a text on standard error."""
    say(text)
    raise typer.Exit(status)
