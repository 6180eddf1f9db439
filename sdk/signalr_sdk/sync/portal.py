"""The loop's thread: one thread with an event loop, which all connections of a process share.

The thread runs while a connection is up or a call is running. It ends with the last connection or call, and the next
call starts a new thread. It is a daemon thread, so the interpreter can exit while connections are up. At the exit these
connections are stopped, after their messages were sent.
"""

from __future__ import annotations

import asyncio
import atexit
import os
import threading
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from .._guard.tasks import spawn
from ..errors import StateError
from .daemon_threads import begin_exit
from .doorbell import Doorbell
from .log_thread import LogThread, divert

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

# At the exit of the interpreter, connections that are still up have so many seconds to end.
_FAREWELL = 1.0
# A portal ends if no connection or call uses it so many seconds after it was made.
_UNUSED = 1.0


class Portal:
    """A daemon thread with an event loop. It ends when no connection and no call uses it any more.

    Other threads pass callbacks to it by the `doorbell`. The methods are for the loop's thread only.

    Attributes:
        loop: the event loop.
        thread: the thread.
        doorbell: passes callbacks to the loop's thread.
        ended: whether the portal takes no more calls, for good. A call that comes too late must use another portal.
        forked: whether a fork has copied this portal into a child process, where its thread does not run.
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
        # End the portal if no call comes: Ctrl-C may interrupt the thread that has made the portal before its first
        # call.
        self.loop.call_later(_UNUSED, self.end_if_unused)
        await self._unwanted.wait()

    def enter(self) -> None:
        """Note that a call or connection uses the thread, which then runs at least until `leave`."""
        self._uses += 1

    def leave(self, _task: object = None) -> None:
        """Note that a call or connection does not use the thread any more."""
        self._uses -= 1
        if self._uses == 0:
            self.loop.call_soon(self.end_if_unused)

    def end_if_unused(self) -> None:
        """End the thread, unless a call or connection uses it."""
        if self._uses == 0 and not self.ended:
            process.forget(self)
            self.ended = True
            # Hand back the calls that were queued before `ended` was set. A thread that queues a call later checks
            # `ended` itself.
            self.doorbell.answer()
            self._unwanted.set()

    def run_life(
        self, life: Coroutine[Any, Any, object], stop: Callable[[], Coroutine[Any, Any, None]]
    ) -> asyncio.Task[object]:
        """Run a task that lasts as long as a connection is up. The thread runs at least until the task has ended.

        Args:
            life: a coroutine that returns when the connection and all that belongs to it have ended.
            stop: stops the connection; is called at the exit of the interpreter.
        """
        self.enter()
        task = spawn(life, "life")
        self._lives[task] = stop
        task.add_done_callback(self._lives.pop)
        task.add_done_callback(self.leave)
        return task

    def stop_all(self, done: Callable[[], None]) -> None:
        """Stop all connections, then call `done`."""
        stops = [spawn(stop(), "stop") for stop in self._lives.values()]
        asyncio.gather(*stops, return_exceptions=True).add_done_callback(lambda _all: done())


class _Process:
    """The portals of this process. At most one portal takes calls; other portals are about to end.

    Attributes:
        portals: all running portals, by the identity of their threads.
    """

    def __init__(self) -> None:
        self.portals: dict[int, Portal] = {}
        # The portal that takes calls. If several threads make a portal at the same time, `setdefault` chooses one
        # portal in a single step.
        self._current: dict[str, Portal] = {}
        # The portals that a fork has copied into this process. Keep them: freeing a portal would close a selector that
        # the parent process uses.
        self._inherited: list[Portal] = []
        atexit.register(self._exit)
        if hasattr(os, "register_at_fork"):
            os.register_at_fork(after_in_child=self._forked)

    def portal(self) -> Portal:
        """Return the portal that takes calls. It may end before it has taken the call: see `Portal.ended`."""
        if portal := self._current.get("portal"):
            return portal
        made = Portal()
        portal = self._current.setdefault("portal", made)
        if portal is not made:  # another thread has made a portal first
            made.doorbell.ring(made.end_if_unused)
        return portal

    def forget(self, portal: Portal) -> None:
        """Make `portal()` not return this portal any more. Only for the thread of this portal."""
        if self._current.get("portal") is portal:
            del self._current["portal"]

    def refuse_loop_thread(self) -> None:
        """Raise `StateError` on the thread of a portal: the thread would wait for itself, and the call never end."""
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
        begin_exit()
        until = time.monotonic() + _FAREWELL
        portal = self._current.get("portal")
        if portal is not None:
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
    """Return the portal that runs on the current thread."""
    return process.portals[threading.get_ident()]
