"""`signalr send`: call one hub method without waiting for an answer."""

from __future__ import annotations

from . import options
from .arguments import Args, Context, Method, Source, uploaded, values


@options.connecting
def send(
    context: Context,
    settings: options.Settings,
    url: options.Url,
    method: Method,
    args: Args = None,
    upload: Source = None,
    timeout: options.Timeout = 30.0,
) -> None:
    """Call a hub method and ask for no answer: whether it works is not known.

    Exit status: 0 it was sent, 2 wrong usage, 3 no connection.
    """
    given = values(args, context.obj)

    async def call() -> None:
        with uploaded(upload) as lines:
            async with settings.hub(url, reconnect=False) as hub:
                await hub.send(method, *given, *lines)
                for each in lines:
                    await each.wait_over()
                await hub.flush()

    options.run(call(), timeout=timeout)
