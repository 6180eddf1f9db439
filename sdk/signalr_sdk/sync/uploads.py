"""Streams from the client to the hub: any thread adds items, and the loop's thread sends them."""

from __future__ import annotations

import asyncio
import contextvars
import inspect
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from typing import Any, Final, Generic, Self, TypeAlias, TypeVar

from .._guard.copying import Uncopied
from .._sending.uploads import PLAIN
from .._sending.uploads import Upload as AsyncUpload
from ..errors import StateError
from .daemon_threads import start_thread
from .doorbell import Doorbell, WaitingThreads
from .plain_functions import as_error
from .portal import current_portal
from .twins import twin_of

T = TypeVar("T")

Report: TypeAlias = Callable[[Exception], None]

# The most items that may wait for the loop's thread. Threads that add items at the same time may exceed it by one each.
_CAPACITY = 64
# After a batch, the loop's thread first looks for items after so many seconds without being woken. Waking it for each
# item would cost more than all other work for the item.
_PATIENCE = 0.001
# A number of waiting items that is never reached.
_NEVER = 1 << 30
# The end mark, which follows the last item in a closed queue.
_END: Final = object()


class UploadQueue:
    """A bounded queue of the items of one upload. Any thread adds items, and the loop's thread iterates over them."""

    def __init__(self) -> None:
        self._items: deque[Any] = deque()
        self._room = WaitingThreads()
        self._closed = False
        self._error: BaseException | None = None
        self._over = False
        # `None` until the loop's thread begins to iterate.
        self._doorbell: Doorbell | None = None
        # The loop's thread must be woken when so many items wait.
        self._wake_at = _NEVER
        # Only the loop's thread uses the next two attributes: the future of a waiting iteration, and the items that it
        # has taken from the queue.
        self._waiter: asyncio.Future[None] | None = None
        self._batch: deque[Any] = deque()

    # Methods for any thread

    def put(self, item: Any) -> bool:
        """Add an item; wait while the queue is full. Return `False`, and add nothing, if the call has ended.

        Raises:
            StateError: the queue is closed.
        """
        self._room.wait_until(self._has_room, self._ring)
        if self._closed:
            raise StateError("this Upload is closed")
        if self._over:
            return False
        self._items.append(item)
        if len(self._items) >= self._wake_at:
            self._ring()
        return True

    def close(self, error: BaseException | None = None) -> None:
        """End the upload after all added items. With an error, the upload then fails. May be called again."""
        if not self._closed:
            self._error = error
            self._items.append(_END)
            # Set `_closed` last: a signal handler may interrupt this method, close the queue too, and wait for the end
            # of the call, which never comes without `_END`.
            self._closed = True
        self._ring()

    @property
    def over(self) -> bool:
        """Whether the call has ended, so that no more items are sent."""
        return self._over

    def _has_room(self) -> bool:
        return len(self._items) < _CAPACITY or self._closed or self._over

    def _ring(self) -> None:
        if self._doorbell is not None:
            self._doorbell.ring(self._wake)

    # Methods for the loop's thread

    def __aiter__(self) -> Self:
        self._doorbell = current_portal().doorbell
        return self

    async def __anext__(self) -> Any:
        while not self._batch:
            await self._fill()
        return self._batch.popleft()

    async def _fill(self) -> None:
        """Wait until the queue has items, and move them into the batch."""
        wake_at = _CAPACITY
        while not self._move():
            self._waiter = asyncio.get_running_loop().create_future()
            self._wake_at = wake_at
            # Check `_items` after setting `_wake_at`: a thread adds its item before it checks `_wake_at`. In the other
            # order an item could stay here without a wake-up of the loop's thread.
            if not self._items:
                await asyncio.wait({self._waiter}, timeout=_PATIENCE if wake_at > 1 else None)
            self._wake_at = _NEVER
            wake_at = 1

    def _move(self) -> bool:
        """Move items into the batch; return whether there were any.

        Raises:
            StopAsyncIteration: the queue is closed and empty, without an error.
            Exception: the error with which the queue was closed.
        """
        items, batch = self._items, self._batch
        while items and items[0] is not _END and len(batch) < _CAPACITY:
            batch.append(items.popleft())
        self._room.wake()
        if not batch and items and items[0] is _END:
            raise StopAsyncIteration if self._error is None else as_error(self._error)
        return bool(batch)

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    async def aclose(self) -> None:
        """Drop all items, because the call has ended. From now on `put` returns `False`. May be called again."""
        self._over = True
        self._items.clear()
        self._room.wake()


