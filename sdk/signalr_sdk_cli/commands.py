"""The commands of `signalr`: their names and first sentences, and the import of a command when it is called."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

import typer
from typer.core import TyperCommand, TyperGroup

from .plain_help import HELP_OPTIONS, CommandGroup, write_rows
from .usage_errors import UsageError, explain, is_help, missing_package

if TYPE_CHECKING:
    from collections.abc import Sequence

_WRONG_USAGE = 2

# Each command, in the order of use: where it is, and the first sentence of its help. A command is an attribute of a
# module in `signalr_sdk.cli`, made by `options.command`, and the module is imported when the command is called. So a
# new command is a new module and a line here. The help of `signalr` itself imports no command: it takes the sentences
# from here, and a test compares each of them with the help of its command.
COMMANDS = {
    "connect": ("connect.command:connect", "Talk to a hub line by line: call methods, and see events between."),
    "invoke": ("invoke:invoke", "Call a hub method and print its result as JSON."),
    "stream": ("stream:stream", "Call a streaming hub method and print its items as JSON."),
    "send": ("send:send", "Call a hub method without asking for a result."),
    "listen": ("listen:listen", "Print the events of a hub as JSON, over all outages."),
    "doctor": ("doctor.command:doctor", "Find out why a hub cannot be reached, or that all is well."),
    "negotiate": ("negotiate:negotiate", "Show which transports a server offers, without connecting."),
    "hubs": ("hubs:hubs", "List the hubs of a classic ASP.NET SignalR server, and their methods."),
    "context": ("context:context", "Give names to hubs, with the options to connect to them."),
    "outbox": ("outbox:outbox", "Put calls into an outbox on disk, deliver them, and look into it."),
    "relay": ("relay:relay", "Add the events of a hub to a stream of Redis, on one of many machines at a time."),
    "serve": ("serve:serve", "Run a hub server for tests and demos, until Ctrl-C."),
    "demo": ("demo:demo", "Try all transports and hub protocols, on a test server or a hub."),
    "bench": ("bench:bench", "Measure how fast a hub and this client are together."),
    "azure": ("azure:azure", "Use a hub of Azure SignalR Service without an app server."),
}


class Commands(CommandGroup):
    """The group of all commands, which imports a command when it is called."""

    def list_commands(self, ctx: Any) -> list[str]:
        """Return the names of the commands in the order of use."""
        return list(COMMANDS)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """Import and return the command with this name; `None` if there is none."""
        if cmd_name not in COMMANDS:
            return None
        module, _, attribute = COMMANDS[cmd_name][0].partition(":")
        try:
            return getattr(importlib.import_module(f"signalr_sdk.cli.{module}"), attribute)
        except ModuleNotFoundError as error:
            raise UsageError(missing_package(error), ctx) from None

    def format_commands(self, ctx: Any, formatter: Any) -> None:
        """Write the names and first sentences of the commands, without importing the commands."""
        write_rows(formatter, "Commands", [(name, sentence) for name, (_, sentence) in COMMANDS.items()])

    def shell_complete(self, ctx: Any, incomplete: str) -> Any:
        """Complete the name of a command, without importing the commands."""
        listed = TyperGroup(
            name=self.name, commands={name: TyperCommand(name, short_help=says) for name, (_, says) in COMMANDS.items()}
        )
        return listed.shell_complete(ctx, incomplete)


def run(arguments: Sequence[str]) -> int:
    """Run the command that the arguments name, and return its exit status. Usage errors are one line."""
    app = typer.Typer(cls=Commands, rich_markup_mode=None, context_settings=HELP_OPTIONS)
    app.callback(epilog="Examples:\n" + "\n".join(_EXAMPLES))(_signalr)
    group = typer.main.get_command(app)
    try:
        status = group.main(
            list(arguments) or ["--help"], prog_name="signalr", standalone_mode=False, obj=list(arguments)
        )
    except SystemExit as done:
        status = done.code
    except UsageError as error:
        status = _end(error, arguments)
    return status if isinstance(status, int) else 0


def _end(error: Any, arguments: Sequence[str]) -> int:
    if is_help(error):
        typer.echo(error.format_message())
        return 0
    command = f" {arguments[0]}" if arguments and arguments[0] in COMMANDS else ""
    typer.echo(f"signalr: {explain(error, command)}", err=True)
    return _WRONG_USAGE


_EXAMPLES = (
    "  signalr serve                                  a hub to try all this with",
    "  signalr connect localhost:5000/chat            call methods, see events",
    "  signalr invoke localhost:5000/chat Add 1 2     call one method",
    "  signalr listen localhost:5000/chat             print events",
    "  signalr doctor https://example.com/chat        why does it not connect?",
)


def _signalr(
    version: bool = typer.Option(False, "--version", "-V", help="Print the version and exit."),
) -> None:
    """Talk to a SignalR hub.

    Exit status: 0 done, 1 the hub answered with an error, 2 wrong usage, 3 no connection, 130 interrupted.
    """
