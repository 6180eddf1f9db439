"""`signalr stream`: call a streaming hub method and print what comes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from . import options
from .arguments import Args, Context, Method, Source, uploaded, values
from .output import JsonLines

if TYPE_CHECKING:
    from .. import Stream

Limit = Annotated[
    float | None,
    typer.Option("--timeout", metavar="SECONDS", min=0.001, help="Limit for all of it; none by default."),
]


@options.connecting
def stream(
    context: Context,
    settings: options.Settings,
    url: options.Url,
    method: Method,
    args: Args = None,
    count: options.Count = None,
    upload: Source = None,
    timeout: Limit = None,
) -> None:
    """Call a streaming hub method and print its items as JSON, one a line.

    Exit status: 0 done, 1 the hub said no, 2 wrong usage, 3 no connection.
    """
    given = values(args, context.obj)

    async def call() -> None:
        with uploaded(upload) as lines:
            async with (
                JsonLines() as output,
                settings.hub(url, reconnect=False) as hub,
                hub.stream(method, *given, *lines) as items,
            ):
                await output.guard(_print(items, output, count))

    options.run(call(), timeout=timeout)


async def _print(items: Stream[object], output: JsonLines, count: int | None) -> None:
    printed = 0
    async for item in items:
        await output.write(item)
        printed += 1
        if printed == count:
            return
