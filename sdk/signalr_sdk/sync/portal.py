"""The loop thread: one for all connections of a process, and how other threads call what runs on it.

It is leased. It runs while a connection is up or a call is under way, and ends with the last of them; the next call
starts another. It is a daemon, so it keeps no process alive: at the exit of the interpreter the connections that were
forgotten are stopped, and what they were given to send leaves.
"""

from __future__ import annotations

import asyncio
import atexit
import contextvars
import inspect
import os
import sys
import threading
import time
from collections import deque
from contextlib import suppress
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar, overload

from ..errors import StateError
from .threads import begin_exit

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

P = ParamSpec("P")
T = TypeVar("T")

# A wait on a lock ends at Ctrl-C on Linux. On Windows it does not, and elsewhere only if the signal happens to wake the
# main thread: there it is sliced.
SLICE = None if sys.platform == "linux" else 0.1
# So long an interrupted call may take to be cancelled, before its caller goes on without it.
_GRACE = 0.5
# So long forgotten connections may take to end at the exit of the interpreter.
_FAREWELL = 1.0


class _Call:
    """A function that is called on the loop's thread, and awaited there if it is one to await.

    The other thread waits on a bare lock: anything richer would cost half of a short call.
    """

    __slots__ = (
        "_args",
        "_context",
        "_ended",
        "_error",
        "_first",
        "_function",
        "_given_up",
        "_kwargs",
        "_over",
        "_result",
        "_task",
    )

    def __init__(
        self,
        first: Callable[[], None],
        function: Callable[..., Any],
        args: tuple[Any, ...],
        kwargs: dict[str, Any],
    ) -> None:
        self._first = first
        self._function = function
        self._args = args
        self._kwargs = kwargs
        self._result: Any = None
        self._error: BaseException | None = None
        self._task: asyncio.Task[None] | None = None
        self._given_up = False
        self._ended = False
        # What is called knows by it which handler it is called from.
        self._context = contextvars.copy_context()
        self._over = threading.Lock()
        self._over.acquire()

    # On the loop's thread

    def begin(self) -> None:
        if self._given_up:
            self._end()
            return
        try:
            self._first()
            result = self._context.run(self._function, *self._args, **self._kwargs)
        except BaseException as error:  # noqa: BLE001 - it is raised where the call was made
            self._error = error
            self._end()
            return
        if inspect.iscoroutine(result):
            self._task = asyncio.get_running_loop().create_task(self._finish(result), context=self._context)
        else:
            self._result = result
            self._end()

    async def _finish(self, awaited: Coroutine[Any, Any, Any]) -> None:
        try:
            self._result = await awaited
        except BaseException as error:  # noqa: BLE001 - as above
            # It holds this frame: with nobody to take it, it would keep all that was called alive.
            self._error = None if self._given_up else error
        finally:
            self._end()

    def _cancel(self) -> None:
        if self._task is not None:
            self._task.cancel()
            # One that had no turn yet never runs.
            self._task.add_done_callback(self._end)

    def _end(self, _task: object = None) -> None:
        if not self._ended:
            self._ended = True
            self._over.release()

    # On the thread that calls

    def wait(self) -> Any:
        """Return the result, or raise the error."""
        if SLICE is None:
            self._over.acquire()
        else:
            while not self._over.acquire(timeout=SLICE):
                pass
        error, self._error = self._error, None
        if error is None:
            return self._result
        if isinstance(error, asyncio.CancelledError):
            raise StateError("the call was cancelled: the loop thread has ended") from error
        try:
            raise error
        finally:
            # The error holds this frame, which must not hold the error.
            del error

    def give_up(self, portal: Portal) -> None:
        """Cancel it, if Ctrl-C or another signal ended the wait, and give it a moment to end."""
        if self._ended:
            return
        self._given_up = True
        # The signal may have come in the middle of `Portal.begin`: what that left undone is made up for.
        portal.loop.call_soon_threadsafe(portal.begin_calls)
        portal.loop.call_soon_threadsafe(self._cancel)
        self._over.acquire(timeout=_GRACE)


