"""The event loop's thread, which all connections of `signalr_sdk.sync` in a process share.

The thread runs while a connection is up or a call is running. It ends with the last connection or call, and the next
call starts a new thread. It is a daemon thread, so the interpreter can exit while connections are up. The exit of the
interpreter stops these connections, after the messages of `send` that still wait were sent.
"""

from __future__ import annotations

import asyncio
import atexit
import os
import threading
import time
from collections.abc import Callable, Coroutine
from contextlib import suppress
from typing import Any

from .._guard.tasks import spawn
from ..errors import StateError
from .daemon_threads import exit_begun
from .doorbell import Doorbell
from .log_thread import LogThread, divert

# At the exit of the interpreter, connections that are still up have this many seconds to send their last messages and
# to end.
_FAREWELL = 1.0
# A new portal (an event loop and its thread) ends after this many seconds if no connection or call uses it then.
_UNUSED = 1.0


class Portal:
    """A daemon thread with an event loop. The thread ends when no connection and no call uses it any more.

    The methods must be called on the event loop's thread. Other threads pass callbacks to this thread by `doorbell`.

    Attributes:
        loop: the event loop.
        thread: the thread.
        doorbell: passes callbacks from other threads to the event loop's thread.
        log_thread: handles the log records of the event loop's thread.
        ended: whether this portal accepts no more calls, for good. Later calls run on a new portal.
        forked: whether this portal is a copy in a forked child process, where its thread does not run.
    """

    def __init__(self) -> None:
        self.loop: asyncio.AbstractEventLoop = asyncio.new_event_loop()
        self.doorbell: Doorbell = Doorbell(self.loop)
        self.log_thread: LogThread = LogThread()
        self.ended: bool = False
        self.forked = False
        self._uses = 0
        self._unwanted = asyncio.Event()
        self._lives: dict[asyncio.Task[object], Callable[[], Coroutine[Any, Any, None]]] = {}
        self.thread: threading.Thread = threading.Thread(target=self._main, name="signalr_sdk loop", daemon=True)
        try:
            self.thread.start()
        except RuntimeError as error:
            self.loop.close()
            raise StateError("no thread can be started: the interpreter is about to exit") from error

    def _main(self) -> None:
        thread = threading.get_ident()
        process.portals[thread] = self
        try:
            with asyncio.Runner(loop_factory=lambda: self.loop) as runner:
                runner.run(self._stay())
        finally:
            process.portals.pop(thread, None)
            self.log_thread.end()

    async def _stay(self) -> None:
        # End this event loop and its thread if no call comes: Ctrl-C may have interrupted the user's thread before its
        # first call, and the event loop's thread would run for ever without use.
        self.loop.call_later(_UNUSED, self.end_if_unused)
        await self._unwanted.wait()

    def enter(self) -> None:
        """Count a call or connection that uses the event loop's thread, which then runs at least until `leave`."""
        self._uses += 1

    def leave(self, _task: object = None) -> None:
        """Count a call or connection as ended. If it was the last one, the event loop's thread ends soon."""
        self._uses -= 1
        if self._uses == 0:
            self.loop.call_soon(self.end_if_unused)

    def end_if_unused(self) -> None:
        """End the event loop's thread for good, unless a call or connection uses it."""
        if self._uses == 0 and not self.ended:
            process.forget(self)
            self.ended = True
            # Begin the calls that other threads have queued: because `ended` is set, each call fails, and its thread
            # repeats the call on a new portal (an event loop and its thread). Otherwise the thread would wait for ever.
            # A thread that queues a call after this line sees that `ended` is set.
            self.doorbell.answer()
            self._unwanted.set()

    def run_life(
        self, life: Coroutine[Any, Any, object], stop: Callable[[], Coroutine[Any, Any, None]]
    ) -> asyncio.Task[object]:
        """Start the task of a connection's `life`, and keep the event loop's thread running until the task has ended.

        Args:
            life: a coroutine that returns when the connection and all that belongs to it have ended.
            stop: stops the connection; called if the connection is still up at the exit of the interpreter.
        """
        self.enter()
        task = spawn(life, "life")
        self._lives[task] = stop
        task.add_done_callback(self._lives.pop)
        task.add_done_callback(self.leave)
        return task

    def stop_all(self, done: Callable[[], None]) -> None:
        """Stop all connections on this event loop, because the interpreter exits, and then call `done`."""
        stops = [spawn(stop(), "stop") for stop in self._lives.values()]
        asyncio.gather(*stops, return_exceptions=True).add_done_callback(lambda _all: done())


class _Process:
    """All portals (event loops with their threads) of this process.

    At most one portal accepts calls; any other portal is about to end.

    Attributes:
        portals: all running portals, by the identity of their threads.
    """

    def __init__(self) -> None:
        self.portals: dict[int, Portal] = {}
        # The portal (an event loop and its thread) that accepts calls, under the key "portal". A dict, because several
        # threads may make a portal at the same time: `setdefault` keeps only one, in a single step without a lock.
        self._current: dict[str, Portal] = {}
        # If this process was forked: copies of the portals (event loops with their threads) of the parent process.
        # Never free a copy: freeing would close a selector that the parent process still uses.
        self._inherited: list[Portal] = []
        atexit.register(self._exit)
        if hasattr(os, "register_at_fork"):
            os.register_at_fork(after_in_child=self._forked)

    def portal(self) -> Portal:
        """Return the portal (an event loop and its thread) that accepts calls; start one if there is none.

        May be called on any thread. The portal may end before the caller queues a call: check `Portal.ended` after
        queueing.
        """
        if portal := self._current.get("portal"):
            return portal
        made = Portal()
        portal = self._current.setdefault("portal", made)
        if portal is not made:  # another thread has made a portal first
            made.doorbell.ring(made.end_if_unused)
        return portal

    def forget(self, portal: Portal) -> None:
        """Let `process.portal()` no longer return this portal (an event loop and its thread), which is about to end.

        Must be called on the thread of this portal.
        """
        if self._current.get("portal") is portal:
            del self._current["portal"]

    def refuse_loop_thread(self) -> None:
        """Raise `StateError` if the current thread is an event loop's thread: a call would wait for itself for ever."""
        if threading.get_ident() in self.portals:
            raise StateError(
                "this is the thread of the event loop of signalr_sdk.sync, and a call that blocks it would never end: "
                "make the call from a handler or a thread of your own"
            )

    def _forked(self) -> None:
        for portal in {*self.portals.values(), *self._current.values()}:
            portal.forked = True
            self._inherited.append(portal)
        self.portals.clear()
        self._current.clear()
        LogThread.running.clear()

    def _exit(self) -> None:
        exit_begun.set()
        until = time.monotonic() + _FAREWELL
        if portal := self._current.get("portal"):
            self._stop_all(portal, until)
        for log_thread in list(LogThread.running):
            log_thread.flush(until)

    def _stop_all(self, portal: Portal, until: float) -> None:
        stopping = threading.Lock()
        stopping.acquire()
        with suppress(RuntimeError):  # the portal has ended by itself meanwhile
            portal.loop.call_soon_threadsafe(portal.stop_all, stopping.release)
            if stopping.acquire(timeout=_FAREWELL):
                portal.thread.join(max(0.0, until - time.monotonic()))


process: _Process = _Process()


def _log_thread() -> LogThread | None:
    portal = process.portals.get(threading.get_ident())
    return None if portal is None else portal.log_thread


divert(_log_thread)


def current_portal() -> Portal:
    """Return the portal (an event loop and its thread) of the current thread, which must be an event loop's thread."""
    return process.portals[threading.get_ident()]
