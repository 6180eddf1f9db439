"""The loop's thread: one for all connections of a process, and the event loop that runs there.

The thread runs while a connection is up or a call is under way, and ends with the last of them; the next call starts
another. It is a daemon, so it keeps no process alive: at the exit of the interpreter, the connections that were
forgotten are stopped, and the messages that they were given to send leave.
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

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

# Forgotten connections have so many seconds to end at the exit of the interpreter.
_FAREWELL = 1.0
# A portal that nothing uses so many seconds after it was made ends.
_UNUSED = 1.0


class Portal:
    """A daemon thread with an event loop, which ends when nothing uses it any more.

    Other threads leave work at the `doorbell`. The methods are for the loop's thread.

    Attributes:
        loop: the event loop.
        thread: the thread.
        doorbell: has the loop's thread call something.
        ended: whether the loop takes no more calls, for good. A call that comes too late is handed back.
        forked: whether this is a child process's copy of a portal of its parent, whose thread the child has not got.
    """

    def __init__(self) -> None:
        self.loop: asyncio.AbstractEventLoop = asyncio.new_event_loop()
        self.doorbell: Doorbell = Doorbell(self.loop)
        self.ended: bool = False
        self.forked = False
        self._uses = 0
        self._unwanted = asyncio.Event()
        self._lives: dict[asyncio.Task[object], Callable[[], Coroutine[Any, Any, None]]] = {}
        self.thread: threading.Thread = threading.Thread(target=self._main, name="signalr_sdk loop", daemon=True)
        self.thread.start()

    def _main(self) -> None:
        thread = threading.get_ident()
        process.portals[thread] = self
        try:
            with asyncio.Runner(loop_factory=lambda: self.loop) as runner:
                runner.run(self._stay())
        finally:
            process.portals.pop(thread, None)

    async def _stay(self) -> None:
        # Ctrl-C may interrupt the thread that made the portal before its first call. Then nothing else ends the portal.
        self.loop.call_later(_UNUSED, self.end_if_unused)
        await self._unwanted.wait()

    def enter(self) -> None:
        """Count one use, which keeps the thread until `leave`."""
        self._uses += 1

    def leave(self, _task: object = None) -> None:
        """End one use."""
        self._uses -= 1
        if self._uses == 0:
            self.loop.call_soon(self.end_if_unused)

    def end_if_unused(self) -> None:
        """End the thread, unless something uses it."""
        if self._uses == 0 and not self.ended:
            process.forget(self)
            self.ended = True
            # This hands back the calls that were left before `ended` was set. Who leaves one later looks at `ended`.
            self.doorbell.answer()
            self._unwanted.set()

    def run_life(
        self, life: Coroutine[Any, Any, object], stop: Callable[[], Coroutine[Any, Any, None]]
    ) -> asyncio.Task[object]:
        """Run a task that lasts as long as a connection is up, and keep the thread for it.

        Args:
            life: returns when the connection and everything that belongs to it has ended.
            stop: stops the connection; called at the exit of the interpreter.
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
    """The portals of this process. At most one of them takes calls; others are about to end.

    Attributes:
        portals: all running portals, by the identity of their threads.
    """

    def __init__(self) -> None:
        self.portals: dict[int, Portal] = {}
        # The portal that takes calls. If several threads make one, `setdefault` lets one of them win in a single step.
        self._current: dict[str, Portal] = {}
        # A child process's copies of its parent's portals. To free one would close a selector that the parent uses.
        self._inherited: list[Portal] = []
        atexit.register(self._exit)
        if hasattr(os, "register_at_fork"):
            os.register_at_fork(after_in_child=self._forked)

    def portal(self) -> Portal:
        """Return the portal that takes calls. It may have ended when the call comes: see `Portal.ended`."""
        if portal := self._current.get("portal"):
            return portal
        made = Portal()
        portal = self._current.setdefault("portal", made)
        if portal is not made:  # another thread was quicker
            made.doorbell.ring(made.end_if_unused)
        return portal

    def forget(self, portal: Portal) -> None:
        """Do not return this portal any more. Only its own thread may call this."""
        if self._current.get("portal") is portal:
            del self._current["portal"]

    def refuse_loop_thread(self) -> None:
        """Raise `StateError` on the thread of a portal, where a call that waits for the loop would never end."""
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

    def _exit(self) -> None:
        begin_exit()
        portal = self._current.get("portal")
        if portal is None:
            return
        until = time.monotonic() + _FAREWELL
        stopping = threading.Lock()
        stopping.acquire()
        with suppress(RuntimeError):  # the portal has ended by itself meanwhile
            portal.loop.call_soon_threadsafe(portal.stop_all, stopping.release)
            if stopping.acquire(timeout=_FAREWELL):
                portal.thread.join(max(0.0, until - time.monotonic()))


process: _Process = _Process()


def current_portal() -> Portal:
    """Return the portal whose thread this is."""
    return process.portals[threading.get_ident()]
