"""Checks that users' functions are not async, and turns their exceptions into errors that an asyncio future accepts."""

from __future__ import annotations

import inspect
from typing import TypeVar

T = TypeVar("T")


def plain(function: T, what: str) -> T:
    """Return a user's function unchanged, after checking that the function is not async.

    Args:
        function: the user's function.
        what: the use of the function in the error text, for example `a handler`.

    Raises:
        TypeError: the function is async: a thread cannot await its result.
    """
    call = getattr(type(function), "__call__", None)  # noqa: B004 - the method itself is needed
    if inspect.iscoroutinefunction(function) or inspect.iscoroutinefunction(call):
        raise TypeError(f"{what} of signalr_sdk.sync is a plain function, not an async one: {function!r}")
    return function


def result_of(value: T) -> T:
    """Return the result of a user's function unchanged, after checking that the result is no coroutine.

    Raises:
        TypeError: the result is a coroutine, which a thread cannot await. `plain` cannot find all async functions:
            for example, it accepts a lambda that calls an async function.
    """
    if inspect.iscoroutine(value):
        value.close()
        raise TypeError("a handler of signalr_sdk.sync returned a coroutine: it must be a plain function")
    return value


def as_error(raised: BaseException) -> Exception:
    """Return an exception of a user's function as an `Exception` that an asyncio future accepts.

    A `RuntimeError` replaces two kinds of exceptions: a `BaseException` like `SystemExit` would end the event loop's
    thread, and a future refuses a `StopIteration`.
    """
    if isinstance(raised, Exception) and not isinstance(raised, StopIteration):
        return raised
    error = RuntimeError(f"a function of the user raised {raised!r}")
    error.__cause__ = raised
    return error
