"""What `signalr doctor` prints: the table of the checks, and below the table each problem with advice."""

from __future__ import annotations

from rich.console import Group
from rich.table import Table
from rich.text import Text

from ..._core import urls
from ..step_runner import StepResult
from ..step_table import StepTable, short_time
from .examination import KEEP_ALIVE, Examination
from .findings import Finding, Mark, Problem


class CheckTable:
    """The results of the checks so far, as a table for a terminal or a pipe.

    Args:
        url: URL of the hub; its query, which may hold a secret, is not shown.
        plain: whether the output may have ASCII characters only.

    Attributes:
        steps: the lower part of the table: what was tried over each transport and hub protocol, for example a call.
    """

    def __init__(self, url: str, *, plain: bool) -> None:
        self.steps: StepTable = StepTable((), url, plain=plain, titled=False)
        self._title = urls.without_query(url)
        self._findings: dict[str, Finding] = {}
        self._plain = plain

    def update(self, result: Finding | StepResult) -> None:
        """Put a result into the table: of a check, or of a step (for example a call) over a transport.

        The check or step may still run.
        """
        if isinstance(result, StepResult):
            self.steps.update(result)
        else:
            self._findings[result.check] = result

    def _sign(self, mark: Mark | None) -> Text:
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
        # Show the keep-alive check at the end, below the steps (connect, round trip, stop): the check runs after the
        # steps.
        last = [finding for finding in findings if finding.check == KEEP_ALIVE]
        first = [finding for finding in findings if finding not in last]
        parts: list[Text | Table | StepTable] = [Text(self._title, "bold"), self._rows(first)]
        if not self.steps.is_empty:
            parts += [Text(), self.steps]
        if last:
            parts += [Text(), self._rows(last)]
        return Group(*parts)

    def _rows(self, findings: list[Finding]) -> Table:
        table = Table(box=None, padding=(0, 1, 0, 0), show_header=False)
        table.add_column(no_wrap=True)
        table.add_column(no_wrap=True, style="bold", min_width=10)
        table.add_column(overflow="fold")
        table.add_column(no_wrap=True, justify="right")
        for finding in findings:
            took = short_time(finding.seconds) if finding.mark is not None else ""
            table.add_row(self._sign(finding.mark), finding.check, finding.said, took)
        return table

    def verdict(self, examination: Examination) -> Group:
        """Return the text below the table: the cause of each problem and what to do, then a summary."""
        problems = examination.problems()
        parts: list[Text | Table] = []
        for problem in problems:
            parts += [Text(), self._explained(problem)]
        if not examination.connected:
            server = f" Server: {examination.server}." if examination.server else ""
            summary = f"No connection to the hub.{server}"
        elif examination.good:
            summary = "All is well." if not problems else "It works; see the notes above."
        else:
            summary = "It connects, but something failed."
        return Group(*parts, Text(), Text(summary, "bold"))

    def _explained(self, problem: Problem) -> Table:
        table = Table(box=None, padding=(0, 1, 0, 0), show_header=False)
        table.add_column(no_wrap=True)
        table.add_column(no_wrap=True, style="dim")
        table.add_column(overflow="fold")
        # Add the error text of a step (connect, round trip, stop), because the table does not show this text. For a
        # check, the table shows the text already.
        said = "" if problem.where in self._findings else f": {problem.said}"
        table.add_row(self._sign(problem.mark), "what", Text.assemble((problem.where, "bold"), said))
        table.add_row("", "why", problem.advice.cause)
        table.add_row("", "do", problem.advice.action)
        return table
