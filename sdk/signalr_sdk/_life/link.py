"""`Link`: the interface of one live connection that the supervisor uses, the same for every kind of hub."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

import attrs

if TYPE_CHECKING:
    from collections.abc import Callable

    from ..errors import SignalRError
    from ..options import Transport
    from .attempts import Attempts


@attrs.frozen
class NotResumed:
    """The result of `Link.resume` when the link could not go on over a new transport.

    Attributes:
        error: the reason.
        delay: seconds until the first attempt to make a new connection; `None` if no attempt is to be made.
    """

    error: SignalRError | None
    delay: float | None


class Link(Protocol):
    """One connection, from its finished handshake to its end. A reconnect makes a new link.

    The supervisor calls `begin` and then `run`. If `run` returns and `is_resumable` is true, the supervisor may call
    `resume` and then `run` again. The last call is `close`, or `drop` for a link whose `begin` was never called.

    Attributes:
        stuck: a callback that the supervisor sets before `begin`. The link calls `stuck(error)` when the connection is
            lost and `run` does not end, since users' code in `run` ignores its cancellation.
    """

    stuck: Callable[[SignalRError], None]

    @property
    def connection_id(self) -> str | None:
        """The connection id from the server; `None` if negotiation was skipped."""

    @property
    def transport_kind(self) -> Transport:
        """The transport in use."""

    def begin(self) -> None:
        """Dispatch the messages that arrived with the handshake, and start the timers (keep-alive, server timeout)."""

    async def run(self) -> SignalRError | None:
        """Receive messages until the connection ends.

        Returns:
            The error that ended the connection; `None` if the server closed the connection without an error.
        """

    async def flush(self) -> None:
        """Wait until all messages sent so far were handed to the operating system."""

    async def close(self, error: SignalRError, *, goodbye: bool) -> None:
        """End the calls, uploads, timers and transport of the link. If `close` is cancelled, cut the transport.

        Args:
            error: raised by the calls that still wait for an answer.
            goodbye: whether to send the waiting messages and a Close message before the transport is closed.
        """

    async def drop(self) -> None:
        """Close the transport at once, without a Close message."""

    @property
    def is_resumable(self) -> bool:
        """Whether the link has lost its transport and may go on over a new one (stateful reconnect)."""

    async def resume(self, lost: SignalRError | None, attempts: Attempts) -> NotResumed | None:
        """Try to go on over a new transport, for as long as the server keeps the connection.

        Args:
            lost: why the link lost its transport.
            attempts: counts the attempts, and gives the delays between the attempts.

        Returns:
            `None` if the link was resumed; otherwise the reason, and when to make a new connection.
        """
