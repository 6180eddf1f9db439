"""Why a connection has ended or was not made: the errors of `_life`, and how they are logged."""

from __future__ import annotations

import logging
from typing import Final

from .._core.lifecycle import State
from .._core.redaction import redact_error
from ..errors import ConnectionClosedError, SignalRError
from ..retry import RetryContext, is_transient

CANCELLED: Final = (
    "the task of the connection was cancelled, as happens when the event loop of start() has ended: "
    "keep one asyncio.run() for the whole life of a connection"
)


def ended_early(state: State) -> ConnectionClosedError:
    """Return the error for a `start` that ended before the connection was up, without a failed attempt.

    Args:
        state: the state of the connection.
    """
    if state is State.DISCONNECTING:
        return ConnectionClosedError("stop() was called before the connection was up")
    return ConnectionClosedError(
        "the connection was ended before it was up: its task was cancelled, or the program is ending"
    )


def given_up() -> ConnectionClosedError:
    """Return the error for a connection that `reconnect` has given up."""
    return ConnectionClosedError("reconnect() was called", allow_reconnect=True)


def log_level(error: Exception) -> int:
    """Return the log level for a failed attempt that another attempt follows.

    WARNING if every attempt will probably fail (for example status 404 or 401); INFO if a later attempt may succeed.
    """
    passing = is_transient(RetryContext(0, 0.0, error, was_connected=False))
    return logging.INFO if passing else logging.WARNING


def wrapped(error: BaseException) -> SignalRError:
    """Return the error for a connection that ended because of an unexpected exception."""
    ended = ConnectionClosedError(f"the connection failed: {redact_error(error)}")
    ended.__cause__ = error
    return ended
