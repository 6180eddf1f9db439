"""The classes with which users write what `ClassicHubServer` serves: `ClassicHub` and `RawHandler`."""

from __future__ import annotations

import typing
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, ClassVar, TypeAlias

from ..hubs import ClientProxy, HubBase, HubClients, SingleClientProxy

if TYPE_CHECKING:
    from ..hubs import HubContext

Progress: TypeAlias = Callable[[Any], None]
"""What a hub method with a parameter `progress` gets: a function that sends the caller a value of progress."""


class ClassicCallerProxy(SingleClientProxy, typing.Protocol):
    """The client that has called the hub method, with its state."""

    @property
    def state(self) -> dict[str, Any]:
        """The state that the client has sent with its call, `Clients.Caller` in .NET.

        What the hub method changes goes back to the client, with the result and with events that are sent to `caller`.
        """


class ClassicHubClients(HubClients, typing.Protocol):
    """The clients to which methods of a classic hub can send, as `ClassicHub.clients`.

    `invoke` of a client raises a RuntimeError: classic SignalR has no client results.
    """

    @property
    def caller(self) -> ClassicCallerProxy:
        """The client that has called the hub method."""

    def all_except(self, *connection_ids: str) -> ClientProxy:
        """All clients of the hub but these."""

    def others_in_group(self, name: str, /) -> ClientProxy:
        """The clients in a group except the caller."""


class ClassicHub(HubBase):
    """Base class of hubs for `ClassicHubServer`. The server makes an instance for each call, as ASP.NET SignalR does.

    Clients can call the public methods, as those of `Hub`, with these differences: there are no streams and no client
    results. The default value of a parameter counts for nothing, a client must give each argument. Two methods may have
    the same name for clients if they have different numbers of parameters: `@method("Name")` of `signalr_sdk` names a
    method. A parameter called `progress` gets no argument of the client, but a function that sends the client a value
    of progress.

    Attributes:
        clients: the clients of the hub.
        requires_user: whether the hub is only for clients with a user name, as with `[Authorize]`. The server answers
            401 to all others.

    Example:
        ```python
        class Import(ClassicHub):
            async def run(self, count: int, progress: Progress) -> str:
                for number in range(count):
                    progress(number)
                self.clients.caller.state["last"] = count
                return "done"
        ```
    """

    requires_user: ClassVar[bool] = False
    clients: ClassicHubClients

    async def on_reconnected(self) -> None:
        """Called when a client has taken its connection up again, after a loss. An exception is logged."""

    async def on_disconnected(self, stop_called: bool) -> None:
        """Called when a client has disconnected. An exception is logged.

        Args:
            stop_called: whether the client has stopped. Otherwise it was away for too long.
        """


class RawConnections(typing.Protocol):
    """The clients of a `RawHandler`, and their groups."""

    async def send(self, connection_id: str, value: Any) -> None:
        """Send any JSON value to one client."""

    async def broadcast(self, value: Any) -> None:
        """Send any JSON value to all clients of the path."""

    async def send_to_group(self, group: str, value: Any) -> None:
        """Send any JSON value to the clients in a group."""

    async def add(self, connection_id: str, group: str) -> None:
        """Add a connection to a group. Waits until a transport of the client has been told."""

    async def remove(self, connection_id: str, group: str) -> None:
        """Remove a connection from a group. Waits until a transport of the client has been told."""


class RawHandler:
    """Base class of what `ClassicHubServer` serves at the paths in `raw`: connections without hubs.

    In .NET this is a `PersistentConnection`. The server makes an instance for each call of a method.

    Attributes:
        context: what the handler knows about the connection.
        connections: the clients of the path, to send to.

    Example:
        ```python
        class Echo(RawHandler):
            async def on_received(self, data: str) -> None:
                await self.connections.send(self.context.connection_id, {"echo": data})
        ```
    """

    context: HubContext
    connections: RawConnections

    async def on_connected(self) -> None:
        """Called when a client has connected. An exception refuses the client."""

    async def on_reconnected(self) -> None:
        """Called when a client has taken its connection up again, after a loss. An exception is logged."""

    async def on_disconnected(self, stop_called: bool) -> None:
        """Called when a client has disconnected. An exception is logged.

        Args:
            stop_called: whether the client has stopped. Otherwise it was away for too long.
        """

    async def on_received(self, data: str) -> None:
        """Called with what a client has sent: text as it is, anything else as JSON."""
