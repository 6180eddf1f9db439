"""What users of the test server write hubs with: `Hub`, its context, and the proxies of its clients."""

from __future__ import annotations

import typing
from typing import TYPE_CHECKING, Any

import attrs

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping


class HubException(Exception):  # noqa: N818 - the name that ASP.NET Core has
    """An error of a hub method whose text is sent to the client even without detailed errors."""


class IOException(Exception):  # noqa: N818 - the name that ASP.NET Core has
    """A hub called a method of a client that is not connected."""


@attrs.frozen
class HubContext:
    """What a hub knows of the connection that it serves.

    Attributes:
        connection_id: the connection's id.
        user: the name that the server's `authorize` returned; `None` without one, and for an empty name.
        headers: headers of the request that opened the transport, with names in lower case.
        query: query of the same request, without the connection's `id`.
        transport: name of the transport.
        abort: ends the connection, as `Context.Abort()` does.
        items: values of the hub's own, which live as long as the connection.
    """

    connection_id: str
    user: str | None
    headers: Mapping[str, str] = attrs.field(repr=False)
    query: Mapping[str, str] = attrs.field(repr=False)
    transport: str
    abort: Callable[[], None] = attrs.field(repr=False)
    items: dict[str, Any] = attrs.field(factory=dict)


class ClientProxy(typing.Protocol):
    """Some clients of a hub."""

    async def send(self, event: str, *args: Any) -> None:
        """Send an event to all of these clients; wait while the buffer of one of them is full."""


class SingleClientProxy(ClientProxy, typing.Protocol):
    """One client of a hub."""

    async def invoke(self, method: str, *args: Any, result_type: Any = Any) -> Any:
        """Call a method of the client, and return its result.

        Args:
            method: the name under which the client has registered its handler.
            args: arguments of the handler.
            result_type: the type to which the result is converted.

        Raises:
            HubException: the client answered with an error or with a value of another type, or has disconnected.
            IOException: the client is not connected.
        """


class HubClients(typing.Protocol):
    """The clients to which a hub can send."""

    @property
    def caller(self) -> SingleClientProxy:
        """The client that this hub instance serves."""

    @property
    def others(self) -> ClientProxy:
        """All clients of the hub but the caller."""

    @property
    def all(self) -> ClientProxy:
        """All clients of the hub."""

    def client(self, connection_id: str, /) -> SingleClientProxy:
        """The client with this connection id. Sending to a client that is not connected does nothing."""

    def group(self, name: str, /) -> ClientProxy:
        """The clients in a group. A group that nobody is in is empty."""

    def user(self, user: str, /) -> ClientProxy:
        """The clients of a user."""


class HubGroups(typing.Protocol):
    """The groups of a hub."""

    async def add(self, connection_id: str, group: str) -> None:
        """Add a connection to a group. Does nothing if the connection has ended."""

    async def remove(self, connection_id: str, group: str) -> None:
        """Remove a connection from a group. Does nothing if the connection is not in the group."""


class Hub:
    """Base class of hubs. Clients can call the public methods. Each connection has an instance of its own.

    A method is `async def`, or an async generator that streams its items. A plain `def` works too and must not block,
    since it runs on the server's event loop. A parameter annotated as an async iterator gets a stream of the client.
    Method names match in any case, and without `_`: clients may call `add_numbers` as `AddNumbers`. Annotations are
    evaluated when the server is made, so their types must be imported at run time.

    Example:
        ```python
        class Chat(Hub):
            async def say(self, text: str) -> None:
                await self.clients.all.send("said", text)
        ```
    """

    context: HubContext
    clients: HubClients
    groups: HubGroups

    async def on_connected(self) -> None:
        """Called when a client has connected. An exception closes the connection."""

    async def on_authentication_refreshed(self) -> None:
        """Called after a client has renewed its token; `context.user` stays. An exception is logged."""

    async def on_disconnected(self, error: Exception | None) -> None:
        """Called when a client has disconnected, with the error if there was one. An exception is logged."""
