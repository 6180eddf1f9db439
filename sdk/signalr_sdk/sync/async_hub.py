"""`AsyncHub`: the asyncio connection that a `HubConnection` of `signalr_sdk.sync` runs on the event loop's thread."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from .._guard.futures import resolve
from .._hub.hub_connection import HubConnection
from ..messages import Invocation
from .daemon_threads import call_on_loop, run_on_thread
from .dispatcher import ThreadDispatcher, check_set_up
from .on_threads import OnThreads

if TYPE_CHECKING:
    from collections.abc import Callable


# The name under which the functions of `run_handler` are among the lifecycle events.
_OUTBOX = "outbox"


def _run(function: Callable[[], object], done: asyncio.Future[None]) -> None:
    try:
        function()
    finally:
        call_on_loop(done.get_loop(), resolve, done, None)


class AsyncHub(HubConnection, OnThreads):
    """An asyncio `HubConnection` that calls the user's handlers on threads.

    The methods must be called on the event loop's thread, unless their docstring allows any thread.
    """

    _dispatcher_class = ThreadDispatcher

    # Sending

    def _prepare(self, method: str, args: tuple[Any, ...]) -> tuple[list[Any], list[Any] | None]:
        check_set_up(self)
        return super()._prepare(method, args)

    @property
    def up(self) -> bool:
        """Whether the connection is up, so that `put_now` can send messages. May be read on any thread."""
        return self._life.link is not None

    def encode(self, method: str, args: tuple[Any, ...]) -> bytes:
        """Return the encoded invocation for a `send` without uploads. May be called on any thread."""
        arguments, _uploads = self._prepare(method, args)
        return self._protocol.encode(Invocation(method, arguments))

    def put_now(self, messages: list[bytes]) -> bool:
        """Put encoded messages into the outgoing buffer, even if the buffer is full.

        While the connection is down, the messages are lost, and a warning in the log says so.

        Returns:
            Whether the outgoing buffer is full now. The threads that send must then wait.
        """
        link = self._life.link
        if link is None:
            self._options.logs.hub.warning("%d messages were not sent before the connection ended", len(messages))
            return False
        for data in messages:
            link.outgoing.put_now(data)
        return link.outgoing.full

    async def room(self) -> None:
        """Wait until the messages of `put_now` are handed to the operating system, and the outgoing buffer has room."""
        if (link := self._life.link) is not None:
            await link.outgoing.flush()
            await link.outgoing.room()

    # Handlers of an outbox

    async def run_handler(self, function: Callable[[], object]) -> None:
        """Run a function on the worker thread of the connection, in its place among the events.

        Returns when the function has run, or when `stop()` has discarded it. While the connection is down for good, the
        function runs on a thread of its own.
        """
        closed = self._life.closed
        if closed is None or closed.done():
            await run_on_thread(function, "handler")
            return
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._handlers.add_lifecycle(_OUTBOX, _run)
        self._dispatcher.push_lifecycle(_OUTBOX, function, done)
        waits: set[asyncio.Future[Any]] = {done, closed}
        await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
