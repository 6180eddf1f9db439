"""Runs the lines of `signalr connect` over a hub connection, and shows what the hub sends."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Protocol

from ... import ConnectionClosedError, ConnectionState, HubError, SignalRError
from ..._core.redaction import redact_error, shortened
from ..._guard.tasks import spawn
from ...messages import Invocation
from ..bot_options import answer_calls
from ..classic_hubs import ClassicHubs, is_wanted
from ..hub_errors import explained
from ..json_output import as_json
from ..option_words import in_options
from .lines import HELP, Line, Verb, parse_line

if TYPE_CHECKING:
    from collections.abc import Coroutine

    from ... import HubConnection
    from ...messages import HubMessage
    from ..bot_options import BotOptions


# So many names are kept for the completion. A hub could send events with ever new names.
_MOST_NAMES = 1000
_LONGEST = 60  # characters of a line that was cancelled, or of arguments


class Screen(Protocol):
    """Shows what happens: to a user on a terminal, or to a program as JSON lines."""

    async def event(self, name: str, arguments: tuple[Any, ...]) -> None:
        """Show an event, or a call of a method of this client."""
        ...

    async def result(self, method: str, value: Any) -> None:
        """Show the result of a call."""
        ...

    async def item(self, method: str, value: Any) -> None:
        """Show an item of a stream."""
        ...

    async def ended(self, method: str, count: int) -> None:
        """Show that a stream has ended after `count` items."""
        ...

    async def sent(self, method: str) -> None:
        """Show that a call without a result was sent."""
        ...

    async def failed(self, what: str, why: str) -> None:
        """Show that a call or a line has failed."""
        ...

    def note(self, text: str) -> None:
        """Show something about the connection, or the help."""
        ...


class Session:
    """One run of `signalr connect`.

    Args:
        hub: the connection.
        screen: shows what happens.
        bot: what to call on each connection, and what to answer.

    Raises:
        ValueError: the bot is to answer a classic server.

    Attributes:
        hub: the connection.
        methods: the methods that were called, for the completion.
        events: the events that came, for the completion.
        wrong_lines: how many lines made no sense.
        failed_calls: how many calls failed.
        has_connected: whether the connection was up at least once.
    """

    def __init__(self, hub: HubConnection | ClassicHubs, screen: Screen, bot: BotOptions) -> None:
        self.methods: dict[str, None] = {}
        self.events: dict[str, None] = {}
        self.wrong_lines: int = 0
        self.failed_calls: int = 0
        self.has_connected = False
        self.hub = hub
        self._screen = screen
        self._bot = bot
        # The events to show: `None` for all but those in `_hidden`.
        self._shown: set[str] | None = None
        self._hidden: set[str] = set()
        self._answered = {method.casefold() for method in bot.answers}
        # The lines that run, each with its text.
        self._running: dict[asyncio.Task[bool], str] = {}
        self._register()

    @property
    def is_connected(self) -> bool:
        """Whether the connection is up."""
        return self.hub.state is ConnectionState.CONNECTED

    def see(self, message: HubMessage) -> None:
        """Show a call of a method of this client that nobody answers: it is no event."""
        if not isinstance(message, Invocation) or message.invocation_id is None:
            return
        name = message.target
        if name.casefold() not in self._answered:
            call = f"{name}({shortened(', '.join(map(as_json, message.arguments)), _LONGEST)})"
            text = f"the hub calls {call} and gets no answer; to answer, write answer {name}=VALUE"
            # This is called while a message is decoded: an error of the screen must not end the connection.
            asyncio.get_running_loop().call_soon(self._screen.note, text)

    async def run_line(self, text: str) -> bool:
        """Do what a line says, and return after it is done. Return whether the session goes on."""
        try:
            line = parse_line(text)
            if line is not None and line.verb is Verb.EXIT:
                return False
            if line is not None:
                await self._run(line)
        except ValueError as error:
            self.wrong_lines += 1
            await self._screen.failed(text.split(maxsplit=1)[0], str(error))
        return True

    def start_line(self, text: str) -> asyncio.Task[bool]:
        """Start a task that runs `run_line`, and return it: the user can write the next line meanwhile."""
        task = spawn(self.run_line(text), "line")
        self._running[task] = text.strip()
        task.add_done_callback(self._running.pop)
        return task

    def cancel_calls(self) -> bool:
        """Cancel the calls that run, and show which. Return whether there were any."""
        running = {task: text for task, text in self._running.items() if not task.done()}
        if running:
            self._screen.note(f"cancelled: {'; '.join(shortened(text, _LONGEST) for text in running.values())}")
        for task in running:
            task.cancel()
        return bool(running)

    async def until_closed(self, reading: Coroutine[Any, Any, None]) -> None:
        """Run `reading`, which reads lines, to its end; cancel it when the connection has ended for good.

        Raises:
            ConnectionClosedError: the connection has ended for good.
        """
        task, closed = spawn(reading, "lines"), spawn(self.hub.wait_closed(), "end of the hub")
        try:
            await asyncio.wait({task, closed}, return_when=asyncio.FIRST_COMPLETED)
            if task.done():
                task.result()
            else:
                closed.result()
                raise ConnectionClosedError("the server closed the connection")
        finally:
            ends = {task, closed, *self._running}
            self.cancel_calls()
            task.cancel()
            closed.cancel()
            await asyncio.wait(ends)

    async def _run(self, line: Line) -> None:
        match line.verb:
            case Verb.HELP:
                self._screen.note(HELP)
            case Verb.ON | Verb.OFF:
                self._choose(line)
            case Verb.ANSWER:
                self._answer(line)
            case _:
                await self._call(line)

    async def _call(self, line: Line) -> None:
        _remember(self.methods, line.name)
        try:
            # Wait for as long as it takes: without this, a call fails after `Timeouts.ready`.
            await self.hub.wait_connected()
            if line.verb is Verb.STREAM:
                await self._stream(line)
            elif line.verb is Verb.SEND:
                await self.hub.send(line.name, *line.arguments)
                await self._screen.sent(line.name)
            else:
                await self._screen.result(line.name, await self.hub.invoke(line.name, *line.arguments))
        except HubError as error:
            self.failed_calls += 1
            await self._screen.failed(line.name, explained(error, line.arguments))
        except (SignalRError, ValueError) as error:
            self.failed_calls += 1
            await self._screen.failed(line.name, in_options(redact_error(error)))

    async def _stream(self, line: Line) -> None:
        count = 0
        async with self._core().stream(line.name, *line.arguments) as items:
            async for item in items:
                await self._screen.item(line.name, item)
                count += 1
        await self._screen.ended(line.name, count)

    def _choose(self, line: Line) -> None:
        """Change which events are shown."""
        name = line.name.casefold()
        if name and isinstance(self.hub, ClassicHubs):
            self.hub.check(line.name)
        if not name:
            self._shown, self._hidden = (None if line.verb is Verb.ON else set()), set()
        elif line.verb is Verb.ON:
            self._shown = (self._shown or set()) | {name}
            self._hidden.discard(name)
        elif self._shown is None:
            self._hidden.add(name)
        else:
            self._shown.discard(name)
        if self._shown is None:
            but = f" but {', '.join(sorted(self._hidden))}" if self._hidden else ""
            self._screen.note(f"all events are shown{but}")
        else:
            self._screen.note(f"events that are shown: {', '.join(sorted(self._shown)) or 'none'}")

    def _answer(self, line: Line) -> None:
        hub = self._core()
        # A second answer for the same method takes the place of the first.
        hub.off(line.name)
        self._answered.add(line.name.casefold())
        answer_calls(hub, line.name, line.arguments[0], self._event)
        self._screen.note(f"calls of {line.name} are answered")

    async def _event(self, name: str, arguments: tuple[Any, ...]) -> None:
        _remember(self.events, name)
        if is_wanted(name, self._hidden) or (self._shown is not None and not is_wanted(name, self._shown)):
            return
        await self._screen.event(name, arguments)

    def _core(self) -> HubConnection:
        """Return the connection. Raise a `ValueError` for a classic server, whose protocol lacks some verbs."""
        if isinstance(self.hub, ClassicHubs):
            text = "a classic server has no streams, and asks a client for no answers"
            raise ValueError(text)  # noqa: TRY004 - the line of the user is wrong, and not a type
        return self.hub

    def _register(self) -> None:
        hub, screen = self.hub, self._screen
        # Do not use `on` for events: if the hub asks for a client result, a handler of `on` would answer with `None`.
        hub.on_any(self._event)
        self._bot.set_up(hub)
        if self._bot.answers:
            self._bot.answer(self._core(), self._event)

        @hub.on_connected
        def connected(_connection_id: str | None) -> None:
            again = " again" if self.has_connected else ""
            joined = "; groups that you have joined are gone, join again" if again and not self._bot.calls else ""
            self.has_connected = True
            screen.note(f"connected{again} over {hub.transport}{joined}")

        @hub.on_error
        def error(error: Exception) -> None:
            screen.note(redact_error(error))


def _remember(names: dict[str, None], name: str) -> None:
    if len(names) < _MOST_NAMES:
        names[name] = None
