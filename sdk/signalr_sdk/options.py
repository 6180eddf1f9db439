"""Option classes and enums for the arguments of a connection.

Option objects cannot be changed; `attrs.evolve` makes a changed copy.
"""

from __future__ import annotations

import enum
import math
from collections.abc import Callable
from datetime import datetime  # noqa: TC003  # needed at run time: converters read the annotations of DateTimeOffset
from typing import TYPE_CHECKING, Any, Final, TypeGuard

import attrs

if TYPE_CHECKING:
    from attrs import Attribute


class Transport(enum.StrEnum):
    """The transports, in the order in which they are tried. The values are the names in the SignalR protocol."""

    WEBSOCKETS = "WebSockets"
    SERVER_SENT_EVENTS = "ServerSentEvents"
    LONG_POLLING = "LongPolling"


class TransferFormat(enum.StrEnum):
    """The transfer formats. The values are the names in the SignalR protocol."""

    TEXT = "Text"
    BINARY = "Binary"


class ConnectionState(enum.StrEnum):
    """The states of a `HubConnection`. During a stateful reconnect, the state is `CONNECTED`."""

    DISCONNECTED = "disconnected"
    CONNECTING = "connecting"
    CONNECTED = "connected"
    RECONNECTING = "reconnecting"
    DISCONNECTING = "disconnecting"


class Unset(enum.Enum):
    """The type of `UNSET`, for annotations of arguments that may be left out."""

    UNSET = "UNSET"

    def __repr__(self) -> str:
        return "UNSET"


UNSET: Final = Unset.UNSET
"""The default value of arguments for which `None` has another meaning. `UNSET` means: the argument was not given."""


def is_count(value: object) -> bool:
    """Return whether a value is an integer of at least 1."""
    return isinstance(value, int) and not isinstance(value, bool) and value >= 1


def _is_seconds(value: object) -> TypeGuard[float]:
    return isinstance(value, int | float) and not isinstance(value, bool) and value >= 0


def _without_infinity(value: float | None) -> float | None:
    """Return `None` for infinity, since aiohttp does not accept infinity as a timeout."""
    return None if value == math.inf else value


def _seconds(_instance: object, attribute: Attribute[Any], value: float | None) -> None:
    if value is not None and not (_is_seconds(value) and value > 0):
        raise ValueError(f"{attribute.name} must be a positive number of seconds or None, not {value!r}")


def _seconds_or_zero(_instance: object, attribute: Attribute[Any], value: float | None) -> None:
    if value is not None and not _is_seconds(value):
        raise ValueError(f"{attribute.name} must be a number of seconds from 0 on, or None, not {value!r}")


def _positive(_instance: object, attribute: Attribute[Any], value: int) -> None:
    if not is_count(value):
        raise ValueError(f"{attribute.name} must be a positive integer, not {value!r}")


def _timeout(default: float | None, validator: Callable[..., None] = _seconds) -> Any:
    return attrs.field(default=default, converter=_without_infinity, validator=validator)


def _limit(default: int) -> Any:
    return attrs.field(default=default, validator=_positive)


@attrs.frozen(kw_only=True)
class Timeouts:
    """Time limits, in seconds. `None` or infinity means no limit.

    Attributes:
        connect: limit for TCP, TLS and the WebSocket upgrade together, in each attempt to connect.
        request: limit for one negotiation, including its redirects, the calls of the token provider and the retry after
            a 401. Also the limit for each DELETE, each token refresh, and each other call of the token provider.
        handshake: limit for the hub handshake.
        keep_alive: a ping is sent if nothing else was sent for this time.
        server: the connection counts as lost if the server sent nothing for this time. Not used with long polling.
        close: `stop()` cuts the connection after this time.
        pause: the longest time for which the connection stops reading because handlers or iterators are slow.
        setup: limit for all `on_setup` handlers of one connection together.
        idle: the connection counts as lost if the hub sent no event, stream item, completion or request for a client
            result for this time. Pings do not count. For hubs that send messages all the time.
        invoke: the default `timeout` of `invoke`.
        ready: how long a call waits for a connection; with 0, a call without a connection raises at once.
    """

    connect: float | None = _timeout(15.0)
    request: float | None = _timeout(30.0)
    handshake: float | None = _timeout(15.0)
    keep_alive: float | None = _timeout(15.0)
    server: float | None = _timeout(30.0)
    close: float | None = _timeout(5.0)
    pause: float | None = _timeout(5.0)
    setup: float | None = _timeout(30.0)
    idle: float | None = _timeout(None)
    invoke: float | None = _timeout(None)
    ready: float | None = _timeout(15.0, _seconds_or_zero)


