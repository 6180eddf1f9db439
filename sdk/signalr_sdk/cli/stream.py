"""`signalr stream`: call a streaming hub method and print its items."""

from __future__ import annotations

from typing import TYPE_CHECKING

from . import exit_status, options
from .arguments import MethodCall
from .connection_options import ConnectionOptions
from .json_output import JsonLines
from .uploaded_lines import uploaded_lines

if TYPE_CHECKING:
    from .. import Stream


@options.command
def stream(
    url: options.Url,
    call: MethodCall,
    count: options.Count = None,
    timeout: options.NoTimeout = None,
    *,
    connection: ConnectionOptions,
) -> None:
    """Call a streaming hub method and print its items as JSON, one per line.

    Exit status: 0 done, 1 the hub answered with an error, 2 wrong usage, 3 no connection.
    """

    async def run() -> None:
        with uploaded_lines(call.upload) as lines:
            async with (
                JsonLines() as output,
                connection.hub(url, reconnect=False) as hub,
                hub.stream(call.method, *call.arguments, *lines) as items,
            ):
                await output.run(_print(items, output, count))

    exit_status.run(run(), timeout=timeout)


async def _print(items: Stream[object], output: JsonLines, count: int | None) -> None:
    printed = 0
    async for item in items:
        await output.write(item)
        printed += 1
        if printed == count:
            return
