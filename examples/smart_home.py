"""An integration in the style of Home Assistant: it shares the application's session, and never closes it.

    python examples/smart_home.py https://example.com/chargers

It wants a hub with the methods `SendToAll(event, value)` and `Echo(value)`. The classes `App` and `Entry` stand for
those of Home Assistant; what is below them is what an integration has: a coordinator that holds the connection and
tells entities of news, `async_setup_entry` and `async_unload_entry`.
"""

from __future__ import annotations

import asyncio
import sys
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import aiohttp

from signalr_sdk import ConnectionFailedError, HubConnection

if TYPE_CHECKING:
    from collections.abc import Callable


@dataclass
class App:
    """The application: it has one session for all integrations."""

    session: aiohttp.ClientSession


@dataclass
class Entry:
    """What the user has configured, and what the integration keeps while it is loaded."""

    url: str
    runtime_data: Any = None


class NotReadyError(Exception):
    """Tells the application to try the setup again later."""


@dataclass
class Coordinator:
    """Holds the connection, keeps the newest data, and tells entities of it."""

    hub: HubConnection
    data: dict[str, float] = field(default_factory=dict)
    available: bool = False
    _listeners: list[Callable[[], None]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.hub.on("power", self._update)
        self.hub.on_connected(self._refresh)
        self.hub.on_reconnecting(lambda _error: self._set_available(to=False))
        self.hub.on_closed(lambda _error: self._set_available(to=False))

    def listen(self, listener: Callable[[], None]) -> Callable[[], None]:
        """Call this on news; return what takes it back."""
        self._listeners.append(listener)
        return lambda: self._listeners.remove(listener)

    async def _refresh(self, _connection_id: str | None) -> None:
        # For each connection: what came while there was none is lost, so ask for all of it.
        self.data = await self.hub.invoke("Echo", {"charger": 0.0}, timeout=10)
        self._set_available(to=True)

    def _update(self, watts: float) -> None:
        self.data["charger"] = watts
        self._tell()

    def _set_available(self, *, to: bool) -> None:
        self.available = to
        self._tell()

    def _tell(self) -> None:
        for listener in list(self._listeners):
            listener()


async def async_setup_entry(app: App, entry: Entry) -> bool:
    """Connect. The application tries again what is not ready, so the first start is not tried again here."""
    hub = HubConnection(entry.url, http=app.session)
    entry.runtime_data = Coordinator(hub)
    try:
        await hub.start()
    except ConnectionFailedError as error:
        raise NotReadyError(str(error)) from error
    return True


async def async_unload_entry(_app: App, entry: Entry) -> bool:
    """Disconnect; the session stays open, it is the application's."""
    await entry.runtime_data.hub.stop()
    return True


async def main(url: str) -> None:
    """Be the application: load the integration, see an entity change, unload it."""
    # A hub connection holds one or two of the session's connections for good: do not let them be counted.
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0)) as session:
        app, entry = App(session), Entry(url)
        await async_setup_entry(app, entry)
        coordinator: Coordinator = entry.runtime_data
        changed = asyncio.Event()
        coordinator.listen(lambda: changed.set() if coordinator.data.get("charger") == 7400.0 else None)
        await coordinator.hub.invoke("SendToAll", "power", 7400.0)
        await asyncio.wait_for(changed.wait(), 20)
        print(f"the charger takes {coordinator.data['charger']:g} W")
        await async_unload_entry(app, entry)
        print(f"unloaded, available: {coordinator.available}, session closed: {session.closed}")


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1]))
