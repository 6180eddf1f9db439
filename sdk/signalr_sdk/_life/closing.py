"""`close_link`: closes a connection within a time limit, whatever users' code does."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .._guard import foreign

if TYPE_CHECKING:
    import logging

    from .._core.logs import Log
    from .link import Link

# Users' code that was cancelled gets this number of seconds to end. `stop` takes at most `Timeouts.close` and twice
# this time.
LAST_CHANCE = 0.2
# Without waiting for an answer, the Close message gets this number of seconds to leave.
_GOODBYE = 1.0


async def close_link(
    link: Link,
    cause: Exception,
    *,
    goodbye: bool,
    answer: bool = True,
    limit: float | None,
    log: Log | logging.Logger,
) -> None:
    """Close a connection. If the connection is closed already, do nothing.

    Args:
        link: the connection.
        cause: raised by the calls that still wait for an answer.
        goodbye: whether to send the waiting messages and a Close message first.
        answer: whether to wait for the server's answer to the goodbye.
        limit: seconds until the transport is cut; `None` for no limit.
        log: gets a message if the transport was cut.
    """
    if not answer:
        limit = _GOODBYE if limit is None else min(limit, _GOODBYE)
    # Call `link.close` a second time if the first call fails: the program may have cancelled the task of the first call
    # before the task ran any code, and the transport would stay open. Otherwise the second call does nothing.
    for _ in range(2):
        closing = link.close(cause, goodbye=goodbye, answer=answer)
        try:
            await foreign.bounded(closing, limit, whose="the closing of the transport", patience=LAST_CHANCE, log=log)
        except foreign.BoundExceeded:
            log.debug("the transport did not close within %s s", limit)
        except Exception as error:  # noqa: BLE001 - users' HTTP clients and protocols may raise anything
            log.info("the transport did not close in good order: %s", error)
            continue
        return
