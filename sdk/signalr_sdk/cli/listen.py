"""`signalr listen`: print the events of a hub, across reconnects."""

from __future__ import annotations

import asyncio
import datetime
from typing import TYPE_CHECKING, Annotated, Any

from .. import ConnectionClosedError, HubConnection, SetupError, Timeouts
from .._core.redaction import redact_error
from .._guard.tasks import spawn
from . import exit_status, options
from .announced_retry import AnnouncedRetry, refused_setup
from .bot_options import BotOptions
from .classic_hubs import HINT, Classic, ClassicHubs, classic_hubs, is_wanted
from .connection_options import ConnectionOptions
from .hub_errors import explained
from .json_output import JsonLines, OutputError

if TYPE_CHECKING:
    from collections.abc import Sequence

_EVENTS_HELP = "Names of events, in any case; all events by default."
_FOR_HELP = "Listen for this long, and end with status 0."
_IDLE_HELP = "Connect anew when the hub has sent nothing for this long."
_TIMESTAMPS_HELP = "Add the time to events and to what happens to the connection, in UTC."
Events = Annotated[list[str] | None, options.positional("[EVENT]...", _EVENTS_HELP)]
Named = Annotated[
    list[str] | None, options.option("--event", "-e", metavar="EVENT", help="The same as [EVENT]. Repeatable.")
]
For = Annotated[float | None, options.seconds("--for", help=_FOR_HELP)]
Idle = Annotated[float | None, options.seconds("--idle", help=_IDLE_HELP)]
Timestamps = Annotated[bool, options.option("--timestamps", "-t", help=_TIMESTAMPS_HELP)]


@options.command(
    "signalr listen http://localhost:5000/chat",
    "signalr listen https://example.com/chat Trade Quote --count 10",
    "signalr listen --classic https://example.com/signalr Chat.addMessage News.*",
    "signalr listen http://localhost:5000/chat --call 'JoinRoom blue' --for 10s",
    "signalr listen http://localhost:5000/chat --answer 'YourName=\"Anna\"'",
)
def listen(
    url: options.Url = None,
    events: Events = None,
    event: Named = None,
    count: options.Count = None,
    duration: For = None,
    timeout: options.NoTimeout = None,
    idle: Idle = None,
    timestamps: Timestamps = False,
    classic: Classic = False,
    *,
    bot: BotOptions,
    connection: ConnectionOptions,
) -> None:
    """Print the events of a hub as JSON, over all outages.

    Each event is one line. A server that is not there is waited for, until --for or --timeout.

    Exit status: 0 done, 1 the hub ended the connection or refused a --call, 2 wrong usage, 3 no connection, or fewer
    than --count events before --timeout.
    """
    hub_url, names = connection.split_url([*([url] if url is not None else []), *(events or ())])
    if spoiled := next((name for name in names if " " in name), None):
        text = f"{spoiled!r} is no name of an event; write --call again for a second call, or --event for such a name"
        exit_status.fail(exit_status.WRONG_USAGE, text)
    if duration is not None and timeout is not None:
        exit_status.fail(exit_status.WRONG_USAGE, "--for and --timeout exclude each other; leave out one of them")
    listening = _Listening([*names, *(event or ())], bot, count=count, has_times=timestamps)
    policy = AnnouncedRetry(listening.say, connection.token_source)
    more: dict[str, Any] = {"reconnect": policy, "retry_start": policy, "timeouts": Timeouts(idle=idle)}
    if classic:
        hubs = classic_hubs(connection, hub_url, listening.classic_names(), **more)
        connection.run(listening.run(hubs, timeout, duration), timeout=None, core=HINT)
        return
    # `HubConnection` needs a running event loop only when it starts.
    hub = connection.hub(hub_url, **more)
    connection.run(listening.run(hub, timeout, duration), timeout=None)


