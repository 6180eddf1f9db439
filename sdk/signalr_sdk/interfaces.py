"""Interfaces that users may implement (`typing.Protocol` classes), and the classes of their arguments and results."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Mapping
from typing import TYPE_CHECKING, Any, Literal, Protocol, TypeAlias, runtime_checkable

import attrs

if TYPE_CHECKING:
    from contextlib import AbstractAsyncContextManager

    from .messages import HubMessage
    from .options import TransferFormat
    from .retry import RetryContext


@attrs.frozen
class TokenRequest:
    """Why a token provider is asked for a token.

    Attributes:
        reason: `"connect"` before an attempt to connect or to resume; `"refused"` after the server has answered 401;
            `"refresh"` for a new token on the live connection.
        refused: with `"refused"`, the token that the server did not accept, or `None` if the request had no token;
            otherwise `None`. Not in the `repr`.
        attempt: the number that the retry policy gets as `RetryContext.attempt` if the current attempt to connect
            fails: 0 for the first attempt of `start()`; 1 for the first attempt after a loss; 0 again on a connection
            that has been up for 10 s. Always 0 for a refresh and for a raw `Connection`.

    Example:
        >>> TokenRequest("refused", refused="eyJhbGciOi...", attempt=2)
        TokenRequest(reason='refused', attempt=2)
    """

    reason: Literal["connect", "refused", "refresh"]
    refused: str | None = attrs.field(default=None, repr=False, kw_only=True)
    attempt: int = attrs.field(default=0, kw_only=True)


TokenProvider: TypeAlias = (
    Callable[[], "Awaitable[str | None] | str | None"] | Callable[[TokenRequest], "Awaitable[str | None] | str | None"]
)
"""A function that returns a bearer token, or `None` for none. Called for each attempt to connect.

