"""The messages that a classic server keeps for its clients, by topic, and the cursors with which clients read on.

A message belongs to one topic: all clients of a hub, one client of a hub, a group, or a user. A client reads several
topics. Each envelope has a cursor, which says how far the client has read each topic. `/reconnect` and `/poll` send the
cursor back, and the client reads on from there. A topic keeps only its newest messages. A client that is too far behind
loses the older messages without an error, as on Microsoft's server.
"""

from __future__ import annotations

from collections import deque
from itertools import islice
from typing import TYPE_CHECKING, Protocol

import attrs

from ...classic.cursors import read_cursor, write_cursor
from ...errors import RemoteProtocolError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

_LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"


class Command(Protocol):
    """An instruction of the server to a connection, in the connection's own topic: to join or to leave a group."""

    def apply(self, groups: set[str]) -> None:
        """Change the groups of the connection, and tell who waits for the change."""


@attrs.frozen(eq=False)
class TopicMessage:
    """A message in a topic.

    Attributes:
        data: the message as JSON, a member of an envelope's `M`; empty for a command.
        excluded: ids of the connections that do not get the message.
        command: a command to the connection that reads the topic.
    """

    data: bytes
    excluded: frozenset[str] = frozenset()
    command: Command | None = None


class Topic:
    """The newest messages of one topic.

    Args:
        key: what stands for the topic in cursors.
        size: how many messages are kept.

    Attributes:
        count: how many messages there have been: the position of the next message.
        readers: functions that wake the subscriptions to the topic, in the order in which these began.
        holders: how many connections read the topic, or may come back to read on.
        idle_since: when the last holder went; `None` while there are holders.
    """

    def __init__(self, key: str, size: int) -> None:
        self.key = key
        self.count: int = 0
        self.readers: dict[Callable[[], None], None] = {}
        self.holders: int = 0
        self.idle_since: float | None = None
        self._kept: deque[TopicMessage] = deque(maxlen=size)

    def add(self, message: TopicMessage) -> None:
        """Append a message, and wake the readers. The oldest message is dropped when too many are kept."""
        self._kept.append(message)
        self.count += 1
        for wake in list(self.readers):
            wake()

    def since(self, position: int) -> list[TopicMessage]:
        """Return the messages that are kept from this position on; from the oldest if the position is unknown."""
        first = self.count - len(self._kept)
        skipped = position - first if first <= position <= self.count else 0
        return list(islice(self._kept, skipped, None))


class MessageBus:
    """All topics of one life of the server. A new life has a new bus, and knows nothing of older cursors.

    A topic without readers is kept for a while. So a client that comes back late still gets its messages, although
    `on_disconnected` has run. Microsoft's server does the same.

    Args:
        server_id: eight hexadecimal digits, which stand for this life of the server in cursors.
        size: how many messages each topic keeps.
        linger: for how many seconds a topic without readers is kept.
    """

    def __init__(self, server_id: str, size: int, linger: float) -> None:
        self._server_id = server_id
        self._size = size
        self._linger = linger
        self._topics: dict[str, Topic] = {}
        self._idle: dict[str, Topic] = {}
        self._keys_given = 1

    def hold(self, names: Iterable[str], now: float) -> None:
        """Keep topics, from now on, until `release` was called as often. `now` is the time in seconds."""
        self._forget_old(now)
        for name in names:
            topic = self._topics.get(name)
            if topic is None:
                topic = self._topics[name] = Topic(_key(self._keys_given), self._size)
                self._keys_given += 1
            topic.holders += 1
            topic.idle_since = None
            self._idle.pop(name, None)

    def release(self, names: Iterable[str], now: float) -> None:
        """Undo one `hold`. `now` is the time in seconds."""
        for name in names:
            topic = self._topics[name]
            topic.holders -= 1
            if not topic.holders:
                topic.idle_since = now
                self._idle[name] = topic
        self._forget_old(now)

    def _forget_old(self, now: float) -> None:
        for name, topic in list(self._idle.items()):
            if topic.idle_since is None or now - topic.idle_since < self._linger:
                break
            del self._idle[name], self._topics[name]

    def publish(self, name: str, message: TopicMessage) -> bool:
        """Append a message to a topic. Return whether anybody holds the topic. Drop the message of an unknown topic."""
        topic = self._topics.get(name)
        if topic is None:
            return False
        topic.add(message)
        return topic.holders > 0

    def subscribe(self, names: Iterable[str], cursor: str | None, wake: Callable[[], None]) -> Subscription:
        """Return the reading position of a client.

        Args:
            names: the topics, all of which are held.
            cursor: where to go on. A topic that the cursor does not name is read from now on. So are all topics with a
                cursor of another life of the server, or without a cursor.
            wake: called when there is a new message.
        """
        positions = self._positions(cursor)
        subscription = Subscription(self._server_id, wake)
        for name in names:
            topic = self._topics[name]
            subscription.add(name, topic, positions.get(topic.key, topic.count))
        return subscription

    def _positions(self, cursor: str | None) -> dict[str, int]:
        try:
            server_id, positions = read_cursor(cursor or "")
        except RemoteProtocolError:
            return {}
        return positions if server_id == self._server_id else {}

    def topic(self, name: str) -> Topic:
        """Return a topic that is held."""
        return self._topics[name]


class Subscription:
    """How far one client has read its topics, over one transport.

    Args:
        server_id: stands for this life of the server in the cursor.
        wake: called when there is a new message.
    """

    def __init__(self, server_id: str, wake: Callable[[], None]) -> None:
        self._server_id = server_id
        self._wake = wake
        self._topics: dict[str, Topic] = {}
        self._positions: dict[str, int] = {}

    @property
    def cursor(self) -> str:
        """The cursor: with it the client later reads on after the last message that `take` has returned."""
        positions = {topic.key: self._positions[name] for name, topic in self._topics.items()}
        return write_cursor(self._server_id, positions)

    @property
    def names(self) -> frozenset[str]:
        """The topics that are read."""
        return frozenset(self._topics)

    def add(self, name: str, topic: Topic, position: int | None = None) -> None:
        """Read another topic, from a position, by default from now on."""
        self._topics[name] = topic
        self._positions[name] = topic.count if position is None else position
        topic.readers[self._wake] = None

    def remove(self, name: str) -> None:
        """Read a topic no more."""
        self._topics.pop(name).readers.pop(self._wake, None)
        del self._positions[name]

    def take(self) -> list[TopicMessage]:
        """Return the messages that have not been read, topic by topic, and count them as read."""
        messages: list[TopicMessage] = []
        for name, topic in self._topics.items():
            position = self._positions[name]
            if position != topic.count:
                messages += topic.since(position)
                self._positions[name] = topic.count
        return messages

    def close(self) -> None:
        """Read no topic any more."""
        for topic in self._topics.values():
            topic.readers.pop(self._wake, None)


def _key(number: int) -> str:
    key = ""
    while True:
        number, digit = divmod(number, len(_LETTERS))
        key = _LETTERS[digit] + key
        if not number:
            return key
