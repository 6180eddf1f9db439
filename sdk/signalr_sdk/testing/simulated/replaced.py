"""What a simulated run replaces in other modules until its end: clocks, random numbers and sockets."""

from __future__ import annotations

import gc
import inspect
import os
import random
import secrets
import socket
import time
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any, Final

import aiohttp.connector
from aiohttp.http import WebSocketWriter

from .loop import running_simulation
from .sockets import SimulatedSocket

if TYPE_CHECKING:
    from collections.abc import Iterator

    from .loop import SimulatedLoop

_REAL: Final = socket.socket
_FAMILIES: Final = (-1, socket.AF_INET, socket.AF_INET6)


class _SocketType(type(_REAL)):  # type: ignore[misc]
    """Lets `isinstance(..., socket.socket)` be true for all sockets while `socket.socket` is replaced."""

    def __instancecheck__(cls, instance: object) -> bool:
        return isinstance(instance, _REAL)


class _NewSocket(socket.socket, metaclass=_SocketType):
    """Makes a socket in memory on a simulated event loop, and a socket of the system everywhere else."""

    def __new__(cls, family: int = -1, type: int = -1, proto: int = -1, fileno: int | None = None) -> Any:
        loop = running_simulation()
        if loop is not None and fileno is None and family in _FAMILIES:
            return SimulatedSocket(loop.net)
        return _REAL(family, type, proto, fileno)


@contextmanager
def _replaced(module: Any, **values: Any) -> Iterator[None]:
    """Give names of a module other values while the block runs. A name that the module does not have stays away."""
    before = {name: getattr(module, name) for name in values if hasattr(module, name)}
    try:
        for name in before:
            setattr(module, name, values[name])
        yield
    finally:
        for name, value in before.items():
            setattr(module, name, value)


@contextmanager
def _seeded(source: Any, seed: int) -> Iterator[None]:
    """Let a source of random numbers begin anew with a seed while the block runs."""
    state = source.getstate()
    source.seed(seed)
    try:
        yield
    finally:
        source.setstate(state)


@contextmanager
def _collecting_by_turns() -> Iterator[None]:
    """Leave garbage collection to the event loop."""
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()


@contextmanager
def simulated(loop: SimulatedLoop, wall_clock: Any, chance: random.Random) -> Iterator[None]:
    """Replace clocks, random numbers and sockets while the block runs.

    Args:
        loop: the event loop.
        wall_clock: returns the simulated seconds since 1970.
        chance: the source of all random numbers.
    """
    with ExitStack() as stack:
        stack.enter_context(_collecting_by_turns())
        stack.enter_context(_seeded(random, chance.getrandbits(64)))
        # aiohttp masks the frames of WebSockets with the numbers of a source that all of its writers share.
        masks = inspect.signature(WebSocketWriter).parameters.get("random")
        if masks is not None and isinstance(masks.default, random.Random):
            stack.enter_context(_seeded(masks.default, chance.getrandbits(64)))
        for module, values in (
            (time, {"time": wall_clock, "monotonic": loop.time, "clock_gettime": lambda _clock: loop.time()}),
            (os, {"urandom": chance.randbytes}),
            (secrets, {"token_bytes": lambda count=None: chance.randbytes(count or secrets.DEFAULT_ENTROPY)}),
            (socket, {"socket": _NewSocket}),
            # aiohttp drops idle connections by this clock, and would ask name servers itself if it could.
            (aiohttp.connector, {"monotonic": loop.time, "DefaultResolver": aiohttp.ThreadedResolver}),
        ):
            stack.enter_context(_replaced(module, **values))
        yield
