"""Functions that check which event loop is running, and raise an error with advice if the event loop is wrong."""

from __future__ import annotations

import asyncio

from ..errors import StateError


def loop_or_none() -> asyncio.AbstractEventLoop | None:
    """Return the event loop that is running in this thread; `None` if there is none."""
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        return None


def running_loop() -> asyncio.AbstractEventLoop:
    """Return the running event loop.

    Raises:
        StateError: no asyncio event loop is running in this thread.
    """
    loop = loop_or_none()
    if loop is None:
        raise StateError(
            "no asyncio event loop is running here: use asyncio.run(), or signalr_sdk.sync in programs without asyncio "
            "(with trio, signalr_sdk.sync or trio-asyncio)"
        )
    return loop


def check_loop(loop: asyncio.AbstractEventLoop | None) -> None:
    """Check that the running event loop is the event loop of a connection.

    A call from another event loop could hang, because a future wakes only tasks of its own event loop.

    Args:
        loop: the event loop of the connection. `None` or a closed loop passes the check.

    Raises:
        StateError: another event loop is running in this thread, or none.
    """
    if loop is None or loop.is_closed() or running_loop() is loop:
        return
    raise StateError(
        "this connection belongs to another event loop, the one that start() ran on: hand the call to that loop with "
        "asyncio.run_coroutine_threadsafe, or use signalr_sdk.sync, which works from any thread"
    )
