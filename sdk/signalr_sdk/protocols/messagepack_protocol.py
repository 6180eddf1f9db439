"""The MessagePack hub protocol. Source: HubProtocol.md of dotnet/aspnetcore, "MessagePack encoding"."""

from __future__ import annotations

import reprlib
from typing import TYPE_CHECKING, Any, Final

from ..errors import LocalProtocolError, RemoteProtocolError
from ..messages import (
    Ack,
    CancelInvocation,
    Close,
    Completion,
    Headers,
    HubMessage,
    Invocation,
    Ping,
    Sequence,
    StreamInvocation,
    StreamItem,
)
from ..options import TransferFormat
from .batches import EVENT, ITEM, RESULT
from .framing import frame_binary
from .messagepack_values import MessagePackCodec
from .values import ENCODING_ERRORS, Naming, NamingChoice, resolve_naming

if TYPE_CHECKING:
    from collections.abc import Sequence as Sequences

    from .batches import Batch

_PING: Final = b"\x02\x91\x06"
_ERROR, _VOID, _RESULT = 1, 2, 3

# What the members of a message are called in errors.
_CALL = ("type", "headers", "invocationId", "target", "arguments", "streamIds")
_MEMBERS: Final = {
    1: _CALL,
    2: ("type", "headers", "invocationId", "item"),
    3: ("type", "headers", "invocationId", "kind", "result"),
    4: _CALL,
    5: _CALL[:3],
    7: ("type", "error", "allowReconnect"),
    8: ("type", "sequenceId"),
    9: ("type", "sequenceId"),
}
# The fewest members of the messages that are decoded here.
_LEAST_CALL, _LEAST_ITEM, _LEAST_COMPLETION, _LEAST_RESULT = 5, 4, 4, 5
_WHOLE_CALL: Final = 6


class MessagePackProtocol:
    r"""The MessagePack hub protocol.

    Args:
        naming: how attribute names of classes are written: `"pascal"` (as MessagePack on .NET wants them), `"camel"`,
            `None` for unchanged, or a function.

    Example:
        >>> from signalr_sdk.messages import Ping
        >>> MessagePackProtocol().encode(Ping())
        b'\x02\x91\x06'
    """

    # Not Final: pyright takes those for class variables, which do not match the properties of HubProtocol.
    name: str = "messagepack"
    transfer_format: TransferFormat = TransferFormat.BINARY

    def __init__(self, *, naming: NamingChoice = "pascal") -> None:
        self._naming = resolve_naming(naming)
        self._codec = MessagePackCodec(self._naming)
        self._unpackb = self._codec.unpackb

    @property
    def naming(self) -> Naming:
        """How attribute names of classes are written."""
        return self._naming

    # Encoding

    def encode(self, message: HubMessage, /) -> bytes:
        """Return the message with its length before it.

        Raises:
            LocalProtocolError: a value cannot be encoded.
        """
        members: list[Any]
        if type(message) is StreamItem:
            members = [2, message.headers or {}, message.invocation_id, message.item]
        elif type(message) is Invocation:
            name, ids = message.invocation_id, message.stream_ids or []
            members = [1, message.headers or {}, name, message.target, message.arguments, ids]
        elif type(message) is Completion:
            members = [3, message.headers or {}, message.invocation_id, *_outcome(message)]
        elif isinstance(message, Ping):
            return _PING
        else:
            members = _rare_members(message)
        return self._written(members)

    def encode_call(
        self,
        target: str,
        arguments: list[Any],
        invocation_id: str | None = None,
        stream_ids: list[str] | None = None,
        /,
    ) -> bytes:
        """Return a plain call with its length before it: as `encode`, without an `Invocation`."""
        return self._written([1, {}, invocation_id, target, arguments, stream_ids or []])

    def _written(self, members: list[Any]) -> bytes:
        try:
            return frame_binary(self._codec.pack(members))
        except ENCODING_ERRORS:
            raise self._codec.explain(zip(_MEMBERS[members[0]], members, strict=False)) from None

    # Decoding

    def decode(self, frame: bytes, /, *, exact: bool = False) -> HubMessage | None:
        """Return the message in a frame, `None` for an unknown type.

        Args:
            frame: one message.
            exact: means nothing here: decimals are text in MessagePack.

        Raises:
            RemoteProtocolError: this is no hub message.
        """
        try:
            members = self._unpackb(frame, timestamp=3, strict_map_key=False)
        except (ValueError, TypeError, OverflowError):
            members = self._unpack_slowly(frame)
        if type(members) is not list or not members or type(members[0]) is not int:
            raise _wrong("it is no array that begins with a type", members)
        kind, length = members[0], len(members)
        if kind == 2 and length >= _LEAST_ITEM:
            name = members[2]
            if type(name) is str and name:
                return StreamItem(name, members[3], _headers(members) if members[1] else None)
        elif kind == 1 and length >= _LEAST_CALL:
            name, target, arguments = members[2], members[3], members[4]
            if type(target) is str and type(arguments) is list and (name is None or (type(name) is str and name)):
                ids = _stream_ids(members) if length > _LEAST_CALL and members[5] else None
                return Invocation(target, arguments, name, ids, _headers(members) if members[1] else None)
        elif kind == 3 and length >= _LEAST_COMPLETION:
            return _completion(members)
        else:
            return _decode_rare(kind, members)
        raise _wrong("its members are wrong", members)

    # As in JSON: the plain shapes of the frequent kinds are taken apart here (tests/bench/pieces.py, "receive").
    def decode_all(self, frames: Sequences[bytes], batch: Batch, /) -> None:
        """Decode each frame as `decode` does, and add what it holds.

        Raises:
            RemoteProtocolError: a frame is no hub message. Those before it were added.
        """
        unpackb = self._unpackb
        add_kind, add_name, add_value = batch.kinds.append, batch.names.append, batch.values.append
        for frame in frames:
            try:
                members = unpackb(frame, timestamp=3, strict_map_key=False)
            except (ValueError, TypeError, OverflowError):
                members = None
            length = len(members) if members.__class__ is list else 0
            if length == _LEAST_ITEM:
                kind, headers, name, value = members
                is_plain = kind == ITEM and not headers and name != ""
            elif length == _WHOLE_CALL:
                kind, headers, call, name, value, ids = members
                is_plain = kind == EVENT and call is None and value.__class__ is list and not headers and not ids
            elif length == _LEAST_RESULT:
                kind, headers, name, outcome, value = members
                is_plain = kind == RESULT and outcome == _RESULT and outcome.__class__ is int and not headers
                is_plain = is_plain and name != ""
            else:
                kind, name, value, is_plain = 0, "", None, False
            if is_plain and kind.__class__ is int and name.__class__ is str:
                add_kind(kind)
                add_name(name)
                add_value(value)
            else:
                batch.add(self.decode(frame))

    def _unpack_slowly(self, frame: bytes) -> Any:
        try:
            return self._codec.unpack_slowly(frame)
        except (ValueError, TypeError, RecursionError) as error:
            raise _no_messagepack(error) from None


