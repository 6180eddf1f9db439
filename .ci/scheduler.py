"""Run pytest on event loops that are not asyncio's usual ones: `python .ci/scheduler.py uvloop tests/core`."""

from __future__ import annotations

import asyncio
import sys
import warnings
from typing import Any

import pytest


def use_uvloop() -> None:
    """Have asyncio make uvloop's event loops."""
    import uvloop

    with warnings.catch_warnings(action="ignore"):  # from Python 3.14 on, policies are deprecated
        asyncio.set_event_loop_policy(uvloop.EventLoopPolicy())


def use_eager_tasks() -> None:
    """Have each event loop run a new task at once, up to its first wait."""
    make = asyncio.BaseEventLoop.__init__

    def make_eager(loop: asyncio.BaseEventLoop, *arguments: Any, **options: Any) -> None:
        make(loop, *arguments, **options)
        loop.set_task_factory(asyncio.eager_task_factory)

    asyncio.BaseEventLoop.__init__ = make_eager


if __name__ == "__main__":
    {"uvloop": use_uvloop, "eager": use_eager_tasks}[sys.argv[1]]()
    sys.exit(pytest.main(sys.argv[2:]))
