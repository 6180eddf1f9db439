"""The one guard for code of the user's: handlers, providers, policies, HTTP clients, connectors, protocols, sources.

Such code may raise anything, a `CancelledError` of its own making included, and may never return. Each place that runs
such code catches `BaseException` and asks `error_of` what the exception means; code that may hang runs by `bounded`.
"""

from __future__ import annotations

import asyncio
import functools
import inspect
import threading
import traceback
from contextlib import suppress
from typing import TYPE_CHECKING, Any, TypeVar

from .._core.redaction import redact_error
from ..errors import SignalRError
from .loops import loop_or_none
from .tasks import is_users, spawn, where

if TYPE_CHECKING:
    import logging
    from collections.abc import Awaitable, Callable, Coroutine

    from .._core.logs import Log

T = TypeVar("T")


# A coroutine cannot raise the first; the second would end the user's `async for` without a word.
_UNRAISABLE = (StopIteration, StopAsyncIteration)


def error_of(raised: BaseException, whose: str) -> Exception:
    """Return the error that an exception of the user's code means. It has a text, and may be raised again.

    Args:
        raised: the exception.
        whose: the code that raised, as a sentence begins with it: "a handler", "the access token provider".

    Raises:
        BaseException: `raised` itself if the current task is being cancelled, or if `KeyboardInterrupt` or `SystemExit`
            came on the main thread: the program is to end.
    """
    if isinstance(raised, Exception) and not isinstance(raised, _UNRAISABLE) and _has_text(raised):
        return raised
    if ends_program(raised) or is_closing(raised):
        raise raised
    if isinstance(raised, asyncio.CancelledError):
        if is_cancelled():
            raise raised
        # A task or future that the code waited for was cancelled, not the current task.
        error = SignalRError(f"{whose} was cancelled from inside")
    else:
        error = SignalRError(f"{whose} raised {type(raised).__name__}: {redact_error(raised)}")
    error.__cause__ = raised
    return error


def is_closing(raised: BaseException) -> bool:
    """Return whether a coroutine of ours is being closed, since its event loop was closed under it."""
    return isinstance(raised, GeneratorExit) and loop_or_none() is None


def _has_text(error: BaseException) -> bool:
    try:
        str(error)
    except Exception:  # noqa: BLE001 - code of the user's
        return False
    return True


def ends_program(raised: BaseException) -> bool:
    """Return whether an exception is to leave the event loop: on another thread it would end that thread only."""
    return isinstance(raised, KeyboardInterrupt | SystemExit) and threading.current_thread() is threading.main_thread()


def is_cancelled() -> bool:
    """Return whether somebody has cancelled the current task; the user's code may have swallowed that."""
    try:
        task = asyncio.current_task()
    except RuntimeError:  # no event loop runs in this thread
        return False
    return task is not None and task.cancelling() > 0


def forgive_cancellation() -> None:
    """Take back the cancellation of the current task, which goes on: see `is_cancelled`."""
    task = asyncio.current_task()
    while task is not None and task.uncancel() > 0:
        pass


def text_of(error: BaseException) -> str:
    """Return the text of an exception, or its type if there is none; fit for a hub message, a log line and a terminal.

    The `__str__` of a class of the user's may raise, and a text may hold surrogates, which UTF-8 cannot encode.
    """
    try:
        text = str(error)
    except Exception:  # noqa: BLE001 - code of the user's
        text = ""
    return text.encode("utf-8", "backslashreplace").decode() or type(error).__name__


def forget_locals(error: BaseException | None) -> None:
    """Clear the local variables in the traceback of an error, and of its causes, where the code is not the user's.

    The frames hold tokens and headers, which error collectors show, and they keep the connection in memory.
    """
    while error is not None:
        for frame, _line in traceback.walk_tb(error.__traceback__):
            if not is_users(frame.f_code.co_filename):
                with suppress(RuntimeError):  # a frame that still runs
                    frame.clear()
        error = error.__cause__ or error.__context__


