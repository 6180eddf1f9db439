"""How the package calls users' code: handlers, token providers, retry policies, HTTP clients, upload sources.

Users' code may raise any exception, even a `CancelledError` that nobody asked for. Users' code may also never return.
Each place that runs users' code catches `BaseException`, and `error_of` turns the exception into an error to report.
Users' code that may hang is awaited with `bounded`, which has a time limit.
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


# `error_of` wraps these two exceptions in a SignalRError: Python forbids raising StopIteration from a coroutine, and
# StopAsyncIteration would end an `async for` loop of the user as if there were no error.
_UNRAISABLE = (StopIteration, StopAsyncIteration)


def error_of(raised: BaseException, whose: str) -> Exception:
    """Turn an exception from users' code into an error that can be reported or raised.

    Args:
        raised: the exception.
        whose: names the code that raised, for the error text: "a handler", "the access token provider".

    Returns:
        `raised` itself if it is an `Exception` whose text can be read; otherwise a `SignalRError` with `raised` as its
        cause.

    Raises:
        BaseException: `raised` itself, if the current task is being cancelled, if its event loop was closed, or if the
            program is to end (`KeyboardInterrupt` or `SystemExit` on the main thread).
    """
    if isinstance(raised, Exception) and not isinstance(raised, _UNRAISABLE) and _has_text(raised):
        return raised
    if ends_program(raised) or is_closing(raised):
        raise raised
    if isinstance(raised, asyncio.CancelledError):
        if is_cancelled():
            raise raised
        # Users' code awaited another task or future that was cancelled. Nobody cancelled the current task, so raise no
        # CancelledError: it would look as if somebody had.
        error = SignalRError(f"{whose} was cancelled from inside")
    else:
        error = SignalRError(f"{whose} raised {type(raised).__name__}: {redact_error(raised)}")
    error.__cause__ = raised
    return error


def is_closing(raised: BaseException) -> bool:
    """Return whether `raised` means that Python closes an unfinished coroutine, because its event loop was closed.

    `raised` is then a GeneratorExit, and must be raised again: the coroutine can await nothing more.
    """
    return isinstance(raised, GeneratorExit) and loop_or_none() is None


def _has_text(error: BaseException) -> bool:
    try:
        str(error)
    except Exception:  # noqa: BLE001 - `__str__` of a user's exception
        return False
    return True


def ends_program(raised: BaseException) -> bool:
    """Return whether an exception is to end the program: KeyboardInterrupt or SystemExit on the main thread.

    On another thread these two exceptions would end only that thread, so they count as errors of users' code.
    """
    return isinstance(raised, KeyboardInterrupt | SystemExit) and threading.current_thread() is threading.main_thread()


def is_cancelled() -> bool:
    """Return whether the current task was cancelled, even if users' code has caught the CancelledError."""
    task = asyncio.current_task() if loop_or_none() is not None else None
    return task is not None and task.cancelling() > 0


def heed_cancellation() -> None:
    """Raise CancelledError if the current task was cancelled and users' code has caught the CancelledError.

    Otherwise a task that was cancelled would go on after the call of users' code.
    """
    if is_cancelled():
        raise asyncio.CancelledError


def forgive_cancellation() -> None:
    """Undo the cancellation of the current task, whose CancelledError users' code has caught.

    Afterwards `is_cancelled` returns false, and the task can go on.
    """
    task = asyncio.current_task()
    while task is not None and task.uncancel() > 0:
        pass


def text_of(error: BaseException) -> str:
    """Return the text of an exception as valid UTF-8; the name of its type if the text is empty or cannot be read.

    The `__str__` method of a user's exception may raise. Surrogate characters, which UTF-8 cannot encode, are escaped.
    """
    try:
        text = str(error)
    except Exception:  # noqa: BLE001 - `__str__` of a user's exception
        text = ""
    return text.encode("utf-8", "backslashreplace").decode() or type(error).__name__


