"""Runs the calls of one connection on the loop's thread, and keeps the thread alive while the connection is up."""

from __future__ import annotations

import asyncio
import contextvars
import functools
import inspect
import threading
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar, overload

from .._guard.tasks import spawn
from ..errors import StateError
from .doorbell import acquire
from .portal import current_portal, process

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from .portal import Portal

P = ParamSpec("P")
T = TypeVar("T")

# After an interrupt, a call has so many seconds to end. Then its caller goes on without waiting for the end.
_GRACE = 0.5


class _PortalEndedError(Exception):
    """The loop's thread ended before it took the call. The call must be made again, on a new thread."""


class _Call:
    """One call of a function on the loop's thread. A coroutine that it returns is awaited there.

    The calling thread waits on a bare lock, which costs much less than a `concurrent.futures.Future`.

    Args:
        portal: the portal whose thread calls the function.
        function: the function to call, without arguments.
        first: is called on the loop's thread before the function.
    """

    def __init__(self, portal: Portal, function: Callable[[], Any], *, first: Callable[[], None]) -> None:
        self._portal = portal
        self._function = function
        self._first = first
        self._result: Any = None
        self._error: BaseException | None = None
        self._task: asyncio.Task[None] | None = None
        self._given_up = False
        self._ended = False
        # Run the function in the context of the caller: a context variable tells which handler, if any, makes the call.
        self._context = contextvars.copy_context()
        self._done = threading.Lock()
        self._done.acquire()

    # Methods for the loop's thread

    def begin(self) -> None:
        """Call the function, unless the caller has given up or the portal has ended."""
        if self._ended:
            return
        self._portal.enter()
        if self._portal.ended:
            self._error = _PortalEndedError()
        elif not self._given_up:
            try:
                self._first()
                self._result = self._context.run(self._function)
            except BaseException as error:  # noqa: BLE001 - the error is raised in the calling thread
                self._error = error
        if inspect.iscoroutine(self._result):
            self._task = self._context.run(spawn, self._finish(self._result), "call")
        else:
            self._end()

    async def _finish(self, awaited: Coroutine[Any, Any, Any]) -> None:
        try:
            self._result = await awaited
        except BaseException as error:  # noqa: BLE001 - as above
            # Drop the error if the caller has given up: nobody takes the error, and it would keep this frame and the
            # call alive.
            self._error = None if self._given_up else error
        finally:
            self._end()

    def cancel(self) -> None:
        """Cancel the function if it is running. Otherwise make sure that the function never begins."""
        if self._task is None:
            self.begin()
        else:
            self._task.cancel()
            # End the call when the task is done: a task that is cancelled before its first step never runs `_finish`.
            self._task.add_done_callback(self._end)

    def _end(self, _task: object = None) -> None:
        if not self._ended:
            self._ended = True
            self._portal.leave()
            self._done.release()

    # Methods for the calling thread

    def result(self) -> Any:
        """Let the loop's thread call the function, wait for its result and return it.

        Raises:
            BaseException: the error that the function raised.
        """
        portal = self._portal
        portal.doorbell.ring(self.begin)
        if portal.ended and portal.doorbell.take_back(self.begin):
            raise _PortalEndedError
        acquire(self._done)
        error, self._error = self._error, None
        if error is None:
            return self._result
        if isinstance(error, asyncio.CancelledError):
            raise StateError("the call was cancelled: the loop thread has ended") from error
        try:
            raise error
        finally:
            # Delete the variable: the error refers to this frame, and a frame that refers to the error would make a
            # cycle.
            del error

    def give_up(self) -> None:
        """Cancel the call, because Ctrl-C or another signal has interrupted its caller. Wait a moment for its end."""
        if not self._ended:
            self._given_up = True
            self._portal.doorbell.ring(self.cancel)
            self._done.acquire(timeout=_GRACE)


def _nothing() -> None:
    return None


class LoopUse:
    """Runs the calls of one connection on the loop's thread.

    Attributes:
        first: is called on the loop's thread before the function of each call.
    """

    def __init__(self) -> None:
        self.first: Callable[[], None] = _nothing
        self._portal: Portal | None = None
        self._lives = 0

    def running(self) -> Portal | None:
        """Return the portal that the connection runs on; `None` while the connection is not up.

        Raises:
            StateError: this is the loop's thread, or a child process that has inherited the connection.
        """
        process.refuse_loop_thread()
        portal = self._portal
        if portal is not None and portal.forked:
            raise StateError(
                "this connection was started before the process was forked, and belongs to the parent: make and start "
                "one in each process"
            )
        return portal

    @overload
    def call(self, function: Callable[P, Coroutine[Any, Any, T]], *args: P.args, **kwargs: P.kwargs) -> T: ...
    @overload
    def call(self, function: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T: ...
    def call(self, function: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        """Call a function on the loop's thread and return its result. An async function is awaited there.

        Ctrl-C cancels the function while it runs.

        Raises:
            StateError: this is the loop's thread, or a child process that has inherited the connection.
        """
        while True:
            call = _Call(
                self.running() or process.portal(), functools.partial(function, *args, **kwargs), first=self.first
            )
            try:
                return call.result()
            except _PortalEndedError:
                continue
            except BaseException:
                call.give_up()
                raise

    def keep_loop_for(self, life: Coroutine[Any, Any, object], stop: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """Keep this thread alive and run all calls on it, until the connection has ended. Only on the loop's thread.

        Args:
            life: a coroutine that returns when the connection and all that belongs to it have ended.
            stop: stops the connection at the exit of the interpreter.
        """
        portal = self._portal = current_portal()
        self._lives += 1

        def leave(_task: asyncio.Task[object]) -> None:
            self._lives -= 1
            if self._lives == 0:
                self._portal = None

        portal.run_life(life, stop).add_done_callback(leave)
