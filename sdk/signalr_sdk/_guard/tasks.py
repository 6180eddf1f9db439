"""How every task of the package begins."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from collections.abc import Coroutine

T = TypeVar("T")


def spawn(work: Coroutine[Any, Any, T], name: str, owner: set[asyncio.Task[T]] | None = None) -> asyncio.Task[T]:
    """Return a new task, which does its first step in a later turn of the event loop.

    A task made by `asyncio.create_task` may run to its end before its maker knows it, if the program uses
    `asyncio.eager_task_factory`.

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