class _Listening:
    """One run of `signalr listen`. Knows which events to print, and how many events are still to come."""

    def __init__(self, events: Sequence[str], bot: BotOptions, *, count: int | None, has_times: bool) -> None:
        self._wanted = frozenset(event.casefold() for event in events)
        self._events = events
        self._bot = bot
        self._left = count
        self._has_times = has_times
        self._done = asyncio.Event()
        self._has_connected = False

    def say(self, text: str) -> None:
        """Say what happens to the connection, on standard error."""
        exit_status.say(f"{_time()} {text}" if self._has_times else text)

    def classic_names(self) -> list[str]:
        """Return the events and methods of classic hubs that the user has named. None is wrong usage."""
        if self._bot.answers:
            exit_status.fail(exit_status.WRONG_USAGE, "--answer and --classic exclude each other: leave out one")
        if not self._events:
            exit_status.fail(exit_status.WRONG_USAGE, "name the events: Chat.addMessage, or Chat.* for all of a hub")
        return [*self._events, *(call.method for call in self._bot.calls)]

    async def run(self, hub: HubConnection | ClassicHubs, timeout: float | None, duration: float | None) -> None:
        """Print events until the count is reached, the time is over, or the hub ends the connection."""
        async with JsonLines() as output:
            self._register(hub, output)
            scope = asyncio.timeout(timeout if duration is None else duration)
            try:
                async with scope:
                    await output.run(self._listen(hub))
            except TimeoutError:
                if not scope.expired():
                    raise
                self._check_timeout(timeout, duration)
            except ConnectionClosedError as error:
                # This error means that the hub has sent a Close message that forbids to reconnect: after any other loss
                # of the connection, the retry policy reconnects.
                exit_status.fail(exit_status.HUB_SAID_NO, str(error))
            except SetupError as error:
                if (refusal := refused_setup(error)) is None:
                    raise
                sent = next((call.arguments for call in self._bot.calls if call.method == refusal.method), None)
                quotes = "" if sent else "; quote a call with its arguments: --call 'JoinRoom blue'"
                exit_status.fail(exit_status.HUB_SAID_NO, f"--call: {explained(refusal, sent)}{quotes}")

    def _check_timeout(self, timeout: float | None, duration: float | None) -> None:
        within = f"within {timeout if duration is None else duration:g} s"
        if not self._has_connected:
            exit_status.fail(exit_status.NO_CONNECTION, f"no connection {within}")
        if self._left and duration is None:
            exit_status.fail(exit_status.NO_CONNECTION, f"{self._left} more events did not come {within}")

    def _register(self, hub: HubConnection | ClassicHubs, output: JsonLines) -> None:
        async def show(name: str, arguments: tuple[Any, ...]) -> None:
            if self._counts(name):
                at = {"time": _time()} if self._has_times else {}
                await output.write({**at, "event": name, "arguments": arguments})

        # Do not use `on` for events: if the hub asks for a client result, a handler of `on` would answer with `None`,
        # as if this command had the method. With `on_any` alone, the hub gets an error as the answer.
        hub.on_any(show)
        self._bot.set_up(hub)
        if not isinstance(hub, ClassicHubs):
            self._bot.answer(hub, show)

        @hub.on_connected
        def connected(_connection_id: str | None) -> None:
            again, self._has_connected = self._has_connected, True
            self.say(f"connected {'again ' if again else ''}over {hub.transport}{self._more(again=again)}")

        @hub.on_error
        def error(error: Exception) -> None:
            if not isinstance(error, OutputError):
                self.say(redact_error(error))

    def _more(self, *, again: bool) -> str:
        """Return what the user should know beside that there is a connection."""
        if not again:
            return f"; prints only {', '.join(self._events)}" if self._events else ""
        calls = ", ".join(call.method for call in self._bot.calls)
        called = f"; called {calls} again" if calls else ""
        return f"{called}; what the hub sent meanwhile is lost"

    def _counts(self, name: str) -> bool:
        """Count an event. Return whether the event is to be printed."""
        if self._done.is_set() or (self._wanted and not is_wanted(name, self._wanted)):
            return False
        if self._left is not None:
            self._left -= 1
            if self._left == 0:
                self._done.set()
        return True

    async def _listen(self, hub: HubConnection | ClassicHubs) -> None:
        """Connect, and wait until `--count` events have come. Raise an error if the connection ends earlier."""
        ends: set[asyncio.Task[Any]] = set()
        async with hub:
            try:
                ends |= {spawn(self._done.wait(), "count"), spawn(hub.wait_closed(), "end of the hub")}
                finished, _ = await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
                for task in finished:
                    task.result()
                if not self._done.is_set():
                    raise ConnectionClosedError("the server closed the connection")
            finally:
                for task in ends:
                    task.cancel()


def _time() -> str:
    return datetime.datetime.now(datetime.UTC).isoformat()
