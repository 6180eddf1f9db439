"""Streams from the client to the hub: users' threads add items, and the event loop's thread takes and sends them."""

from __future__ import annotations

import asyncio
import contextvars
import inspect
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from typing import Any, Final, Generic, Self, TypeAlias, TypeVar

from .._guard.copying import Uncopied
from .._guard.futures import resolve
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

# The most items of one upload that may wait for the event loop's thread. Threads that add items at the same time may
# exceed the limit by one item each.
_CAPACITY = 64
# After a batch, the event loop's thread looks for further items after this many seconds; only a full queue wakes it
# earlier. A wake-up for each item would cost more than all other work for the item.
_PATIENCE = 0.001
# The value of `_wake_at` while the event loop's thread needs no wake-up: no queue has so many items.
_NEVER = 1 << 30
# The mark behind the last item of a closed queue.
_END: Final = object()


class UploadQueue:
    """The bounded queue of one upload: any thread adds items, and the event loop's thread iterates over the items."""

    def __init__(self) -> None:
        self._items: deque[Any] = deque()
        self._room = WaitingThreads()
        self._closed = False
        self._error: BaseException | None = None
        self._over = False
        # Wakes the event loop's thread; `None` until this thread begins to iterate.
        self._doorbell: Doorbell | None = None
        # The number of waiting items at which `put` must wake the event loop's thread.
        self._wake_at = _NEVER
        # `_waiter` is the future on which the iteration waits, `_batch` the items that the iteration has taken from
        # `_items`. Only the event loop's thread uses these two attributes.
        self._waiter: asyncio.Future[None] | None = None
        self._batch: deque[Any] = deque()

    # Methods that any thread may call

    def put(self, item: Any) -> bool:
        """Add an item of the upload; wait while the queue is full.

        Returns:
            `False` if the hub call that the upload belongs to has ended; the item is then not added.

        Raises:
            StateError: the queue is closed.
        """
        self._room.wait_until(self._has_room, self._ring)
        if self._closed:
            raise StateError("this Upload is closed")
        if self._over:
            return False
        self._items.append(item)
        if self._closed and self._is_behind_end(item):
            raise StateError("this Upload is closed")
        if len(self._items) >= self._wake_at:
            self._ring()
        return True

    def _is_behind_end(self, item: Any) -> bool:
        """Return whether another thread has closed the queue just before `put` added this item."""
        behind = False
        for each in self._items.copy():
            if behind and each is item:
                return True
            behind = behind or each is _END
        return False

    def close(self, error: BaseException | None = None) -> None:
        """End the upload after all items that were added. May be called again; then does nothing.

        Args:
            error: the error with which the upload fails after its last item; `None` to end without an error.
        """
        if not self._closed:
            self._error = error
            self._items.append(_END)
            # Add `_END` before setting `_closed`: a signal handler may interrupt this method between the two lines,
            # call `close` too, and wait for the end of the upload. If `_closed` were set first, `_END` would not be in
            # the queue, and the signal handler would wait for ever.
            self._closed = True
        self._ring()

    def _has_room(self) -> bool:
        return len(self._items) < _CAPACITY or self._closed or self._over

    def _ring(self) -> None:
        if self._doorbell is not None:
            self._doorbell.ring(self._wake)

    # Methods that must be called on the event loop's thread

    def __aiter__(self) -> Self:
        self._doorbell = current_portal().doorbell
        return self

    async def __anext__(self) -> Any:
        while not self._batch:
            await self._fill()
        return self._batch.popleft()

    async def _fill(self) -> None:
        """Wait until any thread has added items to the queue, and move these items into `_batch`."""
        wake_at = _CAPACITY
        while not self._move():
            self._waiter = asyncio.get_running_loop().create_future()
            self._wake_at = wake_at
            # Check `_items` after setting `_wake_at`: `put` adds its item before it reads `_wake_at`. In the reverse
            # order, an item could wait in the queue, and no thread would wake the event loop for it.
            if not self._items:
                await asyncio.wait({self._waiter}, timeout=_PATIENCE if wake_at > 1 else None)
            self._wake_at = _NEVER
            wake_at = 1

    def _move(self) -> bool:
        """Move waiting items of the queue into `_batch`; return whether `_batch` has items now.

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
        if self._waiter is not None:
            resolve(self._waiter, None)

    async def aclose(self) -> None:
        """Drop all items, because the hub call that the upload belongs to has ended. `put` then returns `False`.

        May be called again.
        """
        self._over = True
        self._items.clear()
        self._room.wake()


class SourceQueue(UploadQueue):
    """The queue of an upload that streams an iterable, for example a generator.

    A daemon thread iterates over the iterable and adds the items. If the iterable is a generator, the thread closes it
    at the end.

    Args:
        source: the iterable.
        report: called on the daemon thread with the error if closing the generator fails.
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
        """Drop all items. The daemon thread closes the generator as soon as the generator has yielded its next item."""
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
            # Call `iter` even if the hub call has ended already: otherwise `_close_source` would not close the user's
            # generator.
            iterator = iter(self._source)
            if not self._over:
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
    """An argument of a hub method that is sent to the server item by item, as a stream. For one call only.

    `Upload(iterable)` sends the items of an iterable, over which a daemon thread iterates. For an `Upload()`, any
    thread adds items by `send`, which waits while 64 items wait to be sent. `close` ends the upload.

    Args:
        source: the iterable; without an iterable, add the items by `send`.

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
        """Add an item to the stream; wait while 64 items wait to be sent.

        If Ctrl-C interrupts the wait, the item was not added.

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
        """Mark the upload as used by a call; return the queue from which the event loop's thread takes the items.

        Raises:
            StateError: another call has used the upload.
        """
        try:
            self._unclaimed.pop()  # a single step, so that one of two calls at the same time fails
        except IndexError:
            raise StateError("this Upload was used already: make a new one for each call") from None
        return self._queue if self._source is None else SourceQueue(self._source, report)


def queue_uploads(arguments: tuple[Any, ...], report: Report) -> tuple[Any, ...]:
    """Return the arguments of a hub method, with an `UploadQueue` for each `Upload` or generator among them.

    Args:
        arguments: the arguments. If there is nothing to upload, this tuple itself is returned.
        report: called on a daemon thread with the error if closing a generator fails.

    Raises:
        TypeError: an argument is an async iterable, over which a thread cannot iterate.
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
    """Return whether an argument of a hub method is sent item by item, as a stream."""
    return isinstance(argument, Upload) or inspect.isgenerator(argument)


def _queue_of(argument: Any, report: Report) -> UploadQueue:
    if isinstance(argument, Upload):
        return argument._claim(report)  # noqa: SLF001 - one module, one owner
    return SourceQueue(argument, report)
