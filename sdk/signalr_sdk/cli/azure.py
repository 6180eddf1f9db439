"""`signalr azure`: use a hub of Azure SignalR Service over its REST API."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Annotated, Any

import typer

from signalr_sdk_cli.plain_help import HELP_OPTIONS, Command, CommandGroup

from .. import SignalRError
from ..azure import AzureSignalR, ConnectionString
from . import exit_status, options
from .arguments import CONTEXT, Args, Context, Text, parse_arguments
from .exit_status import WRONG_USAGE, fail

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from typer.core import TyperGroup

VARIABLE = "AZURE_SIGNALR_CONNECTION_STRING"

# `AzureSignalR` cannot be made without the name of a hub. `signalr azure health` asks about the whole service, so any
# name will do.
_ANY_HUB = "health"

_app = typer.Typer(
    cls=CommandGroup,
    no_args_is_help=True,
    rich_markup_mode=None,
    add_completion=False,
    context_settings=HELP_OPTIONS,
    help=f"Use a hub of Azure SignalR Service without an app server. The connection string comes from {VARIABLE}.",
)

Hub = Annotated[str, options.positional("HUB", "The hub's name.")]
Application = Annotated[str | None, options.option("--application", metavar="NAME", help="Prefix of the hub's name.")]
User = Annotated[str | None, options.option("--user", metavar="USER", help="A user.")]
Group = Annotated[str | None, options.option("--group", metavar="GROUP", help="A group.")]
Connection = Annotated[str | None, options.option("--connection", metavar="ID", help="A connection.")]
Users = Annotated[list[str] | None, options.option("--user", metavar="USER", help="To a user. Repeatable.")]
Groups = Annotated[list[str] | None, options.option("--group", metavar="GROUP", help="To a group. Repeatable.")]
Connections = Annotated[
    list[str] | None, options.option("--connection", metavar="ID", help="To a connection. Repeatable.")
]


@_app.command(cls=Command, context_settings=HELP_OPTIONS)
def negotiate(
    hub: Hub,
    user: User = None,
    claim: Annotated[
        list[str] | None, options.option("--claim", metavar="NAME=VALUE", help="A claim of the user. Repeatable.")
    ] = None,
    lifetime: Annotated[
        float, options.seconds("--lifetime", help="How long the token is valid.", show_default="1h")
    ] = 3600.0,
    application: Application = None,
    timeout: options.Timeout = 30.0,
    verbose: options.Verbose = 0,
) -> None:
    """Print the URL and the access token with which a client connects to the service, as JSON. The token is a secret.

    Exit status: 0 done, 2 wrong usage, 3 the service refused, or no connection.
    """
    claims = _claims(claim or [])

    async def ask(azure: AzureSignalR) -> dict[str, str]:
        return await azure.negotiate(user, claims, lifetime)

    exit_status.show(_run(ask, hub, application, timeout=timeout, verbose=verbose))


@_app.command(cls=Command, context_settings={**HELP_OPTIONS, **CONTEXT})
def send(
    context: Context,
    hub: Hub,
    event: Annotated[str, options.positional("EVENT", "Name of the event.")],
    args: Args = None,
    text: Text = False,
    user: Users = None,
    group: Groups = None,
    connection: Connections = None,
    exclude: Annotated[
        list[str] | None, options.option("--exclude", metavar="ID", help="Not to this connection. Repeatable.")
    ] = None,
    application: Application = None,
    timeout: options.Timeout = 30.0,
    verbose: options.Verbose = 0,
) -> None:
    """Send an event to users, groups or connections, or to all clients of the hub.

    Exit status: 0 accepted by the service, 2 wrong usage, 3 the service refused, or no connection.
    """
    if bool(user) + bool(group) + bool(connection) > 1:
        fail(WRONG_USAGE, "--user, --group and --connection exclude each other; leave out the others")
    given = parse_arguments(context, args or (), is_text=text)
    excluded = exclude or []
    if excluded and (user or connection or len(group or []) > 1):
        fail(WRONG_USAGE, "--exclude goes with all clients, or with one --group")

    async def send(azure: AzureSignalR) -> None:
        if user:
            await azure.send_users(user, event, *given)
        elif connection:
            await azure.send_connections(connection, event, *given)
        elif group and len(group) == 1:
            await azure.send_group(group[0], event, *given, excluded=excluded)
        elif group:
            await azure.send_groups(group, event, *given)
        else:
            await azure.send_all(event, *given, excluded=excluded)

    _run(send, hub, application, timeout=timeout, verbose=verbose)


@_app.command(cls=Command, context_settings=HELP_OPTIONS)
def exists(
    hub: Hub,
    user: User = None,
    group: Group = None,
    connection: Connection = None,
    application: Application = None,
    timeout: options.Timeout = 30.0,
    verbose: options.Verbose = 0,
) -> None:
    """Print whether a user or a group has an open connection, or whether a connection is open.

    With --user and --group, print whether the user is in the group.

    Exit status: 0 yes, 1 no, 2 wrong usage, 3 the service refused, or no connection.
    """

    async def ask(azure: AzureSignalR) -> bool:
        match user, group, connection:
            case str(), str(), None:
                return await azure.user_in_group(user, group)
            case str(), None, None:
                return await azure.user_exists(user)
            case None, str(), None:
                return await azure.group_exists(group)
            case None, None, str():
                return await azure.connection_exists(connection)
            case _:
                raise ValueError("name a --user, a --group, both, or a --connection")

    _answer(_run(ask, hub, application, timeout=timeout, verbose=verbose))


@_app.command(cls=Command, context_settings=HELP_OPTIONS)
def close(
    hub: Hub,
    user: User = None,
    group: Group = None,
    connection: Connection = None,
    everyone: Annotated[bool, typer.Option("--all", help="All connections of the hub.")] = False,
    reason: Annotated[str | None, options.option("--reason", metavar="TEXT", help="A text for the clients.")] = None,
    application: Application = None,
    timeout: options.Timeout = 30.0,
    verbose: options.Verbose = 0,
) -> None:
    """Close one connection, or all connections of a user, of a group or of the hub. The clients may reconnect.

    Exit status: 0 done, 2 wrong usage, 3 the service refused, or no connection.
    """
    if sum((user is not None, group is not None, connection is not None, everyone)) != 1:
        fail(WRONG_USAGE, "name one of --user, --group, --connection and --all")

    async def close(azure: AzureSignalR) -> None:
        if user is not None:
            await azure.close_user(user, reason)
        elif group is not None:
            await azure.close_group(group, reason)
        elif connection is not None:
            await azure.close_connection(connection, reason)
        else:
            await azure.close_all(reason)

    _run(close, hub, application, timeout=timeout, verbose=verbose)


@_app.command(cls=Command, context_settings=HELP_OPTIONS)
def health(timeout: options.Timeout = 30.0, verbose: options.Verbose = 0) -> None:
    """Print whether the service is healthy.

    Exit status: 0 yes, 1 no, 2 wrong usage, 3 no connection.
    """
    _answer(_run(AzureSignalR.health, _ANY_HUB, None, timeout=timeout, verbose=verbose))


def _run(
    work: Callable[[AzureSignalR], Awaitable[Any]], hub: str, application: str | None, *, timeout: float, verbose: int
) -> Any:
    options.show_log(verbose)
    connection_string = os.environ.get(VARIABLE)
    if not connection_string:
        fail(WRONG_USAGE, f"the connection string is missing; set {VARIABLE} to that of the resource")

    async def run() -> Any:
        if ConnectionString.parse(connection_string).access_key is None:
            raise ValueError(
                f"{VARIABLE} has no AccessKey, and this command signs with nothing else: for Entra ID write a program "
                "with signalr_sdk.azure and a credential"
            )
        async with AzureSignalR(connection_string, hub, application=application) as azure:
            return await work(azure)

    try:
        return exit_status.run(run(), timeout=timeout, hint="")
    except ExceptionGroup as failed:
        reasons = "".join(f"\n  {each}" for each in failed.exceptions if isinstance(each, SignalRError))
        fail(exit_status.NO_CONNECTION, f"{failed.message}{reasons}")


def _answer(yes: bool) -> None:
    typer.echo("yes" if yes else "no")
    raise typer.Exit(0 if yes else 1)


def _claims(texts: list[str]) -> dict[str, str]:
    claims = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not equals or not name:
            fail(WRONG_USAGE, f"--claim wants NAME=VALUE, not {text!r}")
        claims[name] = value
    return claims


azure: TyperGroup = typer.main.get_command(_app)  # type: ignore[assignment]
