"""How one connection uses the loop's thread: for calls that wait for a result, and for as long as it is up."""

from __future__ import annotations

import asyncio
import contextvars
import functools
import inspect
import threading
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar, overload

from ..errors import StateError
from .doorbell import acquire
from .portal import current_portal, process

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from .portal import Portal

P = ParamSpec("P")
T = TypeVar("T")

# The longest that an interrupted call takes to be cancelled, in seconds, before its caller goes on without it.
_GRACE = 0.5


class _PortalEndedError(Exception):
    """The loop's thread has ended before it took the call: another one must be asked."""


class _Call:
    """A function that is called on the loop's thread, and awaited there if it returns a coroutine.

    The calling thread waits on a bare lock: a `threading.Event` would cost half of a short call.

    Args:
        portal: whose thread is to call it.
        function: takes no arguments.
        first: called before, on the same thread.
    """

    __slots__ = (
        "_context",
        "_done",
        "_ended",
        "_error",
        "_first",
        "_function",
        "_given_up",
        "_portal",
        "_result",
        "_task",
    )

    def __init__(self, portal: Portal, function: Callable[[], Any], *, first: Callable[[], None]) -> None:
        self._portal = portal
        self._function = function
        self._first = first
        self._result: Any = None
        self._error: BaseException | None = None
        self._task: asyncio.Task[None] | None = None
        self._given_up = False
        self._ended = False
        # The function finds in its context which handler calls it.
        self._context = contextvars.copy_context()
        self._done = threading.Lock()
        self._done.acquire()

    # On the loop's thread

    def begin(self) -> None:
        """Call the function; not if the caller has given up, or the portal has ended."""
        if self._ended:
            return
        self._portal.enter()
        if self._portal.ended:
            self._error = _PortalEndedError()
        elif not self._given_up:
            try:
                self._first()
                self._result = self._context.run(self._function)
            except BaseException as error:  # noqa: BLE001 - it is raised where the call was made
                self._error = error
        if inspect.iscoroutine(self._result):
            self._task = self._portal.loop.create_task(self._finish(self._result), context=self._context)
        else:
            self._end()

    async def _finish(self, awaited: Coroutine[Any, Any, Any]) -> None:
        try:
            self._result = await awaited
        except BaseException as error:  # noqa: BLE001 - as above
            # The error refers to this frame: with nobody to take the error, it would keep all that was called alive.
            self._error = None if self._given_up else error
        finally:
            self._end()

    def cancel(self) -> None:
        """Cancel what runs. The caller has given up: what has not begun never will."""
        if self._task is None:
            self.begin()
        else:
            self._task.cancel()
            # A task that is cancelled before its first turn never runs.
            self._task.add_done_callback(self._end)

    def _end(self, _task: object = None) -> None:
        if not self._ended:
            self._ended = True
            self._portal.leave()
            self._done.release()

    # On the thread that calls

    def result(self) -> Any:
        """Have the function called; wait for its result and return it.

        Raises:
            BaseException: what the function raised.
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
            # The error refers to this frame, which must not refer to the error.
            del error

    def give_up(self) -> None:
        """Cancel what Ctrl-C or another signal has interrupted, and give it a moment to end."""
        if not self._ended:
            self._given_up = True
            self._portal.doorbell.ring(self.cancel)
            self._done.acquire(timeout=_GRACE)


def _nothing() -> None:
    return None


class LoopUse:
    """The use that one connection makes of the loop's thread.

    Attributes:
        first: called on the loop's thread before each function that is called there.
    """

    def __init__(self) -> None:
        self.first: Callable[[], None] = _nothing
        self._portal: Portal | None = None
        self._lives = 0

    def running(self) -> Portal | None:
        """Return the portal that the connection runs on; `None` while it does not run.

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
        """Call a function on the loop's thread, await it there if it is one to await, and return what it returns.

        Ctrl-C while the function runs cancels it.

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

    def keep_loop_for(self, life: Coroutine[Any, Any, None], stop: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """Keep the loop's thread, and have calls made there, until this life of the connection has ended.

        Only on the loop's thread.

        Args:
            life: ends when the connection and all that belongs to it is gone.
            stop: ends the connection.
        """
        portal = self._portal = current_portal()
        self._lives += 1

        def leave(_task: asyncio.Task[None]) -> None:
            self._lives -= 1
            if self._lives == 0:
                self._portal = None

        portal.run_life(life, stop).add_done_callback(leave)
