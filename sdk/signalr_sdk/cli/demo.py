"""`signalr demo`: show that all of it works, against a server of its own or one that is named."""

from __future__ import annotations

from contextlib import nullcontext
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console
from rich.live import Live

from ..testing import HubServer
from ..testing.demo_hub import DemoHub
from . import options
from .board import Board
from .negotiate import ask
from .trials import ANY_HUB, COMBINATIONS, DEMO_HUB, Combination, Step, Trial, Trials

if TYPE_CHECKING:
    from collections.abc import Sequence

_FAILED = 1
_PATH = "/chat"

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
        options.show(board.as_dict())
    else:
        console.print(board)
        console.print(*board.remarks(), sep="\n", soft_wrap=True)
    return board.good
