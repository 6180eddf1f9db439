"""The proxies through which classic hubs send to clients: they publish to topics, and never wait for a client."""

from __future__ import annotations

import asyncio
import copy
from typing import TYPE_CHECKING, Any

from ...classic.hub_messages import Event, event_members
from .codec import CODEC
from .connection import GroupCommand, signals
from .topics import TopicMessage

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from .topics import MessageBus


def all_clients(hub: str) -> str:
    """Return the name of the topic for all clients of a hub."""
    return f"h-{hub}"


def one_client(hub: str, connection_id: str) -> str:
    """Return the name of the topic for one client of a hub."""
    return f"hc-{hub}.{connection_id}"


def one_user(hub: str, user: str) -> str:
    """Return the name of the topic for the clients of a user of a hub."""
    return f"hu-{hub}.{user}"


def one_group(hub: str, group: str) -> str:
    """Return the name of the topic for a group of a hub."""
    return f"hg-{hub}.{group}"


class CallerState:
    """The state of the caller of a hub method, and what the method has changed of it.

    Args:
        sent: the state as the client has sent it.
    """

    def __init__(self, sent: Mapping[str, Any]) -> None:
        self.now: dict[str, Any] = dict(sent)
        self._sent = copy.deepcopy(self.now)

    def changes(self) -> dict[str, Any]:
        """Return the members that have a new value."""
        sent = self._sent
        return {
            name: value
            for name, value in self.now.items()
            # In Python 1 == True, but the two are different values for the client.
            if name not in sent or sent[name] != value or CODEC.encode_value(sent[name]) != CODEC.encode_value(value)
        }


class TopicProxy:
    """The clients that read a topic: a `SingleClientProxy` too, without client results.

    Args:
        bus: the topics of the server.
        hub: name of the hub whose event is sent.
        topic: name of the topic.
        excluded: ids of connections that do not get the event.
        caller: the state that goes with the event; `None` if the topic is not the caller's.
    """

    def __init__(
        self,
        bus: MessageBus,
        hub: str,
        topic: str,
        *,
        excluded: Iterable[str] = (),
        caller: CallerState | None = None,
    ) -> None:
        self._bus, self._hub, self._topic = bus, hub, topic
        self._excluded = frozenset(excluded)
        self._caller = caller

    @property
    def state(self) -> dict[str, Any]:
        """See `ClassicCallerProxy.state`."""
        if self._caller is None:
            raise RuntimeError("only the caller of a hub method has a state")
        return self._caller.now

    async def send(self, event: str, *args: Any) -> None:
        """See `ClientProxy.send`. The event is kept for clients that are away."""
        changes = {} if self._caller is None else self._caller.changes()
        data = CODEC.encode(event_members(Event(self._hub, event, list(args), changes)))
        self._bus.publish(self._topic, TopicMessage(data, self._excluded))
        # Let the transports send: a topic keeps few messages, and a loop without a pause would overrun every client.
        await asyncio.sleep(0)

    async def invoke(self, method: str, *_args: Any, result_type: Any = Any) -> Any:
        """Classic SignalR has no client results."""
        del result_type
        raise RuntimeError(f"'{method}' cannot be invoked: classic SignalR has no client results, send an event")


class TopicClients:
    """The clients of one hub (`ClassicHubClients`). `ClassicHubServer.clients` returns such an object without a caller.

    Args:
        bus: the topics of the server.
        hub: name of the hub.
        caller_id: connection id of the caller; `None` without a caller.
        state: the state of the caller.
    """

    def __init__(
        self, bus: MessageBus, hub: str, caller_id: str | None = None, state: CallerState | None = None
    ) -> None:
        self._bus, self._hub = bus, hub
        self._caller_id = caller_id
        self._state = state

    @property
    def caller(self) -> TopicProxy:
        """See `ClassicHubClients.caller`."""
        if self._caller_id is None:
            raise RuntimeError("there is no caller outside of a hub")
        return TopicProxy(self._bus, self._hub, one_client(self._hub, self._caller_id), caller=self._state)

    @property
    def others(self) -> TopicProxy:
        """See `HubClients.others`."""
        return self.all_except(*self._callers)

    @property
    def all(self) -> TopicProxy:
        """See `HubClients.all`."""
        return self.all_except()

    def all_except(self, *connection_ids: str) -> TopicProxy:
        """See `ClassicHubClients.all_except`."""
        return TopicProxy(self._bus, self._hub, all_clients(self._hub), excluded=connection_ids)

    def client(self, connection_id: str, /) -> TopicProxy:
        """See `HubClients.client`."""
        return TopicProxy(self._bus, self._hub, one_client(self._hub, connection_id))

    def group(self, name: str, /) -> TopicProxy:
        """See `HubClients.group`."""
        return TopicProxy(self._bus, self._hub, one_group(self._hub, name))

    def others_in_group(self, name: str, /) -> TopicProxy:
        """See `ClassicHubClients.others_in_group`."""
        return TopicProxy(self._bus, self._hub, one_group(self._hub, name), excluded=self._callers)

    def user(self, user: str, /) -> TopicProxy:
        """See `HubClients.user`."""
        return TopicProxy(self._bus, self._hub, one_user(self._hub, user))

    @property
    def _callers(self) -> tuple[str, ...]:
        return () if self._caller_id is None else (self._caller_id,)


class TopicGroups:
    """The groups of a hub (`HubGroups`). A connection is in a group once a transport of it has been told.

    Args:
        bus: the topics of the server.
        hub: name of the hub.
    """

    def __init__(self, bus: MessageBus, hub: str) -> None:
        self._bus, self._hub = bus, hub

    async def add(self, connection_id: str, group: str) -> None:
        """See `HubGroups.add`."""
        await command(self._bus, connection_id, GroupCommand(one_group(self._hub, group), joins=True))

    async def remove(self, connection_id: str, group: str) -> None:
        """See `HubGroups.remove`."""
        await command(self._bus, connection_id, GroupCommand(one_group(self._hub, group), joins=False))


async def command(bus: MessageBus, connection_id: str, change: GroupCommand) -> None:
    """Tell a connection to join or leave a group, and wait until a transport of it has been told."""
    if bus.publish(signals(connection_id), TopicMessage(b"", command=change)):
        await change.wait()
