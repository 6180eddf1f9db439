"""`signalr serve`: run a test server, with the demo hub or with a hub of the user."""

from __future__ import annotations

import asyncio
import importlib
import sys
from typing import Annotated, Any, TypeVar

import typer

from ..testing import ClassicHub, ClassicHubServer, Hub, HubServer
from ..testing.classic.demo_hub import ClassicDemoHub
from ..testing.demo_hub import DemoHub
from .exit_status import NO_CONNECTION, WRONG_USAGE, fail
from .options import Verbose, option, show_log

H = TypeVar("H", Hub, ClassicHub)


def serve(
    hub: Annotated[
        str | None,
        typer.Argument(
            metavar="[MODULE:HUB]",
            help="A class derived from `Hub`, or with --classic from `ClassicHub`.",
            show_default="a demo chat",
        ),
    ] = None,
    host: Annotated[str, typer.Option("--host", help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option("--port", min=0, max=65535, help="Port to listen on; 0 for a free one.")] = 5000,
    path: Annotated[
        str | None,
        typer.Option("--path", help="Path of the hub.", show_default="/chat, or /signalr with --classic"),
    ] = None,
    classic: Annotated[
        bool,
        typer.Option(
            "--classic", help="Serve classic ASP.NET SignalR. The hub is called as its class, the demo `Chat`."
        ),
    ] = False,
    origin: Annotated[
        list[str] | None,
        option(
            "--origin",
            metavar="ORIGIN",
            help="A web page's origin, such as https://example.com, that may use the hub; * for all pages. Repeatable.",
        ),
    ] = None,
    verbose: Verbose = 0,
) -> None:
    """Run a hub server for tests and demos, until Ctrl-C.

    Exit status: 0 ended by Ctrl-C, 2 wrong usage, 3 the server cannot listen.
    """
    show_log(verbose)
    path = path or ("/signalr" if classic else "/chat")
    if not path.startswith("/"):
        fail(WRONG_USAGE, f"--path must start with /, unlike {path!r}")
    try:
        make = _classic_server if classic else _server
        server, name = make(hub, path, host=host, port=port, origins=origin or ())
    except (TypeError, ValueError) as error:
        fail(WRONG_USAGE, str(error))
    try:
        asyncio.run(_serve(server, path, name))
    except OSError as error:
        fail(NO_CONNECTION, error.strerror or str(error))
    except KeyboardInterrupt:
        # Ctrl-C is the normal way to end this command, so let the exit status be 0.
        typer.echo("stopped")


def _server(hub: str | None, path: str, **options: Any) -> tuple[HubServer, str]:
    """Return the server, not started, and the name of the hub class."""
    hub_class = DemoHub if hub is None else _load(hub, Hub)
    # Let the server run two invocations of a client at the same time. While `DemoHub.greet` waits for a client result,
    # the other calls of the client would otherwise wait too.
    server = HubServer({path: hub_class}, detailed_errors=True, parallel_invocations=2, **options)
    return server, hub_class.__name__


def _classic_server(hub: str | None, path: str, **options: Any) -> tuple[ClassicHubServer, str]:
    """Return the server, not started, and the name of the hub."""
    hub_class = ClassicDemoHub if hub is None else _load(hub, ClassicHub)
    name = "Chat" if hub is None else hub_class.__name__
    return ClassicHubServer({name: hub_class}, path=path, detailed_errors=True, **options), name


async def _serve(server: HubServer | ClassicHubServer, path: str, name: str) -> None:
    async with server:
        typer.echo(f"{name} listens on {server.url(path)}, until Ctrl-C")
        await asyncio.Event().wait()


def _load(name: str, base: type[H]) -> type[H]:
    """Import and return the hub class that a name like `module:Hub` stands for, which must derive from `base`."""
    module, colon, attribute = name.partition(":")
    if not (module and colon and attribute):
        fail(WRONG_USAGE, f"a hub is named as module:Hub, not {name!r}")
    # Add the current folder to the import path, as `python -m` does: a console script does not, and the user's module
    # would not be found.
    if "" not in sys.path:
        sys.path.insert(0, "")
    try:
        found = getattr(importlib.import_module(module), attribute)
    except (ImportError, AttributeError) as error:
        fail(WRONG_USAGE, f"cannot find {name}: {error}")
    if not (isinstance(found, type) and issubclass(found, base)):
        fail(WRONG_USAGE, f"{name} is no class derived from signalr_sdk.testing.{base.__name__}")
    return found
