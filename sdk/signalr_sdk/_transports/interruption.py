"""Ends the waits of several tasks, without cancelling the tasks."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

T = TypeVar("T")


class Interrupted(Exception):  # noqa: N818  # a signal between two tasks, no error
    """Raised by a step that `InterruptibleSteps.interrupt` has ended."""


class InterruptibleSteps:
    """Runs steps for several tasks until one task ends all steps.

    Each step runs in an `asyncio.timeout` without a deadline. `interrupt` sets the deadline to now, which cancels only
    the step. So a step needs no task of its own, and the caller of a step cannot mistake this for its own cancellation.

    Attributes:
        interrupted: whether `interrupt` was called.
    """

    def __init__(self) -> None:
        self.interrupted = False
        self._running: set[asyncio.Timeout] = set()
        self._all_ended = asyncio.Event()

    async def run(self, step: Callable[[], Awaitable[T]]) -> T:
        """Run a step, until the step or `interrupt` ends it.

        Raises:
            Interrupted: `interrupt` was called, before the step or during the step.
        """
        if self.interrupted:
            raise Interrupted
        scope = asyncio.timeout(None)
        try:
            async with scope:
                self._running.add(scope)
                try:
                    return await step()
                finally:
                    self._running.discard(scope)
                    if self.interrupted and not self._running:
                        self._all_ended.set()
        except TimeoutError:
            if scope.expired():
                raise Interrupted from None
            raise

    def interrupt(self) -> None:
        """End all steps, and let none begin from now on. The steps end in the next turns of the event loop."""
        if not self.interrupted:
            self.interrupted = True
            now = asyncio.get_running_loop().time()
            for scope in self._running:
                scope.reschedule(now)

    async def ended(self) -> None:
        """Wait until all steps have ended. To be called after `interrupt`."""
        if self._running:
            await self._all_ended.wait()
