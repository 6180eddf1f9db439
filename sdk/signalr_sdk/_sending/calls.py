"""The calls of one connection: invocations that wait for their answers, streams, and what is uploaded with them."""

from __future__ import annotations

import asyncio
import functools
from typing import TYPE_CHECKING, Any

from ..errors import ConnectionClosedError, HubError, LocalProtocolError, RemoteProtocolError, SignalRError
from .upload_task import Pump

if TYPE_CHECKING:
    from collections.abc import Callable

    from .._core.logs import Log
    from .._core.session import HubSession
    from .._receiving.iterators import StreamQueue
    from .outgoing import Outgoing


class Call:
    """An invocation that waits for its answer: the `Sink` that the session knows."""

    __slots__ = ("_calls", "future", "invocation_id", "method", "pumps", "started")

    def __init__(self, method: str, calls: dict[str, Call], loop: asyncio.AbstractEventLoop) -> None:
        self.future: asyncio.Future[Any] = loop.create_future()
        self.method = method
        self.invocation_id = ""
        self.started = loop.time()
        self.pumps: list[Pump] | None = None
        self._calls = calls

    def items(self, _items: list[Any], _sizes: list[int]) -> None:
        """Take what no plain method sends."""
        self.fail(
            RemoteProtocolError(
                f"'{self.method}' answered with a stream item: it is a streaming method, call it with stream()"
            )
        )

    def completed(self, result: Any, error: str | None) -> None:
        """Take the answer."""
        if error is not None:
            self.fail(HubError(error, self.method))
            return
        self._over()
        if not self.future.done():
            self.future.set_result(result)

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


def _closed_under(method: str, cause: SignalRError) -> ConnectionClosedError:
    """Return what a call is told that was pending when the connection ended: an error of its own."""
    reason = cause.reason if isinstance(cause, ConnectionClosedError) else None
    allow = isinstance(cause, ConnectionClosedError) and cause.allow_reconnect
    error = ConnectionClosedError(
        f"the connection ended before '{method}' did, which may or may not have run on the server: {cause}",
        reason,
        allow_reconnect=allow,
    )
    error.__cause__ = cause
    return error


