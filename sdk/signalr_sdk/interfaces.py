"""The seams: small protocols that users may implement themselves, and the plain values that cross them."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias, runtime_checkable

import attrs

if TYPE_CHECKING:
    from contextlib import AbstractAsyncContextManager

    from .messages import HubMessage
    from .options import TransferFormat
    from .retry import RetryContext

TokenProvider: TypeAlias = Callable[[], "Awaitable[str | None] | str | None"]
"""Called without arguments for each connection attempt; returns a bearer token, or `None` for none."""

Handler: TypeAlias = Callable[..., Any]
"""Called with an event's arguments; sync or async."""


class HubProtocol(Protocol):
    """How hub messages become bytes. It keeps no state of a connection: one object may serve many, on any thread."""

    @property
    def name(self) -> str:
        """The protocol's name in the handshake, for example `json`."""

    @property
    def transfer_format(self) -> TransferFormat:
        """`TEXT`: messages end with the record separator 0x1E. `BINARY`: a VarInt length stands before each."""

    @property
    def naming(self) -> Callable[[str], str]:
        """How the attribute names of classes are written on the wire."""

    def encode(self, message: HubMessage, /) -> bytes:
        """Return the message as it goes on the wire, framed.

        Raises:
            LocalProtocolError: a value cannot be encoded; the text names its path.
        """

    def decode(self, frame: bytes, /, *, exact: bool = False) -> HubMessage | None:
        """Return the message in one frame (without separator or length), or `None` for an unknown type.

        Args:
            frame: one message.
            exact: decode numbers with a fraction as `Decimal`, so that nothing is lost.

        Raises:
            RemoteProtocolError: this is no hub message.
        """


class RetryPolicy(Protocol):
    """Decides whether and when to try to connect again. It is asked, and must not wait itself."""

    def next_delay(self, context: RetryContext, /) -> float | None:
        """Return the seconds to wait before the next attempt, or `None` to give up."""


class Converter(Protocol):
    """Makes typed values of plain ones and takes them apart again. A `cattrs.Converter` is one as it stands."""

    def structure(self, obj: Any, cl: Any, /) -> Any:
        """Return `obj`, as decoded, as an instance of the type `cl`; raise any `Exception` if it does not fit."""

    def unstructure(self, obj: Any, /) -> Any:
        """Return an object of a type that the protocols do not know as values that they do."""


@attrs.frozen(kw_only=True)
class HttpRequest:
    """One HTTP request.

    Attributes:
        method: `GET`, `HEAD`, `POST`, `PUT` or `DELETE`. Connections use the first, third and last; the rest is for
            `signalr_sdk.azure`.
        url: where to, complete and encoded: send its query as it is.
        headers: complete but for `Host`, `Content-Length` and the like.
        body: what to send.
        connect_timeout: seconds for TCP and TLS; `None` for no limit.
        timeout: seconds for the whole exchange (for `HttpClient.stream`: until the head of the answer is there);
            `None` for no limit.
        max_bytes: largest body of an answer; more is a `RemoteProtocolError`. `None` for no limit.
    """

    method: str
    url: str
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
        headers: name and value of each header, names in any case, repeated ones repeated.
        body: the body, whole (empty in the head of a stream).
    """

    status: int
    headers: tuple[tuple[str, str], ...] = attrs.field(default=(), repr=False)
    body: bytes = attrs.field(default=b"", repr=False)

    def header(self, name: str) -> str | None:
        """Return the first header of this name, in any case."""
        name = name.lower()
        return next((value for key, value in self.headers if key.lower() == name), None)


class HttpStream(Protocol):
    """A response whose body is read bit by bit."""

    @property
    def response(self) -> HttpResponse:
        """Status and headers; its body is empty."""

    async def read(self) -> bytes:
        """Return what has arrived, waiting for at least one byte; `b""` at the end.

        Raises:
            OSError: the connection broke, or the body is cut short.
        """


@runtime_checkable
class HttpClient(Protocol):
    """Sends HTTP requests. It never follows redirects and never repeats a request by itself.

    Failures of the network are `OSError` (`TimeoutError`, `ssl.SSLError` and `socket.gaierror` are such), with
    texts and causes that hold no query, header or password.
    """

    async def request(self, request: HttpRequest, /) -> HttpResponse:
        """Send it and read the whole answer, whatever its status."""

    def stream(self, request: HttpRequest, /) -> AbstractAsyncContextManager[HttpStream]:
        """Send it and hand out the answer when its head is there; leaving the context drops the connection."""


class WebSocket(Protocol):
    """An open WebSocket. Pings of the other side are answered inside it."""

    async def receive(self) -> bytes | None:
        """Return the next message (text as UTF-8), or `None` when the other side closed with code 1000 or without one.

        Raises:
            ConnectionClosedError: any other end, with the close code and reason in its text.
            RemoteProtocolError: the message is over the limit, or is no UTF-8.
        """

    async def send(self, data: bytes, /) -> None:
        """Send one message, of the kind asked for at connect; wait while the system takes no more."""

    async def flush(self) -> None:
        """Return when all that was sent is with the operating system."""

    async def close(self) -> None:
        """Close with code 1000 and wait for the other side's answer; ends a pending `receive`.

        Cancelling it drops the connection at once.
        """


@attrs.frozen(kw_only=True)
class WebSocketOptions:
    """How to open a WebSocket.

    Attributes:
        binary: send binary messages, not text.
        max_bytes: largest incoming message.
        close_timeout: the longest that `WebSocket.close` waits for the other side; `None` for no limit.
    """

    binary: bool = False
    max_bytes: int = 0
    close_timeout: float | None = None


@runtime_checkable
class WebSocketConnector(Protocol):
    """An `HttpClient` that has this method too offers the WebSockets transport."""

    async def connect_web_socket(self, request: HttpRequest, options: WebSocketOptions, /) -> WebSocket:
        """Open a WebSocket; `request.url` is an http(s) URL.

        Raises:
            TransportError: the server answered, but not with an upgrade; has its status.
            OSError: the network failed.
        """
