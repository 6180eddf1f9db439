"""`signalr send`: call a hub method without waiting for its result."""

from __future__ import annotations

from . import exit_status, options
from .arguments import MethodCall
from .connection_options import ConnectionOptions
from .uploaded_lines import uploaded_lines


@options.command
def send(url: options.Url, call: MethodCall, timeout: options.Timeout = 30.0, *, connection: ConnectionOptions) -> None:
    """Call a hub method without asking for a result: the hub does not say whether the method worked.

    Exit status: 0 sent, 2 wrong usage, 3 no connection.
    """

    async def run() -> None:
        with uploaded_lines(call.upload) as lines:
            async with connection.hub(url, reconnect=False) as hub:
                await hub.send(call.method, *call.arguments, *lines)
                for each in lines:
                    await each.wait_finished()
                await hub.flush()

    exit_status.run(run(), timeout=timeout)
