"""Checks that functions of users are not async, and turns their exceptions into errors that the loop can pass on."""

from __future__ import annotations

import inspect
from typing import TypeVar

T = TypeVar("T")


def plain(function: T, what: str) -> T:
    """Return the function, after checking that it is not async.

    Args:
        function: the function of the user.
        what: what the function is used for, for the error text.

    Raises:
        TypeError: the function is async: a thread cannot await its result.
    """
    call = getattr(type(function), "__call__", None)  # noqa: B004 - the method itself is needed
    if inspect.iscoroutinefunction(function) or inspect.iscoroutinefunction(call):
        raise TypeError(f"{what} of signalr_sdk.sync is a plain function, not an async one: {function!r}")
    return function


def result_of(value: T) -> T:
    """Return the result of a function of the user, after checking that the result is no coroutine.

    Raises:
        TypeError: the value is a coroutine: `plain` could not see that the function is async.
    """
    if inspect.iscoroutine(value):
        value.close()
        raise TypeError("a handler of signalr_sdk.sync returned a coroutine: it must be a plain function")
    return value


def as_error(raised: BaseException) -> Exception:
    """Return the exception of a user's function as an `Exception` that a future accepts.

    Other `BaseException`s would end the loop's thread, and a future refuses a `StopIteration`.
    """
    if isinstance(raised, Exception) and not isinstance(raised, StopIteration):
        return raised
    error = RuntimeError(f"a function of the user raised {raised!r}")
    error.__cause__ = raised
    return error
