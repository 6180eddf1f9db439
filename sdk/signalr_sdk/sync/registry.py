"""`HandlerRegistry`: adds and removes the handlers of one connection, from many threads."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, ParamSpec, TypeVar

from ..interfaces import Handler
from .plain_functions import plain

if TYPE_CHECKING:
    from collections.abc import Callable

P = ParamSpec("P")
T = TypeVar("T")
H = TypeVar("H", bound=Handler)

# `change` waits this many seconds for its lock, and then changes the handlers without the lock. A change takes
# microseconds: a thread that holds the lock so long was interrupted by a signal handler.
_STUCK = 0.1


class HandlerRegistry:
    """Lets one thread after another add and remove handlers."""

    def __init__(self) -> None:
        self._lock = threading.RLock()

    def register(self, register: Callable[[H], H], handler: H) -> H:
        """Pass a handler to a method of the asyncio connection that registers it.

        Raises:
            TypeError: the handler is async.
        """
        return self.change(register, plain(handler, "a handler"))

    def change(self, change: Callable[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Call `change`, which adds or removes handlers, while no other thread adds or removes handlers."""
        # Do not wait for ever: a signal handler may have interrupted the thread that holds the lock. The lock stays
        # held until the signal handler returns, and the signal handler may wait for this call.
        locked = self._lock.acquire(timeout=_STUCK)
        try:
            return change(*args, **kwargs)
        finally:
            if locked:
                self._lock.release()
