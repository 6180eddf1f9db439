"""The one exception tree: everything that this package raises on purpose.

Every text says what happened, where (URLs come without their query, which may hold a token) and what to do
about it. Errors hold plain values only, so they can be pickled and never carry a request, a header or a token.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import attrs

if TYPE_CHECKING:
    from .options import ConnectionState, Transport

# An error is equal only to itself, as exceptions are; `slots=False`, since some also derive from built-in
# exceptions that have a layout of their own. A class without attributes of its own is complete without attrs, which
# takes time at import for each class.


@attrs.define(slots=False, eq=False, repr=False)
class SignalRError(Exception):
    """Base of every error of this package.

    Attributes:
        message: what happened and what to do about it.
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
    """An attempt to connect failed: at the start, or while reconnecting.

    Attributes:
        attempts: one error for each transport that was tried or skipped; empty if it did not come to that.
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
        url: what was asked, without its query.
        status: HTTP status of the answer, if there was one.
        retry_after: seconds that the server asked to wait (its `Retry-After`), if it did.
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
        transport: which one; `None` if it is none that we know.
        url: where, without its query.
        status: HTTP status of the refusal, if there was an answer.
        retry_after: seconds that the server asked to wait (its `Retry-After`), if it did.
    """

    transport: Transport | None = attrs.field(default=None, kw_only=True)
    url: str | None = attrs.field(default=None, kw_only=True)
    status: int | None = attrs.field(default=None, kw_only=True)
    retry_after: float | None = attrs.field(default=None, kw_only=True)

    def __str__(self) -> str:
        name = f"{self.transport}: " if self.transport is not None else ""
        return name + self.message + _where(self.url, self.status)


class HandshakeError(ConnectionFailedError):
    """The transport is up, but the server refused the hub protocol, did not answer, or is no hub."""


@attrs.define(slots=False, eq=False, repr=False)
class ConnectionClosedError(SignalRError, ConnectionError):
    """The connection ended: under a pending call, or as the end of its life.

    A call that was pending may or may not have run on the server.

    Attributes:
        reason: the text that the server gave with its Close message, if it gave one.
        allow_reconnect: whether reconnecting makes sense: true after a lost transport and after a Close message
            that allows it.
    """

    reason: str | None = None
    allow_reconnect: bool = attrs.field(default=False, kw_only=True)


class ServerTimeoutError(ConnectionClosedError, TimeoutError):
    """The server was silent for longer than `Timeouts.server`."""


@attrs.define(slots=False, eq=False, repr=False)
class NotConnectedError(SignalRError):
    """A call was made without a connection.

    Attributes:
        state: the state in which the connection was.
    """

    state: ConnectionState | None = None


class StateError(SignalRError, RuntimeError):
    """The object is in a state that does not allow this, for example `start()` when it is already started."""


@attrs.define(slots=False, eq=False, repr=False)
class HubError(SignalRError):
    """The hub method failed. `str()` is the server's own text.

    Attributes:
        method: the hub method that was called.
    """

    method: str = ""


class InvocationTimeoutError(SignalRError, TimeoutError):
    """The call did not end within its `timeout`; it was cancelled on the server, if the server can do that."""


@attrs.define(slots=False, eq=False, repr=False)
class ResultTypeError(SignalRError, TypeError):
    """A value from the server does not fit the wanted `result_type` or `item_type`.

    Attributes:
        value: what came, as it was decoded.
        type: what was wanted.
    """

    value: object = None
    type: object = attrs.field(default=None, kw_only=True)


@attrs.define(slots=False, eq=False, repr=False)
class StreamOverflowError(SignalRError):
    """A stream was cancelled: its consumer was too slow, and what waited for it went over `Limits.buffered_bytes`.

    Attributes:
        buffered: items that were waiting (all of them are still delivered, before this error).
    """

    buffered: int = 0


@attrs.define(slots=False, eq=False, repr=False)
class SlowConsumerError(SignalRError):
    """Events were dropped, oldest first, because their handlers were too slow. Given to `on_error` handlers.

    Attributes:
        dropped: how many.
    """

    dropped: int = 0


@attrs.define(slots=False, eq=False, repr=False)
class AuthenticationRefreshError(SignalRError):
    """The token on the live connection could not be refreshed; the connection stays.

    Attributes:
        status: HTTP status of the answer, if there was one.
    """

    status: int | None = None


@attrs.define(slots=False, eq=False, repr=False)
class AzureSignalRError(SignalRError):
    """A request to Azure SignalR Service failed: refused, answered by something else, or not answered at all.

    Attributes:
        status: HTTP status of the answer; `None` if there was none (the cause is then the error of the network).
        code: what the service calls the error, for example `Error.Connection.NotExisted`, if it says so.
        url: what was asked, without its query.
        retry_after: seconds that the service asked to wait (its `Retry-After`), if it did.
        target: the user, group or connection that this one request of many was for.
    """

    status: int | None = None
    code: str | None = attrs.field(default=None, kw_only=True)
    url: str | None = attrs.field(default=None, kw_only=True)
    retry_after: float | None = attrs.field(default=None, kw_only=True)
    target: str | None = attrs.field(default=None, kw_only=True)

    def __str__(self) -> str:
        return self.message + _where(self.url, self.status)


class ProtocolError(SignalRError):
    """Something is not what the SignalR protocol allows."""


class LocalProtocolError(ProtocolError, ValueError):
    """We were asked to send what cannot be sent. Nothing was sent and the connection stays."""


class RemoteProtocolError(ProtocolError):
    """What the server sent is not SignalR, or is over a limit."""


def _where(url: str | None, status: int | None) -> str:
    parts = [url] if url else []
    if status is not None:
        parts.append(f"status {status}")
    return f" ({', '.join(parts)})" if parts else ""