def _outcome(message: Completion) -> tuple[Any, ...]:
    if message.error is not None:
        return (_ERROR, message.error)
    return (_RESULT, message.result) if message.has_result else (_VOID,)


def _rare_members(message: HubMessage) -> list[Any]:
    match message:
        case StreamInvocation():
            name, ids = message.invocation_id, message.stream_ids or []
            return [4, message.headers or {}, name, message.target, message.arguments, ids]
        case CancelInvocation():
            return [5, message.headers or {}, message.invocation_id]
        case Close():
            return [7, message.error, message.allow_reconnect]
        case Ack():
            return [8, message.sequence_id]
        case Sequence():
            return [9, message.sequence_id]
        case _:
            raise LocalProtocolError(f"{message!r:.100} is no hub message")


def _completion(members: list[Any]) -> Completion:
    name, kind = members[2], members[3]
    if type(name) is str and name and type(kind) is int:
        headers = _headers(members) if members[1] else None
        if kind == _VOID:
            return Completion(name, None, None, False, headers)
        if len(members) >= _LEAST_RESULT:
            if kind == _RESULT:
                return Completion(name, members[4], None, True, headers)
            if kind == _ERROR and type(members[4]) is str:
                return Completion(name, None, members[4], False, headers)
    raise _wrong("its members are wrong", members)


def _decode_rare(kind: int, members: list[Any]) -> HubMessage | None:
    match kind, members[1:]:
        case 4, [_, str() as name, str() as target, list() as arguments, *_] if name:
            return StreamInvocation(target, arguments, name, _stream_ids(members), _headers(members))
        case 5, [_, str() as name, *_] if name:
            return CancelInvocation(name, _headers(members))
        case 6, _:
            return Ping()
        case 7, [None | str() as error, *rest]:
            return Close(error, rest[:1] == [True])
        case ((8 | 9), [int() as number, *_]) if not isinstance(number, bool):
            return Ack(number) if kind == 8 else Sequence(number)
        case ((1 | 2 | 3 | 4 | 5 | 7 | 8 | 9), _):
            raise _wrong("its members are wrong", members)
        case _:
            return None


def _headers(members: list[Any]) -> Headers | None:
    headers = members[1]
    if not headers:
        return None
    if isinstance(headers, dict) and all(isinstance(each, str) for item in headers.items() for each in item):
        return headers
    raise _wrong("its headers are no map of strings", members)


def _stream_ids(members: list[Any]) -> list[str] | None:
    ids = members[5] if len(members) > _LEAST_CALL else None
    if not ids:
        return None
    if isinstance(ids, list) and all(isinstance(each, str) for each in ids):
        return ids
    raise _wrong("its stream ids are no array of strings", members)


def _no_messagepack(error: Exception) -> RemoteProtocolError:
    return RemoteProtocolError(f"this is no hub message, it is not MessagePack: {error!s:.200}")


def _wrong(why: str, members: Any) -> RemoteProtocolError:
    return RemoteProtocolError(f"this is no hub message, {why}: {reprlib.repr(members)}")
