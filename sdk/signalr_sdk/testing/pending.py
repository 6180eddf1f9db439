"""`Pending`: a result that a coroutine awaits, and a thread without an event loop waits for."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Generic, TypeVar

from .loop_thread import running_loop

if TYPE_CHECKING:
    from collections.abc import Callable, Generator
    from concurrent.futures import Future

T = TypeVar("T")


class Pending(Generic[T]):
    """A result to come: `await` it in a coroutine on any event loop, or call `result()` in a thread without one.

    The work that gives the result begins with the `await` or with `result()`, not before.

    Args:
        begin: begins the work and returns the future of its result.
        timeout: seconds to wait; `None` for no limit.
        missing: returns the text of the `TimeoutError`.
    """

    def __init__(
        self,
        begin: Callable[[], Future[T]],
        timeout: float | None = None,
        missing: Callable[[], str] = lambda: "it took too long",
    ) -> None:
        self._begin = begin
        self._timeout = timeout
        self._missing = missing

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
        """Wait in a thread without a running event loop, and return the result.

        Raises:
            RuntimeError: this thread runs an event loop, which the wait would block.
            TimeoutError: the result did not come in time.
        """
        if running_loop() is not None:
            raise RuntimeError("an event loop runs in this thread: use await")
        future = self._begin()
        try:
            return future.result(self._timeout)
        except TimeoutError:
            raise TimeoutError(self._missing()) from None
        finally:
            future.cancel()
