"""`ServedHub`: one hub of the test server, with its clients and the records of what the clients do."""

from __future__ import annotations

from typing import TYPE_CHECKING

import attrs

from ..options import Transport
from .connected_client import ConnectedClient
from .fault_points import FaultPoint, FaultSite
from .hub_clients import ClientRegistry, RegisteredClients
from .hubs import Hub, HubContext

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ..interfaces import HubProtocol
    from .active_faults import ActiveFaults
    from .recording import Recorded
    from .settings import ServerSettings
    from .transport_connection import TransportConnection


@attrs.frozen(eq=False)
class ServedHub:
    """A hub class that is served at a path of the server.

    Attributes:
        path: path of the hub.
        hub: the hub class. Each connection has its own instance of the class.
        settings: the server's settings.
        protocols: the hub protocols that clients may choose, by name.
        faults: the server's faults.
        recorded: gets a record of what each client does.
        registry: the clients that are connected.
    """

    path: str
    hub: type[Hub]
    settings: ServerSettings = attrs.field(kw_only=True)
    protocols: Mapping[str, HubProtocol] = attrs.field(kw_only=True)
    faults: ActiveFaults = attrs.field(kw_only=True)
    recorded: Recorded = attrs.field(kw_only=True)
    registry: ClientRegistry = attrs.field(factory=ClientRegistry, init=False)

    def make_client(self, connection: TransportConnection) -> ConnectedClient:
        """Return the object that serves one client, with a new hub instance. Call this after a transport connected."""
        buffers = connection.buffers
        stateful = connection.is_stateful and buffers.transport == Transport.WEBSOCKETS
        client = ConnectedClient(self.hub(), buffers, served=self, stateful=stateful)
        client.hub.context = HubContext(
            connection.connection_id,
            connection.user or None,
            connection.headers,
            connection.query,
            buffers.transport,
            client.abort,
        )
        client.hub.clients = RegisteredClients(self.registry, connection.connection_id)
        client.hub.groups = self.registry
        return client

    def connected(self, client: ConnectedClient) -> None:
        """Register a client, so that hubs can send to it. Call this after the handshake, before `Hub.on_connected`."""
        context = client.hub.context
        self.registry.clients[context.connection_id] = client
        self.recorded.note_connect(self.path, context)

    def disconnected(self, client: ConnectedClient, error: Exception | None) -> None:
        """Remove a client: hubs cannot send to it any more. Call this before `Hub.on_disconnected`."""
        connection_id = client.hub.context.connection_id
        self.registry.unregister(connection_id)
        self.recorded.note_disconnect(self.path, connection_id, error)

    def may_ping(self, client: ConnectedClient) -> bool:
        """Return whether a keep-alive ping may be sent to the client now: the fault `stop_pings` forbids pings."""
        context = client.hub.context
        site = FaultSite(FaultPoint.PING, transport=context.transport, connection_id=context.connection_id)
        return not self.faults.suppresses(site)
