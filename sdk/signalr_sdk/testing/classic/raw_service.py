"""Serves connections without hubs on the classic test server: a `RawHandler` at a path of its own."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from .codec import CODEC
from .connection import GroupCommand, signals
from .hub_clients import command
from .service import Reply, logged
from .topics import TopicMessage

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from ..hubs import HubContext
    from .hubs import RawHandler
    from .topics import MessageBus


class RawService:
    """Serves a handler of raw connections at one path (`Service`).

    Args:
        path: the path.
        handler: the handler's class.
        bus: returns the topics of the server.
    """

    def __init__(self, path: str, handler: type[RawHandler], *, bus: Callable[[], MessageBus]) -> None:
        self.path = path
        self._handler = handler
        self._bus = bus

    def check(self, query: Mapping[str, str], user: str) -> None:
        """See `Service.check`: a path without hubs refuses nothing."""

    def topics(self, query: Mapping[str, str], connection_id: str, user: str) -> list[str]:
        """See `Service.topics`."""
        del query, user
        return [all_raw(self.path), signals(connection_id)]

    def groups(self, names: Iterable[str], query: Mapping[str, str]) -> list[str]:
        """See `Service.groups`."""
        del query
        return [name for name in names if name.startswith(raw_group(self.path, ""))]

    async def connected(self, context: HubContext) -> None:
        """See `Service.connected`."""
        await self._make(context).on_connected()

    async def reconnected(self, context: HubContext) -> None:
        """See `Service.reconnected`."""
        await logged(self._make(context).on_reconnected(), "on_reconnected")

    async def disconnected(self, context: HubContext, *, stop_called: bool) -> None:
        """See `Service.disconnected`."""
        await logged(self._make(context).on_disconnected(stop_called), "on_disconnected")

    async def received(self, context: HubContext, text: str) -> Reply:
        """See `Service.received`: the text is whatever the client has sent, and gets no answer."""
        await self._make(context).on_received(text)
        return Reply()

    def _make(self, context: HubContext) -> RawHandler:
        handler = self._handler()
        handler.context = context
        handler.connections = RawTopics(self._bus(), self.path)
        return handler


class RawTopics:
    """What a `RawHandler` sends with (`RawConnections`).

    Args:
        bus: the topics of the server.
        path: the path of the handler.
    """

    def __init__(self, bus: MessageBus, path: str) -> None:
        self._bus, self._path = bus, path

    async def send(self, connection_id: str, value: Any) -> None:
        """See `RawConnections.send`."""
        await self._publish(signals(connection_id), value)

    async def broadcast(self, value: Any) -> None:
        """See `RawConnections.broadcast`."""
        await self._publish(all_raw(self._path), value)

    async def send_to_group(self, group: str, value: Any) -> None:
        """See `RawConnections.send_to_group`."""
        await self._publish(raw_group(self._path, group), value)

    async def add(self, connection_id: str, group: str) -> None:
        """See `RawConnections.add`."""
        await command(self._bus, connection_id, GroupCommand(raw_group(self._path, group), joins=True))

    async def remove(self, connection_id: str, group: str) -> None:
        """See `RawConnections.remove`."""
        await command(self._bus, connection_id, GroupCommand(raw_group(self._path, group), joins=False))

    async def _publish(self, topic: str, value: Any) -> None:
        self._bus.publish(topic, TopicMessage(CODEC.encode_value(value)))
        await asyncio.sleep(0)  # let the transports send, as for events of hubs


def all_raw(path: str) -> str:
    """Return the name of the topic for all clients of a path without hubs."""
    return f"r-{path}"


def raw_group(path: str, group: str) -> str:
    """Return the name of the topic for a group of a path without hubs."""
    return f"rg-{path}.{group}"
