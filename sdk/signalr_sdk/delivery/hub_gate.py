"""`HubGate`: knows when an outbox or a feed may call its hub."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from .._guard.loops import loop_or_none
from .._life.managed_connection import call_after_connected, live_number

if TYPE_CHECKING:
    from collections.abc import Callable

    from .._hub.hub_connection import HubConnection


class HubGate:
    """Open while the hub is connected, on each connection only after the `on_connected` handlers registered before.

    Args:
        hub: the hub connection.
        opened: called when the gate opens.
    """

    def __init__(self, hub: HubConnection, opened: Callable[[], None]) -> None:
        self._hub = hub
        self._opened = opened
        self._loop = asyncio.get_running_loop()
        # The number of the connection whose handlers have run.
        self._number: int | None = None
        hub.on_connected(self._note_connected)
        if not call_after_connected(hub, self._note_connected):
            self._number = live_number(hub)

    def end(self) -> None:
        """Remove the handler from the hub."""
        self._hub.off(handler=self._note_connected)

    @property
    def is_open(self) -> bool:
        """Whether the hub may be called now."""
        # A later connection has another number. Its `on_connected` handlers must run first.
        return self._number is not None and live_number(self._hub) == self._number

    def _note_connected(self, connection_id: str | None) -> None:
        # In `signalr_sdk.sync`, handlers run on a thread of their own.
        if loop_or_none() is self._loop:
            self._open(connection_id)
        else:
            self._loop.call_soon_threadsafe(self._open, connection_id)

    def _open(self, connection_id: str | None) -> None:
        # The handlers may have taken so long that there is a later connection by now.
        if not self.is_open and self._hub.connection_id == connection_id:
            self._number = live_number(self._hub)
            self._opened()
