"""`signalr demo`: tries each transport and hub protocol, on a test server or on the hub at `--url`."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console

from ..testing import HubServer
from ..testing.demo_hub import DemoHub
from . import exit_status, options
from .connection_options import ConnectionOptions, checked_url
from .negotiate import ask
from .step_runner import COMBINATIONS, Combination, StepRunner, allowed_combinations, hub_over
from .step_table import StepTable, live_reports
from .steps import ANY_HUB, DEMO_HUB, Step

if TYPE_CHECKING:
    from collections.abc import Sequence

    from .. import HubConnection

_FAILED = 1
_PATH = "/chat"

HubUrl = Annotated[
    str | None, options.option("--url", metavar="URL", help="Try the hub at this URL, with the steps that any hub has.")
]
Limit = Annotated[float, options.seconds("--timeout", help="Limit for each step.", show_default="10s")]


@options.command("signalr demo", "signalr demo --url http://localhost:5000/chat")
def demo(
    url: HubUrl = None, as_json: options.Json = False, timeout: Limit = 10.0, *, connection: ConnectionOptions
) -> None:
    """Try all transports and hub protocols, on a test server or a hub.

    Exit status: 0 everything worked, 1 something failed, 2 wrong usage, 3 no connection.
    """
    offered = allowed_combinations(connection)
    if url is None and connection.context is not None:
        url = connection.url
    if url is None:
        # Let the server run two invocations of a client at the same time. While `DemoHub.greet` waits for a client
        # result, the other calls of the client would otherwise wait too.
        with HubServer({_PATH: DemoHub}, parallel_invocations=2) as server:
            good = _show(server.url(_PATH), DEMO_HUB, offered, as_json=as_json, limit=timeout, hub_arguments={})
    else:
        url, arguments = checked_url(url, "--url: "), connection.arguments
        answer = connection.run(ask(url, **arguments), timeout=timeout)
        offered = [each for each in offered if each.format in answer["transports"].get(each.transport, ())]
        good = _show(url, ANY_HUB, offered, as_json=as_json, limit=timeout, hub_arguments=arguments)
    if not good:
        raise typer.Exit(_FAILED)


def _show(
    url: str,
    steps: Sequence[Step[HubConnection]],
    offered: Sequence[Combination],
    *,
    as_json: bool,
    limit: float,
    hub_arguments: dict[str, Any],
) -> bool:
    """Run the steps, for example a call, over each transport and hub protocol in `offered`, and print the results.

    Return whether at least one step worked and no step failed.
    """
    console = Console(highlight=False, markup=False, emoji=False)
    table = StepTable(steps, url, plain=not console.encoding.startswith("utf"))
    with live_reports(table, console, is_live=console.is_interactive and not as_json) as report:
        connection = functools.partial(hub_over, url, **hub_arguments)
        runner = StepRunner(steps=steps, connection=connection, offered=offered, limit=limit, report=report)
        # A step that is too slow must end at its own time limit, and be shown as failed. So the time limit of the whole
        # run is longer than the time limits of all steps together.
        exit_status.run(runner.run(), timeout=(len(steps) + 1) * len(COMBINATIONS) * (limit + 10))
    if as_json:
        exit_status.show(table.as_dict())
    else:
        console.print(table)
        console.print(*table.remarks(), sep="\n", soft_wrap=True)
    return table.good
