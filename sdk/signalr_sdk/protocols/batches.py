"""The decoded messages of one payload as three lists, and faster methods that only this package's protocols have.

Events, stream items and results come by the thousand, so a `Batch` keeps only the name and the value of a plain
message, without a message object. An item or a result is *plain* if it has no headers, an event if it also has no id
and no streams. Neighbouring events are delivered in one call, and so are neighbouring items of one stream.
"""

from __future__ import annotations

from typing import Any, Final, cast

from ..messages import Completion, HubMessage, Invocation, StreamItem

# The kinds of rows in a `Batch`: for a plain message the type number in the specification, for any other message
# `MESSAGE`. They are no enum, because integers are compared faster (tests/bench/test_receiving.py).
MESSAGE: Final = 0
EVENT: Final = 1
ITEM: Final = 2
RESULT: Final = 3


class Batch:
    """The decoded messages of one payload, in their order. Each message is one row of the three lists.

    Attributes:
        kinds: `EVENT`, `ITEM`, `RESULT` or `MESSAGE`.
        names: target of an event, stream id of an item, call id of a result, `""` for any other message.
        values: arguments of an event, the item, the result, or the message itself (`None` if its type is unknown).
    """

    __slots__ = ("kinds", "names", "values")

    def __init__(self) -> None:
        self.kinds: list[int] = []
        self.names: list[str] = []
        self.values: list[Any] = []

    def add(self, message: HubMessage | None) -> None:
        """Add a row for this message; `None` stands for a message of an unknown type."""
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
        """Return the index after the run of rows that begins at `begin`: the rows that are delivered in one call.

        A run is neighbouring events, neighbouring items of one stream, or a single row of another kind. It stops before
        the row `end`.
        """
        kinds, names = self.kinds, self.names
        kind, name = kinds[begin], names[begin]
        if kind in (MESSAGE, RESULT):
            return begin + 1
        count = end - begin
        if count == len(kinds) == kinds.count(kind) and (kind == EVENT or names.count(name) == count):
            # The whole batch is one run. `count` finds this out ten times as fast as the loop below
            # (tests/bench/test_receiving.py).
            return end
        stop = begin + 1
        while stop < end and kinds[stop] == kind and (kind == EVENT or names[stop] == name):
            stop += 1
        return stop


def shortcut(protocol: object, method: str, faster: str) -> Any:
    """Return the faster method of a protocol that may be called in place of `method`; `None` if there is none.

    The faster method counts only if the class (or object) that defines `method` also defines the faster method.
    Otherwise, for a user's subclass that overrides only `encode`, calls would go to the inherited `encode_call` and
    never to the user's `encode`.

    Args:
        protocol: a `HubProtocol`.
        method: name of one of its methods.
        faster: name of the faster method: `decode_all(frames, batch)` for `decode`, and
            `encode_call(target, arguments, invocation_id, stream_ids)` for `encode`.
    """
    for owner in (protocol, *type(protocol).__mro__):
        names = getattr(owner, "__dict__", {})
        if method in names:
            return getattr(protocol, faster) if faster in names else None
    return None
