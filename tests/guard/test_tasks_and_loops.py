"""How tasks begin, what is said of one that does not end, and which event loop is the right one."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from signalr_sdk import StateError
from signalr_sdk._guard.loops import check_loop, loop_or_none, running_loop
from signalr_sdk._guard.tasks import run_side_by_side, spawn, where

if TYPE_CHECKING:
    from collections.abc import AsyncIterator


async def test_a_task_belongs_to_its_owner_before_its_first_step() -> None:
    owner: set[asyncio.Task[None]] = set()
    seen: list[bool] = []

    async def work() -> None:
        seen.append(asyncio.current_task() in owner)

    task = spawn(work(), "work", owner)
    assert (owner, seen) == ({task}, [])
    await task
    await asyncio.sleep(0)
    assert (owner, seen) == (set(), [True])
    assert task.get_name() == "signalr_sdk work"


async def test_no_task_is_eager() -> None:
    """Python 3.12 and later have the factory."""
    asyncio.get_running_loop().set_task_factory(getattr(asyncio, "eager_task_factory", None))
    await test_a_task_belongs_to_its_owner_before_its_first_step()


async def test_where_a_task_waits_is_said_by_the_innermost_function_of_the_user() -> None:
    async def inner() -> AsyncIterator[int]:
        yield 1
        await asyncio.Event().wait()

    async def outer() -> None:
        async for _ in inner():
            pass

    task = asyncio.create_task(outer())
    await asyncio.sleep(0)
    assert "inner" in where(task)
    assert __file__ in where(task)
    task.cancel()
    await asyncio.wait({task})
    assert where(task) == task.get_name()


def test_the_right_event_loop() -> None:
    async def current() -> asyncio.AbstractEventLoop:
        check_loop(None)
        check_loop(running_loop())
        return running_loop()

    assert loop_or_none() is None
    with pytest.raises(StateError, match=r"asyncio\.run"):
        running_loop()
    loop = asyncio.new_event_loop()
    with pytest.raises(StateError, match=r"no asyncio event loop is running"):
        check_loop(loop)

    async def another() -> None:
        with pytest.raises(StateError, match="run_coroutine_threadsafe"):
            check_loop(loop)

    asyncio.run(another())
    loop.close()
    check_loop(loop)
    check_loop(asyncio.run(current()))


async def test_coroutines_side_by_side_end_together() -> None:
    ended: list[str] = []

    async def wait_for_ever() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            ended.append("cancelled")

    async def fail() -> None:
        await asyncio.sleep(0)
        raise ValueError("wrong")

    with pytest.raises(ValueError, match="wrong"):
        await run_side_by_side((wait_for_ever(), fail(), wait_for_ever()), "test")
    assert ended == ["cancelled", "cancelled"]
    await run_side_by_side((), "nothing")
