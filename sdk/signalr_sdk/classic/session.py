"""`ClassicSession`: reads what a classic server sends, and remembers where to go on after a loss.

Theory of operation
-------------------
A server sends envelopes: some messages and the cursor after them. A client that lost its transport presents the last
cursor, and the server sends what came after it. So a message arrives once and in order if the cursor is always that of
the last envelope that was read whole. The groups token tells a server the groups of the connection in the same way.

What the messages mean depends on the kind of the connection: events and answers of hubs (`HubMessages`), or values of a
raw connection (`RawMessages`). Like `_core.session`, the session calls nobody: it returns the calls that its owner must
make.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Final, Protocol, TypeAlias

from ..errors import RemoteProtocolError
from .envelopes import KEEP_ALIVE, excerpt, member, read_envelope, shown, wrong_member
from .hub_messages import Answer, read_answer, read_event, read_progress

if TYPE_CHECKING:
    from .json_codec import ClassicJson

HUB_END: Final = "\n"
"""Stands between the name of a hub and the name of an event in the target of an event. No name contains it."""

Deliveries: TypeAlias = list[tuple[Callable[..., None], tuple[Any, ...]]]
"""The calls that deliver messages, in the order in which they must be made."""


# A waiting message counts as so many bytes, at least: it costs memory for objects, whatever its size on the wire.
_LEAST = 64


class Sink(Protocol):
    """Gets the progress and the answer of one call."""

    def progressed(self, value: Any, size: int, /) -> None:
        """Take a value that the running method reports, and its size in bytes."""

    def answered(self, answer: Answer, /) -> None:
        """Take the answer, the last message of the call."""


class Inbox(Protocol):
    """Gets the events of hubs, or the values of a raw connection."""

    def events(self, targets: list[str], arguments: list[Any], sizes: list[int], /) -> None:
        """Take events, as three lists of equal length: targets, lists of arguments, sizes in bytes."""


class MessageReader(Protocol):
    """Reads the messages in envelopes, for one kind of connection."""

    def read(self, messages: list[Any], size: int, /) -> Deliveries:
        """Read the messages of one envelope. `size` is the envelope's number of bytes."""

    def wants_exact(self, members: dict[str, Any], /) -> bool:
        """Return whether a message that is no envelope must be decoded again, without losing digits of numbers."""

    def read_other(self, members: dict[str, Any], /) -> Deliveries | None:
        """Read a message that is no envelope; `None` if it is an envelope."""


class ClassicSession:
    """The receiving half of one connection, over all its transports.

    Args:
        reader: reads the messages in the envelopes.
        json: decodes.

    Attributes:
        cursor: the position after the last message; `None` before the first envelope.
        groups_token: the groups of the connection; `None` before the server has sent them.
        initialized: whether the first envelope has come.
        asks_reconnect: whether the server has asked the client to reconnect, since `begin_transport`.
        poll_delay: seconds to wait before the next poll, as the last envelope said; `None` if it said nothing.
        error: the error with which the server has ended the connection for good; `None` for none.
    """

    def __init__(self, reader: MessageReader, json: ClassicJson) -> None:
        self._reader = reader
        self._json = json
        self.begin()

    def begin(self) -> None:
        """Forget what another transport has brought, which could not be used for the connection."""
        self.cursor: str | None = None
        self.groups_token: str | None = None
        self.initialized: bool = False
        self.asks_reconnect: bool = False
        self.poll_delay: float | None = None
        self.error: str | None = None

    def begin_transport(self) -> None:
        """Note that another transport was opened for the connection."""
        self.asks_reconnect = False

    def receive(self, payload: bytes) -> Deliveries:
        """Read one JSON text from the server, and return the calls that deliver its messages.

        Raises:
            RemoteProtocolError: the text is no message of classic SignalR. The cursor is unchanged.
        """
        if payload == KEEP_ALIVE:
            return []
        members = self._json.decode(payload)
        if type(members) is not dict:
            raise RemoteProtocolError(f"a message of the server is no JSON object: {shown(members)}")
        if self._reader.wants_exact(members):
            members = self._json.decode(payload, exact=True)
        others = self._reader.read_other(members)
        return self._read_envelope(members, len(payload)) if others is None else others

    def _read_envelope(self, members: dict[str, Any], size: int) -> Deliveries:
        envelope = read_envelope(members)
        if envelope.error is not None:
            self.error = envelope.error
            return []
        deliveries = self._reader.read(envelope.messages, size) if envelope.messages else []
        if envelope.groups_token is not None:
            self.groups_token = envelope.groups_token
        if envelope.cursor is not None:
            self.cursor = envelope.cursor
        self.initialized = self.initialized or envelope.is_init
        self.asks_reconnect = self.asks_reconnect or envelope.asks_reconnect
        self.poll_delay = envelope.delay
        return deliveries


