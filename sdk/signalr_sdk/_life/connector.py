"""`Connector`: makes one attempt to connect after another, for the `Supervisor`."""

from __future__ import annotations

import asyncio
import functools
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from .._core.redaction import redact_error
from .._guard import foreign
from ..errors import ConnectionFailedError, SignalRError
from .closing import close_link
from .link import Link
from .set_up import set_up

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from .._connecting.options import ConnectionOptions
    from .._receiving.dispatcher import Dispatcher

L = TypeVar("L", bound=Link)

_WHOSE = "the access token provider or the HTTP client"


class Connector(Generic[L]):
    """Makes attempts to connect, each with its set-up, and waits between them. For one `start` of the user.

    Args:
        connect: opens a connection, and returns a `Link` whose handshake is done. If `connect` is cancelled, it must
            leave no connection open.
        options: the options of the connection.
        dispatcher: calls the `on_setup` handlers.

    Attributes:
        attempting: whether an attempt is under way.
        receiving: the task that receives the messages of the latest connection, begun before its `on_setup` handlers.
            `None` without such handlers.
    """

    def __init__(
        self, connect: Callable[[], Coroutine[Any, Any, L]], *, options: ConnectionOptions, dispatcher: Dispatcher
    ) -> None:
        self.attempting = False
        self.receiving: asyncio.Task[SignalRError | None] | None = None
        self._connect_once = connect
        self._transports = len(options.transports)
        self._timeouts = options.timeouts
        self._logger = options.logs.hub
        self._dispatcher = dispatcher
        self._hurry = asyncio.Event()

    def hurry(self) -> None:
        """End the wait before the next attempt. If an attempt is under way, do nothing."""
        if not self.attempting:
            self._hurry.set()

    async def sleep(self, delay: float) -> None:
        """Wait `delay` seconds before the next attempt, or until `hurry` is called."""
        with suppress(TimeoutError):
            async with asyncio.timeout(delay):
                await self._hurry.wait()

    async def connect(self) -> L:
        """Make one attempt to connect, and run the `on_setup` handlers. Return the new connection."""
        self.receiving = None
        self.attempting = True
        self._hurry.clear()
        try:
            link = await self._open()
            if self._dispatcher.has_set_up:
                await self._set_up(link)
            return link
        finally:
            self.attempting = False

    async def _set_up(self, link: L) -> None:
        close = functools.partial(close_link, link, limit=self._timeouts.close, log=self._logger)
        self.receiving = await set_up(link, self._dispatcher, close, limit=self._timeouts.setup, log=self._logger)

    async def _open(self) -> L:
        """Open a connection in a new task. If users' code in the new task never ends, do not wait for it."""
        attempt = foreign.spawn_contained(self._connect_once(), _WHOSE)
        try:
            await asyncio.wait({attempt}, timeout=self._longest_attempt)
        except asyncio.CancelledError:
            await self._cut_off(attempt)
            raise
        if not attempt.done():
            await self._cut_off(attempt)
            raise ConnectionFailedError(f"an attempt to connect never ended: {_WHOSE} was left behind")
        if not attempt.cancelled():
            foreign.forget_locals(attempt.exception())
        return _result(attempt)

    async def _cut_off(self, attempt: asyncio.Task[L]) -> None:
        patience, log = self._timeouts.close, self._logger
        await foreign.cut_off(attempt, patience, whose="an attempt to connect", log=log, undo=lambda link: link.drop())

    @property
    def _longest_attempt(self) -> float | None:
        """A time limit for opening a connection, in seconds; `None` for no limit.

        Only users' code that ignores its cancellation takes longer. For each transport, the limit includes a negotiate
        request, the opening of the transport, and two calls of the token provider.
        """
        connect, request, handshake = self._timeouts.connect, self._timeouts.request, self._timeouts.handshake
        if connect is None or request is None or handshake is None:
            return None
        return self._transports * 3.1 * max(connect, request) + handshake


def _result(attempt: asyncio.Task[L]) -> L:
    try:
        return attempt.result()
    except (SignalRError, OSError, TypeError, ValueError):
        raise
    except asyncio.CancelledError as error:
        raise ConnectionFailedError(f"the attempt was cancelled from inside, by {_WHOSE}") from error
    except Exception as error:
        raise ConnectionFailedError(f"{_WHOSE} raised {type(error).__name__}: {redact_error(error)}") from error
    except BaseException as raised:
        # KeyboardInterrupt or SystemExit has already stopped the event loop. End the current task as cancelled:
        # asyncio cancels every task when the event loop ends.
        raise asyncio.CancelledError from raised
