"""`signalr invoke`: call one hub method and print its result."""

from __future__ import annotations

from . import options
from .arguments import Args, Context, Method, Source, uploaded, values
from .output import print_json


@options.connecting
def invoke(
    context: Context,
    settings: options.Settings,
    url: options.Url,
    method: Method,
    args: Args = None,
    upload: Source = None,
    timeout: options.Timeout = 30.0,
) -> None:
    """Call a hub method and print its result as JSON.

    Exit status: 0 done, 1 the hub said no, 2 wrong usage, 3 no connection.
    """
    given = values(args, context.obj)

    async def call() -> None:
        with uploaded(upload) as lines:
            async with settings.hub(url, reconnect=False) as hub:
                result = await hub.invoke(method, *given, *lines)
        print_json(result)

    options.run(call(), timeout=timeout)
