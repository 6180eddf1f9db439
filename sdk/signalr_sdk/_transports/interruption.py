"""Ending what another task waits for."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

T = TypeVar("T")


class Interrupted(Exception):  # noqa: N818  # a signal between two tasks, no error
    """The wait was ended by `Interruptible.interrupt`."""


class Interruptible:
    """Runs steps of several tasks until one of them ends them all.

    A timeout without a deadline does it: when it is brought forward, it cancels the step and nothing else, so neither
    a task for each step is needed nor a cancellation that its caller could take for its own.
    """

    def __init__(self) -> None:
        self.interrupted = False
        self._running: set[asyncio.Timeout] = set()
        self._idle = asyncio.Event()

    async def run(self, step: Callable[[], Awaitable[T]]) -> T:
        """Run a step.

        Raises:
            Interrupted: `interrupt` was called, before or meanwhile.
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
                        self._idle.set()
        except TimeoutError:
            if scope.expired():
                raise Interrupted from None
            raise

    async def interrupt(self) -> None:
        """End the steps, let none begin from now on, and return when they have ended."""
        if not self.interrupted:
            self.interrupted = True
            now = asyncio.get_running_loop().time()
            for scope in self._running:
                scope.reschedule(now)
        if self._running:
            await self._idle.wait()
