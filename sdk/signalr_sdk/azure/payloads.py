"""What a REST request sends to clients: an event with its arguments, right for clients of either hub protocol.

A JSON body is enough while the arguments are plain: the service encodes them again for MessagePack clients. Bytes,
times and the like would reach those as the text that JSON has for them, so then both encodings go along, which is how
the .NET SDK sends with serializers of its own (BinaryPayloadMessageContent of Azure/azure-signalr).
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
    """An event on its way: encoded once, however many it goes to.

    Attributes:
        json: the JSON body.
        both: the body with both encodings, if the arguments are not plain.
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
        # A hub message in JSON but for its type and separator is the body that the service wants.
        body = b"{" + framed.removeprefix(_PREFIX).removesuffix(SEPARATOR)
        return cls(body, None if _is_plain(message.arguments) else _map(framed, _messagepack.encode(message)))


def _is_plain(value: object) -> bool:
    """Return whether JSON says all there is to say. The value was encoded before, so it is not endless."""
    if type(value) in _SCALARS:
        return True
    if isinstance(value, list | tuple):
        return all(map(_is_plain, value))
    return isinstance(value, dict) and all(type(key) is str for key in value) and all(map(_is_plain, value.values()))


def _map(json: bytes, messagepack: bytes) -> bytes:
    """Return a MessagePack map of two binaries, by the hub protocols' names."""
    pairs = ((b"\xa4json", json), (b"\xabmessagepack", messagepack))
    return b"\x82" + b"".join(name + b"\xc6" + len(data).to_bytes(4, "big") + data for name, data in pairs)
