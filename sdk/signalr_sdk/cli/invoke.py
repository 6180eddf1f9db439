"""`signalr invoke`: call a hub method and print its result."""

from __future__ import annotations

from . import options
from .arguments import CONTEXT, MethodCall
from .classic_hubs import Classic, invoke_classic
from .connection_options import ConnectionOptions
from .json_output import print_json
from .uploaded_lines import uploaded_lines


@options.command(
    "signalr invoke http://localhost:5000/chat Add 1 2",
    'signalr invoke https://example.com/chat Post \'{"text": "hello"}\' --token-file token.txt',
    "signalr invoke --classic https://example.com/signalr Chat.Add 1 2",
    "seq 1 1000 | signalr invoke http://localhost:5000/chat Sum --upload -",
    **CONTEXT,
)
def invoke(
    call: MethodCall, timeout: options.Timeout = 30.0, classic: Classic = False, *, connection: ConnectionOptions
) -> None:
    """Call a hub method and print its result as JSON.

    Exit status: 0 done, 1 the hub answered with an error, 2 wrong usage, 3 no connection.
    """
    url, method, arguments = call.resolve(connection)
    if classic:
        invoke_classic(call, connection, timeout)
        return

    async def run() -> None:
        with uploaded_lines(call.upload, call.parse) as lines:
            async with connection.hub(url, reconnect=False) as hub:
                result = await hub.invoke(method, *arguments, *lines)
        print_json(result)

    connection.run(run(), timeout=timeout, sent=arguments)
