"""The connected clients of one hub, its groups, and the proxies through which hub methods send to clients."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from .hubs import IOException

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from .connected_client import ConnectedClient


class ClientRegistry:
    """The connected clients and the groups of one hub. Hub methods see this object as their `HubGroups`.

    Attributes:
        clients: the clients by connection id.
        groups: the connection ids in each group; a group without connections is removed.
    """

    def __init__(self) -> None:
        self.clients: dict[str, ConnectedClient] = {}
        self.groups: dict[str, set[str]] = {}

    def unregister(self, connection_id: str) -> None:
        """Remove a client that has disconnected, also from all its groups."""
        self.clients.pop(connection_id, None)
        for name in [name for name, members in self.groups.items() if connection_id in members]:
            self._leave_group(connection_id, name)

    def _leave_group(self, connection_id: str, group: str) -> None:
        members = self.groups.get(group, set())
        members.discard(connection_id)
        if not members:
            self.groups.pop(group, None)

    async def add(self, connection_id: str, group: str) -> None:
        """See `HubGroups.add`."""
        if connection_id in self.clients:
            self.groups.setdefault(group, set()).add(connection_id)

    async def remove(self, connection_id: str, group: str) -> None:
        """See `HubGroups.remove`."""
        self._leave_group(connection_id, group)


class RegisteredClients:
    """The `clients` of one hub instance (`HubClients`). `HubServer.clients` returns such an object without a caller.

    Args:
        registry: all clients of the hub.
        caller_id: connection id of the caller; `None` without a caller.
    """

    def __init__(self, registry: ClientRegistry, caller_id: str | None = None) -> None:
        self._registry = registry
        self._caller_id = caller_id

    @property
    def caller(self) -> OneClient:
        """See `HubClients.caller`."""
        if self._caller_id is None:
            raise RuntimeError("there is no caller outside of a hub")
        return OneClient(self._registry, self._caller_id)

    @property
    def others(self) -> ManyClients:
        """See `HubClients.others`."""
        return ManyClients(lambda: [c for name, c in self._registry.clients.items() if name != self._caller_id])

    @property
    def all(self) -> ManyClients:
        """See `HubClients.all`."""
        return ManyClients(self._registry.clients.values)

    def client(self, connection_id: str, /) -> OneClient:
        """See `HubClients.client`."""
        return OneClient(self._registry, connection_id)

    def group(self, name: str, /) -> ManyClients:
        """See `HubClients.group`."""
        clients, groups = self._registry.clients, self._registry.groups
        # Sorted, since the order of a `set` of strings differs from process to process.
        return ManyClients(lambda: [clients[member] for member in sorted(groups.get(name, ())) if member in clients])

    def user(self, user: str, /) -> ManyClients:
        """See `HubClients.user`."""
        return ManyClients(lambda: [c for c in self._registry.clients.values() if c.hub.context.user == user])


class ManyClients:
    """A `ClientProxy` for several clients. Each `send` looks the clients up again, since clients come and go."""

    def __init__(self, find: Callable[[], Iterable[ConnectedClient]]) -> None:
        self._find = find

    async def send(self, event: str, *args: Any) -> None:
        """See `ClientProxy.send`."""
        await asyncio.gather(*(client.send(event, *args) for client in list(self._find())))


class OneClient:
    """A `SingleClientProxy`. Each `send` and `invoke` looks the client up again, since the client may be gone."""

    def __init__(self, registry: ClientRegistry, connection_id: str) -> None:
        self._registry = registry
        self._id = connection_id

    async def send(self, event: str, *args: Any) -> None:
        """See `ClientProxy.send`. Does nothing if the client is not connected."""
        client = self._registry.clients.get(self._id)
        if client is not None:
            await client.send(event, *args)

    async def invoke(self, method: str, *args: Any, result_type: Any = Any) -> Any:
        """See `SingleClientProxy.invoke`."""
        client = self._registry.clients.get(self._id)
        if client is None:
            raise IOException(f"Connection '{self._id}' does not exist.")
        return await client.results.invoke(method, *args, result_type=result_type)
