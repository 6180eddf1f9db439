"""`signalr context`: names for hubs, with the options to connect to them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from signalr_sdk_cli.plain_help import HELP_OPTIONS, Command, CommandGroup

from .._core import urls
from . import exit_status, options
from .connection_options import (
    Authority,
    Headers,
    Insecure,
    Protocol,
    Proxy,
    TokenFile,
    Transports,
    checked_options,
    checked_url,
)
from .saved_contexts import SavedContext, checked_name, config_file, save_contexts, saved_context, saved_contexts

if TYPE_CHECKING:
    from typer.core import TyperGroup

_app = typer.Typer(
    cls=CommandGroup,
    no_args_is_help=True,
    rich_markup_mode=None,
    add_completion=False,
    context_settings=HELP_OPTIONS,
    help="Give names to hubs, with the options to connect to them.",
    epilog=options.examples_text(
        (
            "signalr context add prod https://example.com/chat --token-file token.txt",
            "signalr listen --context prod",
        )
    ),
)

Name = Annotated[str, options.positional("NAME", "The context's name.")]


@_app.command(cls=Command, context_settings=HELP_OPTIONS)
def add(
    name: Name,
    url: Annotated[str, options.positional("URL", "The hub's URL.")],
    token_file: TokenFile = None,
    header: Headers = None,
    protocol: Protocol = None,
    transport: Transports = None,
    ca: Authority = None,
    insecure: Insecure = False,
    proxy: Proxy = None,
) -> None:
    """Add a context, or replace the one with this name. No token is stored, only the name of the token's file.

    Exit status: 0 done, 2 wrong usage.
    """
    context = SavedContext(
        url=checked_url(url, hint="; write signalr context add NAME URL"),
        token_file=_absolute(token_file),
        header=[_absolute_reference(each) for each in header or ()],
        protocol=protocol,
        transport=transport or (),
        ca=_absolute(ca),
        insecure=insecure,
        proxy=proxy,
    )
    checked_options(context)
    save_contexts({**saved_contexts(), checked_name(name): context})
    exit_status.say(f"added {name} to {config_file('contexts.json')}")


@_app.command(cls=Command, context_settings=HELP_OPTIONS)
def ls(as_json: options.Json = False) -> None:
    """List the contexts, one per line: the name and the hub's URL.

    Exit status: 0 done, 2 wrong usage.
    """
    contexts = saved_contexts()
    if as_json:
        exit_status.show({name: urls.without_query(each.url) for name, each in contexts.items()})
        return
    width = max(map(len, contexts), default=0)
    for name, each in contexts.items():
        typer.echo(f"{name:{width}}  {urls.without_query(each.url)}")


@_app.command(cls=Command, context_settings=HELP_OPTIONS)
def show(name: Name) -> None:
    """Print a context as JSON: of each header only the name, and of URLs no queries and passwords.

    Exit status: 0 done, 2 wrong usage.
    """
    context = saved_context(name)
    exit_status.show(
        {
            "name": name,
            "url": urls.without_query(context.url),
            "tokenFile": context.token_file,
            "headers": [each if each.startswith("@") else each.partition(":")[0] for each in context.header],
            "protocol": context.protocol,
            "transports": context.transport,
            "ca": context.ca,
            "insecure": context.insecure,
            "proxy": urls.without_query(context.proxy) if context.proxy else None,
        }
    )


@_app.command(cls=Command, context_settings=HELP_OPTIONS)
def rm(name: Name) -> None:
    """Remove a context.

    Exit status: 0 done, 2 wrong usage.
    """
    saved_context(name)
    save_contexts({each: context for each, context in saved_contexts().items() if each != name})


def _absolute(path: Path | None) -> str | None:
    return str(path.absolute()) if path is not None else None


def _absolute_reference(header: str) -> str:
    return f"@{Path(header[1:]).absolute()}" if header.startswith("@") else header


context: TyperGroup = typer.main.get_command(_app)  # type: ignore[assignment]
