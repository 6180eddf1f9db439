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


class IOException(Exception):  # noqa: N818 - its name on the server
    """A client that was asked is not there."""


@attrs.frozen
class HubContext:
    """What a hub knows of the connection that it serves.

    Attributes:
        connection_id: the connection's id.
        user: what the server's `authorize` said; `None` without one, or if that was an empty text.
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

    async def invoke(self, method: str, *args: Any, result_type: Any = Any) -> Any:
        """Ask the client and return its answer.

        Args:
            method: what it calls its handler.
            args: for that.
            result_type: what the answer is to be.

        Raises:
            HubException: the client answered with an error or something that does not fit, or went away.
            IOException: it is not there.
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

    A method is `async def`, or an async generator that streams (a plain `def` must not block). A parameter annotated
    as an async iterator is fed from the client's stream. Names match as in ASP.NET Core, in any case; `add_numbers`
    is also `AddNumbers`. Types are looked up when the server is made, so they must be imported at run time.

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
class HubParameter:
    """A parameter of a hub method.

    Attributes:
        type: what it is annotated as, `Any` if it is not; for streams the type of their items.
        is_stream: whether a client's stream goes there.
        default: what stands for it if it is not given.
    """

    type: Any
    is_stream: bool
    default: Any = None


@attrs.frozen
class HubMethod:
    """A method that clients can call.

    Attributes:
        name: its name in Python.
        streams: whether it yields items.
        parameters: in their order.
        arguments: how many of them are not streamed.
        required: how many of those must be given.
    """

    name: str
    streams: bool
    parameters: tuple[HubParameter, ...]
    arguments: int
    required: int


def methods_of(hub: type[Hub]) -> dict[str, HubMethod]:
    """Return a hub's methods by their names in lower case without `_`.

    Raises:
        TypeError: one is not what clients can call.
    """
    return _methods_of(hub)  # type: ignore[arg-type] # mypy looks at Hub.__hash__, not type.__hash__


@lru_cache(maxsize=256)
def _methods_of(hub: type[Hub]) -> dict[str, HubMethod]:
    found: dict[str, HubMethod] = {}
    for name, function in inspect.getmembers(hub, inspect.isfunction):
        if name.startswith("_") or name in _RESERVED or isinstance(inspect.getattr_static(hub, name), staticmethod):
            continue
        method = _method(hub, name, function)
        other = found.setdefault(matching(name), method)
        if other is not method:
            raise TypeError(f"{hub.__name__}: '{other.name}' and '{name}' are the same name to clients")
    return found


def matching(name: str) -> str:
    """Return what of a name counts when it is looked up."""
    return name.replace("_", "").lower()


def _method(hub: type[Hub], name: str, function: types.FunctionType) -> HubMethod:
    hints = typing.get_type_hints(function)
    parameters = []
    required = 0
    for parameter in list(inspect.signature(function).parameters.values())[1:]:
        if parameter.kind not in (parameter.POSITIONAL_ONLY, parameter.POSITIONAL_OR_KEYWORD):
            raise TypeError(f"{hub.__name__}.{name}: clients cannot give '{parameter}': parameters go by position")
        hint = hints.get(parameter.name, Any)
        is_stream = _is_stream(hint)
        wanted = next(iter(get_args(hint)), Any) if is_stream else hint
        parameters.append(HubParameter(wanted, is_stream, parameter.default))
        required += parameter.default is inspect.Parameter.empty and not is_stream
    streams = inspect.isasyncgenfunction(function) or _is_stream(hints.get("return"))
    arguments = sum(not parameter.is_stream for parameter in parameters)
    return HubMethod(name, streams, tuple(parameters), arguments, required)


def _is_stream(hint: Any) -> bool:
    return get_origin(hint) in _STREAMS or hint in _STREAMS