A function with exactly one required positional parameter is called with a `TokenRequest`, and any other function is
called without arguments.
"""

Handler: TypeAlias = Callable[..., Any]
"""A function, sync or async, that is called with the arguments of an event."""


class HubProtocol(Protocol):
    """Encodes and decodes hub messages.

    A `HubProtocol` must not keep the state of a connection: several connections on several threads may share one.
    """

    @property
    def name(self) -> str:
        """The name of the protocol in the SignalR handshake, for example `json`."""

    @property
    def transfer_format(self) -> TransferFormat:
        """`TEXT` if each message ends with the byte 0x1E; `BINARY` if each message begins with its VarInt length."""

    @property
    def naming(self) -> Callable[[str], str]:
        """The function that turns Python attribute names into the names in encoded messages."""

    def encode(self, message: HubMessage, /) -> bytes:
        """Return the encoded message, including its separator or length.

        Raises:
            LocalProtocolError: a value cannot be encoded. The error text says where the value is in the message.
        """

    def decode(self, frame: bytes, /, *, exact: bool = False) -> HubMessage | None:
        """Decode one message. Return `None` if the type of the message is unknown.

        Args:
            frame: one encoded message, without its separator or length.
            exact: whether to decode numbers with a fraction as `Decimal`, so that no digit is lost.

        Raises:
            RemoteProtocolError: `frame` is not a valid hub message.
        """


class RetryPolicy(Protocol):
    """Decides whether and when to try to connect again. A policy returns the delay and must not wait itself."""

    def next_delay(self, context: RetryContext, /) -> float | None:
        """Return the seconds until the next attempt to connect, or `None` to give up."""


class Converter(Protocol):
    """Converts decoded values (dicts, lists, texts, numbers) to typed objects and back, as `cattrs.Converter` does."""

    def structure(self, obj: Any, cl: Any, /) -> Any:
        """Convert the decoded value `obj` to the type `cl`; raise any `Exception` if `obj` does not fit."""

    def unstructure(self, obj: Any, /) -> Any:
        """Convert an object that the protocols cannot encode to values that they can encode."""


def _url_without_query(url: str) -> str:
    # The `repr` of a request must not show the query, which may hold a token.
    return repr(re.split(r"[?#]", url, maxsplit=1)[0])


@attrs.frozen(kw_only=True)
class HttpRequest:
    """One HTTP request.

    Attributes:
        method: `GET`, `POST` or `DELETE`; from `signalr_sdk.azure` also `HEAD` or `PUT`.
        url: complete, encoded URL. The HTTP client must not change the query.
        headers: the headers to send. The HTTP client adds `Host`, `Content-Length` and the like.
        body: the body to send.
        connect_timeout: seconds for TCP and TLS; `None` for no limit.
        timeout: seconds until the whole answer has arrived (in `HttpClient.stream`: status and headers); `None` for no
            limit.
        max_bytes: largest allowed body of the answer; `None` for no limit. The HTTP client must raise
            `RemoteProtocolError` for a larger body.
    """

    method: str
    url: str = attrs.field(repr=_url_without_query)
    headers: Mapping[str, str] = attrs.field(factory=dict, repr=False)
    body: bytes = attrs.field(default=b"", repr=False)
    connect_timeout: float | None = None
    timeout: float | None = None
    max_bytes: int | None = None


@attrs.frozen
class HttpResponse:
    """The answer to an `HttpRequest`.

    Attributes:
        status: HTTP status.
        headers: name and value of each header. Names may be in upper or lower case, and may be repeated.
        body: the whole body; empty in `HttpStream.response`.
    """

    status: int
    headers: tuple[tuple[str, str], ...] = attrs.field(default=(), repr=False)
    body: bytes = attrs.field(default=b"", repr=False)

    def header(self, name: str) -> str | None:
        """Return the value of the first header with this name, in upper or lower case; `None` if there is none."""
        name = name.lower()
        return next((value for key, value in self.headers if key.lower() == name), None)


class HttpStream(Protocol):
    """The answer to a request, whose body is read piece by piece."""

    @property
    def response(self) -> HttpResponse:
        """Status and headers, with an empty body."""

    async def read(self) -> bytes:
        """Wait for at least one byte, and return all bytes that have arrived; `b""` at the end of the body.

        Raises:
            OSError: the connection was lost before the body was complete.
        """


@runtime_checkable
class HttpClient(Protocol):
    """Sends HTTP requests. An `HttpClient` must not follow redirects, and must not repeat a request.

    If the network fails, an `HttpClient` must raise `OSError` or a subclass, such as `TimeoutError`, `ssl.SSLError` or
    `socket.gaierror`. The text and the cause of the error must not contain a query, a header or a password.
    """

    async def request(self, request: HttpRequest, /) -> HttpResponse:
        """Send the request, and return the whole answer, also if its status is an error."""

    def stream(self, request: HttpRequest, /) -> AbstractAsyncContextManager[HttpStream]:
        """Send the request. The `async with` block begins when status and headers of the answer have arrived.

        The end of the `async with` block closes the TCP connection.
        """


class WebSocket(Protocol):
    """An open WebSocket. The implementation must answer WebSocket pings.

    An implementation may also have a method `drop()`, which closes the TCP connection at once, without a Close frame.
    Without `drop`, a connection whose server has fallen silent is closed with a Close frame, after which the server
    resumes nothing (stateful reconnect).
    """

    async def receive(self) -> bytes | None:
        """Wait for the next message, and return its bytes (text as UTF-8).

        Return `None` if the other side closed the WebSocket with code 1000 or without a code.

        Raises:
            ConnectionClosedError: the WebSocket ended in another way. The error text has the close code and the reason.
            RemoteProtocolError: the message is larger than `max_bytes`, or is not valid UTF-8.
        """

    async def send(self, data: bytes, /) -> None:
        """Send a message, as binary if `WebSocketOptions.binary` is true, else as text. Wait while buffers are full."""

    async def flush(self) -> None:
        """Wait until all sent bytes were handed to the operating system."""

    async def close(self) -> None:
        """Close the WebSocket with code 1000, and wait for the Close frame of the other side. A pending `receive` ends.

        If `close` is cancelled, the TCP connection is closed at once.
        """


@attrs.frozen(kw_only=True)
class WebSocketOptions:
    """Options for opening a WebSocket.

    Attributes:
        binary: whether messages are sent as binary instead of text.
        max_bytes: the largest message that is accepted from the server, in bytes.
        close_timeout: seconds that `WebSocket.close` waits for the other side; `None` for no limit.
    """

    binary: bool = False
    max_bytes: int = 0
    close_timeout: float | None = None


@runtime_checkable
class WebSocketConnector(Protocol):
    """Opens WebSockets. An `HttpClient` with this method can be used for the WebSockets transport too."""

    async def connect_web_socket(self, request: HttpRequest, options: WebSocketOptions, /) -> WebSocket:
        """Open a WebSocket; `request.url` is an http(s) URL.

        Raises:
            TransportError: the server answered, but refused the WebSocket. The error has the status of the answer.
            OSError: the network failed.
        """


__all__ = [
    "Converter",
    "Handler",
    "HttpClient",
    "HttpRequest",
    "HttpResponse",
    "HttpStream",
    "HubProtocol",
    "RetryPolicy",
    "TokenProvider",
    "TokenRequest",
    "WebSocket",
    "WebSocketConnector",
    "WebSocketOptions",
]
