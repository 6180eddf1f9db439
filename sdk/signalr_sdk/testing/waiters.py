"""`Waiters`: the coroutines that wait for something to change, woken together."""

from __future__ import annotations

import asyncio


class Waiters:
    """Unlike `asyncio.Condition`, needs no lock and no event loop of its own, so that a server can change its loop."""

    def __init__(self) -> None:
        self._futures: list[asyncio.Future[None]] = []

    def __bool__(self) -> bool:
        return not all(future.done() for future in self._futures)

    async def wait(self) -> None:
        """Return after the next `wake`; the waiter must then check what it waits for once more."""
        future = asyncio.get_running_loop().create_future()
        self._futures.append(future)
        await future

    def wake(self) -> None:
        """Wake all who wait now. Only on the event loop on which they wait."""
        futures, self._futures = self._futures, []
        for future in futures:
            if not future.done():
                future.set_result(None)
