"""The JSON hub protocol, with orjson if it is installed, else with the standard library's json.

Both libraries give the same results, except that orjson decodes integers over 64 bits as floats.
Source: HubProtocol.md of dotnet/aspnetcore, "JSON encoding".
"""

from __future__ import annotations

from collections.abc import Sequence as Sequences
from datetime import datetime
from decimal import Decimal
from types import NoneType
from typing import Any, Final
from uuid import UUID

from ..errors import RemoteProtocolError
from ..messages import Completion, HubMessage, Invocation, Ping, StreamItem
from ..options import TransferFormat
from .batches import EVENT, ITEM, MESSAGE, RESULT, Batch
from .framing import SEPARATOR
from .json_values import loads_exactly, loads_slowly
from .json_writer import JsonWriter
from .members import WrongMemberError, rare_members, read_message

_PING_FRAME: Final = b'{"type":6}'
_THE_PING: Final = Ping()
_PING: Final = _PING_FRAME + SEPARATOR
# The number of members of an event (type, target, arguments), of a stream item (type, invocationId, item) and of a
# result (type, invocationId, result), if the message has no headers or other optional members.
_PLAIN: Final = 3
# Values of these types hold no NaN, so there is no need to look for one (tests/bench/pieces.py, "encode an event").
_FLAT: Final = frozenset({str, int, bool, NoneType, bytes, datetime, UUID, Decimal})