class RawMessages:
    """Reads the values of a raw connection: any JSON, also values that look like a hub's messages.

    Args:
        inbox: gets the values.
    """

    def __init__(self, inbox: Inbox) -> None:
        self._inbox = inbox

    def read(self, messages: list[Any], size: int, /) -> Deliveries:
        """See `MessageReader.read`."""
        count = len(messages)
        arguments = [[value] for value in messages]
        return [(self._inbox.events, ([RAW] * count, arguments, [max(size // count, _LEAST)] * count))]

    def wants_exact(self, _members: dict[str, Any], /) -> bool:
        """See `MessageReader.wants_exact`."""
        return False

    def read_other(self, _members: dict[str, Any], /) -> Deliveries | None:
        """See `MessageReader.read_other`."""
        return None


RAW: Final = "received"
"""The target of each value of a raw connection."""


class HubMessages:
    """Reads the messages of hubs, and keeps the calls that wait for an answer.

    Args:
        inbox: gets the events. The target of an event is the hub's name, `HUB_END` and the event's name.
        states: a dict from the name of each hub in lower case to the client's state for this hub.

    Attributes:
        sinks: a dict from the id of a call to its sink.
        exact: the ids of the calls whose results must not lose digits of numbers.
    """

    def __init__(self, inbox: Inbox, states: Mapping[str, dict[str, Any]]) -> None:
        self.sinks: dict[str, Sink] = {}
        self.exact: set[str] = set()
        self._inbox = inbox
        self._states = states
        self._last_id = -1

    def new_id(self, sink: Sink, *, exact: bool = False) -> str:
        """Return the id for a new call, whose progress and answer go to `sink`."""
        self._last_id += 1
        call_id = str(self._last_id)
        self.sinks[call_id] = sink
        if exact:
            self.exact.add(call_id)
        return call_id

    def forget(self, call_id: str) -> None:
        """Drop the progress and the answer of a call."""
        self.sinks.pop(call_id, None)
        self.exact.discard(call_id)

    def merge(self, hub: str, state: Mapping[str, Any]) -> None:
        """Put what the server has changed into the client's state for a hub."""
        own = self._states.get(hub.lower())
        if own is not None:
            own.update(state)

    def read(self, messages: list[Any], size: int, /) -> Deliveries:
        """See `MessageReader.read`.

        Raises:
            RemoteProtocolError: a message is neither an event nor progress nor an answer.
        """
        deliveries: Deliveries = []
        targets: list[str] = []
        arguments: list[Any] = []
        each = max(size // len(messages), _LEAST)
        for message in messages:
            try:
                hub, name, values = message["H"], message["M"], message["A"]
            except (KeyError, TypeError):
                hub = name = values = None
            # Read an event without state here: most messages are such events.
            if hub.__class__ is str and name.__class__ is str and values.__class__ is list and len(message) == 3:
                targets.append(hub + HUB_END + name)
                arguments.append(values)
            elif type(message) is not dict:
                raise wrong_member("M", message)
            elif "P" in message:
                self._read_progress(message, each, deliveries)
            elif "I" in message:
                deliveries += self.read_other(message) or ()
            else:
                event = read_event(message)
                self.merge(event.hub, event.state)
                targets.append(event.hub + HUB_END + event.name)
                arguments.append(event.arguments)
        if targets:
            deliveries.append((self._inbox.events, (targets, arguments, [each] * len(targets))))
        return deliveries

    def _read_progress(self, message: dict[str, Any], size: int, deliveries: Deliveries) -> None:
        progress = read_progress(message)
        sink = self.sinks.get(progress.call_id)
        if sink is not None:
            deliveries.append((sink.progressed, (progress.value, size)))

    def wants_exact(self, members: dict[str, Any], /) -> bool:
        """See `MessageReader.wants_exact`."""
        return bool(self.exact) and str(members.get("I")) in self.exact

    def read_other(self, members: dict[str, Any], /) -> Deliveries | None:
        """See `MessageReader.read_other`. A message with an id is the answer to a call."""
        if "I" not in members:
            return None
        answer = read_answer(members)
        call_id = answer.call_id
        sink = None if call_id is None else self.sinks.pop(call_id, None)
        if call_id is None or sink is None:
            return []
        self.exact.discard(call_id)
        return [(sink.answered, (answer,))]


def read_result(payload: bytes, json: ClassicJson, call_id: str, *, exact: bool) -> Answer:
    """Read the answer to a call that was sent in a POST: the body of the response.

    Raises:
        RemoteProtocolError: the body is no answer, or that to another call, perhaps from a cache. A server that cannot
            encode the result sends an empty body.
    """
    if not payload.strip():
        raise RemoteProtocolError("the server sent an empty answer: it cannot encode the result of the hub method")
    members = json.decode(payload, exact=exact)
    if type(members) is not dict or "I" not in members:
        raise RemoteProtocolError(f"the server sent something else than the answer to the call: {excerpt(payload)!r}")
    answer = read_answer(members)
    if answer.call_id != call_id:
        raise RemoteProtocolError(f"the server sent the answer to another call: {excerpt(payload)!r}")
    return answer


def wrong_start(payload: bytes, json: ClassicJson) -> str | None:
    """Return what is wrong with the answer to `/start`; `None` if the connection is started."""
    try:
        members = json.decode(payload)
        text = member(members, "Response", str) if type(members) is dict else None
    except RemoteProtocolError as error:
        return error.message
    return None if text is not None and text.lower() == "started" else f"it is {excerpt(payload)!r}"
