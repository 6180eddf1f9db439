"""Starting a task, and describing a task that does not end. Every task of the package is started by `spawn`."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeVar

if TYPE_CHECKING:
    import logging
    from collections.abc import Coroutine, Iterable

    from .._core.logs import Log

T = TypeVar("T")

# Files in the folders of asyncio, of this package and of aiohttp do not count as users' code (see `is_users`). This
# module does not import aiohttp, so any folder named aiohttp counts as aiohttp's.
_OURS: Final = (str(Path(asyncio.__file__).parent), str(Path(__file__).parents[1]))
_LIBRARY: Final = f"{os.sep}aiohttp{os.sep}"


def spawn(work: Coroutine[Any, Any, T], name: str, owner: set[asyncio.Task[T]] | None = None) -> asyncio.Task[T]:
    """Start a task and return it. No code of the task runs before `spawn` has returned.

    Do not use `asyncio.create_task` instead: with `asyncio.eager_task_factory` the new task may run to its end before
    `create_task` returns the task. A task that is cancelled before the event loop has started it runs no code, not even
    a `finally` block: put necessary clean-up into a done callback.

    Args:
        work: the coroutine that the task runs.
        name: the task's name, after the prefix "signalr_sdk", in debuggers and in asyncio's warnings.
        owner: a set that holds the task until the task ends, since the event loop has only weak references to tasks.
    """
    task: asyncio.Task[T] = asyncio.Task(work, loop=asyncio.get_running_loop(), name=f"signalr_sdk {name}")
    if owner is not None:
        owner.add(task)
        task.add_done_callback(owner.discard)
    return task


async def run_side_by_side(works: Iterable[Coroutine[Any, Any, None]], name: str) -> None:
    """Run coroutines side by side, each in a task. After an exception, cancel the others, and wait for their end.

    Use this instead of `asyncio.TaskGroup`, which wraps each exception in an ExceptionGroup. With
    `asyncio.eager_task_factory`, a TaskGroup also refuses more tasks once a task has failed at once.

    Args:
        works: the coroutines.
        name: the name of each task, as for `spawn`.

    Raises:
        BaseException: the first exception of a coroutine.
    """
    tasks = [spawn(work, name) for work in works]
    try:
        await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def retrieve(task: asyncio.Task[Any]) -> None:
    """Read the exception of a task that has ended, as a done callback: asyncio logs an exception that nobody reads."""
    if not task.cancelled():
        task.exception()


async def end_tasks(
    tasks: set[asyncio.Task[Any]], grace: float | None = 0.0, patience: float | None = None
) -> set[asyncio.Task[Any]]:
    """Wait until tasks have ended. Cancel the tasks that have not ended after `grace` seconds.

    Args:
        tasks: the tasks.
        grace: seconds to wait before cancelling; `None` for no limit.
        patience: seconds to wait after cancelling; `None` for no limit.

    Returns:
        The tasks that ignore their cancellation and still run.
    """
    if not tasks:
        return set()
    _ended, late = await asyncio.wait(tasks, timeout=grace)
    for task in late:
        task.cancel()
    return (await asyncio.wait(late, timeout=patience))[1] if late else late


def warn_of_left(tasks: set[asyncio.Task[Any]], log: Log | logging.Logger) -> None:
    """Log a warning for each task that was cancelled and still runs, with the place at which it waits."""
    for task in tasks:
        log.warning("users' code was cancelled and does not end: it is left behind in %s", where(task))


def is_users(file: str) -> bool:
    """Return whether a source file is users' code: it is in no folder of this package, of asyncio or of aiohttp."""
    return not file.startswith(_OURS) and _LIBRARY not in file


def where(task: asyncio.Task[Any]) -> str:
    """Return a text with the function, file and line at which a task is waiting.

    If a function of a user is among the nested calls of the task, the text names the innermost function of a user.
    """
    functions: list[tuple[bool, str]] = []
    at: Any = task.get_coro()
    while (frame := getattr(at, "cr_frame", None) or getattr(at, "ag_frame", None)) is not None:
        file = frame.f_code.co_filename
        functions.append((is_users(file), f"{at.__qualname__} ({file}:{frame.f_lineno})"))
        at = getattr(at, "cr_await", None) or getattr(at, "ag_await", None)
    users = [text for is_users, text in functions if is_users]
    return (users or [text for _is_users, text in functions] or [task.get_name()])[-1]
