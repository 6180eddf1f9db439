"""Lets the users' threads and the event loop's thread wait for each other, without a lock that both sides acquire.

A lock that both sides acquire could block both for ever. A signal handler may interrupt the main thread while the main
thread holds the lock, and call the hub. Then the event loop's thread waits for the lock, the signal handler waits for
the event loop's thread, and the main thread waits for the end of its signal handler. A re-entrant lock would not help.
So the threads share deques by single steps (`append`, `popleft`). A thread that has to wait does so on a lock of its
own, which the event loop's thread only releases.
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

# On Linux, Ctrl-C interrupts a thread that waits for a lock (-1: without a time limit). On Windows Ctrl-C does not, and
# on other systems not always: there a wait is divided into slices of this many seconds, and Ctrl-C works between two
# slices.
SLICE = -1 if sys.platform == "linux" else 0.1


class Doorbell:
    """Passes callbacks from any thread to the event loop's thread. One wake-up of the event loop serves many callbacks.

    No callback is left in the queue: `ring` queues its callback before it reads `_ringing`, and `answer` clears
    `_ringing` before it takes callbacks from the queue.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._callbacks: deque[Callable[[], object]] = deque()
        # Identity of the thread that wakes the event loop, until the event loop runs `answer`; 0 for no thread.
        self._ringing = 0

    def ring(self, callback: Callable[[], object]) -> None:
        """Let the event loop's thread call a callback, after all callbacks of earlier rings. For any thread."""
        self._callbacks.append(callback)
        # Do not rely on an earlier wake-up by this same thread: a signal handler or finalizer, which calls `ring` now,
        # may have interrupted the earlier `ring` before it woke the event loop. Do not note the main thread in
        # `_ringing`: a slow signal handler may interrupt its `ring` for long, and other threads would rely on this
        # `ring` to wake the event loop.
        thread = threading.get_ident()
        if self._ringing in (0, thread):
            if thread != threading.main_thread().ident:
                self._ringing = thread
            call_on_loop(self._loop, self.answer)

    def take_back(self, callback: Callable[[], object]) -> bool:
        """Remove a callback from the queue. Return `False` if the event loop has taken it already. For any thread."""
        try:
            self._callbacks.remove(callback)
        except ValueError:
            return False
        return True

    def answer(self) -> None:
        """Call all queued callbacks. Runs on the event loop's thread."""
        self._ringing = 0
        callbacks = self._callbacks
        try:
            while callbacks:
                callbacks.popleft()()
        finally:
            if callbacks:  # a callback has raised: call the callbacks behind it too
                self._loop.call_soon(self.answer)


class WaitingThreads:
    """The threads that wait until the event loop's thread changes something, for example until a queue has room."""

    def __init__(self) -> None:
        self._locks: deque[threading.Lock] = deque()

    def wait_until(self, ready: Callable[[], bool], ring: Callable[[], object]) -> None:
        """Block this thread until `ready` returns true. Ctrl-C interrupts the wait.

        Args:
            ready: called at once, and again after each `wake`.
            ring: called before each wait: asks the event loop's thread to call `wake` as soon as `ready` may be true.
                An earlier `ring` of this thread is not enough: a signal handler may have interrupted it halfway.
        """
        while not ready():
            lock = threading.Lock()
            lock.acquire()
            self._locks.append(lock)
            ring()
            # Check again before waiting: a `wake` just before the lock was added does not release the lock, and this
            # thread would wait for ever.
            if not ready():
                acquire(lock)

    def wake(self) -> None:
        """Make all waiting threads call `ready` again. Runs on the event loop's thread."""
        locks = self._locks
        while locks:
            locks.popleft().release()


def acquire(lock: threading.Lock) -> None:
    """Wait until the event loop's thread releases a lock. Ctrl-C interrupts the wait on every system."""
    while not lock.acquire(timeout=SLICE):
        pass
