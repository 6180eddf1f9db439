"""Lets other threads and the loop's thread wait for each other, without a lock that both sides acquire.

Such a lock could block for ever. A signal handler may interrupt the main thread while the main thread holds the lock,
and call the hub. Then the loop's thread waits for the lock, the signal handler waits for the loop's thread, and the
main thread waits for the end of its signal handler. A re-entrant lock would not help. So both sides share deques by
single steps (`append`, `popleft`). A thread that has to wait does so on a lock of its own, which the loop's thread only
releases.
"""

from __future__ import annotations

import sys
import threading
from collections import deque
from typing import TYPE_CHECKING

from .daemon_threads import call_on_loop

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable

# On Linux, Ctrl-C interrupts a thread that waits for a lock. On Windows Ctrl-C does not, and on other systems not
# always. On these systems divide the wait into slices of so many seconds: Ctrl-C works between two slices.
SLICE = None if sys.platform == "linux" else 0.1


class Doorbell:
    """Passes callbacks from other threads to the loop's thread. One wake-up of the loop's thread serves many callbacks.

    No callback is missed: a thread queues its callback before it checks whether a wake-up is on its way, and the loop's
    thread notes that the wake-up has come before it looks for callbacks.
    """

    __slots__ = ("_callbacks", "_loop", "_ringing")

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._callbacks: deque[Callable[[], object]] = deque()
        # The thread whose wake-up is on its way; 0 for none.
        self._ringing = 0

    def ring(self, callback: Callable[[], object]) -> None:
        """Queue a callback and wake the loop's thread. From any thread. Callbacks run in the order of the queue."""
        self._callbacks.append(callback)
        # Do not rely on an earlier wake-up of this same thread: a signal handler or a finalizer may have interrupted
        # the earlier `ring` halfway. Do not rely on a wake-up of the main thread at all: its signal handler may run for
        # a long time.
        thread = threading.get_ident()
        if self._ringing in (0, thread):
            if thread != threading.main_thread().ident:
                self._ringing = thread
            call_on_loop(self._loop, self.answer)

    def take_back(self, callback: Callable[[], object]) -> bool:
        """Remove a callback from the queue. Return `False` if it was called already. From any thread."""
        try:
            self._callbacks.remove(callback)
        except ValueError:
            return False
        return True

    def answer(self) -> None:
        """Call all queued callbacks. On the loop's thread."""
        self._ringing = 0
        callbacks = self._callbacks
        try:
            while callbacks:
                callbacks.popleft()()
        finally:
            if callbacks:  # a callback has raised: call the others without a new ring
                self._loop.call_soon(self.answer)


class WaitingThreads:
    """Threads that wait for a change by the loop's thread, for example for room in a queue."""

    __slots__ = ("_locks",)

    def __init__(self) -> None:
        self._locks: deque[threading.Lock] = deque()

    def wait_until(self, ready: Callable[[], bool], ring: Callable[[], object]) -> None:
        """Return when `ready` returns true. Ctrl-C interrupts the wait.

        Args:
            ready: called at first, and after each `wake`.
            ring: makes the loop's thread check whether it must call `wake`. An earlier ring is not enough: a signal
                handler may have interrupted it halfway.
        """
        while not ready():
            lock = threading.Lock()
            lock.acquire()
            self._locks.append(lock)
            ring()
            # Check again before waiting: a `wake` that came before the lock was added does not release the lock.
            if not ready():
                acquire(lock)

    def wake(self) -> None:
        """Make all waiting threads call `ready` again. On the loop's thread."""
        locks = self._locks
        while locks:
            locks.popleft().release()


def acquire(lock: threading.Lock) -> None:
    """Acquire a lock that the loop's thread releases. Ctrl-C interrupts the wait on every system."""
    if SLICE is None:
        lock.acquire()
    else:
        while not lock.acquire(timeout=SLICE):
            pass
