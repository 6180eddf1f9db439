"""Stateful reconnect: attempts to resume a connection over a new transport after the old transport was lost."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from .._guard.foreign import bounded, error_of
from .._life.link import NotResumed
from .._sending.outgoing import loss
from ..errors import TransportError

if TYPE_CHECKING:
    from .._life.attempts import Attempts
    from ..errors import SignalRError
    from .link import HubLink

# Seconds for which ASP.NET Core keeps a connection after its transport was lost. After that, do not try to resume.
_WINDOW = 15.0


async def resume(link: HubLink, lost: SignalRError, attempts: Attempts) -> NotResumed | None:
    """See `Link.resume`."""
    log = link.connection.logs.hub
    time = asyncio.get_running_loop().time
    until, tried = time() + _WINDOW, 0
    error: Exception = lost
    delay = attempts.delay_of_resume(error, tried)
    await link.suspend()
    while delay is not None and time() + delay <= until:
        log.info("the transport is lost, next attempt to resume the connection in %.1f s: %s", delay, error)
        await asyncio.sleep(delay)
        attempts.count += 1
        tried += 1
        try:
            await bounded(link.reopen(), _WINDOW, whose="an attempt to resume", patience=link.timeouts.close, log=log)
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
