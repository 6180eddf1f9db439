"""The JSON hub protocol, over orjson where it is installed and the standard library's json elsewhere.

Both do the same, but that orjson decodes integers over 64 bits as floats. Source: HubProtocol.md, "JSON encoding".
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

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
from .framing import SEPARATOR
from .json_values import JsonBackend, choose_backend, write_slowly
from .values import Naming, NamingChoice, resolve_naming

# So many names of methods have their part of the message kept ready.
_NAMES = 256
_PING: Final = b'{"type":6}' + SEPARATOR
_END: Final = b"}" + SEPARATOR


class JsonProtocol:
    """The JSON hub protocol.

    Args:
        naming: how attribute names of classes are written: `"camel"` (as ASP.NET Core does), `"pascal"`, `None` for
            unchanged, or a function.

    Example:
        >>> JsonProtocol().encode(Ping())
        b'{"type":6}\\x1e'
    """

    name: Final = "json"
    transfer_format: Final = TransferFormat.TEXT

    def __init__(self, *, naming: NamingChoice = "camel", _backend: JsonBackend | None = None) -> None:
        self._naming = resolve_naming(naming)
        self._backend = choose_backend() if _backend is None else _backend
        self._dumps = self._backend.encoder(self._naming)
        self._loads: Callable[[bytes], Any] = self._backend.loads
        self._targets: dict[str, bytes] = {}

    @property
    def naming(self) -> Naming:
        """How attribute names of classes are written."""
        return self._naming

    # Encoding

    def encode(self, message: HubMessage, /) -> bytes:
        """Return the message and its separator.

        Raises:
            LocalProtocolError: a value cannot be encoded.
        """
        kind = message.__class__
        if kind is StreamItem:
            assert isinstance(message, StreamItem)
            head = b'{"type":2' + self._headers(message.headers) + self._id(message.invocation_id) + b',"item":'
            return head + self._value(message.item, "item") + _END
        if kind is Invocation or kind is StreamInvocation:
            assert isinstance(message, Invocation | StreamInvocation)
            return self._invocation(message)
        if kind is Ping:
            return _PING
        return self._other(message)

    def _invocation(self, message: Invocation | StreamInvocation) -> bytes:
        target = self._targets.get(message.target) or self._target(message.target)
        head = b'{"type":1' if message.__class__ is Invocation else b'{"type":4'
        if message.headers:
            head += self._headers(message.headers)
        if message.invocation_id is not None:
            head += self._id(message.invocation_id)
        tail = b"" if not message.stream_ids else b',"streamIds":' + self._value(message.stream_ids, "streamIds")
        return head + target + self._value(message.arguments, "arguments") + tail + _END

    def _target(self, target: str) -> bytes:
        part = b',"target":' + self._value(target, "target") + b',"arguments":'
        if len(self._targets) < _NAMES:
            self._targets[target] = part
        return part

    def _other(self, message: HubMessage) -> bytes:
        match message:
            case Completion():
                head = b'{"type":3' + self._headers(message.headers) + self._id(message.invocation_id)
                if message.error is not None:
                    return head + b',"error":' + self._value(message.error, "error") + _END
                if message.has_result:
                    return head + b',"result":' + self._value(message.result, "result") + _END
                return head + _END
            case CancelInvocation():
                return b'{"type":5' + self._headers(message.headers) + self._id(message.invocation_id) + _END
            case Close():
                error = b"" if message.error is None else b',"error":' + self._value(message.error, "error")
                return b'{"type":7' + error + (b',"allowReconnect":true' if message.allow_reconnect else b"") + _END
            case Ack() | Sequence():
                return (
                    b'{"type":%d,"sequenceId":%d' % (8 if isinstance(message, Ack) else 9, message.sequence_id) + _END
                )
        raise LocalProtocolError(f"a {type(message).__name__} is no hub message")

    def _headers(self, headers: Headers | None) -> bytes:
        return b',"headers":' + self._value(headers, "headers") if headers else b""

    def _id(self, invocation_id: str) -> bytes:
        # Ours are digits; those of the other side may be anything.
        if invocation_id.isalnum():
            return b',"invocationId":"%b"' % invocation_id.encode()
        return b',"invocationId":' + self._value(invocation_id, "invocationId")

    def _value(self, value: object, path: str) -> bytes:
        try:
            return self._dumps(value)
        except (TypeError, ValueError, RecursionError):
            # Slowly: it writes what the codec cannot, or finds where the fault is.
            return write_slowly(value, path, self._naming)

    # Decoding

    def decode(self, frame: bytes, /, *, exact: bool = False) -> HubMessage | None:
        """Return the message in a frame, `None` for an unknown type.

        Raises:
            RemoteProtocolError: this is no hub message.
        """
        try:
            members = self._backend.loads_exactly(frame) if exact else self._loads(frame)
        except ValueError:
            members = self._decode_slowly(frame, exact=exact)
        # The types are told apart by class first: `True` and `1.0` equal 1.
        kind = members.get("type") if members.__class__ is dict else None
        if kind.__class__ is not int:
            raise _wrong(frame, "it is no object with a numeric 'type'")
        get = members.get
        if kind == 1:
            target, arguments, name = get("target"), get("arguments"), get("invocationId")
            if target.__class__ is str and arguments.__class__ is list and (name is None or name.__class__ is str):
                if len(members) == 3:
                    return Invocation(target, arguments)
                return self._full_invocation(members, frame)
            raise _wrong(frame, "an invocation needs 'target' and 'arguments'")
        if kind == 2:
            name = get("invocationId")
            if name.__class__ is str and "item" in members:
                return StreamItem(name, members["item"], get("headers"))
            raise _wrong(frame, "a stream item needs 'invocationId' and 'item'")
        if kind == 3:
            return _completion(members, frame)
        return self._decode_rare(kind, members, frame)

    def _full_invocation(self, members: dict[str, Any], frame: bytes) -> Invocation:
        name = members.get("invocationId")
        if name == "":
            raise _wrong(frame, "'invocationId' is empty")
        return Invocation(
            members["target"], members["arguments"], name, _stream_ids(members, frame), members.get("headers")
        )

    def _decode_rare(self, kind: int, members: dict[str, Any], frame: bytes) -> HubMessage | None:
        match kind:
            case 4:
                target, arguments = members.get("target"), members.get("arguments")
                if not isinstance(target, str) or not isinstance(arguments, list):
                    raise _wrong(frame, "an invocation needs 'target' and 'arguments'")
                return StreamInvocation(
                    target, arguments, _id_of(members, frame), _stream_ids(members, frame), members.get("headers")
                )
            case 5:
                return CancelInvocation(_id_of(members, frame), members.get("headers"))
            case 6:
                return Ping()
            case 7:
                error = members.get("error")
                if error is not None and not isinstance(error, str):
                    raise _wrong(frame, "'error' is no string")
                return Close(error, members.get("allowReconnect") is True)
            case 8 | 9:
                number = members.get("sequenceId")
                if number.__class__ is not int:
                    raise _wrong(frame, "'sequenceId' is no number")
                return Ack(number) if kind == 8 else Sequence(number)
        return None

    def _decode_slowly(self, frame: bytes, *, exact: bool) -> Any:
        """Decode what the codec refuses, if the standard library accepts it (a lone surrogate, for example)."""
        try:
            return self._backend.loads_slowly(frame, exact=exact)
        except (ValueError, RecursionError) as error:
            raise _wrong(frame, f"it is not JSON: {error}") from None


def _completion(members: dict[str, Any], frame: bytes) -> Completion:
    error, name = members.get("error"), _id_of(members, frame)
    has_result = "result" in members
    if error is not None and (has_result or not isinstance(error, str)):
        raise _wrong(frame, "a completion has a result or an error that is a string")
    return Completion(name, members.get("result"), error, has_result, members.get("headers"))


def _id_of(members: dict[str, Any], frame: bytes) -> str:
    name = members.get("invocationId")
    if not isinstance(name, str) or not name:
        raise _wrong(frame, "it needs an 'invocationId'")
    return name


def _stream_ids(members: dict[str, Any], frame: bytes) -> list[str] | None:
    ids = members.get("streamIds")
    if ids is None:
        return None
    if not isinstance(ids, list) or not all(isinstance(each, str) for each in ids):
        raise _wrong(frame, "'streamIds' is no list of strings")
    return ids


def _wrong(frame: bytes, why: str) -> RemoteProtocolError:
    excerpt = frame[:100].decode("utf-8", "replace")
    return RemoteProtocolError(f"this is no hub message, {why}: {excerpt!r}")
