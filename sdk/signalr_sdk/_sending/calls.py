"""`Calls`: the calls that one connection sends to the hub, with their results, streams and uploads."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import attrs

from .._core.redaction import redact_error
from .._guard.foreign import error_of, text_of
from .._guard.futures import fail, resolve
from ..errors import ConnectionClosedError, HubError, LocalProtocolError, RemoteProtocolError
from .upload_task import UploadTask

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from .._core.logs import Log
    from .._core.session import HubSession
    from .._receiving.queues import StreamQueue
    from .outgoing import Outgoing


class PendingInvocation:
    """An invocation that waits for its completion. The session calls `items` or `completed` when the server answers."""

    __slots__ = ("_give_up", "_pending", "future", "invocation_id", "method", "started", "uploads")

    def __init__(
        self,
        method: str,
        pending: dict[str, PendingInvocation],
        loop: asyncio.AbstractEventLoop,
        give_up: Callable[[PendingInvocation, Exception], None],
    ) -> None:
        self.future: asyncio.Future[Any] = loop.create_future()
        self.method = method
        self.invocation_id = ""
        self.started = loop.time()
        self.uploads: Sequence[UploadTask] = ()
        self._pending = pending
        self._give_up = give_up

    def items(self, _items: list[Any], _sizes: list[int]) -> None:
        """Fail the call and cancel it on the server, because the server answered an invocation with stream items."""
        error = RemoteProtocolError(
            f"'{self.method}' answered with a stream item: it is a streaming method, call it with stream()"
        )
        self._give_up(self, error)

    def completed(self, result: Any, error: str | None) -> None:
        """Make `invoke` return the result, or raise HubError with the server's error text."""
        if error is not None:
            self.fail(HubError(error, self.method))
            return
        self._end()
        resolve(self.future, result)

    def abandon(self) -> None:
        """Read the error from `future` after `invoke` was cancelled, so that asyncio does not log the error."""
        if self.future.done() and not self.future.cancelled():
            self.future.exception()

    def fail(self, error: Exception) -> None:
        """Make `invoke` raise `error`, and stop the uploads of the call."""
        self._end()
        fail(self.future, error)

    def _end(self) -> None:
        self._pending.pop(self.invocation_id, None)
        for upload in self.uploads:
            upload.stop(tell=False)


def closed_under(method: str, cause: Exception) -> ConnectionClosedError:
    """Return a new error for one call that was pending when the connection ended.

    Two calls must not share an error object: each `raise` changes the traceback in the object.
    """
    reason = cause.reason if isinstance(cause, ConnectionClosedError) else None
    allow = isinstance(cause, ConnectionClosedError) and cause.allow_reconnect
    why = redact_error(cause)
    error = ConnectionClosedError(
        f"the connection ended before '{method}' did, which may or may not have run on the server: {why}",
        reason,
        allow_reconnect=allow,
    )
    error.__cause__ = cause
    return error


