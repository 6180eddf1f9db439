"""A future that is cancelled while its result is set."""

from __future__ import annotations

import asyncio

from signalr_sdk._guard.futures import fail, resolve


async def test_what_is_done_stays_as_it_is() -> None:
    future: asyncio.Future[int] = asyncio.get_running_loop().create_future()
    resolve(future, 1)
    resolve(future, 2)
    fail(future, OSError())
    assert future.result() == 1
    failed: asyncio.Future[int] = asyncio.get_running_loop().create_future()
    error = OSError()
    fail(failed, error)
    resolve(failed, 1)
    assert failed.exception() is error
    cancelled: asyncio.Future[int] = asyncio.get_running_loop().create_future()
    cancelled.cancel()
    resolve(cancelled, 1)
    fail(cancelled, error)
    assert cancelled.cancelled()
