"""`Status`: what a connection is at the moment, and the callers that wait until the connection is up."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Generic, TypeVar, cast

from .._core.lifecycle import Lifecycle, State
from .._core.redaction import redact_error
from .._guard.copying import copy_of
from .._guard.futures import fail, resolve
from ..errors import NotConnectedError, StateError
from .link import Link

if TYPE_CHECKING:
    from .._connecting.options import ConnectionOptions
    from .._receiving.dispatcher import Dispatcher
    from ..options import ConnectionState

L = TypeVar("L", bound=Link)


class Status(Generic[L]):
    """The live link and the state of a connection. Only the subclass, `Supervisor`, changes them.

    Args:
        options: the options of the connection.
        dispatcher: knows which task belongs to a set-up.
        resuming: the state that users see while a connection is resumed.

    Attributes:
        link: the live connection; `None` if not connected.
        links: how many connections were up so far: the number of the live one.
        lifecycle: the state of the connection.
        closed: a future that is resolved when the connection has ended. The result is the error that ended the
            connection, or `None` if there was no error. Before the first `start`, `closed` itself is `None`.
        loop: the event loop on which `start` was called; `None` if the connection is `DISCONNECTED`.
        thread: the id of the thread of that loop.
    """

    def __init__(self, options: ConnectionOptions, dispatcher: Dispatcher, resuming: ConnectionState) -> None:
        self.link: L | None = None
        self.links: int = 0
        self.lifecycle = Lifecycle(resuming)
        self.closed: asyncio.Future[Exception | None] | None = None
        self.loop: asyncio.AbstractEventLoop | None = None
        self.thread = 0
        self._timeouts = options.timeouts
        self._dispatcher = dispatcher
        # Added to the text of `NotConnectedError`. Empty, unless the program (not `stop`) has ended the connection.
        self._hint = ""
        self._waiters: dict[asyncio.Future[None], None] = {}

    async def ready(self) -> L:
        """Return the live connection. If the connection is not up yet, wait for at most `Timeouts.ready` seconds.

        Raises:
            NotConnectedError: the connection is disconnected, or was not up within `Timeouts.ready`.
        """
        try:
            async with asyncio.timeout(self._timeouts.ready):
                return await self._next_link()
        except TimeoutError:
            raise NotConnectedError(
                f"not connected, and no connection came within {self._timeouts.ready:g} s (Timeouts.ready)",
                self.lifecycle.public,
            ) from None

    async def wait_connected(self) -> None:
        """Wait until the connection is up. If the connection ends instead, raise the error that ended it."""
        if self._dispatcher.in_set_up:
            raise StateError("an on_setup handler cannot wait for the connection, which is up only after the handlers")
        try:
            await self._next_link()
        except NotConnectedError as error:
            ended = error.__cause__
            if ended is None:
                raise
            of_handler = self._dispatcher.failed is ended
            raise (ended if of_handler else copy_of(ended)) from ended.__cause__

    async def _next_link(self) -> L:
        """Return the live connection. If the connection is not up yet, wait without a time limit.

        In an `on_setup` handler, return the new connection, which is not up yet.

        Raises:
            NotConnectedError: the connection is disconnected, or ended during the wait. The error that ended the
                connection is the `__cause__`.
        """
        if self._dispatcher.in_set_up and self._dispatcher.set_up is not None:
            return cast("L", self._dispatcher.set_up.link)
        cause: Exception | None = None
        # Check `link` after each wait: the connection may be lost between the wake-up and the next step of this task.
        while self.link is None:
            if self.lifecycle.state in (State.DISCONNECTED, State.DISCONNECTING):
                state = self.lifecycle.public
                raise NotConnectedError(f"the connection is {state}: start() it first{self._hint}", state) from cause
            waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
            self._waiters[waiter] = None
            try:
                await waiter
            finally:
                self._waiters.pop(waiter, None)
            cause = self.closed.result() if self.closed is not None and self.closed.done() else None
        return self.link

    def _wake_waiters(self) -> None:
        """Let all callers that wait for the connection go on, because it is up."""
        for waiter in self._waiters:
            resolve(waiter, None)

    def _fail_waiters(self, cause: Exception | None) -> None:
        """Make all callers that wait raise `NotConnectedError`, because the connection has ended with this error."""
        for waiter in self._waiters:
            if not waiter.done():
                error = NotConnectedError(
                    f"the connection ended before it was up: {cause and redact_error(cause)}", self.lifecycle.public
                )
                error.__cause__ = cause
                fail(waiter, error)
