"""The WebSockets transport."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from ..errors import TransportError
from ..interfaces import WebSocketOptions
from ..options import TransferFormat, Transport
from .posting import advice

if TYPE_CHECKING:
    from collections.abc import Callable

    from .._http.request_sender import RequestSender
    from ..interfaces import WebSocket
    from .contract import TransportSettings


class WebSocketsTransport:
    """Each send is one WebSocket message. See `ActiveTransport`.

    Args:
        web_socket: open.
    """

    kind: Final = Transport.WEBSOCKETS
    inherent_keep_alive: Final = False

    def __init__(self, web_socket: WebSocket) -> None:
        self._web_socket = web_socket
        self.send = web_socket.send
        # Not in the seam: the WebSockets of other clients need not have it.
        self.send_now: Callable[[bytes], bool] | None = getattr(web_socket, "send_now", None)
        # Likewise: closes at once, without a good-bye.
        self.drop: Callable[[], None] | None = getattr(web_socket, "drop", None)
        self.flush = web_socket.flush
        self.close = web_socket.close

    @classmethod
    async def open(cls, sender: RequestSender, url: str, settings: TransportSettings) -> WebSocketsTransport:
        """See `open_transport`."""
        options = WebSocketOptions(
            binary=settings.transfer_format is TransferFormat.BINARY,
            max_bytes=settings.payload_bytes,
            close_timeout=settings.timeouts.close,
        )
        try:
            return cls(await sender.connect_web_socket(url, options))
        except TransportError as error:
            error.message += advice(error.status)
            raise

    async def receive(self) -> bytes | None:
        """See `ActiveTransport.receive`."""
        while (data := await self._web_socket.receive()) == b"":
            pass
        return data