class BoundExceeded(TimeoutError):  # noqa: N818 - it is caught within the package
    """The user's code took longer than `bounded` allows."""


async def bounded(
    work: Awaitable[T], limit: float | None, *, whose: str, patience: float | None, log: Log | logging.Logger
) -> T:
    """Await code of the user's for so long at most, even if the code swallows its cancellation.

    Args:
        work: the awaitable that the code returned.
        limit: seconds.
        whose: names the code in a warning: "the access token provider".
        patience: seconds that the code gets to end when it is cancelled. Then it is left behind.
        log: gets the warning about code that is left behind.

    Raises:
        BoundExceeded: `limit` is over.
        Exception: what `error_of` makes of what the code raised.
    """
    task = spawn_contained(work, whose)
    try:
        await asyncio.wait({task}, timeout=limit)
    except asyncio.CancelledError:
        if inspect.getcoroutinestate(task.get_coro()) == inspect.CORO_CREATED:  # type: ignore[arg-type]
            # A task that is cancelled before its first step runs none of its code, and would close nothing.
            await asyncio.sleep(0)
        await cut_off(task, patience, whose=whose, log=log)
        raise
    if not task.done():
        await cut_off(task, patience, whose=whose, log=log)
        raise BoundExceeded
    try:
        return task.result()
    except asyncio.CancelledError as raised:  # the program has cancelled the task
        raise error_of(raised, whose) from None


def spawn_contained(work: Awaitable[T], whose: str, owner: set[asyncio.Task[T]] | None = None) -> asyncio.Task[T]:
    """Return a new task, as `spawn`, that awaits code of the user's and raises what it raises as `error_of` says.

    A task that ends with `KeyboardInterrupt` or `SystemExit` would stop the event loop, also on a thread of ours.

    Args:
        work: the awaitable.
        whose: names the code, and the task.
        owner: as for `spawn`.
    """
    task = spawn(_contained(work, whose), whose, owner)
    if inspect.iscoroutine(work):
        # A task that is cancelled before its first step awaits nothing, and Python warns of such a coroutine.
        task.add_done_callback(lambda _task: work.close())
    return task


async def _contained(work: Awaitable[T], whose: str) -> T:
    try:
        return await work
    except BaseException as raised:
        error = error_of(raised, whose)
        if error is raised:
            raise
        raise error from raised


async def cut_off(
    task: asyncio.Task[T],
    patience: float | None,
    *,
    whose: str,
    log: Log | logging.Logger,
    undo: Callable[[T], Coroutine[Any, Any, None]] | None = None,
) -> None:
    """Cancel a task that runs code of the user's, and wait until it has ended, but not for ever.

    Args:
        task: the task.
        patience: seconds. Then, or when this wait is cancelled, the task is left behind with a warning.
        whose: names the code in the warning.
        log: gets the warning.
        undo: takes the result back if the task returns one all the same, now or later.
    """
    task.cancel()
    try:
        await asyncio.wait({task}, timeout=patience)
    finally:
        if not task.done():
            log.warning("%s was cancelled and does not end: it is left behind in %s", whose, where(task))
            task.add_done_callback(functools.partial(_take_back, undo))
            undoing = None
        else:
            # In a task of its own, since this wait may have been cancelled.
            undoing = _take_back(undo, task)
    if undoing is not None:
        await asyncio.wait({undoing})


def _take_back(
    undo: Callable[[T], Coroutine[Any, Any, None]] | None, task: asyncio.Task[T]
) -> asyncio.Task[None] | None:
    if task.cancelled() or task.exception() is not None or undo is None:
        return None
    return spawn_contained(undo(task.result()), "the HTTP client", _undoing)


# Tasks that take results back; the event loop itself holds its tasks weakly.
_undoing: set[asyncio.Task[None]] = set()
