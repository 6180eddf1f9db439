"""The envelope in which a classic server sends messages to a client: the messages, the cursor, the groups token.

Source: SignalR/SignalR, `PersistentResponse.cs` (server) and `TransportHelper.cs` (client).
"""

from __future__ import annotations

import math
import re
from typing import Any, Final, TypeVar

import attrs

from ..errors import RemoteProtocolError

T = TypeVar("T")

KEEP_ALIVE: Final = b"{}"
"""The payload that a server sends if it has nothing else to send, over WebSockets and Server-Sent Events."""

_MILLISECONDS = 1000.0
# The cursor and the groups token in the JSON of an envelope. They may be cut off.
_PLACE = re.compile(rb'("[CG]"\s{0,20}:\s{0,20}")[^"]*')
# An excerpt is made from the first so many bytes of a message, and has so many characters.
_LOOKED_AT, _SHOWN = 2000, 100


@attrs.frozen
class Envelope:
    """What a server sends at once. Hub messages and the values of raw connections stand in `messages`.

    Attributes:
        cursor: the position after these messages, which a client presents when it polls or reconnects; `None` if the
            envelope has no messages member.
        messages: hub messages or values, oldest first; `None` if the envelope has no messages member.
        is_init: whether this is the first envelope of a connection: the server has subscribed it.
        asks_reconnect: whether the server shuts down and wants the client to reconnect.
        groups_token: the groups of the connection, in a form that only servers can read; `None` if unchanged.
        delay: seconds to wait before the next poll; `None` if the server says nothing about it.
        error: the error with which the server ends the connection for good; `None` for no error.
    """

    cursor: str | None = None
    messages: list[Any] | None = None
    is_init: bool = attrs.field(default=False, kw_only=True)
    asks_reconnect: bool = attrs.field(default=False, kw_only=True)
    groups_token: str | None = attrs.field(default=None, kw_only=True, repr=False)
    delay: float | None = attrs.field(default=None, kw_only=True)
    error: str | None = attrs.field(default=None, kw_only=True)


def read_envelope(members: dict[str, Any]) -> Envelope:
    """Read an envelope from its decoded JSON. Unknown members are ignored.

    Raises:
        RemoteProtocolError: a member has a wrong type.
    """
    delay = member(members, "L", int, float)
    if delay is not None and not (math.isfinite(delay) and delay >= 0):
        raise wrong_member("L", delay)
    return Envelope(
        member(members, "C", str),
        member(members, "M", list),
        is_init=bool(members.get("S")),
        asks_reconnect=bool(members.get("T")),
        groups_token=member(members, "G", str),
        delay=None if delay is None else delay / _MILLISECONDS,
        error=member(members, "E", str),
    )


def envelope_members(envelope: Envelope) -> dict[str, Any]:
    """Return the JSON members of an envelope, in the order in which Microsoft's server writes them."""
    delay = envelope.delay
    members = {
        "C": envelope.cursor,
        "S": 1 if envelope.is_init else None,
        "T": 1 if envelope.asks_reconnect else None,
        "G": envelope.groups_token,
        "L": None if delay is None else round(delay * _MILLISECONDS),
        "E": envelope.error,
        "M": envelope.messages,
    }
    return {name: value for name, value in members.items() if value is not None}


def member(members: dict[str, Any], name: str, *types: type[T]) -> T | None:
    """Return the member `name` of a message; `None` if it is missing or null.

    Raises:
        RemoteProtocolError: the member has none of the types.
    """
    value = members.get(name)
    if value is None or (isinstance(value, types) and not isinstance(value, bool)):
        return value
    raise wrong_member(name, value)


def wrong_member(name: str, value: object) -> RemoteProtocolError:
    """Return the error for a member with a wrong type or value."""
    return RemoteProtocolError(f"a message of the server has a wrong member {name!r}: {shown(value)}")


def shown(value: object) -> str:
    """Return a decoded value for the text of an error. `repr` cannot write a value that is nested very deeply."""
    if isinstance(value, dict | list):
        return f"{'an object' if isinstance(value, dict) else 'an array'} with {len(value)} members"
    return f"{value[:_SHOWN] if isinstance(value, str) else value!r:.{_SHOWN}}"


def excerpt(payload: bytes) -> bytes:
    """Return the beginning of a server's message for a log or an error, without the cursor and the groups token."""
    return _PLACE.sub(rb"\1***", payload[:_LOOKED_AT])[:_SHOWN]
