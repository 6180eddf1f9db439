"""The classes with which users write what `ClassicHubServer` serves: `ClassicHub` and `RawHandler`."""

from __future__ import annotations

import typing
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, ClassVar, TypeAlias

from ..hubs import ClientProxy, Hub, HubBase, HubClients, SingleClientProxy, check_hub

if TYPE_CHECKING:
    from ..hubs import HubContext

Progress: TypeAlias = Callable[[Any], None]
"""The type of the parameter `progress` of a hub method: a function that sends a value of progress to the caller."""


class ClassicCallerProxy(SingleClientProxy, typing.Protocol):
    """The client that has called the hub method, with its state."""

    @property
    def state(self) -> dict[str, Any]:
        """The state that the client has sent with its call (`Clients.CallerState` in .NET).

        The hub method may change the dict. The changes are sent to the client with the result, and with events that the
        method sends to `caller`.
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

    Clients can call the public methods, as those of a `Hub`. There are no streams and no client results. Clients must
    give all arguments: default values have no effect. `@method("Name")` of `signalr_sdk` gives a method another name
    for clients. Methods with different numbers of parameters may have the same name. A parameter with the name
    `progress` gets a function of the type `Progress`, and no argument of the client.

    Attributes:
        clients: the clients of the hub.
        requires_user: whether the hub is for users only, as with `[Authorize]` in .NET. Clients without a user name get
            no events of the hub, and their calls fail. A client that names no other hub is answered with 401.

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
            stop_called: whether the client has stopped. Otherwise the client was away for too long.
        """


def as_classic(hub: type[Hub | ClassicHub]) -> type[ClassicHub]:
    """Return a hub class with all that the server needs. A class that derives from `Hub` lacks some of it.

    Raises:
        TypeError: the class is no hub.
    """
    check_hub(hub, ClassicHub, Hub)
    if issubclass(hub, ClassicHub):
        return hub
    return type(hub.__name__, (hub, ClassicHub), {"__module__": hub.__module__})


class RawConnections(typing.Protocol):
    """The connections of a `RawHandler`, and their groups."""

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
    """Base class of handlers for connections without hubs, for the option `raw` of `ClassicHubServer`.

    In .NET, the base class is `PersistentConnection`. The server makes an instance for each call of a method.

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
            stop_called: whether the client has stopped. Otherwise the client was away for too long.
        """

    async def on_received(self, data: str) -> None:
        """Called for each message of a client. Clients send a text as it is, and other values as JSON."""
