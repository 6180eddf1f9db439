"""How the steps of `signalr demo` and `signalr doctor` went, as a table."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

from rich.table import Table
from rich.text import Text

from .. import Transport
from .._core import urls
from .trials import COMBINATIONS, Combination, Ending, Step, Trial

if TYPE_CHECKING:
    from collections.abc import Sequence

# At 80 columns the full names have no room.
_TRANSPORTS = {
    Transport.WEBSOCKETS: "Web\nSockets",
    Transport.SERVER_SENT_EVENTS: "\nSSE",
    Transport.LONG_POLLING: "long\npolling",
}
PROTOCOLS = {"json": "JSON", "messagepack": "MsgPack"}
_NONE = "-"


class Board:
    """How the steps went so far: a table, for a terminal or a pipe.

    Args:
        steps: all there are.
        url: where they are tried.
        plain: whether the signs must be ASCII.
        titled: whether the URL stands above.
    """

    def __init__(self, steps: Sequence[Step], url: str, *, plain: bool, titled: bool = True) -> None:
        self._titled = titled
        self._steps = steps
        # A query may hold a secret.
        self._url = urls.without_query(url)
        self._trials: dict[tuple[Combination, Step], Trial] = {}
        self._worked, self._failed, self._now = ("ok", "FAILED", "...") if plain else ("✓", "✗ failed", "…")
        self._began = time.perf_counter()

    def note(self, trial: Trial) -> None:
        """Take in how a step is going."""
        self._trials[trial.combination, trial.step] = trial

    @property
    def good(self) -> bool:
        """Whether something worked and nothing failed."""
        return bool(self._ended(Ending.WORKED)) and not self._ended(Ending.FAILED)

    def as_dict(self) -> dict[str, Any]:
        """Return the same for programs."""
        return {
            "url": self._url,
            "ok": self.good,
            "steps": self.steps(),
        }

    def steps(self) -> list[dict[str, Any]]:
        """Return how each step went, for programs."""
        return [
            {
                "transport": trial.combination.transport,
                "protocol": trial.combination.protocol,
                "step": trial.step.name,
                "ending": trial.ending,
                "said": trial.said,
                "milliseconds": round(trial.seconds * 1000, 3),
            }
            for trial in self.trials
        ]

    @property
    def trials(self) -> list[Trial]:
        """How each step went so far."""
        return list(self._trials.values())

    def remarks(self) -> list[str]:
        """Return what stands below the table."""
        worked, failed = self._ended(Ending.WORKED), self._ended(Ending.FAILED)
        lines = [
            f"{each.combination.transport} with {PROTOCOLS[each.combination.protocol]}, {each.step.name}: {each.said}"
            for each in failed
        ]
        if self._ended(Ending.NOT_OFFERED):
            lines.append(f"{_NONE} is what this server does not offer.")
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
        for step in self._steps:
            table.add_row(self._label(step), *(self._cell(each, step) for each in COMBINATIONS))
        return table

    def _ended(self, ending: Ending) -> list[Trial]:
        return [trial for trial in self._trials.values() if trial.ending is ending]

    def _label(self, step: Step) -> Text:
        said = next((trial.said for trial in self._ended(Ending.WORKED) if trial.step is step), "")
        return Text.assemble((step.name, "bold"), "\n  ", (said, "dim"))

    def _cell(self, combination: Combination, step: Step) -> Text:
        trial = self._trials.get((combination, step))
        if trial is None:
            return Text()
        match trial.ending:
            case None:
                return Text(self._now, "yellow")
            case Ending.WORKED:
                return Text.assemble((self._worked, "green"), " ", duration(trial.seconds))
            case Ending.FAILED:
                return Text(self._failed, "red")
            case Ending.NOT_OFFERED:
                return Text(_NONE, "dim")


def duration(seconds: float) -> str:
    """Return a short time, as people read it."""
    milliseconds = seconds * 1000
    if milliseconds < 9.95:
        return f"{milliseconds:.1f} ms"
    return f"{milliseconds:.0f} ms" if milliseconds < 999.5 else f"{seconds:.1f} s"
