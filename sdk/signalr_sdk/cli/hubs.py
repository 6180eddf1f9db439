"""`signalr hubs`: list the hubs of a classic server."""

from __future__ import annotations

from typing import Annotated

import typer

from ..classic import discover
from . import exit_status, options
from .connection_options import ConnectionOptions

_HINT = "; only a server of classic ASP.NET SignalR lists its hubs, and it may have turned that off"

Url = Annotated[str | None, options.positional("URL", "The URL of all hubs, mostly https://host/signalr.")]


@options.command("signalr hubs https://example.com/signalr", "signalr hubs https://example.com/signalr --json")
def hubs(
    url: Url = None,
    as_json: options.Json = False,
    timeout: options.Timeout = 30.0,
    *,
    connection: ConnectionOptions,
) -> None:
    """List the hubs of a classic ASP.NET SignalR server, and their methods.

    They are read from the script that the server makes for browsers. No server tells which events it sends.

    Exit status: 0 done, 2 wrong usage, 3 no connection.
    """
    found = connection.run(discover(connection.hub_url(url), **connection.arguments), timeout=timeout, core=_HINT)
    if as_json:
        exit_status.show(found)
        return
    for hub, methods in found.items():
        for method, parameters in methods.items():
            typer.echo(exit_status.for_terminal(f"{hub}.{method}({', '.join(parameters)})"))
