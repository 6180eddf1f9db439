"""`signalr listen`: print the events of a hub, over all outages."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Annotated, Any

import attrs
import typer

from .. import ConnectionClosedError, Retry
from . import options
from .output import JsonLines, OutputError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from .. import HubConnection
    from ..retry import RetryContext

Events = Annotated[
    list[str] | None,
    typer.Argument(metavar="[EVENT]...", help="Their names, in any case; all by default.", show_default=False),
]
Duration = Annotated[
    float | None,
    typer.Option(
        "--timeout", metavar="SECONDS", min=0.001, help="How long to listen; for ever by default.", show_default=False
    ),
]


@options.connecting
def listen(
    settings: options.Settings,
    url: options.Url,
    events: Events = None,
    count: options.Count = None,
    timeout: Duration = None,
) -> None:
    """Print the events of a hub as JSON, one a line; lost connections come back by themselves.

    Exit status: 0 done, 1 the hub ended it, 2 wrong usage, 3 no connection, or fewer events in time than --count.
    """
    options.run(_Listening(settings, events or (), count).run(url, timeout), timeout=None)


@attrs.frozen
class _Announced:
    """The default policy, with a word about each delay."""

    policy: Retry = attrs.field(factory=Retry)

    def next_delay(self, context: RetryContext) -> float | None:
        """See `RetryPolicy`."""
        delay = self.policy.next_delay(context)
        if delay is not None:
            options.say(f"no connection, trying again in {delay:.1f} s: {context.error or 'the server closed it'}")
        return delay


class _Listening:
    """What is listened to, and how far it is."""

    def __init__(self, settings: options.Settings, events: Sequence[str], count: int | None) -> None:
        self._settings = settings
        self._wanted = frozenset(event.casefold() for event in events)
        self._left = count
        self._done = asyncio.Event()
        self._connected = False

    async def run(self, url: str, timeout: float | None) -> None:
        policy = _Announced()
        hub = self._settings.hub(url, reconnect=policy, retry_start=policy)
        async with JsonLines() as output:
            self._register(hub, output)
            scope = asyncio.timeout(timeout)
            try:
                async with scope:
                    await output.guard(self._listen(hub))
            except TimeoutError:
                if not scope.expired():
                    raise
                self._check_timeout(f"within {timeout:g} s")
            except ConnectionClosedError as error:
                # All other ends are followed by another attempt.
                options.stop(options.HUB_SAID_NO, str(error))

    def _check_timeout(self, within: str) -> None:
        if not self._connected:
            options.stop(options.NO_CONNECTION, f"no connection {within}")
        if self._left:
            options.stop(options.NO_CONNECTION, f"{self._left} more events did not come {within}")

    def _register(self, hub: HubConnection, output: JsonLines) -> None:
        # Not `on`: that would answer the hub's questions too.
        @hub.on_any
        async def event(name: str, arguments: tuple[Any, ...]) -> None:
            if self._done.is_set() or (self._wanted and name.casefold() not in self._wanted):
                return
            if self._left is not None:
                self._left -= 1
                if self._left == 0:
                    self._done.set()
            await output.write({"event": name, "arguments": arguments})

        @hub.on_connected
        def connected(_connection_id: str | None) -> None:
            self._connected = True
            options.say(f"connected over {hub.transport}")

        @hub.on_error
        def error(error: Exception) -> None:
            if not isinstance(error, OutputError):
                options.say(str(error))

    async def _listen(self, hub: HubConnection) -> None:
        """Return when there were enough events, or the hub has ended it in good order."""
        ends: set[asyncio.Task[Any]] = set()
        async with hub:
            try:
                ends |= {asyncio.create_task(self._done.wait()), asyncio.create_task(hub.wait_closed())}
                finished, _ = await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
                for task in finished:
                    task.result()
                if not self._done.is_set():
                    raise ConnectionClosedError("the server closed the connection")
            finally:
                for task in ends:
                    task.cancel()
