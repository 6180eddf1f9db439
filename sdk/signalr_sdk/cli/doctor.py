"""`signalr doctor`: find out why a hub cannot be reached, or that it can."""

from __future__ import annotations

from contextlib import nullcontext
from typing import Annotated, Any

import typer
from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from .._core import urls
from . import options
from .board import Board, duration
from .demo import chosen
from .examination import KEEP_ALIVE, Examination
from .findings import Finding, Mark, Problem
from .trials import ANY_HUB, Trial

_FAILED = 1

Limit = Annotated[float, typer.Option("--timeout", metavar="SECONDS", min=0.1, help="Limit for each step.")]
KeepAlive = Annotated[
    float,
    typer.Option("--keep-alive", metavar="SECONDS", min=0, help="How long to wait for the server's ping; 0 not to."),
]


@options.connecting
def doctor(
    settings: options.Settings,
    url: options.Url,
    as_json: options.Json = False,
    timeout: Limit = 10.0,
    keep_alive: KeepAlive = 20.0,
) -> None:
    """Examine the way to a hub step by step, and say for what fails the probable cause and what to do.

    Exit status: 0 all is well, 1 it connects but something failed, 2 wrong usage, 3 no connection.
    """
    try:
        url = urls.hub_url(url)
    except ValueError as error:
        options.stop(options.WRONG_USAGE, str(error))
    console = Console(highlight=False, markup=False, emoji=False)
    chart = Chart(url, plain=not console.encoding.startswith("utf"))
    watched = console.is_interactive and not as_json and not settings.verbose
    with Live(chart, console=console, auto_refresh=False, transient=True) if watched else nullcontext() as live:

        def report(what: Finding | Trial) -> None:
            chart.note(what)
            if live is not None:
                live.refresh()

        examination = Examination(url, settings, chosen(settings), limit=timeout, keep_alive=keep_alive, report=report)
        # Each step has its own limit, so that this one never strikes first.
        options.run(examination.run(), timeout=keep_alive + 40 * (timeout + 10))
    if as_json:
        options.show(_as_dict(url, examination, chart))
    else:
        console.print(chart)
        console.print(_verdict(examination, chart))
    if not examination.good:
        raise typer.Exit(_FAILED if examination.connected else options.NO_CONNECTION)


def _as_dict(url: str, examination: Examination, chart: Chart) -> dict[str, Any]:
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
        "steps": chart.board.steps(),
        "problems": [
            {
                "where": problem.where,
                "mark": problem.mark,
                "said": problem.said,
                "cause": problem.reason.cause,
                "advice": problem.reason.advice,
            }
            for problem in examination.problems()
        ],
    }


class Chart:
    """How the checks went so far, for a terminal or a pipe.

    Args:
        url: what is examined.
        plain: whether the signs must be ASCII.
    """

    def __init__(self, url: str, *, plain: bool) -> None:
        self.board = Board(ANY_HUB, url, plain=plain, titled=False)
        # A query may hold a secret.
        self._title = urls.without_query(url)
        self._findings: dict[str, Finding] = {}
        self._plain = plain

    def note(self, what: Finding | Trial) -> None:
        """Take in how a check or a trial is going."""
        if isinstance(what, Trial):
            self.board.note(what)
        else:
            self._findings[what.check] = what

    def has(self, check: str) -> bool:
        """Whether this is a check in the table."""
        return check in self._findings

    def sign(self, mark: Mark | None) -> Text:
        """Return the sign of a mark."""
        good, warning, failed, running = ("ok", "!", "X", "...") if self._plain else ("✓", "!", "✗", "…")
        match mark:
            case None:
                return Text(running, "yellow")
            case Mark.GOOD:
                return Text(good, "green")
            case Mark.WARNING:
                return Text(warning, "yellow")
            case Mark.FAILED:
                return Text(failed, "red")
            case Mark.SKIPPED:
                return Text("-", "dim")

    def __rich__(self) -> Group:
        findings = list(self._findings.values())
        # It comes last, behind the trials.
        last = [finding for finding in findings if finding.check == KEEP_ALIVE]
        first = [finding for finding in findings if finding not in last]
        parts: list[Text | Table | Board] = [Text(self._title, "bold"), self._table(first)]
        if self.board.trials:
            parts += [Text(), self.board]
        if last:
            parts += [Text(), self._table(last)]
        return Group(*parts)

    def _table(self, findings: list[Finding]) -> Table:
        table = Table(box=None, padding=(0, 1, 0, 0), show_header=False)
        table.add_column(no_wrap=True)
        table.add_column(no_wrap=True, style="bold", min_width=10)
        table.add_column(overflow="fold")
        table.add_column(no_wrap=True, justify="right")
        for finding in findings:
            took = duration(finding.seconds) if finding.mark is not None else ""
            table.add_row(self.sign(finding.mark), finding.check, finding.said, took)
        return table


def _verdict(examination: Examination, chart: Chart) -> Group:
    """Return what is below: each problem with its cause and what to do, and the sum of it."""
    problems = examination.problems()
    parts: list[Text | Table] = []
    for problem in problems:
        parts += [Text(), _explained(problem, chart)]
    if not examination.connected:
        server = f" Server: {examination.server}." if examination.server else ""
        sum_of_it = f"No connection to the hub.{server}"
    elif examination.good:
        sum_of_it = "All is well." if not problems else "It works; see the notes above."
    else:
        sum_of_it = "It connects, but something failed."
    return Group(*parts, Text(), Text(sum_of_it, "bold"))


def _explained(problem: Problem, chart: Chart) -> Table:
    table = Table(box=None, padding=(0, 1, 0, 0), show_header=False)
    table.add_column(no_wrap=True)
    table.add_column(no_wrap=True, style="dim")
    table.add_column(overflow="fold")
    # What a check saw stands above.
    said = "" if chart.has(problem.where) else f": {problem.said}"
    table.add_row(chart.sign(problem.mark), "what", Text.assemble((problem.where, "bold"), said))
    table.add_row("", "why", problem.reason.cause)
    table.add_row("", "do", problem.reason.advice)
    return table
