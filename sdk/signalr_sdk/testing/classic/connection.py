"""A connection of a client to the classic test server, and the feed of data to its open transport."""

from __future__ import annotations

import asyncio
from collections import deque
from typing import TYPE_CHECKING, Any

import attrs

from ...classic.envelopes import Envelope, envelope_members
from ...options import Transport
from ..tcp_listener import drop_tcp
from ..waiters import Waiters
from .codec import CODEC

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from ..hubs import HubContext
    from .settings import ClassicSettings
    from .tokens import TokenKeys
    from .topics import MessageBus, Subscription

# A hub method that adds a connection to a group waits this many seconds for a transport of the client, as in .NET.
_ACK = 30.0


def signals(connection_id: str) -> str:
    """Return the name of the topic with commands and progress for one connection."""
    return f"c-{connection_id}"


@attrs.frozen(eq=False)
class GroupCommand:
    """Lets a connection join or leave a group.

    Attributes:
        topic: the group's topic.
        joins: whether the connection joins the group.
        done: set when a transport of the connection has read the command.
    """

    topic: str
    joins: bool
    done: asyncio.Event = attrs.field(factory=asyncio.Event)

    def apply(self, groups: set[str]) -> None:
        """See `Command`."""
        if self.joins:
            groups.add(self.topic)
        else:
            groups.discard(self.topic)
        self.done.set()

    async def wait(self) -> None:
        """Wait until a transport of the connection has read the command, or for 30 s."""
        try:
            async with asyncio.timeout(_ACK):
                await self.done.wait()
        except TimeoutError:
            return


class Feed:
    """The data for one open transport of a connection: envelopes, and results of calls over the same WebSocket.

    Args:
        connection: the connection.
        transport: the kind of the transport.
        is_init: whether the first envelope is the init message.
        tcp: asyncio's transport of the TCP connection.

    Attributes:
        is_ended: whether the transport ends after the data that is left.
        must_reconnect: whether the last envelope tells the client to reconnect, since the server shuts down.
        is_cut: whether a poll ends with an empty body.
        subscription: the position of the client in its topics; `None` until the transport is opened.
    """

    def __init__(
        self,
        connection: ClassicConnection,
        transport: Transport,
        *,
        is_init: bool,
        tcp: asyncio.WriteTransport | None,
    ) -> None:
        self.transport = transport
        self.tcp = tcp
        self.is_ended: bool = False
        self.must_reconnect: bool = False
        self.is_cut: bool = False
        self._connection = connection
        self._is_init = is_init
        self._direct: deque[bytes] = deque()
        self._changed = Waiters()
        self.subscription: Subscription | None = None

    def wake(self) -> None:
        """Let `wait` return, because there may be something to send."""
        self._changed.wake()

    def put(self, data: bytes) -> None:
        """Send data that belongs to no topic, such as the result of a call."""
        if not self.is_ended:
            self._direct.append(data)
            self.wake()

    def put_result(self, data: bytes) -> None:
        """Send the result of a call, after all messages that there are now: the method's progress comes before it."""
        envelope = None if self._is_init else self._connection.next_envelope(self, is_init=False)
        if envelope is not None:
            self.put(envelope)
        self.put(data)

    def take_rest(self) -> list[bytes]:
        """Return the data that a poll has left for the next polls: an answer carries one text."""
        if self.transport is not Transport.LONG_POLLING:
            return []
        rest = list(self._direct)
        self._direct.clear()
        return rest

    def end(self, *, must_reconnect: bool = False, is_cut: bool = False) -> None:
        """End the transport in good order."""
        self.is_ended = True
        self.must_reconnect = self.must_reconnect or must_reconnect
        self.is_cut = self.is_cut or is_cut
        self.wake()

    def drop(self, *, reset: bool) -> None:
        """Close the TCP connection at once."""
        drop_tcp(self.tcp, reset=reset)

    def next_data(self) -> bytes | None:
        """Return the data to send next; `None` if there is no data now."""
        if self._direct and not self._is_init:
            return self._direct.popleft()
        is_init, self._is_init = self._is_init, False
        return self._connection.next_envelope(self, is_init=is_init)

    def last_envelope(self) -> bytes:
        """Return an envelope without messages, for a poll that ends."""
        return self._connection.empty_envelope(self)

    async def wait(self, timeout: float | None) -> bool:
        """Wait until there may be data to send. Return false if there is no data within `timeout` seconds."""
        try:
            async with asyncio.timeout(timeout):
                await self._changed.wait()
        except TimeoutError:
            return False
        return True


