"""`Link`: the interface between the `Supervisor`, which starts and reconnects, and one live connection."""

from __future__ import annotations

import enum
from typing import TYPE_CHECKING, Protocol

import attrs

if TYPE_CHECKING:
    from collections.abc import Callable

    from ..errors import SignalRError
    from ..options import Transport
    from .attempts import Attempts


class Phase(enum.Enum):
    """The phases in the life of a link. In CLOSING, no timer is set and no received message reaches a handler."""

    OPENING = enum.auto()  # before `begin`
    LIVE = enum.auto()
    SUSPENDED = enum.auto()  # the transport is lost, and a new one of the same connection may follow
    CLOSING = enum.auto()  # after `close` was called


@attrs.frozen
class NotResumed:
    """The result of `Link.resume` if the connection could not be resumed over a new transport.

    Attributes:
        error: why the connection could not be resumed.
        delay: seconds until the first attempt to make a new connection; `None` if no attempt is to be made.
    """

    error: SignalRError
    delay: float | None


class Link(Protocol):
    """One connection, from its finished handshake to its end. A reconnect makes a new `Link`.

    The `Supervisor` calls `begin`, `go_live` and then `run`. If there are `on_setup` handlers, they are called after
    `begin`, while `run` is running; `go_live` follows when they have succeeded. If `run` returns and `is_resumable` is
    true, the `Supervisor` may call `resume` and then `run` again. The last call is `close`, or `drop` if `begin` was
    never called.

    Attributes:
        stuck: a callback that the `Supervisor` sets before `begin`. `stuck(error)` is called if `run` does not end
            after the connection was lost, because users' code in `run` ignores its cancellation.
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

    def go_live(self) -> None:
        """Begin to count the time of `Timeouts.idle`, and allow pauses in reading: the connection is up now."""

    async def run(self) -> SignalRError | None:
        """Receive messages until the connection ends.

        Returns:
            The error that ended the connection; `None` if the server closed the connection without an error.
        """

    def lose(self, error: SignalRError) -> None:
        """Make `run` return `error`. If the connection is lost already, do nothing."""

    async def flush(self) -> None:
        """Wait until all messages sent so far were handed to the operating system."""

    async def close(self, error: Exception, *, goodbye: bool, answer: bool = True) -> None:
        """End the calls, uploads, timers and transport of this connection. If `close` is cancelled, cut the transport.

        Args:
            error: raised by the calls that still wait for an answer.
            goodbye: whether to send the waiting messages and a Close message before the transport is closed.
            answer: whether to wait for the server's answer to the goodbye.
        """

    async def drop(self) -> None:
        """Close the transport at once, without a Close message."""

    @property
    def is_resumable(self) -> bool:
        """Whether the transport is lost and the connection may be resumed over a new transport (stateful reconnect)."""

    async def resume(self, lost: SignalRError, attempts: Attempts) -> NotResumed | None:
        """Try to resume over a new transport, for as long as the server keeps the connection.

        Args:
            lost: why the transport was lost.
            attempts: counts the attempts, and gives the delays between the attempts.

        Returns:
            `None` if the connection was resumed; otherwise a `NotResumed`, which says why, and when to make a new
                connection.
        """
