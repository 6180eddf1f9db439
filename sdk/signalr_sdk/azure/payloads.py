"""The body of a REST request that sends an event with its arguments to clients of both hub protocols.

If the arguments have only types that JSON has, the body is JSON, and the service encodes the event again for
MessagePack clients. Arguments of other types, for example bytes and times, would reach MessagePack clients as texts. So
an event with such arguments is in the body twice: as JSON and as MessagePack. The .NET SDK does the same with custom
serializers (BinaryPayloadMessageContent of Azure/azure-signalr).
"""

from __future__ import annotations

from typing import Any, Final

import attrs

from ..messages import Invocation
from ..protocols import JsonProtocol, MessagePackProtocol
from ..protocols.framing import SEPARATOR

JSON: Final = "application/json; charset=utf-8"
BOTH: Final = "application/octet-stream"

_PREFIX: Final = b'{"type":1,'
_SCALARS: Final = frozenset({type(None), bool, int, float, str})
_json, _messagepack = JsonProtocol(), MessagePackProtocol()


@attrs.frozen
class Payload:
    """An event with its arguments, encoded as the body of one or many REST requests.

    Attributes:
        json: the body with the event in JSON.
        both: the body with the event in JSON and in MessagePack; `None` if the arguments have only types that JSON has.
    """

    json: bytes = attrs.field(repr=False)
    both: bytes | None = attrs.field(default=None, repr=False)

    @classmethod
    def make(cls, event: str, args: tuple[Any, ...]) -> Payload:
        """Encode an event for JSON clients and, if necessary, for MessagePack clients.

        Raises:
            LocalProtocolError: an argument cannot be encoded.
        """
        if not isinstance(event, str):
            raise TypeError(f"the name of an event is a str, not {type(event).__name__}")
        if not event:
            raise ValueError("the name of the event is empty")
        message = Invocation(event, list(args))
        framed = _json.encode(message)
        # The JSON body is the invocation of the hub protocol without its message type and record separator.
        body = b"{" + framed.removeprefix(_PREFIX).removesuffix(SEPARATOR)
        return cls(body, None if _is_plain(message.arguments) else _map(framed, _messagepack.encode(message)))


def _is_plain(value: object) -> bool:
    """Return whether an argument of an event has only types that JSON has: bytes, for example, would become a text.

    The argument must have been encoded before: an argument that contains itself would make the recursion endless.
    """
    if type(value) in _SCALARS:
        return True
    if isinstance(value, list | tuple):
        return all(map(_is_plain, value))
    return isinstance(value, dict) and all(type(key) is str for key in value) and all(map(_is_plain, value.values()))


def _map(json: bytes, messagepack: bytes) -> bytes:
    """Return a MessagePack map from the names of the two hub protocols to the event in the encoding of each."""
    pairs = ((b"\xa4json", json), (b"\xabmessagepack", messagepack))
    return b"\x82" + b"".join(name + b"\xc6" + len(data).to_bytes(4, "big") + data for name, data in pairs)
