"""Streams from the client to the hub: pulled, or fed, on one thread and sent on another."""

from __future__ import annotations

import asyncio
import contextvars
import inspect
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from typing import Any, Generic, Self, TypeAlias, TypeVar

from .._sending.uploads import PLAIN
from ..errors import StateError
from .portal import SLICE
from .threads import as_error, post, start_thread

T = TypeVar("T")

Report: TypeAlias = Callable[[Exception], None]

# So many items may wait on their way to the loop's thread.
_CAPACITY = 64
# The loop's thread looks again after so many seconds when it has just had items, before it wants to be woken for each.
_PATIENCE = 0.001


class HandOver:
    """Items on their way from any threads to the loop's thread, where it is an async iterator. Bounded.

    The loop's thread is not woken for each item: while they come thick and fast it looks by itself, and is woken early
    only when all places are taken.
    """

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._items: deque[Any] = deque()
        self._closed = False
        self._error: BaseException | None = None
        self._over = False
        # The one that waits on the loop's thread, and whether it looks again by itself soon.
        self._waiter: asyncio.Future[None] | None = None
        self._patient = False
        self._taken: deque[Any] = deque()

    # On any thread

    def put(self, item: Any) -> bool:
        """Add an item; wait while too many are on their way. Return whether it was wanted: the call may be over."""
        with self._changed:
            while len(self._items) >= _CAPACITY and not self._over and not self._closed:
                self._changed.wait(SLICE)
            if self._closed:
                raise StateError("this Upload is closed")
            if self._over:
                return False
            self._items.append(item)
            if self._waiter is not None and (not self._patient or len(self._items) >= _CAPACITY):
                self._wake()
        return True

    def close(self, error: BaseException | None = None) -> None:
        """Let nothing more in."""
        with self._changed:
            if not self._closed:
                self._closed = True
                self._error = error
                self._changed.notify_all()
                self._wake()

    @property
    def over(self) -> bool:
        """Whether nobody takes items any more."""
        return self._over

    def _wake(self) -> None:
        if self._waiter is not None:
            # Before it is forgotten: Ctrl-C may come between.
            post(self._waiter.get_loop(), _resolve, self._waiter)
            self._waiter = None

    # On the loop's thread

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Any:
        while not self._taken:
            await self._take()
        return self._taken.popleft()

    async def _take(self) -> None:
        """Take what is there, or wait for it."""
        patient = True
        while not self._swap():
            waiter = asyncio.get_running_loop().create_future()
            with self._changed:
                if self._items or self._closed:
                    continue
                self._waiter, self._patient = waiter, patient
            if patient:
                patient = False
                await asyncio.wait({waiter}, timeout=_PATIENCE)
            else:
                await waiter

    def _swap(self) -> bool:
        with self._changed:
            self._taken, self._items = self._items, self._taken
            self._waiter = None
            self._changed.notify_all()
            if self._taken:
                return True
            if self._error is not None:
                raise as_error(self._error)
            if self._closed:
                raise StopAsyncIteration
            return False

    async def aclose(self) -> None:
        """Nobody takes any more: tell those who feed it. Idempotent."""
        with self._changed:
            self._over = True
            self._items.clear()
            self._changed.notify_all()


def _resolve(waiter: asyncio.Future[None]) -> None:
    if not waiter.done():
        waiter.set_result(None)


class Pull(HandOver):
    """An iterable that a daemon thread of its own pulls from, and closes.

    Args:
        source: what is uploaded.
        report: called, on that thread, with the error if closing the source fails.
    """

    def __init__(self, source: Iterable[Any], report: Report) -> None:
        super().__init__()
        self._source = source
        self._report = report
        self._started = False

    def __aiter__(self) -> Self:
        self._start()
        return self

    async def aclose(self) -> None:
        """Nobody takes any more. The source is closed on its thread, as soon as that is back from it."""
        await super().aclose()
        self._start()

    def _start(self) -> None:
        if not self._started:
            self._started = True
            start_thread(contextvars.copy_context().run, self._pull, name="upload")

    def _pull(self) -> None:
        error: BaseException | None = None
        iterator: Iterator[Any] | None = None
        try:
            # A generator that was never started is closed without running any of it.
            iterator = iter(self._source)
            if not self.over:
                for item in iterator:
                    if not self.put(item):
                        break
        except BaseException as raised:  # noqa: BLE001 - the user's source may raise anything; the server is told
            error = raised
        finally:
            self._close_source(iterator)
            self.close(error)

    def _close_source(self, iterator: Iterator[Any] | None) -> None:
        if inspect.isgenerator(iterator):
            try:
                iterator.close()
            except BaseException as raised:  # noqa: BLE001 - as above, but nobody else is told
                self._report(as_error(raised))


class Upload(Generic[T]):
    """An argument that goes to the hub item by item.

    `Upload(iterable)` streams any iterable, pulled on a daemon thread of its own. `Upload()` is fed by hand, from any
    thread: `send` waits while 64 items are waiting to leave, `close` ends it. Good for one call.

    Args:
        source: what to stream; without it, feed it by hand.

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
        self._hand_over = HandOver()
        self._claiming = threading.Lock()
        self._claimed = False

    def send(self, item: T) -> None:
        """Add an item; wait while too many are waiting to leave. Interrupted, it has added nothing.

        Raises:
            StateError: the upload is closed, its call or connection has ended, or it streams an iterable.
        """
        if self._source is not None:
            raise StateError("this Upload streams an iterable: only an Upload() without one is fed by hand")
        if not self._hand_over.put(item):
            raise StateError("this Upload is over: its call has ended, or the connection is lost")

    def close(self, error: BaseException | None = None) -> None:
        """End the upload; with an error, the hub method is told it. Idempotent."""
        if self._source is not None:
            raise StateError("this Upload streams an iterable and ends with it")
        self._hand_over.close(error)

    def _claim(self, report: Report) -> HandOver:
        """Belong to a call; return what it takes the items from."""
        with self._claiming:
            if self._claimed:
                raise StateError("this Upload was used already: make a new one for each call")
            self._claimed = True
        return self._hand_over if self._source is None else Pull(self._source, report)


def uploaded(arguments: tuple[Any, ...], report: Report) -> tuple[Any, ...]:
    """Return the arguments, with those that are streamed as the asyncio client takes them; the same if there is none.

    Args:
        arguments: of a call.
        report: called with the error if closing a source fails.

    Raises:
        TypeError: one of them is async.
        StateError: an `Upload` among them belongs to another call.
    """
    streamed = False
    for argument in arguments:
        if argument.__class__ in PLAIN:
            continue
        if hasattr(argument.__class__, "__aiter__"):
            raise TypeError(
                f"signalr_sdk.sync uploads generators and its own Upload, not async iterables: {argument!r}"
            )
        streamed = streamed or _is_stream(argument)
    if not streamed:
        return arguments
    return tuple(_streamed(argument, report) if _is_stream(argument) else argument for argument in arguments)


def _is_stream(argument: Any) -> bool:
    """Return whether an argument is uploaded item by item."""
    return isinstance(argument, Upload) or inspect.isgenerator(argument)


def _streamed(argument: Any, report: Report) -> HandOver:
    if isinstance(argument, Upload):
        return argument._claim(report)  # noqa: SLF001 - one module, one owner
    return Pull(argument, report)
