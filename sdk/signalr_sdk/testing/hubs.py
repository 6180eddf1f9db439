"""Hubs in Python, as ASP.NET Core has them in C#: what users derive from, and how their methods are found."""

from __future__ import annotations

import inspect
import typing
from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator, Callable
from functools import lru_cache
from typing import TYPE_CHECKING, Any, get_args, get_origin

import attrs

if TYPE_CHECKING:
    import types
    from collections.abc import Mapping

_STREAMS = (AsyncIterator, AsyncIterable, AsyncGenerator)
# Not for clients to call.
_RESERVED = frozenset({"on_connected", "on_disconnected"})


class HubException(Exception):  # noqa: N818 - its name on the server
    """An error of a hub method whose text reaches the client, also without detailed errors."""


@attrs.frozen
class HubContext:
    """What a hub knows of the connection that it serves.

    Attributes:
        connection_id: the connection's id.
        user: what the server's `authorize` said; `None` without one.
        headers: of the request that opened the connection, names in lower case.
        query: of the same request, without the connection's `id`.
        transport: name of the transport.
        items: anything, for the life of the connection.
        abort: ends the connection, as `Context.Abort()` does.
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
        """Send an event to all of them."""


class SingleClientProxy(ClientProxy, typing.Protocol):
    """One client of a hub."""

    async def invoke(self, method: str, *args: Any) -> Any:
        """Ask the client and return its answer.

        Raises:
            HubException: the client answered with an error, or is gone.
        """


class HubClients(typing.Protocol):
    """Whom a hub can reach."""

    @property
    def caller(self) -> SingleClientProxy:
        """The client that is being served."""

    @property
    def others(self) -> ClientProxy:
        """All but the caller."""

    @property
    def all(self) -> ClientProxy:
        """All clients of the hub."""

    def client(self, connection_id: str, /) -> SingleClientProxy:
        """One client, by its connection id."""

    def group(self, name: str, /) -> ClientProxy:
        """The clients in a group."""

    def user(self, user: str, /) -> ClientProxy:
        """The clients of a user."""


class HubGroups(typing.Protocol):
    """The groups of a hub."""

    async def add(self, connection_id: str, group: str) -> None:
        """Put a connection into a group."""

    async def remove(self, connection_id: str, group: str) -> None:
        """Take a connection out of a group."""


class Hub:
    """Base of hubs. Public methods can be called by clients, one instance serves one connection.

    A method is `async def`, or an async generator that streams. A parameter annotated as an async iterator is fed
    from the client's stream. Names match as in ASP.NET Core, in any case; `add_numbers` is also `AddNumbers`.

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
        """Called when a client has connected; an error closes its connection."""

    async def on_disconnected(self, error: Exception | None) -> None:
        """Called when a client has gone, with the error if there was one."""


@attrs.frozen
class HubMethod:
    """A method that clients can call.

    Attributes:
        name: its name in Python.
        streams: whether it yields items.
        parameters: for each, its type (`Any` if not annotated), or for streams the type of their items.
        uploads: which parameters are streams.
        required: how many arguments there must be.
    """

    name: str
    streams: bool
    parameters: tuple[Any, ...]
    uploads: tuple[bool, ...]
    required: int

    @property
    def arguments(self) -> int:
        """How many arguments are not streamed."""
        return self.uploads.count(False)


@lru_cache(maxsize=256)
def methods_of(hub: type[Hub]) -> dict[str, HubMethod]:
    """Return a hub's methods by their names in lower case without `_`."""
    found = {}
    for name, function in inspect.getmembers(hub, inspect.isfunction):
        if not name.startswith("_") and name not in _RESERVED:
            found[matching(name)] = _method(name, function)
    return found


def matching(name: str) -> str:
    """Return what of a name counts when it is looked up."""
    return name.replace("_", "").lower()


def _method(name: str, function: types.FunctionType) -> HubMethod:
    hints = typing.get_type_hints(function)
    parameters = list(inspect.signature(function).parameters.values())[1:]
    wanted, uploads, required = [], [], 0
    for parameter in parameters:
        hint = hints.get(parameter.name, Any)
        stream = get_origin(hint) in _STREAMS or hint in _STREAMS
        uploads.append(stream)
        wanted.append(next(iter(get_args(hint)), Any) if stream else hint)
        required += parameter.default is inspect.Parameter.empty and not stream
    returned = hints.get("return")
    streams = inspect.isasyncgenfunction(function) or get_origin(returned) in _STREAMS or returned in _STREAMS
    return HubMethod(name, streams, tuple(wanted), tuple(uploads), required)
