"""All errors that this package raises on purpose. `SignalRError` is the base of each.

Every text says what happened, where, and what to do about it. URLs have no query, which may hold a token. Errors
hold plain values only: they can be pickled and copied, and carry no request, header or token.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import attrs

if TYPE_CHECKING:
    from .options import ConnectionState, Transport

# An error is equal only to itself, as every exception is. With slots, an error could not derive from a built-in
# exception that has a layout of its own. Classes without attributes of their own need no attrs, which makes the import
# slower with each class.


@attrs.define(slots=False, eq=False, repr=False)
class SignalRError(Exception):
    """Base of every error of this package.

    Attributes:
        message: what happened, and what to do about it.
    """

    message: str

    def __str__(self) -> str:
        return self.message

    def __reduce__(self) -> tuple[Any, ...]:
        # Exceptions pickle and copy as `type(self)(*self.args)`, which fails for keyword-only attributes.
        return _restored, (type(self), self.args), self.__dict__


def _restored(kind: type[SignalRError], args: tuple[object, ...]) -> SignalRError:
    """Return an error without attributes: `pickle` and `copy` set them next, from its `__dict__`."""
    error = kind.__new__(kind)
    error.args = args
    return error


@attrs.define(slots=False, eq=False, repr=False)
class ConnectionFailedError(SignalRError, ConnectionError):
    """An attempt to connect failed, at the start or while reconnecting.

    Attributes:
        attempts: one error for each transport that was tried or skipped; empty if the attempt failed before.
    """

    attempts: tuple[Exception, ...] = ()

    def __str__(self) -> str:
        if not self.attempts:
            return self.message
        return "\n".join([self.message, *(f"  - {error}" for error in self.attempts)])


@attrs.define(slots=False, eq=False, repr=False)
class NegotiationError(ConnectionFailedError):
    """The negotiate request failed, or its answer cannot be used.

    Attributes:
        url: URL of the request, without its query.
        status: HTTP status of the answer; `None` without an answer.
        retry_after: seconds to wait before the next attempt, if the server named them (`Retry-After`).
    """

    url: str | None = attrs.field(default=None, kw_only=True)
    status: int | None = attrs.field(default=None, kw_only=True)
    retry_after: float | None = attrs.field(default=None, kw_only=True)

    def __str__(self) -> str:
        return self.message + _where(self.url, self.status)


class ClassicServerError(NegotiationError):
    """The server speaks classic ASP.NET SignalR, which is another protocol than ASP.NET Core SignalR."""


@attrs.define(slots=False, eq=False, repr=False)
class TransportError(ConnectionFailedError):
    """A transport could not be started, or was not tried.

    Attributes:
        transport: the transport; `None` if this package does not know it.
        url: URL of the request, without its query.
        status: HTTP status of the answer; `None` without an answer.
        retry_after: seconds to wait before the next attempt, if the server named them (`Retry-After`).
    """

    transport: Transport | None = attrs.field(default=None, kw_only=True)
    url: str | None = attrs.field(default=None, kw_only=True)
    status: int | None = attrs.field(default=None, kw_only=True)
    retry_after: float | None = attrs.field(default=None, kw_only=True)

    def __str__(self) -> str:
        name = f"{self.transport}: " if self.transport is not None else ""
        return name + self.message + _where(self.url, self.status)


@attrs.define(slots=False, eq=False, repr=False)
class HandshakeError(ConnectionFailedError):
    """The transport is open, but the server refused the hub protocol, did not answer, or is no hub.

    Attributes:
        url: URL of the connection, without its query.
        transport: the transport over which the handshake failed.
    """

    url: str | None = attrs.field(default=None, kw_only=True)
    transport: Transport | None = attrs.field(default=None, kw_only=True)

    def __str__(self) -> str:
        where = [str(part) for part in (self.url, self.transport) if part is not None]
        return f"{self.message} ({', '.join(where)})" if where else self.message


@attrs.define(slots=False, eq=False, repr=False)
class ConnectionClosedError(SignalRError, ConnectionError):
    """The connection ended, or it ended while a call was pending.

    A pending call may or may not have run on the server.

    Attributes:
        reason: the error text in the server's Close message; `None` without one.
        allow_reconnect: whether reconnecting makes sense: true after a lost transport, and after a Close message that
            allows it.
    """

    reason: str | None = None
    allow_reconnect: bool = attrs.field(default=False, kw_only=True)


class ServerTimeoutError(ConnectionClosedError, TimeoutError):
    """The server was silent for longer than `Timeouts.server`."""


@attrs.define(slots=False, eq=False, repr=False)
class NotConnectedError(SignalRError):
    """A call was made while there was no connection.

    Attributes:
        state: state of the connection at that time.
    """

    state: ConnectionState | None = None


class StateError(SignalRError, RuntimeError):
    """The state of the object does not allow this operation, for example `start()` after it was started."""


@attrs.define(slots=False, eq=False, repr=False)
class HubError(SignalRError):
    """The hub method failed. `str()` is the server's own text.

    Attributes:
        method: the hub method that was called.
    """

    method: str = ""


class InvocationTimeoutError(SignalRError, TimeoutError):
    """The call did not end within its `timeout`. The server was asked to cancel it, which older servers ignore."""


@attrs.define(slots=False, eq=False, repr=False)
class ResultTypeError(SignalRError, TypeError):
    """A value from the server does not fit the wanted `result_type` or `item_type`.

    Attributes:
        value: the value as it was decoded.
        type: the wanted type.
    """

    value: object = None
    type: object = attrs.field(default=None, kw_only=True)


@attrs.define(slots=False, eq=False, repr=False)
class StreamOverflowError(SignalRError):
    """A stream was cancelled, since its consumer was too slow: the waiting items went over `Limits.buffered_bytes`.

    Attributes:
        buffered: number of waiting items. All of them are delivered before this error is raised.
    """

    buffered: int = 0


@attrs.define(slots=False, eq=False, repr=False)
class SlowConsumerError(SignalRError):
    """Events were dropped, the oldest first, because their handlers were too slow. Given to `on_error` handlers.

    Attributes:
        dropped: number of dropped events.
    """

    dropped: int = 0


@attrs.define(slots=False, eq=False, repr=False)
class AuthenticationRefreshError(SignalRError):
    """The token of a live connection could not be refreshed. The connection stays.

    Attributes:
        status: HTTP status of the answer; `None` without an answer.
    """

    status: int | None = None


@attrs.define(slots=False, eq=False, repr=False)
class AzureSignalRError(SignalRError):
    """A request to Azure SignalR Service failed: it was refused, not answered, or answered by another server.

    Attributes:
        status: HTTP status of the answer; `None` without an answer (the network's error is then the `__cause__`).
        code: the service's name for the error, for example `Error.Connection.NotExisted`; `None` without one.
        url: URL of the request, without its query.
        retry_after: seconds to wait before the next request, if the service named them (`Retry-After`).
        target: the user, group or connection that the request was for, if it was one of many.
    """

    status: int | None = None
    code: str | None = attrs.field(default=None, kw_only=True)
    url: str | None = attrs.field(default=None, kw_only=True)
    retry_after: float | None = attrs.field(default=None, kw_only=True)
    target: str | None = attrs.field(default=None, kw_only=True)

    def __str__(self) -> str:
        return self.message + _where(self.url, self.status)


class ProtocolError(SignalRError):
    """A message is against the SignalR protocol."""


class LocalProtocolError(ProtocolError, ValueError):
    """An argument or item cannot be sent. Nothing was sent, and the connection stays."""


class RemoteProtocolError(ProtocolError):
    """The server sent something that is not SignalR, or is over a limit."""


# URLs of redirects are texts of servers, of any length.
_LONGEST_URL = 300


def _where(url: str | None, status: int | None) -> str:
    parts = [url if len(url) <= _LONGEST_URL else f"{url[:_LONGEST_URL]}…"] if url else []
    if status is not None:
        parts.append(f"status {status}")
    return f" ({', '.join(parts)})" if parts else ""


__all__ = [
    "AuthenticationRefreshError",
    "AzureSignalRError",
    "ClassicServerError",
    "ConnectionClosedError",
    "ConnectionFailedError",
    "HandshakeError",
    "HubError",
    "InvocationTimeoutError",
    "LocalProtocolError",
    "NegotiationError",
    "NotConnectedError",
    "ProtocolError",
    "RemoteProtocolError",
    "ResultTypeError",
    "ServerTimeoutError",
    "SignalRError",
    "SlowConsumerError",
    "StateError",
    "StreamOverflowError",
    "TransportError",
]
