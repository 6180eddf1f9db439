"""`HubGate`: knows when an outbox or a feed may call its hub."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Protocol

from .._guard.loops import loop_or_none
from ..options import ConnectionState

if TYPE_CHECKING:
    from collections.abc import Callable


class DeliveringHub(Protocol):
    """What an outbox needs of a hub connection."""

    @property
    def state(self) -> ConnectionState:
        """The state."""
        ...

    @property
    def connection_id(self) -> str | None:
        """The connection id."""
        ...

    async def invoke(self, method: str, *args: Any, timeout: float | None) -> Any:
        """Call a hub method."""
        ...

    def on_connected(self, handler: Callable[[str | None], None]) -> object:
        """Register a handler."""
        ...

    def off(self, *, handler: object) -> None:
        """Remove a handler."""
        ...


class HubGate:
    """Open while the hub is connected, on each connection only after the `on_connected` handlers registered before.

    Args:
        hub: the hub connection.
        opened: called when the gate opens.
    """

    def __init__(self, hub: DeliveringHub, opened: Callable[[], None]) -> None:
        self._hub = hub
        self._opened = opened
        self._loop = asyncio.get_running_loop()
        self._is_open = hub.state is ConnectionState.CONNECTED
        self._connection_id = hub.connection_id
        hub.on_connected(self._note_connected)

    def end(self) -> None:
        """Remove the handler from the hub."""
        self._hub.off(handler=self._note_connected)

    @property
    def is_open(self) -> bool:
        """Whether the hub may be called now."""
        # A later connection has another id. Its `on_connected` handlers must run first.
        hub = self._hub
        return self._is_open and hub.connection_id == self._connection_id and hub.state is ConnectionState.CONNECTED

    def close(self) -> None:
        """Keep the gate closed until the next connection: the current one was lost, by the end of a call."""
        if self._hub.state is not ConnectionState.CONNECTED or self._hub.connection_id != self._connection_id:
            self._is_open = False

    def _note_connected(self, connection_id: str | None) -> None:
        # In `signalr_sdk.sync`, handlers run on a thread of their own.
        if loop_or_none() is self._loop:
            self._open(connection_id)
        else:
            self._loop.call_soon_threadsafe(self._open, connection_id)

    def _open(self, connection_id: str | None) -> None:
        self._is_open, self._connection_id = True, connection_id
        self._opened()
