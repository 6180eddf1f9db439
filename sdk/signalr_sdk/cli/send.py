"""`signalr send`: call a hub method without waiting for its result, once or for each line of a file."""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Annotated, Any

from .. import SignalRError
from . import exit_status, options
from .arguments import CONTEXT, MethodCall
from .classic_hubs import HINT, Classic, ClassicHubs, classic_hub
from .connection_options import ConnectionOptions
from .uploaded_lines import uploaded_lines

if TYPE_CHECKING:
    from .. import HubConnection

_FROM_HELP = "One call for each line: a JSON array of arguments, or one argument; - is standard input."
_LIMIT_HELP = "Limit for the whole command; none with --from."
Limit = Annotated[float | None, options.seconds("--timeout", help=_LIMIT_HELP, show_default="30s")]
From = Annotated[str | None, options.option("--from", metavar="FILE", help=_FROM_HELP)]


@options.command(
    "signalr send http://localhost:5000/chat SendMessage me hello",
    'echo \'["me", "hello"]\' | signalr send http://localhost:5000/chat SendMessage --from -',
    **CONTEXT,
)
def send(
    call: MethodCall,
    source: From = None,
    timeout: Limit = None,
    classic: Classic = False,
    *,
    connection: ConnectionOptions,
) -> None:
    """Call a hub method without asking for a result. Only a classic hub may say that the method failed.

    Exit status: 0 sent, 2 wrong usage, 3 no connection.
    """
    url, method, arguments = call.resolve(connection)
    if source is not None and call.upload is not None:
        exit_status.fail(exit_status.WRONG_USAGE, "--from and --upload exclude each other; leave out one of them")

    hub_at = functools.partial(classic_hub, call, connection) if classic else connection.hub

    async def run() -> None:
        hub = hub_at(url, reconnect=False)
        if isinstance(hub, ClassicHubs):
            hub.on_error(lambda error: exit_status.say(str(error)))
        async with hub:
            if source is not None:
                await _send_lines(hub, source, call, method, arguments)
            else:
                await _send_once(hub, call, method, arguments)
            await hub.flush()

    limit = timeout if timeout is not None or source is not None else _LIMIT
    connection.run(run(), timeout=limit, core=HINT if classic else "")


_LIMIT = 30.0  # seconds, for a single call


async def _send_once(hub: HubConnection | ClassicHubs, call: MethodCall, method: str, arguments: list[Any]) -> None:
    with uploaded_lines(call.upload, call.parse) as lines:
        await hub.send(method, *arguments, *lines)
        for each in lines:
            await each.wait_finished()


async def _send_lines(
    hub: HubConnection | ClassicHubs, source: str, call: MethodCall, method: str, arguments: list[Any]
) -> None:
    with uploaded_lines(source, call.parse, option="--from") as (lines,):
        sent = 0
        try:
            async for value in lines:
                if value != "":
                    more = value if isinstance(value, list) else [value]
                    await hub.send(method, *arguments, *more)
                    sent += 1
        except SignalRError:
            exit_status.say(f"{sent} lines were sent before the connection failed")
            raise
