"""The table of `signalr demo` and `signalr doctor`: one row per step, one column per transport and protocol."""

from __future__ import annotations

import time
from contextlib import contextmanager, nullcontext
from typing import TYPE_CHECKING, Any

from rich.live import Live
from rich.table import Table
from rich.text import Text

from .. import Transport
from .._core import urls
from .step_runner import COMBINATIONS, Combination, Ending, StepResult

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from rich.console import Console

    from .steps import Step

# The transports' names in the table's head are short, so that the table fits into 80 columns.
_TRANSPORTS = {
    Transport.WEBSOCKETS: "Web\nSockets",
    Transport.SERVER_SENT_EVENTS: "\nSSE",
    Transport.LONG_POLLING: "long\npolling",
}
PROTOCOLS = {"json": "JSON", "messagepack": "MsgPack"}
_NOT_OFFERED = "-"


class StepTable:
    """The table of results: a row for each step, for example a call, and a column for each transport and protocol.

    Args:
        steps: all steps, in the order of the rows. If empty, each step that has begun gets a row.
        url: URL of the hub; its query, which may hold a secret, is not shown.
        plain: whether the output may have ASCII characters only.
        titled: whether the URL stands above the table.
    """

    def __init__(self, steps: Sequence[Step[Any]], url: str, *, plain: bool, titled: bool = True) -> None:
        self._titled = titled
        self._steps = steps
        self._url = urls.without_query(url)
        self._results: dict[tuple[Combination, Step[Any]], StepResult] = {}
        self._worked, self._failed, self._running = ("ok", "FAILED", "...") if plain else ("✓", "✗ failed", "…")
        self._began = time.perf_counter()

    def update(self, result: StepResult) -> None:
        """Put the latest result of a step into the table; the step may still be running."""
        self._results[result.combination, result.step] = result

    @property
    def good(self) -> bool:
        """Whether at least one step, for example a call, worked and no step failed."""
        return bool(self._ended(Ending.WORKED)) and not self._ended(Ending.FAILED)

    def as_dict(self) -> dict[str, Any]:
        """Return the whole table as the JSON object that `signalr demo --json` prints."""
        return {"url": self._url, "ok": self.good, "steps": self.steps()}

    def steps(self) -> list[dict[str, Any]]:
        """Return a list for `--json`: a dict for each step (for example a call) over each transport and protocol."""
        return [
            {
                "transport": result.combination.transport,
                "protocol": result.combination.protocol,
                "step": result.step.name,
                "ending": result.ending,
                "said": result.said,
                "milliseconds": round(result.seconds * 1000, 3),
            }
            for result in self._results.values()
        ]

    @property
    def is_empty(self) -> bool:
        """Whether no step has begun."""
        return not self._results

    def remarks(self) -> list[str]:
        """Return the lines of text below the table: an error for each failed step, then how many steps worked."""
        worked, failed = self._ended(Ending.WORKED), self._ended(Ending.FAILED)
        lines = [
            f"{each.combination.transport} with {PROTOCOLS[each.combination.protocol]}, {each.step.name}: {each.said}"
            for each in failed
        ]
        if self._ended(Ending.NOT_OFFERED):
            lines.append(f"{_NOT_OFFERED} is what this server does not offer.")
        took = f"in {time.perf_counter() - self._began:.1f} s"
        if self.good:
            return [*lines, f"All {len(worked)} steps worked, {took}."]
        return [*lines, f"{len(worked)} steps worked and {len(failed)} failed, {took}."]

    def __rich__(self) -> Table:
        table = Table(
            box=None,
            padding=(0, 1, 0, 0),
            title=self._url if self._titled else None,
            title_justify="left",
            title_style="bold",
        )
        table.add_column(max_width=28)
        for each in COMBINATIONS:
            name = f"{_TRANSPORTS[each.transport]}\n{PROTOCOLS[each.protocol]}"
            table.add_column(name, min_width=8, no_wrap=True)
        for step in self._steps or dict.fromkeys(step for _each, step in self._results):
            table.add_row(self._label(step), *(self._cell(each, step) for each in COMBINATIONS))
        return table

    def _ended(self, ending: Ending) -> list[StepResult]:
        return [result for result in self._results.values() if result.ending is ending]

    def _label(self, step: Step[Any]) -> Text:
        said = next((result.said for result in self._ended(Ending.WORKED) if result.step is step), "")
        return Text.assemble((step.name, "bold"), "\n  ", (said, "dim"))

    def _cell(self, combination: Combination, step: Step[Any]) -> Text:
        result = self._results.get((combination, step))
        if result is None:
            return Text()
        match result.ending:
            case None:
                return Text(self._running, "yellow")
            case Ending.WORKED:
                return Text.assemble((self._worked, "green"), " ", short_time(result.seconds))
            case Ending.FAILED:
                return Text(self._failed, "red")
            case Ending.NOT_OFFERED:
                return Text(_NOT_OFFERED, "dim")


@contextmanager
def live_reports(table: Any, console: Console, *, is_live: bool) -> Iterator[Callable[[Any], None]]:
    """Yield a function that puts a result into a table: a `StepResult`, or the `Finding` of a check.

    Args:
        table: a `StepTable` or `CheckTable`.
        console: the terminal.
        is_live: whether to show the table on the terminal during the `with` block, and draw it again after each result.
    """
    with Live(table, console=console, auto_refresh=False, transient=True) if is_live else nullcontext() as live:

        def report(result: Any) -> None:
            table.update(result)
            if live is not None:
                live.refresh()

        yield report


def short_time(seconds: float) -> str:
    """Return a duration as a text: in milliseconds if shorter than a second, otherwise in seconds."""
    milliseconds = seconds * 1000
    if milliseconds < 9.95:
        return f"{milliseconds:.1f} ms"
    return f"{milliseconds:.0f} ms" if milliseconds < 999.5 else f"{seconds:.1f} s"
