"""All clients of one hub: who is in which group, and how to reach them."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from .hubs import IOException

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from .connected_client import ConnectedClient


class ClientRegistry:
    """The clients of one hub, by connection id."""

    def __init__(self) -> None:
        self.clients: dict[str, ConnectedClient] = {}
        self.groups: dict[str, set[str]] = {}

    def leave(self, connection_id: str) -> None:
        """Forget a client."""
        self.clients.pop(connection_id, None)
        for name in [name for name, members in self.groups.items() if connection_id in members]:
            self._leave_group(connection_id, name)

    def _leave_group(self, connection_id: str, group: str) -> None:
        members = self.groups.get(group, set())
        members.discard(connection_id)
        if not members:
            self.groups.pop(group, None)

    async def add(self, connection_id: str, group: str) -> None:
        """Put a connection into a group; one that is gone is ignored."""
        if connection_id in self.clients:
            self.groups.setdefault(group, set()).add(connection_id)

    async def remove(self, connection_id: str, group: str) -> None:
        """Take a connection out of a group."""
        self._leave_group(connection_id, group)


class Clients:
    """`HubClients` as one connection sees them; without one, as the server does.

    Args:
        registry: all clients.
        own_id: whose calls these are.
    """

    def __init__(self, registry: ClientRegistry, own_id: str | None = None) -> None:
        self._lobby = registry
        self._own_id = own_id

    @property
    def caller(self) -> OneClient:
        """The client that is being served."""
        if self._own_id is None:
            raise RuntimeError("there is no caller outside of a hub")
        return OneClient(self._lobby, self._own_id)

    @property
    def others(self) -> ManyClients:
        """All but the caller."""
        return ManyClients(lambda: [c for name, c in self._lobby.clients.items() if name != self._own_id])

    @property
    def all(self) -> ManyClients:
        """All clients of the hub."""
        return ManyClients(self._lobby.clients.values)

    def client(self, connection_id: str, /) -> OneClient:
        """One client."""
        return OneClient(self._lobby, connection_id)

    def group(self, name: str, /) -> ManyClients:
        """The clients in a group."""
        clients, groups = self._lobby.clients, self._lobby.groups
        return ManyClients(lambda: [clients[member] for member in groups.get(name, ()) if member in clients])

    def user(self, user: str, /) -> ManyClients:
        """The clients of a user."""
        return ManyClients(lambda: [c for c in self._lobby.clients.values() if c.hub.context.user == user])


class ManyClients:
    """Clients that are looked up when something is sent."""

    def __init__(self, find: Callable[[], Iterable[ConnectedClient]]) -> None:
        self._find = find

    async def send(self, event: str, *args: Any) -> None:
        """Send an event to all of them."""
        await asyncio.gather(*(client.send(event, *args) for client in list(self._find())))


class OneClient:
    """One client, which may be gone."""

    def __init__(self, registry: ClientRegistry, connection_id: str) -> None:
        self._lobby = registry
        self._id = connection_id

    async def send(self, event: str, *args: Any) -> None:
        """Send it an event; a client that is gone is ignored."""
        client = self._lobby.clients.get(self._id)
        if client is not None:
            await client.send(event, *args)

    async def invoke(self, method: str, *args: Any, result_type: Any = Any) -> Any:
        """Ask it, and return its answer."""
        client = self._lobby.clients.get(self._id)
        if client is None:
            raise IOException(f"Connection '{self._id}' does not exist.")
        return await client.invoke(method, *args, result_type=result_type)