@attrs.define(eq=False)
class ClassicConnection:
    """A connection of a client, from its first transport until the client has stopped or was away for too long.

    Attributes:
        connection_id: the id that hubs and clients see, which is no secret.
        user: name of the user; empty for nobody.
        bus: the topics of the server.
        keys: the keys of groups tokens.
        settings: the settings of the server.
        on_gone: called when the client was away for too long.
        topics: the topics that the client reads, without groups.
        groups: the topics of the groups that the connection is in.
        context: the context of the latest request that opened a transport.
        items: a place where hubs can keep values.
        feed: the open transport; `None` while the client is away.
    """

    connection_id: str
    user: str
    bus: MessageBus = attrs.field(kw_only=True)
    keys: TokenKeys = attrs.field(kw_only=True)
    settings: ClassicSettings = attrs.field(kw_only=True)
    on_gone: Callable[[ClassicConnection], None] = attrs.field(kw_only=True)
    topics: list[str] = attrs.field(factory=list, init=False)
    groups: set[str] = attrs.field(factory=set, init=False)
    context: HubContext | None = attrs.field(default=None, init=False)
    items: dict[str, Any] = attrs.field(factory=dict, init=False)
    feed: Feed | None = attrs.field(default=None, init=False)
    _held: set[str] = attrs.field(factory=set, init=False)
    # What the next polls get, each one text: it was pushed between two polls.
    _unsent: deque[bytes] = attrs.field(factory=deque, init=False)
    _away: asyncio.TimerHandle | None = attrs.field(default=None, init=False)

    def open(self, feed: Feed, topics: list[str], groups: Iterable[str], cursor: str | None) -> None:
        """Send over a new transport from now on, and end an older transport.

        Args:
            feed: the new transport.
            topics: the topics that the client reads, without groups.
            groups: the topics of the groups that the client is in, as its groups token says.
            cursor: where the client reads on; `None` for from now on.
        """
        self.stop_timer()
        if self.feed is not None:
            self._detach(self.feed)
            self.feed.end()
        self.topics, self.groups, self.feed = topics, set(groups), feed
        self._hold()
        names = [*topics, *sorted(self.groups)]
        feed.subscription = self.bus.subscribe(names, cursor, feed.wake)
        if self._unsent:
            feed.put(self._unsent.popleft())

    def push(self, data: bytes) -> bool:
        """Send any text to the client; between two polls, with the next poll. Return false if the client is away."""
        feed = self.feed
        if feed is not None and not feed.is_ended:
            feed.put(data)
        elif self.context is not None and self.context.transport == Transport.LONG_POLLING:
            self._unsent.append(data)
        else:
            return False
        return True

    def close(self, feed: Feed) -> None:
        """Note that a transport has ended. If the client opens no other transport in time, call `on_gone`."""
        if self.feed is feed:
            self._detach(feed)
            self.feed = None
            self._away = asyncio.get_running_loop().call_later(self.settings.disconnect, self.on_gone, self)

    def forget(self) -> None:
        """End the connection: close its transport and read no topic any more."""
        self.stop_timer()
        if self.feed is not None:
            self.feed.end()
            self._detach(self.feed)
            self.feed = None
        self.bus.release(sorted(self._held), asyncio.get_running_loop().time())
        self._held = set()

    def stop_timer(self) -> None:
        """Stop the timer that ends the connection of a client that is away."""
        if self._away is not None:
            self._away.cancel()

    def next_envelope(self, feed: Feed, *, is_init: bool) -> bytes | None:
        """Return the envelope with all messages that the client has not got; `None` if there are none."""
        subscription = feed.subscription
        if subscription is None or self.feed is not feed:
            return None
        items: list[bytes] = []
        changes = False
        for message in subscription.take():
            if message.command is not None:
                message.command.apply(self.groups)
                changes = True
            elif self.connection_id not in message.excluded:
                items.append(message.data)
        if changes:
            self._follow_groups(subscription)
        if not (items or changes or is_init):
            return None
        return self._envelope(feed, items, is_init=is_init, changes=changes)

    def empty_envelope(self, feed: Feed) -> bytes:
        """Return an envelope without messages, the answer to a poll that ends."""
        return self._envelope(feed, [], is_init=False, changes=False)

    def _envelope(self, feed: Feed, items: list[bytes], *, is_init: bool, changes: bool) -> bytes:
        assert feed.subscription is not None
        is_poll = feed.transport is Transport.LONG_POLLING
        envelope = Envelope(
            feed.subscription.cursor,
            [],
            is_init=is_init,
            asks_reconnect=feed.must_reconnect,
            delay=self.settings.long_poll_delay or None if is_poll else None,
            groups_token=self.keys.groups_token(self.connection_id, self.groups) if changes else None,
        )
        # The messages are JSON already, since each of them goes to many clients. Put them in between `[` and `]}`.
        return CODEC.encode(envelope_members(envelope))[:-2] + b",".join(items) + b"]}"

    def _follow_groups(self, subscription: Subscription) -> None:
        """Read the topics of the groups that the connection is in now, and no others."""
        self._hold()
        wanted = {*self.topics, *self.groups}
        for name in sorted(wanted - subscription.names):
            subscription.add(name, self.bus.topic(name))
        for name in subscription.names - wanted:
            subscription.remove(name)

    def _hold(self) -> None:
        wanted = {*self.topics, *self.groups}
        now = asyncio.get_running_loop().time()
        self.bus.hold(sorted(wanted - self._held), now)
        self.bus.release(sorted(self._held - wanted), now)
        self._held = wanted

    def _detach(self, feed: Feed) -> None:
        self._unsent.extend(feed.take_rest())
        if feed.subscription is not None:
            feed.subscription.close()
