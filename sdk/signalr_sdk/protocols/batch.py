"""The messages of one payload, in columns: the frequent kinds make no object for each message.

Events and stream items come by the thousand. What is received of them is a name and a value, and what all of a payload
have in common is looked at once: so a session can hand on a whole payload in one call.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, Protocol, cast

from ..messages import HubMessage, Invocation, StreamItem

if TYPE_CHECKING:
    from collections.abc import Sequence


# What a row of a `Batch` holds: the type of the message in the protocols, if it is plain. (An enum is slower.)
MESSAGE: Final = 0
EVENT: Final = 1
ITEM: Final = 2


class Batch:
    """Decoded messages in their order.

    Attributes:
        kinds: `EVENT`, `ITEM` or `MESSAGE` of each.
        names: target of an event, id of an item's stream, nothing for any other message.
        values: arguments of an event, the item, or the message itself (`None` if its type is unknown).
    """

    __slots__ = ("kinds", "names", "values")

    def __init__(self) -> None:
        self.kinds: list[int] = []
        self.names: list[str] = []
        self.values: list[Any] = []

    def add(self, message: HubMessage | None) -> None:
        """Add a message at the end."""
        kind, name, value = MESSAGE, "", cast("Any", message)
        if message.__class__ is StreamItem and not message.headers:
            kind, name, value = ITEM, message.invocation_id, message.item
        elif message.__class__ is Invocation and not (message.invocation_id or message.stream_ids or message.headers):
            kind, name, value = EVENT, message.target, message.arguments
        self.kinds.append(kind)
        self.names.append(name)
        self.values.append(value)

    def end_of_run(self, begin: int, end: int) -> int:
        """Return where those end that go the same way as the one at `begin`: events, or the items of one stream."""
        kinds, names = self.kinds, self.names
        kind, name = kinds[begin], names[begin]
        if kind == MESSAGE:
            return begin + 1
        count = end - begin
        if count == len(kinds) == kinds.count(kind) and (kind == EVENT or names.count(name) == count):
            # All of them, which is found out ten times as fast.
            return end
        stop = begin + 1
        while stop < end and kinds[stop] == kind and (kind == EVENT or names[stop] == name):
            stop += 1
        return stop


class BatchDecoder(Protocol):
    """A `HubProtocol` that decodes many messages at once."""

    def decode_all(self, frames: Sequence[bytes], batch: Batch, /) -> None:
        """Decode each frame as `decode` does, and add what it holds.

        Raises:
            RemoteProtocolError: a frame is no hub message. Those before it were added.
        """


def batch_decoder_of(protocol: object) -> BatchDecoder | None:
    """Return the protocol if it is a `BatchDecoder`, and nobody has put another `decode` in front of that."""
    for each in (protocol, *type(protocol).__mro__):
        if "decode" in getattr(each, "__dict__", {}):
            return protocol if "decode_all" in vars(each) else None  # type: ignore[return-value]  # it has the method
    return None
