"""What users give is plain functions here: neither async ones nor what they raise reaches the event loop."""

from __future__ import annotations

import inspect
from typing import TypeVar

T = TypeVar("T")


def plain(function: T, what: str) -> T:
    """Return the function.

    Args:
        function: what the user gave.
        what: the name of its role, for the error.

    Raises:
        TypeError: the function is async: a thread could not await what it returns.
    """
    call = getattr(type(function), "__call__", None)  # noqa: B004 - looked at, not asked for
    if inspect.iscoroutinefunction(function) or inspect.iscoroutinefunction(call):
        raise TypeError(f"{what} of signalr_sdk.sync is a plain function, not an async one: {function!r}")
    return function


def result_of(value: T) -> T:
    """Return what a function of the user returned.

    Raises:
        TypeError: the value is a coroutine: the function was async, in a way that `plain` cannot see.
    """
    if inspect.iscoroutine(value):
        value.close()
        raise TypeError("a handler of signalr_sdk.sync returned a coroutine: it must be a plain function")
    return value


def as_error(raised: BaseException) -> Exception:
    """Return what a function of the user raised as an `Exception`.

    Neither a `BaseException` nor a `StopIteration` can be set on a future: the one would end the loop's thread, the
    other is refused.
    """
    if isinstance(raised, Exception) and not isinstance(raised, StopIteration):
        return raised
    error = RuntimeError(f"a function of the user raised {raised!r}")
    error.__cause__ = raised
    return error
