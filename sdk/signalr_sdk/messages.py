"""The hub messages, which a `HubProtocol` encodes and decodes.

Messages are made by the thousand, so they have slots, no validators and no equality. The decoder checks their members.
Source: HubProtocol.md of dotnet/aspnetcore.
"""

from __future__ import annotations

from typing import Any, TypeAlias

import attrs

Headers: TypeAlias = dict[str, str]


class _Message:
    __slots__ = ()

    # One for all: attrs would generate one for each class, and each takes a tenth of a millisecond at import.
    def __repr__(self) -> str:
        cls: Any = type(self)
        return f"{cls.__name__}({', '.join(f'{each.name}={getattr(self, each.name)!r}' for each in attrs.fields(cls))})"


# Not frozen, since a frozen object takes three times as long to make (tests/bench/pieces.py, "decode").


@attrs.define(eq=False, repr=False)
class Invocation(_Message):
    """Type 1: calls a method. Sent to a client, it is an event, or with an id a request for a client result.

    Attributes:
        target: name of the method or event.
        arguments: the arguments that are not streamed.
        invocation_id: id of the call; `None` if no answer is wanted.
        stream_ids: one id for each streamed argument.
        headers: rarely used.
        size: bytes on the wire of a received message; 0 in other messages.
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
    """Type 3: the end of a call or stream, with a result, an error, or neither."""

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
    """Type 5: the caller cancels a call."""

    invocation_id: str
    headers: Headers | None = None
    size: int = 0


@attrs.define(eq=False, repr=False)
class Ping(_Message):
    """Type 6: a sign of life, for a connection on which nothing else is sent."""

    size: int = 0


@attrs.define(eq=False, repr=False)
class Close(_Message):
    """Type 7: the sender closes the connection, with an error or without."""

    error: str | None = None
    allow_reconnect: bool = False
    size: int = 0


@attrs.define(eq=False, repr=False)
class Ack(_Message):
    """Type 8 (stateful reconnect): all messages up to this number have arrived."""

    sequence_id: int
    size: int = 0


@attrs.define(eq=False, repr=False)
class Sequence(_Message):
    """Type 9 (stateful reconnect): the number of the message that comes next."""

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
