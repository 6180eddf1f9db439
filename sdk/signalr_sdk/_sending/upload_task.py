"""`UploadTask`: sends the items of one upload to the hub."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import attrs

from .._guard.foreign import ends_program, error_of, text_of
from .._guard.tasks import spawn
from ..errors import ConnectionClosedError, LocalProtocolError
from .uploads import close_source

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from .._core.session import HubSession
    from .outgoing import Outgoing

# An upload starts with a few items, waits until the items were handed to the operating system (or the POST was
# answered), then sends twice as many items, and so on up to `_MOST_ITEMS`. The reason is a limit of ASP.NET Core: if a
# hub method ends while more items wait on the server than its buffer holds (10 by default), the server ends the whole
# connection. Since the first items are few, a hub method that fails early seldom ends the connection. Long uploads are
# not slower.
_FIRST_ITEMS = 8
_MOST_ITEMS = 1024

# The error text for a cancelled upload, the same as in Microsoft's JavaScript client.
_CANCELLED = "Stream canceled by client."

# Tasks that close the sources of uploads. Each task replaces an upload task that was cancelled before its first step.
# The set keeps the tasks alive: an event loop has only weak references to tasks.
_closing: set[asyncio.Task[None]] = set()


@attrs.define(eq=False)
class UploadTask:
    """Uploads the items of one source as one stream. The source is always closed, also after an error.

    Args:
        stream_id: the stream's id.
        source: the argument of the call: an async iterable or an `Upload`.
        session: encodes the items.
        outgoing: the buffer for the encoded items.
        unsendable: called with the error if an item cannot be encoded.
        unclosable: called with the error if closing the source fails.

    Attributes:
        task: the task that sends the items and closes the source. If the program cancels this task before its first
            step, `task` is replaced by a new task, which only closes the source.
    """

    _stream_id: str
    _source: Any
    _session: HubSession
    _outgoing: Outgoing
    _unsendable: Callable[[LocalProtocolError], None] = attrs.field(kw_only=True)
    _unclosable: Callable[[Exception], None] = attrs.field(kw_only=True)
    _stopped: bool = attrs.field(default=False, init=False)
    _running: bool = attrs.field(default=False, init=False)
    task: asyncio.Task[None] = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        self.task = spawn(self._run(), "upload")
        self.task.add_done_callback(self._task_ended)

    def stop(self, *, tell: bool) -> None:
        """Cancel the upload.

        Args:
            tell: whether to tell the server that the upload was cancelled.
        """
        if self._stopped or self.task.done():
            return
        self._stopped = True
        self._end_stream(_CANCELLED, tell=tell)
        # Do not cancel the upload task before its first step: the task would run no code, and not close its source.
        if self._running:
            self.task.cancel()

    def _task_ended(self, task: asyncio.Task[None]) -> None:
        if not task.cancelled():
            task.exception()  # retrieve KeyboardInterrupt or SystemExit, or asyncio logs it
        elif not self._running:
            # The program has cancelled the upload task before its first step, so that the task ran no code: close the
            # source in a new task.
            if not self._stopped:
                self._stopped = True
                self._end_stream(_CANCELLED)
            self.task = spawn(self._close(None), "upload", _closing)

    async def _run(self) -> None:
        iterator: AsyncIterator[Any] | None = None
        error: str | None = None
        self._running = True
        try:
            if not self._stopped:
                iterator = aiter(self._source)
                error = await self._upload(iterator)
        except ConnectionClosedError:
            return
        except asyncio.CancelledError:
            if self._stopped:
                return
            error = _CANCELLED
        except BaseException as raised:
            # The user's source raised an exception: end the stream on the server with the exception's text as error.
            error = text_of(raised)
            if ends_program(raised):
                raise
        finally:
            await self._close(iterator)
        if not self._stopped:
            self._end_stream(error)
        self._stopped = True

    async def _upload(self, iterator: AsyncIterator[Any]) -> str | None:
        outgoing, encode, stream_id = self._outgoing, self._session.item, self._stream_id
        left = window = _FIRST_ITEMS
        async for item in iterator:
            try:
                data = encode(stream_id, item)
            except LocalProtocolError as error:
                self._stopped = True
                self._end_stream(str(error))
                self._unsendable(error)
                return None
            if outgoing.full:
                await outgoing.put(data, stream_id)
            else:
                outgoing.put_now(data, stream_id)
            left -= 1
            if not left:
                await outgoing.flush()
                left = window = min(2 * window, _MOST_ITEMS)
        return None

    def _end_stream(self, error: str | None, *, tell: bool = True) -> None:
        session, outgoing = self._session, self._outgoing
        try:
            if tell:
                outgoing.put_now(session.complete(self._stream_id, error))
            if session.replay is not None and not outgoing.is_ending:
                if not tell:
                    outgoing.put_now(session.filler())
                outgoing.put_unnumbered(session.resync_after_stream(self._stream_id))
        except BaseException as raised:  # noqa: BLE001 - a user's hub protocol may raise anything
            self._unclosable(error_of(raised, "the hub protocol"))

    async def _close(self, iterator: AsyncIterator[Any] | None) -> None:
        try:
            await close_source(self._source, iterator)
        except BaseException as raised:  # noqa: BLE001 - the user's source may raise anything
            self._unclosable(error_of(raised, "the source of an upload"))
