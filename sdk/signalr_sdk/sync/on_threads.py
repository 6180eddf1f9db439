"""`OnThreads`: what asyncio connections need to be used from threads."""

from __future__ import annotations

from contextlib import suppress
from typing import Any

from .._life.managed_connection import ManagedConnection
from .daemon_threads import call_on_loop


class OnThreads(ManagedConnection[Any]):
    """A base class of asyncio connections that call the user's handlers on threads."""

    async def wait_ended(self) -> None:
        """Wait until the connection has ended, and then end its worker thread and tasks by `stop`.

        Does not call `stop` if the user has started the connection again meanwhile.
        """
        closed = self._life.closed
        with suppress(Exception):  # users get the error from `wait_closed` and `on_closed`
            await self.wait_closed()
        if self._life.closed is closed:
            await self.stop()

    def report(self, error: Exception) -> None:
        """Call the `on_error` handlers with an error that no method raises. May be called on any thread."""
        if (loop := self._dispatcher.loop) is not None:
            call_on_loop(loop, self._dispatcher.push_error, error)
