"""`Waiters`: coroutines that wait for a change of the same object, for example of a buffer, and are woken together."""

from __future__ import annotations

import asyncio

from .._guard.futures import resolve


class Waiters:
    """Wakes all waiting coroutines at once. Not bound to one event loop, as an `asyncio.Condition` would be.

    A server can therefore be stopped, and started again on another event loop.
    """

    def __init__(self) -> None:
        self._futures: list[asyncio.Future[None]] = []

    def __bool__(self) -> bool:
        return not all(future.done() for future in self._futures)

    async def wait(self) -> None:
        """Wait for the next `wake`. Then check your own condition, and call `wait` again if the condition is false."""
        future = asyncio.get_running_loop().create_future()
        self._futures.append(future)
        try:
            await future
        finally:
            if future in self._futures:  # the wait was cancelled
                self._futures.remove(future)

    def wake(self) -> None:
        """Wake all coroutines that wait now. Only on the event loop on which these coroutines wait."""
        futures, self._futures = self._futures, []
        for future in futures:
            resolve(future, None)
