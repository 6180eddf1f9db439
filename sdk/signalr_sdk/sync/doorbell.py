"""Lets the users' threads and the event loop's thread wait for each other, without a lock that both sides acquire.

A lock that both sides acquire could block both for ever. A signal handler may interrupt the main thread while the main
thread holds the lock, and call the hub. Then the event loop's thread waits for the lock, the signal handler waits for
the event loop's thread, and the main thread waits for the end of its signal handler. A re-entrant lock would not help.
So the threads share deques, whose `append` and `popleft` are atomic. A thread that has to wait acquires a lock of its
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

# The longest wait for a lock in seconds; -1 for no limit. On Linux, Ctrl-C interrupts a thread that waits for a lock.
# On other systems Ctrl-C interrupts the wait only sometimes or, on Windows, never: wait in slices there, so that Ctrl-C
# works between two slices.
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
        """Let the event loop's thread call a callback, after the callbacks of earlier `ring` calls.

        May be called on any thread.
        """
        self._callbacks.append(callback)
        # If `_ringing` is another thread, do nothing: that thread is about to wake the event loop. If `_ringing` is
        # this thread, wake the event loop: a signal handler or finalizer may have interrupted an earlier `ring` on this
        # thread before its wake-up. Do not set `_ringing` to the main thread: a slow signal handler can delay the
        # wake-up by the main thread, and the callbacks of other threads would have to wait for this wake-up.
        thread = threading.get_ident()
        if self._ringing in (0, thread):
            if thread != threading.main_thread().ident:
                self._ringing = thread
            call_on_loop(self._loop, self.answer)

    def take_back(self, callback: Callable[[], object]) -> bool:
        """Remove a callback from the queue. Return `False` if the event loop's thread has taken the callback already.

        May be called on any thread.
        """
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
            ring: asks the event loop's thread to call `wake` as soon as `ready` may be true. Called before each wait,
                because a signal handler may have interrupted an earlier call of `ring`.
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
