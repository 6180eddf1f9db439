"""The contract of every transport: what a transport is told, and what a transport can do."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

import attrs

if TYPE_CHECKING:
    from ..options import Timeouts, TransferFormat, Transport

# One WebSocket message, event or poll may carry many small hub messages beside one of the largest size.
_ROOM = 128 * 1024


@attrs.frozen
class TransportSettings:
    """Formats and limits of a transport.

    Attributes:
        transfer_format: text or binary.
        message_bytes: the largest hub message that may arrive.
        timeouts: the time limits of the connection.
    """

    transfer_format: TransferFormat
    message_bytes: int
    timeouts: Timeouts = attrs.field(kw_only=True)

    @property
    def payload_bytes(self) -> int:
        """The most bytes that one WebSocket message, event or poll may bring."""
        return 2 * self.message_bytes + _ROOM


class ActiveTransport(Protocol):
    """An open transport, which carries bytes both ways. Single-use: opened, used, closed."""

    @property
    def kind(self) -> Transport:
        """Which transport this is."""

    @property
    def inherent_keep_alive(self) -> bool:
        """Whether the transport notices by itself that the server is gone; pings and a server timeout are off then."""

    async def receive(self) -> bytes | None:
        """Return the next bytes that arrived, at least one. While nobody calls this, the server has to wait.

        Returns:
            `None` when the server has ended the connection in good order, or `close` or `drop` was called.

        Raises:
            ConnectionClosedError: the connection is lost.
            RemoteProtocolError: what arrived breaks the rules of the transport, or is over a limit.
        """

    async def send(self, data: bytes, /) -> None:
        """Send; wait while the server takes no more. One call at a time.

        Raises:
            ConnectionClosedError: the connection is lost, or `close` or `drop` was called.
        """

    def send_now(self, data: bytes, /) -> bool:
        """Send, if nothing has to be waited for. Return whether `data` was sent; after `False` use `send`.

        One message that is sent so spares a task and a turn of the event loop
        (tests/bench/end_to_end.py, "invoke, one after another").
        """

    async def flush(self) -> None:
        """Return when all that was sent is with the operating system."""

    async def close(self) -> None:
        """Close in good order and leave nothing open; a `receive` that waits returns `None`.

        Cancelling drops the connection at once.
        """

    def drop(self) -> None:
        """End the connection at once, without a goodbye: a server that hears one keeps nothing for a resume.

        `close` must still be called, and then only frees what is left.
        """
