"""Serves all hubs of the classic test server at one path: what `connectionData` names, and calls of clients."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ...classic.hub_messages import Call, Progress, progress_members
from ...errors import RemoteProtocolError
from ...messages import Invocation
from .codec import CODEC
from .connection import signals
from .hub_call import parse_call, run_call
from .hub_clients import CallerState, TopicClients, TopicGroups, all_clients, one_client, one_group, one_user
from .service import RefusedRequestError, Reply, logged
from .topics import TopicMessage

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from ..hubs import HubContext
    from ..recording import Recorded
    from .hubs import ClassicHub
    from .settings import ClassicSettings
    from .topics import MessageBus


class HubService:
    """Serves several hubs at one path (`Service`).

    Args:
        hubs: the hub classes by name.
        bus: returns the topics of the server.
        settings: the server's settings.
        recorded: gets a record of each call.

    Attributes:
        hubs: the hub classes by name.
    """

    def __init__(
        self,
        hubs: Mapping[str, type[ClassicHub]],
        *,
        bus: Callable[[], MessageBus],
        settings: ClassicSettings,
        recorded: Recorded,
    ) -> None:
        self.hubs: dict[str, type[ClassicHub]] = dict(hubs)
        self._names = {name.lower(): name for name in hubs}
        self._bus = bus
        self._settings = settings
        self._recorded = recorded

    # What a request asks for

    def check(self, query: Mapping[str, str], user: str) -> None:
        """See `Service.check`."""
        if self._asked(query) and not self._allowed(query, user):
            raise RefusedRequestError(401)

    def topics(self, query: Mapping[str, str], connection_id: str, user: str) -> list[str]:
        """See `Service.topics`."""
        topics: list[str] = []
        for hub in self._allowed(query, user):
            topics += [all_clients(hub), one_client(hub, connection_id)]
            if user:
                topics.append(one_user(hub, user))
        return [*topics, signals(connection_id)]

    def groups(self, names: Iterable[str], query: Mapping[str, str]) -> list[str]:
        """See `Service.groups`."""
        prefixes = tuple(one_group(hub, "") for hub in self._asked(query))
        return [name for name in names if name.startswith(prefixes)]

    def _asked(self, query: Mapping[str, str]) -> list[str]:
        """Return the names of the hubs that a request asks for, as the server has them."""
        try:
            members = CODEC.decode((query.get("connectionData") or "[]").encode()) or []
            # Microsoft's .NET client writes `Name`, its JavaScript client `name`.
            names = [str({key.lower(): value for key, value in member.items()}["name"]) for member in members]
        except (RemoteProtocolError, TypeError, KeyError, AttributeError) as error:
            raise RefusedRequestError(500, f"the query has a wrong connectionData: {error!r}") from error
        hubs = [self._resolve(name) for name in names]
        if len(set(hubs)) < len(hubs):
            raise RefusedRequestError(500, "Duplicate Hub names found.")
        return hubs

    def _resolve(self, name: str) -> str:
        found = self._names.get(name.lower())
        if found is None:
            raise RefusedRequestError(500, f"'{name}' Hub could not be resolved.")
        return found

    def _allowed(self, query: Mapping[str, str], user: str) -> list[str]:
        """Return the hubs that a request asks for and that the user may use. As in .NET, the others are left out."""
        return [name for name in self._asked(query) if user or not self.hubs[name].requires_user]

    # The life of a connection

    async def connected(self, context: HubContext) -> None:
        """See `Service.connected`."""
        for name in self._allowed(context.query, context.user or ""):
            await self._make(name, context).on_connected()

    async def reconnected(self, context: HubContext) -> None:
        """See `Service.reconnected`."""
        for name in self._allowed(context.query, context.user or ""):
            await logged(self._make(name, context).on_reconnected(), f"{name}.on_reconnected")

    async def disconnected(self, context: HubContext, *, stop_called: bool) -> None:
        """See `Service.disconnected`."""
        for name in self._allowed(context.query, context.user or ""):
            await logged(self._make(name, context).on_disconnected(stop_called), f"{name}.on_disconnected")

    async def received(self, context: HubContext, text: str) -> Reply:
        """See `Service.received`: the text is a call of a hub method."""
        call = parse_call(text)
        name = self._resolve(call.hub)
        self._recorded.note_call(Invocation(f"{call.hub}.{call.method}", call.arguments, size=len(text)), context)
        state = CallerState(call.state)
        report = self._reporter(call, context.connection_id)
        return await run_call(
            call, text, self._make(name, context, state), state, report=report, settings=self._settings
        )

    def _reporter(self, call: Call, connection_id: str) -> Callable[[Any], None]:
        bus = self._bus()

        def report(value: Any) -> None:
            if call.call_id is not None:
                data = CODEC.encode(progress_members(Progress(call.call_id, value)))
                bus.publish(signals(connection_id), TopicMessage(data))

        return report

    def _make(self, name: str, context: HubContext, state: CallerState | None = None) -> ClassicHub:
        hub = self.hubs[name]()
        hub.context = context
        hub.clients = TopicClients(self._bus(), name, context.connection_id, state or CallerState({}))
        hub.groups = TopicGroups(self._bus(), name)
        return hub
