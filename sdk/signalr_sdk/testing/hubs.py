"""The classes with which users write hubs for the test server: `Hub`, its context, and the proxies of its clients."""

from __future__ import annotations

import typing
from typing import TYPE_CHECKING, Any

import attrs

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping


class HubException(Exception):  # noqa: N818 - the name that ASP.NET Core has
    """An error of a hub method whose text is sent to the client even without detailed errors.

    Args:
        text: the text.
        data: a value that `ClassicHubServer` sends with the text. ASP.NET Core SignalR has no such value.

    Attributes:
        data: the value, or `None`.
    """

    def __init__(self, text: str = "", data: Any = None) -> None:
        super().__init__(text)
        self.data = data


class IOException(Exception):  # noqa: N818 - the name that ASP.NET Core has
    """Raised when a hub calls a method of a client that is not connected."""


@attrs.frozen
class HubContext:
    """What a hub knows about the connection of its caller.

    Attributes:
        connection_id: the connection's id.
        user: the name that the server's `authorize` returned; `None` without a name or for an empty name.
        headers: headers of the request that opened the transport, with names in lower case.
        query: query of the request that opened the transport, without the connection's `id`.
        transport: name of the transport.
        abort: ends the connection, as `Context.Abort()` does.
        items: a place where the hub can keep values for as long as the connection lives.
    """

    connection_id: str
    user: str | None
    headers: Mapping[str, str] = attrs.field(repr=False)
    query: Mapping[str, str] = attrs.field(repr=False)
    transport: str
    abort: Callable[[], None] = attrs.field(repr=False)
    items: dict[str, Any] = attrs.field(factory=dict)


class ClientProxy(typing.Protocol):
    """Several clients of a hub, to which one event can be sent."""

    async def send(self, event: str, *args: Any) -> None:
        """Send an event to all of these clients. Wait while the send buffer of a client is full."""


class SingleClientProxy(ClientProxy, typing.Protocol):
    """One client of a hub, which can also be called for a result."""

    async def invoke(self, method: str, *args: Any, result_type: Any = Any) -> Any:
        """Call a method of the client, and return its result.

        Args:
            method: the name under which the client has registered its handler.
            args: arguments of the handler.
            result_type: the result is converted to this type.

        Raises:
            HubException: the client answered with an error or with a value of another type, or has disconnected.
            IOException: the client is not connected.
        """


class HubClients(typing.Protocol):
    """The clients to which hub methods can send, as `Hub.clients`."""

    @property
    def caller(self) -> SingleClientProxy:
        """The client that has called the hub method."""

    @property
    def others(self) -> ClientProxy:
        """All clients of the hub except the caller."""

    @property
    def all(self) -> ClientProxy:
        """All clients of the hub."""

    def client(self, connection_id: str, /) -> SingleClientProxy:
        """The client with this connection id. Sending to a client that is not connected does nothing."""

    def group(self, name: str, /) -> ClientProxy:
        """The clients in a group. Sending to a group without clients does nothing."""

    def user(self, user: str, /) -> ClientProxy:
        """The clients of a user, who may be connected several times."""


class HubGroups(typing.Protocol):
    """The groups of a hub, as `Hub.groups`. Hub methods send to a group with `clients.group`."""

    async def add(self, connection_id: str, group: str) -> None:
        """Add a connection to a group. Does nothing if the connection has ended."""

    async def remove(self, connection_id: str, group: str) -> None:
        """Remove a connection from a group. Does nothing if the connection is not in the group."""


class HubBase:
    """What the hubs of all kinds of servers have.

    Attributes:
        context: what the hub knows about the connection of its caller.
        groups: the groups of the hub.
    """

    context: HubContext
    groups: HubGroups

    async def on_connected(self) -> None:
        """Called when a client has connected. An exception closes the connection."""


class Hub(HubBase):
    """Base class of hubs. Clients can call its public methods. The server makes one instance for each connection.

    A method is `async def`, or an async generator that streams its items. A plain `def` works too, but must not block,
    because it runs on the server's event loop. A parameter annotated as an async iterator gets a stream of the client.
    Method names match in any case, and without `_`: clients may call `add_numbers` as `AddNumbers`. Annotations are
    evaluated when the server is made, so the types in annotations must be imported at run time.

    Example:
        ```python
        class Chat(Hub):
            async def say(self, text: str) -> None:
                await self.clients.all.send("said", text)
        ```
    """

    clients: HubClients

    async def on_authentication_refreshed(self) -> None:
        """Called after a client has renewed its token. `context.user` is the same as before. An exception is logged."""

    async def on_disconnected(self, error: Exception | None) -> None:
        """Called when a client has disconnected. `error` is `None` if the connection was closed properly.

        An exception that this method raises is logged.
        """


def check_hub(hub: object, *kinds: type) -> None:
    """Raise a `TypeError` if a hub is no class that derives from one of the kinds."""
    if not (isinstance(hub, type) and issubclass(hub, kinds)):
        wanted = " or ".join(kind.__name__ for kind in kinds)
        raise TypeError(f"{getattr(hub, '__name__', repr(hub))} must derive from {wanted}")
