"""Options and closed sets: what a user may choose. All frozen; change them with `attrs.evolve`."""

from __future__ import annotations

import enum
from datetime import datetime  # noqa: TC003  # converters resolve the annotations of DateTimeOffset
from typing import TYPE_CHECKING, Any, Final

import attrs

if TYPE_CHECKING:
    from attrs import Attribute


class Transport(enum.StrEnum):
    """How messages travel. The values are the names on the wire; members stand in the order of preference."""

    WEBSOCKETS = "WebSockets"
    SERVER_SENT_EVENTS = "ServerSentEvents"
    LONG_POLLING = "LongPolling"


class TransferFormat(enum.StrEnum):
    """What a transport carries. The values are the names on the wire."""

    TEXT = "Text"
    BINARY = "Binary"


class ConnectionState(enum.StrEnum):
    """The state of a `HubConnection`."""

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
"""Says "not given" where `None` has a meaning of its own."""


def is_count(value: object) -> bool:
    """Return whether it is an integer from 1 on."""
    return isinstance(value, int) and not isinstance(value, bool) and value >= 1


def _seconds(_instance: object, attribute: Attribute[Any], value: float | None) -> None:
    if value is not None and not value > 0:
        raise ValueError(f"{attribute.name} must be a positive number of seconds or None, not {value!r}")


def _positive(_instance: object, attribute: Attribute[Any], value: int) -> None:
    if not is_count(value):
        raise ValueError(f"{attribute.name} must be a positive integer, not {value!r}")


def _timeout(default: float | None) -> float | None:
    field: float | None = attrs.field(default=default, validator=_seconds)
    return field


def _limit(default: int) -> int:
    field: int = attrs.field(default=default, validator=_positive)
    return field


@attrs.frozen(kw_only=True)
class Timeouts:
    """How long things may take, in seconds. `None` switches a timeout off.

    Attributes:
        connect: TCP, TLS and upgrade of one attempt.
        request: negotiate, DELETE and refresh requests.
        handshake: the hub handshake, on every transport.
        keep_alive: a ping goes out when nothing was sent for so long.
        server: silence of the server after which the connection is lost. Not on long polling.
        close: the longest that `stop()` takes.
        pause: the longest pause in reading while consumers are slow.
        invoke: default for `invoke(timeout=)`.
        ready: how long a call waits for a connection that is being made.
    """

    connect: float | None = _timeout(15.0)
    request: float | None = _timeout(30.0)
    handshake: float | None = _timeout(15.0)
    keep_alive: float | None = _timeout(15.0)
    server: float | None = _timeout(30.0)
    close: float | None = _timeout(5.0)
    pause: float | None = _timeout(5.0)
    invoke: float | None = _timeout(None)
    ready: float | None = _timeout(15.0)


@attrs.frozen(kw_only=True)
class Limits:
    """How much may wait, and how large it may be.

    Attributes:
        message_bytes: largest incoming hub message.
        messages: events waiting for their handlers before reading pauses.
        stream_items: items waiting in one stream before reading pauses.
        buffered_bytes: all that waits for consumers, counted as received.
        outgoing_bytes: outgoing buffer before `send` waits.
        stateful_buffer: bytes kept for a stateful reconnect.
        handlers: events handled at the same time; more than 1 gives up their order.
        client_results: questions of the server answered at the same time.
        redirects: negotiate hops.
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
    """When the token of a live connection is refreshed, if the server says how long it lives (since .NET 11).

    Attributes:
        before: seconds before the end of the token's life; a token that lives no more than twice as long is refreshed
            at half of its life.
    """

    before: float = attrs.field(default=300.0)

    @before.validator
    def _not_negative(self, _attribute: Attribute[Any], value: object) -> None:
        if isinstance(value, bool) or not isinstance(value, int | float) or not value >= 0:
            raise ValueError(f"before must be a number of seconds from 0 on, not {value!r}")


def _aware(_instance: object, _attribute: Attribute[Any], value: datetime) -> None:
    if getattr(value, "tzinfo", None) is None:
        raise ValueError(f"DateTimeOffset needs an aware datetime (one with a tzinfo), not {value!r}")


@attrs.frozen
class DateTimeOffset:
    """A moment with its offset, for hub methods that take a .NET `DateTimeOffset`.

    JSON needs no such wrapper. MessagePack on .NET writes a `DateTimeOffset` otherwise than a `DateTime`, so the
    sender must say which one the hub method wants.

    Example:
        >>> from datetime import datetime, timezone
        >>> DateTimeOffset(datetime(2026, 2, 3, tzinfo=timezone.utc)).value.year
        2026
    """

    value: datetime = attrs.field(validator=_aware)
