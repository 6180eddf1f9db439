"""`Upload`, an argument that is sent to the hub as a stream, and finding the arguments of a call that are uploads."""

from __future__ import annotations

import asyncio
import inspect
from collections import deque
from collections.abc import AsyncIterable, AsyncIterator, Iterable, Iterator
from typing import Any, Generic, Self, TypeVar

from .._guard.copying import Uncopied
from .._guard.loops import check_loop, loop_or_none
from ..errors import StateError

T = TypeVar("T")

_USED = "this Upload was used already: make a new one for each call"

# Arguments of these types are never uploads. Checking this set first is faster than `hasattr(..., "__aiter__")`
# (tests/bench/test_end_to_end.py, `send`).
PLAIN = frozenset({type(None), bool, int, float, str, bytes, list, tuple, dict})


class Upload(Uncopied, Generic[T]):
    """An argument of a hub method that is sent to the hub as a stream of items.

    `Upload(iterable)` sends the items of a sync or async iterable. `Upload()` sends the items that you pass to `send`;
    `close` ends the stream. Call both methods on the thread of the event loop. An `Upload` can be used for one call.

    Args:
        source: a sync or async iterable of the items. Leave `source` out to use `send` and `close`.

    Example:
        ```python
        upload = Upload()
        call = asyncio.create_task(hub.invoke("Sum", upload))
        await upload.send(1)
        await upload.send(2)
        upload.close()
        assert await call == 3
        ```
    """

    _CAPACITY = 64

    def __init__(self, source: Iterable[T] | AsyncIterable[T] | None = None) -> None:
        if source is not None and not hasattr(source, "__aiter__") and not hasattr(source, "__iter__"):
            raise TypeError(f"an Upload needs an iterable or async iterable, not {type(source).__name__}")
        self._source = source
        self._items: deque[T] = deque()
        self._error: BaseException | None = None
        self._closed = False
        self._claimed = False
        self._loop: asyncio.AbstractEventLoop | None = None
        self._taken = False
        self._over = False
        self._changed: asyncio.Event | None = None

    async def send(self, item: T) -> None:
        """Add an item; wait while 64 items are waiting to be sent. If `send` is cancelled, the item was not added.

        Raises:
            StateError: the upload is closed or has a `source`, or its call or connection has ended.
        """
        check_loop(self._loop)
        self._check()
        while len(self._items) >= self._CAPACITY:
            await self._change()
            self._check()
        self._items.append(item)
        self._notify()

    def close(self, error: BaseException | None = None) -> None:
        """End the stream after the items that were added. A second call does nothing.

        Args:
            error: if given, the hub method's stream fails with the text of this error.

        Raises:
            StateError: the upload has a `source`.
        """
        if self._source is not None:
            raise StateError("this Upload streams an iterable and ends with it")
        if not self._closed:
            self._closed = True
            self._error = error
            self._notify()

    def _check(self) -> None:
        if self._source is not None:
            raise StateError("this Upload streams an iterable: only an Upload() without one is fed by hand")
        if self._closed:
            raise StateError("this Upload is closed")
        if self._over:
            raise StateError("this Upload is over: its call has ended, or the connection is lost")

    async def _change(self) -> None:
        self._changed = self._changed or asyncio.Event()
        self._changed.clear()
        await self._changed.wait()

    def _notify(self) -> None:
        if self._changed is not None:
            self._changed.set()

    def _claim(self) -> None:
        """Reserve this upload for one call; raise StateError if another call uses the upload already."""
        if self._claimed:
            raise StateError(_USED)
        self._claimed = True
        self._loop = loop_or_none()

    def __aiter__(self) -> AsyncIterator[T]:
        if self._taken:
            raise StateError(_USED)
        self._taken = True
        return self._fed() if self._source is None else iterate(self._source)

    async def _fed(self) -> AsyncIterator[T]:
        try:
            while True:
                while self._items:
                    item = self._items.popleft()
                    self._notify()
                    yield item
                if self._error is not None:
                    raise self._error
                if self._closed:
                    return
                await self._change()
        finally:
            self._end()

    def _end(self) -> Iterable[T] | AsyncIterable[T] | None:
        """Make waiting calls of `send` raise: the upload has ended. Return the source, which the caller must close."""
        self._over = True
        self._notify()
        return self._source


class _Stepper(Generic[T]):
    """Turns a sync iterable into an async iterator. Waiting for an item blocks the event loop."""

    def __init__(self, source: Iterable[T]) -> None:
        self._iterator: Iterator[T] = iter(source)

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> T:
        for item in self._iterator:
            return item
        raise StopAsyncIteration

    async def aclose(self) -> None:
        # Close only generators. A file has a `close` method too, but the user opened the file and must close it.
        if inspect.isgenerator(self._iterator):
            self._iterator.close()


def iterate(source: Iterable[T] | AsyncIterable[T]) -> AsyncIterator[T]:
    """Return an async iterator over the items of a sync or async iterable."""
    if isinstance(source, AsyncIterable):
        return aiter(source)
    return _Stepper(source)


def split(arguments: tuple[Any, ...]) -> tuple[list[Any], list[Any] | None]:
    """Split the arguments of a call into plain arguments and uploads.

    Returns:
        A tuple of two lists: the plain arguments, and the uploads (`None` if no argument is an upload).

    Raises:
        StateError: an `Upload` was used for another call already.
    """
    for argument in arguments:
        if argument.__class__ not in PLAIN and hasattr(argument.__class__, "__aiter__"):
            break
    else:
        return list(arguments), None
    plain = [argument for argument in arguments if not hasattr(argument.__class__, "__aiter__")]
    streamed = [argument for argument in arguments if hasattr(argument.__class__, "__aiter__")]
    for upload in streamed:
        if isinstance(upload, Upload):
            upload._claim()  # noqa: SLF001 - one module, one owner
    return plain, streamed


async def close_source(source: Any, iterator: AsyncIterator[Any] | None) -> None:
    """Close the source of an upload, and the iterator over the source.

    Args:
        source: the argument of the call: an async iterable or an `Upload`.
        iterator: the iterator over the source; `None` if the upload has not begun.
    """
    if isinstance(source, Upload):
        source = source._end()  # noqa: SLF001 - one module, one owner
    for closable in (iterator, source):
        aclose = getattr(closable, "aclose", None)
        if aclose is not None:
            await aclose()
        elif inspect.isgenerator(closable):
            closable.close()
