"""`signalr connect`: talk to a hub line by line, across reconnects."""

from __future__ import annotations

import sys
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING

import attrs
import typer

from ... import ClassicServerError, ConnectionClosedError, NegotiationError, SetupError, TransportError
from ..._core import urls
from ..._core.redaction import redact_error
from .. import exit_status, options
from ..announced_retry import AnnouncedRetry, refused_setup
from ..bot_options import BotOptions
from ..classic_hubs import PERHAPS_CLASSIC, Hubs, classic_hubs
from ..connection_options import ConnectionOptions, ProtocolName
from ..json_output import JsonLines
from ..uploaded_lines import UploadedLines
from ..watched_protocol import WatchedProtocol
from .json_screen import JsonScreen
from .session import Session

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from ...messages import HubMessage
    from .session import Screen

_CORE = "; for a server of ASP.NET Core SignalR leave out --hub"


@options.command(
    "signalr connect http://localhost:5000/chat",
    "signalr connect http://localhost:5000/chat --call 'JoinRoom blue'",
    "printf 'Add 1 2\\nstream Counter 3\\n' | signalr connect http://localhost:5000/chat",
    "signalr connect https://example.com/signalr --hub Chat",
)
def connect(url: options.Url = None, hub: Hubs = None, *, bot: BotOptions, connection: ConnectionOptions) -> None:
    """Talk to a hub line by line: call methods, and see events between.

    In a pipe, lines come from standard input, and JSON lines go to standard output. The line `help` lists what to
    write: for example `Add 1 2`, `stream Counter 5`, `on Trade`.

    Exit status: 0 done, 1 the hub ended the connection, or a call of the pipe failed, 2 wrong usage, 3 no connection.
    """
    target = _Target(connection, connection.hub_url(url), bot, hub or [])
    is_interactive = sys.stdin.isatty() and sys.stdout.isatty()
    run = _interactive(target) if is_interactive else _piped(target)
    raise typer.Exit(connection.run(run, timeout=None, core=_CORE if hub else ""))


@attrs.frozen
class _Target:
    """Where to connect to.

    Attributes:
        connection: the options of the connection.
        url: the URL of the hub, or of all hubs of a classic server.
        bot: what to call on each connection, and what to answer.
        hubs: the hubs of a classic server that are wanted. Without any, the kind of the server is found out, and all
            hubs of a classic one are wanted.
    """

    connection: ConnectionOptions
    url: str
    bot: BotOptions
    hubs: list[str]

    async def enter(self, screen: Screen, stack: AsyncExitStack) -> Session:
        """Return a session whose connection is up; `stack` stops it."""
        policy = AnnouncedRetry(screen.note, self.connection.token_source)
        names: list[str] = self.hubs
        methods: list[str] = []
        if not names:
            session = self._core_session(screen, policy)
            try:
                await stack.enter_async_context(session.hub)
            except NegotiationError as error:
                found = await self._discover(error)
                names, methods = list(found), [f"{hub}.{method}" for hub in found for method in found[hub]]
                shown = ", ".join(names) or "none"
                screen.note(f"this is a classic ASP.NET SignalR server: write HUB.METHOD; its hubs are: {shown}")
            else:
                return session
        calls = [call.method for call in self.bot.calls]
        hubs = classic_hubs(self.connection, self.url, calls, hubs=names, reconnect=policy, retry_start=policy)
        session = Session(hubs, screen, self.bot)
        session.methods.update(dict.fromkeys(methods))
        await stack.enter_async_context(hubs)
        return session

    def _core_session(self, screen: Screen, policy: AnnouncedRetry) -> Session:
        def see(message: HubMessage) -> None:
            session.see(message)

        protocol = WatchedProtocol(self.connection.protocol or ProtocolName.JSON, see)
        hub = self.connection.hub(self.url, protocol=protocol, reconnect=policy, retry_start=policy)
        session = Session(hub, screen, self.bot)
        return session

    async def _discover(self, refusal: NegotiationError) -> dict[str, dict[str, tuple[str, ...]]]:
        """Return the hubs of a classic server, which has refused the negotiation; raise `refusal` for other servers."""
        is_classic = isinstance(refusal, ClassicServerError)
        if not is_classic and refusal.status not in PERHAPS_CLASSIC:
            raise refusal
        from ...classic import discover  # takes time that is needed only here

        try:
            return await discover(self.url, **self.connection.arguments)
        except TransportError as error:
            if not is_classic:
                raise refusal from None
            text = "this is a classic ASP.NET SignalR server, which does not list its hubs: name them with --hub"
            exit_status.fail(exit_status.WRONG_USAGE, f"{text}; {error}")


async def _interactive(target: _Target) -> int:
    # Import prompt_toolkit only here: in a pipe it is not needed, and it takes longer to import than typer.
    from .terminal import TerminalScreen, run_terminal

    screen = TerminalScreen()
    name = urls.without_query(target.url).rstrip("/").rpartition("/")[2]

    async def run(session: Session) -> int:
        screen.note("help lists what to write, Ctrl-D ends")
        await session.until_closed(run_terminal(session, name))
        return 0

    return await _talk(target, screen, run)


async def _piped(target: _Target) -> int:
    async with JsonLines() as output:

        async def run(session: Session) -> int:
            await output.run(session.until_closed(_run_lines(session)))
            if session.wrong_lines:
                return exit_status.WRONG_USAGE
            return exit_status.HUB_SAID_NO if session.failed_calls else 0

        return await _talk(target, JsonScreen(output), run)


async def _talk(target: _Target, screen: Screen, run: Callable[[Session], Awaitable[int]]) -> int:
    """Connect, run a session to its end, and return the exit status."""
    try:
        async with AsyncExitStack() as stack:
            return await run(await target.enter(screen, stack))
    except SetupError as error:
        return _refused(error)
    except ConnectionClosedError as error:
        exit_status.say(str(error))
        return exit_status.HUB_SAID_NO


async def _run_lines(session: Session) -> None:
    """Run the lines of standard input one after another."""
    async for text in UploadedLines("-", str):
        if not await session.start_line(text):
            return


def _refused(error: SetupError) -> int:
    refusal = refused_setup(error)
    if refusal is None:
        raise error
    exit_status.say(f"--call: {redact_error(refusal)}")
    return exit_status.HUB_SAID_NO
