"""How every task of the package begins, and what is said of one that does not end."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeVar

if TYPE_CHECKING:
    from collections.abc import Coroutine

T = TypeVar("T")

# The folders of asyncio and of this package. The HTTP library lies beside the package or in a folder of its name.
_OURS: Final = (str(Path(asyncio.__file__).parent), str(Path(__file__).parents[1]))
_LIBRARY: Final = f"{os.sep}aiohttp{os.sep}"


def spawn(work: Coroutine[Any, Any, T], name: str, owner: set[asyncio.Task[T]] | None = None) -> asyncio.Task[T]:
    """Return a new task, which does its first step in a later turn of the event loop.

    A task made by `asyncio.create_task` may run to its end before its maker knows it, if the program uses
    `asyncio.eager_task_factory`. A task that is cancelled before its first step runs no code: what must happen at its
    end belongs into a done callback.

    Args:
        work: what the task does.
        name: appears behind `signalr_sdk` in debuggers and in the warnings of asyncio.
        owner: holds the task from now to its end.
    """
    task: asyncio.Task[T] = asyncio.Task(work, loop=asyncio.get_running_loop(), name=f"signalr_sdk {name}")
    if owner is not None:
        owner.add(task)
        task.add_done_callback(owner.discard)
    return task


def is_users(file: str) -> bool:
    """Return whether code in this file is the user's: neither ours nor that of a library below us."""
    return not file.startswith(_OURS) and _LIBRARY not in file


def where(task: asyncio.Task[Any]) -> str:
    """Return the function in which a task waits, with its file and line: the innermost one that is the user's."""
    functions: list[tuple[bool, str]] = []
    at: Any = task.get_coro()
    while (frame := getattr(at, "cr_frame", None) or getattr(at, "ag_frame", None)) is not None:
        file = frame.f_code.co_filename
        functions.append((is_users(file), f"{at.__qualname__} ({file}:{frame.f_lineno})"))
        at = getattr(at, "cr_await", None) or getattr(at, "ag_await", None)
    users = [text for is_users, text in functions if is_users]
    return (users or [text for _is_users, text in functions] or [task.get_name()])[-1]