@attrs.frozen(kw_only=True)
class Limits:
    """Limits of sizes and numbers. Above some limits, the connection stops reading for a while, which slows the server.

    Attributes:
        message_bytes: the largest hub message that is accepted from the server, in bytes.
        messages: above this number of events that wait for handlers, the connection stops reading.
        stream_items: above this number of items that wait in one stream, the connection stops reading.
        buffered_bytes: the most bytes of received events and items that may wait; above half of this number, the
            connection stops reading.
        outgoing_bytes: above this number of bytes that wait to be sent, `send` waits.
        stateful_buffer: above this number of bytes that are kept for a stateful reconnect, `send` waits.
        handlers: the number of events that are handled at the same time. Above 1, events may be handled out of order.
        client_results: the number of client results for which handlers run at the same time.
        redirects: the largest number of redirects in one negotiation.
    """

    message_bytes: int = _limit(16 * 1024 * 1024)
    messages: int = _limit(1024)
    stream_items: int = _limit(1024)
    buffered_bytes: int = _limit(16 * 1024 * 1024)
    outgoing_bytes: int = _limit(64 * 1024)
    stateful_buffer: int = _limit(100_000)
    handlers: int = _limit(1)
    client_results: int = _limit(8)
    redirects: int = _limit(100)


@attrs.frozen(kw_only=True)
class AuthenticationRefresh:
    """When to refresh the access token of a live connection, if the server sends the token's lifetime (since .NET 11).

    Attributes:
        before: a token is refreshed this number of seconds before the token expires. A token with a lifetime of at
            most twice `before` is refreshed after half of its lifetime.
    """

    before: float = attrs.field(default=300.0)

    @before.validator
    def _not_negative(self, _attribute: Attribute[Any], value: object) -> None:
        if not _is_seconds(value):
            raise ValueError(f"before must be a number of seconds from 0 on, not {value!r}")


def _aware(_instance: object, _attribute: Attribute[Any], value: datetime) -> None:
    if getattr(value, "tzinfo", None) is None:
        raise ValueError(f"DateTimeOffset needs an aware datetime (one with a tzinfo), not {value!r}")


@attrs.frozen
class DateTimeOffset:
    """A date and time for a hub method that takes a .NET `DateTimeOffset`, for the MessagePack protocol.

    In MessagePack, .NET encodes `DateTimeOffset` and `DateTime` differently, so the client must know which type the hub
    method takes. With JSON, a plain `datetime` is enough.

    Example:
        >>> from datetime import datetime, timezone
        >>> DateTimeOffset(datetime(2026, 2, 3, tzinfo=timezone.utc)).value.year
        2026
    """

    value: datetime = attrs.field(validator=_aware)


# Remove the mark by which cattrs recognises an attrs class: cattrs would convert a `DateTimeOffset` to a dict, which
# the protocol cannot send as a `DateTimeOffset`.
del DateTimeOffset.__attrs_attrs__


__all__ = [
    "UNSET",
    "AuthenticationRefresh",
    "ConnectionState",
    "DateTimeOffset",
    "Limits",
    "Timeouts",
    "TransferFormat",
    "Transport",
    "Unset",
]