class SourceQueue(UploadQueue):
    """The items of an iterable. A daemon thread iterates over the iterable, and closes it at the end.

    Args:
        source: the iterable.
        report: called on the daemon thread with the error, if closing the iterable fails.
    """

    def __init__(self, source: Iterable[Any], report: Report) -> None:
        super().__init__()
        self._source = source
        self._report = report
        self._started = False

    def __aiter__(self) -> Self:
        self._start()
        return super().__aiter__()

    async def aclose(self) -> None:
        """Drop all items. The daemon thread closes the source as soon as the source has yielded its next item."""
        await super().aclose()
        self._start()

    def _start(self) -> None:
        if not self._started:
            self._started = True
            start_thread(contextvars.copy_context().run, self._iterate, name="upload")

    def _iterate(self) -> None:
        error: BaseException | None = None
        iterator: Iterator[Any] | None = None
        try:
            # Make the iterator even if the call has ended: a generator must be closed.
            iterator = iter(self._source)
            if not self.over:
                for item in iterator:
                    if not self.put(item):
                        break
        except BaseException as raised:  # noqa: BLE001 - the source may raise anything; the server gets the error
            error = raised
        finally:
            self._close_source(iterator)
            self.close(error)

    def _close_source(self, iterator: Iterator[Any] | None) -> None:
        if inspect.isgenerator(iterator):
            try:
                iterator.close()
            except BaseException as raised:  # noqa: BLE001 - as above
                self._report(as_error(raised))


@twin_of(AsyncUpload)
class Upload(Uncopied, Generic[T]):
    """An argument that is sent to the hub item by item, as a stream. For one call only.

    `Upload(iterable)` sends the items of an iterable; a daemon thread iterates over it. For an `Upload()` any thread
    adds items by `send`, which waits while 64 items wait to be sent. `close` ends the upload.

    Args:
        source: the iterable; without it, add the items by `send`.

    Example:
        ```python
        upload = Upload()
        hub.send("Record", upload)
        upload.send(1)
        upload.send(2)
        upload.close()
        ```
    """

    def __init__(self, source: Iterable[T] | None = None) -> None:
        if source is not None and not hasattr(source, "__iter__"):
            raise TypeError(f"an Upload needs an iterable, not {type(source).__name__}")
        self._source = source
        self._queue = UploadQueue()
        self._unclaimed = [True]

    def send(self, item: T) -> None:
        """Add an item; wait while 64 items wait to be sent. If Ctrl-C interrupts the wait, the item was not added.

        Raises:
            StateError: the upload is closed, its call or connection has ended, or the upload has an iterable.
        """
        if self._source is not None:
            raise StateError("this Upload streams an iterable: only an Upload() without one is fed by hand")
        if not self._queue.put(item):
            raise StateError("this Upload is over: its call has ended, or the connection is lost")

    def close(self, error: BaseException | None = None) -> None:
        if self._source is not None:
            raise StateError("this Upload streams an iterable and ends with it")
        self._queue.close(error)

    def _claim(self, report: Report) -> UploadQueue:
        """Mark the upload as used by a call; return the queue from which the call takes the items."""
        try:
            self._unclaimed.pop()  # a single step, so that one of two calls at the same time fails
        except IndexError:
            raise StateError("this Upload was used already: make a new one for each call") from None
        return self._queue if self._source is None else SourceQueue(self._source, report)


def queue_uploads(arguments: tuple[Any, ...], report: Report) -> tuple[Any, ...]:
    """Return the arguments of a call, with a queue in the place of each argument that is uploaded.

    Args:
        arguments: the arguments of the call. If no argument is uploaded, this tuple itself is returned.
        report: called with the error if closing a source fails.

    Raises:
        TypeError: an argument is an async iterable.
        StateError: an `Upload` in the arguments was used by another call.
    """
    uploads = False
    for argument in arguments:
        if argument.__class__ in PLAIN:
            continue
        if hasattr(argument.__class__, "__aiter__"):
            raise TypeError(
                f"signalr_sdk.sync uploads generators and its own Upload, not async iterables: {argument!r}"
            )
        uploads = uploads or _is_upload(argument)
    if not uploads:
        return arguments
    return tuple(_queue_of(argument, report) if _is_upload(argument) else argument for argument in arguments)


def _is_upload(argument: Any) -> bool:
    """Return whether an argument is uploaded item by item."""
    return isinstance(argument, Upload) or inspect.isgenerator(argument)


def _queue_of(argument: Any, report: Report) -> UploadQueue:
    if isinstance(argument, Upload):
        return argument._claim(report)  # noqa: SLF001 - one module, one owner
    return SourceQueue(argument, report)
