"""Interfaces that users may implement themselves, as `typing.Protocol` classes, and the values that they exchange."""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Mapping
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias, runtime_checkable

import attrs

if TYPE_CHECKING:
    from contextlib import AbstractAsyncContextManager

    from .messages import HubMessage
    from .options import TransferFormat
    from .retry import RetryContext

TokenProvider: TypeAlias = Callable[[], "Awaitable[str | None] | str | None"]
"""A function without arguments that returns a bearer token, or `None` for none. Called for each connection attempt."""

Handler: TypeAlias = Callable[..., Any]
"""A function, sync or async, that is called with the arguments of an event."""


class HubProtocol(Protocol):
    """Encodes and decodes hub messages.

    It keeps no state of a connection: one object may serve many connections, on any thread.
    """

    @property
    def name(self) -> str:
        """Name of the protocol in the handshake, for example `json`."""

    @property
    def transfer_format(self) -> TransferFormat:
        """`TEXT`: each message ends with the separator 0x1E. `BINARY`: each begins with its length, as a VarInt."""

    @property
    def naming(self) -> Callable[[str], str]:
        """The function that turns attribute names of classes into names on the wire."""

    def encode(self, message: HubMessage, /) -> bytes:
        """Return the message as it goes on the wire, with its separator or length.

        Raises:
            LocalProtocolError: a value cannot be encoded; the text has the path of the value.
        """

    def decode(self, frame: bytes, /, *, exact: bool = False) -> HubMessage | None:
        """Return the message in one frame (without separator or length), or `None` for an unknown type.

        Args:
            frame: one message, without its separator or length.
            exact: decode numbers with a fraction as `Decimal`, so that no digit is lost.

        Raises:
            RemoteProtocolError: this is no hub message.
        """


class RetryPolicy(Protocol):
    """Decides whether and when to try to connect again. The connection waits; the policy must not."""

    def next_delay(self, context: RetryContext, /) -> float | None:
        """Return the seconds to wait before the next attempt, or `None` to give up."""


class Converter(Protocol):
    """Converts plain values into typed ones, and back. A `cattrs.Converter` has these methods."""

    def structure(self, obj: Any, cl: Any, /) -> Any:
        """Return the decoded value `obj` as an instance of the type `cl`; raise any `Exception` if it does not fit."""

    def unstructure(self, obj: Any, /) -> Any:
        """Return plain values that stand for an object of a type that the protocols cannot encode."""


def _url_without_query(url: str) -> str:
    # The query may hold a token.
    return repr(re.split(r"[?#]", url, maxsplit=1)[0])


@attrs.frozen(kw_only=True)
class HttpRequest:
    """One HTTP request.

    Attributes:
        method: `GET`, `POST` or `DELETE`; from `signalr_sdk.azure` also `HEAD` or `PUT`.
        url: complete and encoded URL. Send its query as it is.
        headers: all headers but `Host`, `Content-Length` and others that the HTTP client makes.
        body: the body to send.
        connect_timeout: seconds for TCP and TLS; `None` for no limit.
        timeout: seconds until the whole answer is there, for `HttpClient.stream` until its head is there; `None` for no
            limit.
        max_bytes: largest body of an answer; raise `RemoteProtocolError` for a larger one. `None` for no limit.
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
        headers: name and value of each header. Names are in any case, and may be repeated.
        body: the whole body; empty in the head of a stream.
    """

    status: int
    headers: tuple[tuple[str, str], ...] = attrs.field(default=(), repr=False)
    body: bytes = attrs.field(default=b"", repr=False)

    def header(self, name: str) -> str | None:
        """Return the first header of this name, `None` without one. The case of the name does not matter."""
        name = name.lower()
        return next((value for key, value in self.headers if key.lower() == name), None)


class HttpStream(Protocol):
    """An answer whose body is read as it arrives."""

    @property
    def response(self) -> HttpResponse:
        """Status and headers, with an empty body."""

    async def read(self) -> bytes:
        """Wait for at least one byte, and return the bytes that have arrived; `b""` at the end of the body.

        Raises:
            OSError: the connection broke, or ended before the body was complete.
        """


@runtime_checkable
class HttpClient(Protocol):
    """Sends HTTP requests. It must not follow redirects, and not repeat a request.

    For failures of the network it raises `OSError`, or a subclass such as `TimeoutError`, `ssl.SSLError` and
    `socket.gaierror`. Their texts and causes must not hold a query, a header or a password.
    """

    async def request(self, request: HttpRequest, /) -> HttpResponse:
        """Send the request and return the whole answer, whatever its status."""

    def stream(self, request: HttpRequest, /) -> AbstractAsyncContextManager[HttpStream]:
        """Send the request; the context is entered when the head of the answer is there.

        Leaving the context drops the TCP connection.
        """


class WebSocket(Protocol):
    """An open WebSocket. It answers the WebSocket pings of the other side itself."""

    async def receive(self) -> bytes | None:
        """Return the next message (text as UTF-8), or `None` when the other side closed with code 1000 or without one.

        Raises:
            ConnectionClosedError: the connection ended in another way; the text has the close code and the reason.
            RemoteProtocolError: the message is over the limit, or is not UTF-8.
        """

    async def send(self, data: bytes, /) -> None:
        """Send one message, as binary or text by `WebSocketOptions.binary`; wait while the system takes no more."""

    async def flush(self) -> None:
        """Return when the operating system has taken all bytes that were sent."""

    async def close(self) -> None:
        """Close with code 1000, and wait for the answer of the other side. A pending `receive` ends.

        Cancelling this call drops the connection at once.
        """


@attrs.frozen(kw_only=True)
class WebSocketOptions:
    """How to open a WebSocket.

    Attributes:
        binary: send binary messages instead of text.
        max_bytes: largest incoming message, in bytes.
        close_timeout: the longest that `WebSocket.close` waits for the other side; `None` for no limit.
    """

    binary: bool = False
    max_bytes: int = 0
    close_timeout: float | None = None


@runtime_checkable
class WebSocketConnector(Protocol):
    """Opens WebSockets. An `HttpClient` with this method offers the WebSockets transport too."""

    async def connect_web_socket(self, request: HttpRequest, options: WebSocketOptions, /) -> WebSocket:
        """Open a WebSocket; `request.url` is an http(s) URL.

        Raises:
            TransportError: the server answered without an upgrade; the error has the status of the answer.
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
    "WebSocket",
    "WebSocketConnector",
    "WebSocketOptions",
]
