"""`signalr connect`: talk to a hub line by line, across reconnects."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import typer

from ... import ConnectionClosedError, SetupError
from ..._core import urls
from ..._core.redaction import redact_error
from .. import exit_status, options
from ..announced_retry import AnnouncedRetry, refused_setup
from ..bot_options import BotOptions
from ..connection_options import ConnectionOptions, ProtocolName
from ..json_output import JsonLines
from ..uploaded_lines import UploadedLines
from ..watched_protocol import WatchedProtocol
from .json_screen import JsonScreen
from .session import Session

if TYPE_CHECKING:
    from ...messages import HubMessage
    from .session import Screen


@options.command(
    "signalr connect http://localhost:5000/chat",
    "signalr connect http://localhost:5000/chat --call 'JoinRoom blue'",
    "printf 'Add 1 2\\nstream Counter 3\\n' | signalr connect http://localhost:5000/chat",
)
def connect(url: options.Url = None, *, bot: BotOptions, connection: ConnectionOptions) -> None:
    """Talk to a hub line by line: call methods, and see events between.

    In a pipe, lines come from standard input, and JSON lines go to standard output. The line `help` lists what to
    write: for example `Add 1 2`, `stream Counter 5`, `on Trade`.

    Exit status: 0 done, 1 the hub ended the connection, or a call of the pipe failed, 2 wrong usage, 3 no connection.
    """
    hub_url = connection.hub_url(url)
    is_interactive = sys.stdin.isatty() and sys.stdout.isatty()
    run = _interactive(connection, hub_url, bot) if is_interactive else _piped(connection, hub_url, bot)
    raise typer.Exit(connection.run(run, timeout=None))


async def _interactive(connection: ConnectionOptions, url: str, bot: BotOptions) -> int:
    # Import prompt_toolkit only here: in a pipe it is not needed, and it takes longer to import than typer.
    from .terminal import TerminalScreen, run_terminal

    screen = TerminalScreen()
    session = _session(connection, url, bot, screen)
    name = urls.without_query(url).rstrip("/").rpartition("/")[2]
    try:
        async with session.hub:
            screen.note("help lists what to write, Ctrl-D ends")
            await session.until_closed(run_terminal(session, name))
    except SetupError as error:
        return _refused(error)
    except ConnectionClosedError as error:
        exit_status.say(str(error))
        return exit_status.HUB_SAID_NO
    return 0


async def _piped(connection: ConnectionOptions, url: str, bot: BotOptions) -> int:
    async with JsonLines() as output:
        session = _session(connection, url, bot, JsonScreen(output))
        try:
            async with session.hub:
                await output.run(session.until_closed(_run_lines(session)))
        except SetupError as error:
            return _refused(error)
        except ConnectionClosedError as error:
            exit_status.say(str(error))
            return exit_status.HUB_SAID_NO
    if session.wrong_lines:
        return exit_status.WRONG_USAGE
    return exit_status.HUB_SAID_NO if session.failed_calls else 0


async def _run_lines(session: Session) -> None:
    """Run the lines of standard input one after another."""
    async for text in UploadedLines("-", str):
        if not await session.start_line(text):
            return


def _session(connection: ConnectionOptions, url: str, bot: BotOptions, screen: Screen) -> Session:
    policy = AnnouncedRetry(screen.note, connection.token_source)

    def see(message: HubMessage) -> None:
        session.see(message)

    protocol = WatchedProtocol(connection.protocol or ProtocolName.JSON, see)
    hub = connection.hub(url, protocol=protocol, reconnect=policy, retry_start=policy)
    session = Session(hub, screen, bot)
    return session


def _refused(error: SetupError) -> int:
    refusal = refused_setup(error)
    if refusal is None:
        raise error
    exit_status.say(f"--call: {redact_error(refusal)}")
    return exit_status.HUB_SAID_NO
