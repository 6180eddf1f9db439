"""The right event loop, or an error that says what to do."""

from __future__ import annotations

import asyncio

from ..errors import StateError


def loop_or_none() -> asyncio.AbstractEventLoop | None:
    """Return the event loop that runs in this thread, if there is one."""
    try:
        return asyncio.get_running_loop()
    except RuntimeError:
        return None


def running_loop() -> asyncio.AbstractEventLoop:
    """Return the running event loop.

    Raises:
        StateError: none runs in this thread, or it is not one of asyncio.
    """
    loop = loop_or_none()
    if loop is None:
        raise StateError(
            "no asyncio event loop is running here: use asyncio.run(), or signalr_sdk.sync in programs without asyncio "
            "(with trio, signalr_sdk.sync or trio-asyncio)"
        )
    return loop


def check_loop(loop: asyncio.AbstractEventLoop | None) -> None:
    """Make sure that this is the event loop of the connection, unless the connection has none, or that one is closed.

    Raises:
        StateError: this is another event loop, another thread, or no asyncio.
    """
    if loop is None or loop.is_closed() or running_loop() is loop:
        return
    raise StateError(
        "this connection belongs to another event loop, the one that start() ran on: hand the call to that loop with "
        "asyncio.run_coroutine_threadsafe, or use signalr_sdk.sync, which works from any thread"
    )
