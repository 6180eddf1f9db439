"""`signalr stream`: call a streaming hub method and print its items."""

from __future__ import annotations

from typing import TYPE_CHECKING

from . import exit_status, options
from .arguments import CONTEXT, MethodCall
from .connection_options import ConnectionOptions
from .json_output import JsonLines
from .uploaded_lines import uploaded_lines

if TYPE_CHECKING:
    from .. import Stream


@options.command(
    "signalr stream http://localhost:5000/chat Counter 5",
    "signalr stream https://example.com/chat Prices --count 10",
    **CONTEXT,
)
def stream(
    call: MethodCall,
    count: options.Count = None,
    timeout: options.NoTimeout = None,
    *,
    connection: ConnectionOptions,
) -> None:
    """Call a streaming hub method and print its items as JSON.

    Each item is one line. Exit status: 0 done, 1 the hub answered with an error, 2 wrong usage, 3 no connection.
    """
    url, method, arguments = call.resolve(connection)

    async def run() -> None:
        with uploaded_lines(call.upload, call.parse) as lines:
            async with (
                JsonLines() as output,
                connection.hub(url, reconnect=False) as hub,
                hub.stream(method, *arguments, *lines) as items,
            ):
                await output.run(_print(items, output, count))

    connection.run(run(), timeout=timeout, sent=arguments, classic_hint=exit_status.CORE_ONLY)


async def _print(items: Stream[object], output: JsonLines, count: int | None) -> None:
    printed = 0
    async for item in items:
        await output.write(item)
        printed += 1
        if printed == count:
            return
