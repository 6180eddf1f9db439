"""All error classes of this package. `SignalRError` is the base class of all errors.

Every error text says what happened, where, and what to do. URLs in errors have no query, since a query may hold a
token. Errors hold only simple values, and no request, header or token. So errors can be pickled, copied and logged.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import attrs

if TYPE_CHECKING:
    from .delivery import Position
    from .options import ConnectionState, Transport

# `eq=False`: an error is equal only to itself, as every Python exception. `slots=False`: a class with slots could not
# derive from built-in exceptions such as ConnectionError. Error classes without new attributes do not use attrs, since
# attrs makes the import slower with each class.


@attrs.define(slots=False, eq=False, repr=False)
class SignalRError(Exception):
    """The base class of all errors of this package.

    Attributes:
        message: what happened, and what to do.
    """

    message: str

    def __str__(self) -> str:
        return self.message

    def __reduce__(self) -> tuple[Any, ...]:
        # By default, pickle and copy call `type(self)(*self.args)`, which fails for keyword-only attributes.
        return _restored, (type(self), self.args), self.__dict__


def _restored(kind: type[SignalRError], args: tuple[object, ...]) -> SignalRError:
    """Return an error without attributes. `pickle` and `copy` then set the attributes from the saved `__dict__`."""
    error = kind.__new__(kind)
    error.args = args
    return error


@attrs.define(slots=False, eq=False, repr=False)
class ConnectionFailedError(SignalRError, ConnectionError):
    """An attempt to connect failed, in `start()` or while reconnecting.

    Attributes:
        attempts: one error for each transport that was tried or skipped; empty if no transport was reached.
    """

    attempts: tuple[Exception, ...] = ()

    def __str__(self) -> str:
        if not self.attempts:
            return self.message
        return "\n".join([self.message, *(f"  - {error}" for error in self.attempts)])


@attrs.define(slots=False, eq=False, repr=False)
class NegotiationError(ConnectionFailedError):
    """The negotiate request failed, or the server's answer cannot be used.

    Attributes:
        url: URL of the request, without its query.
        status: HTTP status of the answer; `None` if there was no answer.
        retry_after: seconds to wait before the next attempt, from the header `Retry-After`; `None` if there was none.
    """

    url: str | None = attrs.field(default=None, kw_only=True)
    status: int | None = attrs.field(default=None, kw_only=True)
    retry_after: float | None = attrs.field(default=None, kw_only=True)

    def __str__(self) -> str:
        return self.message + _where(self.url, self.status)


class ClassicServerError(NegotiationError):
    """The server speaks classic ASP.NET SignalR, another protocol: use `signalr_sdk.classic.HubConnection`."""


class CoreServerError(NegotiationError):
    """The server speaks ASP.NET Core SignalR, but the client the classic one: use `signalr_sdk.HubConnection`."""


@attrs.define(slots=False, eq=False, repr=False)
class TransportError(ConnectionFailedError):
    """A transport could not be started, or was skipped.

    Attributes:
        transport: the transport; `None` if this package does not know the transport.
        url: URL of the request, without its query.
        status: HTTP status of the answer; `None` if there was no answer.
        retry_after: seconds to wait before the next attempt, from the header `Retry-After`; `None` if there was none.
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
    """The handshake failed: the server refused the hub protocol, did not answer, or is not a SignalR hub.

    Attributes:
        url: URL of the connection, without its query.
        transport: the transport over which the handshake failed.
    """

    url: str | None = attrs.field(default=None, kw_only=True)
    transport: Transport | None = attrs.field(default=None, kw_only=True)

    def __str__(self) -> str:
        return self.message + _where(self.url, transport=self.transport)


class SetupError(ConnectionFailedError):
    """An `on_setup` handler failed or took too long, or the connection was lost before the handlers had ended.

    `__cause__` is the exception of the handler, a `TimeoutError`, or the error that ended the connection.
    """


@attrs.define(slots=False, eq=False, repr=False)
class ConnectionClosedError(SignalRError, ConnectionError):
    """The connection ended. If a call raises this error, the hub method may or may not have run.

    Attributes:
        reason: the error text in the server's Close message; `None` if there was no such text.
        allow_reconnect: whether the client may reconnect: true after a lost transport, and after a Close message that
            allows a reconnect.
    """

    reason: str | None = None
    allow_reconnect: bool = attrs.field(default=False, kw_only=True)


class ServerTimeoutError(ConnectionClosedError, TimeoutError):
    """The server sent nothing for longer than `Timeouts.server`, or no message for longer than `Timeouts.idle`."""


@attrs.define(slots=False, eq=False, repr=False)
class NotConnectedError(SignalRError):
    """A call was made while there was no connection.

    Attributes:
        state: the state of the connection at the time of the call.
    """

    state: ConnectionState | None = None


class StateError(SignalRError, RuntimeError):
    """The state of the object does not allow the operation, for example a second `start()`."""


@attrs.define(slots=False, eq=False, repr=False)
class HubError(SignalRError):
    """The hub method failed. `str()` of the error is the server's text.

    Attributes:
        method: the hub method that was called.
    """

    method: str = ""


@attrs.define(slots=False, eq=False, repr=False)
class ClassicHubError(HubError):
    """The hub method of a classic ASP.NET server failed. The attribute `method` is "Hub.Method".

    Attributes:
        data: the data of the hub's `HubException`; `None` if there is none.
        is_hub_exception: whether the hub method raised a `HubException`, whose text is meant for clients.
        server_trace: the stack trace, which only servers in debug mode send; otherwise `None`.
    """

    data: Any = attrs.field(default=None, kw_only=True)
    is_hub_exception: bool = attrs.field(default=False, kw_only=True)
    server_trace: str | None = attrs.field(default=None, kw_only=True)


