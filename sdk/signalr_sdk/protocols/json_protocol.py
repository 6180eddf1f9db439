"""The JSON hub protocol, over orjson where it is installed and the standard library's json elsewhere.

Both do the same, but that orjson decodes integers over 64 bits as floats. Source: HubProtocol.md, "JSON encoding".
"""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal
from types import NoneType
from typing import TYPE_CHECKING, Any, Final
from uuid import UUID

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
from .framing import SEPARATOR
from .json_values import JsonBackend, choose_backend, holds_nonfinite, write_slowly
from .values import ENCODING_ERRORS, Naming, NamingChoice, resolve_naming

if TYPE_CHECKING:
    from collections.abc import Sequence as Sequences

    from .batches import Batch

_PING: Final = b'{"type":6}' + SEPARATOR
# A plain event has the members type, target and arguments; a plain stream item type, invocationId and item.
_PLAIN: Final = 3
# Values of these types hold no NaN.
_FLAT: Final = frozenset({str, int, bool, NoneType, bytes, datetime, UUID, Decimal})


class JsonProtocol:
    r"""The JSON hub protocol.

    Args:
        naming: how attribute names of classes are written: `"camel"` (as ASP.NET Core does), `"pascal"`, `None` for
            unchanged, or a function.

    Example:
        >>> from signalr_sdk.messages import Ping
        >>> JsonProtocol().encode(Ping())
        b'{"type":6}\x1e'
    """

    # Not Final: pyright takes those for class variables, which do not match the properties of HubProtocol.
    name: str = "json"
    transfer_format: TransferFormat = TransferFormat.TEXT

    def __init__(self, *, naming: NamingChoice = "camel", _backend: JsonBackend | None = None) -> None:
        self._naming = resolve_naming(naming)
        self._backend = choose_backend() if _backend is None else _backend
        self._dumps, self._loads = self._backend.dumps, self._backend.loads
        self._hides_nonfinite = self._backend.hides_nonfinite
        self._default, self._options = self._backend.default(self._naming), self._backend.options

    @property
    def naming(self) -> Naming:
        """How attribute names of classes are written."""
        return self._naming

    # Encoding. One call of the codec for a whole message is the cheapest by far, so each message becomes a dict first.
    # The id stands before the value, since .NET knows only with it how to read the value.

    def encode(self, message: HubMessage, /) -> bytes:
        """Return the message and its separator.

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
        return self._written(members, is_flat)

    def encode_call(
        self,
        target: str,
        arguments: list[Any],
        invocation_id: str | None = None,
        stream_ids: list[str] | None = None,
        /,
    ) -> bytes:
        """Return a plain call with its separator: as `encode`, without an `Invocation`."""
        is_flat = True
        for argument in arguments:
            if type(argument) not in _FLAT:
                is_flat = False
                break
        return self._written(_call_members(target, arguments, invocation_id, stream_ids), is_flat)

    def _written(self, members: dict[str, Any], is_flat: bool) -> bytes:
        """Return the members as JSON.

        Args:
            members: of one message.
            is_flat: whether no value of the user's among them can hold a NaN.
        """
        try:
            data = self._dumps(members, self._default, self._options)
        except ENCODING_ERRORS:
            # Slowly: it writes what the codec cannot, or finds where the fault is.
            return write_slowly(members, self._naming) + SEPARATOR
        # Behind a null may be a NaN. (From its end `data` is searched in half the time.)
        if (
            not is_flat
            and self._hides_nonfinite
            and data.rfind(b"null") >= 0
            and holds_nonfinite(members, self._naming)
        ):
            return write_slowly(members, self._naming) + SEPARATOR
        return data + SEPARATOR

    def _encode_rare(self, message: HubMessage) -> bytes:
        if isinstance(message, Ping):
            return _PING
        members = {name: value for name, value in _rare_members(message).items() if value is not None}
        return self._written(members, False)

    # Decoding

    # Complex, since a call more for a message of a frequent kind costs a tenth (tests/bench/pieces.py, "decode").
    def decode(self, frame: bytes, /, *, exact: bool = False) -> HubMessage | None:  # noqa: C901 - as said
        """Return the message in a frame, `None` for an unknown type.

        Raises:
            RemoteProtocolError: this is no hub message.
        """
        try:
            members = self._backend.loads_exactly(frame) if exact else self._loads(frame)
        except (ValueError, RecursionError):
            members = self._load_slowly(frame)
        # The class is looked at first: `True` and `1.0` equal 1.
        kind = members.get("type") if type(members) is dict else None
        if type(kind) is not int:
            raise _wrong(frame, "it is no object with an integer 'type'")
        if kind == 1:
            target, arguments = members.get("target"), members.get("arguments")
            if type(target) is not str or type(arguments) is not list:
                raise _wrong(frame, "an invocation needs 'target' and 'arguments'")
            if len(members) == _PLAIN:
                return Invocation(target, arguments)
            name = None if members.get("invocationId") is None else _needed_id(members, frame)
            return Invocation(target, arguments, name, _stream_ids(members, frame), _headers(members, frame))
        if kind == 2:
            name = members.get("invocationId")
            if type(name) is not str or not name or "item" not in members:
                raise _wrong(frame, "a stream item needs 'invocationId' and 'item'")
            return StreamItem(name, members["item"], None if len(members) == _PLAIN else _headers(members, frame))
        if kind == 3:
            name, error, has_result = members.get("invocationId"), members.get("error"), "result" in members
            if type(name) is not str or not name:
                raise _wrong(frame, "a completion needs an 'invocationId'")
            if error is not None and (has_result or type(error) is not str):
                raise _wrong(frame, "a completion has a result or an error, and the error is a string")
            headers = _headers(members, frame) if "headers" in members else None
            return Completion(name, members.get("result"), error, has_result, headers)
        return _decode_rare(kind, members, frame)

    # The plain shapes of the frequent kinds are taken apart here: a call for each message costs a third of the whole
    # (tests/bench/pieces.py, "receive").
    def decode_all(self, frames: Sequences[bytes], batch: Batch, /) -> None:
        """Decode each frame as `decode` does, and add what it holds.

        Raises:
            RemoteProtocolError: a frame is no hub message. Those before it were added.
        """
        loads = self._loads
        add_kind, add_name, add_value = batch.kinds.append, batch.names.append, batch.values.append
        for frame in frames:
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
                # Another shape, or none.
                members, kind, name, value, is_plain = {}, 0, "", None, False
            # The class is looked at too: `True` and `1.0` equal 1.
            if is_plain and len(members) == _PLAIN and kind.__class__ is int and name.__class__ is str:
                add_kind(kind)
                add_name(name)
                add_value(value)
            else:
                batch.add(self.decode(frame))

    def _load_slowly(self, frame: bytes) -> Any:
        """Decode what the codec refuses, if the standard library accepts it (a lone surrogate, for example)."""
        try:
            return self._backend.loads_slowly(frame)
        except (ValueError, RecursionError) as error:
            raise _wrong(frame, f"it is not JSON: {error}") from None


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


def _rare_members(message: HubMessage) -> dict[str, Any]:
    match message:
        case StreamInvocation():
            return {
                "type": 4,
                "invocationId": message.invocation_id,
                "target": message.target,
                "arguments": message.arguments,
                "streamIds": message.stream_ids or None,
                "headers": message.headers or None,
            }
        case CancelInvocation():
            return {"type": 5, "invocationId": message.invocation_id, "headers": message.headers or None}
        case Close():
            return {"type": 7, "error": message.error, "allowReconnect": message.allow_reconnect or None}
        case Ack() | Sequence():
            return {"type": 8 if isinstance(message, Ack) else 9, "sequenceId": message.sequence_id}
        case _:
            raise LocalProtocolError(f"{message!r:.100} is no hub message")


def _decode_rare(kind: int, members: dict[str, Any], frame: bytes) -> HubMessage | None:
    match kind:
        case 4:
            target, arguments = members.get("target"), members.get("arguments")
            if not isinstance(target, str) or not isinstance(arguments, list):
                raise _wrong(frame, "a stream invocation needs 'target' and 'arguments'")
            name = _needed_id(members, frame)
            return StreamInvocation(target, arguments, name, _stream_ids(members, frame), _headers(members, frame))
        case 5:
            return CancelInvocation(_needed_id(members, frame), _headers(members, frame))
        case 6:
            return Ping()
        case 7:
            error = members.get("error")
            if error is not None and not isinstance(error, str):
                raise _wrong(frame, "'error' is no string")
            return Close(error, members.get("allowReconnect") is True)
        case 8 | 9:
            number = _sequence_id(members, frame)
            return Ack(number) if kind == 8 else Sequence(number)
        case _:
            return None


def _needed_id(members: dict[str, Any], frame: bytes) -> str:
    name = members.get("invocationId")
    if not isinstance(name, str) or not name:
        raise _wrong(frame, "'invocationId' is missing, empty or no string")
    return name


def _sequence_id(members: dict[str, Any], frame: bytes) -> int:
    number = members.get("sequenceId")
    if isinstance(number, bool) or not isinstance(number, int):
        raise _wrong(frame, "'sequenceId' is no integer")
    return number


def _stream_ids(members: dict[str, Any], frame: bytes) -> list[str] | None:
    ids = members.get("streamIds")
    if ids is None:
        return None
    if not isinstance(ids, list) or not all(isinstance(each, str) for each in ids):
        raise _wrong(frame, "'streamIds' is no list of strings")
    return ids or None


def _headers(members: dict[str, Any], frame: bytes) -> Headers | None:
    headers = members.get("headers")
    if headers is None:
        return None
    if not isinstance(headers, dict) or not all(isinstance(value, str) for value in headers.values()):
        raise _wrong(frame, "'headers' is no object with strings")
    return headers or None


def _wrong(frame: bytes, why: str) -> RemoteProtocolError:
    excerpt = frame[:100].decode("utf-8", "replace")
    return RemoteProtocolError(f"this is no hub message, {why}: {excerpt!r}")