class Calls:
    """All calls of one connection.

    Args:
        session: encodes them.
        outgoing: takes them.
        push_error: called with errors that no caller can be told.
        waiting: called when an invocation begins to wait for its answer.
        log: of the connection.
    """

    def __init__(
        self,
        session: HubSession,
        outgoing: Outgoing,
        *,
        push_error: Callable[[Exception], None],
        waiting: Callable[[], None],
        log: Log,
    ) -> None:
        self._logger = log
        self._session = session
        self._outgoing = outgoing
        self._push_error = push_error
        self._waiting = waiting
        self._loop = asyncio.get_running_loop()
        self._calls: dict[str, Call] = {}
        self._streams: dict[str, tuple[StreamQueue, str]] = {}
        self._pumps: set[Pump] = set()

    @property
    def youngest(self) -> float | None:
        """When the last of the invocations began that wait for their answers."""
        return next(reversed(self._calls.values())).started if self._calls else None

    @property
    def uploads(self) -> list[asyncio.Task[None]]:
        """The tasks of the uploads that go on."""
        return [pump.task for pump in self._pumps]

    def end(self, error: SignalRError) -> None:
        """End all of them: the connection is over."""
        for pump in list(self._pumps):
            pump.stop(tell=False)
        for call in list(self._calls.values()):
            call.fail(_closed_under(call.method, error))
        for queue, method in list(self._streams.values()):
            queue.end(_closed_under(method, error))
        self._streams.clear()

    def send_now(self, method: str, arguments: list[Any]) -> bool:
        """Send an invocation that asks for no answer and uploads nothing, if that needs no waiting."""
        outgoing = self._outgoing
        if outgoing.full:
            return False
        outgoing.put_now(self._session.send(method, arguments))
        return True

    async def send(self, method: str, arguments: list[Any], uploads: list[Any] | None) -> None:
        """Send an invocation that asks for no answer; wait for room."""
        stream_ids = self._new_stream_ids(uploads)
        await self._outgoing.put(self._session.send(method, arguments, stream_ids))
        if uploads:
            self._start_uploads(stream_ids, uploads, self._push_error)

    async def invoke(self, method: str, arguments: list[Any], uploads: list[Any] | None, *, exact: bool) -> Any:
        """Call a method and wait for its result. Cancelling it cancels the call on the server."""
        stream_ids = self._new_stream_ids(uploads)
        call = Call(method, self._calls, self._loop)
        invocation_id, data = self._session.invoke(method, arguments, call, stream_ids, exact=exact)
        call.invocation_id = invocation_id
        self._calls[invocation_id] = call
        sent = False
        try:
            if self._outgoing.full:
                await self._outgoing.put(data)
            else:
                self._outgoing.put_now(data)
            sent = True
            if uploads:
                call.pumps = self._start_uploads(stream_ids, uploads, lambda error: self._give_up(call, error))
            self._waiting()
            return await call.future
        except BaseException:
            call.abandon()
            if self._calls.pop(invocation_id, None) is not None:
                self._cancel(invocation_id, call.pumps or (), sent=sent)
            raise

    def _give_up(self, call: Call, error: LocalProtocolError) -> None:
        """End a call from our side, because what it uploads cannot be sent."""
        self._cancel(call.invocation_id, call.pumps or (), sent=True)
        call.fail(error)

    async def stream(
        self, queue: StreamQueue, method: str, arguments: list[Any], uploads: list[Any] | None, *, exact: bool
    ) -> Callable[[], None]:
        """Call a streaming method, whose items go to the queue; return what lets go of it.

        Cancelling it has sent nothing.
        """
        stream_ids = self._new_stream_ids(uploads)
        invocation_id, data = self._session.invoke(method, arguments, queue, stream_ids, stream=True, exact=exact)
        pumps: list[Pump] = []
        over = False

        def finished() -> None:
            nonlocal over
            over = True
            self._streams.pop(invocation_id, None)
            for pump in pumps:
                pump.stop(tell=False)

        def let_go() -> None:
            if self._streams.pop(invocation_id, None) is not None:
                self._cancel(invocation_id, pumps, sent=True)

        def unsendable(error: LocalProtocolError) -> None:
            queue.end(error)
            let_go()

        queue.finished, queue.overflowed = finished, let_go
        try:
            await self._outgoing.put(data)
        except BaseException:
            self._session.forget(invocation_id)
            raise
        self._streams[invocation_id] = (queue, method)
        if uploads:
            pumps += self._start_uploads(stream_ids, uploads, unsendable)
        if over:
            # Answered before it was asked: a server that guesses the ids of calls must not confuse us.
            finished()
        return let_go

    def _cancel(self, invocation_id: str, pumps: list[Pump] | tuple[()], *, sent: bool) -> None:
        waited_for = self._session.forget(invocation_id)
        for pump in pumps:
            pump.stop(tell=True)
        if sent and waited_for:
            self._outgoing.put_now(self._session.cancel(invocation_id))

    def _new_stream_ids(self, uploads: list[Any] | None) -> list[str] | None:
        return [self._session.new_id() for _ in uploads] if uploads else None

    def _start_uploads(
        self, stream_ids: list[str] | None, uploads: list[Any], unsendable: Callable[[LocalProtocolError], None]
    ) -> list[Pump]:
        pumps = [
            Pump(
                stream_id,
                source,
                self._session,
                self._outgoing,
                unsendable=unsendable,
                unclosable=self._push_error,
            )
            for stream_id, source in zip(stream_ids or (), uploads, strict=True)
        ]
        # From here on the pumps close the sources, so the caller has none left to close.
        uploads.clear()
        for pump in pumps:
            self._pumps.add(pump)
            pump.task.add_done_callback(functools.partial(self._forget_pump, pump))
        return pumps

    def _forget_pump(self, pump: Pump, _task: asyncio.Task[None]) -> None:
        self._pumps.discard(pump)

    async def respond(self, invocation_id: str, result: Any, error: str | None) -> None:
        """Answer a question of the server."""
        try:
            if error is None:
                data = self._session.answer(invocation_id, result)
            else:
                data = self._session.complete(invocation_id, error)
        except LocalProtocolError as unsendable:
            self._push_error(unsendable)
            data = self._session.complete(invocation_id, str(unsendable))
        try:
            await self._outgoing.put(data)
        except ConnectionClosedError as closed:
            self._logger.debug("an answer came too late: %s", closed)
