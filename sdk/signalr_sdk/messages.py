"""The hub messages: what a `HubProtocol` encodes and decodes.

They are plain objects made by the thousand, so they have slots, no validators and no equality: the decoder
validates. Source: HubProtocol.md of dotnet/aspnetcore.
"""

from __future__ import annotations

from typing import Any, TypeAlias

import attrs

Headers: TypeAlias = dict[str, str]


class _Message:
    __slots__ = ()

    # attrs takes a tenth of a millisecond of every import to write another one for each class.
    def __repr__(self) -> str:
        cls: Any = type(self)
        return f"{cls.__name__}({', '.join(f'{each.name}={getattr(self, each.name)!r}' for each in attrs.fields(cls))})"


# Not frozen: frozen classes cost three times as much to make.


@attrs.define(eq=False, repr=False)
class Invocation(_Message):
    """Type 1: calls a method of the hub, or of the client (then it is an event, or with an id a question).

    Attributes:
        target: name of the method or event.
        arguments: its arguments, without those that are streamed.
        invocation_id: names the call, if an answer is wanted.
        stream_ids: one id for each streamed argument.
        headers: rarely used.
        size: bytes as received (0 in messages that we make).
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
    """Type 3: the end of a call or stream: with a result, an error, or neither."""

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
    """Type 5: the caller has let go of a call."""

    invocation_id: str
    headers: Headers | None = None
    size: int = 0


@attrs.define(eq=False, repr=False)
class Ping(_Message):
    """Type 6: keeps the connection alive."""

    size: int = 0


@attrs.define(eq=False, repr=False)
class Close(_Message):
    """Type 7: the sender is about to close the connection."""

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
