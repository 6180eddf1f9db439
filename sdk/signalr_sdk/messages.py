"""The hub messages, which a `HubProtocol` encodes and decodes.

Message classes have slots, and no validators or `__eq__`, to be fast to create. The decoder checks the values.
Source: HubProtocol.md of dotnet/aspnetcore.
"""

from __future__ import annotations

from typing import Any, TypeAlias

import attrs

Headers: TypeAlias = dict[str, str]


class _Message:
    __slots__ = ()

    # All message classes share one `__repr__`: each `__repr__` that attrs generates makes the import 0.1 ms slower.
    def __repr__(self) -> str:
        cls: Any = type(self)
        return f"{cls.__name__}({', '.join(f'{each.name}={getattr(self, each.name)!r}' for each in attrs.fields(cls))})"


# Do not use frozen classes: creating a frozen object takes three times as long (tests/bench/pieces.py, "decode").


@attrs.define(eq=False, repr=False)
class Invocation(_Message):
    """Type 1: calls a method. From the server: an event, or (with an `invocation_id`) a request for a client result.

    Attributes:
        target: name of the method or event.
        arguments: the arguments, without the arguments that are sent as streams.
        invocation_id: id of the call; `None` if no answer is wanted.
        stream_ids: one stream id for each argument that is sent as a stream.
        headers: headers of the message, which hubs rarely use.
        size: for a received message, its encoded size in bytes; otherwise 0.
    """

    target: str
    arguments: list[Any]
    invocation_id: str | None = None
    stream_ids: list[str] | None = None
    headers: Headers | None = None
    size: int = 0


@attrs.define(eq=False, repr=False)
class StreamItem(_Message):
    """Type 2: one item of a stream, in either direction."""

    invocation_id: str
    item: Any
    headers: Headers | None = None
    size: int = 0


@attrs.define(eq=False, repr=False)
class Completion(_Message):
    """Type 3: ends a call or a stream, with a result, with an error, or with neither."""

    invocation_id: str
    result: Any = None
    error: str | None = None
    has_result: bool = False
    headers: Headers | None = None
    size: int = 0


@attrs.define(eq=False, repr=False)
class StreamInvocation(_Message):
    """Type 4: calls a streaming method of the hub."""

    target: str
    arguments: list[Any]
    invocation_id: str
    stream_ids: list[str] | None = None
    headers: Headers | None = None
    size: int = 0


@attrs.define(eq=False, repr=False)
class CancelInvocation(_Message):
    """Type 5: asks the other side to cancel a call or a stream."""

    invocation_id: str
    headers: Headers | None = None
    size: int = 0


@attrs.define(eq=False, repr=False)
class Ping(_Message):
    """Type 6: keep-alive, sent if nothing else was sent for some time."""

    size: int = 0


@attrs.define(eq=False, repr=False)
class Close(_Message):
    """Type 7: the sender closes the connection, because of an error or without an error."""

    error: str | None = None
    allow_reconnect: bool = False
    size: int = 0


@attrs.define(eq=False, repr=False)
class Ack(_Message):
    """Type 8 (stateful reconnect): the sender of the Ack has received all messages up to number `sequence_id`."""

    sequence_id: int
    size: int = 0


@attrs.define(eq=False, repr=False)
class Sequence(_Message):
    """Type 9 (stateful reconnect): `sequence_id` is the number of the message that its sender sends next."""

    sequence_id: int
    size: int = 0


HubMessage: TypeAlias = (
    Invocation | StreamItem | Completion | StreamInvocation | CancelInvocation | Ping | Close | Ack | Sequence
)


__all__ = [
    "Ack",
    "CancelInvocation",
    "Close",
    "Completion",
    "Headers",
    "HubMessage",
    "Invocation",
    "Ping",
    "Sequence",
    "StreamInvocation",
    "StreamItem",
]
