"""`Pending`: a result to wait for, with `await` in a coroutine or with `result()` in a thread."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Generic, TypeVar

import attrs

from .._guard.loops import loop_or_none

if TYPE_CHECKING:
    from collections.abc import Callable, Generator
    from concurrent.futures import Future

T = TypeVar("T")


@attrs.frozen(eq=False)
class Pending(Generic[T]):
    """A result to wait for: use `await` in a coroutine, or `result()` in a thread without a running event loop.

    The work that gives the result begins only with `await` or `result()`.

    Args:
        begin: begins the work and returns the future of the result.
        timeout: seconds to wait for the result; `None` for no limit.
        missing: returns the text of the `TimeoutError` if the result does not come in time.
    """

    _begin: Callable[[], Future[T]]
    _timeout: float | None = None
    _missing: Callable[[], str] = lambda: "it took too long"

    def __await__(self) -> Generator[object, None, T]:
        return self._wait().__await__()

    async def _wait(self) -> T:
        future = self._begin()
        try:
            async with asyncio.timeout(self._timeout):
                return await asyncio.wrap_future(future)
        except TimeoutError:
            raise TimeoutError(self._missing()) from None

    def result(self) -> T:
        """Wait for the result and return it. Only in a thread without a running event loop.

        Raises:
            RuntimeError: an event loop runs in this thread, and waiting would block it.
            TimeoutError: the result did not come in time.
        """
        if loop_or_none() is not None:
            raise RuntimeError("an event loop runs in this thread: use await")
        future = self._begin()
        try:
            return future.result(self._timeout)
        except TimeoutError:
            raise TimeoutError(self._missing()) from None
        finally:
            future.cancel()
