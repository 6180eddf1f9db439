"""The MessagePack hub protocol. A message is an array, and its members have no names.

Source: HubProtocol.md of dotnet/aspnetcore, "MessagePack encoding".
"""

from __future__ import annotations

import reprlib
from collections.abc import Sequence as Sequences
from typing import Any, Final

import msgpack

from ..errors import RemoteProtocolError
from ..messages import Completion, HubMessage, Invocation, Ping, StreamItem
from ..options import TransferFormat
from .batches import EVENT, ITEM, MESSAGE, RESULT, Batch
from .framing import frame_binary
from .members import WrongMemberError, rare_members, read_message
from .messagepack_values import LARGE, MessagePackCodec
from .values import ENCODING_ERRORS, Naming, NamingChoice, resolve_naming

_PING_FRAME: Final = b"\x91\x06"
_THE_PING: Final = Ping()
_PING: Final = b"\x02" + _PING_FRAME
_ERROR, _VOID, _RESULT = 1, 2, 3

# For each type of message, the names of the array's members in their order. The names are those of the JSON protocol.
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
# What the array of a message holds for a member without a value. The array holds nil for members not listed here.
_EMPTY: Final[dict[str, object]] = {"headers": {}, "streamIds": [], "allowReconnect": False}
# For each type of message, the fewest members with which a received message is accepted. The JavaScript client leaves
# out the stream ids of calls.
_FEWEST: Final = {1: 5, 2: 4, 3: 4, 4: 5, 5: 3, 7: 2, 8: 2, 9: 2}
# The number of members in an event, an item and a result, as .NET sends them.
_PLAIN_CALL, _PLAIN_ITEM, _PLAIN_RESULT = 6, 4, 5


