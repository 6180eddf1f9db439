"""Streams from the client to the hub: `Upload`, and which arguments of a call are uploaded."""

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

# Arguments of these types are never uploaded. A look into this set is quicker than `hasattr(..., "__aiter__")`
# (tests/bench/test_end_to_end.py, `send`).
PLAIN = frozenset({type(None), bool, int, float, str, bytes, list, tuple, dict})


class Upload(Uncopied, Generic[T]):
    """An argument that goes to the hub item by item.

    `Upload(iterable)` streams any sync or async iterable. `Upload()` is fed by hand, from the event loop's thread:
    `send` waits while 64 items are waiting to leave, `close` ends it. Good for one call.

    Args:
        source: the items; without a source, feed the upload by hand.

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
        """Add an item; wait while 64 items are waiting to leave. A cancelled `send` has added nothing.

        Raises:
            StateError: the upload is closed, its call or connection has ended, or it streams an iterable.
        """
        check_loop(self._loop)
        self._check()
        while len(self._items) >= self._CAPACITY:
            await self._change()
            self._check()
        self._items.append(item)
        self._notify()

    def close(self, error: BaseException | None = None) -> None:
        """End the upload. The hub method gets the error, if there is one. Idempotent."""
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
        """Belong to a call: a second call must neither upload the items nor close the upload."""
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
        """Wake callers of `send`, whose items can leave no more; return the source."""
        self._over = True
        self._notify()
        return self._source


class _Stepper(Generic[T]):
    """An async iterator over a sync iterable."""

    def __init__(self, source: Iterable[T]) -> None:
        self._source = source
        self._iterator: Iterator[T] = iter(source)

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> T:
        for item in self._iterator:
            return item
        raise StopAsyncIteration

    async def aclose(self) -> None:
        # A file has a `close` too, but the user opened the file and closes it.
        if inspect.isgenerator(self._iterator):
            self._iterator.close()


def iterate(source: Iterable[T] | AsyncIterable[T]) -> AsyncIterator[T]:
    """Return an async iterator over either kind of iterable."""
    if isinstance(source, AsyncIterable):
        return aiter(source)
    return _Stepper(source)


def split(arguments: tuple[Any, ...]) -> tuple[list[Any], list[Any] | None]:
    """Return the plain arguments, and the arguments that are uploaded (`None` if there are none).

    Raises:
        StateError: an `Upload` among them belongs to another call.
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
    """Close the source of an upload, whether the upload began or not.

    Args:
        source: the argument of the call.
        iterator: the iterator over the source, if the upload began.
    """
    if isinstance(source, Upload):
        source = source._end()  # noqa: SLF001 - one module, one owner
    for closable in (iterator, source):
        aclose = getattr(closable, "aclose", None)
        if aclose is not None:
            await aclose()
        elif inspect.isgenerator(closable):
            closable.close()
