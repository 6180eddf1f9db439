"""`ProgressCall`: a call of a hub method whose progress is handled on the thread that made the call."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from ..._guard.tasks import spawn
from ..plain_functions import plain, result_of
from ..portal import current_portal

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine
    from typing import TypeAlias

    from ..loop_use import LoopUse

    # Calls a hub method. The argument is called with each reported value, and returns when the value was taken.
    Invoke: TypeAlias = Callable[[Callable[[Any], Coroutine[Any, Any, None]]], Coroutine[Any, Any, Any]]


class ProgressCall:
    """A call on the event loop's thread. The thread that made the call takes one reported value after another.

    All methods must be called on the event loop's thread.

    Args:
        invoke: calls the hub method.
    """

    def __init__(
        self, invoke: Callable[[Callable[[Any], Coroutine[Any, Any, None]]], Coroutine[Any, Any, Any]]
    ) -> None:
        self._invoke = invoke
        self._values: list[Any] = []
        self._changed = asyncio.Event()
        self._taken = asyncio.Event()
        self._task: asyncio.Task[Any] | None = None

    async def begin(self) -> None:
        """Send the call. The event loop's thread runs at least until the call has ended."""
        portal = current_portal()
        portal.enter()
        self._task = spawn(self._invoke(self._report), "invoke")
        self._task.add_done_callback(portal.leave)
        self._task.add_done_callback(lambda _task: self._changed.set())

    async def _report(self, value: Any) -> None:
        self._values.append(value)
        self._changed.set()
        self._taken.clear()
        await self._taken.wait()

    async def next(self) -> tuple[list[Any], bool]:
        """Wait for a value or for the end of the call. Return the values, and whether the call has ended."""
        assert self._task is not None
        self._taken.set()
        while not self._values and not self._task.done():
            self._changed.clear()
            await self._changed.wait()
        values, self._values = self._values, []
        return values, not values

    async def end(self) -> Any:
        """Return the result of the call, or raise its error. Cancel the call if it has not ended."""
        if self._task is None:
            raise asyncio.CancelledError  # interrupted before `begin`
        if not self._task.done():
            self._task.cancel()
            await asyncio.wait({self._task})
        return self._task.result()


def follow(loop_use: LoopUse, invoke: Invoke, on_progress: Callable[[Any], Any]) -> Any:
    """Call a hub method, and `on_progress` on this thread with each value that the method reports.

    Raises:
        TypeError: `on_progress` is async.
    """
    handler = plain(on_progress, "on_progress")
    call: ProgressCall = loop_use.call(ProgressCall, invoke)
    try:
        loop_use.call(call.begin)
        over = False
        while not over:
            values, over = loop_use.call(call.next)
            for value in values:
                result_of(handler(value))
    except BaseException:
        loop_use.call(_cancel, call)
        raise
    return loop_use.call(call.end)


async def _cancel(call: ProgressCall) -> None:
    try:
        await call.end()
    except (Exception, asyncio.CancelledError):  # noqa: BLE001 - the error of the handler is raised instead
        return
