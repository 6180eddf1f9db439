"""The body of a REST request that sends to clients: an event with its arguments, for clients of both hub protocols.

If the arguments have only types that JSON has, the body is JSON: the service encodes the event again for MessagePack
clients. Other types, bytes and times for example, would reach MessagePack clients as texts. So the body then has the
event in both encodings. The .NET SDK does the same with custom serializers (BinaryPayloadMessageContent of
Azure/azure-signalr).
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
    """An encoded event. The same payload serves one request or many requests.

    Attributes:
        json: the JSON body.
        both: the body with both encodings; `None` if JSON is enough.
    """

    json: bytes = attrs.field(repr=False)
    both: bytes | None = attrs.field(default=None, repr=False)

    @classmethod
    def make(cls, event: str, args: tuple[Any, ...]) -> Payload:
        """Encode an event.

        Raises:
            LocalProtocolError: an argument cannot be encoded.
        """
        if not isinstance(event, str):
            raise TypeError(f"the name of an event is a str, not {type(event).__name__}")
        if not event:
            raise ValueError("the name of the event is empty")
        message = Invocation(event, list(args))
        framed = _json.encode(message)
        # The body of the request is the hub message without its type and separator.
        body = b"{" + framed.removeprefix(_PREFIX).removesuffix(SEPARATOR)
        return cls(body, None if _is_plain(message.arguments) else _map(framed, _messagepack.encode(message)))


def _is_plain(value: object) -> bool:
    """Return whether JSON keeps the types of a value. The value was encoded before, so it does not contain itself."""
    if type(value) in _SCALARS:
        return True
    if isinstance(value, list | tuple):
        return all(map(_is_plain, value))
    return isinstance(value, dict) and all(type(key) is str for key in value) and all(map(_is_plain, value.values()))


def _map(json: bytes, messagepack: bytes) -> bytes:
    """Return a MessagePack map of two binaries, with the names of the hub protocols as keys."""
    pairs = ((b"\xa4json", json), (b"\xabmessagepack", messagepack))
    return b"\x82" + b"".join(name + b"\xc6" + len(data).to_bytes(4, "big") + data for name, data in pairs)