class InvocationTimeoutError(SignalRError, TimeoutError):
    """A call took longer than its `timeout`. The server was asked to cancel the call, but older servers ignore this."""


@attrs.define(slots=False, eq=False, repr=False)
class ResultTypeError(SignalRError, TypeError):
    """A value from the server does not fit the type that was asked for by `result_type` or `item_type`.

    Attributes:
        value: the decoded value, before the conversion.
        type: the type that was asked for.
    """

    value: object = None
    type: object = attrs.field(default=None, kw_only=True)


@attrs.define(slots=False, eq=False, repr=False)
class StreamOverflowError(SignalRError):
    """A stream was cancelled, because its items were read too slowly and exceeded `Limits.buffered_bytes`.

    Attributes:
        buffered: number of waiting items. The iteration returns all waiting items before it raises this error.
    """

    buffered: int = 0


@attrs.define(slots=False, eq=False, repr=False)
class SlowConsumerError(SignalRError):
    """The oldest events were dropped, because handlers were too slow. `on_error` handlers are called with this error.

    Attributes:
        dropped: number of dropped events.
    """

    dropped: int = 0


@attrs.define(slots=False, eq=False, repr=False)
class AuthenticationRefreshError(SignalRError):
    """The access token of a live connection could not be refreshed. The connection stays up.

    Attributes:
        status: HTTP status of the answer; `None` if there was no answer.
    """

    status: int | None = None


@attrs.define(slots=False, eq=False, repr=False)
class AzureSignalRError(SignalRError):
    """A request to Azure SignalR Service failed: the service refused, or did not answer, or another server answered.

    Attributes:
        status: HTTP status of the answer; `None` if there was no answer (then the network error is the `__cause__`).
        code: the service's code for the error, for example `Error.Connection.NotExisted`; `None` if there is no code.
        url: URL of the request, without its query.
        retry_after: seconds to wait before the next request, if the service sent a `Retry-After` header; otherwise
            `None`.
        target: if the method sends several requests, the name or id of the user, group or connection whose request
            failed; otherwise `None`.
    """

    status: int | None = None
    code: str | None = attrs.field(default=None, kw_only=True)
    url: str | None = attrs.field(default=None, kw_only=True)
    retry_after: float | None = attrs.field(default=None, kw_only=True)
    target: str | None = attrs.field(default=None, kw_only=True)

    def __str__(self) -> str:
        return self.message + _where(self.url, self.status)


class ProtocolError(SignalRError):
    """A message violates the SignalR protocol. Base of LocalProtocolError and RemoteProtocolError."""


class LocalProtocolError(ProtocolError, ValueError):
    """An argument or a stream item cannot be encoded. Nothing was sent, and the connection stays up."""


class RemoteProtocolError(ProtocolError):
    """The server sent data that violates the SignalR protocol or is larger than a limit."""


# Errors of signalr_sdk.delivery and signalr_sdk.fleet


@attrs.define(slots=False, eq=False, repr=False)
class StoreError(SignalRError):
    """The store of an outbox or a feed failed. An entry whose `put` raised this error is not in the store.

    Attributes:
        reason: `"full"`: the disk is full; `"damaged"`: the file is damaged; `"locked"`: another process holds the
            file's lock for too long; `"newer"`: a newer version of this package made the file; `"io"`: anything else,
            for example missing permissions.
    """

    reason: str = "io"


@attrs.define(slots=False, eq=False, repr=False)
class OutboxFullError(SignalRError):
    """An outbox holds as much as its `OutboxLimits` allow. Nothing was put.

    Attributes:
        limit: the limit that was reached: `"entries"` or `"bytes"`.
    """

    limit: str = "entries"


@attrs.define(slots=False, eq=False, repr=False)
class FeedGapError(SignalRError):
    """Numbered events never came, and `catch_up` does not return them. The feed goes on after the gap.

    Attributes:
        first: the first missing number.
        last: the last missing number.
    """

    first: int = 0
    last: int = attrs.field(default=0, kw_only=True)


@attrs.define(slots=False, eq=False, repr=False)
class FeedResetError(SignalRError):
    """The numbers of a feed begin anew. The feed goes on with the first event of the new series.

    Attributes:
        before: the position of the last event of the old series.
        after: the position before the first event of the new series.
    """

    before: Position | None = None
    after: Position | None = attrs.field(default=None, kw_only=True)


class LeaseLostError(SignalRError):
    """Another process has taken over the right to deliver, or the right could not be renewed in time."""


# Longer URLs are cut in error texts: the URL of a redirect comes from a server and may have any length.
_LONGEST_URL = 300


def _where(url: str | None, status: int | None = None, transport: Transport | None = None) -> str:
    parts = [url if len(url) <= _LONGEST_URL else f"{url[:_LONGEST_URL]}…"] if url else []
    if transport is not None:
        parts.append(str(transport))
    if status is not None:
        parts.append(f"status {status}")
    return f" ({', '.join(parts)})" if parts else ""


__all__ = [
    "AuthenticationRefreshError",
    "AzureSignalRError",
    "ClassicHubError",
    "ClassicServerError",
    "ConnectionClosedError",
    "ConnectionFailedError",
    "CoreServerError",
    "FeedGapError",
    "FeedResetError",
    "HandshakeError",
    "HubError",
    "InvocationTimeoutError",
    "LeaseLostError",
    "LocalProtocolError",
    "NegotiationError",
    "NotConnectedError",
    "OutboxFullError",
    "ProtocolError",
    "RemoteProtocolError",
    "ResultTypeError",
    "ServerTimeoutError",
    "SetupError",
    "SignalRError",
    "SlowConsumerError",
    "StateError",
    "StoreError",
    "StreamOverflowError",
    "TransportError",
]
