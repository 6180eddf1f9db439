"""What must hold with `handler_errors="raise"`: the first exception of a handler ends the connection."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from signalr_sdk._core.lifecycle import Event, State
from signalr_sdk._guard.loops import loop_or_none

if TYPE_CHECKING:
    from signalr_sdk import HubConnection


class Failures:
    """The first failure of a handler in each life of a connection: from a `start` to the end.

    Attributes:
        broken: what does not hold.
        error: the first failure in this life; `None` before.
        ended_by_it: whether this life has ended by itself after that failure.
    """

    def __init__(self, hub: HubConnection, *, raises: bool) -> None:
        self.broken: list[str] = []
        self.error: BaseException | None = None
        self.ended_by_it = False
        self._hub = hub
        self._raises = raises
        self._life = 0
        self._due: list[BaseException] = []
        self._reported: list[BaseException] = []

    def fired(self, event: Event, state: State) -> None:
        """Note a change of the state."""
        if event is Event.START:
            self._life += 1
            self.error, self.ended_by_it = None, False
        elif state is State.DISCONNECTED and event is not Event.CLOSED and self.error is not None:
            self.ended_by_it = True
            if self._hub._life._attempts.was_connected:
                self._due.append(self.error)

    def called(self) -> int:
        """Note that a handler is called; return the number of the life for `failed`."""
        if self.error is not None:
            self.broken.append(f"a handler was called after another had failed with {type(self.error).__name__}")
        return self._life

    def failed(self, life: int, error: BaseException) -> None:
        """Note that a handler raises, which was called in this life."""
        over = self._hub._life.lifecycle.state in (State.DISCONNECTED, State.DISCONNECTING)
        if self._raises and life == self._life and not over and self.error is None and not _is_cancelled(error):
            self.error = error

    def reported(self, error: BaseException) -> None:
        """Note that `on_error` was told."""
        self._reported.append(error)

    def closed(self, error: BaseException | None) -> None:
        """Note that `on_closed` was told."""
        for due in list(self._due):
            if error is not None and due in (error, error.__cause__):
                self._due.remove(due)
                if error not in self._reported:
                    self.broken.append(f"on_closed was told of {type(due).__name__} before on_error")

    async def check(self) -> None:
        """Look at the end, when nothing runs any more."""
        if self._due:
            self.broken.append(f"on_closed was never told of {type(self._due[0]).__name__}")
        if self.ended_by_it:
            try:
                await self._hub.wait_closed()
            except BaseException as error:  # noqa: BLE001 - whatever the handler has raised
                if self.error in (error, error.__cause__):
                    return
            self.broken.append("wait_closed() does not raise what a handler has raised")


def _is_cancelled(error: Any) -> bool:
    if not isinstance(error, asyncio.CancelledError) or loop_or_none() is None:
        return False
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0
