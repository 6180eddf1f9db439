"""What the interop tests share: connections to the server's hubs, and the classes that its methods exchange."""

from __future__ import annotations

import dataclasses
import enum
from datetime import datetime  # noqa: TC003  # the converter reads the annotations
from typing import TYPE_CHECKING, Any

import attrs

from signalr_sdk import HubConnection

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable

    from tests.python_server import AnyServer

    from .conftest import Combination
    from .hub_server import HubServer


def hub_at(
    server: AnyServer, combination: Combination | None = None, path: str = "/hub", **options: Any
) -> HubConnection:
    """Return a connection, not started, that ends when it is lost."""
    chosen = combination.options if combination is not None else {}
    return HubConnection(server.url(path), **{"reconnect": False, **chosen, **options})


async def items_of(values: Iterable[Any]) -> AsyncIterator[Any]:
    """Yield the values: an upload."""
    for value in values:
        yield value


async def cut_and_abort(server: HubServer, hub: HubConnection, path: str = "/hub") -> None:
    """Have the server end the connection while the line is cut."""
    connection_id = hub.connection_id
    assert connection_id is not None
    link = hub._life.link
    assert link is not None
    reopen = link.connection.reopen

    async def later() -> None:
        await server.abort(connection_id)
        await server.wait_event("disconnected", connection_id=connection_id)
        await reopen()

    link.connection.reopen = later  # type: ignore[method-assign]
    await server.drop_transports(path)


class Color(enum.IntEnum):
    """The server's enum, by number."""

    RED = 0
    GREEN = 1
    BLUE = 2


class ColorName(enum.StrEnum):
    """The server's enum, by name."""

    RED = "Red"
    GREEN = "Green"
    BLUE = "Blue"


@attrs.frozen
class Address:
    """A part of `Person`."""

    street: str
    city: str | None


@attrs.frozen
class Person:
    """What `EchoPerson` and `People` exchange, as an attrs class."""

    name: str
    age: int
    height: float
    active: bool
    born: datetime
    tags: list[str]
    home: Address | None


@dataclasses.dataclass(frozen=True)
class AddressData:
    """A part of `PersonData`."""

    street: str
    city: str | None


@dataclasses.dataclass(frozen=True)
class PersonData:
    """What `EchoPerson` and `People` exchange, as a dataclass."""

    name: str
    age: int
    height: float
    active: bool
    born: datetime
    tags: list[str]
    home: AddressData | None
