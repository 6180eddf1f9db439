"""How threads and the loop's thread wait for each other without a lock that both take.

A signal handler may call the hub while the main thread, in the frame below it, is anywhere inside this package. With a
shared lock the loop's thread would wait for the main thread, which waits for its signal handler, which waits for the
loop's thread; a re-entrant lock changes nothing about that. So both sides share deques by single steps (`append`,
`popleft`), and a thread that has to wait does so on a lock of its own, which the loop's thread only releases.
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

# Ctrl-C interrupts a wait on a lock on Linux. It does not on Windows, and elsewhere only if the signal happens to wake
# the main thread. There a wait is cut into slices of so many seconds.
SLICE = None if sys.platform == "linux" else 0.1


class Doorbell:
    """Callbacks that threads leave for the loop's thread, which is woken once for many of them.

    No callback is missed: a thread leaves its callback before it looks whether a wake-up is on its way, and the loop's
    thread notes that the wake-up has come before it looks for callbacks.
    """

    __slots__ = ("_callbacks", "_loop", "_ringing")

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._callbacks: deque[Callable[[], object]] = deque()
        # The thread whose wake-up is on its way; 0 for none.
        self._ringing = 0

    def ring(self, callback: Callable[[], object]) -> None:
        """Leave a callback for the loop's thread; from any thread. Callbacks are called in the order of these calls."""
        self._callbacks.append(callback)
        # A thread does not rely on its own earlier wake-up, which may be half done in a frame that a signal handler or
        # a finalizer has interrupted. No thread relies on one of the main thread, whose signal handler may run long.
        thread = threading.get_ident()
        if self._ringing in (0, thread):
            if thread != threading.main_thread().ident:
                self._ringing = thread
            call_on_loop(self._loop, self.answer)

    def take_back(self, callback: Callable[[], object]) -> bool:
        """Return whether a callback was not called yet, and never will be; from any thread."""
        try:
            self._callbacks.remove(callback)
        except ValueError:
            return False
        return True

    def answer(self) -> None:
        """Call what threads have left. On the loop's thread."""
        self._ringing = 0
        callbacks = self._callbacks
        try:
            while callbacks:
                callbacks.popleft()()
        finally:
            if callbacks:  # one of them has raised: the others must not wait for the next ring
                self._loop.call_soon(self.answer)


class WaitingThreads:
    """Threads that wait until the loop's thread has changed something."""

    __slots__ = ("_locks",)

    def __init__(self) -> None:
        self._locks: deque[threading.Lock] = deque()

    def wait_until(self, ready: Callable[[], bool], ring: Callable[[], object]) -> None:
        """Return when `ready` returns true. Ctrl-C interrupts the wait.

        Args:
            ready: called at first, and after each `wake`.
            ring: has the loop's thread see whether a `wake` is due. The ring that came with the last item or message
                may be half done in a frame that a signal handler has interrupted.
        """
        while not ready():
            lock = threading.Lock()
            lock.acquire()
            self._locks.append(lock)
            ring()
            # A `wake` that came before the lock was added does not release it.
            if not ready():
                acquire(lock)

    def wake(self) -> None:
        """Have all waiting threads call `ready` again. On the loop's thread."""
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
