"""`signalr doctor`: finds out whether a hub can be reached and, if not, why."""

from __future__ import annotations

from typing import Annotated

import typer
from rich.console import Console

from .. import exit_status, options
from ..classic_hubs import Hubs
from ..connection_options import ConnectionOptions
from ..step_runner import StepResult, allowed_combinations
from ..step_table import live_reports
from .check_table import CheckTable
from .examination import KEEP_ALIVE, Examination
from .findings import Finding
from .report import report

_FAILED = 1
_LONG_WAIT = 5.0  # seconds; a shorter wait needs no word

_KEEP_ALIVE_HELP = "How long to wait for a ping of the server; 0 leaves that check out."
Limit = Annotated[float, options.seconds("--timeout", help="Limit for each step.", show_default="10s")]
KeepAlive = Annotated[
    float,
    options.option(
        "--keep-alive",
        metavar="DURATION",
        parser=options.duration_or_zero,
        help=_KEEP_ALIVE_HELP,
        show_default="20s",
    ),
]


@options.command(
    "signalr doctor https://example.com/chat --token-file token.txt",
    "signalr doctor https://example.com/chat --json > report.json",
    "signalr doctor https://example.com/signalr --hub Chat",
)
def doctor(
    url: options.Url = None,
    as_json: options.Json = False,
    timeout: Limit = 10.0,
    keep_alive: KeepAlive = 20.0,
    hub: Hubs = None,
    *,
    connection: ConnectionOptions,
) -> None:
    """Find out why a hub cannot be reached, or that all is well.

    It examines the way to the hub step by step, and says for each failure the probable cause and what to do.

    Exit status: 0 everything works, 1 connected, but something failed, 2 wrong usage, 3 no connection.
    """
    url = connection.hub_url(url)
    console = Console(highlight=False, markup=False, emoji=False)
    table = CheckTable(url, plain=not console.encoding.startswith("utf"))
    is_live = console.is_interactive and not as_json and not connection.verbose
    with live_reports(table, console, is_live=is_live) as show:

        def note(result: Finding | StepResult) -> None:
            show(result)
            if not is_live and keep_alive >= _LONG_WAIT:
                _say_wait(result)

        wanted = allowed_combinations(connection)
        examination = Examination(
            url, connection, wanted=wanted, hubs=hub or [], limit=timeout, keep_alive=keep_alive, report=note
        )
        # A check or step that is too slow must end at its own time limit, and be shown as failed. So the time limit of
        # the whole run is longer than the time limits of all checks and steps together.
        connection.run(examination.run(), timeout=keep_alive + 40 * (timeout + 10))
    if as_json:
        exit_status.show(report(url, examination, table.steps))
    else:
        console.print(table)
        console.print(table.verdict(examination))
    if not examination.good:
        raise typer.Exit(_FAILED if examination.connected else exit_status.NO_CONNECTION)


def _say_wait(result: Finding | StepResult) -> None:
    """Say on standard error that the long wait of the keep-alive check begins. On a terminal, the table says it."""
    if isinstance(result, Finding) and result.check == KEEP_ALIVE and result.mark is None:
        exit_status.say(f"{result.check}: {result.said}; --keep-alive 0 leaves it out")
