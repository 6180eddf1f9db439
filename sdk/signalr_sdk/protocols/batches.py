"""The decoded messages of one payload as three lists, and faster methods that only this package's protocols have.

Events, stream items and results come by the thousand, so a `Batch` keeps only the name and the value of a plain
message, without a message object. A stream item or result is *plain* if it has no headers. An event is plain if it has
no headers, no id and no streams. Neighbouring events are delivered in one call, and so are neighbouring items of one
stream.
"""

from __future__ import annotations

from typing import Any, Final, cast

from ..messages import Completion, HubMessage, Invocation, StreamItem

# What one row of a `Batch` holds. `EVENT`, `ITEM`, `RESULT`: a message without headers or other optional members; the
# number is its type in the specification. `MESSAGE`: any other message. Do not make this an enum: integers are compared
# faster (tests/bench/test_receiving.py).
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
        """Return the index of the first row after the run that begins at the row `begin`. The result is at most `end`.

        The rows of a run are delivered in one call: neighbouring events, neighbouring items of one stream, or a single
        row of another kind.
        """
        kinds, names = self.kinds, self.names
        kind, name = kinds[begin], names[begin]
        if kind in (MESSAGE, RESULT):
            return begin + 1
        count = end - begin
        if count == len(kinds) == kinds.count(kind) and (kind == EVENT or names.count(name) == count):
            # All rows are events, or all are items of one stream. `count` finds this out ten times as fast as the loop
            # below (tests/bench/test_receiving.py).
            return end
        stop = begin + 1
        while stop < end and kinds[stop] == kind and (kind == EVENT or names[stop] == name):
            stop += 1
        return stop


def shortcut(protocol: object, method: str, faster: str) -> Any:
    """Return the method of a protocol that does the work of `method` faster; `None` if there is none.

    The faster method is used only if the class (or object) that defines `method` also defines the faster method.
    Otherwise the `encode` of a user's subclass would never be called: calls would go to the inherited `encode_call`.

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