class JsonProtocol(JsonWriter):
    r"""The JSON hub protocol.

    Args:
        naming: how attribute names of classes are written: `"camel"` (as ASP.NET Core does), `"pascal"`, `None` for
            unchanged, or a function.

    Attributes:
        naming: the function that turns an attribute name of a user's class into the name in JSON.

    Example:
        >>> from signalr_sdk.messages import Ping
        >>> JsonProtocol().encode(Ping())
        b'{"type":6}\x1e'
    """

    # Do not declare `name` and `transfer_format` as Final: pyright would take them for class variables, which do not
    # match the properties of HubProtocol.
    name: str = "json"
    transfer_format: TransferFormat = TransferFormat.TEXT

    # Encoding: each message becomes a dict, which the JSON codec encodes in one call; this is the fastest way. In the
    # dict, `invocationId` stands before `item` or `result`, because .NET must know the id to decode the value.

    def encode(self, message: HubMessage, /) -> bytes:
        """Return the message in JSON, followed by the record separator 0x1E.

        Raises:
            LocalProtocolError: a value cannot be encoded.
        """
        if type(message) is StreamItem:
            members: dict[str, Any] = {"type": 2, "invocationId": message.invocation_id, "item": message.item}
            is_flat = type(message.item) in _FLAT
        elif type(message) is Invocation:
            name, arguments = message.invocation_id, message.arguments
            if not message.headers:
                return self.encode_call(message.target, arguments, name, message.stream_ids)
            members, is_flat = _call_members(message.target, arguments, name, message.stream_ids), False
        elif type(message) is Completion:
            members, is_flat = _completion_members(message), type(message.result) in _FLAT
        else:
            return self._encode_rare(message)
        if message.headers:
            members["headers"] = message.headers
        return self._written(members, is_flat) + SEPARATOR

    def encode_call(
        self, target: str, arguments: list[Any], invocation_id: str | None, stream_ids: list[str] | None, /
    ) -> bytes:
        """Encode an invocation without headers from its parts, which saves the `Invocation` object."""
        # Use a loop: with the few arguments of a usual call, `all` or `issuperset` would take longer
        # (tests/bench/pieces.py, "encode an event").
        is_flat = True
        for argument in arguments:
            if type(argument) not in _FLAT:
                is_flat = False
                break
        return self._written(_call_members(target, arguments, invocation_id, stream_ids), is_flat) + SEPARATOR

    def _encode_rare(self, message: HubMessage) -> bytes:
        if isinstance(message, Ping):
            return _PING
        members = {name: value for name, value in rare_members(message).items() if value is not None}
        return self._written(members, False) + SEPARATOR

    # Decoding: each frame is one message in JSON, without the record separator

    # `decode` itself reads events, items and results without optional members: `read_message` would take a tenth
    # longer (tests/bench/pieces.py, "decode").
    def decode(self, frame: bytes, /, *, exact: bool = False) -> HubMessage | None:
        """Return the message in a frame, `None` for an unknown type.

        Args:
            frame: one message, without the separator.
            exact: decode numbers with a fraction as `Decimal`.

        Raises:
            RemoteProtocolError: this is no hub message.
        """
        try:
            members = loads_exactly(frame) if exact else self._loads(frame)
        except (ValueError, RecursionError):
            members = self._load_slowly(frame)
        # The `type` of a message must be an integer. `True` and `1.0` are not allowed, although they equal 1.
        kind = members.get("type") if type(members) is dict else None
        if type(kind) is not int:
            raise _wrong(frame, "it is no object with an integer 'type'")
        if len(members) == _PLAIN:
            name = members.get("invocationId")
            if kind == 1:
                target, arguments = members.get("target"), members.get("arguments")
                if type(target) is str and type(arguments) is list:
                    return Invocation(target, arguments)
            elif kind == 2:
                if type(name) is str and name and "item" in members:
                    return StreamItem(name, members["item"])
            elif kind == 3 and type(name) is str and name and "result" in members:
                return Completion(name, members["result"], None, True)
        try:
            return read_message(kind, members)
        except WrongMemberError as error:
            raise _wrong(frame, error) from None

    # Events, items and results without optional members are read inside the loop: a call of `decode` for each message
    # would make receiving a third slower (tests/bench/pieces.py, "receive").
    def decode_all(self, frames: Sequences[bytes], batch: Batch, /) -> None:
        """Decode each frame (the bytes of one message), and add the message to the batch.

        At a frame that `decode` refuses, raise the error of `decode`.
        """
        loads = self._loads
        add_kind, add_name, add_value = batch.kinds.append, batch.names.append, batch.values.append
        for frame in frames:
            if frame == _PING_FRAME:
                # Recognise a ping by its bytes, without decoding: a flood of pings then costs little.
                add_kind(MESSAGE)
                add_name("")
                add_value(_THE_PING)
                continue
            try:
                members = loads(frame)
                kind = members["type"]
                if kind == ITEM:
                    name, value = members["invocationId"], members["item"]
                    is_plain = name != ""
                elif kind == EVENT:
                    name, value = members["target"], members["arguments"]
                    is_plain = value.__class__ is list
                else:
                    name, value = members["invocationId"], members["result"]
                    is_plain = kind == RESULT and name != ""
            except (KeyError, TypeError, ValueError, RecursionError):
                # The lines above read only events, items and results without optional members: let `decode` read or
                # refuse this frame.
                members, kind, name, value, is_plain = {}, 0, "", None, False
            # The `type` of a message must be an integer. `True` and `1.0` are not allowed, although they equal 1.
            if is_plain and len(members) == _PLAIN and kind.__class__ is int and name.__class__ is str:
                add_kind(kind)
                add_name(name)
                add_value(value)
            else:
                batch.add(self.decode(frame))

    def _load_slowly(self, frame: bytes) -> Any:
        """Decode a frame that orjson refuses but the standard library may accept, for example with a lone surrogate."""
        try:
            return loads_slowly(frame)
        except ValueError as error:
            raise _wrong(frame, f"it is not JSON: {error}") from None
        except RecursionError:
            raise _wrong(frame, "it is nested too deeply") from None


def _call_members(
    target: str, arguments: list[Any], invocation_id: str | None, stream_ids: list[str] | None
) -> dict[str, Any]:
    if invocation_id is None:
        members = {"type": 1, "target": target, "arguments": arguments}
    else:
        members = {"type": 1, "invocationId": invocation_id, "target": target, "arguments": arguments}
    if stream_ids:
        members["streamIds"] = stream_ids
    return members


def _completion_members(message: Completion) -> dict[str, Any]:
    if message.error is not None:
        return {"type": 3, "invocationId": message.invocation_id, "error": message.error}
    if message.has_result:
        return {"type": 3, "invocationId": message.invocation_id, "result": message.result}
    return {"type": 3, "invocationId": message.invocation_id}


def _wrong(frame: bytes, why: object) -> RemoteProtocolError:
    excerpt = frame[:100].decode("utf-8", "replace")
    return RemoteProtocolError(f"this is no hub message, {why}: {excerpt!r}")
