"""`end_tasks`: ends tasks of the test server, after they have had some time to end by themselves."""

from __future__ import annotations

import asyncio


async def end_tasks(tasks: set[asyncio.Task[None]], grace: float = 0.0) -> None:
    """Wait until the tasks have ended. Cancel the tasks that have not ended after `grace` seconds."""
    if not tasks:
        return
    _ended, late = await asyncio.wait(tasks, timeout=grace)
    for task in late:
        task.cancel()
    if late:
        await asyncio.wait(late)
