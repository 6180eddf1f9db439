"""What an exception means that code of the user's has raised: a handler, a provider, a policy, an HTTP client."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, TypeVar

from ..errors import ConnectionFailedError, SignalRError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

T = TypeVar("T")


def error_of(raised: BaseException, whose: str) -> Exception:
    """Return the error to report for an exception of the user's code; raise a cancellation of the current task again.

    Args:
        raised: the exception.
        whose: the code that raised, as a text of a message begins with it.
    """
    if isinstance(raised, Exception):
        return raised
    task = asyncio.current_task()
    if task is None or task.cancelling() or not isinstance(raised, asyncio.CancelledError):
        raise raised
    # A task or future that the code waited for was cancelled, not the current task.
    error = SignalRError(f"{whose} was cancelled from inside")
    error.__cause__ = raised
    return error


async def uncancelled(attempt: Callable[[], Awaitable[T]], *, undo: Callable[[T], Awaitable[None]] | None = None) -> T:
    """Make an attempt to connect, in which the user's code may swallow a cancellation or raise one of its own.

    Args:
        attempt: makes the connection.
        undo: closes a connection that was made although the current task was cancelled.

    Raises:
        ConnectionFailedError: a `CancelledError` came out of the attempt, and nobody has cancelled the current task.
    """
    task = asyncio.current_task()
    assert task is not None
    try:
        done = await attempt()
    except asyncio.CancelledError as error:
        if task.cancelling():
            raise
        raise ConnectionFailedError(
            "the attempt was cancelled from inside, by the access token provider or the HTTP client"
        ) from error
    except Exception:
        if task.cancelling():
            raise asyncio.CancelledError from None
        raise
    if task.cancelling():
        if undo is not None:
            await undo(done)
        raise asyncio.CancelledError
    return done
