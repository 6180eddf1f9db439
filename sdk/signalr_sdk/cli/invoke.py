"""`signalr invoke`: call one hub method and print its result."""

from __future__ import annotations

import base64
import datetime
import json
import re
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Any

import typer

from .. import HubConnection
from . import options

if TYPE_CHECKING:
    from collections.abc import Sequence

_NUMBER = re.compile(r"-\d+(\.\d+)?([eE][+-]?\d+)?")


class ProtocolName(StrEnum):
    """The hub protocols."""

    JSON = "json"
    MESSAGEPACK = "messagepack"


def invoke(
    context: typer.Context,
    url: options.Url,
    method: Annotated[str, typer.Argument(metavar="METHOD", help="The hub method.", show_default=False)],
    args: Annotated[
        list[str] | None,
        typer.Argument(metavar="[ARGS]...", help="Its arguments: JSON, else plain text.", show_default=False),
    ] = None,
    token: options.Token = None,
    header: options.Header = None,
    protocol: Annotated[ProtocolName, typer.Option("--protocol", help="The hub protocol.")] = ProtocolName.JSON,
    transport: options.Transports = None,
    timeout: options.Timeout = 30.0,
    insecure: options.Insecure = False,
    ca: options.Authority = None,
    verbose: options.Verbose = 0,
) -> None:
    """Call a hub method and print its result as JSON.

    Exit status: 0 done, 1 the hub said no, 2 wrong usage, 3 no connection.
    """
    options.show_log(verbose)
    arguments = [argument(text) for text in _checked(args or [], context.obj)]
    settings = options.connection_options(token=token, header=header, insecure=insecure, ca=ca)

    async def call() -> Any:
        hub = HubConnection(url, protocol=protocol.value, transports=transport or None, reconnect=False, **settings)
        async with hub:
            return await hub.invoke(method, *arguments)

    result = options.run(call(), timeout=timeout)
    typer.echo(as_json(result))


def argument(text: str) -> Any:
    """Return the value that an argument of the command line stands for."""
    try:
        return json.loads(text, parse_constant=_refuse)
    except (ValueError, RecursionError):
        return text


def _refuse(name: str) -> None:
    # `NaN` and `Infinity` are no JSON: they are text here, as on the wire.
    raise ValueError(name)


def as_json(result: object) -> str:
    """Return a result as JSON; MessagePack brings values that JSON has not."""
    return json.dumps(_plain(result), ensure_ascii=False)


def _plain(value: object) -> object:
    match value:
        case None | bool() | int() | float() | str():
            return value
        case bytes():
            return base64.b64encode(value).decode()
        case datetime.datetime():
            return value.isoformat()
        case list() | tuple():
            return [_plain(item) for item in value]
        case dict():
            return {key if isinstance(key, str) else str(key): _plain(item) for key, item in value.items()}
        case _:
            return str(value)


def _checked(args: Sequence[str], given: Sequence[str]) -> Sequence[str]:
    """Refuse a mistyped option: everything after `--` is an argument, before it only what is a negative number."""
    free = given[given.index("--") :] if "--" in given else ()
    for text in args:
        if text.startswith("-") and text != "-" and text not in free and not _NUMBER.fullmatch(text):
            options.stop(options.WRONG_USAGE, f"there is no option {text}; for an argument of that text put -- first")
    return args