def forget_locals(error: BaseException | None) -> None:
    """Clear the local variables in the tracebacks of an error and of its causes, except in users' functions.

    The local variables hold tokens and headers, which error collectors would show. The local variables would also keep
    the connection in memory.
    """
    while error is not None:
        for frame, _line in traceback.walk_tb(error.__traceback__):
            if not is_users(frame.f_code.co_filename):
                with suppress(RuntimeError):  # Python cannot clear the frame of a running function
                    frame.clear()
        error = error.__cause__ or error.__context__


class BoundExceeded(TimeoutError):  # noqa: N818 - the package catches this exception itself
    """Raised by `bounded`: users' code took longer than the time limit."""


async def bounded(
    work: Awaitable[T], limit: float | None, *, whose: str, patience: float | None, log: Log | logging.Logger
) -> T:
    """Await users' code with a time limit, which holds even if the code ignores its cancellation.

    Args:
        work: the awaitable that users' code returned.
        limit: seconds until the code is cancelled; `None` for no limit.
        whose: names the code in warnings and errors: "the access token provider".
        patience: seconds to wait for the cancelled code to end. After that, the code is left running.
        log: gets a warning if the code is left running.

    Raises:
        BoundExceeded: the code did not end within `limit`.
        Exception: the code raised; `error_of` made this error from the exception.
    """
    task = spawn_contained(work, whose)
    try:
        await asyncio.wait({task}, timeout=limit)
    except asyncio.CancelledError:
        if inspect.getcoroutinestate(task.get_coro()) == inspect.CORO_CREATED:  # type: ignore[arg-type]
            # Let the event loop start the task before cancelling it: a task that is cancelled before its start runs no
            # code at all, and users' code may be a clean-up that must at least begin.
            await asyncio.sleep(0)
        await cut_off(task, patience, whose=whose, log=log)
        raise
    if not task.done():
        await cut_off(task, patience, whose=whose, log=log)
        raise BoundExceeded
    try:
        return task.result()
    except asyncio.CancelledError as raised:  # the program cancelled `task`, for example by asyncio.all_tasks()
        raise error_of(raised, whose) from raised


def spawn_contained(work: Awaitable[T], whose: str, owner: set[asyncio.Task[T]] | None = None) -> asyncio.Task[T]:
    """Start a task that awaits users' code; an exception of the code becomes the error that `error_of` returns.

    Use this instead of `spawn` for users' code: a task that ends with `KeyboardInterrupt` or `SystemExit` would stop
    the event loop, also on a thread that the package started.

    Args:
        work: the awaitable.
        whose: names the code in errors, and is the name of the task.
        owner: a set that holds the task until the task ends.
    """
    task = spawn(_contained(work, whose), whose, owner)
    if inspect.iscoroutine(work):
        # A task that is cancelled before the event loop has started it never awaits `work`. Close `work` then:
        # otherwise Python warns that the coroutine was never awaited.
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
    """Cancel a task that runs users' code, and wait a limited time for the task to end.

    If the task does not end within `patience`, or if `cut_off` is cancelled while the task runs, the task is left
    running and a warning is logged.

    Args:
        task: the task.
        patience: seconds to wait; `None` for no limit.
        whose: names the code in the warning.
        log: gets the warning.
        undo: if the task returns a result despite the cancellation, now or later, `undo(result)` disposes of the
            result, for example closes a connection.
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
            # Run `undo` in a task of its own: if the current task was cancelled, its next `await` would raise
            # CancelledError, and `undo` would not be finished.
            undoing = _take_back(undo, task)
    if undoing is not None:
        await asyncio.wait({undoing})


def _take_back(
    undo: Callable[[T], Coroutine[Any, Any, None]] | None, task: asyncio.Task[T]
) -> asyncio.Task[None] | None:
    if task.cancelled() or task.exception() is not None or undo is None:
        return None
    return spawn_contained(undo(task.result()), "the HTTP client", _undoing)


# The tasks that run `undo` in `cut_off`. This set keeps them alive: the event loop has only weak references to tasks,
# and Python could delete a task that is still closing a connection.
_undoing: set[asyncio.Task[None]] = set()
