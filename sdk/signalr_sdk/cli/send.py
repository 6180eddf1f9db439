"""`signalr send`: call a hub method without waiting for its result."""

from __future__ import annotations

from . import exit_status, options
from .arguments import CONTEXT, MethodCall
from .connection_options import ConnectionOptions
from .uploaded_lines import uploaded_lines


@options.command(
    "signalr send http://localhost:5000/chat SendMessage me hello",
    **CONTEXT,
)
def send(call: MethodCall, timeout: options.Timeout = 30.0, *, connection: ConnectionOptions) -> None:
    """Call a hub method without asking for a result. The hub does not say whether the method worked.

    Exit status: 0 sent, 2 wrong usage, 3 no connection.
    """
    url, method, arguments = call.resolve(connection)

    async def run() -> None:
        with uploaded_lines(call.upload, call.parse) as lines:
            async with connection.hub(url, reconnect=False) as hub:
                await hub.send(method, *arguments, *lines)
                for each in lines:
                    await each.wait_finished()
                await hub.flush()

    exit_status.run(run(), timeout=timeout)
