"""Runs the calls of one connection on the event loop's thread, which ends only after the connection has ended."""

from __future__ import annotations

import asyncio
import contextvars
import functools
import inspect
import threading
from collections.abc import Callable, Coroutine
from typing import Any, ParamSpec, TypeVar, overload

from .._guard.tasks import spawn
from ..errors import StateError
from .doorbell import acquire
from .portal import Portal, current_portal, process

P = ParamSpec("P")
T = TypeVar("T")

# After Ctrl-C, a call has this many seconds to end on the event loop's thread. Then the interrupted thread goes on and
# does not wait for the end of the call.
_GRACE = 0.5


class _PortalEndedError(Exception):
    """The event loop's thread ended before it began the call. `LoopUse.call` makes the call again, on a new thread."""


class _Call:
    """One call of a function on the event loop's thread. If the function is async, its coroutine is awaited there too.

    The calling thread waits on a bare lock, which costs much less than a `concurrent.futures.Future`.

    Args:
        portal: the event loop and its thread, which calls the function.
        function: the function to call, without arguments.
        first: called on the event loop's thread before the function.
    """

    def __init__(self, portal: Portal, function: Callable[[], Any], *, first: Callable[[], object]) -> None:
        self._portal = portal
        self._function = function
        self._first = first
        self._result: Any = None
        self._error: BaseException | None = None
        self._task: asyncio.Task[None] | None = None
        self._given_up = False
        self._ended = False
        # Run the function in the context of the calling thread: a context variable tells which handler, if any, makes
        # the call.
        self._context = contextvars.copy_context()
        self._done = threading.Lock()
        self._done.acquire()

    # Methods that must be called on the event loop's thread

    def begin(self) -> None:
        """Call the function, unless the calling thread has given up, or the event loop's thread is about to end."""
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
            # Drop the error if the calling thread has given up: no thread will raise the error, and its traceback would
            # keep this frame and the `_Call` in memory.
            self._error = None if self._given_up else error
        finally:
            self._end()

    def cancel(self) -> None:
        """Cancel the coroutine of the function if it is running. Otherwise end the call without calling the function.

        Must be called on the event loop's thread, after the calling thread has given up.
        """
        if self._task is None:
            self.begin()
        else:
            self._task.cancel()
            # Call `_end` when the task is done: a task that is cancelled before its first step does not run `_finish`,
            # which calls `_end`. Without `_end`, the event loop's thread would never end.
            self._task.add_done_callback(self._end)

    def _end(self, _task: object = None) -> None:
        if not self._ended:
            self._ended = True
            if inspect.iscoroutine(self._result):
                # If the task was cancelled before its first step, `_result` is a coroutine that was never awaited:
                # without `close`, Python would warn. If the coroutine has raised an error, `close` does nothing.
                self._result.close()
            self._portal.leave()
            self._done.release()

    # Methods that must be called on the user's calling thread

    def result(self) -> Any:
        """Let the event loop's thread call the function. Block the calling thread until there is a result; return it.

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
            # Delete `error`: its traceback refers to this frame, and a frame that refers to the error would make a
            # cycle, which stays in memory until the garbage collector runs.
            del error

    def give_up(self) -> None:
        """Cancel the call, because Ctrl-C has interrupted the calling thread. Wait at most `_GRACE` for its end."""
        if not self._ended:
            self._given_up = True
            self._portal.doorbell.ring(self.cancel)
            self._done.acquire(timeout=_GRACE)


class LoopUse:
    """Runs the calls of one connection on the event loop's thread.

    Attributes:
        first: called on the event loop's thread before the function of each call. `HubConnection` sends the waiting
            messages of `send` there, to keep the order of the user's calls.
    """

    def __init__(self) -> None:
        self.first: Callable[[], object] = lambda: None
        self._portal: Portal | None = None
        self._lives = 0

    def running(self) -> Portal | None:
        """Return the portal (an event loop and its thread) of the connection; `None` while the connection is not up.

        Raises:
            StateError: the current thread is the event loop's thread, or this process is a forked child and its parent
                has started the connection.
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
        """Call a function on the event loop's thread, and return its result. Blocks the current thread until then.

        If the function is async, the event loop awaits the coroutine. Ctrl-C unblocks the current thread and cancels
        the coroutine.

        Raises:
            StateError: the current thread is the event loop's thread, or this process is a forked child and its parent
                has started the connection.
        """
        work = functools.partial(function, *args, **kwargs)
        while True:
            call = _Call(self.running() or process.portal(), work, first=self.first)
            try:
                return call.result()
            except _PortalEndedError:
                continue
            except BaseException:
                call.give_up()
                raise

    def call_next(self, function: Callable[P, Coroutine[Any, Any, T]], *args: P.args, **kwargs: P.kwargs) -> T:
        """Works like `call`, for an async function that gets the next values of an async iterator.

        Raises:
            StopIteration: the function has raised `StopAsyncIteration`: there is no further value.
        """
        try:
            return self.call(function, *args, **kwargs)
        except StopAsyncIteration:
            raise StopIteration from None

    def keep_loop_for(self, life: Coroutine[Any, Any, object], stop: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """Keep the event loop's thread alive until the connection has ended, and run all its calls on this thread.

        Must be called on the event loop's thread.

        Args:
            life: a coroutine that returns when the connection and all that belongs to it have ended.
            stop: stops the connection; called if the connection is still up at the exit of the interpreter.
        """
        portal = self._portal = current_portal()
        self._lives += 1

        def leave(_task: asyncio.Task[object]) -> None:
            self._lives -= 1
            if self._lives == 0:
                self._portal = None

        portal.run_life(life, stop).add_done_callback(leave)
