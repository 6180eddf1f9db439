"""Daemon threads, which run the plain functions of users. The program can exit while such a function still runs."""

from __future__ import annotations

import asyncio
import contextvars
import threading
from collections.abc import Callable
from contextlib import suppress
from queue import SimpleQueue
from typing import Any, TypeAlias, TypeVar

from .plain_functions import as_error

T = TypeVar("T")

_Job: TypeAlias = "tuple[contextvars.Context, Callable[[], Any], asyncio.Future[Any]]"

# Set when the interpreter begins to exit. No thread is started after this: the exit would kill a daemon thread in the
# middle of its work, and from Python 3.12 on, starting a thread raises an error.
exit_begun: threading.Event = threading.Event()


def call_on_loop(loop: asyncio.AbstractEventLoop, callback: Callable[..., object], *args: Any) -> None:
    """Let the event loop's thread call a function. Do nothing if the loop is closed: then nobody waits for the call."""
    with suppress(RuntimeError):
        loop.call_soon_threadsafe(callback, *args)


def start_thread(function: Callable[..., object], *args: Any, name: str) -> None:
    """Run a function on a daemon thread of its own. Do nothing if the interpreter has begun to exit."""
    if not exit_begun.is_set():
        threading.Thread(target=function, args=args, name=f"signalr_sdk {name}", daemon=True).start()


async def run_on_thread(function: Callable[[], T], name: str) -> T:
    """Run a function on a daemon thread of its own and return its result to the event loop.

    If the awaiting task is cancelled, the function runs on to its end, and its result is dropped.
    """
    future: asyncio.Future[T] = asyncio.get_running_loop().create_future()
    start_thread(_do, (contextvars.copy_context(), function, future), name=name)
    return await future


class Worker:
    """A daemon thread that runs functions one after another, until `end` is called."""

    def __init__(self, name: str) -> None:
        self._jobs: SimpleQueue[_Job | None] = SimpleQueue()
        start_thread(_do_all, self._jobs, name=name)

    async def run(self, function: Callable[[], T]) -> T:
        """Run a function on the worker thread and return its result to the event loop.

        If the awaiting task is cancelled, the function still runs to its end.
        """
        future: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        self._jobs.put((contextvars.copy_context(), function, future))
        return await future

    def end(self) -> None:
        """Let the worker thread end after it has run all functions that `run` has queued."""
        self._jobs.put(None)


def _do_all(jobs: SimpleQueue[_Job | None]) -> None:
    while (job := jobs.get()) is not None:
        _do(job)
        # Drop the finished job before waiting for the next job. The job refers to the connection: while this thread
        # waits, Python could not free a connection that the user no longer uses.
        del job


def _do(job: _Job) -> None:
    context, function, future = job
    try:
        result = context.run(function)
    except BaseException as error:  # noqa: BLE001 - the error is raised where the result is awaited
        call_on_loop(future.get_loop(), _resolve, future, future.set_exception, as_error(error))
    else:
        call_on_loop(future.get_loop(), _resolve, future, future.set_result, result)


def _resolve(future: asyncio.Future[Any], resolve: Callable[[Any], None], outcome: object) -> None:
    if not future.done():
        resolve(outcome)
