"""What a transport is to those above it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

import attrs

if TYPE_CHECKING:
    from ..options import Timeouts, TransferFormat, Transport

# One frame, poll or event may hold many messages next to one of the largest size.
_ROOM = 128 * 1024


@attrs.frozen
class TransportSettings:
    """What a transport needs to know.

    Attributes:
        transfer_format: what it carries.
        message_bytes: largest incoming hub message.
        timeouts: its time limits.
    """

    transfer_format: TransferFormat
    message_bytes: int
    timeouts: Timeouts

    @property
    def payload_bytes(self) -> int:
        """The most that may arrive in one piece."""
        return 2 * self.message_bytes + _ROOM


class ActiveTransport(Protocol):
    """An open connection that carries bytes both ways. It is good for one use: opened, run, closed."""

    @property
    def kind(self) -> Transport:
        """Which transport this is."""

    @property
    def inherent_keep_alive(self) -> bool:
        """Whether it notices by itself that the other side is gone: then pings and a server timeout are pointless."""

    async def receive(self) -> bytes | None:
        """Return what has arrived, never nothing; not calling it makes the other side wait.

        Returns:
            `None` if the other side has ended the connection in good order, or `close` was called.

        Raises:
            ConnectionClosedError: the connection is lost.
            RemoteProtocolError: what arrived must not be read.
        """

    async def send(self, data: bytes, /) -> None:
        """Send; wait while the other side takes no more. One call at a time.

        Raises:
            ConnectionClosedError: the connection is lost, or `close` was called.
        """

    async def flush(self) -> None:
        """Return when all that was sent is with the operating system."""

    async def close(self) -> None:
        """Close in good order and leave nothing open; a `receive` that waits returns `None`.

        Cancelling it drops the connection at once.
        """