class MessagePackProtocol:
    r"""The MessagePack hub protocol.

    Args:
        naming: how attribute names of classes are written: `"pascal"` (as MessagePack on .NET wants them), `"camel"`,
            `None` for unchanged, or a function.

    Attributes:
        naming: the function that turns an attribute name of a user's class into the name in MessagePack.

    Example:
        >>> from signalr_sdk.messages import Ping
        >>> MessagePackProtocol().encode(Ping())
        b'\x02\x91\x06'
    """

    # Do not declare `name` and `transfer_format` as Final: pyright would take them for class variables, which do not
    # match the properties of HubProtocol.
    name: str = "messagepack"
    transfer_format: TransferFormat = TransferFormat.BINARY

    def __init__(self, *, naming: NamingChoice = "pascal") -> None:
        self.naming: Naming = resolve_naming(naming)
        self._codec = MessagePackCodec(self.naming)

    # Encoding: each message becomes a list, which msgpack encodes in one call

    def encode(self, message: HubMessage, /) -> bytes:
        """Return the message in MessagePack, after its length as a VarInt.

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
            members = _rare(message)
        return self._written(members)

    def encode_call(
        self, target: str, arguments: list[Any], invocation_id: str | None, stream_ids: list[str] | None, /
    ) -> bytes:
        """Encode an invocation without headers from its parts, which saves the `Invocation` object."""
        return self._written([1, {}, invocation_id, target, arguments, stream_ids or []])

    def _written(self, members: list[Any]) -> bytes:
        try:
            return frame_binary(self._codec.pack(members))
        except ENCODING_ERRORS:
            raise self._codec.explain(zip(_MEMBERS[members[0]], members, strict=False)) from None

    # Decoding: each frame is one message in MessagePack, without its length

    def decode(self, frame: bytes, /, *, exact: bool = False) -> HubMessage | None:
        """Return the message in a frame, `None` for an unknown type.

        Args:
            frame: one message, without its length.
            exact: has no effect, because decimals are texts in MessagePack.

        Raises:
            RemoteProtocolError: this is no hub message.
        """
        members = self._unpacked(frame)
        if type(members) is not list or not members or type(members[0]) is not int:
            raise _wrong("it is no array that begins with a type", members)
        kind, length = members[0], len(members)
        if kind == 2 and length == _PLAIN_ITEM:
            _kind, headers, name, item = members
            if type(name) is str and name and not headers:
                return StreamItem(name, item)
        elif kind == 1 and length == _PLAIN_CALL:
            _kind, headers, name, target, arguments, ids = members
            has_id = type(name) is str and name != ""
            if type(target) is str and type(arguments) is list and (has_id or name is None) and not headers and not ids:
                return Invocation(target, arguments, name)
        elif kind == 3 and length == _PLAIN_RESULT:
            _kind, headers, name, outcome, result = members
            if type(name) is str and name and outcome == _RESULT and type(outcome) is int and not headers:
                return Completion(name, result, None, True)
        try:
            return read_message(kind, _named(members))
        except WrongMemberError as error:
            raise _wrong(error, members) from None

    # Events, items and results without headers are read inside the loop: a call of `decode` for each message would take
    # longer (tests/bench/pieces.py, "receive").
    def decode_all(self, frames: Sequences[bytes], batch: Batch, /) -> None:
        """See `JsonProtocol.decode_all`."""
        unpackb, check_large = msgpack.unpackb, self._codec.check_large
        add_kind, add_name, add_value = batch.kinds.append, batch.names.append, batch.values.append
        for frame in frames:
            if frame == _PING_FRAME:
                # Recognise a ping by its bytes, without decoding: a flood of pings then costs little.
                add_kind(MESSAGE)
                add_name("")
                add_value(_THE_PING)
                continue
            try:
                if len(frame) > LARGE:
                    check_large(frame)
                members = unpackb(frame, timestamp=3, strict_map_key=False)
            except (ValueError, TypeError, OverflowError):
                members = None
            length = len(members) if members.__class__ is list else 0
            if length == _PLAIN_ITEM:
                kind, headers, name, value = members
                is_plain = kind == ITEM and not headers and name != ""
            elif length == _PLAIN_CALL:
                kind, headers, call, name, value, ids = members
                is_plain = kind == EVENT and call is None and value.__class__ is list and not headers and not ids
            elif length == _PLAIN_RESULT:
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

    def _unpacked(self, frame: bytes) -> Any:
        try:
            if len(frame) > LARGE:
                self._codec.check_large(frame)
            try:
                return msgpack.unpackb(frame, timestamp=3, strict_map_key=False)
            except (ValueError, TypeError, OverflowError):
                return self._codec.unpack_slowly(frame)
        except (ValueError, TypeError) as error:
            raise RemoteProtocolError(f"this is no hub message, it is not MessagePack: {error!s:.200}") from None
        except RecursionError:
            raise RemoteProtocolError("this is no hub message, it is nested too deeply") from None


def _outcome(message: Completion) -> tuple[Any, ...]:
    if message.error is not None:
        return (_ERROR, message.error)
    return (_RESULT, message.result) if message.has_result else (_VOID,)


def _rare(message: HubMessage) -> list[Any]:
    named = rare_members(message)
    return [_EMPTY.get(name) if named[name] is None else named[name] for name in _MEMBERS[named["type"]]]


def _named(members: list[Any]) -> dict[str, Any]:
    """Return the members of a decoded message as a dict, with the names that `read_message` needs."""
    kind = members[0]
    if len(members) < _FEWEST.get(kind, 1):
        raise WrongMemberError("it has too few members")
    if kind == 3:
        return {"headers": members[1], "invocationId": members[2], **_named_outcome(members[3], members[4:])}
    return dict(zip(_MEMBERS.get(kind, ()), members, strict=False))


def _named_outcome(outcome: object, value: list[Any]) -> dict[str, Any]:
    # Refuse a bool: the result kind must be an integer (1 to 3), and `True` equals 1.
    if type(outcome) is int:
        if outcome == _VOID:
            return {}
        if outcome == _RESULT and value:
            return {"result": value[0]}
        if outcome == _ERROR and value and value[0] is not None:
            return {"error": value[0]}
    raise WrongMemberError("its result kind is unknown, or its result is missing")


def _wrong(why: object, members: Any) -> RemoteProtocolError:
    return RemoteProtocolError(f"this is no hub message, {why}: {reprlib.repr(members)}")
