"""Daemon threads, which run the plain functions of users. The program can exit while such a function still runs."""

from __future__ import annotations

import asyncio
import contextvars
import threading
from contextlib import suppress
from queue import SimpleQueue
from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar

from .plain_functions import as_error

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")

_Job: TypeAlias = "tuple[contextvars.Context, Callable[[], Any], asyncio.Future[Any]]"


def call_on_loop(loop: asyncio.AbstractEventLoop, callback: Callable[..., object], *args: Any) -> None:
    """Call a callback on the loop's thread. Do nothing if the loop is closed: nobody waits for the callback then."""
    with suppress(RuntimeError):
        loop.call_soon_threadsafe(callback, *args)


class _Exit:
    """Holds whether the interpreter is about to exit. From Python 3.12 on, starting a thread then raises an error."""

    begun = False


def begin_exit() -> None:
    """Start no more threads: the exit of the interpreter would end a daemon thread in the middle of its work."""
    _Exit.begun = True


def has_exit_begun() -> bool:
    """Return whether no thread starts any more."""
    return _Exit.begun


def start_thread(function: Callable[..., object], *args: Any, name: str) -> None:
    """Run a function on a daemon thread of its own."""
    if _Exit.begun:
        return
    threading.Thread(target=function, args=args, name=f"signalr_sdk {name}", daemon=True).start()


async def run_on_thread(function: Callable[[], T], name: str) -> T:
    """Run a function on a daemon thread of its own and return its result.

    Cancelling does not end the thread: the function runs on, and its result is dropped.
    """
    future: asyncio.Future[T] = asyncio.get_running_loop().create_future()
    start_thread(_do, (contextvars.copy_context(), function, future), name=name)
    return await future


class Worker:
    """A daemon thread that runs one function after another, until `end` is called."""

    def __init__(self, name: str) -> None:
        self._jobs: SimpleQueue[_Job | None] = SimpleQueue()
        # Pass only the queue to the thread: a reference to the worker would keep a connection alive that the user has
        # forgotten.
        start_thread(_do_all, self._jobs, name=name)

    async def run(self, function: Callable[[], T]) -> T:
        """Run a function on the thread and return its result. Cancelling does not end the function."""
        future: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        self._jobs.put((contextvars.copy_context(), function, future))
        return await future

    def end(self) -> None:
        """Let the thread end after it has run all queued functions."""
        self._jobs.put(None)


def _do_all(jobs: SimpleQueue[_Job | None]) -> None:
    while (job := jobs.get()) is not None:
        _do(job)
        # Drop the finished job: it would keep the connection alive while the thread waits for the next job.
        del job


def _do(job: _Job) -> None:
    context, function, future = job
    loop = future.get_loop()
    try:
        result = context.run(function)
    except BaseException as error:  # noqa: BLE001 - the error is raised where the result is awaited
        call_on_loop(loop, _resolve, future, None, as_error(error))
    else:
        call_on_loop(loop, _resolve, future, result, None)


def _resolve(future: asyncio.Future[Any], result: Any, error: Exception | None) -> None:
    if future.done():
        return
    if error is None:
        future.set_result(result)
    else:
        future.set_exception(error)
