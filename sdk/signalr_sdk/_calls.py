"""Invocations that wait for their answers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .errors import ConnectionClosedError, HubError, RemoteProtocolError, SignalRError
from .messages import Completion

if TYPE_CHECKING:
    import asyncio

    from ._pump import Pump
    from .messages import StreamItem


class Call:
    """An invocation that waits for its answer; `receive` is the sink that the session knows."""

    __slots__ = ("_calls", "future", "invocation_id", "method", "pumps", "started")

    def __init__(self, method: str, calls: dict[str, Call], loop: asyncio.AbstractEventLoop) -> None:
        self.future: asyncio.Future[Any] = loop.create_future()
        self.method = method
        self.invocation_id = ""
        self.started = loop.time()
        self.pumps: list[Pump] | None = None
        self._calls = calls

    def receive(self, message: StreamItem | Completion) -> None:
        """Take the answer."""
        if message.__class__ is not Completion:
            self.fail(
                RemoteProtocolError(
                    f"'{self.method}' answered with a stream item: it is a streaming method, call it with stream()"
                )
            )
        elif message.error is not None:
            self.fail(HubError(message.error, self.method))
        else:
            self._over()
            if not self.future.done():
                self.future.set_result(message.result)

    def abandon(self) -> None:
        """Nobody waits any more: an error that came meanwhile is no one's."""
        if self.future.done() and not self.future.cancelled():
            self.future.exception()

    def fail(self, error: Exception) -> None:
        """End it with an error."""
        self._over()
        if not self.future.done():
            self.future.set_exception(error)

    def _over(self) -> None:
        self._calls.pop(self.invocation_id, None)
        for pump in self.pumps or ():
            pump.stop(tell=False)


def closed_under(method: str, cause: SignalRError) -> ConnectionClosedError:
    """Return what a call is told that was pending when the connection ended: an error of its own."""
    reason = cause.reason if isinstance(cause, ConnectionClosedError) else None
    allow = isinstance(cause, ConnectionClosedError) and cause.allow_reconnect
    error = ConnectionClosedError(
        f"the connection ended before '{method}' did, which may or may not have run on the server: {cause}",
        reason,
        allow,
    )
    error.__cause__ = cause
    return error
