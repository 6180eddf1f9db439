"""Resuming: attempts to go on with the same connection over a new transport, after the old transport was lost."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Protocol

from .._guard.foreign import BoundExceeded, bounded, error_of
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
        window: seconds for which the server keeps the connection after its transport was lost. No attempt lasts longer.
        limit: seconds for one attempt; `None` for no limit.
        log: the log of the connection.
    """
    until, tried = _now() + window, 0
    error: Exception = lost
    delay = attempts.delay_of_resume(error, tried)
    await link.suspend()
    while delay is not None and _now() + delay <= until:
        log.info("the transport is lost, next attempt to resume the connection in %.1f s: %s", delay, error)
        await asyncio.sleep(delay)
        left = until - _now()
        if left <= 0:
            delay = 0.0  # the machine was suspended meanwhile
            break
        attempts.count += 1
        tried += 1
        longest = left if limit is None else min(limit, left)
        try:
            await bounded(link.reopen(), longest, whose="an attempt to resume", patience=link.timeouts.close, log=log)
        except BaseException as raised:  # noqa: BLE001 - users' HTTP clients and token providers may raise anything
            error = failure = _failure(raised, longest)
            await link.suspend()
            if is_refusal(failure):
                return NotResumed(_not_resumed(lost, failure), attempts.delay(failure))
            delay = attempts.delay_of_resume(error, tried)
        else:
            log.info("the connection is resumed over a new transport (%s)", link.connection_id)
            return None
    return NotResumed(_not_resumed(lost, error), delay if attempts.reconnects else None)


def _failure(raised: BaseException, limit: float) -> Exception:
    """Return the error of an attempt with a limit in seconds."""
    if isinstance(raised, BoundExceeded):
        return TransportError(f"the attempt was not done within {limit:.3g} s")
    return error_of(raised, "the access token provider or the HTTP client")


def time_asleep() -> float:
    """Return the seconds for which the machine was suspended, counted from any moment; 0 where nobody knows."""
    clock = getattr(time, "CLOCK_BOOTTIME", None)
    return 0.0 if clock is None else time.clock_gettime(clock) - time.clock_gettime(time.CLOCK_MONOTONIC)


def _now() -> float:
    """Return the time in seconds, of a clock that does not stop while the machine is suspended."""
    return asyncio.get_running_loop().time() + time_asleep()


def is_refusal(error: Exception) -> bool:
    """Return whether the server refused to resume. No answer, or an answer such as 429 or 503, is no refusal."""
    if not isinstance(error, TransportError) or error.status is None:
        return False
    return 300 <= error.status < 500 and error.status not in (408, 429)


def _not_resumed(lost: SignalRError, failure: Exception) -> SignalRError:
    """Return an error that says why the transport was lost, and why the connection could not be resumed."""
    if failure is lost:
        return lost
    return loss(f"the connection was lost ({lost}) and could not be resumed", failure)
