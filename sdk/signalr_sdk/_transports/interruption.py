"""Interrupts what several tasks of one transport wait for (a poll, a POST, a read), without cancelling the tasks."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

T = TypeVar("T")


class Interrupted(Exception):  # noqa: N818  # a signal between two tasks, no error
    """Raised in a task whose poll, POST or read was ended by `InterruptibleSteps.interrupt`."""


class InterruptibleSteps:
    """Runs steps (a poll, a POST, a read of the event stream) of several tasks, until one task ends all steps at once.

    Each step runs in an `asyncio.timeout` without a deadline. `interrupt` sets the deadline to now, which cancels only
    the step and not the task that runs it. So a step needs no task of its own, and no task mistakes the end of its step
    for a cancellation of itself.

    Attributes:
        interrupted: whether `interrupt` was called.
    """

    def __init__(self) -> None:
        self.interrupted = False
        self._running: set[asyncio.Timeout] = set()
        self._all_ended = asyncio.Event()

    async def run(self, step: Callable[[], Awaitable[T]]) -> T:
        """Call `step`, a coroutine function that polls, posts or reads, and return its result.

        Raises:
            Interrupted: `interrupt` was called, before the step or during the step, which is then ended.
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
        """End all running steps (polls, POST requests, reads): their tasks get `Interrupted` soon after this call.

        A step that begins later raises `Interrupted` at once.
        """
        if not self.interrupted:
            self.interrupted = True
            now = asyncio.get_running_loop().time()
            for scope in self._running:
                scope.reschedule(now)

    async def ended(self) -> None:
        """Wait until no step (a poll, a POST, a read) is running. Call `interrupt` before, which ends the steps."""
        if self._running:
            await self._all_ended.wait()
