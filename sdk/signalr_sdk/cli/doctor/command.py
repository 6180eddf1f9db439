"""`signalr doctor`: finds out whether a hub can be reached and, if not, why."""

from __future__ import annotations

from typing import Annotated, Any

import typer
from rich.console import Console

from ..._core import urls
from .. import exit_status, options
from ..connection_options import ConnectionOptions
from ..step_runner import allowed_combinations
from ..step_table import live_reports
from .check_table import CheckTable
from .examination import Examination

_FAILED = 1

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
)
def doctor(
    url: options.Url = None,
    as_json: options.Json = False,
    timeout: Limit = 10.0,
    keep_alive: KeepAlive = 20.0,
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
    with live_reports(table, console, is_live=is_live) as report:
        wanted = allowed_combinations(connection)
        examination = Examination(url, connection, wanted=wanted, limit=timeout, keep_alive=keep_alive, report=report)
        # A check or step that is too slow must end at its own time limit, and be shown as failed. So the time limit of
        # the whole run is longer than the time limits of all checks and steps together.
        exit_status.run(examination.run(), timeout=keep_alive + 40 * (timeout + 10))
    if as_json:
        exit_status.show(_as_dict(url, examination, table))
    else:
        console.print(table)
        console.print(table.verdict(examination))
    if not examination.good:
        raise typer.Exit(_FAILED if examination.connected else exit_status.NO_CONNECTION)


def _as_dict(url: str, examination: Examination, table: CheckTable) -> dict[str, Any]:
    return {
        "url": urls.without_query(url),
        "ok": examination.good,
        "connected": examination.connected,
        "server": examination.server or None,
        "checks": [
            {
                "check": finding.check,
                "mark": finding.mark,
                "said": finding.said,
                "milliseconds": round(finding.seconds * 1000, 3),
            }
            for finding in examination.findings
        ],
        "steps": table.steps.steps(),
        "problems": [
            {
                "where": problem.where,
                "mark": problem.mark,
                "said": problem.said,
                "cause": problem.advice.cause,
                "advice": problem.advice.action,
            }
            for problem in examination.problems()
        ],
    }
