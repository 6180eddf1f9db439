"""`signalr listen`: print the events of a hub, across reconnects."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Annotated, Any

import attrs

from .. import ConnectionClosedError, HubConnection, Retry
from .._core.redaction import redact_error
from .._guard.tasks import spawn
from . import exit_status, options
from .connection_options import ConnectionOptions
from .json_output import JsonLines, OutputError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ..retry import RetryContext

_EVENTS_HELP = "Names of events, in any case; all events by default."


@options.command(
    "signalr listen http://localhost:5000/chat",
    "signalr listen https://example.com/chat Trade Quote --count 10",
)
def listen(
    url: options.Url = None,
    events: Annotated[list[str] | None, options.positional("[EVENT]...", _EVENTS_HELP)] = None,
    count: options.Count = None,
    timeout: options.NoTimeout = None,
    *,
    connection: ConnectionOptions,
) -> None:
    """Print the events of a hub as JSON, over all outages.

    Each event is one line.

    Exit status: 0 done, 1 the hub ended the connection, 2 wrong usage, 3 no connection, or fewer than --count events
    before --timeout.
    """
    hub_url, names = connection.split_url([*([url] if url is not None else []), *(events or ())])
    exit_status.run(_Listening(connection, names, count=count).run(hub_url, timeout), timeout=None)


@attrs.frozen
class _AnnouncedRetry:
    """The default retry policy, but with a message on standard error before each delay."""

    policy: Retry = attrs.field(factory=Retry)

    def next_delay(self, context: RetryContext) -> float | None:
        """See `RetryPolicy`."""
        delay = self.policy.next_delay(context)
        if delay is not None:
            why = redact_error(context.error) if context.error else "the server closed it"
            exit_status.say(f"no connection, trying again in {delay:.1f} s: {why}")
        return delay


class _Listening:
    """One run of `signalr listen`. Knows which events to print, and how many events are still to come."""

    def __init__(self, connection: ConnectionOptions, events: Sequence[str], *, count: int | None) -> None:
        self._connection = connection
        self._wanted = frozenset(event.casefold() for event in events)
        self._left = count
        self._done = asyncio.Event()
        self._has_connected = False

    async def run(self, url: str, timeout: float | None) -> None:
        policy = _AnnouncedRetry()
        hub = self._connection.hub(url, reconnect=policy, retry_start=policy)
        async with JsonLines() as output:
            self._register(hub, output)
            scope = asyncio.timeout(timeout)
            try:
                async with scope:
                    await output.run(self._listen(hub))
            except TimeoutError:
                if not scope.expired():
                    raise
                self._check_timeout(f"within {timeout:g} s")
            except ConnectionClosedError as error:
                # This error means that the hub has sent a Close message that forbids to reconnect: after any other loss
                # of the connection, the retry policy reconnects.
                exit_status.fail(exit_status.HUB_SAID_NO, str(error))

    def _check_timeout(self, within: str) -> None:
        if not self._has_connected:
            exit_status.fail(exit_status.NO_CONNECTION, f"no connection {within}")
        if self._left:
            exit_status.fail(exit_status.NO_CONNECTION, f"{self._left} more events did not come {within}")

    def _register(self, hub: HubConnection, output: JsonLines) -> None:
        # Do not use `on`: if the hub asks for a client result, a handler of `on` would answer with `None`, as if this
        # command had the method. With `on_any` alone, the hub gets an error as the answer.
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
            self._has_connected = True
            exit_status.say(f"connected over {hub.transport}")

        @hub.on_error
        def error(error: Exception) -> None:
            if not isinstance(error, OutputError):
                exit_status.say(redact_error(error))

    async def _listen(self, hub: HubConnection) -> None:
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