@attrs.define(eq=False)
class Calls:
    """Sends calls to the hub over one connection, and gives each caller of `invoke` the result.

    Args:
        session: encodes the calls.
        outgoing: the buffer for the encoded calls.
        push_error: called with each error that no call can raise, for the log and the `on_error` handlers.
        waiting: called when an invocation begins to wait for its completion.
        log: the log of the connection.
    """

    _session: HubSession
    _outgoing: Outgoing
    _push_error: Callable[[Exception], None] = attrs.field(kw_only=True)
    _waiting: Callable[[], None] = attrs.field(kw_only=True)
    _log: Log = attrs.field(kw_only=True)
    _loop: asyncio.AbstractEventLoop = attrs.field(factory=asyncio.get_running_loop, init=False)
    _pending: dict[str, PendingInvocation] = attrs.field(factory=dict, init=False)
    _streams: dict[str, tuple[StreamQueue, str]] = attrs.field(factory=dict, init=False)
    _uploads: dict[asyncio.Task[None], UploadTask] = attrs.field(factory=dict, init=False)

    @property
    def youngest(self) -> float | None:
        """The start time of the newest pending invocation, by the event loop's clock; `None` if none is pending."""
        return next(reversed(self._pending.values())).started if self._pending else None

    @property
    def uploads(self) -> list[asyncio.Task[None]]:
        """The tasks of all uploads that have not ended."""
        return list(self._uploads)

    def end(self, error: Exception) -> None:
        """Fail all pending calls and streams, and stop all uploads, after the connection has ended."""
        for upload in list(self._uploads.values()):
            upload.stop(tell=False)
        for call in list(self._pending.values()):
            call.fail(closed_under(call.method, error))
        for queue, method in list(self._streams.values()):
            queue.end(closed_under(method, error))
        self._streams.clear()

    def send_now(self, method: str, arguments: list[Any]) -> bool:
        """Send an invocation that wants no answer and has no uploads; return `False` if the outgoing buffer is full."""
        outgoing = self._outgoing
        if outgoing.full:
            return False
        outgoing.put_now(self._session.send(method, arguments))
        return True

    async def send(self, method: str, arguments: list[Any], uploads: list[Any] | None) -> None:
        """Send an invocation that wants no answer; wait while the outgoing buffer is full."""
        stream_ids = self._new_stream_ids(uploads)
        await self._outgoing.put(self._session.send(method, arguments, stream_ids))
        if uploads:
            self._start_uploads(stream_ids, uploads, self._push_error)

    async def invoke(self, method: str, arguments: list[Any], uploads: list[Any] | None, *, exact: bool) -> Any:
        """Call a hub method and wait for its result. Cancelling `invoke` also cancels the call on the server."""
        stream_ids = self._new_stream_ids(uploads)
        call = PendingInvocation(method, self._pending, self._loop, self._give_up)
        invocation_id, data = self._session.invoke(method, arguments, call, stream_ids, exact=exact)
        call.invocation_id = invocation_id
        self._pending[invocation_id] = call
        sent = False
        try:
            if self._outgoing.full:
                await self._outgoing.put(data)
            else:
                self._outgoing.put_now(data)
            sent = True
            if uploads:
                call.uploads = self._start_uploads(stream_ids, uploads, lambda error: self._give_up(call, error))
            self._waiting()
            return await call.future
        except BaseException:
            call.abandon()
            if self._pending.pop(invocation_id, None) is not None:
                self._cancel(invocation_id, call.uploads, sent=sent)
            raise

    def _give_up(self, call: PendingInvocation, error: Exception) -> None:
        """Cancel a call on the server, and make `invoke` raise `error`.

        The reason is an item of an upload that cannot be encoded, or a server that answers with stream items.
        """
        self._cancel(call.invocation_id, call.uploads, sent=True)
        call.fail(error)

    async def stream(
        self, queue: StreamQueue, method: str, arguments: list[Any], uploads: list[Any] | None, *, exact: bool
    ) -> Callable[[], None]:
        """Call a streaming hub method; the received items go to `queue`. If `stream` is cancelled, nothing was sent.

        Returns:
            A function that cancels the stream on the server. The function does nothing after the stream has ended.
        """
        stream_ids = self._new_stream_ids(uploads)
        invocation_id, data = self._session.invoke(method, arguments, queue, stream_ids, stream=True, exact=exact)
        tasks: list[UploadTask] = []
        ended = False

        def finished() -> None:
            nonlocal ended
            ended = True
            self._streams.pop(invocation_id, None)
            for upload in tasks:
                upload.stop(tell=False)

        def release() -> None:
            if self._streams.pop(invocation_id, None) is not None:
                self._cancel(invocation_id, tasks, sent=True)

        def unsendable(error: LocalProtocolError) -> None:
            queue.end(error)
            release()

        queue.finished, queue.overflowed = finished, release
        try:
            await self._outgoing.put(data)
        except BaseException:
            self._session.forget(invocation_id)
            raise
        self._streams[invocation_id] = (queue, method)
        if uploads:
            tasks += self._start_uploads(stream_ids, uploads, unsendable)
        if ended:
            # A hostile server guessed the call's id, and completed the stream before the call was sent: `finished` was
            # called too early. Call `finished` once more, to forget the stream and to stop its uploads.
            finished()
        return release

    def _cancel(self, invocation_id: str, uploads: Sequence[UploadTask], *, sent: bool) -> None:
        was_pending = self._session.forget(invocation_id)
        for upload in uploads:
            upload.stop(tell=True)
        if sent and was_pending:
            try:
                self._outgoing.put_now(self._session.cancel(invocation_id))
            except BaseException as raised:  # noqa: BLE001 - a user's hub protocol may raise anything
                self._push_error(error_of(raised, "the hub protocol"))

    def _new_stream_ids(self, uploads: list[Any] | None) -> list[str] | None:
        return [self._session.new_id() for _ in uploads] if uploads else None

    def _start_uploads(
        self, stream_ids: list[str] | None, sources: list[Any], unsendable: Callable[[LocalProtocolError], None]
    ) -> list[UploadTask]:
        uploads = [
            UploadTask(
                stream_id, source, self._session, self._outgoing, unsendable=unsendable, unclosable=self._push_error
            )
            for stream_id, source in zip(stream_ids or (), sources, strict=True)
        ]
        # Remove the sources from the caller's list, because the upload tasks close them. If the call fails later,
        # `HubConnection` closes every source that is left in the list, and would close these sources a second time.
        sources.clear()
        for upload in uploads:
            self._uploads[upload.task] = upload
            upload.task.add_done_callback(self._uploads.pop)
        return uploads

    async def respond(self, invocation_id: str, result: Any, error: str | None) -> None:
        """Send a client result to the server: the return value or the error of a handler."""
        whose = "the converter or the hub protocol"
        try:
            try:
                if error is None:
                    data = self._session.answer(invocation_id, result)
                else:
                    data = self._session.complete(invocation_id, error)
            except BaseException as raised:  # noqa: BLE001 - a converter or a hub protocol may raise anything
                unsendable = error_of(raised, whose)
                self._push_error(unsendable)
                data = self._session.complete(invocation_id, text_of(unsendable))
            await self._outgoing.put(data)
        except ConnectionClosedError as closed:
            self._log.debug("a client result was not sent: %s", closed)
        except BaseException as raised:  # noqa: BLE001 - a user's hub protocol may fail to encode even the error
            self._push_error(error_of(raised, whose))
