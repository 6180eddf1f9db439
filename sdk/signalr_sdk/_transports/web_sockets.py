"""The WebSockets transport, over the WebSocket of any HTTP client."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final, Protocol

from ..errors import TransportError
from ..interfaces import WebSocket, WebSocketOptions
from ..options import TransferFormat, Transport
from .transport_errors import advice

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from .._http.request_sender import RequestSender
    from .contract import TransportSettings


class PromptWebSocket(WebSocket, Protocol):
    """A `WebSocket` with the methods that a `WebSocket` of users need not have. The one of `AiohttpClient` has all."""

    def silence(self) -> float | None:
        """Return the seconds since the last bytes came, also those of an unfinished message; `None` if unknown."""

    def send_now(self, data: bytes, /) -> bool:
        """See `ActiveTransport.send_now`."""

    def drop(self) -> None:
        """See `ActiveTransport.drop`."""


def _cannot_send_now(_data: bytes, /) -> bool:
    return False


def _unknown() -> None:
    """Return `None`, for a `WebSocket` without a method `silence`."""


def _drop_later() -> None:
    """Do nothing, for a `WebSocket` without a method `drop`: cancelling `close` afterwards drops the connection."""


class WebSocketsTransport:
    """See `ActiveTransport`. Each `send` is one WebSocket message.

    Args:
        web_socket: the open WebSocket.
    """

    kind: Final = Transport.WEBSOCKETS
    inherent_keep_alive: Final = False
    # Declare the types of these attributes: pyright cannot infer them from the assignment in `__init__`.
    send: Callable[[bytes], Coroutine[Any, Any, None]]
    flush: Callable[[], Coroutine[Any, Any, None]]
    close: Callable[[], Coroutine[Any, Any, None]]
    send_now: Callable[[bytes], bool]
    drop: Callable[[], None]
    silence: Callable[[], float | None]

    def __init__(self, web_socket: WebSocket) -> None:
        self._web_socket = web_socket
        self.send = web_socket.send
        self.flush = web_socket.flush
        self.close = web_socket.close
        self.send_now = getattr(web_socket, "send_now", _cannot_send_now)
        self.drop = getattr(web_socket, "drop", _drop_later)
        self.silence = getattr(web_socket, "silence", _unknown)

    @classmethod
    async def open(cls, sender: RequestSender, url: str, settings: TransportSettings) -> WebSocketsTransport:
        """See `open_transport`."""
        options = WebSocketOptions(
            binary=settings.transfer_format is TransferFormat.BINARY,
            max_bytes=settings.payload_bytes,
            close_timeout=sender.timeouts.close,
        )
        try:
            return cls(await sender.connect_web_socket(url, options))
        except TransportError as error:
            error.message += advice(error.status)
            raise

    async def receive(self) -> bytes | None:
        """See `ActiveTransport.receive`. Empty messages are skipped."""
        while (data := await self._web_socket.receive()) == b"":
            pass
        return data
