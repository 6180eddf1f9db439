"""The MessagePack hub protocol. Source: HubProtocol.md of dotnet/aspnetcore, "MessagePack encoding"."""

from __future__ import annotations

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
from .framing import frame_binary
from .messagepack_values import MessagePackCodec
from .values import Naming, NamingChoice, resolve_naming

_PING: Final = b"\x02\x91\x06"
_ERROR, _VOID, _RESULT = 1, 2, 3


class MessagePackProtocol:
    """The MessagePack hub protocol.

    Args:
        naming: how attribute names of classes are written: `"pascal"` (as MessagePack on .NET wants them), `"camel"`,
            `None` for unchanged, or a function.

    Example:
        >>> MessagePackProtocol().encode(Ping())
        b'\\x02\\x91\\x06'
    """

    name: Final = "messagepack"
    transfer_format: Final = TransferFormat.BINARY

    def __init__(self, *, naming: NamingChoice = "pascal") -> None:
        self._naming = resolve_naming(naming)
        self._codec = MessagePackCodec(self._naming)

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
        kind = message.__class__
        if kind is StreamItem:
            assert isinstance(message, StreamItem)
            return self._pack([2, message.headers or {}, message.invocation_id, message.item], 3, "item")
        if kind is Invocation or kind is StreamInvocation:
            assert isinstance(message, Invocation | StreamInvocation)
            return self._pack(
                [
                    1 if kind is Invocation else 4,
                    message.headers or {},
                    message.invocation_id,
                    message.target,
                    message.arguments,
                    message.stream_ids or [],
                ],
                4,
                "arguments",
            )
        if kind is Ping:
            return _PING
        return self._other(message)

    def _other(self, message: HubMessage) -> bytes:
        match message:
            case Completion():
                members: list[Any] = [3, message.headers or {}, message.invocation_id]
                if message.error is not None:
                    return self._pack([*members, _ERROR, message.error], 4, "error")
                if message.has_result:
                    return self._pack([*members, _RESULT, message.result], 4, "result")
                return self._pack([*members, _VOID], 3, "kind")
            case CancelInvocation():
                return self._pack([5, message.headers or {}, message.invocation_id], 2, "invocationId")
            case Close():
                return self._pack([7, message.error, message.allow_reconnect], 1, "error")
            case Ack():
                return self._pack([8, message.sequence_id], 1, "sequenceId")
            case Sequence():
                return self._pack([9, message.sequence_id], 1, "sequenceId")
        raise LocalProtocolError(f"a {type(message).__name__} is no hub message")

    def _pack(self, members: list[Any], index: int, path: str) -> bytes:
        """Encode; `index` and `path` say where the user's value is, for errors."""
        try:
            return frame_binary(self._codec.pack(members))
        except (TypeError, ValueError, OverflowError, RecursionError):
            self._codec.explain(members[index], path)
            # The fault is not in the user's value, so it is in a name or a header.
            raise LocalProtocolError(
                f"a message of type {members[0]} cannot be encoded: {members[:index]!r:.200}"
            ) from None

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
            members = self._codec.unpack(frame)
        except (ValueError, TypeError, OverflowError, RecursionError) as error:
            raise RemoteProtocolError(f"this is no MessagePack: {error!s:.200}") from None
        if members.__class__ is not list or not members or members[0].__class__ is not int:
            raise _wrong("it is no array that begins with a type")
        kind, length = members[0], len(members)
        if kind == 1 and length >= 5:
            headers, name, target, arguments = members[1:5]
            if (
                target.__class__ is str
                and arguments.__class__ is list
                and (name is None or (name.__class__ is str and name))
            ):
                ids = members[5] if length > 5 else None
                return Invocation(
                    target,
                    arguments,
                    name,
                    _stream_ids(ids) if ids else None,
                    _headers(headers) if headers != {} else None,
                )
        elif kind == 2 and length >= 4:
            headers, name = members[1], members[2]
            if name.__class__ is str:
                return StreamItem(name, members[3], _headers(headers) if headers != {} else None)
        elif kind == 3 and length >= 4:
            return _completion(members)
        else:
            return _decode_rare(kind, members)
        raise _wrong(f"its members are wrong: {members!r:.200}")


def _completion(members: list[Any]) -> Completion:
    headers, name, kind = members[1:4]
    if not isinstance(name, str) or not name:
        raise _wrong("a completion needs an invocation id")
    if kind == _VOID:
        return Completion(name, None, None, has_result=False, headers=_headers(headers))
    if len(members) > 4 and kind == _RESULT:
        return Completion(name, members[4], None, has_result=True, headers=_headers(headers))
    if len(members) > 4 and kind == _ERROR and isinstance(members[4], str):
        return Completion(name, None, members[4], has_result=False, headers=_headers(headers))
    raise _wrong(f"a completion of kind {kind!r:.40}, which is none or not whole")


def _decode_rare(kind: int, members: list[Any]) -> HubMessage | None:
    match kind, members[1:]:
        case 4, [headers, str() as name, str() as target, list() as arguments, *rest] if name:
            return StreamInvocation(
                target, arguments, name, _stream_ids(rest[0]) if rest and rest[0] else None, _headers(headers)
            )
        case 5, [headers, str() as name, *_] if name:
            return CancelInvocation(name, _headers(headers))
        case 6, _:
            return Ping()
        case 7, [None | str() as error, *rest]:
            return Close(error, bool(rest) and rest[0] is True)
        case 7, []:
            return Close()
        case ((8 | 9), [int() as number, *_]) if not isinstance(number, bool):
            return Ack(number) if kind == 8 else Sequence(number)
        case ((1 | 2 | 3 | 4 | 5 | 7 | 8 | 9), _):
            raise _wrong(f"its members are wrong: {members!r:.200}")
    return None


def _headers(headers: Any) -> Headers | None:
    if headers is None or headers == {}:
        return None
    if not isinstance(headers, dict) or not all(isinstance(k, str) and isinstance(v, str) for k, v in headers.items()):
        raise _wrong(f"its headers are no map of strings: {headers!r:.100}")
    return headers


def _stream_ids(ids: Any) -> list[str]:
    if not isinstance(ids, list) or not all(isinstance(each, str) for each in ids):
        raise _wrong(f"its stream ids are no strings: {ids!r:.100}")
    return ids


def _wrong(why: str) -> RemoteProtocolError:
    return RemoteProtocolError(f"this is no hub message, {why}")
