"""`signalr demo`: show that all of it works, against a server of its own or one that is named."""

from __future__ import annotations

import json
import time
from contextlib import nullcontext
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.live import Live
from rich.table import Table
from rich.text import Text

from .. import Transport
from .._core import urls
from ..testing import HubServer
from ..testing.demo_hub import DemoHub
from . import options
from .negotiate import ask
from .trials import ANY_HUB, COMBINATIONS, DEMO_HUB, Combination, Ending, Step, Trial, Trials

if TYPE_CHECKING:
    from collections.abc import Sequence

_FAILED = 1
_PATH = "/chat"
# At 80 columns the full names have no room.
_TRANSPORTS = {
    Transport.WEBSOCKETS: "Web\nSockets",
    Transport.SERVER_SENT_EVENTS: "\nSSE",
    Transport.LONG_POLLING: "long\npolling",
}
_PROTOCOLS = {"json": "JSON", "messagepack": "MsgPack"}
_NONE = "-"

Url = Annotated[
    str | None,
    typer.Option("--url", metavar="URL", help="Try the hub at this URL, with what works on any.", show_default=False),
]
Limit = Annotated[float, typer.Option("--timeout", metavar="SECONDS", min=0.001, help="Limit for each step.")]


@options.connecting
def demo(settings: options.Settings, url: Url = None, as_json: options.Json = False, timeout: Limit = 10.0) -> None:
    """Try each transport with each protocol, on a server of its own, and show what happened.

    Exit status: 0 all of it worked, 1 something did not, 2 wrong usage, 3 no connection.
    """
    if url is None:
        # Client results inside of a hub method need room for a second call.
        with HubServer({_PATH: DemoHub}, parallel_invocations=2) as server:
            offered = chosen(settings)
            good = _show(server.url(_PATH), DEMO_HUB, offered, as_json=as_json, limit=timeout, settings={})
    else:
        answer = options.run(ask(url, **settings.arguments), timeout=timeout)
        offered = [each for each in chosen(settings) if each.format in answer["transports"].get(each.transport, ())]
        good = _show(url, ANY_HUB, offered, as_json=as_json, limit=timeout, settings=settings.arguments)
    if not good:
        raise typer.Exit(_FAILED)


def chosen(settings: options.Settings) -> list[Combination]:
    """Return the combinations that the options allow."""
    return [
        each
        for each in COMBINATIONS
        if settings.transports is None or each.transport in settings.transports
        if settings.protocol is None or each.protocol == settings.protocol
    ]


def _show(
    url: str,
    steps: Sequence[Step],
    offered: Sequence[Combination],
    *,
    as_json: bool,
    limit: float,
    settings: dict[str, Any],
) -> bool:
    """Try the steps and print how they went; return whether all of them worked."""
    console = Console(highlight=False, markup=False, emoji=False)
    board = Board(steps, url, plain=not console.encoding.startswith("utf"))
    watched = console.is_interactive and not as_json
    with Live(board, console=console, auto_refresh=False, transient=True) if watched else nullcontext() as live:

        def report(trial: Trial) -> None:
            board.note(trial)
            if live is not None:
                live.refresh()

        trials = Trials(url=url, steps=steps, offered=offered, limit=limit, report=report, settings=settings)
        # Each step has its own limit, so that this one never strikes first.
        options.run(trials.run(), timeout=(len(steps) + 1) * len(COMBINATIONS) * (limit + 10))
    if as_json:
        typer.echo(json.dumps(board.as_dict(), ensure_ascii=False))
    else:
        console.print(board)
        console.print(*board.remarks(), sep="\n", soft_wrap=True)
    return board.good


class Board:
    """How the steps went so far: a table, for a terminal or a pipe.

    Args:
        steps: all there are.
        url: where they are tried.
        plain: whether the signs must be ASCII.
    """

    def __init__(self, steps: Sequence[Step], url: str, *, plain: bool) -> None:
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
            "steps": [
                {
                    "transport": trial.combination.transport,
                    "protocol": trial.combination.protocol,
                    "step": trial.step.name,
                    "ending": trial.ending,
                    "said": trial.said,
                    "milliseconds": round(trial.seconds * 1000, 3),
                }
                for trial in self._trials.values()
            ],
        }

    def remarks(self) -> list[str]:
        """Return what stands below the table."""
        worked, failed = self._ended(Ending.WORKED), self._ended(Ending.FAILED)
        lines = [
            f"{each.combination.transport} with {_PROTOCOLS[each.combination.protocol]}, {each.step.name}: {each.said}"
            for each in failed
        ]
        if self._ended(Ending.NOT_OFFERED):
            lines.append(f"{_NONE} is what this server does not offer.")
        took = f"in {time.perf_counter() - self._began:.1f} s"
        if self.good:
            return [*lines, f"All {len(worked)} steps worked, {took}."]
        return [*lines, f"{len(worked)} steps worked and {len(failed)} failed, {took}."]

    def __rich__(self) -> Table:
        table = Table(box=None, padding=(0, 1, 0, 0), title=self._url, title_justify="left", title_style="bold")
        table.add_column(max_width=28)
        for each in COMBINATIONS:
            name = f"{_TRANSPORTS[each.transport]}\n{_PROTOCOLS[each.protocol]}"
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
                return Text.assemble((self._worked, "green"), " ", _time(trial.seconds))
            case Ending.FAILED:
                return Text(self._failed, "red")
            case Ending.NOT_OFFERED:
                return Text(_NONE, "dim")


def _time(seconds: float) -> str:
    milliseconds = seconds * 1000
    if milliseconds < 9.95:
        return f"{milliseconds:.1f} ms"
    return f"{milliseconds:.0f} ms" if milliseconds < 999.5 else f"{seconds:.1f} s"
