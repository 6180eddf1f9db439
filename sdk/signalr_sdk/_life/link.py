"""What `_life` knows of a live connection: the same few things for every kind of hub."""

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
    """A link could not be resumed.

    Attributes:
        error: why.
        delay: seconds before the first attempt to make a new connection; `None` for no attempt.
    """

    error: SignalRError | None
    delay: float | None


class Link(Protocol):
    """One connection from its handshake to its end, good for one use.

    The supervisor calls `begin` and then `run`. While the link `is_resumable` after `run`, `resume` and another `run`
    may follow. The last call is always `close`; `drop` takes its place for a link that never began.

    Attributes:
        stuck: called with the reason of the loss if `run` should have ended and does not; set before `begin`.
    """

    stuck: Callable[[SignalRError], None]

    @property
    def connection_id(self) -> str | None:
        """The id that the server gave; `None` if negotiation was skipped."""

    @property
    def transport_kind(self) -> Transport:
        """The transport in use."""

    def begin(self) -> None:
        """Be connected: hand on what came with the handshake, and keep time from now on."""

    async def run(self) -> SignalRError | None:
        """Receive until the end. Return the reason, `None` for an end in good order."""

    async def flush(self) -> None:
        """Return when all that was sent so far is with the operating system."""

    async def close(self, error: SignalRError, *, goodbye: bool) -> None:
        """End everything that belongs to the link. Cancelling `close` drops the connection at once.

        Args:
            error: the cause that pending calls are told.
            goodbye: first send what waits, and a message that ends the connection in good order.
        """

    async def drop(self) -> None:
        """Close the transport at once."""

    @property
    def is_resumable(self) -> bool:
        """Whether the server may let the link go on over another transport."""

    async def resume(self, lost: SignalRError | None, attempts: Attempts) -> NotResumed | None:
        """Try to go on over another transport as long as the server keeps the connection; return `None` on success.

        Args:
            lost: why the link lost its transport.
            attempts: counts each try, and knows the delays of the policy.
        """
