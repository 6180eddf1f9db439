"""What the three transports have in common: the settings they get, and the methods they have."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

import attrs

if TYPE_CHECKING:
    from ..options import TransferFormat, Transport

# The bytes that `payload_bytes` leaves for small hub messages: a server may put many small messages, together with the
# largest hub message, into one WebSocket message, event or poll response.
_ROOM = 128 * 1024


@attrs.frozen
class TransportSettings:
    """Formats and limits of a transport.

    Attributes:
        transfer_format: text or binary.
        message_bytes: the largest hub message that may arrive.
    """

    transfer_format: TransferFormat
    message_bytes: int

    @property
    def payload_bytes(self) -> int:
        """The most bytes that one WebSocket message, event or poll response may hold. More bytes are an error."""
        return 2 * self.message_bytes + _ROOM


class ActiveTransport(Protocol):
    """An open transport, which carries bytes in both directions. A closed transport cannot be opened again."""

    @property
    def kind(self) -> Transport:
        """Which of the three transports this is."""

    @property
    def inherent_keep_alive(self) -> bool:
        """Whether the transport itself notices that the server is gone. If true, pings and server timeout are off."""

    async def receive(self) -> bytes | None:
        """Return the next bytes from the server, at least one byte.

        While nobody calls `receive`, further data must wait at the server, so that it does not fill the memory here.

        Returns:
            `None` when the server has ended the connection in good order, or `close` or `drop` was called.

        Raises:
            ConnectionClosedError: the connection is lost.
            RemoteProtocolError: the received data breaks the rules of the transport, or is over a limit.
        """

    async def send(self, data: bytes, /) -> None:
        """Send data; wait while the server accepts no more. Only one call at a time.

        Raises:
            ConnectionClosedError: the connection is lost, or `close` or `drop` was called.
        """

    def send_now(self, data: bytes, /) -> bool:
        """Send data if this needs no waiting. Return whether the data was sent; after `False` use `send`.

        `send_now` is faster than `send`: sending a single message takes no task and no turn of the event loop
        (tests/bench/end_to_end.py, "invoke, one after another").
        """

    async def flush(self) -> None:
        """Wait until the operating system has taken all sent data from this process."""

    async def close(self) -> None:
        """Close the connection properly and leave nothing open. A `receive` that waits returns `None`.

        Cancelling this method drops the connection at once.
        """

    def drop(self) -> None:
        """End the transport at once, without telling the server, so that a stateful reconnect stays possible.

        Call `close` afterwards, which then only frees resources.
        """
