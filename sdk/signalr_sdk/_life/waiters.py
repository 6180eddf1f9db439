"""`Waiters`: the callers that wait until the connection is up."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from .._core.redaction import redact_error
from ..errors import NotConnectedError

if TYPE_CHECKING:
    from ..options import ConnectionState


class Waiters:
    """The callers that wait until the connection is up."""

    def __init__(self) -> None:
        self._futures: dict[asyncio.Future[None], None] = {}

    async def wait(self) -> None:
        """Wait for the next call of `wake`.

        Raises:
            NotConnectedError: `fail` was called instead.
        """
        waiter: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._futures[waiter] = None
        try:
            await waiter
        finally:
            self._futures.pop(waiter, None)

    def wake(self) -> None:
        """Let all waiting callers go on, because the connection is up."""
        for waiter in self._futures:
            if not waiter.done():
                waiter.set_result(None)

    def fail(self, cause: Exception | None, state: ConnectionState) -> None:
        """Make all waiting callers raise `NotConnectedError`, because the connection has ended.

        Args:
            cause: the error that ended the connection; `None` if there was no error.
            state: the state of the connection.
        """
        for waiter in self._futures:
            if not waiter.done():
                error = NotConnectedError(
                    f"the connection ended before it was up: {cause and redact_error(cause)}", state
                )
                error.__cause__ = cause
                waiter.set_exception(error)
