"""`GatheredWrites`: writes that come at the same time go out in one script, in the order of the calls.

Many commands at once would need as many connections, which come to Redis in any order.
"""

from __future__ import annotations

import asyncio
from collections import deque
from typing import TYPE_CHECKING, Final, Generic, TypeVar

from .._guard.copying import copy_of
from .._guard.futures import fail, resolve
from .._guard.tasks import spawn
from ..errors import SignalRError, StoreError

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Sequence

W = TypeVar("W")

# The most writes and bytes of one script, during which Redis does nothing else.
_MOST: Final = 200
_MOST_BYTES: Final = 1024 * 1024


class GatheredWrites(Generic[W]):
    """Writes of one kind, of which one script is under way at a time.

    Args:
        run: runs a script with several writes, and returns the result of each.
    """

    def __init__(self, run: Callable[[Sequence[W]], Coroutine[None, None, Sequence[int]]]) -> None:
        self._run = run
        self._waiting: deque[tuple[W, int, asyncio.Future[int]]] = deque()
        self._task: asyncio.Task[None] | None = None

    def put(self, write: W, size: int) -> asyncio.Future[int]:
        """Add a write. The writes keep the order of the calls.

        Args:
            write: the write.
            size: its bytes.

        Returns:
            A future with the result, or with the error of the script.
        """
        result: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self._waiting.append((write, size, result))
        if self._task is None or self._task.done():
            self._task = spawn(self._work(), "writes to Redis")
        return result

    async def _work(self) -> None:
        while self._waiting:
            batch = self._batch()
            writes = [write for write, _size, result in batch if not result.done()]
            waiters = [result for _write, _size, result in batch if not result.done()]
            if not writes:
                continue
            try:
                results = await self._run(writes)
            except SignalRError as error:
                for waiter in waiters:
                    fail(waiter, copy_of(error))
            except BaseException:
                for waiter in waiters:
                    fail(waiter, StoreError("the store was closed"))
                raise
            else:
                for waiter, value in zip(waiters, results, strict=True):
                    resolve(waiter, value)

    def _batch(self) -> list[tuple[W, int, asyncio.Future[int]]]:
        batch: list[tuple[W, int, asyncio.Future[int]]] = []
        left = _MOST_BYTES
        while self._waiting and len(batch) < _MOST:
            left -= self._waiting[0][1]
            if batch and left < 0:
                break
            batch.append(self._waiting.popleft())
        return batch

    async def close(self, timeout: float) -> None:
        """Wait until all writes are done, for a limited time. What is left fails."""
        task, self._task = self._task, None
        if task is not None:
            _ = await asyncio.wait({task}, timeout=timeout)
            task.cancel()
        while self._waiting:
            fail(self._waiting.popleft()[2], StoreError("the store was closed"))
