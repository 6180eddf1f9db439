"""`signalr serve`: run the test server, with a demo hub or one of the user's own."""

from __future__ import annotations

import asyncio
import importlib
import sys
from typing import Annotated

import typer

from ..testing import Hub, HubServer
from ..testing.demo_hub import DemoHub
from . import options


def serve(
    hub: Annotated[
        str | None,
        typer.Argument(metavar="[MODULE:HUB]", help="A class derived from `Hub`.", show_default="a demo chat"),
    ] = None,
    host: Annotated[str, typer.Option("--host", help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option("--port", min=0, max=65535, help="0 for a free one.")] = 5000,
    path: Annotated[str, typer.Option("--path", help="Path of the hub.")] = "/chat",
    verbose: options.Verbose = 0,
) -> None:
    """Run a hub server for tests and demos, until Ctrl-C.

    Exit status: 0 ended by Ctrl-C, 2 wrong usage, 3 it cannot listen.
    """
    options.show_log(verbose)
    if not path.startswith("/"):
        options.stop(options.WRONG_USAGE, f"--path must start with /, unlike {path!r}")
    served = DemoHub if hub is None else _load(hub)
    try:
        # Client results inside of a hub method need room for a second call.
        server = HubServer({path: served}, host=host, port=port, detailed_errors=True, parallel_invocations=2)
    except TypeError as error:
        options.stop(options.WRONG_USAGE, str(error))
    try:
        asyncio.run(_serve(server, path, served))
    except OSError as error:
        options.stop(options.NO_CONNECTION, f"cannot listen on {host}, port {port}: {error.strerror or error}")
    except KeyboardInterrupt:
        # That is how it is meant to end.
        typer.echo("stopped")


async def _serve(server: HubServer, path: str, hub: type[Hub]) -> None:
    async with server:
        typer.echo(f"{hub.__name__} listens on {server.url(path)}, until Ctrl-C")
        await asyncio.Event().wait()


def _load(name: str) -> type[Hub]:
    """Return the hub class with a name like `module:Hub`."""
    module, colon, attribute = name.partition(":")
    if not (module and colon and attribute):
        options.stop(options.WRONG_USAGE, f"a hub is named as module:Hub, not {name!r}")
    # A console script does not look where it is called, `python -m` does.
    if "" not in sys.path:
        sys.path.insert(0, "")
    try:
        found = getattr(importlib.import_module(module), attribute)
    except (ImportError, AttributeError) as error:
        options.stop(options.WRONG_USAGE, f"cannot find {name}: {error}")
    if not (isinstance(found, type) and issubclass(found, Hub)):
        options.stop(options.WRONG_USAGE, f"{name} is no class derived from signalr_sdk.testing.Hub")
    return found
