"""`signalr serve`: run a test server, with the demo hub or with a hub of the user."""

from __future__ import annotations

import asyncio
import importlib
import signal
import sys
from contextlib import suppress
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer

from ..testing import ClassicHub, ClassicHubServer, Hub, HubServer
from ..testing.classic.demo_hub import ClassicDemoHub
from ..testing.demo_hub import DemoHub
from . import options
from .exit_status import NO_CONNECTION, WRONG_USAGE, fail
from .options import Verbose, option, show_log
from .served_hub_texts import CallLog, method_lines

if TYPE_CHECKING:
    from collections.abc import Callable

H = TypeVar("H", Hub, ClassicHub)


def _authorize(token: str | None) -> Callable[[str | None], str | None] | None:
    """Return the function with which the server checks tokens; `None` if clients need none."""
    if token is None:
        return None
    # The user of each client with the right token has this name.
    return lambda given: "user" if given == token else None


def _port(text: str) -> int:
    # typer calls this function with the default too, which is a number.
    text = str(text)
    if not (text.isascii() and text.isdecimal() and len(text) < 6 and int(text) <= 65535):
        raise typer.BadParameter(f"{text!r} is no port; write a number from 0 to 65535")
    return int(text)


@options.command(
    "signalr serve",
    "signalr serve my_module:ChatHub --port 8080 --path /chat",
    "signalr serve --token secret",
)
def serve(
    hub: Annotated[
        str | None,
        typer.Argument(
            metavar="[MODULE:HUB]",
            help="A class derived from `Hub`, or with --classic from `ClassicHub`.",
            show_default="a demo chat",
        ),
    ] = None,
    host: Annotated[str, typer.Option("--host", metavar="ADDRESS", help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[
        int,
        option("--port", metavar="PORT", parser=_port, help="Port to listen on; 0 for a free one.", show_default=True),
    ] = 5000,
    path: Annotated[
        str | None,
        typer.Option(
            "--path", metavar="PATH", help="Path of the hub.", show_default="/chat, or /signalr with --classic"
        ),
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
    token: Annotated[
        str | None, option("--token", metavar="TOKEN", help="Refuse clients without this bearer token.")
    ] = None,
    quiet: Annotated[bool, option("--quiet", "-q", help="Show neither the methods nor what clients do.")] = False,
    verbose: Verbose = 0,
) -> None:
    """Run a hub server for tests and demos, until Ctrl-C.

    It lists the methods of the hub, and shows each call of a client and each refused client as they come. To test how
    a client lives through an outage, stop the server with Ctrl-C and start it again.

    Exit status: 0 ended by Ctrl-C or SIGTERM, 2 wrong usage, 3 the server cannot listen.
    """
    show_log(verbose)
    path = path or ("/signalr" if classic else "/chat")
    if not path.startswith("/"):
        fail(WRONG_USAGE, f"--path: {path!r} does not begin with a slash; write /{path}")
    try:
        make = _classic_server if classic else _server
        server, hub_class, name = make(
            hub, path, host=host, port=port, origins=origin or (), authorize=_authorize(token)
        )
    except (TypeError, ValueError) as error:
        fail(WRONG_USAGE, str(error))
    try:
        if not quiet:
            server.recorded.watcher = CallLog(_say).show
        methods = [] if quiet else method_lines(hub_class)
        # Ctrl-C is the normal way to end this command, so let the exit status be 0.
        with suppress(KeyboardInterrupt):
            asyncio.run(_serve(server, path, name, methods))
    except OSError as error:
        fail(NO_CONNECTION, f"{error.strerror or error}; choose another port with --port, or 0 for a free one")
    typer.echo("stopped")


def _server(hub: str | None, path: str, **options: Any) -> tuple[HubServer, type[Hub], str]:
    """Return the server, not started, the hub class and its name."""
    hub_class = DemoHub if hub is None else _load(hub, Hub)
    # Let the server run two invocations of a client at the same time. While `DemoHub.greet` waits for a client result,
    # the other calls of the client would otherwise wait too.
    server = HubServer({path: hub_class}, detailed_errors=True, parallel_invocations=2, **options)
    return server, hub_class, hub_class.__name__


def _classic_server(hub: str | None, path: str, **options: Any) -> tuple[ClassicHubServer, type[ClassicHub], str]:
    """Return the server, not started, the hub class and the name of the hub."""
    hub_class = ClassicDemoHub if hub is None else _load(hub, ClassicHub)
    name = "Chat" if hub is None else hub_class.__name__
    return ClassicHubServer({name: hub_class}, path=path, detailed_errors=True, **options), hub_class, name


async def _serve(server: HubServer | ClassicHubServer, path: str, name: str, methods: list[str]) -> None:
    async with server:
        typer.echo(f"{name} listens on {server.url(path)}, until Ctrl-C")
        if methods:
            typer.echo("\n".join(f"  {line}" for line in methods))
        terminated = asyncio.Event()
        # Background jobs of a shell ignore Ctrl-C, and containers end with SIGTERM. Windows has no such handlers.
        with suppress(NotImplementedError):
            asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, terminated.set)
        await terminated.wait()


def _say(text: str) -> None:
    # The server goes on when nobody reads its output any more, for example after `signalr serve | head -1`.
    with suppress(OSError):
        typer.echo(text)


def _load(name: str, base: type[H]) -> type[H]:
    """Import and return the hub class that a name like `module:Hub` stands for, which must derive from `base`."""
    module, colon, attribute = name.partition(":")
    if not (module and colon and attribute):
        fail(WRONG_USAGE, f"{name!r} names no hub; write MODULE:CLASS, for example my_module:ChatHub")
    # Add the current folder to the import path, as `python -m` does: a console script does not, and the user's module
    # would not be found.
    if "" not in sys.path:
        sys.path.insert(0, "")
    try:
        found = getattr(importlib.import_module(module), attribute)
    except (ImportError, AttributeError) as error:
        fail(WRONG_USAGE, f"cannot find {name}: {error}; run signalr in the folder of the module")
    if not (isinstance(found, type) and issubclass(found, base)):
        fail(WRONG_USAGE, f"{name} is no hub; derive the class from signalr_sdk.testing.{base.__name__}")
    return found
