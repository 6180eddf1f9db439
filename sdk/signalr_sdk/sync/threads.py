"""Where the user's plain functions run: daemon threads, which are left behind if they do not end."""

from __future__ import annotations

import asyncio
import contextvars
import inspect
import threading
from contextlib import suppress
from queue import SimpleQueue
from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")

_Job: TypeAlias = "tuple[contextvars.Context, Callable[[], Any], asyncio.Future[Any]]"


def post(loop: asyncio.AbstractEventLoop, callback: Callable[..., object], *args: Any) -> None:
    """Call back on the loop's thread; not at all if the loop is closed, since then nobody waits any more."""
    with suppress(RuntimeError):
        loop.call_soon_threadsafe(callback, *args)


class _Exit:
    """Whether the interpreter is about to exit: then it makes no thread any more, from Python 3.12 on."""

    begun = False


def begin_exit() -> None:
    """Start no thread from now on: what a daemon thread does now would be cut anyway."""
    _Exit.begun = True


def start_thread(function: Callable[..., object], *args: Any, name: str) -> None:
    """Run a function on a daemon thread of its own."""
    if _Exit.begun:
        return
    threading.Thread(target=function, args=args, name=f"signalr_sdk {name}", daemon=True).start()


async def run_on_thread(function: Callable[[], T], name: str) -> T:
    """Run a function on a daemon thread of its own and return its result. Cancelling this leaves the thread behind."""
    future: asyncio.Future[T] = asyncio.get_running_loop().create_future()
    start_thread(_do, (contextvars.copy_context(), function, future), name=name)
    return await future


class Worker:
    """A daemon thread that does one job after another, until `end`."""

    def __init__(self, name: str) -> None:
        self._jobs: SimpleQueue[_Job | None] = SimpleQueue()
        # The thread knows the queue only: it must keep nothing alive.
        start_thread(_do_all, self._jobs, name=name)

    async def run(self, function: Callable[[], T]) -> T:
        """Run a function and return its result. Cancelling this does not end the function."""
        future: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        self._jobs.put((contextvars.copy_context(), function, future))
        return await future

    def end(self) -> None:
        """Let the thread end when it has done what it was given."""
        self._jobs.put(None)


def _do_all(jobs: SimpleQueue[_Job | None]) -> None:
    while (job := jobs.get()) is not None:
        _do(job)
        # Kept until the next one comes, it would keep the connection alive.
        del job


def _do(job: _Job) -> None:
    context, function, future = job
    loop = future.get_loop()
    try:
        result = context.run(function)
    except BaseException as error:  # noqa: BLE001 - it is raised where the result is awaited
        post(loop, _settle, future, None, as_error(error))
    else:
        post(loop, _settle, future, result, None)


def _settle(future: asyncio.Future[Any], result: Any, error: Exception | None) -> None:
    if future.done():
        return
    if error is None:
        future.set_result(result)
    else:
        future.set_exception(error)


def as_error(raised: BaseException) -> Exception:
    """Return what the user's code has raised as an error that can be reported: it ends no thread of ours."""
    if isinstance(raised, Exception) and not isinstance(raised, StopIteration):
        return raised
    error = RuntimeError(f"a function of the user raised {raised!r}")
    error.__cause__ = raised
    return error


def plain(function: T, what: str) -> T:
    """Return the function.

    Raises:
        TypeError: it is async: nothing would await it.
    """
    call = getattr(type(function), "__call__", None)  # noqa: B004 - looked at, not asked for
    if inspect.iscoroutinefunction(function) or inspect.iscoroutinefunction(call):
        raise TypeError(f"{what} of signalr_sdk.sync is a plain function, not an async one: {function!r}")
    return function


def result_of(value: T) -> T:
    """Return what a function of the user returned.

    Raises:
        TypeError: it is a coroutine: the function was async after all.
    """
    if inspect.iscoroutine(value):
        value.close()
        raise TypeError("a handler of signalr_sdk.sync returned a coroutine: it must be a plain function")
    return value
