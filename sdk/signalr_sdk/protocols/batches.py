"""What the protocols here can do in fewer steps than `HubProtocol` has: the frequent messages make no object.

Events, stream items and results come by the thousand. What is received of them is a name and a value, kept in columns:
so what all messages of a payload have in common is looked at once, and a session can hand on a whole payload in one
call.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, cast

from ..messages import Completion, Invocation, StreamItem

if TYPE_CHECKING:
    from ..messages import HubMessage


# What a row of a `Batch` holds: the type of the message in the protocols, if it is plain. (An enum is slower.)
MESSAGE: Final = 0
EVENT: Final = 1
ITEM: Final = 2
RESULT: Final = 3


class Batch:
    """Decoded messages in their order.

    Attributes:
        kinds: `EVENT`, `ITEM`, `RESULT` or `MESSAGE` of each.
        names: target of an event, id of an item's stream or a result's call, nothing for any other message.
        values: arguments of an event, the item, the result, or the message itself (`None` if its type is unknown).
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
        elif message.__class__ is Completion and message.has_result and message.error is None and not message.headers:
            kind, name, value = RESULT, message.invocation_id, message.result
        self.kinds.append(kind)
        self.names.append(name)
        self.values.append(value)

    def end_of_run(self, begin: int, end: int) -> int:
        """Return where those end that go the same way as the one at `begin`: events, or the items of one stream."""
        kinds, names = self.kinds, self.names
        kind, name = kinds[begin], names[begin]
        if kind in (MESSAGE, RESULT):
            return begin + 1
        count = end - begin
        if count == len(kinds) == kinds.count(kind) and (kind == EVENT or names.count(name) == count):
            # All of them, which is found out ten times as fast.
            return end
        stop = begin + 1
        while stop < end and kinds[stop] == kind and (kind == EVENT or names[stop] == name):
            stop += 1
        return stop


def shortcut(protocol: object, method: str, beside: str) -> Any:
    """Return what a protocol has to do the same as one of its methods in fewer steps, if it has that.

    Not if somebody has put another method in front of that one, by a subclass for example: nobody is passed by.

    Args:
        protocol: a `HubProtocol`.
        method: of it.
        beside: what stands beside that, if anything does: `decode_all(frames, batch)` beside `decode`, and
            `encode_call(target, arguments, invocation_id, stream_ids)` beside `encode`.
    """
    for owner in (protocol, *type(protocol).__mro__):
        names = getattr(owner, "__dict__", {})
        if method in names:
            return getattr(protocol, beside) if beside in names else None
    return None
