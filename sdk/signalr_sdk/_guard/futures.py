"""Setting the result or the error of a future, which may be cancelled at any moment."""

from __future__ import annotations

from asyncio import InvalidStateError
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    import asyncio

T = TypeVar("T")


def resolve(future: asyncio.Future[T], result: T) -> None:
    """Set the result of a future, unless the future is done.

    To ask `future.done()` first is not enough. At Ctrl-C, asyncio cancels the main task in a signal handler, and with
    the task the future that the task waits for. This can happen between `done` and `set_result`.
    """
    try:
        future.set_result(result)
    except InvalidStateError:
        return


def fail(future: asyncio.Future[T], error: BaseException) -> None:
    """Set the error of a future, unless the future is done. See `resolve`."""
    try:
        future.set_exception(error)
    except InvalidStateError:
        return
