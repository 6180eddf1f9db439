"""Stateful reconnect: the attempts to let a link go on over another transport."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from .._core.redaction import redact_error
from .._guard.foreign import bounded, error_of
from .._life.link import NotResumed
from ..errors import ConnectionClosedError, TransportError

if TYPE_CHECKING:
    from .._life.attempts import Attempts
    from ..errors import SignalRError
    from .link import HubLink

# ASP.NET Core keeps a connection that lost its transport for so many seconds. No attempt begins later.
_WINDOW = 15.0


async def resume(link: HubLink, lost: SignalRError | None, attempts: Attempts) -> NotResumed | None:
    """See `Link.resume`."""
    log = link.connection.logs.hub
    time = asyncio.get_running_loop().time
    until, tried = time() + _WINDOW, 0
    error: Exception | None = lost
    delay = attempts.delay_of_resume(error, tried)
    await link.suspend()
    while delay is not None and time() + delay <= until:
        log.info("the transport is lost, next attempt to resume the connection in %.1f s: %s", delay, error)
        await asyncio.sleep(delay)
        attempts.count += 1
        tried += 1
        try:
            await bounded(link.reopen(), _WINDOW, whose="an attempt to resume", patience=link.timeouts.close, log=log)
        except BaseException as raised:  # noqa: BLE001 - HTTP clients and token providers of users may raise anything
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
    """Return whether the server says that it will not resume; a server that is busy or away may resume later."""
    if not isinstance(error, TransportError) or error.status is None:
        return False
    return 300 <= error.status < 500 and error.status not in (408, 429)


def _not_resumed(lost: SignalRError | None, failure: Exception | None) -> SignalRError | None:
    """Return the reason of the loss, which now includes why the connection could not be resumed."""
    if failure is None or failure is lost:
        return lost
    error = ConnectionClosedError(
        f"the connection was lost ({lost}) and could not be resumed: {redact_error(failure)}", allow_reconnect=True
    )
    error.__cause__ = failure
    return error
