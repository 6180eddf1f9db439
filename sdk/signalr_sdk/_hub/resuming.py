"""Stateful reconnect: the attempts to go on with a link over another transport."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import attrs

from .._life.attempts import uncancelled
from ..errors import ConnectionClosedError, TransportError

if TYPE_CHECKING:
    from .._core.logs import Log
    from .._life.attempts import Attempts
    from ..errors import SignalRError
    from .link import HubLink

# So many seconds ASP.NET Core keeps a connection whose transport is lost: no attempt to resume it begins later.
_WINDOW = 15.0


@attrs.frozen
class NotResumed:
    """A link is lost for good.

    Attributes:
        error: why.
        delay: seconds before the first attempt to make a new connection; `None` if there is to be none.
    """

    error: SignalRError | None
    delay: float | None


async def resume(link: HubLink, lost: SignalRError | None, attempts: Attempts, log: Log) -> NotResumed | None:
    """Try to go on with a link over another transport, as often as policy and window allow; return `None` if it does.

    Args:
        link: which one; `is_resumable`.
        lost: why it lost the last transport.
        attempts: counts each, and knows the delays.
        log: told of each.
    """
    time = asyncio.get_running_loop().time
    until, tried = time() + _WINDOW, 0
    error: Exception | None = lost
    delay = attempts.delay_of_resume(error, tried)
    await link.suspend()
    while delay is not None and time() + delay <= until:
        log.info("the line is lost, it is to be resumed in %.1f s: %s", delay, error)
        await asyncio.sleep(delay)
        attempts.count += 1
        tried += 1
        try:
            async with asyncio.timeout(_WINDOW):
                await uncancelled(link.resume)
        except Exception as failure:  # noqa: BLE001 - transports and token providers of users may raise anything
            error = failure
            await link.suspend()
            if _is_refusal(failure):
                return NotResumed(_not_resumed(lost, failure), attempts.delay(failure))
            delay = attempts.delay_of_resume(error, tried)
        else:
            log.info("the connection goes on over a new line (%s)", link.connection.connection_id)
            return None
    return NotResumed(_not_resumed(lost, error), delay if attempts.reconnects else None)


def _is_refusal(error: Exception) -> bool:
    """Whether the server says that the connection cannot be resumed, rather than that it is busy or not there."""
    if not isinstance(error, TransportError) or error.status is None:
        return False
    return 300 <= error.status < 500 and error.status not in (408, 429)


def _not_resumed(lost: SignalRError | None, failure: Exception | None) -> SignalRError | None:
    """Return why a connection is lost that was to be resumed."""
    if failure is None or failure is lost:
        return lost
    error = ConnectionClosedError(
        f"the connection was lost ({lost}) and could not be resumed: {failure}", allow_reconnect=True
    )
    error.__cause__ = failure
    return error
