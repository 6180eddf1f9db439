"""Client results: a hub calls a method of its client and waits for the result."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from .._guard.futures import fail
from .._typed.structure import needs_exact
from .argument_binding import Binder
from .hubs import HubException

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from .._core.session import ServerSession


class ClientResults:
    """The calls that a hub has made to one client and that have no result yet.

    Args:
        session: encodes each call, and passes the client's completion of a call to the call's `_ResultSink`.
        write: sends encoded messages to the client; waits while the client's send buffer is full.
    """

    def __init__(self, session: ServerSession, write: Callable[[bytes], Awaitable[None]]) -> None:
        self._session = session
        self._write = write
        self._pending: set[asyncio.Future[Any]] = set()

    async def invoke(self, method: str, *args: Any, result_type: Any = Any) -> Any:
        """See `SingleClientProxy.invoke`."""
        result: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        invocation_id, data = self._session.invoke(
            method, list(args), _ResultSink(result), exact=needs_exact(result_type)
        )
        self._pending.add(result)
        try:
            await self._write(data)
            return Binder(self._session.protocol).client_result(await result, result_type)
        finally:
            self._pending.discard(result)
            self._session.forget(invocation_id)

    def end(self) -> None:
        """Raise a `HubException` in the hub methods that wait for a result: the client has disconnected."""
        for result in self._pending:
            fail(result, HubException("The client has gone."))


class _ResultSink:
    """Receives the completion that a client sends for one call by the hub, and sets the future that the hub awaits."""

    def __init__(self, result: asyncio.Future[Any]) -> None:
        self._result = result

    def items(self, _items: list[Any], _sizes: list[int]) -> None:
        """Ignore stream items from the client: a call by a hub is answered with one result, never with a stream."""

    def completed(self, result: Any, error: str | None) -> None:
        """Set the future to the result or the error; do nothing if the hub method was cancelled meanwhile."""
        if self._result.done():
            return
        if error is not None:
            self._result.set_exception(HubException(error))
        else:
            self._result.set_result(result)
