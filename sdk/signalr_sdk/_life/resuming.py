"""Resuming: attempts to go on with the same connection over a new transport, after the old transport was lost."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Protocol

from .._guard.foreign import bounded, error_of
from .._sending.outgoing import loss
from ..errors import TransportError
from .link import NotResumed

if TYPE_CHECKING:
    from .._core.logs import Log
    from ..errors import SignalRError
    from ..options import Timeouts
    from .attempts import Attempts


class Resumable(Protocol):
    """A link that can go on over a new transport."""

    @property
    def timeouts(self) -> Timeouts:
        """The timeouts of the connection."""

    @property
    def connection_id(self) -> str | None:
        """The connection id from the server."""

    async def suspend(self) -> None:
        """Drop the transport, and keep all that `reopen` needs."""

    async def reopen(self) -> None:
        """Go on over a new transport. If `reopen` is cancelled or raises, call `suspend` or `close`."""


async def resume(
    link: Resumable,
    lost: SignalRError,
    attempts: Attempts,
    *,
    window: float,
    limit: float | None,
    log: Log,
) -> NotResumed | None:
    """See `Link.resume`.

    Args:
        link: the link.
        lost: why the transport was lost.
        attempts: counts the attempts, and gives the delays between the attempts.
        window: seconds for which the server keeps the connection after its transport was lost.
        limit: seconds for one attempt; `None` for no limit.
        log: the log of the connection.
    """
    time = asyncio.get_running_loop().time
    until, tried = time() + window, 0
    error: Exception = lost
    delay = attempts.delay_of_resume(error, tried)
    await link.suspend()
    while delay is not None and time() + delay <= until:
        log.info("the transport is lost, next attempt to resume the connection in %.1f s: %s", delay, error)
        await asyncio.sleep(delay)
        attempts.count += 1
        tried += 1
        try:
            await bounded(link.reopen(), limit, whose="an attempt to resume", patience=link.timeouts.close, log=log)
        except BaseException as raised:  # noqa: BLE001 - users' HTTP clients and token providers may raise anything
            error = failure = error_of(raised, "the access token provider or the HTTP client")
            await link.suspend()
            if _is_refusal(failure):
                return NotResumed(_not_resumed(lost, failure), attempts.delay(failure))
            delay = attempts.delay_of_resume(error, tried)
        else:
            log.info("the connection is resumed over a new transport (%s)", link.connection_id)
            return None
    return NotResumed(_not_resumed(lost, error), delay if attempts.reconnects else None)


def _is_refusal(error: Exception) -> bool:
    """Return whether the server refused to resume. No answer, or an answer such as 429 or 503, is no refusal."""
    if not isinstance(error, TransportError) or error.status is None:
        return False
    return 300 <= error.status < 500 and error.status not in (408, 429)


def _not_resumed(lost: SignalRError, failure: Exception) -> SignalRError:
    """Return an error that says why the transport was lost, and why the connection could not be resumed."""
    if failure is lost:
        return lost
    return loss(f"the connection was lost ({lost}) and could not be resumed", failure)
