"""Options and enums for the arguments of a connection. Options are frozen; `attrs.evolve` makes changed copies."""

from __future__ import annotations

import enum
import math
from datetime import datetime  # noqa: TC003  # converters resolve the annotations of DateTimeOffset
from typing import TYPE_CHECKING, Any, Final, TypeAlias, TypeGuard

import attrs

if TYPE_CHECKING:
    from collections.abc import Callable

    from attrs import Attribute

    _Validator: TypeAlias = Callable[[object, Attribute[Any], float | None], None]


class Transport(enum.StrEnum):
    """The transports. The values are the names on the wire, and the order is that of preference."""

    WEBSOCKETS = "WebSockets"
    SERVER_SENT_EVENTS = "ServerSentEvents"
    LONG_POLLING = "LongPolling"


class TransferFormat(enum.StrEnum):
    """The formats of transports. The values are the names on the wire."""

    TEXT = "Text"
    BINARY = "Binary"


class ConnectionState(enum.StrEnum):
    """The states of a `HubConnection`. A stateful reconnect counts as connected."""

    DISCONNECTED = "disconnected"
    CONNECTING = "connecting"
    CONNECTED = "connected"
    RECONNECTING = "reconnecting"
    DISCONNECTING = "disconnecting"


class Unset(enum.Enum):
    """The type of `UNSET`."""

    UNSET = "UNSET"

    def __repr__(self) -> str:
        return "UNSET"


UNSET: Final = Unset.UNSET
"""The default of arguments for which `None` has a meaning: the argument is not given."""


def is_count(value: object) -> bool:
    """Return whether a value is an integer of at least 1."""
    return isinstance(value, int) and not isinstance(value, bool) and value >= 1


def _is_seconds(value: object) -> TypeGuard[float]:
    return isinstance(value, int | float) and not isinstance(value, bool) and value >= 0


def _without_infinity(value: float | None) -> float | None:
    """Return no limit for an infinite one, which aiohttp cannot take."""
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


def _timeout(default: float | None, validator: _Validator = _seconds) -> float | None:
    field: float | None = attrs.field(default=default, converter=_without_infinity, validator=validator)
    return field


def _limit(default: int) -> int:
    field: int = attrs.field(default=default, validator=_positive)
    return field


@attrs.frozen(kw_only=True)
class Timeouts:
    """Time limits, in seconds. `None` or infinity switches a limit off.

    Attributes:
        connect: for TCP, TLS and the WebSocket upgrade of one attempt.
        request: one negotiation with all its redirects, the answers of the token provider and the retry after a 401.
            Also each DELETE and each refresh, and each answer of a token provider that is asked elsewhere.
        handshake: for the hub handshake, on every transport.
        keep_alive: a ping is sent when nothing else was sent for so long.
        server: the connection is lost when the server was silent for so long. Not used with long polling.
        close: the longest time that `stop()` takes.
        pause: the longest pause in reading while consumers are slow.
        invoke: default for `invoke(timeout=)`.
        ready: for a call that waits until a connection is up; 0: the call does not wait.
    """

    connect: float | None = _timeout(15.0)
    request: float | None = _timeout(30.0)
    handshake: float | None = _timeout(15.0)
    keep_alive: float | None = _timeout(15.0)
    server: float | None = _timeout(30.0)
    close: float | None = _timeout(5.0)
    pause: float | None = _timeout(5.0)
    invoke: float | None = _timeout(None)
    ready: float | None = _timeout(15.0, _seconds_or_zero)


@attrs.frozen(kw_only=True)
class Limits:
    """Limits of sizes and numbers.

    Attributes:
        message_bytes: largest incoming hub message, in bytes.
        messages: number of events that wait for their handlers before reading pauses.
        stream_items: number of items that wait in one stream before reading pauses.
        buffered_bytes: bytes of all events and items that wait for consumers, counted as received.
        outgoing_bytes: bytes that wait to be sent before `send` waits.
        stateful_buffer: bytes that are kept for a stateful reconnect before senders wait.
        handlers: number of events that are handled at the same time; with more than 1, their order is lost.
        client_results: number of client results that are worked out at the same time.
        redirects: number of redirects in one negotiation.
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
    """When the token of a live connection is refreshed, if the server says how long the token lives (since .NET 11).

    Attributes:
        before: seconds before the end of the token's life. A token that lives no more than twice as long is refreshed
            at half of its life.
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
    """A moment with its offset, for hub methods that take a .NET `DateTimeOffset`.

    JSON needs no such wrapper. In MessagePack, .NET writes `DateTimeOffset` and `DateTime` in different ways, so the
    sender must say which of them the hub method takes.

    Example:
        >>> from datetime import datetime, timezone
        >>> DateTimeOffset(datetime(2026, 2, 3, tzinfo=timezone.utc)).value.year
        2026
    """

    value: datetime = attrs.field(validator=_aware)


# For converters it is one value, as a datetime is: cattrs would take an attrs class apart.
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