class Portal:
    """A daemon thread with an event loop.

    Attributes:
        loop: the event loop.
        thread: the thread.
        forked: whether this is what a child process has of its parent's; of no use then.
        leases: how many need it.
    """

    def __init__(self) -> None:
        self.loop = asyncio.new_event_loop()
        self.forked = False
        self.leases = 0
        # Calls that wait for their turn of the loop: many threads wake it up once.
        self._calls: deque[_Call] = deque()
        self._called = False
        self._unwanted = asyncio.Event()
        self._residents: dict[asyncio.Task[None], Callable[[], Coroutine[Any, Any, None]]] = {}
        self.thread = threading.Thread(target=self._main, name="signalr_sdk loop", daemon=True)
        self.thread.start()

    def _main(self) -> None:
        with asyncio.Runner(loop_factory=lambda: self.loop) as runner:
            runner.run(self._stay())

    async def _stay(self) -> None:
        await self._unwanted.wait()

    def begin(self, call: _Call) -> None:
        """Have a call begin, after those that came before; from any thread."""
        self._calls.append(call)
        if not self._called:
            self._called = True
            self.loop.call_soon_threadsafe(self.begin_calls)

    def begin_calls(self) -> None:
        """Begin the calls that wait; on the loop's thread."""
        # First: one that comes from now on, and may be too late for this turn, asks for another.
        self._called = False
        calls = self._calls
        while calls:
            calls.popleft().begin()

    def end(self) -> None:
        """Nobody needs it any more; from any thread."""
        self.loop.call_soon_threadsafe(self._unwanted.set)

    def settle(
        self, life: Coroutine[Any, Any, None], stop: Callable[[], Coroutine[Any, Any, None]]
    ) -> asyncio.Task[None]:
        """Run a task that is the life of a connection; `stop` is how to end it at the exit of the interpreter."""
        task = self.loop.create_task(life, name="signalr_sdk life")
        self._residents[task] = stop
        task.add_done_callback(self._residents.pop)
        return task

    def say_goodbye(self, over: Callable[[], None]) -> None:
        """Stop all connections, then call `over`."""
        stops = [self.loop.create_task(stop()) for stop in self._residents.values()]
        asyncio.gather(*stops, return_exceptions=True).add_done_callback(lambda _all: over())


class _Process:
    """The portal of this process, if there is one."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._portal: Portal | None = None
        # What child processes have of their parents' portals: never freed, since that would close what both share.
        self._inherited: list[Portal] = []
        atexit.register(self._exit)
        if hasattr(os, "register_at_fork"):
            os.register_at_fork(after_in_child=self._forked)

    def lease(self, *, inside: bool = False) -> Portal:
        """Return the portal and count one who needs it.

        Args:
            inside: the caller is on the loop's thread, and may be.
        """
        with self._lock:
            portal = self._portal
            if portal is None:
                portal = self._portal = Portal()
            elif not inside and portal.thread.ident == threading.get_ident():
                raise StateError(
                    "this thread runs the event loop of signalr_sdk.sync, and a call that blocks it would never end: "
                    "make it from a handler or a thread of your own"
                )
            portal.leases += 1
            return portal

    def release(self, portal: Portal) -> None:
        """Count one less."""
        with self._lock:
            portal.leases -= 1
            if portal.leases == 0 and portal is self._portal:
                self._portal = None
                portal.end()

    def _forked(self) -> None:
        # Another thread of the parent may have held it.
        self._lock = threading.Lock()
        if self._portal is not None:
            self._portal.forked = True
            self._inherited.append(self._portal)
            self._portal = None

    def _exit(self) -> None:
        begin_exit()
        portal = self._portal
        if portal is None:
            return
        until = time.monotonic() + _FAREWELL
        over = threading.Event()
        with suppress(RuntimeError):  # it has ended by itself meanwhile
            portal.loop.call_soon_threadsafe(portal.say_goodbye, over.set)
            if over.wait(_FAREWELL):
                portal.thread.join(max(0.0, until - time.monotonic()))


_process = _Process()


def _nothing() -> None:
    return None


class Lease:
    """What one connection has of the loop thread.

    Attributes:
        first: called on the loop's thread before all that is called there.
    """

    def __init__(self) -> None:
        self.first: Callable[[], None] = _nothing
        self._home: Portal | None = None
        self._lives = 0

    @property
    def loop(self) -> asyncio.AbstractEventLoop | None:
        """The event loop that the connection runs on; `None` while it does not run."""
        home = self._home
        return home.loop if home is not None else None

    def check(self) -> None:
        """Raise `StateError` in a child process that has inherited the connection, and on the loop's thread."""
        home = self._home
        if home is None:
            return
        if home.forked:
            raise StateError(
                "this connection was started before the process was forked, and belongs to the parent: make and start "
                "one in each process"
            )
        if home.thread.ident == threading.get_ident():
            raise StateError("a call that blocks cannot be made on the thread of the event loop")

    @overload
    def call(self, function: Callable[P, Coroutine[Any, Any, T]], *args: P.args, **kwargs: P.kwargs) -> T: ...
    @overload
    def call(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T: ...
    def call(self, function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        """Call a function on the loop's thread, await it there if it is one to await, and return what it returns.

        Ctrl-C while it runs cancels it.

        Raises:
            StateError: this is the loop's thread, or a child process that has inherited the connection.
        """
        home = self._home
        if home is not None and home.forked:
            self.check()
        call = _Call(self.first, function, args, kwargs)
        portal = _process.lease()
        try:
            portal.begin(call)
            return call.wait()
        except BaseException:
            call.give_up(portal)
            raise
        finally:
            _process.release(portal)

    def settle(self, life: Coroutine[Any, Any, None], stop: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """Keep the loop thread until this life of the connection has ended. Only on the loop's thread.

        Args:
            life: ends when the connection and all that it had is gone.
            stop: ends the connection.
        """
        portal = self._home = _process.lease(inside=True)
        self._lives += 1

        def leave(_task: asyncio.Task[None]) -> None:
            self._lives -= 1
            if self._lives == 0:
                self._home = None
            _process.release(portal)

        portal.settle(life, stop).add_done_callback(leave)
